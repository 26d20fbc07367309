//! The instance metadata service's token endpoint, on a plain HTTP port of its own as in a virtual
//! machine. It answers for the identities of "this machine" and nothing else.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::azure::VAULT_RESOURCE;
use crate::azure::identities::{Identity, choose};
use crate::azure::token::{Subject, issue, now};
use crate::http::{Answer, Asked};
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

/// Under this name IMDS appears in calls and faults.
pub const IMDS_HOST: &str = "169.254.169.254";
/// Managed identity tokens are valid for a day.
const LIFETIME: Duration = Duration::from_secs(86_399);
const API_VERSIONS: [&str; 5] = [
    "2018-02-01",
    "2019-08-01",
    "2020-06-01",
    "2021-02-01",
    "2023-11-15",
];

pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    if asked.path != "/metadata/identity/oauth2/token" {
        return (
            Seen::operation("other"),
            Box::new(|_, _| Answer::json(404, &json!({ "error": "Not found" }))),
        );
    }
    let chosen = choose(&world.azure().imds.identities, asked);
    let seen = Seen {
        operation: "imds-token".to_owned(),
        principal: chosen
            .as_ref()
            .ok()
            .map(|identity| identity.principal.clone()),
        tenant: chosen.as_ref().ok().map(|identity| identity.tenant.clone()),
        app: chosen.as_ref().ok().map(|identity| identity.client.clone()),
    };
    (
        seen,
        Box::new(move |world, asked| token(world, asked, chosen)),
    )
}

fn token(world: &World, asked: &Asked, chosen: Result<Identity, &'static str>) -> Answer {
    if asked.method != Method::GET {
        return refusal(
            405,
            "invalid_request",
            "The requested method is not allowed",
        );
    }
    if !asked
        .header("metadata")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        return refusal(
            400,
            "invalid_request",
            "Required metadata header not specified",
        );
    }
    // A forwarded request may come from outside the machine.
    if asked.headers.contains_key("x-forwarded-for") {
        return refusal(
            400,
            "invalid_request",
            "Request contains the X-Forwarded-For header",
        );
    }
    match asked.param("api-version") {
        None => {
            return refusal(
                400,
                "invalid_request",
                "Required query variable 'api-version' is missing",
            );
        }
        Some(version) if !API_VERSIONS.contains(&version.as_str()) => {
            return refusal(
                400,
                "invalid_request",
                "The requested api-version is not supported",
            );
        }
        Some(_) => {}
    }
    let resource = match asked.param("resource") {
        None => {
            return refusal(
                400,
                "invalid_request",
                "Required audience parameter not specified",
            );
        }
        Some(resource) if resource.trim_end_matches('/') != VAULT_RESOURCE => {
            let text = "AADSTS500011: The resource principal named in the request was not found in the tenant.";
            return refusal(400, "invalid_resource", text);
        }
        Some(resource) => resource,
    };
    let identity = match chosen {
        Ok(identity) => identity,
        Err(text) => return refusal(400, "invalid_request", text),
    };
    let subject = Subject {
        tenant: identity.tenant,
        app: identity.client.clone(),
        principal: identity.principal,
        class: "2",
    };
    let token = issue(world, &subject, &resource, LIFETIME);
    Answer::json(
        200,
        &json!({
            "access_token": token,
            "client_id": identity.client,
            "expires_in": LIFETIME.as_secs().to_string(),
            "expires_on": (now() + LIFETIME.as_secs()).to_string(),
            "ext_expires_in": LIFETIME.as_secs().to_string(),
            "not_before": now().to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
    .with("server", "IMDS/150.870.65.1852")
}

fn refusal(status: u16, error: &str, text: &str) -> Answer {
    Answer::json(
        status,
        &json!({ "error": error, "error_description": text }),
    )
    .with("server", "IMDS/150.870.65.1852")
}
