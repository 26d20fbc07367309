//! JSON Web Tokens: the cloud's own RS256 access tokens, and the check of other issuers' assertions against their
//! JWKS. It verifies signatures only; issuer, audience and time are the caller's to check, and nothing here skips one.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::crypto::{Rsa, decode, encode, hex, random};

/// Signs this cloud's access tokens.
pub(crate) struct Signer {
    key: Arc<Rsa>,
    kid: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Whatever the key, its id is new, and by its id a verifier finds it: no other cloud's tokens
    /// are believed.
    pub(crate) fn new(key: Arc<Rsa>) -> Self {
        let kid = hex(&random::<16>());
        Self { key, kid }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5t": self.kid, "kid": self.kid });
        let signed = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims.to_string())
        );
        let mut signature = vec![0; self.key.signing.public_modulus_len()];
        self.key
            .signing
            .sign(
                &signature::RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .expect("a 2048-bit key signs SHA-256");
        format!("{signed}.{}", encode(signature))
    }

    /// The key set that a verifier of these tokens needs.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [{ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "x5t": self.kid,
                           "n": self.key.n, "e": self.key.e }] })
    }
}

/// Why a token is not what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    Malformed,
    UnknownKey,
    Signature,
}

/// The claims, if the token is well formed, before any check.
pub(crate) fn claims(token: &str) -> Option<Value> {
    Parts::of(token).map(|parts| parts.claims)
}

/// The claims of a token whose signature one of `jwks` made. RS256 and ES256 only, never `none`.
pub(crate) fn verify(token: &str, jwks: &Value) -> Result<Value, Rejected> {
    let parts = Parts::of(token).ok_or(Rejected::Malformed)?;
    let kid = parts.header.get("kid").and_then(Value::as_str);
    let alg = parts
        .header
        .get("alg")
        .and_then(Value::as_str)
        .ok_or(Rejected::Malformed)?;
    let key = jwks
        .get("keys")
        .and_then(Value::as_array)
        .and_then(|keys| {
            keys.iter()
                .find(|key| key.get("kid").and_then(Value::as_str) == kid)
        })
        .ok_or(Rejected::UnknownKey)?;
    let part = |name: &str| {
        key.get(name)
            .and_then(Value::as_str)
            .and_then(decode)
            .ok_or(Rejected::UnknownKey)
    };
    let verified = match (alg, key.get("kty").and_then(Value::as_str)) {
        ("RS256", Some("RSA")) => RsaPublicKeyComponents {
            n: part("n")?,
            e: part("e")?,
        }
        .verify(
            &signature::RSA_PKCS1_2048_8192_SHA256,
            parts.signed.as_bytes(),
            &parts.signature,
        )
        .is_ok(),
        ("ES256", Some("EC")) => {
            let point = [vec![4], part("x")?, part("y")?].concat();
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                .verify(parts.signed.as_bytes(), &parts.signature)
                .is_ok()
        }
        _ => false,
    };
    if verified {
        Ok(parts.claims)
    } else {
        Err(Rejected::Signature)
    }
}

/// `aud` may be one string or, as Kubernetes writes it, an array.
pub(crate) fn audiences(claims: &Value) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

struct Parts<'a> {
    signed: &'a str,
    header: Value,
    claims: Value,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |text: &str| {
            serde_json::from_slice::<Value>(&decode(text)?)
                .ok()
                .filter(Value::is_object)
        };
        Some(Self {
            signed,
            header: object(header)?,
            claims: object(claims)?,
            signature: decode(signature)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Signer {
        Signer::new(Arc::new(Rsa::generate(2048)))
    }

    #[test]
    fn only_the_signer_is_believed() {
        let signer = fresh();
        let other = fresh();
        let token = signer.sign(&json!({ "aud": "x" }));
        assert!(verify(&token, &signer.jwks()).is_ok());
        assert_eq!(verify(&token, &other.jwks()), Err(Rejected::UnknownKey));
        let (head, signature) = token.rsplit_once('.').unwrap();
        let forged = format!(
            "{}.{}.{signature}",
            head.split_once('.').unwrap().0,
            encode(r#"{"aud":"y"}"#)
        );
        assert_eq!(verify(&forged, &signer.jwks()), Err(Rejected::Signature));
        assert_eq!(verify("a.b", &signer.jwks()), Err(Rejected::Malformed));
    }

    #[test]
    fn unsigned_tokens_are_refused() {
        let signer = fresh();
        let header = encode(json!({ "alg": "none", "kid": signer.kid }).to_string());
        let token = format!("{header}.{}.", encode("{}"));
        assert_eq!(verify(&token, &signer.jwks()), Err(Rejected::Signature));
    }
}
