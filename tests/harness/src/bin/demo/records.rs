//! What a workload notices: `examples/agent.rs` keeps records of the tenant, encrypted with its master key.
//! Sealed, not one of them can be read; when the customer agrees again, all of them can.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::{Orders, repository};

use crate::stage::{Scene, Stage};
use crate::steps::Step;
use crate::timeline;

/// A round, with a first proof by the replica that is asked.
const SOON: Duration = Duration::from_secs(15);
/// After the tenant: the workload asks again at least every six rounds.
const AGAIN: Duration = Duration::from_secs(15);

/// Starts the workload, where there is no node that would.
pub async fn begin(stage: &Stage<'_>) -> Result<()> {
    stage.step(Step::Workload)?;
    let timeline = stage.timeline;
    let Scene::Process { follower, env, .. } = &stage.scene else {
        timeline.say("not told here: the image holds the operator alone");
        return Ok(());
    };
    stage.kubectl(&["create", "namespace", "apps"]).await?;
    let tenant = &stage.customer().name;
    timeline::more(if tenant == "acme" {
        "$ kubectl apply -f examples/workload.yaml".to_owned()
    } else {
        format!("$ sed s/acme/{tenant}/g examples/workload.yaml | kubectl apply -f -")
    });
    let manifest = fs::read_to_string(repository().join("examples/workload.yaml"))?;
    let manifest = manifest.replace("acme", tenant);
    let applied = env.control.kubectl_stdin(&["apply", "-f", "-"], &manifest);
    timeline::more(applied.await?.success()?);
    let since = Instant::now();
    let token = env.token_in("apps", "orders").await?;
    let orders = Orders::start(
        env,
        &format!("tenants/{tenant}"),
        &follower.agent_url(),
        &token,
    )
    .await?;
    timeline.say(format_args!(
        "there is no node here: it runs as process {}, with the token of apps/orders, and asks the replica that does not hold the shard",
        orders.pid()
    ));
    orders.next("read", SOON).await?;
    let took = since.elapsed().as_secs_f64();
    timeline.say(format_args!(
        "a record written, and read again, after {took:.1} s"
    ));
    let records = orders.records()?;
    let (name, bytes) = records.first().context("no record")?;
    let clear = b"this is";
    ensure!(
        bytes.starts_with(b"TKM\x01") && !bytes.windows(clear.len()).any(|part| part == clear),
        "{name} is not encrypted"
    );
    let start = &bytes[..bytes.len().min(20)];
    timeline::more(format_args!(
        "{name}, {} bytes: {start:02x?} …",
        bytes.len()
    ));
    stage.orders.set(orders).ok().context("one workload")
}

/// From now on it reads nothing: the first call after the no was refused.
pub async fn closed(stage: &Stage<'_>, since: Instant) -> Result<()> {
    let Some(orders) = stage.orders.get() else {
        return Ok(());
    };
    let event = orders.next("sealed", SOON).await?;
    let took = since.elapsed().as_secs_f64();
    let why = event["error"].as_str().unwrap_or_default();
    ensure!(why.contains("tenant_sealed"), "sealed by: {why}");
    let records = orders.records()?.len();
    stage.timeline.say(format_args!(
        "the workload can read none of its {records} records, noticed after {took:.1} s"
    ));
    timeline::quote(why);
    Ok(())
}

/// All that it wrote can be read again, and nothing could meanwhile.
pub async fn open(stage: &Stage<'_>, since: Instant) -> Result<()> {
    let Some(orders) = stage.orders.get() else {
        return Ok(());
    };
    let wait = orders.first(AGAIN, |event| {
        ["written", "read", "unsealed"]
            .iter()
            .any(|name| event["event"] == *name)
    });
    let work = stage.timeline.patiently("waiting for the workload", wait);
    // The round that ended the seal, whole: it wrote one and read all.
    ensure!(
        work.await?["event"] == "written",
        "something was read while sealed"
    );
    orders.next("read", SOON).await?;
    let event = orders.next("unsealed", SOON).await?;
    let took = since.elapsed().as_secs_f64();
    stage.timeline.say(format_args!(
        "the workload reads all {} records again after {took:.1} s, by itself",
        event["records"]
    ));
    Ok(())
}

/// It writes with this master key now, and was not disturbed on the way.
pub async fn goes_on(stage: &Stage<'_>, key: &str) -> Result<()> {
    let Some(orders) = stage.orders.get() else {
        return Ok(());
    };
    let disturbed = |name: &str| !["started", "written", "read"].contains(&name);
    let event = orders
        .first(SOON, |event| {
            event["key_id"] == key || disturbed(event["event"].as_str().unwrap_or_default())
        })
        .await?;
    if event["key_id"] != key {
        bail!("the workload was disturbed: {event}");
    }
    orders.next("read", SOON).await?;
    stage.timeline.say(
        "the workload writes with the active one and reads what is older: not one call failed",
    );
    Ok(())
}
