//! One request as it came and one answer as it will go, free of any HTTP library's own ideas: paths and queries are
//! kept byte for byte, because what a client really sent is what the tests ask about.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) host: String,
    pub(crate) method: Method,
    /// Never cleaned, never decoded.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The media type without its parameters.
    pub(crate) fn media_type(&self) -> &str {
        self.header("content-type")
            .and_then(|value| value.split(';').next())
            .map_or("", str::trim)
    }

    pub(crate) fn param(&self, name: &str) -> Option<String> {
        find(self.query.as_deref().unwrap_or_default().as_bytes(), name)
    }

    pub(crate) fn form(&self, name: &str) -> Option<String> {
        find(&self.body, name)
    }
}

/// Whether a `Host` header names this host.
pub(crate) fn same_host(header: &str, host: &str) -> bool {
    header
        .strip_suffix(":443")
        .unwrap_or(header)
        .eq_ignore_ascii_case(host)
}

fn find(pairs: &[u8], name: &str) -> Option<String> {
    url::form_urlencoded::parse(pairs)
        .find(|(key, _)| key == name)
        .map(|(_, value)| Cow::into_owned(value))
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", body.to_string())
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}
