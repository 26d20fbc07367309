//! What goes over the wire, as JSON. What is secret is zeroized when it is dropped.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::error::{Error, ErrorDetail, Kind};
use crate::session::envelope::{self, MOST_AAD, MOST_PLAINTEXT};

/// Of a whole body.
pub const MOST_BODY: usize = 1024 * 1024;
pub const MOST_ITEMS: usize = 100;

/// The ciphertext of the largest plaintext.
const MOST_CIPHERTEXT: usize = MOST_PLAINTEXT + envelope::HEADER_LEN + envelope::TAG_LEN;

/// Standard base64 with padding.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Base64<'a, const MOST: usize>(#[serde(borrow)] Cow<'a, str>);

impl<const MOST: usize> JsonSchema for Base64<'_, MOST> {
    fn schema_name() -> Cow<'static, str> {
        format!("Base64_{MOST}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "byte",
            "contentEncoding": "base64",
            "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
            "maxLength": MOST.div_ceil(3) * 4,
        })
    }
}

impl<const MOST: usize> Base64<'_, MOST> {
    /// `what` names the field for people.
    pub fn decode(&self, what: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let too_long = || {
            let message = format!("{what} may have at most {MOST} bytes before base64.");
            Error::new(Kind::PayloadTooLarge, message)
        };
        if self.0.len() > MOST.div_ceil(3) * 4 {
            return Err(too_long());
        }
        let decoded = STANDARD.decode(self.0.as_bytes()).map(Zeroizing::new);
        let decoded = decoded
            .map_err(|_| Error::invalid(format!("{what} must be standard base64 with padding.")))?;
        if decoded.len() > MOST {
            return Err(too_long());
        }
        Ok(decoded)
    }
}

pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Base64 of what is secret.
pub struct Clear(Zeroizing<String>);

impl Clear {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(encode(bytes)))
    }
}

impl fmt::Debug for Clear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clear")
    }
}

impl Serialize for Clear {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl JsonSchema for Clear {
    fn schema_name() -> Cow<'static, str> {
        "Clear".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "byte",
            "contentEncoding": "base64",
        })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest<'a> {
    /// `NAMESPACE/NAME` of the `TenantKms` object.
    #[serde(borrow)]
    #[schemars(length(max = 317), example = "tenants/acme")]
    pub tenant: Cow<'a, str>,
}

#[derive(Serialize, JsonSchema)]
pub struct SessionAnswer {
    /// To be sent as `X-Session-Token`; good at every replica.
    pub session_token: String,
    /// When it ends at the latest, RFC 3339.
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
    /// Base64; see docs/ciphertext-format.md.
    pub ciphertext: String,
    /// The master key that it was made with.
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
    /// Base64.
    pub plaintext: Clear,
    /// The master key that it was made with; not the active one: rewrap it.
    pub key_id: String,
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
    /// 32 random bytes in base64, known to nobody else.
    pub plaintext: Clear,
    /// The same encrypted: `/agent/v1/decrypt` opens it.
    pub ciphertext: String,
    pub key_id: String,
    /// Until when the plaintext may be kept, RFC 3339: whoever keeps it longer uses the tenant's data
    /// after the tenant is sealed.
    pub keep_until: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewrapRequest<'a> {
    #[serde(borrow)]
    #[schemars(length(min = 1, max = 100))]
    pub items: Vec<DecryptRequest<'a>>,
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

/// Reads a body. What is wrong is told by its place, never by its content.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
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
