//! Key material and the two operations on it. Real RSA-OAEP with SHA-256 from aws-lc; the private part never leaves
//! this file.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rsa::OaepAlgorithm;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::crypto::{Rsa, encode, random_vec};
use crate::world::lock;

/// What the bytes of a key are.
pub(crate) enum Material {
    Rsa {
        key: Arc<Rsa>,
        public: Value,
    },
    Ec {
        public: Value,
    },
    /// RSA below 2048 bits, which no library here makes any more: ciphertexts of the right size, kept in a table.
    Small {
        bits: usize,
        public: Value,
        wrapped: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    },
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "Rsa",
            Self::Ec { .. } => "Ec",
            Self::Small { .. } => "Small",
        })
    }
}

/// The service's answer to anything its key cannot do with the bytes given.
#[derive(Debug)]
pub(crate) struct Incorrect;

impl Material {
    pub(crate) fn rsa(key: Arc<Rsa>) -> Self {
        let public = json!({ "kty": "RSA", "n": key.n, "e": key.e });
        Self::Rsa { key, public }
    }

    pub(crate) fn small(bits: usize) -> Self {
        let mut modulus = random_vec(bits / 8);
        modulus[0] |= 0x80;
        let public = json!({ "kty": "RSA", "n": encode(modulus), "e": "AQAB" });
        Self::Small {
            bits,
            public,
            wrapped: Mutex::default(),
        }
    }

    /// P-256; only its public part is ever needed, because no elliptic curve key wraps.
    pub(crate) fn ec() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .expect("aws-lc makes P-256 keys");
        let point = key.public_key().as_ref();
        let public = json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) });
        Self::Ec { public }
    }

    pub(crate) fn is_rsa(&self) -> bool {
        !matches!(self, Self::Ec { .. })
    }

    /// The public part as JSON Web Key members.
    pub(crate) fn public(&self) -> &Value {
        match self {
            Self::Rsa { public, .. } | Self::Ec { public } | Self::Small { public, .. } => public,
        }
    }

    pub(crate) fn wrap(
        &self,
        how: &'static OaepAlgorithm,
        plain: &[u8],
    ) -> Result<Vec<u8>, Incorrect> {
        match self {
            Self::Rsa { key, .. } => {
                let mut out = vec![0; key.wrap.ciphertext_size()];
                let wrapped = key.wrap.encrypt(how, plain, &mut out, None);
                wrapped.map(|bytes| bytes.to_vec()).map_err(|_| Incorrect)
            }
            Self::Small { bits, wrapped, .. } if plain.len() + 66 <= bits / 8 => {
                let out = random_vec(bits / 8);
                lock(wrapped).insert(out.clone(), plain.to_vec());
                Ok(out)
            }
            Self::Small { .. } | Self::Ec { .. } => Err(Incorrect),
        }
    }

    pub(crate) fn unwrap(
        &self,
        how: &'static OaepAlgorithm,
        wrapped: &[u8],
    ) -> Result<Vec<u8>, Incorrect> {
        match self {
            Self::Rsa { key, .. } => {
                let mut out = vec![0; key.unwrap.min_output_size()];
                let plain = key.unwrap.decrypt(how, wrapped, &mut out, None);
                plain.map(|bytes| bytes.to_vec()).map_err(|_| Incorrect)
            }
            Self::Small { wrapped: table, .. } => {
                lock(table).get(wrapped).cloned().ok_or(Incorrect)
            }
            Self::Ec { .. } => Err(Incorrect),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256 as OAEP;

    use super::*;

    #[test]
    fn only_the_same_key_unwraps() {
        let (one, other) = (
            Material::rsa(Arc::new(Rsa::generate(2048))),
            Material::rsa(Arc::new(Rsa::generate(2048))),
        );
        let wrapped = one.wrap(&OAEP, b"master key").unwrap();
        assert_eq!(one.unwrap(&OAEP, &wrapped).unwrap(), b"master key");
        assert!(other.unwrap(&OAEP, &wrapped).is_err());
        assert!(
            one.wrap(&OAEP, &[0; 191]).is_err(),
            "RSA-OAEP-256 with 2048 bits takes 190 bytes"
        );
    }

    #[test]
    fn a_small_key_has_small_ciphertexts() {
        let key = Material::small(1024);
        let wrapped = key.wrap(&OAEP, &[7; 32]).unwrap();
        assert_eq!(wrapped.len(), 128);
        assert_eq!(key.unwrap(&OAEP, &wrapped).unwrap(), [7; 32]);
        assert!(key.wrap(&OAEP, &[0; 63]).is_err());
    }
}
