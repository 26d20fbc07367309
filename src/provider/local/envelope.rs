//! One wrapped key: AES-256-GCM under a key that is derived for this message alone, so that no
//! number of messages wears a key out. What it is bound to is authenticated and not stored.
//!
//! `format | salt 32 | nonce 12 | ciphertext | tag 16`

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hkdf, rand};
use zeroize::Zeroizing;

use super::keyref::Version;
use crate::provider::length_prefixed;

const FORMAT: u8 = 1;
const SALT_LEN: usize = 32;
const TAG_LEN: usize = 16;
const LABEL: &[u8] = b"tenantkms.dev/local/v1";

pub const KEK_LEN: usize = 32;

/// The platform's key in the clear, for the one operation that it was read for.
pub struct Kek(Zeroizing<[u8; KEK_LEN]>);

impl Kek {
    pub fn new(bytes: Zeroizing<[u8; KEK_LEN]>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek")
    }
}

/// What a wrapped key opens for, and for nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    pub name: &'a str,
    pub version: Version,
    pub tenant_uid: &'a str,
}

impl Binding<'_> {
    fn authenticated(&self) -> Aad<Vec<u8>> {
        let version = self.version.to_string();
        Aad::from(length_prefixed(&[
            LABEL,
            self.name.as_bytes(),
            version.as_bytes(),
            self.tenant_uid.as_bytes(),
        ]))
    }
}

/// Fails only when there are no random bytes.
pub fn seal(kek: &Kek, binding: &Binding<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut salt = [0; SALT_LEN];
    rand::fill(&mut salt)?;
    // Room for the tag, so that no copy of the plaintext stays behind.
    let mut sealed = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG_LEN));
    sealed.extend_from_slice(plaintext);
    let nonce =
        message_key(kek, &salt)?.seal_in_place_append_tag(binding.authenticated(), &mut *sealed)?;
    Ok([&[FORMAT], &salt[..], nonce.as_ref(), &sealed].concat())
}

/// Opens exactly what [`seal`] made of this key and binding.
pub fn open(
    kek: &Kek,
    binding: &Binding<'_>,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let (format, rest) = wrapped.split_first().ok_or(Unspecified)?;
    let (salt, rest) = rest.split_first_chunk::<SALT_LEN>().ok_or(Unspecified)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unspecified)?;
    if *format != FORMAT {
        return Err(Unspecified);
    }
    let mut opened = Zeroizing::new(sealed.to_vec());
    let length = message_key(kek, salt)?
        .open_in_place(Nonce::from(nonce), binding.authenticated(), &mut opened)?
        .len();
    opened.truncate(length);
    Ok(opened)
}

fn message_key(kek: &Kek, salt: &[u8; SALT_LEN]) -> Result<RandomizedNonceKey, Unspecified> {
    let mut key = Zeroizing::new([0; KEK_LEN]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(&*kek.0)
        .expand(&[LABEL], hkdf::HKDF_SHA256)?
        .fill(&mut *key)?;
    RandomizedNonceKey::new(&AES_256_GCM, &*key)
}
