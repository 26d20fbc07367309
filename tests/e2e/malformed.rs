//! An object stored under an older, laxer CRD that this version cannot read: its status says so,
//! once. On a control plane of its own, because the CRD is everybody's.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{ControlPlane, Env};
use serde_json::{Value, json};

use crate::quiet::settled;
use crate::seen::{self, eventually, patch, throughout, wait_row, writes};
use crate::support::{SOON, World, manifest};

const CRD: &str = "tenantkmses.tenantkms.dev";
const ACTIVE: &str = "Active: Ready=True Active=True Sealed=False ConfigAccepted=True";
const UNREADABLE: &str =
    "Pending: Ready=False Active=False Sealed=False ConfigAccepted=False Stalled=True";

/// Puts the schema of `spec` in place, and waits until objects are judged by it.
async fn schema(env: &Env, spec: &Value, lax: bool) -> Result<()> {
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let change = json!([{ "op": "replace", "path": path, "value": spec }]).to_string();
    let args = [
        "patch",
        "crd",
        CRD,
        "--type=json",
        &format!("--patch={change}"),
    ];
    env.control.kubectl(&args).await?.success()?;
    eventually("the schema is in force", SOON, async || {
        let object = manifest("probe", "").replace("azure\n", "oracle\n");
        let args = [
            "apply",
            "--dry-run=server",
            "--namespace",
            &env.namespace,
            "-f",
            "-",
        ];
        Ok(env.control.kubectl_stdin(&args, &object).await?.status == lax)
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_read_is_told_once() -> Result<()> {
    let control = Arc::new(ControlPlane::start().await?);
    let world = World::of(Env::with_control(control, "malformed").await?);
    let env = &world.env;
    let operator = world.operator().await?;
    world.active("{ interval: 5s, proofTTL: 1m }").await?;

    let crd = env
        .control
        .kubectl(&["get", "crd", CRD, "-o", "json"])
        .await?
        .success()?;
    let crd: Value = serde_json::from_str(&crd)?;
    let strict = crd
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .context("no schema")?
        .clone();
    schema(
        env,
        &json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
        true,
    )
    .await?;
    let old = manifest("old", "").replace("provider: azure\n", "provider: oracle\n");
    env.apply(&old).await?.success()?;
    schema(env, &strict, false).await?;

    let told = wait_row(env, "old", UNREADABLE, SOON).await?;
    let message = told["status"]["conditions"][0]["message"]
        .as_str()
        .unwrap_or_default();
    ensure!(
        message.contains("cannot read") && !message.contains("oracle"),
        "{message}"
    );
    let before = settled(&world).await?;
    throughout(Duration::from_secs(10), async || {
        let now = writes(env)?;
        ensure!(
            now == before,
            "written again: {:?}",
            now.get(before.len()..)
        );
        Ok(())
    })
    .await?;
    ensure!(
        seen::row(&env.tenant("acme").await?) == ACTIVE,
        "others are served meanwhile"
    );

    // Wiped, it is told again; after a restart there is nothing new to say.
    patch(
        env,
        "old",
        true,
        "json",
        r#"[{"op":"remove","path":"/status"}]"#,
    )
    .await?;
    wait_row(env, "old", UNREADABLE, SOON).await?;
    operator.terminate().await?;
    let before = (settled(&world).await?, env.tenant("old").await?);
    let operator = world.operator().await?;
    eventually("the new process has seen it", SOON, async || {
        let metrics = operator.metrics().await?;
        let line = metrics
            .lines()
            .find(|line| line.contains("reconciles_total{outcome=\"malformed\"}"));
        Ok(line.is_some_and(|line| !line.ends_with(" 0")))
    })
    .await?;
    throughout(Duration::from_secs(5), async || {
        ensure!(writes(env)? == before.0 && env.tenant("old").await? == before.1);
        Ok(())
    })
    .await?;

    // Repaired, it becomes a tenant like any other.
    let repair = r#"{"spec":{"provider":"azure"}}"#;
    patch(env, "old", false, "merge", repair).await?;
    wait_row(env, "old", ACTIVE, 2 * SOON).await?;
    Ok(())
}
