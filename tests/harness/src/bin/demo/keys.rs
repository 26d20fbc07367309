//! The tenant's master key while the customer's key changes under it: another version, another key.
//! The tenant is Active throughout, and what was encrypted before opens after.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::records;
use crate::stage::Stage;

/// A survey, a rotation, and one write of the record.
const SOON: Duration = Duration::from_secs(20);
const SHOW: &str =
    "jsonpath={range .status.masterKeys[*]}{.version}{\" \"}{.state}{\" \"}{.id}{\"\\n\"}{end}";

pub async fn tell(stage: &Stage<'_>) -> Result<()> {
    let timeline = stage.timeline;
    timeline.step("The customer rotates its key (in Azure: az keyvault key rotate)");
    let first = ids(&stage.env().tenant("acme").await?);
    let since = Instant::now();
    let version = stage.acme.key.new_version();
    stage.ask("verify").await?;
    let rotated = watch(stage, "another master key", |object| {
        object["status"]["kekVersion"] == version && ids(object).len() == first.len() + 1
    })
    .await?;
    shown(
        stage,
        "another master key, all of them under the new version",
        since,
    )
    .await?;
    let active = ids(&rotated).into_iter().next(); // the newest comes first
    let active = active.context("no master key")?;
    records::goes_on(stage, &active).await?;

    timeline.step("The customer has another key for it, and the platform moves the tenant there");
    let since = Instant::now();
    let patch = format!(r#"{{"spec":{{"kmsKeyRef":"{}"}}}}"#, stage.acme.next.url());
    let args = [
        "patch",
        "tkms",
        "acme",
        "-n",
        "tenants",
        "--type=merge",
        "-p",
        &patch,
    ];
    stage.kubectl(&args).await?;
    let moved = stage.acme_is("ConfigAccepted", "True", None, SOON).await?;
    if ids(&moved) != ids(&rotated) {
        bail!("the master keys are not the same after the move");
    }
    shown(stage, "the same master keys, under the new key", since).await?;
    records::goes_on(stage, &active).await?;

    timeline.step("The customer deletes the former key: nothing rests on it any more");
    stage.acme.key.delete();
    let checked = stage.env().cloud.count("*", "unwrapkey");
    // Both replicas check.
    watch(stage, "two more checks", |object| {
        is_active(object) && stage.env().cloud.count("*", "unwrapkey") >= checked + 4
    })
    .await?;
    timeline.say("checked twice since, and Active");
    Ok(())
}

/// Waits for this; the tenant may not be anything but Active meanwhile.
async fn watch(stage: &Stage<'_>, what: &str, done: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let object = stage.env().tenant("acme").await?;
        if !is_active(&object) {
            bail!("acme is not Active: {}", object["status"]);
        }
        if done(&object) {
            return Ok(object);
        }
        if Instant::now() > deadline {
            bail!("not in time: {what}: {}", object["status"]);
        }
    }
}

fn is_active(object: &Value) -> bool {
    object["status"]["phase"] == "Active"
}

fn ids(object: &Value) -> Vec<String> {
    let keys = object["status"]["masterKeys"].as_array();
    let ids = keys
        .into_iter()
        .flatten()
        .filter_map(|one| one["id"].as_str());
    ids.map(str::to_owned).collect()
}

async fn shown(stage: &Stage<'_>, what: &str, since: Instant) -> Result<()> {
    let took = since.elapsed().as_secs_f64();
    stage
        .timeline
        .say(format_args!("{what}, after {took:.1} s"));
    stage
        .kubectl(&["get", "tkms", "acme", "-n", "tenants", "-o", SHOW])
        .await?;
    Ok(())
}
