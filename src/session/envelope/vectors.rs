//! `docs/ciphertext-vectors.json` is what this code makes of fixed salts, and what it must refuse.

use std::path::Path;

use serde::Serialize;

use super::*;
use crate::random::encode_hex;

const FILE: &str = "docs/ciphertext-vectors.json";
const UID: &str = "00112233445566778899aabbccddeeff";
const OTHER_UID: &str = "00112233445566778899aabbccddee00";
const ID: [u8; 16] = [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];

#[derive(Serialize)]
struct Vectors {
    format: &'static str,
    opens: Vec<Opens>,
    refused: Vec<Wrong>,
}

#[derive(Serialize)]
struct Opens {
    name: &'static str,
    master_key: String,
    tenant_uid: &'static str,
    key_id: String,
    salt: String,
    cipher_key: String,
    header: String,
    aad: String,
    plaintext: String,
    ciphertext: String,
}

#[derive(Serialize)]
struct Wrong {
    name: &'static str,
    master_key: String,
    tenant_uid: &'static str,
    aad: String,
    ciphertext: String,
}

fn bytes(first: u8) -> Vec<u8> {
    (first..first + 32).collect()
}

fn key(first: u8) -> MasterKey {
    MasterKey::from_bytes(Zeroizing::new(bytes(first))).expect("32 bytes")
}

/// The n-th message of the file; each has a salt of its own.
fn opens(n: u8, name: &'static str, plaintext: &[u8], aad: &[u8]) -> (Opens, Vec<u8>) {
    let (salt, id) = ([0xa0 + n; 32], KeyId::from_bytes(ID));
    let blob = seal_with(&salt, &key(0), UID, &id, plaintext, aad);
    let opened = open(&key(0), UID, &id, &blob, aad).expect(name);
    assert_eq!(&**opened, plaintext, "{name}");
    let vector = Opens {
        name,
        master_key: encode_hex(&bytes(0)),
        tenant_uid: UID,
        key_id: id.to_string(),
        salt: encode_hex(&salt),
        cipher_key: encode_hex(key(0).message_key(UID, &id, &salt).cipher_key()),
        header: encode_hex(&blob[..HEADER_LEN]),
        aad: encode_hex(aad),
        plaintext: encode_hex(plaintext),
        ciphertext: encode_hex(&blob),
    };
    (vector, blob)
}

fn wrong(
    name: &'static str,
    first: u8,
    tenant_uid: &'static str,
    aad: &[u8],
    blob: &[u8],
) -> Wrong {
    let said = key_id(blob).unwrap_or_else(|_| KeyId::from_bytes(ID));
    for id in [KeyId::from_bytes(ID), said] {
        let opened = open(&key(first), tenant_uid, &id, blob, aad);
        assert_eq!(opened, Err(Refused), "{name}");
    }
    Wrong {
        name,
        master_key: encode_hex(&bytes(first)),
        tenant_uid,
        aad: encode_hex(aad),
        ciphertext: encode_hex(blob),
    }
}

/// A blob whose header is changed and whose tag is right for the changed header: it is refused by
/// what is read in the header, or not at all.
fn authenticated(blob: &[u8], aad: &[u8], plaintext: &[u8], at: usize) -> Vec<u8> {
    let parts = Parts::of(blob).expect("a ciphertext");
    let message_key = key(0).message_key(UID, &KeyId::from_bytes(ID), parts.salt);
    let mut changed = parts.header.to_vec();
    changed[at] ^= 1;
    let bound = bound(&changed, UID, aad);
    changed.extend_from_slice(plaintext);
    let tag = cipher(&message_key)
        .seal_in_place_separate_tag(only_nonce(), bound, &mut changed[HEADER_LEN..])
        .expect("short");
    changed.extend_from_slice(tag.as_ref());
    changed
}

fn vectors() -> Vectors {
    let kibibyte: Vec<u8> = (0..=255).cycle().take(1024).collect();
    let (usual, blob) = opens(0, "a plaintext and an aad", b"plaintext", b"aad");
    let flipped = |name, at: usize| {
        let mut changed = blob.clone();
        changed[at] ^= 1;
        wrong(name, 0, UID, b"aad", &changed)
    };
    let with_right_tag = |name, at: usize| {
        let changed = authenticated(&blob, b"aad", b"plaintext", at);
        wrong(name, 0, UID, b"aad", &changed)
    };
    let last = blob.len() - 1;
    Vectors {
        format: "tenantkms.dev ciphertext v1; everything but names and tenant uids in hex",
        opens: vec![
            usual,
            opens(1, "an empty plaintext without aad", b"", b"").0,
            opens(2, "an empty plaintext with an aad", b"", b"aad").0,
            opens(3, "one byte without aad", b"x", b"").0,
            opens(4, "one block of AES", &[0; 16], &[0; 16]).0,
            opens(5, "1 KiB without aad", &kibibyte, b"").0,
            opens(6, "1 KiB with an aad", &kibibyte, b"table=users;row=17").0,
        ],
        refused: vec![
            wrong("no aad", 0, UID, b"", &blob),
            wrong("another aad", 0, UID, b"aae", &blob),
            wrong("another tenant's uid", 0, OTHER_UID, b"aad", &blob),
            wrong("another master key", 1, UID, b"aad", &blob),
            flipped("a bit of the magic", 0),
            flipped("a bit of the version", 3),
            flipped("a bit of the key id", 4),
            flipped("a bit of the salt", 20),
            flipped("a bit of the commitment", 52),
            flipped("a bit of the ciphertext", 84),
            flipped("a bit of the tag", last),
            with_right_tag("another magic, the tag is right for it", 0),
            with_right_tag("another version, the tag is right for it", 3),
            with_right_tag("another key id, the tag is right for it", 4),
            with_right_tag("another commitment, the tag is right for it", 52),
            with_right_tag("its last byte changed, the tag is right for it", 83),
            wrong("the last byte is missing", 0, UID, b"aad", &blob[..last]),
            wrong("a header alone", 0, UID, b"aad", &blob[..HEADER_LEN]),
            wrong("nothing", 0, UID, b"aad", &[]),
            wrong("a byte more", 0, UID, b"aad", &[&blob[..], &[0]].concat()),
        ],
    }
}

#[test]
fn the_file_is_what_this_code_makes() {
    let made = serde_json::to_string_pretty(&vectors()).expect("json") + "\n";
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::fs::read_to_string(&place).is_ok_and(|kept| kept == made) {
        return;
    }
    // Outside of the repository: what is stored of version 1 must open for ever, so that only a
    // person writes here, and only more.
    let proposed = std::env::temp_dir().join("ciphertext-vectors.json");
    std::fs::write(&proposed, made).expect("a temporary file");
    panic!(
        "{FILE} is not what src/session/envelope.rs makes. Version 1 must stay as it is; after \
         adding vectors: `cargo test --lib vectors; cp {} {FILE}`",
        proposed.display()
    );
}
