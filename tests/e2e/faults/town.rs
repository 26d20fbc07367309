//! Several customers in one world, each with its own application, vault and key, so that what
//! befalls one says nothing about the others.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fakecloud::{Application, Call, Key, Scope, Vault};
use harness::{Env, Operator};

use super::film::{Film, is};
use crate::support::{DIRECTORY, SECRET, VARIABLE, policy};

/// The shortest times there are, which most scenarios use.
pub const QUICK: &str = "{ interval: 5s, proofTTL: 1m }";
pub const SOON: Duration = Duration::from_secs(30);

pub struct Customer {
    pub name: String,
    pub app: Application,
    pub vault: Vault,
    pub key: Key,
}

impl Customer {
    fn new(env: &Env, number: usize, name: &str) -> Self {
        let directory = env.cloud.directory(DIRECTORY);
        let app = directory.application(&format!("11112222-3333-4444-5555-{number:012x}"));
        app.add_secret(SECRET);
        let vault = env.cloud.vault(&format!("{name}-kv"), &directory);
        let key = vault.create_key("tenant-wrapping-key");
        let customer = Self {
            name: name.to_owned(),
            app,
            vault,
            key,
        };
        customer.grant();
        customer
    }

    pub fn grant(&self) {
        self.vault.grant(self.app.principal(), Scope::Vault);
    }

    pub fn revoke(&self) {
        self.vault.revoke(self.app.principal());
    }

    pub fn host(&self) -> String {
        self.vault.host()
    }

    pub fn manifest(&self, verify: &str) -> String {
        format!(
            "apiVersion: tenantkms.dev/v1alpha1\n\
             kind: TenantKms\n\
             metadata: {{ name: {} }}\n\
             spec:\n\
             \x20 provider: azure\n\
             \x20 kmsKeyRef: {}\n\
             \x20 azure:\n\
             \x20   tenantId: {DIRECTORY}\n\
             \x20   clientId: {}\n\
             \x20   clientSecret: {{ envVar: {VARIABLE} }}\n\
             \x20 verify: {verify}\n",
            self.name,
            self.key.url(),
            self.app.client(),
        )
    }

    /// Whether this is a wrap or unwrap with this customer's key, at or after `since`.
    pub fn uses_key(&self, call: &Call, since: Instant) -> bool {
        call.instant >= since
            && call.host == self.host()
            && matches!(call.operation.as_str(), "wrapkey" | "unwrapkey")
    }

    /// Whether this call, at or after `since`, asks for a token of this customer's application.
    pub fn asks_token(&self, call: &Call, since: Instant) -> bool {
        call.instant >= since
            && call.operation == "token"
            && call.app.as_deref() == Some(self.app.client())
    }
}

/// The world with its customers, who have all granted access.
pub struct Town {
    pub env: Env,
    pub customers: Vec<Customer>,
}

impl Town {
    pub async fn new(name: &str, customers: &[&str]) -> Result<Self> {
        Ok(Self::of(Env::new(name).await?, customers))
    }

    pub fn of(env: Env, customers: &[&str]) -> Self {
        env.set_secret(VARIABLE, SECRET);
        env.write_config(&policy(&env.namespace));
        let numbered = customers.iter().enumerate();
        let customers = numbered
            .map(|(number, name)| Customer::new(&env, number, name))
            .collect();
        Self { env, customers }
    }

    /// Applies the customer's tenant, waits until it is Active and films it from there.
    pub async fn active(&self, customer: &Customer, verify: &str) -> Result<Film> {
        self.env
            .apply(&customer.manifest(verify))
            .await?
            .success()?;
        let reason = Some("Verified");
        self.env
            .wait_condition(&customer.name, "Active", "True", reason, SOON)
            .await?;
        let film = Film::start(&self.env, &customer.name).await?;
        ensure!(
            is(&film.last(), "Ready", "True"),
            "{} is not ready",
            customer.name
        );
        Ok(film)
    }

    /// The next successful use of the customer's key after `since`: a whole attempt has worked.
    pub async fn proved(
        &self,
        customer: &Customer,
        since: Instant,
        within: Duration,
    ) -> Result<Call> {
        let proof = |call: &Call| {
            customer.uses_key(call, since) && call.operation == "unwrapkey" && call.status == 200
        };
        let call = self.env.cloud.wait_for_call(proof, within).await;
        call.with_context(|| format!("no proof of {}'s key", customer.name))
    }

    /// Every use of the customer's key at or after `since`.
    pub fn uses(&self, customer: &Customer, since: Instant) -> Vec<Call> {
        let mut calls = self.env.cloud.calls();
        calls.retain(|call| customer.uses_key(call, since));
        calls
    }

    pub fn tokens(&self, customer: &Customer, since: Instant) -> usize {
        let calls = self.env.cloud.calls();
        calls
            .iter()
            .filter(|call| customer.asks_token(call, since))
            .count()
    }

    /// Asks the operator by annotation, `verify` or `unseal`.
    pub async fn request(&self, customer: &Customer, what: &str, value: &str) -> Result<()> {
        let annotation = format!("tenantkms.dev/{what}-requested-at={value}");
        let args = [
            "annotate",
            "--overwrite",
            "tkms",
            &customer.name,
            &annotation,
        ];
        self.env.kubectl(&args).await?.success().map(drop)
    }
}

/// When the newest proof of a tenant was sent, in seconds since the epoch, as the metrics tell.
pub async fn last_proof(operator: &Operator, tenant: &str) -> Result<f64> {
    let metrics = operator.metrics().await?;
    value(&metrics, "tenantkms_last_proof_timestamp_seconds", tenant)
        .with_context(|| format!("no proof of {tenant} in the metrics"))
}

/// The first sample of a metric whose labels contain `label`; both may be all there is.
pub fn value(metrics: &str, name: &str, label: &str) -> Option<f64> {
    let quoted = format!("\"{label}\"");
    metrics
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name))
        .find(|line| label.is_empty() || line.contains(&quoted))
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
}
