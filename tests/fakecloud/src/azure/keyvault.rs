//! Key Vault's data plane for keys: get, wrapkey, unwrapkey. Every check of the real service that a
//! client can run into, in its order; paths are read as they came, so a key name with dots in it is
//! refused here and not resolved.

use http::Method;

use crate::azure::key::{KeyState, VersionState};
use crate::azure::keyvault_errors::{self as errors, REGION, Refusal};
use crate::azure::keyvault_keys::{crypt, describe};
use crate::azure::token::{self, Caller, Invalid};
use crate::azure::vault::Permission;
use crate::azure::{VAULT_SUFFIX, keyvault_access};
use crate::crypto::uuid;
use crate::http::{Answer, Asked};
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

const API_VERSIONS: [&str; 9] = [
    "2016-10-01",
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5",
    "7.6",
    "2025-07-01",
];

/// What a request asks of which key.
#[derive(Debug, Clone)]
struct Target {
    permission: Permission,
    key: String,
    /// Empty is the current one.
    version: String,
}

pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    let vault = asked
        .host
        .strip_suffix(VAULT_SUFFIX)
        .unwrap_or_default()
        .to_owned();
    let tenant = world
        .azure()
        .vaults
        .get(&vault)
        .map(|vault| vault.tenant.clone())
        .unwrap_or_default();
    let target = target(&asked.path);
    let bearer = asked
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let caller = bearer.map(|bearer| {
        world.calls.secret(bearer);
        token::check(world, bearer, &tenant)
    });
    let known = caller.as_ref().and_then(|caller| caller.as_ref().ok());
    let operation = match (&target, &caller) {
        (_, None) => "challenge",
        (Ok(target), Some(_)) => operation(target.permission),
        (Err(_), Some(_)) => "other",
    };
    let seen = Seen {
        operation: operation.to_owned(),
        principal: known.map(|caller| caller.principal.clone()),
        app: known.map(|caller| caller.app.clone()),
        tenant: Some(tenant.clone()),
    };
    let service = move |world: &World, asked: &Asked| {
        let answer =
            answer(world, asked, &vault, &tenant, target, caller).unwrap_or_else(Refusal::answer);
        finish(answer, asked)
    };
    (seen, Box::new(service))
}

fn operation(permission: Permission) -> &'static str {
    match permission {
        Permission::Get => "getkey",
        Permission::Wrap => "wrapkey",
        Permission::Unwrap => "unwrapkey",
    }
}

/// `/keys/NAME[/[VERSION]]`, `/keys/NAME/[VERSION/]wrapkey`; an empty version is the current one.
fn target(path: &str) -> Result<Target, Refusal> {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    if let Some(odd) = segments.iter().find(|segment| {
        !segment
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-')
    }) {
        return Err(errors::invalid_name(odd));
    }
    let (key, version, permission) = match segments[..] {
        ["keys", key] => (key, "", Permission::Get),
        ["keys", key, last] if permission(last).is_none() => (key, last, Permission::Get),
        ["keys", key, last] => (
            key,
            "",
            permission(last).ok_or_else(errors::no_such_operation)?,
        ),
        ["keys", key, version, last] => (
            key,
            version,
            permission(last).ok_or_else(errors::no_such_operation)?,
        ),
        _ => return Err(errors::no_such_operation()),
    };
    if key.is_empty() || key.len() > 127 {
        return Err(errors::invalid_name(key));
    }
    Ok(Target {
        permission,
        key: key.to_owned(),
        version: version.to_owned(),
    })
}

fn permission(segment: &str) -> Option<Permission> {
    match segment.to_ascii_lowercase().as_str() {
        "wrapkey" => Some(Permission::Wrap),
        "unwrapkey" => Some(Permission::Unwrap),
        _ => None,
    }
}

fn answer(
    world: &World,
    asked: &Asked,
    vault_name: &str,
    tenant: &str,
    target: Result<Target, Refusal>,
    caller: Option<Result<Caller, Invalid>>,
) -> Result<Answer, Refusal> {
    let target = target?;
    let caller = match caller {
        None => {
            return Err(errors::unauthorized(
                tenant,
                "AKV10000: Request is missing a Bearer or PoP token.",
            ));
        }
        Some(Err(Invalid(message))) => return Err(errors::unauthorized(tenant, message)),
        Some(Ok(caller)) => caller,
    };
    check_request(asked, target.permission)?;
    let azure = world.azure();
    let vault = azure
        .vaults
        .get(vault_name)
        .ok_or_else(errors::no_such_operation)?;
    keyvault_access::check(vault, vault_name, &caller, target.permission, &target.key)?;
    let key = vault
        .keys
        .get(&target.key.to_ascii_lowercase())
        .filter(|key| !key.deleted);
    let not_found = || errors::key_not_found(&target.key, &target.version);
    let key = key.ok_or_else(not_found)?;
    let version = find(key, &target.version).ok_or_else(not_found)?.clone();
    let url = format!("https://{}/keys/{}/{}", asked.host, key.name, version.id);
    let level = if vault.purge_protection {
        "Recoverable"
    } else {
        "Recoverable+Purgeable"
    };
    // RSA takes a millisecond or two, which other requests need not wait for.
    drop(azure);
    match target.permission {
        Permission::Get => Ok(Answer::json(200, &describe(&version, &url, level))),
        Permission::Wrap | Permission::Unwrap => crypt(asked, target.permission, &version, &url),
    }
}

fn check_request(asked: &Asked, permission: Permission) -> Result<(), Refusal> {
    match asked.param("api-version") {
        None => {
            return Err(errors::bad_parameter(
                "The api-version query parameter is required.",
            ));
        }
        Some(version) if !API_VERSIONS.contains(&version.as_str()) => {
            return Err(errors::bad_parameter(format!(
                "The specified version ({version}) is not recognized."
            )));
        }
        Some(_) => {}
    }
    let method = if permission == Permission::Get {
        Method::GET
    } else {
        Method::POST
    };
    if asked.method != method {
        return Err(errors::method_not_allowed());
    }
    if method == Method::POST && !asked.media_type().eq_ignore_ascii_case("application/json") {
        return Err(errors::media_type());
    }
    Ok(())
}

fn find<'a>(key: &'a KeyState, version: &str) -> Option<&'a VersionState> {
    if version.is_empty() {
        return Some(key.current());
    }
    key.versions
        .iter()
        .find(|known| known.id.eq_ignore_ascii_case(version))
}

/// The headers of every answer of a vault.
fn finish(answer: Answer, asked: &Asked) -> Answer {
    let answer = answer
        .with("cache-control", "no-cache")
        .with("pragma", "no-cache")
        .with("expires", "-1")
        .with("x-ms-keyvault-region", REGION)
        .with("x-ms-request-id", uuid())
        .with("x-ms-keyvault-service-version", "1.9.2784.1")
        .with(
            "x-ms-keyvault-network-info",
            "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
        )
        .with("x-content-type-options", "nosniff")
        .with(
            "strict-transport-security",
            "max-age=31536000;includeSubDomains",
        );
    match asked.header("x-ms-client-request-id") {
        Some(id) => answer.with("x-ms-client-request-id", id),
        None => answer,
    }
}
