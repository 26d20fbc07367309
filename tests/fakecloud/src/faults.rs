//! Faults that a test arms: which requests they hit and what then happens instead of, before or to the true answer.
//! A fault never changes the cloud's state, so clearing it leaves the truth as it was.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::calls::Call;
use crate::crypto::{decode, encode, hex, random};
use crate::http::Answer;
use crate::world::lock;

/// Names an armed fault.
pub type FaultId = u64;

/// An effect and the requests it hits.
#[derive(Debug, Clone)]
pub struct Fault {
    /// A host, or `*`.
    pub host: String,
    /// As in [`Call::operation`]; `None` is any but `connect`. `connect` is the proxy's own answer to CONNECT.
    pub operation: Option<String>,
    /// Object id of the caller.
    pub principal: Option<String>,
    /// How many requests it hits; `None` is all until cleared.
    pub times: Option<u32>,
    pub effect: Effect,
}

impl Fault {
    /// A fault on every operation of `host` (or `*`).
    pub fn on(host: &str, effect: Effect) -> Self {
        Self {
            host: host.to_owned(),
            operation: None,
            principal: None,
            times: None,
            effect,
        }
    }

    #[must_use]
    pub fn operation(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    #[must_use]
    pub fn principal(mut self, principal: &str) -> Self {
        self.principal = Some(principal.to_owned());
        self
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn hits(&self, call: &Call) -> bool {
        let operation = match self.operation.as_deref() {
            None => call.operation != "connect",
            Some(operation) => operation == call.operation,
        };
        let principal = self.principal.is_none() || self.principal == call.principal;
        self.times != Some(0) && operation && principal && call.is(&self.host, "*")
    }
}

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

#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<(FaultId, Vec<(FaultId, Fault)>)>);

impl Table {
    pub(crate) fn arm(&self, fault: Fault) -> FaultId {
        let mut table = lock(&self.0);
        table.0 += 1;
        let id = table.0;
        table.1.push((id, fault));
        id
    }

    pub(crate) fn clear(&self, id: FaultId) {
        lock(&self.0).1.retain(|(known, _)| *known != id);
    }

    pub(crate) fn clear_all(&self) {
        lock(&self.0).1.clear();
    }

    /// The effect of the fault armed last that hits this call; counts it.
    pub(crate) fn hit(&self, call: &Call) -> Option<Effect> {
        let mut table = lock(&self.0);
        let (_, fault) = table
            .1
            .iter_mut()
            .rev()
            .find(|(_, fault)| fault.hits(call))?;
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.effect.clone())
    }
}
