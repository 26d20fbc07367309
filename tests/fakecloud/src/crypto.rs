//! Randomness, identifiers, base64url and the RSA pieces that both tokens and vault keys use. Key generation is the
//! only expensive thing here; nothing here is constant-time beyond what aws-lc gives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::world::lock;

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's randomness works");
    bytes
}

pub(crate) fn random_vec(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's randomness works");
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            use std::fmt::Write;
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A random (version 4) UUID.
pub(crate) fn uuid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hex(&bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    )
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64url without padding, as the services write it; anything else is refused.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// An RSA private key for signing and for OAEP, with its public numbers.
pub(crate) struct Rsa {
    pub(crate) signing: KeyPair,
    pub(crate) wrap: OaepPublicEncryptingKey,
    pub(crate) unwrap: OaepPrivateDecryptingKey,
    /// Base64url of the modulus.
    pub(crate) n: String,
    /// Base64url of the exponent.
    pub(crate) e: String,
}

impl Rsa {
    /// A new key; aws-lc makes none below 2048 bits.
    pub(crate) fn generate(bits: usize) -> Self {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            other => panic!("Key Vault makes RSA keys of 2048, 3072 or 4096 bits, not {other}"),
        };
        let private = PrivateDecryptingKey::generate(size).expect("aws-lc makes RSA keys");
        let pkcs8 = private.as_der().expect("a generated key can be encoded");
        let signing = KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a generated key can be read");
        let (n, e) = public_numbers(signing.public_key().as_ref());
        let wrap = OaepPublicEncryptingKey::new(private.public_key());
        Self {
            signing,
            wrap: wrap.expect("an RSA key does OAEP"),
            unwrap: OaepPrivateDecryptingKey::new(private).expect("an RSA key does OAEP"),
            n,
            e,
        }
    }
}

/// How many different keys one cloud has before they come again.
const POOL: usize = 64;

type Pool = Mutex<HashMap<(usize, usize), Arc<OnceLock<Arc<Rsa>>>>>;

/// The `index`-th RSA key of a cloud. Clouds of one process share them, because making one takes a
/// tenth of a second and a hundred tests want two each; within a cloud every index is another key.
pub(crate) fn pooled_rsa(bits: usize, index: usize) -> Arc<Rsa> {
    static KEYS: OnceLock<Pool> = OnceLock::new();
    let place = {
        let mut pool = lock(KEYS.get_or_init(Pool::default));
        pool.entry((bits, index % POOL)).or_default().clone()
    };
    // Outside the lock: who wants another key does not wait for this one.
    place.get_or_init(|| Arc::new(Rsa::generate(bits))).clone()
}

/// Modulus and exponent out of a PKCS#1 `RSAPublicKey`: SEQUENCE of two INTEGERs.
fn public_numbers(der: &[u8]) -> (String, String) {
    let (_, content) = der_item(der);
    let (n_end, n) = der_item(content);
    let (_, e) = der_item(&content[n_end..]);
    (encode(unsigned(n)), encode(unsigned(e)))
}

/// The end and the content of the first DER item.
fn der_item(der: &[u8]) -> (usize, &[u8]) {
    let (start, len) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            let len = der[2..2 + count]
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte));
            (2 + count, len)
        }
    };
    (start + len, &der[start..start + len])
}

fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_numbers_are_whole() {
        let key = Rsa::generate(2048);
        assert_eq!(decode(&key.n).map(|n| n.len()), Some(256));
        assert_eq!(key.e, "AQAB");
    }

    #[test]
    fn uuids_are_version_four() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
    }
}
