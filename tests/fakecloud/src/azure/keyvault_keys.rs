//! What a version of a key answers once the caller may ask: wrapping, unwrapping, its description. The
//! states of a key are checked here; who asks is not known here.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256};
use serde_json::{Value, json};

use crate::azure::key::VersionState;
use crate::azure::keyvault_errors::{self as errors, Refusal};
use crate::azure::token::now;
use crate::azure::vault::Permission;
use crate::crypto::{decode, encode};
use crate::http::{Answer, Asked};

const ALGORITHM: &str = "RSA-OAEP-256";
/// What others may have wrapped with before.
const SHA1: &str = "RSA-OAEP";

pub(crate) fn crypt(
    asked: &Asked,
    permission: Permission,
    version: &VersionState,
    url: &str,
) -> Result<Answer, Refusal> {
    let body: Value =
        serde_json::from_slice(&asked.body).map_err(|_| errors::invalid_property())?;
    let text = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .ok_or_else(errors::invalid_property)
    };
    let (algorithm, value) = (text("alg")?, text("value")?);
    check_state(version, permission)?;
    if !version.material.is_rsa() {
        return Err(errors::wrong_key_type(url, algorithm));
    }
    let operation = if permission == Permission::Wrap {
        "wrapKey"
    } else {
        "unwrapKey"
    };
    if !version.ops.iter().any(|op| op == operation) {
        return Err(errors::not_permitted(operation));
    }
    // The service also takes RSA-OAEP and RSA1_5 for both; a client that wraps with them is wrong here.
    let sha1 = permission != Permission::Wrap && algorithm == SHA1;
    if algorithm != ALGORITHM && !sha1 {
        return Err(errors::invalid_property());
    }
    let value = decode(value).ok_or_else(errors::invalid_property)?;
    let result = match permission {
        Permission::Wrap => version.material.wrap(&OAEP_SHA256_MGF1SHA256, &value),
        _ if sha1 => version.material.unwrap(&OAEP_SHA1_MGF1SHA1, &value),
        _ => version.material.unwrap(&OAEP_SHA256_MGF1SHA256, &value),
    };
    let result = result.map_err(|_| errors::incorrect())?;
    Ok(Answer::json(
        200,
        &json!({ "kid": url, "value": encode(result) }),
    ))
}

/// Disabled refuses both. The dates refuse wrap only: unwrap stays possible, so that nothing wrapped is lost
/// (learn.microsoft.com, "About keys", date-time controlled operations).
fn check_state(version: &VersionState, permission: Permission) -> Result<(), Refusal> {
    let operation = if permission == Permission::Wrap {
        "wrapKey"
    } else {
        "unwrapKey"
    };
    if !version.enabled {
        return Err(errors::disabled(operation));
    }
    let now = i64::try_from(now()).unwrap_or(i64::MAX);
    if permission == Permission::Wrap {
        if version.expires.is_some_and(|at| at <= now) {
            return Err(errors::expired(operation));
        }
        if version.not_before.is_some_and(|at| at > now) {
            return Err(errors::not_yet_valid(operation));
        }
    }
    Ok(())
}

pub(crate) fn describe(version: &VersionState, url: &str, recovery_level: &str) -> Value {
    let mut key = version.material.public().clone();
    key["kid"] = url.into();
    key["key_ops"] = version.ops.clone().into();
    let mut attributes = json!({
        "enabled": version.enabled,
        "created": version.created,
        "updated": version.created,
        "recoveryLevel": recovery_level,
        "recoverableDays": 90,
        "exportable": false,
    });
    for (name, time) in [("exp", version.expires), ("nbf", version.not_before)] {
        if let Some(time) = time {
            attributes[name] = time.into();
        }
    }
    json!({ "key": key, "attributes": attributes, "tags": {} })
}
