//! What a fault does to a request: another answer, a changed one, a late one, none. It makes answers
//! and never decides whom they hit.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::crypto::{decode, encode, hex, random};
use crate::http::{Answer, Asked};

/// What happens to a request that a fault hits.
#[derive(Debug, Clone)]
pub enum Effect {
    /// This answer instead of the true one. A body that parses as JSON is sent as `application/json`.
    Status {
        status: u16,
        body: String,
        retry_after: Option<String>,
        headers: Vec<(String, String)>,
    },
    /// The true answer, this much later.
    Latency(Duration),
    /// No answer, connection open.
    Hang,
    /// The connection is reset before any answer.
    Reset,
    /// Half of the true answer's body, then the end of the connection.
    Truncate,
    /// Status 200 with this body.
    Body {
        content_type: String,
        bytes: Vec<u8>,
    },
    /// Status 200 with a JSON document of about this many bytes.
    BigBody(usize),
    /// 307 to this location.
    Redirect(String),
    /// The true answer with the bytes of `value` flipped; meant for `unwrapkey`.
    WrongUnwrap,
    /// The true answer, naming another version of the key in `kid`.
    OtherVersion,
    /// The true answer with these top-level JSON fields put over its own.
    Merge(Value),
    /// The true answer to another request: the first byte of this base64 field of its JSON body is flipped.
    CorruptRequest(String),
    /// On `connect`: TLS with a certificate for the right host from an authority nobody trusts.
    UntrustedCertificate,
}

impl Effect {
    /// This status with a body in Key Vault's error form.
    pub fn status(status: u16) -> Self {
        let (code, message) = match status {
            429 => (
                "Throttled",
                "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
            ),
            503 => (
                "ServiceUnavailable",
                "The service is currently unavailable.",
            ),
            _ => ("InternalServerError", "An internal error occurred."),
        };
        let body = json!({ "error": { "code": code, "message": message } }).to_string();
        Self::Status {
            status,
            body,
            retry_after: None,
            headers: Vec::new(),
        }
    }

    /// This status with a body in the form of Google's APIs, for instance 503 and `UNAVAILABLE`.
    pub fn google(status: u16, code: &str) -> Self {
        let message = match code {
            "RESOURCE_EXHAUSTED" => "Quota exceeded for quota metric 'Cryptographic requests'.",
            "UNAVAILABLE" => "The service is currently unavailable.",
            _ => "Internal error encountered.",
        };
        let error = json!({ "code": status, "message": message, "status": code });
        Self::Status {
            status,
            body: json!({ "error": error }).to_string(),
            retry_after: None,
            headers: Vec::new(),
        }
    }

    /// 429, with or without `Retry-After` (seconds or a date, as written).
    pub fn throttled(after: Option<&str>) -> Self {
        match Self::status(429) {
            Self::Status {
                status,
                body,
                headers,
                ..
            } => Self::Status {
                status,
                body,
                headers,
                retry_after: after.map(str::to_owned),
            },
            other => other,
        }
    }

    /// The answer that replaces the true one, if this effect has one.
    pub(crate) fn replacement(&self) -> Option<Answer> {
        match self {
            Self::Status {
                status,
                body,
                retry_after,
                headers,
            } => {
                let json = serde_json::from_str::<Value>(body).is_ok();
                let kind = if json {
                    "application/json; charset=utf-8"
                } else {
                    "text/html; charset=utf-8"
                };
                let mut answer = Answer::new(*status, kind, body.clone())
                    .with("x-ms-request-id", crate::crypto::uuid());
                if let Some(after) = retry_after {
                    answer = answer.with("retry-after", after);
                }
                for (name, value) in headers {
                    answer
                        .headers
                        .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                    answer = answer.with(name, value);
                }
                Some(answer)
            }
            Self::Body {
                content_type,
                bytes,
            } => Some(Answer::new(200, content_type, bytes.clone())),
            Self::BigBody(size) => {
                let mut body = br#"{"value":""#.to_vec();
                body.resize(body.len() + size, b'A');
                body.extend_from_slice(br#""}"#);
                Some(Answer::new(200, "application/json; charset=utf-8", body))
            }
            Self::Redirect(to) => {
                Some(Answer::new(307, "text/plain", Bytes::new()).with("location", to))
            }
            _ => None,
        }
    }

    /// What this effect makes of the request before the service sees it.
    pub(crate) fn corrupt(&self, asked: &mut Asked) {
        let Self::CorruptRequest(field) = self else {
            return;
        };
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(&asked.body) else {
            return;
        };
        let bytes = fields.get(field).and_then(Value::as_str);
        let bytes = bytes.and_then(|text| STANDARD.decode(text).ok());
        if let Some(mut bytes) = bytes
            && let Some(first) = bytes.first_mut()
        {
            *first = !*first;
            fields.insert(field.clone(), STANDARD.encode(bytes).into());
            asked.body = Value::Object(fields).to_string().into();
        }
    }

    /// What this effect makes of the true answer. Only successes are touched: a refusal stays the refusal it was.
    pub(crate) fn rewrite(&self, mut answer: Answer) -> Answer {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(&answer.body) else {
            return answer;
        };
        if answer.status != 200 {
            return answer;
        }
        match self {
            Self::WrongUnwrap => {
                if let Some(bytes) = fields.get("value").and_then(Value::as_str).and_then(decode) {
                    let flipped: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
                    fields.insert("value".to_owned(), encode(flipped).into());
                }
            }
            Self::OtherVersion => {
                if let Some((key, _)) = fields
                    .get("kid")
                    .and_then(Value::as_str)
                    .and_then(|kid| kid.rsplit_once('/'))
                {
                    let other = format!("{key}/{}", hex(&random::<16>()));
                    fields.insert("kid".to_owned(), other.into());
                }
            }
            Self::Merge(Value::Object(over)) => fields.extend(over.clone()),
            _ => return answer,
        }
        answer.body = Value::Object(fields).to_string().into();
        answer
    }
}
