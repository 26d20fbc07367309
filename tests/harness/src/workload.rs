//! What a workload does: shows the token of its `ServiceAccount` to the agent API of a replica, and uses
//! a tenant's keys in sessions. Nothing here goes through the product's own client.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::{Env, Operator, OperatorOptions, access};

const AUDIENCE: &str = "tenantkms.dev";
/// As examples/workload.yaml asks for.
const TOKEN_SECONDS: i64 = 3600;
/// How long the `ConfigMap` with the CA may take to appear.
const CA_SOON: Duration = Duration::from_secs(20);

/// How long a replica may take until it serves a caller that it does not know.
const SERVES_SOON: Duration = Duration::from_secs(20);
/// What a replica says that does not know the caller yet, or has not proved the tenant: come again.
const NOT_YET: [&str; 2] = ["reviews_unavailable", "kms_unavailable"];

/// The agent API of one replica.
#[derive(Clone, Debug)]
pub struct Agent {
    pub url: String,
    pub http: reqwest::Client,
    /// The tokens of those that it has served.
    served: Arc<Mutex<HashSet<String>>>,
}

/// What it answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub retry_after: Option<u64>,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.status == 200
    }

    /// The type of the error, empty where there is none.
    pub fn error(&self) -> &str {
        self.body["error"]["type"].as_str().unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    /// A text of the body.
    pub fn text(&self, field: &str) -> Result<String> {
        let text = self.body[field].as_str();
        text.map(str::to_owned)
            .with_context(|| format!("no {field} in {self:?}"))
    }

    pub fn ok(self) -> Result<Self> {
        ensure!(self.is_ok(), "refused: {self:?}");
        Ok(self)
    }

    pub fn refused(self, kind: &str) -> Result<Self> {
        ensure!(self.error() == kind, "not {kind}: {self:?}");
        Ok(self)
    }
}

