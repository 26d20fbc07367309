//! A master key in the clear: one type that cannot be printed, cloned, compared or serialized, and
//! is zeroized when dropped. It is never used itself, only as the input of HKDF.

use std::fmt;

use aws_lc_rs::{constant_time, hkdf, rand};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::random::{self, decode_hex, encode_hex};

pub const LENGTH: usize = 32;
const SALT: &[u8] = b"tenantkms.dev/v1";
const COMMITMENT: &[u8] = b"commitment";

/// The random name of a version: 128 bits in hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    pub fn random() -> Result<Self, random::Unavailable> {
        Ok(Self(random::hex::<16>()?))
    }

    pub fn parse(text: &str) -> Option<Self> {
        decode_hex::<16>(text).map(|_| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a key id"))
    }
}

/// Tells one master key from every other, and nothing about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment([u8; LENGTH]);

impl Serialize for Commitment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Commitment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = decode_hex(&text);
        bytes
            .map(Self)
            .ok_or_else(|| de::Error::custom("not a commitment"))
    }
}

/// 32 bytes that exist in the clear only while the customer agrees.
pub struct MasterKey(Zeroizing<Vec<u8>>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    /// Made where it is kept, so that no copy stays behind.
    pub fn random() -> Result<Self, random::Unavailable> {
        let mut bytes = Zeroizing::new(vec![0; LENGTH]);
        rand::fill(&mut bytes).map_err(|_| random::Unavailable)?;
        Ok(Self(bytes))
    }

    /// What a key service unwrapped; nothing when it is no key of ours.
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        (bytes.len() == LENGTH).then_some(Self(bytes))
    }

    /// For the one call that wraps it.
    pub(super) fn bytes(&self) -> &Zeroizing<Vec<u8>> {
        &self.0
    }

    /// Binds this key to its tenant and its id.
    pub fn commitment(&self, tenant_uid: &str, id: &KeyId) -> Commitment {
        Commitment(self.derive(COMMITMENT, &[tenant_uid.as_bytes(), id.as_str().as_bytes()]))
    }

    /// Whether this is the key that was committed to, in constant time.
    pub fn fits(&self, tenant_uid: &str, id: &KeyId, commitment: &Commitment) -> bool {
        let own = self.commitment(tenant_uid, id);
        constant_time::verify_slices_are_equal(&own.0, &commitment.0).is_ok()
    }

    /// HKDF-SHA256. Every part of `info` is preceded by its length, so that no two uses meet.
    fn derive(&self, label: &[u8], context: &[&[u8]]) -> [u8; LENGTH] {
        let mut info = Vec::new();
        for part in std::iter::once(&label).chain(context) {
            info.extend_from_slice(&(part.len() as u64).to_be_bytes());
            info.extend_from_slice(part);
        }
        let mut out = [0; LENGTH];
        let parts = [info.as_slice()];
        hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
            .extract(&self.0)
            .expand(&parts, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut out))
            .expect("32 bytes are within what HKDF-SHA256 gives");
        out
    }
}
