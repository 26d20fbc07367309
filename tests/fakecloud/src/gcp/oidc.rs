//! The check of a subject token at a workload identity provider: signature by the issuer's real JWKS, issuer,
//! audience and time, then the attribute condition.

use serde_json::Value;

use crate::gcp::provider::ProviderState;
use crate::gcp::token::now;
use crate::jwt::{self, Rejected};
use crate::world::{World, lock};

/// OAuth's error and its description.
pub(crate) type Rejection = (&'static str, String);

/// The subject that the token proves.
pub(crate) fn check(
    world: &World,
    name: &str,
    provider: &ProviderState,
    token: &str,
) -> Result<String, Rejection> {
    let grant = |text: &str| ("invalid_grant", text.to_owned());
    let claims = jwt::claims(token).ok_or_else(|| grant("Unable to parse the ID Token."))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("iss") != provider.issuer {
        return Err((
            "invalid_grant",
            format!(
                "The issuer in ID Token {} does not match the expected ones: [{}]",
                text("iss"),
                provider.issuer
            ),
        ));
    }
    let jwks = lock(&world.trusted).get(&provider.issuer).cloned();
    let jwks = jwks.ok_or_else(|| grant("Error connecting to the given credential's issuer."))?;
    jwt::verify(token, &jwks).map_err(|rejected| match rejected {
        Rejected::Malformed => grant("Unable to parse the ID Token."),
        Rejected::UnknownKey | Rejected::Signature => grant("Invalid ID Token signature."),
    })?;
    let time = |name: &str| claims.get(name).and_then(Value::as_u64);
    let (issued, expires) = (time("iat"), time("exp"));
    if expires.is_none_or(|exp| exp <= now()) {
        return Err((
            "invalid_grant",
            format!(
                "ID Token issued at {} is stale to sign-in.",
                issued.unwrap_or_default()
            ),
        ));
    }
    if issued.is_none_or(|iat| iat > now()) {
        return Err(grant("ID Token is not yet valid."));
    }
    if expires.unwrap_or_default() - issued.unwrap_or_default() > 86_400 {
        return Err(grant(
            "The lifetime of the ID Token must not exceed 24 hours.",
        ));
    }
    let audiences = jwt::audiences(&claims);
    let expected = if provider.audiences.is_empty() {
        vec![
            format!("https://iam.googleapis.com/{name}"),
            format!("//iam.googleapis.com/{name}"),
        ]
    } else {
        provider.audiences.clone()
    };
    if !expected.iter().any(|one| audiences.contains(&one.as_str())) {
        return Err((
            "invalid_grant",
            format!(
                "The audience in ID Token [{}] does not match the expected audience {}.",
                audiences.join(", "),
                expected[0]
            ),
        ));
    }
    let subject = text("sub");
    if subject.is_empty() || subject.len() > 127 {
        return Err(("invalid_grant", "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either \
                          modify your attribute mapping or the incoming assertion to produce a mapped attribute that \
                          is less than 127 bytes.".to_owned()));
    }
    if provider
        .only_subject
        .as_ref()
        .is_some_and(|only| only != subject)
    {
        return Err((
            "unauthorized_client",
            "The given credential is rejected by the attribute condition.".to_owned(),
        ));
    }
    Ok(subject.to_owned())
}
