//! What the story plays on: the control plane, the loopback Azure, and the operator under the
//! chart's own `ServiceAccount`. Dropping it ends all of it, the operator first.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{ControlPlane, Env, Names, Operator, repository};
use serde_json::{Map, Value};

use crate::azure::Acme;
use crate::timeline::{Timeline, more};

/// The operator's configuration is that of both examples.
const CONFIGURATIONS: [&str; 2] = [
    "examples/azure-client-secret/operator-config.yaml",
    "examples/azure-managed-identity/operator-config.yaml",
];

#[derive(Debug)]
pub struct Stage<'a> {
    pub timeline: &'a Timeline,
    pub operator: Operator,
    pub env: Env,
    pub acme: Acme,
}

impl<'a> Stage<'a> {
    pub async fn set(timeline: &'a Timeline) -> Result<Self> {
        timeline.say("a control plane of its own: etcd, kube-apiserver, kube-controller-manager");
        let control = Arc::new(ControlPlane::start().await?);
        timeline.say(format_args!(
            "the API server answers on {}",
            control.server()
        ));
        timeline.say("the chart's ServiceAccount, RBAC and policies; two customers' vaults");
        let names = Names {
            namespace: "tenants".to_owned(),
            records_namespace: "tenant-kms-records".to_owned(),
            operator_namespace: "tenant-kms-system".to_owned(),
            installation: "default".to_owned(),
        };
        let env = Env::named(control, names).await?;
        let acme = Acme::onboard(&env);
        env.write_config(&configuration()?);
        let operator = env.operator().await?;
        let stage = Self {
            timeline,
            operator,
            env,
            acme,
        };
        stage.introduce().await?;
        Ok(stage)
    }

    /// Says who the operator is for the API server, and makes sure that it is nobody greater.
    async fn introduce(&self) -> Result<()> {
        let who = ["auth", "whoami", "-o", "json"];
        let said = self
            .env
            .control
            .kubectl_as(&self.env.operator_kubeconfig, &who)
            .await?;
        let said: Value = serde_json::from_str(&said.success()?)?;
        let user = &said["status"]["userInfo"];
        let name = user["username"].as_str().unwrap_or_default();
        if name != self.env.operator_user() || user["groups"].to_string().contains("system:masters")
        {
            bail!("the operator is somebody else: {user}");
        }
        let pid = self.operator.pid();
        self.timeline
            .say(format_args!("the operator runs: process {pid}, {name}"));
        Ok(())
    }

    /// Runs `kubectl` as a person would and shows what it says; an error when it fails.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let shown: Vec<_> = args.iter().map(|arg| quoted(arg)).collect();
        more(format_args!("$ kubectl {}", shown.join(" ")));
        let said = self.env.control.kubectl(args).await?;
        let text = said.success()?;
        more(&text);
        Ok(text)
    }

    /// Watches acme until a condition holds, for its present generation.
    pub async fn acme_is(
        &self,
        condition: &str,
        status: &str,
        reason: Option<&str>,
        within: Duration,
    ) -> Result<Value> {
        let what = format!("waiting for {condition}={status}");
        let wait = self
            .env
            .wait_condition("acme", condition, status, reason, within);
        self.timeline.patiently(&what, wait).await
    }

    /// The end of the operator's log, for a failure.
    pub fn operator_log(&self) -> String {
        let log = self.operator.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(30)..];
        format!("the operator's log ends:\n{}\n", tail.join("\n"))
    }
}

fn quoted(arg: &str) -> String {
    if arg.contains([' ', '"', '{', '*', '\'']) {
        format!("'{arg}'")
    } else {
        arg.to_owned()
    }
}

fn configuration() -> Result<String> {
    let mut all = Map::new();
    for path in CONFIGURATIONS {
        let text = fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())?;
        all.extend(serde_yaml_ng::from_str::<Map<String, Value>>(&text)?);
    }
    Ok(serde_yaml_ng::to_string(&all)?)
}
