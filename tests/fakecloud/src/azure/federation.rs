//! Federated assertions: a service account's token in place of a client secret. The signature is checked against the
//! issuer's real JWKS, and issuer, subject, audience and time against the application's federated credentials.

use jiff::Timestamp;
use serde_json::Value;

use crate::azure::directory::Federation;
use crate::azure::entra_errors::{self as errors, Refusal};
use crate::azure::token::now;
use crate::jwt::{self, Rejected};
use crate::world::{World, lock};

/// The only assertion type there is for a JWT (RFC 7523).
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Accepts the assertion or says why not.
pub(crate) fn check(
    world: &World,
    client: &str,
    federations: &[Federation],
    assertion: &str,
) -> Result<(), Refusal> {
    let claims = jwt::claims(assertion).ok_or_else(errors::bad_assertion)?;
    if federations.is_empty() {
        return Err(errors::not_federated(client));
    }
    let issuer = matching(federations, &claims)?;
    let jwks = lock(&world.trusted)
        .get(issuer)
        .cloned()
        .ok_or_else(|| errors::unreachable_issuer(issuer))?;
    jwt::verify(assertion, &jwks).map_err(|rejected| match rejected {
        Rejected::Malformed => errors::bad_assertion(),
        Rejected::UnknownKey | Rejected::Signature => errors::bad_signature(),
    })?;
    let time = |name: &str| claims.get(name).and_then(Value::as_u64);
    if time("exp").is_none_or(|exp| exp <= now()) || time("nbf").is_some_and(|nbf| nbf > now()) {
        return Err(errors::expired_assertion(
            &date(time("nbf")),
            &date(time("exp")),
        ));
    }
    Ok(())
}

/// The issuer of the federated credential that names this assertion's issuer, subject and audience.
fn matching<'a>(federations: &'a [Federation], claims: &Value) -> Result<&'a str, Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let (issuer, subject, audiences) = (text("iss"), text("sub"), jwt::audiences(claims));
    let of_issuer: Vec<_> = federations
        .iter()
        .filter(|known| known.issuer == issuer)
        .collect();
    if of_issuer.is_empty() {
        return Err(errors::no_match("issuer", issuer));
    }
    let of_subject: Vec<_> = of_issuer
        .into_iter()
        .filter(|known| known.subject == subject)
        .collect();
    if of_subject.is_empty() {
        return Err(errors::no_match("subject", subject));
    }
    of_subject
        .into_iter()
        .find(|known| audiences.contains(&known.audience.as_str()))
        .map(|known| known.issuer.as_str())
        .ok_or_else(|| errors::no_match("audience", &audiences.join(", ")))
}

fn date(seconds: Option<u64>) -> String {
    let time = seconds
        .and_then(|seconds| i64::try_from(seconds).ok())
        .and_then(|s| Timestamp::from_second(s).ok());
    time.map_or_else(|| "(none)".to_owned(), |time| time.to_string())
}
