//! Web identities: a service account's token in place of a signature. Its signature is checked against the issuer's
//! real JWKS, its audience against the account's OpenID Connect provider, and its subject and audience against the
//! role's trust policy.

use serde_json::Value;

use crate::aws::State;
use crate::aws::access::Trust;
use crate::aws::region::account;
use crate::aws::sts_errors::{self as errors, Refusal};
use crate::jwt::{self, Rejected};
use crate::world::{World, lock};

/// What a token that was accepted said.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) subject: String,
    pub(crate) audience: String,
    pub(crate) issuer: String,
}

/// Accepts the token for this role or says why not.
pub(crate) fn check(
    world: &World,
    aws: &State,
    role: &str,
    token: &str,
) -> Result<Accepted, Refusal> {
    let claims = jwt::claims(token).ok_or_else(|| {
        errors::invalid_token(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
        )
    })?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let (issuer, subject, audiences) = (text("iss"), text("sub"), jwt::audiences(&claims));
    let registered = aws
        .providers
        .get(&(account(role).to_owned(), issuer.to_owned()))
        .ok_or_else(|| {
            errors::invalid_token(format!(
                "No OpenIDConnect provider found in your account for {issuer}"
            ))
        })?;
    let jwks = lock(&world.trusted).get(issuer).cloned().ok_or_else(|| {
        errors::invalid_token(
            "Couldn't retrieve verification key from your identity provider,  please reference \
             AssumeRoleWithWebIdentity documentation for requirements",
        )
    })?;
    jwt::verify(token, &jwks).map_err(|rejected| match rejected {
        Rejected::Malformed => errors::invalid_token("The web identity token that was passed is malformed."),
        Rejected::UnknownKey | Rejected::Signature => errors::invalid_token(
            "The web identity token that was passed could not be validated by AWS: its signature is not by a key \
             of the provider.",
        ),
    })?;
    check_time(&claims, aws.now())?;
    let known = |audience: &&str| registered.iter().any(|known| known == audience);
    let Some(audience) = audiences.iter().copied().find(known) else {
        return Err(errors::invalid_token("Incorrect token audience"));
    };
    let trusted = aws.roles.get(role).is_some_and(|role| {
        role.trust.contains(&Trust::WebIdentity {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            audience: audience.to_owned(),
        })
    });
    if !trusted {
        return Err(errors::not_trusted());
    }
    Ok(Accepted {
        subject: subject.to_owned(),
        audience: audience.to_owned(),
        issuer: issuer.to_owned(),
    })
}

fn check_time(claims: &Value, now: u64) -> Result<(), Refusal> {
    let time = |name: &str| claims.get(name).and_then(Value::as_u64);
    let Some(end) = time("exp") else {
        return Err(errors::invalid_token("Missing a required claim: exp"));
    };
    if end <= now {
        return Err(errors::expired_token(format!(
            "Token expired: current date/time {now} must be before the expiration date/time {end}"
        )));
    }
    if time("nbf").is_some_and(|begin| begin > now) {
        return Err(errors::invalid_token("Token is not yet valid"));
    }
    Ok(())
}
