//! The customers' side of the examples: two directories' worth of Azure, made as
//! docs/onboard-azure.md says, and what the customer of the story does with it. Only the loopback
//! cloud is ever spoken to.

use std::fs;

use anyhow::{Context, Result};
use fakecloud::{Effect, FakeCloud, Fault, FaultId, Key, Scope, Vault};
use serde_json::{Map, Value};

use crate::{Env, repository};

/// The operator's configuration is that of both examples.
const CONFIGURATIONS: [&str; 2] = [
    "examples/azure-client-secret/operator-config.yaml",
    "examples/azure-managed-identity/operator-config.yaml",
];

/// As in examples/azure-client-secret/tenant.yaml.
const DIRECTORY: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";
const APPLICATION: &str = "11112222-3333-4444-5555-666677778888";
const VARIABLE: &str = "AZURE_KC_CLIENT_SECRET";
const KEY: &str = "tenant-wrapping-key";
const NEXT: &str = "tenant-wrapping-key-2";

/// The customer acme: its vault, its key, and who was given the right to use it.
#[derive(Debug)]
pub struct Acme {
    pub vault: Vault,
    pub key: Key,
    /// The key that the tenant is moved to.
    pub next: Key,
    /// Object id of the platform's application in the customer's directory.
    pub principal: String,
}

impl Acme {
    /// Gives both customers what the examples name, and the operator their configuration and the
    /// secret.
    pub fn onboard(env: &Env) -> Result<Self> {
        let cloud = &env.cloud;
        let directory = cloud.directory(DIRECTORY);
        let application = directory.application(APPLICATION);
        let secret = format!("demo-{:016x}", std::process::id());
        application.add_secret(&secret);
        env.set_secret(VARIABLE, &secret);
        let vault = cloud.vault("acme-kv", &directory);
        let key = vault.create_key(KEY);
        let next = vault.create_key(NEXT);
        let principal = application.principal();
        vault.grant(&principal, Scope::Vault);

        let birch = cloud.vault("birch-kv", &directory);
        birch.create_key(KEY);
        let machine = cloud.imds().system_assigned(&directory);
        birch.grant(&machine, Scope::Vault);
        env.write_config(&configuration()?);
        Ok(Self {
            vault,
            key,
            next,
            principal,
        })
    }

    pub fn take_role(&self) {
        self.vault.revoke(&self.principal);
    }

    pub fn give_role(&self) {
        self.vault.grant(&self.principal, Scope::Vault);
    }

    /// From now on the vault takes requests and never answers.
    pub fn hang(&self, cloud: &FakeCloud) -> FaultId {
        cloud.fault(Fault::on(&self.vault.host(), Effect::Hang))
    }
}

fn configuration() -> Result<String> {
    let mut all = Map::new();
    for path in CONFIGURATIONS {
        let text = fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())?;
        all.extend(serde_yaml_ng::from_str::<Map<String, Value>>(&text)?);
    }
    Ok(serde_yaml_ng::to_string(&all)?)
}
