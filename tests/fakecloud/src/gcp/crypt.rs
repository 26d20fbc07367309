//! What a version does with bytes: AES-256-GCM with the caller's additional data, and CRC32C of everything. A
//! ciphertext begins with the key and the version that made it, which are authenticated with the rest.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::crypto::random;
use crate::gcp::key::{KeyState, Version};

/// How Cloud KMS's ciphertexts begin.
const MAGIC: [u8; 3] = [0x0a, 0x24, 0x00];
const HEADER: usize = MAGIC.len() + 16 + 4;
const NONCE: usize = 12;

pub(crate) fn seal(
    key: &KeyState,
    number: u32,
    version: &Version,
    plaintext: &[u8],
    aad: &[u8],
) -> Vec<u8> {
    let nonce: [u8; NONCE] = random();
    let mut out = [&MAGIC[..], &key.uid, &number.to_be_bytes()].concat();
    let whole = [&out, aad].concat();
    let mut body = plaintext.to_vec();
    cipher(version)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(whole),
            &mut body,
        )
        .expect("AES-GCM seals what a request can hold");
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&body);
    out
}

/// Which version of this key made a ciphertext; `None` when it was another key's, or is none.
pub(crate) fn version_of(key: &KeyState, ciphertext: &[u8]) -> Option<u32> {
    let rest = ciphertext.strip_prefix(&MAGIC)?.strip_prefix(&key.uid)?;
    Some(u32::from_be_bytes(*rest.first_chunk()?))
}

/// `None` when a byte of it, or of `aad`, is not what it was.
pub(crate) fn open(
    key: &KeyState,
    version: &Version,
    ciphertext: &[u8],
    aad: &[u8],
) -> Option<Vec<u8>> {
    version_of(key, ciphertext)?;
    let (header, rest) = ciphertext.split_at_checked(HEADER)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE>()?;
    let whole = [header, aad].concat();
    let mut body = body.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = cipher(version).open_in_place(nonce, Aad::from(whole), &mut body);
    opened.ok().map(|plaintext| plaintext.to_vec())
}

fn cipher(version: &Version) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &version.material).expect("32 bytes are a key"))
}

/// CRC32C (Castagnoli), as in RFC 3720, bit by bit: a request is small.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b""), 0);
    }
}
