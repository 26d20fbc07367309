//! What the agent API gives the operator besides: reviews, and the CA's `ConfigMap`; and who needs it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use harness::{Agent, Env, Operator, Workload};

use crate::seen::eventually;
use crate::support::SOON;

/// As `ANSWERS` of the module above.
pub const ANSWERS: [(&str, &str, char, bool); 9] = [
    ("create", "tokenreviews.authentication.k8s.io", '-', true),
    (
        "create",
        "subjectaccessreviews.authorization.k8s.io",
        '-',
        true,
    ),
    ("create", "configmaps", 'S', true),
    ("get", "configmaps/tenant-kms-ca", 'S', true),
    ("update", "configmaps/tenant-kms-ca", 'S', true),
    ("get", "configmaps/other", 'S', false),
    ("list", "configmaps", 'S', false),
    ("delete", "configmaps/tenant-kms-ca", 'S', false),
    ("create", "configmaps", 'T', false),
];

/// A workload of the tenant `acme`.
pub struct User(Workload);

impl User {
    pub async fn new(env: &Env) -> Result<Self> {
        Ok(Self(env.workload("app", "acme", &["session"]).await?))
    }

    /// Whether it reads what it wrote, from an operator that it trusts by what is published.
    pub async fn served(&self, env: &Env, operator: &Operator) -> Result<bool> {
        let Some(bundle) = env.published_ca().await? else {
            return Ok(false);
        };
        let agent = Agent::trusting(operator, &bundle)?;
        // Without a certificate there is no handshake, and so no answer.
        let Ok(answer) = self.0.session(&agent).await else {
            return Ok(false);
        };
        let Ok(session) = answer.text("session_token") else {
            return Ok(false);
        };
        let sealed = self.0.seal(&agent, &session, "a record").await?;
        Ok(self.0.open(&agent, &session, &sealed).await? == "a record")
    }
}

/// Has the operator serve, then another one find that what workloads trust was taken out.
pub async fn used_and_put_right(env: &Env, operator: Operator) -> Result<Operator> {
    let user = User::new(env).await?;
    let served = async |operator: &Operator| {
        eventually("served", SOON, async || user.served(env, operator).await).await
    };
    served(&operator).await?;
    operator.terminate().await?;
    let edit = r#"--patch={"data":{"ca.crt":null}}"#;
    let patch = ["patch", "configmap", "tenant-kms-ca", "--type=merge", edit];
    let there = ["--namespace", &env.operator_namespace];
    let patched = env.control.kubectl(&[&there[..], &patch].concat()).await?;
    patched.success()?;
    let operator = env.spawn(env.agent_options()).await?;
    served(&operator).await?;
    // Its CA is among the records.
    let writes = env.operator_writes()?.into_iter().filter(|one| {
        one["objectRef"]["name"] == "tenant-kms-agent-ca"
            && one["objectRef"]["resource"] == "secrets"
    });
    let writes: BTreeSet<String> = writes.map(|one| one["verb"].to_string()).collect();
    ensure!(
        writes.len() == 2,
        "made, and marked as published: {writes:?}"
    );
    Ok(operator)
}
