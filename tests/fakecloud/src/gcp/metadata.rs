//! The metadata server of "this machine", on a plain HTTP port of its own: the service account's token, its address
//! and little else. It wants `Metadata-Flavor: Google` and says the same.

use http::Method;
use serde_json::json;

use crate::gcp::token::{CLOUD_PLATFORM, Holder, issue, now};
use crate::http::{Answer, Asked};
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

/// Under this name the metadata server appears in calls and faults.
pub const METADATA_HOST: &str = "metadata.google.internal";
const ACCOUNTS: &str = "/computeMetadata/v1/instance/service-accounts/";
const LIFETIME: u64 = 3599;

pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    let email = world.gcp().machine.clone();
    let operation = match asked.path.strip_prefix(ACCOUNTS) {
        Some("default/token") => "metadata-token",
        Some(_) => "metadata-account",
        None => "other",
    };
    let seen = Seen {
        operation: operation.to_owned(),
        principal: email
            .as_ref()
            .map(|email| format!("serviceAccount:{email}")),
        ..Seen::default()
    };
    let service = move |world: &World, asked: &Asked| {
        answer(world, asked, email.as_deref())
            .with("metadata-flavor", "Google")
            .with("server", "Metadata Server for VM")
    };
    (seen, Box::new(service))
}

fn answer(world: &World, asked: &Asked, email: Option<&str>) -> Answer {
    if asked.method != Method::GET {
        return page(405, "Method Not Allowed");
    }
    // Without any header it is asked whether it is there.
    if asked.path == "/" {
        return text("computeMetadata/\n");
    }
    // A forwarded request may come from outside the machine.
    if asked.header("metadata-flavor") != Some("Google")
        || asked.headers.contains_key("x-forwarded-for")
    {
        return page(403, "Forbidden");
    }
    if asked.path == "/computeMetadata/v1/universe/universe-domain" {
        return text("googleapis.com");
    }
    let (Some(asking), Some(email)) = (asked.path.strip_prefix(ACCOUNTS), email) else {
        return page(404, "Not Found");
    };
    match asking {
        "default/email" => text(email),
        "default/token" => token(world, asked, email),
        "default/" if asked.param("recursive").as_deref() == Some("true") => Answer::new(
            200,
            "application/json",
            json!({ "aliases": ["default"], "email": email, "scopes": [CLOUD_PLATFORM] })
                .to_string(),
        ),
        _ => page(404, "Not Found"),
    }
}

fn token(world: &World, asked: &Asked, email: &str) -> Answer {
    let scopes = asked.param("scopes").filter(|scopes| !scopes.is_empty());
    let scopes = scopes.map_or_else(
        || vec![CLOUD_PLATFORM.to_owned()],
        |scopes| scopes.split(',').map(str::to_owned).collect(),
    );
    let holder = Holder {
        member: format!("serviceAccount:{email}"),
        scopes,
        expires: now() + LIFETIME,
    };
    let token = issue(world, "c", holder);
    let said = json!({ "access_token": token, "expires_in": LIFETIME, "token_type": "Bearer" });
    Answer::new(200, "application/json", said.to_string())
}

fn text(text: &str) -> Answer {
    Answer::new(200, "application/text", text.to_owned())
}

fn page(status: u16, title: &str) -> Answer {
    let body = format!("<!DOCTYPE html>\n<title>Error {status} ({title})!!1</title>\n");
    Answer::new(status, "text/html; charset=UTF-8", body)
}
