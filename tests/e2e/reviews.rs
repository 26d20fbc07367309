//! Who calls the agent API and what they may, as the real API server reviews it. Minutes pass on a
//! clock of the test's own; the API server keeps the machine's.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Component, ControlPlane, Env};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tenant_kms::clock::{Clock, Moment, SystemClock};
use tenant_kms::provider::TenantId;
use tenant_kms::server::reviews::{Refusal, Reviews, Right, Why};
use tenant_kms::session::Caller;
use tenant_kms::session::caller::AUDIENCE;

use crate::identities::resigned;
use crate::seen::eventually;
use crate::support::SOON;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The machine's clocks, ahead by what the test says.
#[derive(Default)]
struct Ahead(Mutex<Duration>);

impl Ahead {
    fn by(&self, seconds: u64) {
        *self.0.lock().expect("lock") += Duration::from_secs(seconds);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Moment {
        SystemClock.now().after(*self.0.lock().expect("lock"))
    }
}

struct Stage {
    env: Env,
    clock: Arc<Ahead>,
    reviews: Reviews,
    acme: TenantId,
}

impl Stage {
    async fn of(env: Env) -> Result<Self> {
        let clock = Arc::new(Ahead::default());
        Ok(Self {
            reviews: Reviews::new(env.client().await?, clock.clone()),
            acme: TenantId::new(&env.namespace, "acme"),
            clock,
            env,
        })
    }

    async fn account(&self, name: &str) -> Result<()> {
        let create = ["create", "serviceaccount", name];
        self.env.kubectl(&create).await?.success().map(drop)
    }

    async fn token(
        &self,
        account: &str,
        audience: Option<&str>,
        pod: Option<&Pod>,
    ) -> Result<String> {
        let accounts: Api<ServiceAccount> =
            Api::namespaced(self.env.client().await?, &self.env.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.map(str::to_owned).into_iter().collect(),
                expiration_seconds: Some(600),
                bound_object_ref: pod.map(|pod| BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let granted = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await?;
        Ok(granted.status.context("a token")?.token)
    }

    async fn caller(&self, account: &str) -> Result<Arc<Caller>> {
        let token = self.token(account, Some(AUDIENCE), None).await?;
        Ok(self.shown(&token).await?)
    }

    /// Whose this token is.
    async fn shown(&self, token: &str) -> Result<Arc<Caller>, Refusal> {
        reviewed(|| self.reviews.caller(PEER, token)).await
    }

    async fn pods(&self) -> Result<Api<Pod>> {
        Ok(Api::namespaced(
            self.env.client().await?,
            &self.env.namespace,
        ))
    }

    /// A pod that no node ever takes.
    async fn pod(&self, name: &str, account: &str) -> Result<Pod> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": {
                "serviceAccountName": account,
                "containers": [{ "name": "app", "image": "app.example/app" }],
            },
        }))?;
        Ok(self
            .pods()
            .await?
            .create(&PostParams::default(), &pod)
            .await?)
    }

    async fn may(&self, caller: &Arc<Caller>, right: Right) -> Result<(), Refusal> {
        reviewed(|| self.reviews.may(caller, &self.acme, right)).await
    }

    /// The authorizer learns of a Role a moment later; no answer is older than `seconds`.
    async fn becomes(&self, caller: &Arc<Caller>, allowed: bool, seconds: u64) -> Result<()> {
        let what = if allowed { "allowed" } else { "forbidden" };
        eventually(what, SOON, async || {
            self.clock.by(seconds);
            match self.may(caller, Right::Session).await {
                Ok(()) => Ok(allowed),
                Err(Refusal::Forbidden(_)) => Ok(!allowed),
                Err(other) => Err(other.into()),
            }
        })
        .await
    }

    /// Runs the commands of a refusal, word for word.
    async fn grant(&self, refused: Result<(), Refusal>) -> Result<()> {
        let message = refused.expect_err("refused").to_string();
        let from = message.find("kubectl ").context("no command")?;
        let output = self.env.control.shell(&message[from..]).await?;
        output.success().context(message).map(drop)
    }
}

