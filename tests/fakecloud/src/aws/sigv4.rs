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
/// What every credential's scope ends with.
const END: &str = "aws4_request";
const PARTS: [&str; 3] = ["Credential", "Signature", "SignedHeaders"];

/// Why a request is nobody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// No signature of this version at all.
    Missing,
    /// A signature in another form, in the services' words.
    Incomplete(String),
    /// Out of its time, for another place, or of something else; in the services' words.
    Wrong(String),
    /// No such access key, or not with this session token, or one of another partition.
    UnknownKey,
    /// The temporary credential has ended.
    TokenExpired,
}

/// Who signed the request, for a service that allows clocks to differ by `minutes`. What is wrong first, in this
/// order, is told.
pub(crate) fn verify(
    aws: &State,
    asked: &Asked,
    place: &Place,
    minutes: u64,
) -> Result<Caller, Unsigned> {
    let signature = Signature::of(asked)?;
    signature.check_time(aws.now(), minutes)?;
    signature.check_headers(asked)?;
    let (key, scope) = signature.credential()?;
    scope.check(place, signature.date)?;
    let credential = aws
        .credentials
        .get(key)
        .filter(|known| known.caller.partition() == place.partition)
        .ok_or(Unsigned::UnknownKey)?;
    signature.check(asked, &scope, credential)?;
    if credential.token.as_deref() != asked.header("x-amz-security-token") {
        return Err(Unsigned::UnknownKey);
    }
    if credential.expires.is_some_and(|end| end <= aws.now()) {
        return Err(Unsigned::TokenExpired);
    }
    Ok(credential.caller.clone())
}

struct Signature<'a> {
    algorithm: &'a str,
    credential: &'a str,
    headers: Vec<&'a str>,
    value: &'a str,
    /// `x-amz-date`.
    date: &'a str,
}

/// Where and when a signature is good.
struct Scope<'a> {
    day: &'a str,
    region: &'a str,
    service: &'a str,
    end: &'a str,
}

impl Scope<'_> {
    fn check(&self, place: &Place, date: &str) -> Result<(), Unsigned> {
        let today = date.get(..8).unwrap_or(date);
        let wrong = [
            (self.region != place.region).then(|| {
                format!("Credential should be scoped to a valid region, not '{}'. ", self.region)
            }),
            (self.service != place.service).then(|| {
                format!("Credential should be scoped to correct service: '{}'. ", place.service)
            }),
            (self.end != END).then(|| {
                format!("Credential should be scoped with a valid terminator: '{END}', not '{}'. ", self.end)
            }),
            (self.day != today).then(|| {
                format!(
                    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' \
                     != '{today}', from '{date}'.",
                    self.day
                )
            }),
        ];
        let wrong: Vec<String> = wrong.into_iter().flatten().collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Unsigned::Wrong(wrong.concat()))
        }
    }
}

impl<'a> Signature<'a> {
    fn of(asked: &'a Asked) -> Result<Self, Unsigned> {
        let header = asked.header("authorization").unwrap_or_default();
        let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
        if !algorithm.starts_with("AWS4-") {
            return Err(Unsigned::Missing);
        }
        let part = |name: &str| {
            rest.split(',')
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let [credential, value, headers] = PARTS.map(part);
        let date = asked.header("x-amz-date");
        let (Some(credential), Some(value), Some(headers), Some(date)) =
            (credential, value, headers, date)
        else {
            let absent = PARTS.iter().filter(|name| part(name).is_none());
            let mut lacks: Vec<String> = absent
                .map(|name| format!("Authorization header requires '{name}' parameter. "))
                .collect();
            if date.is_none() {
                lacks.push(
                    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ".to_owned(),
                );
            }
            return Err(Unsigned::Incomplete(lacks.concat()));
        };
        Ok(Self {
            algorithm,
            credential,
            headers: headers.split(';').collect(),
            value,
            date,
        })
    }

    /// The host must be signed, and every header of AWS's own that is sent.
    fn check_headers(&self, asked: &Asked) -> Result<(), Unsigned> {
        let own = asked.headers.keys().map(http::HeaderName::as_str);
        let own = own.filter(|name| name.starts_with("x-amz-"));
        let mut must = std::iter::once("host").chain(own);
        match must.find(|name| !self.headers.contains(name)) {
            None => Ok(()),
            Some("host") => Err(Unsigned::Wrong(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
                    .to_owned(),
            )),
            Some(name) => Err(Unsigned::Wrong(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            ))),
        }
    }

    fn credential(&self) -> Result<(&'a str, Scope<'a>), Unsigned> {
        if self.algorithm != ALGORITHM {
            return Err(Unsigned::Incomplete(format!(
                "Unsupported AWS 'algorithm': '{}' (only {ALGORITHM} for now). ",
                self.algorithm
            )));
        }
        let parts: Vec<&str> = self.credential.split('/').collect();
        let [key, day, region, service, end] = parts[..] else {
            return Err(Unsigned::Incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{}'",
                self.credential
            )));
        };
        let scope = Scope {
            day,
            region,
            service,
            end,
        };
        Ok((key, scope))
    }

    fn check_time(&self, now: u64, minutes: u64) -> Result<(), Unsigned> {
        let then = seconds(self.date).ok_or_else(|| {
            Unsigned::Incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
                self.date
            ))
        })?;
        let leeway = minutes * 60;
        let (date, today) = (self.date, compact(now));
        if then + leeway < now {
            return Err(Unsigned::Wrong(format!(
                "Signature expired: {date} is now earlier than {} ({today} - {minutes} min.)",
                compact(now - leeway)
            )));
        }
        if then > now + leeway {
            return Err(Unsigned::Wrong(format!(
                "Signature not yet current: {date} is still later than {} ({today} + {minutes} min.)",
                compact(now + leeway)
            )));
        }
        Ok(())
    }

    fn check(
        &self,
        asked: &Asked,
        scope: &Scope<'_>,
        credential: &Credential,
    ) -> Result<(), Unsigned> {
        let Scope {
            day,
            region,
            service,
            ..
        } = scope;
        let signed = [
            ALGORITHM.to_owned(),
            self.date.to_owned(),
            format!("{day}/{region}/{service}/{END}"),
            hex(sha256(self.canonical(asked).as_bytes()).as_ref()),
        ]
        .join("\n");
        let mut key = format!("AWS4{}", credential.secret).into_bytes();
        for part in [day, region, service, END] {
            key = mac(&key, part).as_ref().to_vec();
        }
        let expected = hex(mac(&key, &signed).as_ref());
        let same =
            constant_time::verify_slices_are_equal(expected.as_bytes(), self.value.as_bytes());
        // Headers are signed in their order.
        if same.is_ok() && self.headers.is_sorted() {
            return Ok(());
        }
        Err(Unsigned::Wrong(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details."
                .to_owned(),
        ))
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
