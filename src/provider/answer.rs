//! What came back: an answer, or the trouble in place of one. Neither can be printed in a way
//! that shows a body, a header or an upstream text.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Failure;
use crate::api::Reason;

/// A whole answer, of any status.
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// A cloud may ask to be left alone for this long at most; more is cut to it.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

impl Answer {
    pub fn new(status: u16, headers: &reqwest::header::HeaderMap, body: Vec<u8>) -> Self {
        let text = |value: &reqwest::header::HeaderValue| value.to_str().ok().map(str::to_owned);
        Self {
            status,
            headers: headers
                .iter()
                .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)))
                .collect(),
            body,
        }
    }

    /// From the parts that the SDK kept.
    #[cfg(any(test, feature = "aws", feature = "azure"))]
    pub fn from_parts<'a>(
        status: u16,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &[u8],
    ) -> Self {
        Self {
            status,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_vec(),
        }
    }

    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    #[cfg(any(feature = "aws", feature = "azure"))]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Azure's id of this request, for its support.
    #[cfg(feature = "azure")]
    pub fn request_id(&self) -> Option<&str> {
        self.guid("x-ms-request-id")
    }

    /// A header that holds a GUID; anything else might be what a stranger in between was told, a
    /// secret included.
    #[cfg(any(feature = "aws", feature = "azure"))]
    pub fn guid(&self, name: &str) -> Option<&str> {
        self.header(name).filter(|id| is_guid(id))
    }

    /// `Retry-After` in seconds or as a date, or the Azure forms in milliseconds.
    pub fn retry_after(&self) -> Option<Duration> {
        let millis = ["retry-after-ms", "x-ms-retry-after-ms"];
        let millis = millis
            .iter()
            .find_map(|name| self.header(name)?.trim().parse().ok());
        let after = millis.map(Duration::from_millis).or_else(|| {
            let text = self.header("retry-after")?.trim();
            text.parse()
                .ok()
                .map(Duration::from_secs)
                .or_else(|| until(text, SystemTime::now()))
        })?;
        Some(after.min(LONGEST_WAIT))
    }
}

/// The time from `now` to an HTTP date; zero when it has passed.
fn until(date: &str, now: SystemTime) -> Option<Duration> {
    let then = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let then = Duration::from_secs(u64::try_from(then.as_second()).ok()?);
    Some(then.saturating_sub(now.duration_since(UNIX_EPOCH).ok()?))
}

/// 8-4-4-4-12 hexadecimal digits.
#[cfg(any(feature = "aws", feature = "azure"))]
pub fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Why there is no answer. Holds nothing that a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("the connection was refused")]
    Refused,
    #[error("no connection could be made: name, route or proxy")]
    NoConnection,
    #[error("the peer's certificate is not trusted")]
    Certificate,
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke before the answer was whole")]
    Broken,
    #[error("the answer is over 64 KiB")]
    TooLarge,
    #[error("the request could not be written")]
    Unsendable,
    #[error("a refusal that is told elsewhere")]
    #[cfg(feature = "azure")]
    Unheard,
}

impl Trouble {
    pub fn of(error: &reqwest::Error) -> Self {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        let mut refused = false;
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                let inner = io.get_ref();
                if inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
                    return Self::Certificate;
                }
                refused |= io.kind() == std::io::ErrorKind::ConnectionRefused;
            }
            if cause.is::<rustls::Error>() {
                return Self::Certificate;
            }
            source = cause.source();
        }
        if error.is_timeout() {
            Self::Timeout
        } else if refused {
            Self::Refused
        } else if error.is_connect() {
            Self::NoConnection
        } else if error.is_builder() {
            Self::Unsendable
        } else {
            Self::Broken
        }
    }

    /// What it means that a cloud's host gave no answer; `command` shows the way to it. Always inconclusive.
    pub fn at(self, host: &str, command: &str) -> Failure {
        let (reason, check) = match self {
            Self::Certificate => (
                Reason::Unreachable,
                "Check SSL_CERT_FILE: behind a proxy that inspects TLS it must hold that proxy's \
                 authority",
            ),
            Self::TooLarge | Self::Unsendable => (
                Reason::ProviderError,
                "Check what stands between, such as a proxy that answers in its place",
            ),
            _ => (
                Reason::Unreachable,
                "Check the name, routes, network policies, and HTTPS_PROXY and NO_PROXY",
            ),
        };
        Failure::transient(
            reason,
            format!("no usable answer from {host}: {self}. {check}: {command}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> Option<Duration> {
        Answer::from_parts(429, [(name, value)].into_iter(), b"").retry_after()
    }

    #[test]
    fn retry_after_is_read_in_every_form_and_bounded() {
        assert_eq!(with("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(
            with("Retry-After-Ms", "1500"),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(with("retry-after", "99999999"), Some(LONGEST_WAIT));
        assert_eq!(with("retry-after", "-1"), None);
        assert_eq!(with("retry-after", "soon"), None);
        assert_eq!(
            with("retry-after", "Fri, 01 Jan 2021 00:00:00 GMT"),
            Some(Duration::ZERO)
        );
        let now = UNIX_EPOCH + Duration::from_hours(447_072);
        let until = until("Fri, 01 Jan 2021 00:00:10 GMT", now);
        assert_eq!(until, Some(Duration::from_secs(10)));
    }

    #[test]
    fn an_answer_does_not_print_what_it_holds() {
        let answer = Answer::from_parts(200, [("a", "hunter2")].into_iter(), b"hunter2");
        assert!(!format!("{answer:?}").contains("hunter2"));
    }
}