/// An answer; asked for again where the API server was too slow.
async fn reviewed<T, F>(ask: impl Fn() -> F) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, Refusal>>,
{
    let deadline = Instant::now() + SOON;
    loop {
        match ask().await {
            Err(Refusal::Unavailable) if Instant::now() < deadline => {}
            answer => return answer,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn rejected(answer: &Result<Arc<Caller>, Refusal>) -> Result<()> {
    let why = Why::Rejected;
    ensure!(
        *answer == Err(Refusal::Unauthenticated { why }),
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn only_a_live_token_for_us_names_a_caller() -> Result<()> {
    let stage = Stage::of(Env::new("callers").await?).await?;
    stage.account("backend").await?;
    let token = stage.token("backend", Some(AUDIENCE), None).await?;
    let caller = stage.shown(&token).await?;
    let expected = format!("system:serviceaccount:{}:backend", stage.env.namespace);
    ensure!(caller.username() == expected && caller.pod().is_none());

    for audience in [None, Some("api://AzureADTokenExchange")] {
        let other = stage.token("backend", audience, None).await?;
        rejected(&stage.shown(&other).await)?;
    }
    let expired = resigned(&stage.env, &token, |claims| {
        for time in ["iat", "nbf", "exp"] {
            let seconds = claims[time].as_u64().unwrap_or_default();
            claims[time] = json!(seconds - 3600);
        }
    })?;
    rejected(&stage.shown(&expired).await)?;
    let resigned = resigned(&stage.env, &token, |_| ())?;
    ensure!(stage.shown(&resigned).await?.digest() == caller.digest());
    // Not the last one, of whose bits not all count.
    let at = token.len() - 4;
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
    rejected(&stage.shown(&forged).await)?;
    Ok(())
}

#[tokio::test]
async fn who_is_gone_is_heard_within_five_minutes() -> Result<()> {
    let stage = Stage::of(Env::new("gone").await?).await?;
    stage.account("backend").await?;
    let pod = stage.pod("backend-0", "backend").await?;
    let in_pod = stage.token("backend", Some(AUDIENCE), Some(&pod)).await?;
    let caller = stage.shown(&in_pod).await?;
    let bound = caller.pod().context("a pod")?;
    ensure!(bound.name == "backend-0" && Some(&bound.uid) == pod.metadata.uid.as_ref());
    let without = stage.token("backend", Some(AUDIENCE), None).await?;
    let account = stage.shown(&without).await?;
    ensure!(account.digest() != caller.digest(), "another caller");

    let now = DeleteParams::default().grace_period(0);
    stage.pods().await?.delete(&pod.name_any(), &now).await?;
    let delete = ["delete", "serviceaccount", "backend"];
    stage.env.kubectl(&delete).await?.success()?;
    stage.account("backend").await?;
    ensure!(stage.shown(&in_pod).await? == caller, "remembered");
    stage.clock.by(300);
    // The API server looks at a ServiceAccount in a cache of its own.
    for token in [&in_pod, &without] {
        eventually("gone", SOON, async || {
            stage.clock.by(300);
            Ok(rejected(&stage.shown(token).await).is_ok())
        })
        .await?;
    }
    let again = stage.caller("backend").await?;
    ensure!(again.username() == account.username());
    ensure!(
        again.digest() != account.digest(),
        "the name was given again"
    );
    Ok(())
}

#[tokio::test]
async fn a_role_gives_one_right_on_one_tenant_to_one_caller() -> Result<()> {
    let stage = Stage::of(Env::new("may").await?).await?;
    for name in ["backend", "other"] {
        stage.account(name).await?;
    }
    let backend = stage.caller("backend").await?;
    let other = stage.caller("other").await?;
    stage
        .grant(stage.may(&backend, Right::Session).await)
        .await?;
    stage.becomes(&backend, true, 10).await?;

    let forbidden = |answer| matches!(answer, Err(Refusal::Forbidden(_)));
    ensure!(forbidden(stage.may(&other, Right::Session).await));
    ensure!(forbidden(stage.may(&backend, Right::DataKey).await));
    let globex = TenantId::new(&stage.env.namespace, "globex");
    let elsewhere = stage.reviews.may(&backend, &globex, Right::Session);
    ensure!(forbidden(elsewhere.await));

    // Each is granted besides what was granted before.
    stage.grant(stage.may(&other, Right::Session).await).await?;
    stage
        .grant(stage.may(&backend, Right::DataKey).await)
        .await?;
    stage.becomes(&other, true, 10).await?;
    stage.becomes(&backend, true, 30).await?;
    eventually("data keys", SOON, async || {
        stage.clock.by(10);
        Ok(stage.may(&backend, Right::DataKey).await.is_ok())
    })
    .await?;

    let delete = ["delete", "role", "tenant-kms-acme-session"];
    stage.env.kubectl(&delete).await?.success()?;
    stage.becomes(&backend, false, 30).await?;
    stage.becomes(&other, false, 30).await
}

#[tokio::test]
async fn an_api_server_that_is_down_takes_no_right_for_five_minutes() -> Result<()> {
    let control = Arc::new(ControlPlane::start().await?);
    let stage = Stage::of(Env::with_control(control, "down").await?).await?;
    stage.account("backend").await?;
    let token = stage.token("backend", Some(AUDIENCE), None).await?;
    let caller = stage.shown(&token).await?;
    stage
        .grant(stage.may(&caller, Right::Session).await)
        .await?;
    stage.becomes(&caller, true, 10).await?;

    stage.env.control.stop(Component::ApiServer).await?;
    stage.clock.by(30);
    stage.may(&caller, Right::Session).await?;
    stage.clock.by(200);
    stage.may(&caller, Right::Session).await?;
    stage.clock.by(70);
    let refused = stage.reviews.may(&caller, &stage.acme, Right::Session);
    let refused = refused.await;
    ensure!(refused == Err(Refusal::Unavailable), "{refused:?}");
    let refused = stage.reviews.caller(PEER, &token).await;
    ensure!(refused == Err(Refusal::Unavailable), "{refused:?}");

    stage
        .env
        .control
        .start_component(Component::ApiServer)
        .await?;
    stage.becomes(&caller, true, 10).await?;
    stage.shown(&token).await?;
    Ok(())
}
