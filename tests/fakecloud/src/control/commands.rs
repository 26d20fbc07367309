//! The commands of the control API, one for each method of the library's handles: `{"do": "grant", "vault": …}`.
//! Each opens the handle it names and calls one method; no logic lives here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::FaultJson;
use crate::azure::directory::{Application, Directory};
use crate::azure::imds::Imds;
use crate::azure::key::{Key, KeyOptions};
use crate::azure::vault::{Permission, Scope, Vault};
use crate::world::{World, lock};

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Command {
    /// Makes what is missing. Answers `{principal}`.
    Application {
        tenant: String,
        client: String,
    },
    Directory {
        tenant: String,
        token_lifetime: Option<u64>,
    },
    RemoveDirectory {
        tenant: String,
    },
    AddSecret {
        tenant: String,
        client: String,
        value: String,
        #[serde(default)]
        expired: bool,
    },
    RemoveSecret {
        tenant: String,
        client: String,
        value: String,
    },
    /// `what`: disable, enable, delete, restore.
    ChangeApplication {
        tenant: String,
        client: String,
        what: String,
    },
    Federate {
        tenant: String,
        client: String,
        issuer: String,
        subject: String,
        audience: String,
    },
    Unfederate {
        tenant: String,
        client: String,
        subject: String,
    },
    TrustIssuer {
        issuer: String,
        jwks: Value,
    },
    /// Answers `{principal}`.
    SystemIdentity {
        tenant: String,
    },
    /// Answers `{principal}`.
    UserIdentity {
        tenant: String,
        client: String,
        object: String,
        resource: String,
    },
    RemoveIdentities,
    ImdsAbsent {
        absent: bool,
    },
    /// Answers `{url}`.
    Vault {
        name: String,
        tenant: String,
    },
    /// Any of the settings that is given.
    ChangeVault {
        name: String,
        access_policies: Option<bool>,
        firewall: Option<bool>,
        purge_protection: Option<bool>,
        deleted: Option<bool>,
    },
    /// `permissions` of get, wrap, unwrap; without it the whole role.
    Grant {
        vault: String,
        principal: String,
        key: Option<String>,
        permissions: Option<Vec<String>>,
    },
    Revoke {
        vault: String,
        principal: String,
    },
    /// Answers `{url, version}`.
    CreateKey {
        vault: String,
        name: String,
        bits: Option<usize>,
        #[serde(default)]
        ec: bool,
        ops: Option<Vec<String>>,
    },
    /// `what`: disable, enable, delete, recover, purge, new-version, set-expires, set-not-before, set-ops. Answers
    /// `{version}`.
    ChangeKey {
        vault: String,
        name: String,
        what: String,
        version: Option<String>,
        at: Option<i64>,
        #[serde(default)]
        ops: Vec<String>,
    },
    /// A token signed as the cloud signs its own. Answers `{token}`.
    SignToken {
        claims: Value,
    },
    /// Answers `{id}`.
    Fault {
        fault: FaultJson,
    },
    ClearFault {
        id: u64,
    },
    ClearFaults,
    ResetCalls,
}

