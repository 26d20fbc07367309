//! Vaults as their owner changes them: permission model, firewall, grants, deletion. What a grant means for a request
//! is decided in `keyvault_access`; this file keeps the facts.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::azure::VAULT_SUFFIX;
use crate::azure::key::{Key, KeyOptions, KeyState};
use crate::crypto::uuid;
use crate::world::World;

#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of a vault"
)]
pub(crate) struct VaultState {
    pub(crate) tenant: String,
    pub(crate) subscription: String,
    /// Access policies instead of RBAC.
    pub(crate) policies: bool,
    /// Refuses every address.
    pub(crate) firewall: bool,
    pub(crate) purge_protection: bool,
    pub(crate) deleted: bool,
    pub(crate) grants: Vec<Grant>,
    pub(crate) keys: HashMap<String, KeyState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) principal: String,
    /// `None` is the whole vault.
    pub(crate) key: Option<String>,
    pub(crate) permissions: Vec<Permission>,
}

/// What a grant covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    Vault,
    /// RBAC only: access policies know no single keys, so such a grant is worth nothing there.
    Key(&'a str),
}

/// What a grant permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Read the key's public part and attributes.
    Get,
    Wrap,
    Unwrap,
}

impl Permission {
    /// The role Key Vault Crypto Service Encryption User; as a policy: get, wrapKey, unwrapKey.
    pub const ROLE: [Self; 3] = [Self::Get, Self::Wrap, Self::Unwrap];
}

/// One vault.
#[derive(Debug, Clone)]
pub struct Vault {
    world: Arc<World>,
    name: String,
}

impl Vault {
    pub(crate) fn open(world: &Arc<World>, name: &str, tenant: &str) -> Self {
        let name = name.to_ascii_lowercase();
        world
            .azure()
            .vaults
            .entry(name.clone())
            .or_insert_with(|| VaultState {
                tenant: tenant.to_owned(),
                subscription: uuid(),
                policies: false,
                firewall: false,
                purge_protection: false,
                deleted: false,
                grants: Vec::new(),
                keys: HashMap::new(),
            });
        Self {
            world: world.clone(),
            name,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn host(&self) -> String {
        format!("{}{VAULT_SUFFIX}", self.name)
    }

    /// Without a trailing slash.
    pub fn url(&self) -> String {
        format!("https://{}", self.host())
    }

    /// Access policies (`true`) or RBAC (`false`, as created).
    pub fn use_access_policies(&self, policies: bool) {
        self.change(|vault| vault.policies = policies);
    }

    pub fn firewall(&self, closed: bool) {
        self.change(|vault| vault.firewall = closed);
    }

    /// Shown in a key's `recoveryLevel`.
    pub fn purge_protection(&self, on: bool) {
        self.change(|vault| vault.purge_protection = on);
    }

    /// The host is gone: the proxy knows no such name.
    pub fn delete(&self) {
        self.change(|vault| vault.deleted = true);
    }

    pub fn recover(&self) {
        self.change(|vault| vault.deleted = false);
    }

    /// Gives a principal (object id) the role Key Vault Crypto Service Encryption User, or as a policy get, wrapKey
    /// and unwrapKey.
    pub fn grant(&self, principal: impl AsRef<str>, scope: Scope<'_>) {
        self.grant_only(principal, scope, &Permission::ROLE);
    }

    /// Gives just these permissions, as a custom role or a narrower policy would.
    pub fn grant_only(
        &self,
        principal: impl AsRef<str>,
        scope: Scope<'_>,
        permissions: &[Permission],
    ) {
        let key = match scope {
            Scope::Vault => None,
            Scope::Key(name) => Some(name.to_ascii_lowercase()),
        };
        let principal = principal.as_ref().to_ascii_lowercase();
        let grant = Grant {
            principal,
            key,
            permissions: permissions.to_vec(),
        };
        self.change(|vault| {
            if !vault.grants.contains(&grant) {
                vault.grants.push(grant);
            }
        });
    }

    /// Takes every grant of a principal on this vault and its keys.
    pub fn revoke(&self, principal: impl AsRef<str>) {
        self.change(|vault| {
            vault
                .grants
                .retain(|grant| !grant.principal.eq_ignore_ascii_case(principal.as_ref()));
        });
    }

    /// RSA, 2048 bits, every operation. The key with this name, if there is one already.
    pub fn create_key(&self, name: &str) -> Key {
        self.create_key_with(name, KeyOptions::default())
    }

    /// The key with this name, made as told if there is none.
    pub fn create_key_with(&self, name: &str, options: KeyOptions) -> Key {
        Key::create(&self.world, &self.name, name, options)
    }

    /// A handle of a key that exists (or may exist).
    pub fn key(&self, name: &str) -> Key {
        Key::named(&self.world, &self.name, name)
    }

    fn change(&self, change: impl FnOnce(&mut VaultState)) {
        if let Some(vault) = self.world.azure().vaults.get_mut(&self.name) {
            change(vault);
        }
    }
}
