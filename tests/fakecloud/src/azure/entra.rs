//! Entra's public endpoints: the v2.0 token endpoint for client credentials, and the two discovery documents that
//! clients read first. It issues tokens for Key Vault only and never answers a request that the real service refuses.

use http::Method;
use serde_json::json;

use crate::azure::directory::{ApplicationState, DirectoryState};
use crate::azure::entra_errors::{self as errors, Refusal};
use crate::azure::token::{Subject, issue};
use crate::azure::{ENTRA_HOST, VAULT_RESOURCE, federation};
use crate::crypto::uuid;
use crate::http::{Answer, Asked};
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    let path = asked.path.clone();
    let Some((tenant, rest)) = path.trim_start_matches('/').split_once('/') else {
        return (Seen::operation("other"), Box::new(|_, _| not_found()));
    };
    let tenant = tenant.to_ascii_lowercase();
    match rest {
        "oauth2/v2.0/token" => {
            let seen = caller(world, &tenant, asked);
            (
                seen,
                Box::new(move |world, asked| token(world, &tenant, asked)),
            )
        }
        "v2.0/.well-known/openid-configuration" => {
            let seen = Seen {
                tenant: Some(tenant.clone()),
                ..Seen::operation("openid-configuration")
            };
            (
                seen,
                Box::new(move |world, _| configuration(world, &tenant)),
            )
        }
        "discovery/v2.0/keys" => (
            Seen::operation("jwks"),
            Box::new(|world, _| Answer::json(200, &world.signer().jwks())),
        ),
        "discovery/instance" if tenant == "common" => (
            Seen::operation("instance-discovery"),
            Box::new(|_, _| instance()),
        ),
        _ => (Seen::operation("other"), Box::new(|_, _| not_found())),
    }
}

fn caller(world: &World, tenant: &str, asked: &Asked) -> Seen {
    for name in ["client_secret", "client_assertion"] {
        if let Some(value) = asked.form(name) {
            world.calls.secret(&value);
        }
    }
    let app = asked
        .form("client_id")
        .map(|client| client.to_ascii_lowercase());
    let azure = world.azure();
    let principal = app
        .as_ref()
        .and_then(|client| azure.directories.get(tenant)?.applications.get(client))
        .map(|app| app.principal.clone());
    Seen {
        operation: "token".to_owned(),
        principal,
        tenant: Some(tenant.to_owned()),
        app,
    }
}

fn token(world: &World, tenant: &str, asked: &Asked) -> Answer {
    let issued = || {
        let azure = world.azure();
        let directory = azure
            .directories
            .get(tenant)
            .ok_or_else(|| errors::unknown_tenant(tenant))?;
        let (subject, lifetime) = (
            authenticate(world, directory, tenant, asked)?,
            directory.token_lifetime,
        );
        drop(azure);
        let token = issue(world, &subject, VAULT_RESOURCE, lifetime);
        let seconds = lifetime.as_secs();
        Ok(
            json!({ "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token }),
        )
    };
    match issued() {
        Ok(body) => Answer::json(200, &body)
            .with("cache-control", "no-store, no-cache")
            .with("x-ms-request-id", uuid()),
        Err(refusal) => Refusal::answer(&refusal),
    }
}

fn authenticate(
    world: &World,
    directory: &DirectoryState,
    tenant: &str,
    asked: &Asked,
) -> Result<Subject, Refusal> {
    if asked.method != Method::POST {
        return Err(errors::only_post(asked.method.as_str()));
    }
    let form = asked
        .media_type()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let field = |name: &str| asked.form(name).filter(|value| form && !value.is_empty());
    let required = |name: &str| field(name).ok_or_else(|| errors::missing(name));
    let grant = required("grant_type")?;
    if grant != "client_credentials" {
        return Err(errors::unsupported_grant(&grant));
    }
    let client = required("client_id")?.to_ascii_lowercase();
    check_scope(&required("scope")?, tenant)?;
    let app = directory
        .applications
        .get(&client)
        .filter(|app| !app.deleted);
    let app = app.ok_or_else(|| errors::unknown_application(&client, tenant))?;
    if app.disabled {
        return Err(errors::disabled_application(&client));
    }
    let class = match (field("client_secret"), field("client_assertion")) {
        (Some(secret), None) => check_secret(app, &client, &secret).map(|()| "1")?,
        (None, Some(assertion)) => {
            if required("client_assertion_type")? != federation::ASSERTION_TYPE {
                return Err(errors::bad_assertion());
            }
            federation::check(world, &client, &app.federations, &assertion).map(|()| "2")?
        }
        _ => return Err(errors::no_credential()),
    };
    Ok(Subject {
        tenant: tenant.to_owned(),
        app: client,
        principal: app.principal.clone(),
        class,
    })
}

fn check_scope(scope: &str, tenant: &str) -> Result<(), Refusal> {
    match scope.strip_suffix("/.default") {
        Some(VAULT_RESOURCE) => Ok(()),
        Some(resource) if !resource.contains(' ') => {
            Err(errors::unknown_resource(resource, tenant))
        }
        _ => Err(errors::bad_scope(scope)),
    }
}

fn check_secret(app: &ApplicationState, client: &str, given: &str) -> Result<(), Refusal> {
    match app.secrets.iter().find(|secret| secret.value == given) {
        None => Err(errors::wrong_secret(client)),
        Some(secret) if secret.expired => Err(errors::expired_secret(client)),
        Some(_) => Ok(()),
    }
}

fn configuration(world: &World, tenant: &str) -> Answer {
    if !world.azure().directories.contains_key(tenant) {
        return errors::no_configuration(tenant).answer();
    }
    let base = format!("https://{ENTRA_HOST}/{tenant}");
    Answer::json(
        200,
        &json!({
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "issuer": format!("{base}/v2.0"),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
        }),
    )
}

fn instance() -> Answer {
    Answer::json(
        200,
        &json!({
            "tenant_discovery_endpoint":
                format!("https://{ENTRA_HOST}/common/v2.0/.well-known/openid-configuration"),
            "api-version": "1.1",
            "metadata": [{
                "preferred_network": ENTRA_HOST,
                "preferred_cache": "login.windows.net",
                "aliases": [ENTRA_HOST, "login.windows.net", "login.microsoft.com", "sts.windows.net"],
            }],
        }),
    )
}

fn not_found() -> Answer {
    Answer::new(404, "text/plain", "")
}