pub(super) fn run(world: &Arc<World>, command: Value) -> anyhow::Result<Value> {
    let directory = |tenant: &str| Directory::open(world, tenant);
    let application = |tenant: &str, client: &str| directory(tenant).application(client);
    let done = match serde_json::from_value(command).context("no such command")? {
        Command::Application { tenant, client } => {
            json!({ "principal": application(&tenant, &client).principal() })
        }
        Command::Directory {
            tenant,
            token_lifetime,
        } => {
            let directory = directory(&tenant);
            if let Some(seconds) = token_lifetime {
                directory.token_lifetime(Duration::from_secs(seconds));
            }
            json!({ "tenant": directory.tenant() })
        }
        Command::RemoveDirectory { tenant } => finished(directory(&tenant).remove()),
        Command::AddSecret {
            tenant,
            client,
            value,
            expired: false,
        } => finished(application(&tenant, &client).add_secret(&value)),
        Command::AddSecret {
            tenant,
            client,
            value,
            expired: true,
        } => finished(application(&tenant, &client).add_expired_secret(&value)),
        Command::RemoveSecret {
            tenant,
            client,
            value,
        } => finished(application(&tenant, &client).remove_secret(&value)),
        Command::ChangeApplication {
            tenant,
            client,
            what,
        } => change_application(&application(&tenant, &client), &what)?,
        Command::Federate {
            tenant,
            client,
            issuer,
            subject,
            audience,
        } => finished(application(&tenant, &client).federate(&issuer, &subject, &audience)),
        Command::Unfederate {
            tenant,
            client,
            subject,
        } => finished(application(&tenant, &client).unfederate(&subject)),
        Command::TrustIssuer { issuer, jwks } => {
            lock(&world.trusted).insert(issuer, jwks);
            json!({})
        }
        Command::SystemIdentity { tenant } => {
            json!({ "principal": Imds::open(world).system_assigned(&directory(&tenant)) })
        }
        Command::UserIdentity {
            tenant,
            client,
            object,
            resource,
        } => {
            let imds = Imds::open(world);
            json!({ "principal": imds.user_assigned(&directory(&tenant), &client, &object, &resource) })
        }
        Command::RemoveIdentities => finished(Imds::open(world).remove_identities()),
        Command::ImdsAbsent { absent } => finished(Imds::open(world).absent(absent)),
        Command::Vault { name, tenant } => {
            json!({ "url": Vault::open(world, &name, directory(&tenant).tenant()).url() })
        }
        Command::ChangeVault {
            name,
            access_policies,
            firewall,
            purge_protection,
            deleted,
        } => {
            let vault = vault(world, &name)?;
            access_policies.inspect(|on| vault.use_access_policies(*on));
            firewall.inspect(|on| vault.firewall(*on));
            purge_protection.inspect(|on| vault.purge_protection(*on));
            deleted.inspect(|on| if *on { vault.delete() } else { vault.recover() });
            json!({})
        }
        Command::Grant {
            vault: name,
            principal,
            key,
            permissions,
        } => {
            let scope = key.as_deref().map_or(Scope::Vault, Scope::Key);
            vault(world, &name)?.grant_only(principal, scope, &permissions_of(permissions)?);
            json!({})
        }
        Command::Revoke {
            vault: name,
            principal,
        } => finished(vault(world, &name)?.revoke(principal)),
        Command::CreateKey {
            vault: name,
            name: key,
            bits,
            ec,
            ops,
        } => {
            let usual = KeyOptions::default();
            let options = KeyOptions {
                kty_bits: bits.unwrap_or(usual.kty_bits),
                ec,
                ..usual
            };
            let key = vault(world, &name)?.create_key_with(&key, options);
            if let Some(ops) = ops {
                key.set_ops(&borrowed(&ops));
            }
            json!({ "url": key.url(), "version": key.version() })
        }
        Command::ChangeKey {
            vault: name,
            name: key,
            what,
            version,
            at,
            ops,
        } => change_key(
            &vault(world, &name)?.key(&key),
            &what,
            version.as_deref(),
            at,
            &ops,
        )?,
        Command::SignToken { claims } => json!({ "token": world.signer().sign(&claims) }),
        Command::Fault { fault } => json!({ "id": world.faults.arm(fault.into()) }),
        Command::ClearFault { id } => finished(world.faults.clear(id)),
        Command::ClearFaults => finished(world.faults.clear_all()),
        Command::ResetCalls => finished(world.calls.reset()),
    };
    Ok(done)
}

/// The answer of a command that returns nothing.
fn finished((): ()) -> Value {
    json!({})
}

fn vault(world: &Arc<World>, name: &str) -> anyhow::Result<Vault> {
    let tenant = world
        .azure()
        .vaults
        .get(name)
        .map(|vault| vault.tenant.clone())
        .context("no such vault")?;
    Ok(Vault::open(world, name, &tenant))
}

fn change_application(application: &Application, what: &str) -> anyhow::Result<Value> {
    match what {
        "disable" => application.disable(),
        "enable" => application.enable(),
        "delete" => application.delete(),
        "restore" => application.restore(),
        other => bail!("no such change of an application: {other}"),
    }
    Ok(json!({}))
}

fn change_key(
    key: &Key,
    what: &str,
    version: Option<&str>,
    at: Option<i64>,
    ops: &[String],
) -> anyhow::Result<Value> {
    match (what, version) {
        ("disable", None) => key.disable(),
        ("disable", Some(version)) => key.disable_version(version),
        ("enable", None) => key.enable(),
        ("enable", Some(version)) => key.enable_version(version),
        ("delete", None) => key.delete(),
        ("recover", None) => key.recover(),
        ("purge", None) => {
            key.purge();
            return Ok(json!({}));
        }
        ("new-version", None) => {
            key.new_version();
        }
        ("set-expires", None) => key.set_expires(at),
        ("set-not-before", None) => key.set_not_before(at),
        ("set-ops", None) => key.set_ops(&borrowed(ops)),
        (other, _) => bail!("no such change of a key: {other}"),
    }
    Ok(json!({ "version": key.versions().last() }))
}

fn permissions_of(names: Option<Vec<String>>) -> anyhow::Result<Vec<Permission>> {
    let Some(names) = names else {
        return Ok(Permission::ROLE.to_vec());
    };
    names
        .iter()
        .map(|name| match name.as_str() {
            "get" => Ok(Permission::Get),
            "wrap" => Ok(Permission::Wrap),
            "unwrap" => Ok(Permission::Unwrap),
            other => bail!("no such permission: {other}"),
        })
        .collect()
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
