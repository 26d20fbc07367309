//! Customers of every cloud: what a tenant's manifest names is made on the loopback clouds as the documents
//! to onboard say, and from then on the customer does with it what customers do. Tests, benches and demo tell
//! their stories by this, whatever the cloud.

mod aws;
mod azure;
mod cloud;
mod config;
mod gcp;
mod spec;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fakecloud::{Call, Effect, Fault};
use serde_json::{Value, json};

pub use cloud::{Cloud, Words};
pub use config::merge;
pub use spec::Identity;

use crate::Env;

/// An answer to a new object.
const SOON: Duration = Duration::from_secs(30);

/// What the customer of one key does in its cloud.
trait Owner: Debug + Send + Sync {
    /// Takes the right to use the key away.
    fn say_no(&self);
    /// Gives it back.
    fn say_yes(&self);
    fn disable(&self);
    fn enable(&self);
    /// New material for the same key; the version's name, where the cloud tells one.
    fn rotate(&self) -> Option<String>;
    /// From now on the key opens nothing.
    fn delete(&self);
    /// What this version of the key has wrapped, whoever may use it; where the cloud tells.
    fn open(&self, _version: &str, _wrapped: &[u8]) -> Option<Vec<u8>> {
        None
    }
    /// Lets whoever shows this external id in.
    fn trust(&self, _external_id: &str) {}
    /// Where the key answers, then where tokens for it come from.
    fn hosts(&self) -> Vec<String>;
    /// Who uses the key, as the cloud's record names it.
    fn principal(&self) -> String;
    /// The first four as commands of the control API.
    fn commands(&self) -> [Value; 4];
}

/// One key, its customer, and the tenant that names it.
#[derive(Debug)]
pub struct Customer {
    /// The tenant's.
    pub name: String,
    pub cloud: Cloud,
    manifest: Value,
    owner: Box<dyn Owner>,
}

impl Customer {
    /// Makes on the clouds of `env` what this manifest names, and lets in whom it names. The operator's
    /// configuration is not touched. `issuer` signs the tokens of `ServiceAccount`s.
    pub fn of(env: &Env, manifest: &Value, issuer: &str) -> Result<Self> {
        let spec = &manifest["spec"];
        let name = manifest["metadata"]["name"].as_str().context("a name")?;
        let cloud = spec["provider"].as_str().unwrap_or_default();
        let cloud = Cloud::parse(cloud).with_context(|| format!("provider {cloud}"))?;
        let lent = Lent {
            issuer,
            namespace: &env.namespace,
        };
        let owner: Box<dyn Owner> = match cloud {
            Cloud::Azure => Box::new(azure::Azure::of(env, spec, &lent)?),
            Cloud::Aws => Box::new(aws::Aws::of(env, spec, &lent)?),
            Cloud::Gcp => Box::new(gcp::Gcp::of(env, spec, &lent)?),
        };
        Ok(Self {
            name: name.to_owned(),
            cloud,
            manifest: manifest.clone(),
            owner,
        })
    }

    /// A customer of its own for the tenant `name`, who is known by `identity`.
    pub fn new(
        env: &Env,
        cloud: Cloud,
        name: &str,
        identity: Identity,
        issuer: &str,
    ) -> Result<Self> {
        let spec = spec::spec(cloud, &env.namespace, name, identity);
        Self::of(env, &spec::manifest(name, &spec), issuer)
    }

    /// Takes the right to use the key away.
    pub fn say_no(&self) {
        self.owner.say_no();
    }

    /// Gives it back.
    pub fn say_yes(&self) {
        self.owner.say_yes();
    }

    pub fn disable(&self) {
        self.owner.disable();
    }

    pub fn enable(&self) {
        self.owner.enable();
    }

    /// New material for the same key; the version's name, where the cloud tells one.
    pub fn rotate(&self) -> Option<String> {
        self.owner.rotate()
    }

    /// What this version of the key has wrapped, whoever may use it; where the cloud tells.
    pub fn open(&self, version: &str, wrapped: &[u8]) -> Option<Vec<u8>> {
        self.owner.open(version, wrapped)
    }

    /// From now on the key opens nothing.
    pub fn delete(&self) {
        self.owner.delete();
    }

    /// The tenant.
    pub fn manifest(&self) -> Value {
        self.manifest.clone()
    }

    /// The tenant, with this as `spec.verify`.
    pub fn verified(&self, verify: Value) -> Value {
        let mut manifest = self.manifest();
        manifest["spec"]["verify"] = verify;
        manifest
    }

    /// The key, as the spec writes it.
    pub fn key(&self) -> &str {
        self.manifest["spec"]["kmsKeyRef"]
            .as_str()
            .unwrap_or_default()
    }

    /// What makes a tenant of any cloud use this key, as a merge patch.
    pub fn patch(&self) -> Value {
        let mut spec = json!({});
        for field in ["provider", "kmsKeyRef", "azure", "aws", "gcp"] {
            spec[field] = self.manifest["spec"][field].clone();
        }
        json!({ "spec": spec })
    }

    /// Where the key answers.
    pub fn host(&self) -> String {
        self.owner.hosts().swap_remove(0)
    }

    /// Where the key answers, and where tokens for it come from.
    pub fn hosts(&self) -> Vec<String> {
        self.owner.hosts()
    }

