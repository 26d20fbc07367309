//! Ciphertexts: what workloads keep. Pure. The format, and why it is so, is in
//! `docs/ciphertext-format.md`.
//!
//! `"TKM" | version 1 | key id 16 | salt 32 | key commitment 32 | ciphertext | tag 16`

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, rand};
use zeroize::Zeroizing;

use crate::random;
use crate::record::keyring::{KeyId, MasterKey, MessageKey};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

/// The longest that is sealed and opened.
pub const MOST_PLAINTEXT: usize = 512 * 1024;
pub const MOST_AAD: usize = 8 * 1024;
pub const HEADER_LEN: usize =
    MAGIC.len() + KeyId::LENGTH + MessageKey::SALT_LENGTH + MessageKey::COMMITMENT_LENGTH;
pub const TAG_LEN: usize = 16;

/// Letters of this product, then the version of the format.
const MAGIC: [u8; 4] = *b"TKM\x01";

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    #[error(
        "a plaintext has at most {MOST_PLAINTEXT} bytes and its aad {MOST_AAD}: encrypt larger \
         data with a data key"
    )]
    TooLong,
    #[error(transparent)]
    Random(#[from] random::Unavailable),
}

/// Not in the form of a ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no ciphertext of this service")]
pub struct Malformed;

/// Not ours, damaged, another tenant's, another key's or with another aad: nobody learns which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this ciphertext does not open for this tenant and this aad: pass both exactly as they were \
     when it was encrypted"
)]
pub struct Refused;

/// Encrypts under a key that is derived for this message alone.
pub fn seal(
    key: &MasterKey,
    tenant_uid: &str,
    id: &KeyId,
    plaintext: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>, Unsealed> {
    if plaintext.len() > MOST_PLAINTEXT || aad.len() > MOST_AAD {
        return Err(Unsealed::TooLong);
    }
    let mut salt = [0; MessageKey::SALT_LENGTH];
    rand::fill(&mut salt).map_err(|_| random::Unavailable)?;
    Ok(seal_with(&salt, key, tenant_uid, id, plaintext, aad))
}

/// The same for a given salt, which must never have been used before.
fn seal_with(
    salt: &[u8; MessageKey::SALT_LENGTH],
    key: &MasterKey,
    tenant_uid: &str,
    id: &KeyId,
    plaintext: &[u8],
    aad: &[u8],
) -> Vec<u8> {
    let message_key = key.message_key(tenant_uid, id, salt);
    // All of its room at once: what grows leaves copies behind, here of the plaintext.
    let mut out = Vec::with_capacity(HEADER_LEN + plaintext.len() + TAG_LEN);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&id.to_bytes());
    out.extend_from_slice(salt);
    out.extend_from_slice(message_key.commitment());
    let bound = bound(&out, tenant_uid, aad);
    out.extend_from_slice(plaintext);
    let tag = cipher(&message_key)
        .seal_in_place_separate_tag(only_nonce(), bound, &mut out[HEADER_LEN..])
        .expect("the length is within what AES-GCM takes");
    out.extend_from_slice(tag.as_ref());
    out
}

/// Which master key opens it. Nothing is believed yet: [`open`] says whether it is one of ours.
pub fn key_id(blob: &[u8]) -> Result<KeyId, Malformed> {
    let parts = Parts::of(blob).ok_or(Malformed)?;
    Ok(KeyId::from_bytes(*parts.key_id))
}

/// Opens exactly what [`seal`] made of this key, tenant, id and aad.
pub fn open(
    key: &MasterKey,
    tenant_uid: &str,
    id: &KeyId,
    blob: &[u8],
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let parts = Parts::of(blob).ok_or(Refused)?;
    if *parts.key_id != id.to_bytes() || aad.len() > MOST_AAD {
        return Err(Refused);
    }
    let message_key = key.message_key(tenant_uid, id, parts.salt);
    constant_time::verify_slices_are_equal(message_key.commitment(), parts.commitment)
        .map_err(|_| Refused)?;
    let bound = bound(parts.header, tenant_uid, aad);
    let mut plaintext = Zeroizing::new(vec![0; parts.ciphertext.len()]);
    cipher(&message_key)
        .open_separate_gather(
            only_nonce(),
            bound,
            parts.ciphertext,
            parts.tag,
            &mut plaintext,
        )
        .map_err(|_| Refused)?;
    Ok(plaintext)
}

struct Parts<'a> {
    header: &'a [u8],
    key_id: &'a [u8; KeyId::LENGTH],
    salt: &'a [u8; MessageKey::SALT_LENGTH],
    commitment: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

impl<'a> Parts<'a> {
    fn of(blob: &'a [u8]) -> Option<Self> {
        let (header, body) = blob.split_at_checked(HEADER_LEN)?;
        let (ciphertext, tag) = body.split_last_chunk()?;
        let (key_id, rest) = header.strip_prefix(&MAGIC)?.split_first_chunk()?;
        let (salt, commitment) = rest.split_first_chunk()?;
        (ciphertext.len() <= MOST_PLAINTEXT).then_some(Self {
            header,
            key_id,
            salt,
            commitment,
            ciphertext,
            tag,
        })
    }
}

/// What is authenticated and not encrypted. Where a length can differ it stands before its part, so
/// that no two bindings meet.
fn bound(header: &[u8], tenant_uid: &str, aad: &[u8]) -> Aad<Vec<u8>> {
    let mut bytes = Vec::with_capacity(header.len() + 8 + tenant_uid.len() + 8 + aad.len());
    bytes.extend_from_slice(header);
    for part in [tenant_uid.as_bytes(), aad] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Aad::from(bytes)
}

/// The key is used once, so one nonce is enough.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn cipher(message_key: &MessageKey) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, message_key.cipher_key());
    LessSafeKey::new(key.expect("half of a message key is an AES-256 key"))
}
