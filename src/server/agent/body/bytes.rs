//! Bytes as JSON has them: in standard base64 with padding, each in one form only.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::super::error::{Error, Kind};

/// Also of the last letter only one is taken: its bits that mean nothing are zero.
const PATTERN: &str =
    "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// Of an answer.
pub fn schema() -> Schema {
    schemars::json_schema!({
        "type": "string",
        "format": "byte",
        "contentEncoding": "base64",
        "pattern": PATTERN,
    })
}

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
            "pattern": PATTERN,
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
        schema()
    }
}
