//! What goes over the wire, as JSON. What is secret is zeroized when it is dropped.

mod bytes;
mod object;

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::error::Unspecified;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::bytes::{Base64, Clear, encode};
use self::object::Object;
use super::error::{Error, ErrorDetail, Kind};
use crate::session::envelope::{self, MOST_AAD, MOST_PLAINTEXT};

/// Of a whole body.
pub const MOST_BODY: usize = 1024 * 1024;
pub const MOST_ITEMS: usize = 100;

/// The ciphertext of the largest plaintext.
const MOST_CIPHERTEXT: usize = MOST_PLAINTEXT + envelope::HEADER_LEN + envelope::TAG_LEN;

/// A namespace is one label, an object's name a DNS name.
const TENANT: &str = "^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\
                      (?:\\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)*$";
const KEY_ID: &str = "^[0-9a-f]{32}$";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest<'a> {
    /// `NAMESPACE/NAME` of the `TenantKms` object.
    #[serde(borrow)]
    #[schemars(length(max = 317), regex(pattern = TENANT), example = "tenants/acme")]
    pub tenant: Cow<'a, str>,
}

#[derive(Serialize, JsonSchema)]
pub struct SessionAnswer {
    /// To be sent as `X-Session-Token`; good at every replica.
    pub session_token: String,
    /// When it ends at the latest, in whole seconds of UTC.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
    pub ttl_seconds: u64,
    /// When to get the next one.
    pub renew_after_seconds: u64,
}

impl fmt::Debug for SessionAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionAnswer")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptRequest<'a> {
    #[serde(borrow)]
    #[schemars(example = "aGVsbG8=")]
    pub plaintext: Base64<'a, MOST_PLAINTEXT>,
    /// What must be the same when it is decrypted; it is not kept. Absent is the same as empty.
    #[serde(borrow, default)]
    #[schemars(example = "cmVjb3JkLTE=")]
    pub aad: Option<Base64<'a, MOST_AAD>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Ciphertext {
    /// See docs/ciphertext-format.md.
    #[schemars(schema_with = "ciphertext")]
    pub ciphertext: String,
    /// The master key that it was made with.
    #[schemars(regex(pattern = KEY_ID))]
    pub key_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecryptRequest<'a> {
    #[serde(borrow)]
    #[schemars(example = "VEtNAQ==")]
    pub ciphertext: Base64<'a, MOST_CIPHERTEXT>,
    /// What it was encrypted with.
    #[serde(borrow, default)]
    #[schemars(example = "cmVjb3JkLTE=")]
    pub aad: Option<Base64<'a, MOST_AAD>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Plaintext {
    pub plaintext: Clear,
    /// The master key that it was made with; not the active one: rewrap it.
    #[schemars(regex(pattern = KEY_ID))]
    pub key_id: String,
    /// Where it is a data key: until when it may be kept.
    #[schemars(extend("format" = "date-time"))]
    pub keep_until: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataKeyRequest<'a> {
    #[serde(borrow, default)]
    #[schemars(example = "cmVjb3JkLTE=")]
    pub aad: Option<Base64<'a, MOST_AAD>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DataKey {
    /// 32 random bytes, known to nobody else.
    pub plaintext: Clear,
    /// The same encrypted: `/agent/v1/decrypt` opens it.
    #[schemars(schema_with = "ciphertext")]
    pub ciphertext: String,
    #[schemars(regex(pattern = KEY_ID))]
    pub key_id: String,
    /// Until when the plaintext may be kept: whoever keeps it longer uses the tenant's data after the
    /// tenant is sealed.
    #[schemars(extend("format" = "date-time"))]
    pub keep_until: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewrapRequest<'a> {
    #[serde(borrow, deserialize_with = "object::each")]
    #[schemars(length(min = 1, max = MOST_ITEMS))]
    pub items: Vec<DecryptRequest<'a>>,
}

impl RewrapRequest<'_> {
    /// Each of the items may still be refused in its place.
    pub fn check(&self) -> Result<(), Error> {
        if (1..=MOST_ITEMS).contains(&self.items.len()) {
            return Ok(());
        }
        let message = format!("items must be 1 to {MOST_ITEMS} ciphertexts.");
        Err(Error::invalid(message))
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct RewrapAnswer {
    /// In the order of the request.
    pub items: Vec<Rewrapped>,
}

/// An item under the active master key, or why it is not.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Rewrapped {
    Done(Ciphertext),
    Failed { error: ErrorDetail },
}

fn ciphertext(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    bytes::schema()
}

/// Reads a body. What is wrong is told by its place, never by its content.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    let read = serde_json::from_slice(bytes).map(|Object(read)| read);
    read.map_err(|error| {
        Error::invalid(format!(
            "The body is not the JSON object that this call takes (line {}, column {}); the fields \
             are in GET /agent/v1/openapi.json.",
            error.line(),
            error.column()
        ))
    })
}

impl From<envelope::Unsealed> for Error {
    fn from(unsealed: envelope::Unsealed) -> Self {
        match unsealed {
            envelope::Unsealed::TooLong => Self::new(Kind::PayloadTooLarge, unsealed.to_string()),
            envelope::Unsealed::Random(_) => Self::busy(),
        }
    }
}

/// The machine gave no random bytes.
impl From<Unspecified> for Error {
    fn from(_: Unspecified) -> Self {
        Self::busy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_and_so_is_an_item() {
        let good = br#" {"items": [{"ciphertext": "AAAA", "aad": null}, {"ciphertext": ""}]}"#;
        let request: RewrapRequest<'_> = read(good).expect("a request");
        assert_eq!(request.items.len(), 2);
        for wrong in [
            r#"[[{"ciphertext": "AAAA"}]]"#,
            r#"{"items": [["AAAA"]]}"#,
            r#"{"items": {"ciphertext": "AAAA"}}"#,
            r#"{"items": [{"ciphertext": "AAAA", "more": 1}]}"#,
            r#"{"items": [{"ciphertext": "AAAA", "ciphertext": "AAAA"}]}"#,
            r#"{"items": []} {}"#,
        ] {
            let refused = read::<RewrapRequest<'_>>(wrong.as_bytes()).expect_err(wrong);
            assert_eq!(refused.kind, Kind::InvalidRequest, "{wrong}");
        }
        assert!(read::<SessionRequest<'_>>(br#"["tenants/acme"]"#).is_err());
        assert!(read::<DataKeyRequest<'_>>(b"[]").is_err());
    }

    #[test]
    fn a_call_takes_1_to_100_items() {
        for (number, ok) in [(0, false), (1, true), (100, true), (101, false)] {
            let items = vec![r#"{"ciphertext":""}"#; number].join(",");
            let text = format!(r#"{{"items":[{items}]}}"#);
            let request: RewrapRequest<'_> = read(text.as_bytes()).expect("a request");
            assert_eq!(request.check().is_ok(), ok, "{number}");
        }
    }
}
