//! What is taken for a bearer token is a part of the header, and has the form of a JWT before
//! anybody is asked about it.

use http::{HeaderMap, HeaderValue, header};
use tenant_kms::server::agent::bearer;
use tenant_kms::server::reviews::jwt::{MAX_BYTES, shape};

/// The input as a header, and alone as a token.
pub fn check(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    let alone = formed(&text);
    let Ok(value) = HeaderValue::from_bytes(input) else {
        return alone;
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value);
    let token = bearer(&headers);
    if token.is_empty() {
        return 1 << 8 | alone;
    }
    let (scheme, rest) = text.split_at("bearer ".len());
    assert!(scheme.eq_ignore_ascii_case("bearer "), "{text}");
    assert_eq!(token, rest.trim());
    (2 + formed(token)) << 8 | alone
}

fn formed(token: &str) -> u64 {
    let Some(shape) = shape(token) else {
        return 0;
    };
    assert!(token.len() <= MAX_BYTES);
    let parts: Vec<&str> = token.split('.').collect();
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let formed = |part: &&str| !part.is_empty() && part.chars().all(letter);
    assert!(parts.len() == 3 && parts.iter().all(formed), "{token}");
    1 + u64::from(shape.expires.is_some())
}