impl Agent {
    /// That of this replica, for who trusts these authorities alone (PEM).
    pub fn trusting(operator: &Operator, bundle: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(bundle.as_bytes())?)
            .timeout(Duration::from_secs(20))
            .build()?;
        Ok(Self {
            url: operator.agent_url(),
            http,
            served: Arc::default(),
        })
    }

    /// Any call. Empty tokens are not sent.
    pub async fn call(
        &self,
        path: &str,
        bearer: &str,
        session: &str,
        body: &Value,
    ) -> Result<Answer> {
        let mut request = self.http.post(format!("{}/agent/v1/{path}", self.url));
        if !bearer.is_empty() {
            request = request.bearer_auth(bearer);
        }
        if !session.is_empty() {
            request = request.header("X-Session-Token", session);
        }
        let answer = request.json(body).send().await?;
        let retry_after = answer.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let answer = Answer {
            status: answer.status().as_u16(),
            retry_after,
            body: answer.json().await?,
        };
        if answer.is_ok() && !self.has_served(bearer) {
            self.served().insert(bearer.to_owned());
        }
        Ok(answer)
    }

    fn served(&self) -> MutexGuard<'_, HashSet<String>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_served(&self, token: &str) -> bool {
        self.served().contains(token)
    }

    /// The answer to a call with this token. Where none was served here yet, the call is made again as often
    /// as a workload is told to: the first reviews and the first proof have little time.
    pub async fn first<F>(&self, token: &str, call: impl Fn() -> F) -> Result<Answer>
    where
        F: Future<Output = Result<Answer>>,
    {
        let known = self.has_served(token);
        let deadline = Instant::now() + SERVES_SOON;
        loop {
            let answer = call().await?;
            let not_yet = answer.retry_after.is_some() && NOT_YET.contains(&answer.error());
            if known || !not_yet || Instant::now() > deadline {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A `ServiceAccount`, or one pod of it.
#[derive(Clone, Debug)]
pub struct Workload {
    pub account: String,
    pub token: String,
    /// `NAMESPACE/NAME`.
    pub tenant: String,
}

impl Workload {
    pub async fn session(&self, agent: &Agent) -> Result<Answer> {
        let body = json!({ "tenant": self.tenant });
        agent.call("session", &self.token, "", &body).await
    }

    /// The answer to the first call at this replica, if it is that.
    pub async fn first_session(&self, agent: &Agent) -> Result<Answer> {
        agent.first(&self.token, || self.session(agent)).await
    }

    /// The token of a new session.
    pub async fn begin(&self, agent: &Agent) -> Result<String> {
        self.first_session(agent).await?.ok()?.text("session_token")
    }

    pub async fn encrypt(&self, agent: &Agent, session: &str, plaintext: &str) -> Result<Answer> {
        let body = json!({ "plaintext": STANDARD.encode(plaintext) });
        agent.call("encrypt", &self.token, session, &body).await
    }

    pub async fn decrypt(&self, agent: &Agent, session: &str, ciphertext: &str) -> Result<Answer> {
        let body = json!({ "ciphertext": ciphertext });
        agent.call("decrypt", &self.token, session, &body).await
    }

    /// Encrypts, and gives the ciphertext.
    pub async fn seal(&self, agent: &Agent, session: &str, plaintext: &str) -> Result<String> {
        let answer = self.encrypt(agent, session, plaintext).await?;
        answer.ok()?.text("ciphertext")
    }

    /// Decrypts, and gives the plaintext.
    pub async fn open(&self, agent: &Agent, session: &str, ciphertext: &str) -> Result<String> {
        let answer = self.decrypt(agent, session, ciphertext).await?.ok()?;
        Ok(String::from_utf8(
            STANDARD.decode(answer.text("plaintext")?)?,
        )?)
    }
}

impl Env {
    /// The usual options, serving the agent API too.
    pub fn agent_options(&self) -> OperatorOptions {
        self.operator_options()
            .reserve("--listen")
            .option("--tls-names", "127.0.0.1,localhost")
            .option("--ca-namespaces", &self.operator_namespace)
    }

    /// What workloads are to trust, once it is published.
    pub async fn published_ca(&self) -> Result<Option<String>> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client().await?, &self.operator_namespace);
        let map = maps.get_opt("tenant-kms-ca").await?;
        Ok(map.and_then(|map| map.data?.remove("ca.crt")))
    }

    /// The same, as soon as it is.
    pub async fn ca(&self) -> Result<String> {
        let published = async {
            loop {
                if let Some(bundle) = self.published_ca().await? {
                    return Ok::<_, anyhow::Error>(bundle);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let bundle = tokio::time::timeout(CA_SOON, published).await;
        bundle.context("no ConfigMap tenant-kms-ca")?
    }

    /// The agent API of this replica, trusted by what the operator publishes.
    pub async fn agent(&self, operator: &Operator) -> Result<Agent> {
        let agent = Agent::trusting(operator, &self.ca().await?)?;
        operator.until_ready(CA_SOON).await?;
        Ok(agent)
    }

    /// A `ServiceAccount` of the tenants' namespace that may do this (such as `session`) with `tenant`.
    pub async fn workload(&self, account: &str, tenant: &str, may: &[&str]) -> Result<Workload> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, &self.namespace);
        let mut new = ServiceAccount::default();
        new.metadata.name = Some(account.to_owned());
        accounts.create(&PostParams::default(), &new).await?;
        for right in may {
            self.let_use(account, tenant, right).await?;
        }
        Ok(Workload {
            account: account.to_owned(),
            token: self.token(account, None).await?,
            tenant: format!("{}/{tenant}", self.namespace),
        })
    }

    /// Grants `create` on `tenantkmses/RIGHT` for one tenant by a Role named `ACCOUNT-TENANT-RIGHT`, and waits
    /// until it is in force.
    pub async fn let_use(&self, account: &str, tenant: &str, right: &str) -> Result<()> {
        let name = format!("{account}-{tenant}-{right}");
        let of = |kind: &str| {
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
                    "metadata": { "name": name } })
        };
        let (mut role, mut binding) = (of("Role"), of("RoleBinding"));
        role["rules"] = json!([{
            "apiGroups": ["tenantkms.dev"], "resources": [format!("tenantkmses/{right}")],
            "resourceNames": [tenant], "verbs": ["create"],
        }]);
        binding["roleRef"] = json!({
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name,
        });
        binding["subjects"] = json!([{
            "kind": "ServiceAccount", "name": account, "namespace": self.namespace,
        }]);
        for object in [role, binding] {
            self.apply(&object.to_string()).await?.success()?;
        }
        let resource = format!("tenantkmses/{right}");
        let mut given = access(&self.namespace, "create", "tenantkms.dev", &resource);
        given.name = Some(tenant.to_owned());
        self.until_may(&self.user(account), given, true).await
    }

    /// A token for the agent API, as kubelet projects it; of a pod where one is named.
    pub async fn token(&self, account: &str, pod: Option<&str>) -> Result<String> {
        self.token_for(account, pod, AUDIENCE).await
    }

    pub async fn token_for(
        &self,
        account: &str,
        pod: Option<&str>,
        audience: &str,
    ) -> Result<String> {
        let client = self.client().await?;
        let bound_object_ref = match pod {
            None => None,
            Some(pod) => {
                let pods: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
                let found = if let Some(found) = pods.get_opt(pod).await? {
                    found
                } else {
                    let new = json!({
                        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod },
                        "spec": {
                            "serviceAccountName": account,
                            "containers": [{ "name": "app", "image": "none" }],
                        },
                    });
                    let new = serde_json::from_value(new)?;
                    pods.create(&PostParams::default(), &new).await?
                };
                Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(pod.to_owned()),
                    uid: found.uid(),
                })
            }
        };
        self.token_of(&self.namespace, account, bound_object_ref, audience)
            .await
    }

    /// A token for the agent API of a `ServiceAccount` in any namespace.
    pub async fn token_in(&self, namespace: &str, account: &str) -> Result<String> {
        self.token_of(namespace, account, None, AUDIENCE).await
    }

    async fn token_of(
        &self,
        namespace: &str,
        account: &str,
        bound_object_ref: Option<BoundObjectReference>,
        audience: &str,
    ) -> Result<String> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![audience.to_owned()],
                expiration_seconds: Some(TOKEN_SECONDS),
                bound_object_ref,
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let granted = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await?;
        let Some(status) = granted.status else {
            bail!("the token request was not answered");
        };
        self.guard([status.token.clone()]);
        Ok(status.token)
    }
}
