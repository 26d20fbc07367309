//! The Security Token Service: RFC 8693 token exchange at a workload identity provider, as a form or as JSON. Every
//! parameter is checked before the provider is looked at.

use http::Method;
use serde_json::{Value, json};

use crate::gcp::errors::{finish, method_not_allowed, no_such_path, oauth};
use crate::gcp::token::{CLOUD_PLATFORM, Holder, IAM_SCOPE, issue, now};
use crate::gcp::{names, oidc, provider};
use crate::http::{Answer, Asked};
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SUBJECT_TYPES: [&str; 2] = [
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
];
const LIFETIME: u64 = 3599;

pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    if asked.path != "/v1/token" {
        return (Seen::operation("other"), Box::new(|_, _| no_such_path()));
    }
    if let Some(token) = field(asked, "subject_token", "subjectToken") {
        world.calls.secret(&token);
    }
    let seen = Seen {
        operation: "sts-token".to_owned(),
        tenant: field(asked, "audience", "audience"),
        ..Seen::default()
    };
    (seen, Box::new(token))
}

/// A parameter of the form, or of the JSON document that the API's reference describes.
fn field(asked: &Asked, form: &str, json: &str) -> Option<String> {
    let found = if asked.media_type() == "application/json" {
        let body: Value = serde_json::from_slice(&asked.body).ok()?;
        body.get(json)?.as_str().map(str::to_owned)
    } else {
        asked.form(form)
    };
    found.filter(|value| !value.is_empty())
}

fn token(world: &World, asked: &Asked) -> Answer {
    if asked.method != Method::POST {
        return method_not_allowed();
    }
    match exchange(world, asked) {
        Ok(answer) => answer,
        Err((error, description)) => oauth(
            if error == "unauthorized_client" {
                401
            } else {
                400
            },
            error,
            &description,
        ),
    }
}

fn exchange(world: &World, asked: &Asked) -> Result<Answer, oidc::Rejection> {
    let bad = |text: &str| ("invalid_request", text.to_owned());
    let required = |form: &str, json: &str| {
        field(asked, form, json).ok_or_else(|| bad(&format!("Missing parameter: {form}")))
    };
    if required("grant_type", "grantType")? != GRANT {
        return Err((
            "unsupported_grant_type",
            "Unsupported grant type.".to_owned(),
        ));
    }
    if required("requested_token_type", "requestedTokenType")? != ACCESS_TOKEN {
        return Err(bad("Invalid value for \"requested_token_type\"."));
    }
    let kind = required("subject_token_type", "subjectTokenType")?;
    if !SUBJECT_TYPES.contains(&kind.as_str()) {
        return Err(bad("Invalid value for \"subject_token_type\"."));
    }
    let scope = required("scope", "scope")?;
    let mut scopes = scope.split(' ');
    if !scopes.all(|one| [CLOUD_PLATFORM, IAM_SCOPE].contains(&one)) {
        return Err(("invalid_scope", "Invalid scope.".to_owned()));
    }
    let subject_token = required("subject_token", "subjectToken")?;
    let audience = required("audience", "audience")?;
    let name = audience
        .strip_prefix("//iam.googleapis.com/")
        .filter(|name| names::provider(name).is_some())
        .ok_or_else(|| {
            bad(
                "Invalid value for \"audience\". This value should be the full resource name of the Identity \
                 Provider. See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list \
                 of possible formats.",
            )
        })?;
    let state = world.gcp().providers.get(name).cloned();
    let state = state.filter(|state| !state.disabled).ok_or_else(|| {
        (
            "invalid_target",
            "The target service indicated by the \"audience\" parameters is invalid. This might either be because \
             the pool or provider is disabled or deleted or because it doesn't exist."
                .to_owned(),
        )
    })?;
    let subject = oidc::check(world, name, &state, &subject_token)?;
    let holder = Holder {
        member: provider::principal(name, &subject),
        scopes: scope.split(' ').map(str::to_owned).collect(),
        expires: now() + LIFETIME,
    };
    let token = issue(world, "d", holder);
    Ok(finish(Answer::json(
        200,
        &json!({
            "access_token": token, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": LIFETIME,
        }),
    )))
}
