//! What the scenarios have in common: a tenant whose customer has granted access.

use std::time::Duration;

use anyhow::Result;
use fakecloud::Scope;
use harness::{Env, Operator};

pub const DIRECTORY: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";
pub const CLIENT: &str = "11112222-3333-4444-5555-666677778888";
pub const VARIABLE: &str = "AZURE_KC_CLIENT_SECRET";
pub const SECRET: &str = "s3cr3t~canary-of-the-client";
pub const SOON: Duration = Duration::from_secs(20);

/// A world with one customer: directory, application, vault `acme-kv` and key, all granted.
pub struct World {
    pub env: Env,
    pub app: fakecloud::Application,
    pub vault: fakecloud::Vault,
    pub key: fakecloud::Key,
}

impl World {
    pub async fn new(name: &str) -> Result<Self> {
        Ok(Self::of(Env::new(name).await?))
    }

    pub fn of(env: Env) -> Self {
        let directory = env.cloud.directory(DIRECTORY);
        let app = directory.application(CLIENT);
        app.add_secret(SECRET);
        let vault = env.cloud.vault("acme-kv", &directory);
        let key = vault.create_key("tenant-wrapping-key");
        vault.grant(app.principal(), Scope::Vault);
        env.set_secret(VARIABLE, SECRET);
        env.write_config(&policy(&env.namespace));
        Self {
            env,
            app,
            vault,
            key,
        }
    }

    /// The operator, ready.
    pub async fn operator(&self) -> Result<Operator> {
        self.env.operator().await
    }

    /// Applies the tenant `acme` with `verify` and waits until it is Active.
    pub async fn active(&self, verify: &str) -> Result<()> {
        self.env.apply(&manifest("acme", verify)).await?.success()?;
        self.env
            .wait_condition("acme", "Active", "True", Some("Verified"), SOON)
            .await?;
        Ok(())
    }
}

/// Every tenant of the namespace may use the variable.
pub fn policy(namespace: &str) -> String {
    format!(
        "apiVersion: config.tenantkms.dev/v1alpha1\n\
         kind: OperatorConfig\n\
         clientSecretVariables:\n\
         - {{ name: {VARIABLE}, tenants: ['{namespace}/*'] }}\n"
    )
}

/// A tenant with a client secret; `verify` is the flow mapping of `spec.verify`, or empty.
pub fn manifest(name: &str, verify: &str) -> String {
    let verify = if verify.is_empty() {
        String::new()
    } else {
        format!("  verify: {verify}\n")
    };
    format!(
        "apiVersion: tenantkms.dev/v1alpha1\n\
         kind: TenantKms\n\
         metadata: {{ name: {name} }}\n\
         spec:\n\
         \x20 provider: azure\n\
         \x20 kmsKeyRef: https://acme-kv.vault.azure.net/keys/tenant-wrapping-key\n\
         \x20 azure:\n\
         \x20   tenantId: {DIRECTORY}\n\
         \x20   clientId: {CLIENT}\n\
         \x20   clientSecret: {{ envVar: {VARIABLE} }}\n\
         {verify}"
    )
}
