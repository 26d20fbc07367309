//! A master key in the clear: one type that cannot be printed, cloned, compared or serialized, and
//! is zeroized when dropped. It is never used itself, only as the input of HKDF; what is derived from
//! it is treated alike.

use std::fmt;

use aws_lc_rs::{constant_time, hkdf, hmac, rand};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::random::{self, decode_hex, encode_hex};

pub const LENGTH: usize = 32;
const SALT: &[u8] = b"tenantkms.dev/v1";
const COMMITMENT: &[u8] = b"commitment";
const SESSION: &[u8] = b"session";
const MESSAGE: &[u8] = b"message";

/// The random name of a version: 128 bits, written in hex.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; KeyId::LENGTH]);

impl KeyId {
    pub const LENGTH: usize = 16;

    pub fn random() -> Result<Self, random::Unavailable> {
        Ok(Self(random::bytes()?))
    }

    pub fn parse(text: &str) -> Option<Self> {
        decode_hex(text).map(Self)
    }

    pub fn from_bytes(bytes: [u8; KeyId::LENGTH]) -> Self {
        Self(bytes)
    }

    pub fn to_bytes(&self) -> [u8; KeyId::LENGTH] {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
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
        let mut out = [0; LENGTH];
        self.derive(SALT, COMMITMENT, tenant_uid, id, &mut out);
        Commitment(out)
    }

    /// Whether this is the key that was committed to, in constant time.
    pub fn fits(&self, tenant_uid: &str, id: &KeyId, commitment: &Commitment) -> bool {
        let own = self.commitment(tenant_uid, id);
        constant_time::verify_slices_are_equal(&own.0, &commitment.0).is_ok()
    }

    /// What session tokens of this tenant are authenticated with.
    pub fn session_key(&self, tenant_uid: &str, id: &KeyId) -> SessionKey {
        let mut key = Box::new(Zeroizing::new([0; LENGTH]));
        self.derive(SALT, SESSION, tenant_uid, id, &mut **key);
        SessionKey(key)
    }

    /// What one message is sealed with: its salt is random and never used again.
    pub fn message_key(
        &self,
        tenant_uid: &str,
        id: &KeyId,
        salt: &[u8; MessageKey::SALT_LENGTH],
    ) -> MessageKey {
        let mut key = Box::new(Zeroizing::new([0; 2 * LENGTH]));
        self.derive(salt, MESSAGE, tenant_uid, id, &mut **key);
        MessageKey(key)
    }

    /// HKDF-SHA256. Every part of the info is preceded by its length, so that no two uses meet.
    fn derive(&self, salt: &[u8], label: &[u8], tenant_uid: &str, id: &KeyId, out: &mut [u8]) {
        let id = id.to_string();
        let [uid, id] = [tenant_uid, &id].map(str::as_bytes);
        let lengths = [label, uid, id].map(|part| (part.len() as u64).to_be_bytes());
        let info = [&lengths[0], label, &lengths[1], uid, &lengths[2], id];
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
            .extract(&self.0)
            .expand(&info, Length(out.len()))
            .and_then(|okm| okm.fill(out))
            .expect("64 bytes are within what HKDF-SHA256 gives");
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Authenticates session tokens. Boxed: what is moved leaves copies on the stack, which nobody wipes.
pub struct SessionKey(Box<Zeroizing<[u8; LENGTH]>>);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey")
    }
}

impl SessionKey {
    /// HMAC-SHA256 over the parts, one after the other.
    pub fn sign(&self, parts: &[&[u8]]) -> hmac::Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &**self.0);
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

/// Of one message: the key it is encrypted with, and a commitment to that key. Boxed as above.
pub struct MessageKey(Box<Zeroizing<[u8; 2 * LENGTH]>>);

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageKey")
    }
}

impl MessageKey {
    pub const SALT_LENGTH: usize = 32;
    pub const COMMITMENT_LENGTH: usize = LENGTH;

    /// For the one cipher that is made of it.
    pub fn cipher_key(&self) -> &[u8] {
        &self.0[..LENGTH]
    }

    /// Stands in the open beside the ciphertext: says nothing about the key, and fits to no other.
    pub fn commitment(&self) -> &[u8] {
        &self.0[LENGTH..]
    }
}
