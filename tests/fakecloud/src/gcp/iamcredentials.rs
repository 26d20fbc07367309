//! IAM Service Account Credentials: `generateAccessToken`, the token of a service account for whoever may become it.

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::gcp::errors::{self, Refusal, finish, no_such_path};
use crate::gcp::token::{CLOUD_PLATFORM, Holder, bearer, issue, now};
use crate::gcp::{IAM_CREDENTIALS_HOST, account, iam};
use crate::http::{Answer, Asked};
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

const LONGEST: u64 = 3600;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    // A null is an absent field in the JSON of protocol buffers.
    delegates: Option<Vec<String>>,
    scope: Option<Vec<String>>,
    lifetime: Option<String>,
}

pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    let email = asked
        .path
        .strip_prefix("/v1/projects/-/serviceAccounts/")
        .and_then(|rest| rest.strip_suffix(":generateAccessToken"))
        .filter(|email| !email.contains(['/', '%']));
    let Some(email) = email.map(str::to_owned) else {
        return (Seen::operation("other"), Box::new(|_, _| no_such_path()));
    };
    let caller = bearer(asked).and_then(|token| world.gcp().tokens.get(token).cloned());
    let seen = Seen {
        operation: "generateAccessToken".to_owned(),
        principal: caller.map(|holder| holder.member),
        app: Some(email.clone()),
        tenant: None,
    };
    let service = move |world: &World, asked: &Asked| {
        generate(world, asked, &email).unwrap_or_else(|refusal| refusal.answer())
    };
    (seen, Box::new(service))
}

fn generate(world: &World, asked: &Asked, email: &str) -> Result<Answer, Refusal> {
    if asked.method != Method::POST {
        return Ok(no_such_path());
    }
    check(world, asked, email)?;
    let body: Body = serde_json::from_slice(&asked.body)
        .map_err(|_| errors::invalid("Invalid JSON payload received."))?;
    let scopes = body.scope.unwrap_or_default();
    if scopes.is_empty() {
        return Err(errors::invalid("Scope required."));
    }
    if scopes.iter().any(|scope| scope != CLOUD_PLATFORM)
        || body
            .delegates
            .is_some_and(|delegates| !delegates.is_empty())
    {
        return Err(errors::invalid("Request contains an invalid argument."));
    }
    let seconds = match body.lifetime.as_deref() {
        None => LONGEST,
        Some(text) => text
            .strip_suffix('s')
            .and_then(|digits| digits.parse().ok())
            .filter(|seconds| (1..=LONGEST).contains(seconds))
            .ok_or_else(|| {
                errors::invalid("The access token lifetime cannot exceed 3600 seconds.")
            })?,
    };
    let expires = now() + seconds;
    let holder = Holder {
        member: format!("serviceAccount:{email}"),
        scopes,
        expires,
    };
    let token = issue(world, "c", holder);
    let expires = Timestamp::from_second(expires.cast_signed()).unwrap_or(Timestamp::MAX);
    let said = json!({ "accessToken": token, "expireTime": expires.to_string() });
    Ok(finish(Answer::json(200, &said)))
}

fn check(world: &World, asked: &Asked, email: &str) -> Result<(), Refusal> {
    let gcp = world.gcp();
    let caller = gcp.caller(asked, IAM_CREDENTIALS_HOST)?;
    gcp.admitted(asked, IAM_CREDENTIALS_HOST, caller)?;
    let resource = account::resource(email);
    let allowed = gcp.allowed(&caller.member, &resource, iam::GET_TOKEN);
    match gcp.accounts.get(email) {
        // Who holds the role on the project may learn that the account is not there.
        None if allowed => Err(errors::unknown_account(email)),
        Some(account) if allowed && account.disabled => Err(errors::precondition(format!(
            "Service account {email} is disabled."
        ))),
        Some(_) if allowed => Ok(()),
        _ => Err(errors::denied(iam::GET_TOKEN, "iam.googleapis.com", None)),
    }
}
