//! How the agent API says no: a closed set of types, each with its status, and a message for a person.
//! What a caller sent is never repeated.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use super::limits::Exceeded;
use super::{Answer, json_answer};
use crate::api::Reason;
use crate::provider::TenantId;
use crate::server::reviews::Refusal;
use crate::session::{Refused, envelope, token};

/// What a caller acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    InvalidRequest,
    CiphertextInvalid,
    Unauthenticated,
    SessionInvalid,
    SessionExpired,
    Forbidden,
    NotFound,
    TenantNotFound,
    MethodNotAllowed,
    KeyErased,
    PayloadTooLarge,
    UnsupportedMediaType,
    RateLimited,
    TenantSealed,
    TenantSuspended,
    TenantPending,
    KmsUnavailable,
    Busy,
    ReviewsUnavailable,
}

impl Kind {
    pub const ALL: [Self; 19] = [
        Self::InvalidRequest,
        Self::CiphertextInvalid,
        Self::Unauthenticated,
        Self::SessionInvalid,
        Self::SessionExpired,
        Self::Forbidden,
        Self::NotFound,
        Self::TenantNotFound,
        Self::MethodNotAllowed,
        Self::KeyErased,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::TenantSealed,
        Self::TenantSuspended,
        Self::TenantPending,
        Self::KmsUnavailable,
        Self::Busy,
        Self::ReviewsUnavailable,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::CiphertextInvalid => "ciphertext_invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::SessionInvalid => "session_invalid",
            Self::SessionExpired => "session_expired",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::TenantNotFound => "tenant_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::KeyErased => "key_erased",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RateLimited => "rate_limited",
            Self::TenantSealed => "tenant_sealed",
            Self::TenantSuspended => "tenant_suspended",
            Self::TenantPending => "tenant_pending",
            Self::KmsUnavailable => "kms_unavailable",
            Self::Busy => "busy",
            Self::ReviewsUnavailable => "reviews_unavailable",
        }
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::CiphertextInvalid => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::SessionInvalid | Self::SessionExpired => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound | Self::TenantNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::KeyErased => StatusCode::GONE,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::TenantSealed
            | Self::TenantSuspended
            | Self::TenantPending
            | Self::KmsUnavailable
            | Self::Busy
            | Self::ReviewsUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub retry_after: Option<Duration>,
}

/// The body of every refusal.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorDetail {
    /// What to act on; new types may come.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// For a person: what is wrong, and what to do.
    pub message: String,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, message)
    }

    pub fn busy() -> Self {
        let message = "This replica has too much to do at the moment. Try again.";
        Self::new(Kind::Busy, message).after(Duration::from_secs(1))
    }

    /// A body that did not come in time.
    pub fn late() -> Self {
        let message =
            "The body did not arrive in time. Send it together with the head, and try again.";
        Self::new(Kind::Busy, message).after(Duration::from_secs(1))
    }

    pub fn ciphertext() -> Self {
        Self::new(Kind::CiphertextInvalid, envelope::Refused.to_string())
    }

    pub fn session(message: impl Into<String>) -> Self {
        Self::new(Kind::SessionInvalid, message)
    }

    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self {
            retry_after: Some(pause),
            ..self
        }
    }

    pub fn body(self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                kind: self.kind,
                message: self.message,
            },
        }
    }

    pub fn answer(self) -> Answer {
        let (kind, retry_after) = (self.kind, self.retry_after);
        // Two texts are written as JSON whatever is in them.
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut answer = json_answer(kind.status(), body);
        let headers = answer.headers_mut();
        if kind == Kind::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(after) = retry_after {
            let seconds = after.as_secs_f64().ceil().max(1.0);
            headers.insert(header::RETRY_AFTER, seconds_of(seconds));
        }
        answer
    }

    /// Why a tenant's keys are not given out.
    pub fn of_tenant(tenant: &TenantId, refused: &Refused) -> Self {
        let (namespace, name) = tenant.parts();
        let look = format!("kubectl describe tkms '{name}' --namespace '{namespace}'");
        let why = |reason: &Option<Reason>| {
            reason.map_or_else(String::new, |reason| format!(" ({})", reason.name()))
        };
        match refused {
            Refused::NotFound => Self::new(
                Kind::TenantNotFound,
                format!(
                    "There is no tenant {tenant} here. List what is: kubectl get tkms --namespace \
                     '{namespace}'"
                ),
            ),
            Refused::Sealed(reason) => Self::new(
                Kind::TenantSealed,
                format!(
                    "Tenant {tenant} is sealed{}: its data may not be used. It is unsealed by \
                     itself when its key can be used again: {look}",
                    why(reason)
                ),
            ),
            Refused::Suspended => Self::new(
                Kind::TenantSuspended,
                format!("Tenant {tenant} is suspended by the platform (spec.suspend): {look}"),
            ),
            Refused::Pending(reason) => Self::new(
                Kind::TenantPending,
                format!(
                    "The key of tenant {tenant} was never proved yet{}: {look}",
                    why(reason)
                ),
            ),
            Refused::Unproved(reason) => Self::new(
                Kind::KmsUnavailable,
                format!(
                    "This replica has no fresh proof that the key of tenant {tenant} may be \
                     used{}. Try again; if it lasts: {look}",
                    why(reason)
                ),
            )
            .after(Duration::from_secs(1)),
            Refused::Starting => Self::new(
                Kind::KmsUnavailable,
                "This replica has just started and does not know all tenants yet. Try again.",
            )
            .after(Duration::from_secs(1)),
            Refused::UnknownKey => Self::ciphertext(),
            Refused::ErasedKey => Self::new(
                Kind::KeyErased,
                format!(
                    "The master key of tenant {tenant} that this was made with was erased for \
                     ever (spec.masterKey.erasedIds): {look}"
                ),
            ),
            Refused::Busy => Self::busy(),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Unauthenticated { .. } => Self::new(Kind::Unauthenticated, message),
            Refusal::Forbidden { .. } => Self::new(Kind::Forbidden, message),
            Refusal::Unavailable => {
                Self::new(Kind::ReviewsUnavailable, message).after(Duration::from_secs(2))
            }
            Refusal::Busy => Self::new(Kind::Busy, message).after(Duration::from_secs(1)),
        }
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        let after = exceeded.try_again_after;
        Self::new(Kind::RateLimited, exceeded.to_string()).after(after)
    }
}

impl From<token::Refused> for Error {
    fn from(refused: token::Refused) -> Self {
        let kind = match refused {
            token::Refused::Expired => Kind::SessionExpired,
            _ => Kind::SessionInvalid,
        };
        Self::new(kind, refused.to_string())
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and small"
)]
fn seconds_of(seconds: f64) -> HeaderValue {
    HeaderValue::from(seconds.min(3600.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_explained_to_people_and_no_other() {
        let page = include_str!("../../../docs/troubleshooting.md");
        let section = page.split("## What a workload is told").nth(1);
        let section = section.and_then(|rest| rest.split("\nNo answer").next());
        let rows = section.expect("a section").lines();
        let rows: Vec<&str> = rows.filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), Kind::ALL.len());
        let guide = include_str!("../../../docs/use-from-your-workload.md");
        for kind in Kind::ALL {
            let row = format!("| `{}` | {} |", kind.name(), kind.status().as_u16());
            assert!(rows.iter().any(|line| line.starts_with(&row)), "{row}");
            let named = format!("`{}`", kind.name());
            assert!(guide.contains(&named), "{named} is not in the guide");
        }
    }
}
