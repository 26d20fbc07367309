//! An operator whose tenants use the platform's own key, and workloads that use some of them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use harness::{Agent, Component, ControlPlane, Env, Operator, Workload};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::cores::Cores;
use super::wire;
use crate::customers;
use crate::machine::progress;

pub const CONNECTIONS: usize = 32;
/// So many tenants are used, by so many callers.
const USED: usize = 128;
const ACCOUNTS: usize = 8;
const PLAINTEXT: usize = 1024;
/// The operator writes 50 states a second, each tenant's a few times.
const LIMIT: Duration = Duration::from_mins(20);
const REVIEWED: Duration = Duration::from_mins(1);
const NEVER: u32 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Session,
    Encrypt,
    Decrypt,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Session, Self::Encrypt, Self::Decrypt];

    /// About so many bytes are answered.
    pub fn answer(self) -> usize {
        match self {
            Self::Session => 400,
            Self::Encrypt | Self::Decrypt => PLAINTEXT * 3 / 2,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "session",
            Self::Encrypt => "encrypt, 1 KiB",
            Self::Decrypt => "decrypt, 1 KiB",
        })
    }
}

pub struct Scene {
    env: Env,
    pub operator: Operator,
    agent: Agent,
    used: usize,
}

impl Scene {
    pub async fn start(cores: &Cores, tenants: usize) -> Result<Self> {
        // Not the shared one, which would end after this process.
        let control = Arc::new(ControlPlane::start().await?);
        for component in [
            Component::Etcd,
            Component::ApiServer,
            Component::ControllerManager,
        ] {
            cores.stand_by(control.pid(component))?;
        }
        let env = Env::with_control(control, "sessions").await?;
        env.add_kek("standard.1");
        let tenants_of = format!("{}/*", env.namespace);
        let config = json!({
            "apiVersion": "config.tenantkms.dev/v1alpha1",
            "kind": "OperatorConfig",
            "operatorIdentity": {
                "allow": [{ "tenants": [tenants_of], "keys": ["local://standard"] }],
            },
            "limits": { "agentCallerRps": NEVER, "agentTenantRps": NEVER },
        });
        env.write_config(&config.to_string()); // JSON is YAML
        let operator = env.spawn(cores.serve(env.agent_options())).await?;
        let agent = env.agent(&operator).await?;
        let used = USED.min(tenants);
        Ok(Self {
            env,
            operator,
            agent,
            used,
        })
    }

    /// Makes the tenants and waits until all their keys are held.
    pub async fn onboard(&self, count: usize) -> Result<()> {
        let api = customers::api(self.env.client().await?, &self.env.namespace);
        let mut made = progress(format!("making {count} tenants"));
        let (api, parameters) = (&api, &PostParams::default());
        let all = (0..count).map(async |number| {
            let manifest = json!({
                "apiVersion": "tenantkms.dev/v1alpha1",
                "kind": "TenantKms",
                "metadata": { "name": name(number) },
                "spec": { "provider": "local", "kmsKeyRef": "local://standard" },
            });
            api.create(parameters, &serde_json::from_value(manifest)?)
                .await?;
            anyhow::Ok(number)
        });
        let mut all = stream::iter(all).buffer_unordered(16);
        while let Some(number) = all.try_next().await? {
            made.at(number);
        }
        let mut proved = progress("waiting until their keys are held".to_owned());
        let until = Instant::now() + LIMIT;
        loop {
            let held = self.held().await?;
            if held == count {
                return Ok(());
            }
            proved.at(held);
            ensure!(
                Instant::now() < until,
                "{held} of {count} keys in {LIMIT:?}"
            );
            sleep(Duration::from_secs(2)).await;
        }
    }

