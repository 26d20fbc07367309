//! What is read of a token before the API server has reviewed it: whether it can be one at all,
//! and when it says that it ends. Both can only shorten what is remembered.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// A token of a `ServiceAccount` has about 1 KiB.
pub const MAX_BYTES: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `exp`, since the Unix epoch.
    pub expires: Option<Duration>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    exp: Value,
}

/// `None`: no JWT, so nothing to ask the API server about.
pub fn shape(token: &str) -> Option<Shape> {
    if token.len() > MAX_BYTES {
        return None;
    }
    let mut parts = token.split('.');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    if parts.next().is_some() || !three.iter().all(|part| is_base64url(part)) {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(three[1]).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let seconds = claims.exp.as_f64();
    Some(Shape {
        expires: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    })
}

fn is_base64url(part: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !part.is_empty() && part.bytes().all(letter)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_end_is_read_where_there_is_one() {
        for (claims, expected) in [
            (r#"{"exp":1700000000,"aud":["x"]}"#, Some(1_700_000_000)),
            (r#"{"exp":1700000000.9}"#, Some(1_700_000_000)),
            (r#"{"exp":-1}"#, None),
            (r#"{"exp":1e300}"#, None),
            (r#"{"exp":"1700000000"}"#, None),
            (r#"{"exp":null}"#, None),
            ("{}", None),
        ] {
            let shape = shape(&token(claims)).expect("a JWT");
            assert_eq!(shape.expires.map(|end| end.as_secs()), expected, "{claims}");
        }
    }

    #[test]
    fn what_is_no_jwt_is_seen_at_once() {
        let long = token(&format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_BYTES)));
        let good = token("{}");
        let more = format!("{good}.x");
        let padded = good.replace(".c2ln", ".c2ln=");
        for wrong in [
            "",
            ".",
            "..",
            "e30.e30",
            "e30.e30.",
            ".e30.e30",
            "e30.!.e30",
            "e30.e30.é",
            "e30.x.e30",
            "e30.W10.x y",
            &token("not json"),
            &token("7"),
            &long,
            &more,
            &padded,
        ] {
            assert_eq!(shape(wrong), None, "{wrong}");
        }
    }
}
