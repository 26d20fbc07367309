//! Vault access tokens: made by Entra and IMDS, checked by Key Vault. Version 1.0 tokens, as Key Vault asks for them;
//! checked for signature, time, audience and issuer, in that order and never with leeway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::azure::VAULT_RESOURCE;
use crate::crypto::{encode, random, uuid};
use crate::jwt::{self, Rejected};
use crate::world::World;

/// Whom a token is for.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) tenant: String,
    pub(crate) app: String,
    pub(crate) principal: String,
    /// `1` for a secret, `2` for an assertion or a managed identity.
    pub(crate) class: &'static str,
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

pub(crate) fn issuer(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

/// A signed access token for Key Vault, remembered as a secret.
pub(crate) fn issue(
    world: &World,
    subject: &Subject,
    audience: &str,
    lifetime: Duration,
) -> String {
    let now = now();
    world.sign_token(&json!({
        "aud": audience,
        "iss": issuer(&subject.tenant),
        "iat": now,
        "nbf": now,
        "exp": now + lifetime.as_secs(),
        "aio": encode(random::<24>()),
        "appid": subject.app,
        "appidacr": subject.class,
        "idp": issuer(&subject.tenant),
        "idtyp": "app",
        "oid": subject.principal,
        "rh": encode(random::<32>()),
        "sub": subject.principal,
        "tid": subject.tenant,
        "uti": encode(random::<16>()),
        "ver": "1.0",
        "jti": uuid(),
    }))
}

/// Who a vault's caller is.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) app: String,
    pub(crate) principal: String,
    pub(crate) issuer: String,
}

/// What is wrong with a token, in Key Vault's words.
#[derive(Debug, Clone)]
pub(crate) struct Invalid(pub(crate) String);

/// Checks a token for a vault of `tenant`.
pub(crate) fn check(world: &World, token: &str, tenant: &str) -> Result<Caller, Invalid> {
    let claims = jwt::verify(token, &world.signer().jwks()).map_err(|rejected| match rejected {
        Rejected::Malformed => Invalid("AKV10003: Error parsing token.".to_owned()),
        Rejected::UnknownKey => {
            Invalid("AKV10046: Unable to resolve the key used for signature validation.".to_owned())
        }
        Rejected::Signature => Invalid("AKV10047: Signature validation failed.".to_owned()),
    })?;
    let text = |name: &str| {
        claims
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let number = |name: &str| claims.get(name).and_then(Value::as_u64);
    if number("exp").is_none_or(|exp| exp <= now()) || number("nbf").is_some_and(|nbf| nbf > now())
    {
        return Err(Invalid(
            "[TokenExpired] Error validating token: 'S2S12086'.".to_owned(),
        ));
    }
    let audiences = jwt::audiences(&claims);
    if !audiences
        .iter()
        .any(|audience| audience.trim_end_matches('/') == VAULT_RESOURCE)
    {
        let found = audiences.join(", ");
        return Err(Invalid(format!(
            "AKV10022: Invalid audience. Expected {VAULT_RESOURCE}, found: {found}."
        )));
    }
    let (expected, found) = (issuer(tenant), text("iss"));
    if found != expected {
        return Err(Invalid(format!(
            "AKV10032: Invalid issuer. Expected one of {expected}, found {found}."
        )));
    }
    Ok(Caller {
        app: text("appid"),
        principal: text("oid"),
        issuer: found,
    })
}