    async fn held(&self) -> Result<usize> {
        let text = self.operator.metrics().await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("tenantkms_keys_held "));
        Ok(line.context("no metric of the keys held")?.parse()?)
    }

    pub fn address(&self) -> Result<SocketAddr> {
        let address = self.agent.url.strip_prefix("https://");
        Ok(address.context("an address")?.parse()?)
    }

    /// Trusts what the operator publishes.
    pub async fn tls(&self) -> Result<Arc<ClientConfig>> {
        let maps = Api::namespaced(self.env.client().await?, &self.env.operator_namespace);
        let map: ConfigMap = maps.get("tenant-kms-ca").await?;
        let bundle = map
            .data
            .unwrap_or_default()
            .remove("ca.crt")
            .context("ca.crt")?;
        let mut roots = RootCertStore::empty();
        for one in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(one?)?;
        }
        wire::trusting(roots)
    }

    /// Callers with sessions and a ciphertext each.
    pub async fn workloads(&self) -> Result<Workloads> {
        let mut accounts = Vec::new();
        for number in 0..ACCOUNTS {
            let account = format!("app-{number}");
            accounts.push(self.env.workload(&account, "", &[]).await?);
        }
        self.allow(&accounts).await?;
        let plaintext = "p".repeat(PLAINTEXT);
        let mut all = Vec::new();
        let callers = accounts.iter().cycle();
        for (number, account) in callers.take(self.used).enumerate() {
            let app = Workload {
                tenant: format!("{}/{}", self.env.namespace, name(number)),
                ..account.clone()
            };
            let session = self.begin(&app).await?;
            let ciphertext = app.seal(&self.agent, &session, &plaintext).await?;
            if app.open(&self.agent, &session, &ciphertext).await? != plaintext {
                bail!("{} decrypts to something else", app.tenant);
            }
            all.push(User {
                app,
                session,
                ciphertext,
            });
        }
        let plaintext = STANDARD.encode(&plaintext);
        Ok(Workloads { all, plaintext })
    }

    /// A session; the API server may have too much to do to review a caller in time.
    async fn begin(&self, app: &Workload) -> Result<String> {
        let until = Instant::now() + REVIEWED;
        loop {
            let answer = app.session(&self.agent).await?;
            if answer.status != 503 || Instant::now() > until {
                return answer.ok()?.text("session_token");
            }
            sleep(Duration::from_secs(answer.retry_after.unwrap_or(1))).await;
        }
    }

    /// Lets these callers use every tenant.
    async fn allow(&self, accounts: &[Workload]) -> Result<()> {
        let of = |kind: &str| {
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
                    "metadata": { "name": "bench" } })
        };
        let (mut role, mut binding) = (of("Role"), of("RoleBinding"));
        role["rules"] = json!([{
            "apiGroups": ["tenantkms.dev"], "resources": ["tenantkmses/session"],
            "verbs": ["create"],
        }]);
        binding["roleRef"] = json!({
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "bench",
        });
        let subject = |one: &Workload| {
            json!({ "kind": "ServiceAccount", "name": one.account,
                    "namespace": self.env.namespace })
        };
        binding["subjects"] = accounts.iter().map(subject).collect();
        for object in [role, binding] {
            self.env.apply(&object.to_string()).await?.success()?;
        }
        Ok(())
    }
}

fn name(number: usize) -> String {
    format!("bench-{number:05}")
}

struct User {
    app: Workload,
    session: String,
    ciphertext: String,
}

pub struct Workloads {
    all: Vec<User>,
    plaintext: String,
}

impl Workloads {
    /// The requests of each connection: some users' for each.
    pub fn lanes(&self, kind: Kind) -> Arc<[Vec<Vec<u8>>]> {
        let each = self.all.len().div_ceil(CONNECTIONS);
        let lane = |lane: usize| {
            let users = self.all.iter().cycle().skip(lane * each).take(each);
            users.map(|user| self.request(kind, user)).collect()
        };
        (0..CONNECTIONS).map(lane).collect()
    }

    fn request(&self, kind: Kind, user: &User) -> Vec<u8> {
        let (path, body): (&str, Value) = match kind {
            Kind::Session => ("session", json!({ "tenant": user.app.tenant })),
            Kind::Encrypt => ("encrypt", json!({ "plaintext": self.plaintext })),
            Kind::Decrypt => ("decrypt", json!({ "ciphertext": user.ciphertext })),
        };
        let session = match kind {
            Kind::Session => String::new(),
            _ => format!("X-Session-Token: {}\r\n", user.session),
        };
        let body = body.to_string();
        format!(
            "POST /agent/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             {session}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            user.app.token,
            body.len()
        )
        .into_bytes()
    }
}
