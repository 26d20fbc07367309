//! Commands on vaults and their keys. A vault is made by `create`; every other command wants it to exist.

use std::sync::Arc;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use super::commands::nothing;
use crate::azure::directory::Directory;
use crate::azure::key::KeyOptions;
use crate::azure::vault::{Permission, Scope, Vault};
use crate::world::World;

#[derive(Debug, Deserialize)]
pub(super) struct VaultCommand {
    name: String,
    #[serde(flatten)]
    change: VaultChange,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum VaultChange {
    /// Answers `{url}`.
    Create {
        tenant: String,
    },
    AccessPolicies {
        enabled: bool,
    },
    Firewall {
        enabled: bool,
    },
    PurgeProtection {
        enabled: bool,
    },
    Delete,
    Recover,
    /// On the vault, or on `key` alone; the whole role, or just these permissions.
    Grant {
        principal: String,
        key: Option<String>,
        permissions: Option<Vec<Permission>>,
    },
    Revoke {
        principal: String,
    },
}

impl VaultCommand {
    pub(super) fn run(self, world: &Arc<World>) -> anyhow::Result<Value> {
        if let VaultChange::Create { tenant } = self.change {
            let directory = Directory::open(world, &tenant);
            let vault = Vault::open(world, &self.name, directory.tenant());
            return Ok(json!({ "url": vault.url() }));
        }
        let vault = existing(world, &self.name)?;
        match self.change {
            VaultChange::Create { .. } => {}
            VaultChange::AccessPolicies { enabled } => vault.use_access_policies(enabled),
            VaultChange::Firewall { enabled } => vault.firewall(enabled),
            VaultChange::PurgeProtection { enabled } => vault.purge_protection(enabled),
            VaultChange::Delete => vault.delete(),
            VaultChange::Recover => vault.recover(),
            VaultChange::Grant {
                principal,
                key,
                permissions,
            } => {
                let permissions = permissions.unwrap_or_else(|| Permission::ROLE.to_vec());
                let scope = key.as_deref().map_or(Scope::Vault, Scope::Key);
                vault.grant_only(principal, scope, &permissions);
            }
            VaultChange::Revoke { principal } => vault.revoke(principal),
        }
        Ok(nothing())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyCommand {
    vault: String,
    name: String,
    #[serde(flatten)]
    change: KeyChange,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum KeyChange {
    Create {
        bits: Option<usize>,
        #[serde(default)]
        ec: bool,
        ops: Option<Vec<String>>,
    },
    Disable {
        version: Option<String>,
    },
    Enable {
        version: Option<String>,
    },
    /// Unix seconds.
    SetExpires {
        at: Option<i64>,
    },
    /// Unix seconds.
    SetNotBefore {
        at: Option<i64>,
    },
    SetOps {
        ops: Vec<String>,
    },
    NewVersion,
    Delete,
    Recover,
    Purge,
}

impl KeyCommand {
    /// Answers `{url, version}`, the version being `null` for a key that is not there.
    pub(super) fn run(self, world: &Arc<World>) -> anyhow::Result<Value> {
        let vault = existing(world, &self.vault)?;
        let key = vault.key(&self.name);
        match self.change {
            KeyChange::Create { bits, ec, ops } => {
                let usual = KeyOptions::default();
                let kty_bits = bits.unwrap_or(usual.kty_bits);
                let options = KeyOptions {
                    kty_bits,
                    ec,
                    ..usual
                };
                let key = vault.create_key_with(&self.name, options);
                if let Some(ops) = ops {
                    key.set_ops(&borrowed(&ops));
                }
            }
            KeyChange::Disable { version: None } => key.disable(),
            KeyChange::Disable {
                version: Some(version),
            } => key.disable_version(&version),
            KeyChange::Enable { version: None } => key.enable(),
            KeyChange::Enable {
                version: Some(version),
            } => key.enable_version(&version),
            KeyChange::SetExpires { at } => key.set_expires(at),
            KeyChange::SetNotBefore { at } => key.set_not_before(at),
            KeyChange::SetOps { ops } => key.set_ops(&borrowed(&ops)),
            KeyChange::NewVersion => {
                key.new_version();
            }
            KeyChange::Delete => key.delete(),
            KeyChange::Recover => key.recover(),
            KeyChange::Purge => key.purge(),
        }
        Ok(json!({ "url": key.url(), "version": key.versions().last() }))
    }
}

fn existing(world: &Arc<World>, name: &str) -> anyhow::Result<Vault> {
    let tenant = world
        .azure()
        .vaults
        .get(name)
        .map(|vault| vault.tenant.clone());
    Ok(Vault::open(world, name, &tenant.context("no such vault")?))
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
