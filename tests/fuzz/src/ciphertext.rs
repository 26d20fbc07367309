//! What opens is exactly what was sealed, and what is sealed opens exactly where it was sealed for.

use std::sync::LazyLock;

use serde_json::Value;
use tenant_kms::random::decode_hex;
use tenant_kms::record::keyring::{KeyId, MasterKey};
use tenant_kms::session::envelope::{self, MOST_AAD, MOST_PLAINTEXT, Refused, Unsealed};

use crate::mutate::Dice;

/// All that was ever sealed with these keys.
static SEALED: LazyLock<Vec<Sealed>> = LazyLock::new(|| {
    let text = include_str!("../../../docs/ciphertext-vectors.json");
    let vectors: Value = serde_json::from_str(text).expect("the vectors are JSON");
    let opens = vectors["opens"].as_array().expect("a list");
    opens.iter().map(Sealed::read).collect()
});

struct Sealed {
    key: MasterKey,
    tenant_uid: String,
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    blob: Vec<u8>,
}

impl Sealed {
    fn read(vector: &Value) -> Self {
        let text = |name: &str| vector[name].as_str().expect("a text");
        let bytes = |name: &str| unhex(text(name));
        Self {
            key: MasterKey::from_bytes(bytes("master_key").into()).expect("32 bytes"),
            tenant_uid: text("tenant_uid").to_owned(),
            aad: bytes("aad"),
            plaintext: bytes("plaintext"),
            blob: bytes("ciphertext"),
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(str::from_utf8);
    let byte = |pair: &str| decode_hex::<1>(pair).expect("hex");
    pairs.flat_map(|pair| byte(pair.expect("hex"))).collect()
}

pub fn check(input: &[u8]) -> u64 {
    sealed(input) << 8 | opened(input)
}

/// The input as a ciphertext.
fn opened(input: &[u8]) -> u64 {
    let Ok(id) = envelope::key_id(input) else {
        for one in SEALED.iter() {
            let unknown = KeyId::from_bytes([0; KeyId::LENGTH]);
            let opened = envelope::open(&one.key, &one.tenant_uid, &unknown, input, &one.aad);
            assert_eq!(opened, Err(Refused), "opened without a key id");
        }
        return 1;
    };
    let mut outcome = 2;
    for (n, one) in (0_u64..).zip(SEALED.iter()) {
        match envelope::open(&one.key, &one.tenant_uid, &id, input, &one.aad) {
            Ok(plaintext) => {
                let exactly = |other: &Sealed| {
                    (&other.blob[..], &other.aad, &other.plaintext)
                        == (input, &one.aad, &*plaintext)
                };
                assert!(SEALED.iter().any(exactly), "opened what was never sealed");
                outcome = 3 + n;
            }
            Err(Refused) => assert!(one.blob != input, "a sealed one does not open"),
        }
    }
    outcome
}

/// The input as an aad of as many bytes as its first one says, and a plaintext.
fn sealed(input: &[u8]) -> u64 {
    let one = &SEALED[0];
    let (length, rest) = input.split_first().unwrap_or((&0, &[]));
    let (aad, plaintext) = rest.split_at(usize::from(*length).min(rest.len()));
    let id = KeyId::from_bytes([*length; KeyId::LENGTH]);
    let (key, uid) = (&one.key, &one.tenant_uid);
    let mut blob = match envelope::seal(key, uid, &id, plaintext, aad) {
        Ok(blob) => blob,
        Err(Unsealed::TooLong) => {
            assert!(plaintext.len() > MOST_PLAINTEXT || aad.len() > MOST_AAD);
            return 1;
        }
        Err(Unsealed::Random(_)) => panic!("no random bytes"),
    };
    assert_eq!(envelope::key_id(&blob).as_ref(), Ok(&id));
    let opened = envelope::open(key, uid, &id, &blob, aad).expect("it was just sealed");
    assert!(*opened == plaintext, "another plaintext");
    let more = [aad, &[0]].concat();
    let other_aad = envelope::open(key, uid, &id, &blob, &more);
    assert_eq!(other_aad, Err(Refused), "another aad opens it");
    let mut dice = Dice(input.len() as u64 ^ u64::from(blob[30]));
    let at = dice.below(blob.len());
    blob[at] ^= 1 << dice.below(8);
    let changed = envelope::open(key, uid, &id, &blob, aad);
    assert_eq!(changed, Err(Refused), "byte {at} was changed");
    2
}
