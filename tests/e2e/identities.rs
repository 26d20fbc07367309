//! Every identity that a tenant may have, with real tokens of the control plane that the fake
//! cloud verifies: what works, what is refused in which words, and what is heard when trust ends.

mod account;
mod examples;
mod gcp;
mod lent;
mod own;
mod revoked;
mod rotated;
mod shared;
mod tokens;
mod withdrawn;

use anyhow::{Context, Result};
use fakecloud::{Application, Scope, Vault};
use harness::Env;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;

use crate::support::{CLIENT, DIRECTORY, SOON};
pub use tokens::resigned;

pub const AUDIENCE: &str = "api://AzureADTokenExchange";
const KEY: &str = "https://acme-kv.vault.azure.net/keys/tenant-wrapping-key";

/// A customer who granted its application access and has not said yet what that trusts.
struct Town {
    env: Env,
    app: Application,
    vault: Vault,
    issuer: String,
}

impl Town {
    async fn new(name: &str) -> Result<Self> {
        Self::of(Env::new(name).await?).await
    }

    async fn of(env: Env) -> Result<Self> {
        let issuer = published_issuer(&env).await?;
        let directory = env.cloud.directory(DIRECTORY);
        let app = directory.application(CLIENT);
        let vault = env.cloud.vault("acme-kv", &directory);
        vault.create_key("tenant-wrapping-key");
        vault.grant(app.principal(), Scope::Vault);
        Ok(Self {
            env,
            app,
            vault,
            issuer,
        })
    }

    /// The subject of a `ServiceAccount` of the tenants' namespace.
    fn subject(&self, account: &str) -> String {
        format!("system:serviceaccount:{}:{account}", self.env.namespace)
    }

    fn trust(&self, subject: &str) {
        self.app.federate(&self.issuer, subject, AUDIENCE);
    }

    /// A token of a `ServiceAccount`, as a kubelet would project it.
    async fn token(&self, namespace: &str, account: &str, audience: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.env.client().await?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![audience.to_owned()],
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let granted = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await?;
        Ok(granted.status.context("a token")?.token)
    }

    /// Runs the `kubectl` commands that a message ends with, word for word, as an administrator.
    async fn run(&self, message: &str) -> Result<()> {
        let from = message.find("kubectl ").context("no command")?;
        let output = self.env.control.shell(&message[from..]).await?;
        output
            .success()
            .with_context(|| message.to_owned())
            .map(drop)
    }

    /// The identity provider's code of the last refusal.
    async fn code(&self, tenant: &str) -> Result<String> {
        let object = self.env.tenant(tenant).await?;
        let code = &object["status"]["lastVerifyError"]["code"];
        Ok(code.as_str().unwrap_or_default().to_owned())
    }

    /// Asks for another try.
    async fn ask(&self, tenant: &str) -> Result<()> {
        let stamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_nanos();
        let request = format!("tenantkms.dev/verify-requested-at={stamp}");
        let annotate = ["annotate", "tkms", tenant, &request, "--overwrite"];
        self.env.kubectl(&annotate).await?.success().map(drop)
    }

    /// Asks for another try and waits for the tenant to be Active.
    async fn retried(&self, tenant: &str) -> Result<Value> {
        self.ask(tenant).await?;
        self.active(tenant).await
    }

    async fn active(&self, tenant: &str) -> Result<Value> {
        self.env
            .wait_condition(tenant, "Active", "True", Some("Verified"), 2 * SOON)
            .await
    }

    /// Asks for a try and waits until the tenant was refused for this reason with this in the message, and gives it.
    async fn refused(&self, tenant: &str, reason: &str, hint: &str) -> Result<String> {
        let what = format!("{reason} with {hint:?}");
        self.ask(tenant).await?;
        let refused = |object: &Value| {
            let error = &object["status"]["lastVerifyError"];
            let message = error["message"].as_str().unwrap_or_default();
            error["reason"] == reason && message.contains(hint)
        };
        let object = self.env.wait(tenant, &what, 2 * SOON, refused).await?;
        let message = &object["status"]["lastVerifyError"]["message"];
        Ok(message.as_str().unwrap_or_default().to_owned())
    }

    fn sent(&self) -> usize {
        self.env.cloud.count("*", "*")
    }
}

/// A tenant on the customer's key; `azure` is the content of the flow mapping `spec.azure`.
fn tenant(name: &str, azure: &str) -> String {
    let azure = if azure.is_empty() {
        String::new()
    } else {
        format!("  azure: {{ {azure} }}\n")
    };
    format!(
        "apiVersion: tenantkms.dev/v1alpha1\nkind: TenantKms\nmetadata: {{ name: {name} }}\n\
         spec:\n  provider: azure\n  kmsKeyRef: {KEY}\n  verify: {{ interval: 5s, proofTTL: 1m \
         }}\n{azure}"
    )
}

/// `spec.azure` of the customer's application with something to prove it.
fn application(proof: &str) -> String {
    format!("tenantId: {DIRECTORY}, clientId: {CLIENT}{proof}")
}

/// The issuer of the control plane's tokens, whose keys the loopback clouds can read from now on.
pub async fn published_issuer(env: &Env) -> Result<String> {
    env.issuer().await
}
