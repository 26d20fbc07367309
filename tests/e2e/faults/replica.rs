//! One of several replicas of the operator, told apart from outside: its connections to the cloud
//! run through a tap of its own, and its token names it in the API server's audit log.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Env, Operator, OperatorOptions, Ways};
use serde_json::Value;

use super::town::value;

/// A write as the audit log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    pub at: jiff::Timestamp,
    pub verb: String,
    pub resource: String,
    pub name: String,
}

/// When something changed that was looked at now and then.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub after: Instant,
    pub by: Instant,
}

pub struct Replica {
    pub operator: Operator,
    pub ways: Ways,
    /// The id of its token, as admission and the audit log have it.
    pub credential: String,
}

impl Replica {
    /// One more operator of the same installation, with a token of its own.
    pub async fn start(env: &Env, name: &str) -> Result<Self> {
        Self::with(env, name, env.operator_options()).await
    }

    /// The same, serving the agent API too.
    pub async fn serving(env: &Env, name: &str) -> Result<Self> {
        Self::with(env, name, env.agent_options()).await
    }

    async fn with(env: &Env, name: &str, options: OperatorOptions) -> Result<Self> {
        let ways = Ways::new(env, name).await?;
        let who = env
            .control
            .kubectl_as(&ways.kubeconfig, &["auth", "whoami", "-o", "json"])
            .await?;
        let who: Value = serde_json::from_str(&who.success()?)?;
        let credential = who
            .pointer("/status/userInfo/extra")
            .and_then(|extra| extra["authentication.kubernetes.io/credential-id"][0].as_str())
            .context("the token has no id")?
            .to_owned();
        let operator = env.spawn(ways.alone(options)).await?;
        Ok(Self {
            operator,
            ways,
            credential,
        })
    }

    /// Every write of this replica that the API server has taken so far, Leases included.
    pub fn writes(&self, env: &Env) -> Result<HashSet<Write>> {
        let mut writes = HashSet::new();
        for event in env.operator_writes()? {
            let id = &event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
            let taken = event["responseStatus"]["code"]
                .as_u64()
                .is_some_and(|code| code < 300);
            let what = &event["objectRef"];
            // The question who it is was asked here, not by the operator.
            let ours = what["resource"] == "selfsubjectreviews";
            if id == self.credential.as_str() && taken && !ours {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                writes.insert(Write {
                    at: event["stageTimestamp"]
                        .as_str()
                        .unwrap_or_default()
                        .parse()?,
                    verb: text(&event["verb"]),
                    resource: text(&what["resource"]),
                    name: text(&what["name"]),
                });
            }
        }
        Ok(writes)
    }

    pub async fn holds(&self) -> Result<bool> {
        let metrics = self.operator.metrics().await?;
        Ok(value(&metrics, "tenantkms_holder", "") == Some(1.0))
    }

    /// Waits until this replica does (not) hold the shard, by its own account.
    pub async fn until_holds(&self, wanted: bool, within: Duration) -> Result<Change> {
        let deadline = Instant::now() + within;
        let mut after = Instant::now();
        loop {
            let asked = Instant::now();
            if self.holds().await? == wanted {
                let by = Instant::now();
                return Ok(Change { after, by });
            }
            after = asked;
            ensure!(
                asked < deadline,
                "holder is not {wanted} in {within:?}:\n{}",
                self.operator.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
