//! The tenant's master key while the customer's key changes under it: another version, another cloud.
//! The tenant is Active throughout, and what was encrypted before opens after.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::Customer;
use serde_json::Value;

use crate::records;
use crate::stage::Stage;
use crate::steps::Step;

/// A survey, a rotation, and one write of the record.
const SOON: Duration = Duration::from_secs(20);
const SHOW: &str =
    "jsonpath={range .status.masterKeys[*]}{.version}{\" \"}{.state}{\" \"}{.id}{\"\\n\"}{end}";

pub async fn tell(stage: &Stage<'_>) -> Result<()> {
    let keys = rotated(stage).await?;
    let [first, second] = &stage.cast.abroad;
    moved(stage, Step::Moved, first, &keys).await?;
    moved(stage, Step::MovedOn, second, &keys).await?;
    moved(stage, Step::Returned, &stage.cast.next, &keys).await?;

    stage.step(Step::Deleted)?;
    for former in [stage.customer(), first, second] {
        former.delete();
    }
    checked_twice(stage, &stage.cast.next).await?;
    stage.timeline.say("checked twice since, and Active");
    Ok(())
}

/// The master keys after it, the newest first.
async fn rotated(stage: &Stage<'_>) -> Result<Vec<String>> {
    stage.step(Step::Rotated)?;
    let customer = stage.customer();
    let first = ids(&stage.env().tenant(&customer.name).await?);
    let since = Instant::now();
    let Some(version) = customer.rotate() else {
        checked_twice(stage, customer).await?;
        let cloud = customer.cloud.words().name;
        stage.timeline.say(format_args!(
            "{cloud} keeps what the key was before and tells nobody: the same master keys, and they open"
        ));
        records::goes_on(stage, first.first().context("no master key")?).await?;
        return Ok(first);
    };
    stage.ask("verify").await?;
    let rotated = watch(stage, "another master key", |object| {
        object["status"]["kekVersion"] == version && ids(object).len() == first.len() + 1
    })
    .await?;
    let what = "another master key, all of them under the new version";
    shown(stage, what, since).await?;
    let keys = ids(&rotated);
    records::goes_on(stage, keys.first().context("no master key")?).await?;
    Ok(keys)
}

/// By both replicas.
async fn checked_twice(stage: &Stage<'_>, customer: &Customer) -> Result<()> {
    let checks = || {
        let calls = stage.env().cloud.calls();
        let checks = calls.iter().filter(|call| customer.is_checked_by(call));
        checks.count()
    };
    let checked = checks();
    watch(stage, "two more checks", |_| checks() >= checked + 4)
        .await
        .map(drop)
}

async fn moved(stage: &Stage<'_>, step: Step, to: &Customer, keys: &[String]) -> Result<()> {
    stage.step(step)?;
    let since = Instant::now();
    let (name, patch) = (&stage.customer().name, to.patch().to_string());
    let args = [
        "patch",
        "tkms",
        name,
        "-n",
        "tenants",
        "--type=merge",
        "-p",
        &patch,
    ];
    stage.kubectl(&args).await?;
    let object = watch(stage, "the other key", |object| {
        let status = &object["status"];
        let accepted = status["conditions"].as_array().into_iter().flatten();
        let mut accepted = accepted.filter(|one| one["type"] == "ConfigAccepted");
        status["observedGeneration"] == object["metadata"]["generation"]
            && accepted.any(|one| one["status"] == "True")
    })
    .await?;
    if ids(&object) != keys {
        bail!("the master keys are not the same after the move");
    }
    shown(stage, "the same master keys, under the new key", since).await?;
    records::goes_on(stage, keys.first().context("no master key")?).await
}

/// Waits for this; the tenant may not be anything but Active meanwhile.
async fn watch(stage: &Stage<'_>, what: &str, done: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + SOON;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let object = stage.env().tenant(&stage.customer().name).await?;
        if !is_active(&object) {
            bail!("it is not Active: {}", object["status"]);
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
        .kubectl(&[
            "get",
            "tkms",
            &stage.customer().name,
            "-n",
            "tenants",
            "-o",
            SHOW,
        ])
        .await?;
    Ok(())
}