    /// From now on its key service takes its requests and never answers; nobody else's.
    pub fn outage(&self) -> Fault {
        let fault = Fault::on(&self.host(), Effect::Hang);
        match self.cloud {
            Cloud::Azure => fault, // its own host
            Cloud::Aws | Cloud::Gcp => fault.principal(&self.owner.principal()),
        }
    }

    /// Whether this is a check of its tenant.
    pub fn is_checked_by(&self, call: &Call) -> bool {
        call.is(&self.host(), self.cloud.check())
            && call.principal.as_deref() == Some(&*self.owner.principal())
    }

    /// `say_no`, `say_yes`, `disable` and `enable` as commands of the control API.
    pub fn commands(&self) -> [Value; 4] {
        self.owner.commands()
    }

    /// Whether somebody has to tell the customer the external id before anything works.
    fn waits_for_external_id(&self) -> bool {
        let aws = &self.manifest["spec"]["aws"];
        self.cloud == Cloud::Aws
            && aws["roleArn"].is_string()
            && aws["serviceAccountName"].is_null()
    }

    /// Once the tenant is applied: tells the customer what only its status says, where there is such a
    /// thing, and asks the operator to try. Since when it can work, if not from the start.
    pub async fn let_in(&self, env: &Env) -> Result<Option<Instant>> {
        if !self.waits_for_external_id() {
            return Ok(None);
        }
        let told = |object: &Value| object["status"]["externalId"].is_string();
        let object = env.wait(&self.name, "an external id", SOON, told).await?;
        let id = object["status"]["externalId"].as_str().unwrap_or_default();
        self.owner.trust(id);
        let since = Instant::now();
        env.ask(&self.name, "verify").await?;
        Ok(Some(since))
    }
}

/// What the clouds are to believe about `ServiceAccount`s.
struct Lent<'a> {
    issuer: &'a str,
    namespace: &'a str,
}

impl Lent<'_> {
    fn subject(&self, account: &str) -> String {
        format!("system:serviceaccount:{}:{account}", self.namespace)
    }
}

/// A number for a name, the same in every run.
fn number(name: &str) -> u64 {
    // FNV-1a, of which 48 bits fill the last group of a GUID.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 16
}

impl Env {
    /// The issuer of the control plane's tokens, whose keys the loopback clouds can read from now on.
    pub async fn issuer(&self) -> Result<String> {
        let discovery = ["get", "--raw", "/.well-known/openid-configuration"];
        let discovery = self.control.kubectl(&discovery).await?.success()?;
        let discovery: Value = serde_json::from_str(&discovery)?;
        let issuer = discovery["issuer"].as_str().context("an issuer")?;
        self.cloud.trust_issuer(issuer, self.control.jwks().await?);
        Ok(issuer.to_owned())
    }

    /// Asks the operator by annotation: `verify`, `unseal` or `rotate`.
    pub async fn ask(&self, tenant: &str, what: &str) -> Result<()> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let request = format!("tenantkms.dev/{what}-requested-at={}", now.as_nanos());
        let annotate = ["annotate", "tkms", tenant, &request, "--overwrite"];
        self.kubectl(&annotate).await?.success().map(drop)
    }

    /// A `ServiceAccount` that the tenant lends, and the operator's right to take its token, as the examples'
    /// lend.yaml has them.
    pub async fn lend(&self, tenant: &str, account: &str) -> Result<()> {
        let (api, name) = (
            "rbac.authorization.k8s.io",
            format!("tenant-kms-{tenant}-token"),
        );
        let user = self.operator_user();
        let [_, _, namespace, operator] = user.split(':').collect::<Vec<_>>()[..] else {
            return Err(anyhow::anyhow!("no ServiceAccount: {user}"));
        };
        let rule = |resource: &str, verb: &str| json!({ "apiGroups": [""], "resources": [resource], "resourceNames": [account], "verbs": [verb] });
        let objects = [
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": false,
                    "metadata": { "name": account, "labels": { "tenantkms.dev/tenant": tenant } } }),
            json!({ "apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": { "name": name },
                    "rules": [rule("serviceaccounts", "get"), rule("serviceaccounts/token", "create")] }),
            json!({ "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": { "name": name },
                    "roleRef": { "apiGroup": api, "kind": "Role", "name": name },
                    "subjects": [{ "kind": "ServiceAccount", "name": operator, "namespace": namespace }] }),
        ];
        for object in objects {
            self.apply(&object.to_string()).await?.success()?;
        }
        Ok(())
    }

    /// Lets the operator use what these customers' tenants name, and nothing else.
    pub fn configure<'a>(&self, customers: impl IntoIterator<Item = &'a Customer>) {
        let config = config::config(&self.namespace, customers);
        self.write_config(&config.to_string()); // JSON is YAML
    }

    /// Applies the customer's tenant with this `spec.verify`, and waits until it is Active.
    pub async fn bring(&self, customer: &Customer, verify: Value) -> Result<Value> {
        let manifest = customer.verified(verify);
        self.apply(&manifest.to_string()).await?.success()?;
        customer.let_in(self).await?;
        let name = &customer.name;
        let active = self.wait_condition(name, "Active", "True", Some("Verified"), SOON);
        let active = active.await?;
        ensure!(active["spec"]["provider"] == customer.cloud.name());
        Ok(active)
    }
}
