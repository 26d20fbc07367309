//! What is derived from a master key while a tenant is used, derived here once more as
//! docs/ciphertext-format.md says, by HMAC alone: nothing of the product has a part in it.

use std::fmt::Write;
use std::fs;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

const SALT: &[u8] = b"tenantkms.dev/v1";
/// Where a ciphertext has the id of its master key and its salt.
const ID: Range<usize> = 4..20;
const SALTED: Range<usize> = 20..52;

/// A master key in the clear and what it is derived for.
#[derive(Clone, Debug)]
pub struct Master {
    pub tenant_uid: String,
    /// In hex.
    pub id: String,
    pub key: Vec<u8>,
}

/// A key derived from another, and what HKDF made it from, which is as good.
#[derive(Clone, Debug)]
pub struct Derived {
    pub extracted: Vec<u8>,
    pub key: Vec<u8>,
}

impl Master {
    /// What session tokens are signed with.
    pub fn session(&self) -> Derived {
        self.derive(SALT, "session")
    }

    /// What a message of this key is encrypted with.
    fn message(&self, ciphertext: &[u8]) -> Derived {
        self.derive(&ciphertext[SALTED], "message")
    }

    /// HKDF-SHA256 (RFC 5869), of which the first block is the key.
    fn derive(&self, salt: &[u8], label: &str) -> Derived {
        let extracted = mac(salt, &self.key);
        let mut info = Vec::new();
        for part in [label, &self.tenant_uid, &self.id] {
            info.extend((part.len() as u64).to_be_bytes());
            info.extend(part.as_bytes());
        }
        info.push(1);
        let key = mac(&extracted, &info);
        Derived { extracted, key }
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text).as_ref().to_vec()
}

/// The key of a message in the form of the API, by the one of `masters` that it was made with.
pub fn of_message(masters: &[Master], ciphertext: &str) -> Result<Derived> {
    let ciphertext = STANDARD.decode(ciphertext)?;
    let id = ciphertext[ID].iter().fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    });
    let master = masters.iter().find(|one| one.id == id);
    Ok(master.context("another master key")?.message(&ciphertext))
}

/// The id of the master key that a session is signed with, if `masters` has it and the token is theirs.
pub fn signer<'a>(masters: &'a [Master], token: &str) -> Result<&'a Master> {
    let token = token.strip_prefix("tks1_").context("a session token")?;
    let token = URL_SAFE_NO_PAD.decode(token)?;
    let (said, tag) = token.split_last_chunk::<32>().context("a MAC")?;
    let signed = |one: &&Master| {
        let mut text = (one.tenant_uid.len() as u64).to_be_bytes().to_vec();
        text.extend(one.tenant_uid.as_bytes());
        text.extend(said);
        mac(&one.session().key, &text) == tag
    };
    masters.iter().find(signed).context("another key signed it")
}

#[test]
fn the_keys_of_the_vectors_are_derived() -> Result<()> {
    let vectors: Value =
        serde_json::from_str(&fs::read_to_string("docs/ciphertext-vectors.json")?)?;
    for vector in vectors["opens"].as_array().context("vectors")? {
        let text = |field: &str| vector[field].as_str().unwrap_or_default();
        let bytes = |field: &str| {
            let digits = text(field).as_bytes().chunks(2);
            let byte = |two: &[u8]| anyhow::Ok(u8::from_str_radix(str::from_utf8(two)?, 16)?);
            digits.map(byte).collect::<Result<Vec<_>>>()
        };
        let master = Master {
            tenant_uid: text("tenant_uid").to_owned(),
            id: text("key_id").to_owned(),
            key: bytes("master_key")?,
        };
        let ciphertext = STANDARD.encode(bytes("ciphertext")?);
        let derived = of_message(&[master], &ciphertext)?;
        ensure!(derived.key == bytes("cipher_key")?, "{}", text("name"));
    }
    Ok(())
}
