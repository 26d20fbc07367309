//! What a failed attempt means. Providers turn every cloud answer into one of these; nobody above
//! a provider ever looks at a cloud's words. Never holds a secret, a token or an upstream body.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::api::Reason;

/// What the caller must do about a failure. The seal rule acts on this and on nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The customer (or the platform's own policy) said no: seals a tenant, refuses a new spec.
    Denial,
    /// The platform's side must be changed by a person: refuses a new spec, never a no.
    Misconfigured,
    /// Nobody can tell: an outage, throttling, an answer in no known form.
    Transient,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denial => "Denial",
            Self::Misconfigured => "Misconfigured",
            Self::Transient => "Transient",
        }
    }
}

/// A code or request id of a cloud, kept only when it is harmless: `[A-Za-z0-9._:-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    pub fn vet(text: &str) -> Option<Self> {
        let harmless = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
        harmless.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Boxed, as each tenant has room for several and mostly none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(Box<Details>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    pub kind: Kind,
    pub reason: Reason,
    /// What happened, what to check, and the command that fixes it. The operator's own words.
    pub message: String,
    pub code: Option<Code>,
    pub request_id: Option<Code>,
    /// How long the cloud asked to be left alone.
    pub retry_after: Option<Duration>,
    /// The bytes were looked at and refused, as no outage and no proxy does: they are not what they
    /// were, or the key is not. Which of the two, a probe tells.
    pub bytes_refused: bool,
}

impl Failure {
    pub fn new(kind: Kind, reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            reason,
            message: message.into(),
            code: None,
            request_id: None,
            retry_after: None,
            bytes_refused: false,
        }))
    }

    pub fn denial(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Kind::Denial, reason, message)
    }

    pub fn misconfigured(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Kind::Misconfigured, reason, message)
    }

    pub fn transient(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Kind::Transient, reason, message)
    }

    pub fn into_details(self) -> Details {
        *self.0
    }

    #[must_use]
    pub fn with_code(mut self, code: Option<&str>) -> Self {
        self.code = code.and_then(Code::vet);
        self
    }

    #[must_use]
    pub fn with_request_id(mut self, id: Option<&str>) -> Self {
        self.request_id = id.and_then(Code::vet);
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    #[must_use]
    pub fn with_bytes_refused(mut self) -> Self {
        self.bytes_refused = true;
        self
    }
}

impl Deref for Failure {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.name(), self.message)?;
        if let Some(code) = &self.code {
            write!(f, " (code {})", code.as_str())?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_codes_are_kept() {
        assert!(Code::vet("AADSTS7000215").is_some());
        assert!(Code::vet("").is_none());
        assert!(Code::vet("a b").is_none());
        assert!(Code::vet("\u{1b}[31m").is_none());
        assert!(Code::vet("<script>").is_none());
        assert!(Code::vet(&"x".repeat(65)).is_none());
    }
}
