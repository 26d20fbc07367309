//! Why a call failed: a kind from a closed set, a category to act on, a message for a person. None of
//! them ever holds a token, a plaintext or an answer that was not understood.

use std::time::Duration;

use super::wire::{ErrorAnswer, Refusal};
use crate::random;

/// No answer keeps a caller away for longer.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// What the caller does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// The customer, or the platform on its behalf, said no. Stop serving this tenant's data, drop
    /// what is held of it in the clear, and ask again later.
    Sealed,
    /// It may pass by itself: try again, with [`Backoff`].
    Unavailable,
    /// The same call will fail until a person changes something; the message says what.
    Denied,
    /// The request or its ciphertext is wrong; the same one will never succeed.
    Invalid,
}

macro_rules! kinds {
    ($($kind:ident $name:literal $category:ident)+) => {
        /// The operator's error types and, after them, what only the client can find.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $($kind,)+
        }

        impl Kind {
            /// As the API and logs write it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            pub fn category(self) -> Category {
                match self {
                    $(Self::$kind => Category::$category,)+
                }
            }

            fn named(name: &str) -> Option<Self> {
                [$(Self::$kind,)+].into_iter().find(|kind| kind.name() == name)
            }
        }
    };
}

kinds! {
    TenantSealed "tenant_sealed" Sealed
    TenantSuspended "tenant_suspended" Sealed
    TenantPending "tenant_pending" Unavailable
    KmsUnavailable "kms_unavailable" Unavailable
    ReviewsUnavailable "reviews_unavailable" Unavailable
    Busy "busy" Unavailable
    RateLimited "rate_limited" Unavailable
    SessionInvalid "session_invalid" Unavailable
    SessionExpired "session_expired" Unavailable
    Unauthenticated "unauthenticated" Denied
    Forbidden "forbidden" Denied
    TenantNotFound "tenant_not_found" Denied
    NotFound "not_found" Denied
    MethodNotAllowed "method_not_allowed" Denied
    UnsupportedMediaType "unsupported_media_type" Denied
    KeyErased "key_erased" Denied
    InvalidRequest "invalid_request" Invalid
    CiphertextInvalid "ciphertext_invalid" Invalid
    PayloadTooLarge "payload_too_large" Invalid
    Unreachable "unreachable" Unavailable
    CertificateNotTrusted "certificate_not_trusted" Unavailable
    DeadlineExceeded "deadline_exceeded" Unavailable
    AnswerTooLarge "answer_too_large" Unavailable
    AnswerNotUnderstood "answer_not_understood" Unavailable
    Refused "refused" Denied
    FileUnreadable "file_unreadable" Denied
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({})", kind.name())]
pub struct Error {
    kind: Kind,
    message: String,
    retry_after: Option<Duration>,
}

impl Error {
    pub(super) fn new(kind: Kind, message: String) -> Self {
        Self {
            kind,
            message,
            retry_after: None,
        }
    }

    pub(super) fn not_understood() -> Self {
        let message = "what answers is not the agent API of tenant-kms, or of another version. Check \
                       the base URL, and what runs: kubectl get deployment --all-namespaces \
                       --selector app.kubernetes.io/name=tenant-kms-operator --output wide";
        Self::new(Kind::AnswerNotUnderstood, message.to_owned())
    }

    pub(super) fn late(after: Duration) -> Self {
        let why = format!("no answer in {} s", after.as_secs_f32());
        Self::new(Kind::DeadlineExceeded, why)
    }

    /// From an answer that is not 200.
    pub(super) fn of_answer(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let refusal = serde_json::from_slice::<ErrorAnswer>(body).ok();
        let known = refusal.and_then(|answer| Self::of_refusal(&answer.error));
        let error = known.unwrap_or_else(|| match status {
            // A newer operator, or something on the way that speaks in its place.
            429 | 500.. => Self::new(
                Kind::Busy,
                format!("the operator answered {status}; it may pass"),
            ),
            400..429 | 430..500 => Self::new(
                Kind::Refused,
                format!("the operator refused with {status}, in a form this client does not know"),
            ),
            _ => Self::not_understood(),
        });
        Self {
            retry_after: retry_after.map(|wait| wait.min(LONGEST_WAIT)),
            ..error
        }
    }

    /// `None` for a type that is not of the closed set: its message is not repeated.
    pub(super) fn of_refusal(refusal: &Refusal) -> Option<Self> {
        let kind = Kind::named(&refusal.r#type)?;
        let printable = |c: &char| !c.is_control();
        let message = refusal.message.chars().filter(printable).take(1000);
        Some(Self::new(kind, message.collect()))
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn category(&self) -> Category {
        self.kind.category()
    }

    /// How long the operator asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the client itself tries again within one call: what usually passes in moments.
    pub(super) fn may_pass_soon(&self) -> bool {
        matches!(
            self.kind,
            Kind::KmsUnavailable
                | Kind::ReviewsUnavailable
                | Kind::Busy
                | Kind::RateLimited
                | Kind::Unreachable
                | Kind::DeadlineExceeded
        )
    }

    /// Whether another session may help.
    pub(super) fn ends_session(&self) -> bool {
        matches!(self.kind, Kind::SessionInvalid | Kind::SessionExpired)
    }
}

/// The pauses between attempts: doubled each time up to a limit, jittered so that a thousand pods do
/// not come at once, and never shorter than the operator asks for.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            next: first,
        }
    }

    /// How long to wait after this failure.
    pub fn after(&mut self, error: &Error) -> Duration {
        self.pause(error.retry_after, random::fraction())
    }

    /// After a success: the next failure is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// `fraction` is in 0..1.
    fn pause(&mut self, retry_after: Option<Duration>, fraction: f64) -> Duration {
        let step = self.next.min(self.most);
        self.next = step.saturating_mul(2).min(self.most);
        match retry_after {
            Some(asked) => asked.max(step) + step.mul_f64(fraction / 2.0),
            None => step.mul_f64(0.5 + fraction / 2.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pause_doubles_to_its_limit_between_half_and_whole() {
        for (fraction, expected) in [
            (0.0, [500, 1000, 1500, 1500]),
            (0.5, [750, 1500, 2250, 2250]),
        ] {
            let mut backoff = Backoff::new(SECOND, 3 * SECOND);
            let pauses = expected.map(|_| backoff.pause(None, fraction).as_millis());
            assert_eq!(pauses, expected);
            backoff.reset();
            assert_eq!(backoff.pause(None, fraction).as_millis(), expected[0]);
        }
    }

    #[test]
    fn a_pause_is_never_shorter_than_was_asked() {
        for fraction in [0.0, 0.99] {
            let pause = Backoff::new(SECOND, SECOND).pause(Some(7 * SECOND), fraction);
            assert!(pause >= 7 * SECOND && pause < 8 * SECOND, "{pause:?}");
            let pause = Backoff::new(SECOND, SECOND).pause(Some(Duration::ZERO), fraction);
            assert!(pause >= SECOND, "{pause:?}");
        }
    }

    #[test]
    fn every_type_of_the_api_has_its_category() {
        let category = |status, name: &str| {
            let body = format!(r#"{{"error":{{"type":"{name}","message":"m\u0007"}}}}"#);
            let error = Error::of_answer(status, None, body.as_bytes());
            assert_eq!(error.to_string(), format!("m ({name})"));
            error.category()
        };
        for (status, name, expected) in [
            (400, "invalid_request", Category::Invalid),
            (400, "ciphertext_invalid", Category::Invalid),
            (401, "unauthenticated", Category::Denied),
            (401, "session_invalid", Category::Unavailable),
            (401, "session_expired", Category::Unavailable),
            (403, "forbidden", Category::Denied),
            (404, "not_found", Category::Denied),
            (404, "tenant_not_found", Category::Denied),
            (405, "method_not_allowed", Category::Denied),
            (410, "key_erased", Category::Denied),
            (413, "payload_too_large", Category::Invalid),
            (415, "unsupported_media_type", Category::Denied),
            (429, "rate_limited", Category::Unavailable),
            (503, "tenant_sealed", Category::Sealed),
            (503, "tenant_suspended", Category::Sealed),
            (503, "tenant_pending", Category::Unavailable),
            (503, "kms_unavailable", Category::Unavailable),
            (503, "busy", Category::Unavailable),
            (503, "reviews_unavailable", Category::Unavailable),
        ] {
            assert_eq!(category(status, name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_repeated() {
        for (status, body, category) in [
            (502, "<html>hunter2", Category::Unavailable),
            (418, "hunter2", Category::Denied),
            (
                500,
                r#"{"error":{"type":"hunter2","message":"hunter2"}}"#,
                Category::Unavailable,
            ),
            (302, "hunter2", Category::Unavailable),
        ] {
            let error = Error::of_answer(status, None, body.as_bytes());
            assert_eq!(error.category(), category, "{status}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
