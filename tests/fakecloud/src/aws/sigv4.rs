//! Signature version 4, verified: the request that was signed is rebuilt from the request that came, and a signature
//! of anything else is refused. See docs.aws.amazon.com, "Create a signed AWS API request".

use aws_lc_rs::{constant_time, digest, hmac};
use jiff::Timestamp;

use crate::aws::State;
use crate::aws::caller::{Caller, Credential};
use crate::aws::region::Place;
use crate::crypto::hex;
use crate::http::Asked;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Why a request is nobody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// No signature at all.
    Missing,
    /// A signature in another form, or without a part that must be signed.
    Incomplete,
    /// No such access key, or not with this session token, or one of another partition.
    UnknownKey,
    /// Signed for another region, service or day.
    Scope(String),
    /// Out of its time, in the services' words.
    Time(String),
    Mismatch,
    /// The temporary credential has ended.
    TokenExpired,
}

/// Who signed the request, for a service that allows clocks to differ by `minutes`.
pub(crate) fn verify(
    aws: &State,
    asked: &Asked,
    place: &Place,
    minutes: u64,
) -> Result<Caller, Unsigned> {
    let signature = Signature::of(asked)?;
    let credential = aws
        .credentials
        .get(signature.key)
        .filter(|known| known.token.as_deref() == asked.header("x-amz-security-token"))
        .filter(|known| known.caller.partition() == place.partition)
        .ok_or(Unsigned::UnknownKey)?;
    signature.check_scope(place)?;
    signature.check_time(aws.now(), minutes)?;
    signature.check(asked, credential)?;
    if credential.expires.is_some_and(|end| end <= aws.now()) {
        return Err(Unsigned::TokenExpired);
    }
    Ok(credential.caller.clone())
}

struct Signature<'a> {
    key: &'a str,
    /// Day, region and service.
    scope: [&'a str; 3],
    headers: Vec<&'a str>,
    value: &'a str,
    /// `x-amz-date`.
    date: &'a str,
}

impl<'a> Signature<'a> {
    fn of(asked: &'a Asked) -> Result<Self, Unsigned> {
        let header = asked.header("authorization").ok_or(Unsigned::Missing)?;
        let rest = header
            .strip_prefix(ALGORITHM)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or(Unsigned::Incomplete)?;
        let part = |name: &str| {
            rest.split(',')
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
                .ok_or(Unsigned::Incomplete)
        };
        let credential: Vec<&str> = part("Credential")?.split('/').collect();
        let [key, day, region, service, "aws4_request"] = credential[..] else {
            return Err(Unsigned::Incomplete);
        };
        let headers: Vec<&str> = part("SignedHeaders")?.split(';').collect();
        let mut must = vec!["host", "x-amz-date"];
        // Every header of AWS's own that is sent must be signed.
        for name in asked.headers.keys().map(http::HeaderName::as_str) {
            if name.starts_with("x-amz-") {
                must.push(name);
            }
        }
        if must.iter().any(|name| !headers.contains(name)) || !headers.is_sorted() {
            return Err(Unsigned::Incomplete);
        }
        Ok(Self {
            key,
            scope: [day, region, service],
            value: part("Signature")?,
            headers,
            date: asked.header("x-amz-date").ok_or(Unsigned::Incomplete)?,
        })
    }

    fn check_scope(&self, place: &Place) -> Result<(), Unsigned> {
        let [day, region, service] = self.scope;
        if region != place.region {
            return Err(Unsigned::Scope(format!(
                "Credential should be scoped to a valid region, not '{region}'. "
            )));
        }
        if service != place.service {
            return Err(Unsigned::Scope(format!(
                "Credential should be scoped to correct service: '{}'. ",
                place.service
            )));
        }
        if !self.date.starts_with(day) {
            return Err(Unsigned::Scope(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP: '{day}' != '{}', from '{}'.",
                &self.date[..self.date.len().min(8)],
                self.date
            )));
        }
        Ok(())
    }

    fn check_time(&self, now: u64, minutes: u64) -> Result<(), Unsigned> {
        let then = seconds(self.date).ok_or(Unsigned::Incomplete)?;
        let leeway = minutes * 60;
        let (date, today) = (self.date, compact(now));
        if then + leeway < now {
            return Err(Unsigned::Time(format!(
                "Signature expired: {date} is now earlier than {} ({today} - {minutes} min.)",
                compact(now - leeway)
            )));
        }
        if then > now + leeway {
            return Err(Unsigned::Time(format!(
                "Signature not yet current: {date} is still later than {} ({today} + {minutes} min.)",
                compact(now + leeway)
            )));
        }
        Ok(())
    }

    fn check(&self, asked: &Asked, credential: &Credential) -> Result<(), Unsigned> {
        let [day, region, service] = self.scope;
        let signed = [
            ALGORITHM.to_owned(),
            self.date.to_owned(),
            format!("{day}/{region}/{service}/aws4_request"),
            hex(sha256(self.canonical(asked).as_bytes()).as_ref()),
        ]
        .join("\n");
        let mut key = format!("AWS4{}", credential.secret).into_bytes();
        for part in [day, region, service, "aws4_request"] {
            key = mac(&key, part).as_ref().to_vec();
        }
        let expected = hex(mac(&key, &signed).as_ref());
        constant_time::verify_slices_are_equal(expected.as_bytes(), self.value.as_bytes())
            .map_err(|_| Unsigned::Mismatch)
    }

    /// Paths with anything to encode and queries do not occur at these two services, and are refused before.
    fn canonical(&self, asked: &Asked) -> String {
        let headers = self.headers.iter().fold(String::new(), |text, name| {
            let values: Vec<String> = asked
                .headers
                .get_all(*name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            format!("{text}{name}:{}\n", values.join(","))
        });
        [
            asked.method.as_str(),
            &asked.path,
            asked.query.as_deref().unwrap_or_default(),
            &headers,
            &self.headers.join(";"),
            &hex(sha256(&asked.body).as_ref()),
        ]
        .join("\n")
    }
}

fn sha256(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// `20260102T030405Z` as Unix seconds.
fn seconds(date: &str) -> Option<u64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    u64::try_from(time.as_second()).ok()
}

fn compact(seconds: u64) -> String {
    timestamp(seconds).strftime("%Y%m%dT%H%M%SZ").to_string()
}

pub(crate) fn timestamp(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
