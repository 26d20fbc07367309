//! Azure: a vault, a key in it, and who has the role to use it, as docs/onboard-azure.md says.

use anyhow::{Context, Result};
use fakecloud::{ENTRA_HOST, Key, Scope, Vault};
use serde_json::{Value, json};

use super::{Lent, Owner};
use crate::Env;

const AUDIENCE: &str = "api://AzureADTokenExchange";
/// Where the machine's own identity and its customers' vaults are.
const DIRECTORY: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";

#[derive(Debug)]
pub(super) struct Azure {
    vault: Vault,
    key: Key,
    /// Object id of whoever uses the key.
    principal: String,
}

impl Azure {
    pub fn of(env: &Env, spec: &Value, lent: &Lent<'_>) -> Result<Self> {
        let text = |field: &str| spec["azure"][field].as_str();
        let key = spec["kmsKeyRef"].as_str().unwrap_or_default();
        let key = key
            .strip_prefix("https://")
            .and_then(|key| key.split_once(".vault.azure.net/keys/"));
        let (vault, key) = key.context("a key's URL")?;
        let directory = env.cloud.directory(text("tenantId").unwrap_or(DIRECTORY));
        let principal = match text("clientId") {
            Some(client) => {
                let application = directory.application(client);
                if let Some(variable) = spec.pointer("/azure/clientSecret/envVar") {
                    let secret = format!("secret-{:016x}", std::process::id());
                    application.add_secret(&secret);
                    env.set_secret(variable.as_str().context("a variable")?, &secret);
                }
                if let Some(account) = text("serviceAccountName") {
                    application.federate(lent.issuer, &lent.subject(account), AUDIENCE);
                }
                application.principal()
            }
            None => env.cloud.imds().system_assigned(&directory),
        };
        let vault = env.cloud.vault(vault, &directory);
        let owner = Self {
            key: vault.create_key(key),
            vault,
            principal,
        };
        owner.say_yes();
        Ok(owner)
    }
}

impl Owner for Azure {
    fn say_no(&self) {
        self.vault.revoke(&self.principal);
    }

    fn say_yes(&self) {
        self.vault.grant(&self.principal, Scope::Vault);
    }

    fn disable(&self) {
        self.key.disable();
    }

    fn enable(&self) {
        self.key.enable();
    }

    fn rotate(&self) -> Option<String> {
        Some(self.key.new_version())
    }

    fn delete(&self) {
        self.key.delete();
    }

    fn open(&self, version: &str, wrapped: &[u8]) -> Option<Vec<u8>> {
        self.key.open(version, wrapped)
    }

    fn hosts(&self) -> Vec<String> {
        vec![self.vault.host(), ENTRA_HOST.to_owned()]
    }

    fn principal(&self) -> String {
        self.principal.clone()
    }

    fn commands(&self) -> [Value; 4] {
        let vault = |verb: &str| json!({ "on": "vault", "name": self.vault.name(), "do": verb, "principal": self.principal });
        let key = |verb: &str| json!({ "on": "key", "vault": self.vault.name(), "name": self.key.name(), "do": verb });
        [
            vault("revoke"),
            vault("grant"),
            key("disable"),
            key("enable"),
        ]
    }
}
