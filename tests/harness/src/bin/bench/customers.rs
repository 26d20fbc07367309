//! Many customers, each with its own application, vault and key, and the tenant that names them.

use anyhow::Result;
use fakecloud::{Scope, Vault};
use harness::Env;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::machine::progress;

const DIRECTORY: &str = "aaaabbbb-cccc-dddd-eeee-ffff00001111";
const VARIABLE: &str = "AZURE_BENCH_CLIENT_SECRET";
const KEY: &str = "tenant-wrapping-key";

#[derive(Clone, Debug)]
pub struct Customer {
    pub name: String,
    client_id: String,
    principal: String,
    vault: Vault,
}

impl Customer {
    pub fn revoke(&self) {
        self.vault.revoke(&self.principal);
    }

    pub fn restore(&self) {
        self.vault.grant(&self.principal, Scope::Vault);
    }

    pub fn host(&self) -> String {
        self.vault.host()
    }

    /// The tenant; `interval` when it is not the default.
    pub fn manifest(&self, interval: Option<&str>) -> Value {
        self.manifest_with("interval", interval)
    }

    /// The tenant, with this field of `spec.verify`.
    pub fn manifest_with(&self, field: &str, value: Option<&str>) -> Value {
        let mut manifest = json!({
            "apiVersion": "tenantkms.dev/v1alpha1",
            "kind": "TenantKms",
            "metadata": { "name": self.name },
            "spec": {
                "provider": "azure",
                "kmsKeyRef": format!("{}/keys/{KEY}", self.vault.url()),
                "azure": {
                    "tenantId": DIRECTORY,
                    "clientId": self.client_id,
                    "clientSecret": { "envVar": VARIABLE },
                },
            },
        });
        if let Some(value) = value {
            manifest["spec"]["verify"] = json!({ field: value });
        }
        manifest
    }
}

/// Makes them, and lets the operator use their secrets.
pub fn onboard(env: &Env, count: usize) -> Vec<Customer> {
    let secret = format!("bench-{:016x}", std::process::id());
    env.set_secret(VARIABLE, &secret);
    let config = json!({
        "apiVersion": "config.tenantkms.dev/v1alpha1",
        "kind": "OperatorConfig",
        "clientSecretVariables": [
            { "name": VARIABLE, "tenants": [format!("{}/*", env.namespace)] },
        ],
    });
    env.write_config(&config.to_string()); // JSON is YAML
    let directory = env.cloud.directory(DIRECTORY);
    let mut progress = progress(format!("making {count} keys"));
    let customer = |number: usize| {
        progress.at(number);
        let client_id = format!("11112222-3333-4444-5555-{number:012}");
        let application = directory.application(&client_id);
        application.add_secret(&secret);
        let name = format!("bench-{number:04}");
        let vault = env.cloud.vault(&format!("{name}-kv"), &directory);
        vault.create_key(KEY);
        let customer = Customer {
            name,
            client_id,
            principal: application.principal(),
            vault,
        };
        customer.restore();
        customer
    };
    (0..count).map(customer).collect()
}

pub fn api(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("tenantkms.dev", "v1alpha1", "TenantKms");
    let resource = ApiResource::from_gvk_with_plural(&kind, "tenantkmses");
    Api::namespaced_with(client, namespace, &resource)
}

pub async fn apply(api: &Api<DynamicObject>, manifest: &Value) -> Result<()> {
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
    let parameters = PatchParams::apply("bench");
    api.patch(name, &parameters, &Patch::Apply(manifest))
        .await?;
    Ok(())
}
