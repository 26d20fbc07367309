//! Faults as JSON: the same fields as the library's, with `effect` named by `kind` and times in milliseconds. Turns
//! them into the library's type and does nothing else.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::effects::Effect;
use crate::faults::Fault;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultJson {
    #[serde(default = "super::any")]
    host: String,
    operation: Option<String>,
    principal: Option<String>,
    times: Option<u32>,
    effect: EffectJson,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum EffectJson {
    Status {
        status: u16,
        /// Without it: a body in Key Vault's form.
        body: Option<String>,
        retry_after: Option<String>,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    Latency {
        millis: u64,
    },
    Hang,
    Reset,
    Truncate,
    Body {
        content_type: String,
        text: String,
    },
    BigBody {
        size: usize,
    },
    Redirect {
        to: String,
    },
    WrongUnwrap,
    OtherVersion,
    Merge {
        fields: Value,
    },
    CorruptRequest {
        field: String,
    },
    /// A body in the form of Google's APIs.
    Google {
        status: u16,
        code: String,
    },
    UntrustedCertificate,
}

impl From<FaultJson> for Fault {
    fn from(fault: FaultJson) -> Self {
        let FaultJson {
            host,
            operation,
            principal,
            times,
            effect,
        } = fault;
        Self {
            host,
            operation,
            principal,
            times,
            effect: effect.into(),
        }
    }
}

impl From<EffectJson> for Effect {
    fn from(effect: EffectJson) -> Self {
        match effect {
            EffectJson::Status {
                status,
                body,
                retry_after,
                headers,
            } => {
                let usual = match Self::status(status) {
                    Self::Status { body, .. } => body,
                    _ => String::new(),
                };
                Self::Status {
                    status,
                    body: body.unwrap_or(usual),
                    retry_after,
                    headers,
                }
            }
            EffectJson::Latency { millis } => Self::Latency(Duration::from_millis(millis)),
            EffectJson::Hang => Self::Hang,
            EffectJson::Reset => Self::Reset,
            EffectJson::Truncate => Self::Truncate,
            EffectJson::Body { content_type, text } => Self::Body {
                content_type,
                bytes: text.into_bytes(),
            },
            EffectJson::BigBody { size } => Self::BigBody(size),
            EffectJson::Redirect { to } => Self::Redirect(to),
            EffectJson::WrongUnwrap => Self::WrongUnwrap,
            EffectJson::OtherVersion => Self::OtherVersion,
            EffectJson::Merge { fields } => Self::Merge(fields),
            EffectJson::CorruptRequest { field } => Self::CorruptRequest(field),
            EffectJson::Google { status, code } => Self::google(status, &code),
            EffectJson::UntrustedCertificate => Self::UntrustedCertificate,
        }
    }
}
