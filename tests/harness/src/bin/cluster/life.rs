//! What may not change a tenant's state: a lost holder, an upgrade, a rollback, and no operator at
//! all. States are compared by when each condition last changed, so that none goes unseen.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use harness::node::{Cluster, Pod};
use serde_json::Value;
use tokio::time::sleep;

use crate::check::say;

const SOON: Duration = Duration::from_secs(30);
const TENANTS: [&str; 2] = ["acme", "birch"];
const PAUSE: Duration = Duration::from_millis(10);

/// How long at most a new replica takes from its process's start to its first "ready".
pub async fn ready_after(cluster: &Cluster) -> Result<Duration> {
    let before = cluster.both_ready(SOON).await?;
    let gone = &before[0].name;
    cluster
        .operators(&["delete", "pod", gone, "--wait=false"])
        .await?;
    let deadline = Instant::now() + SOON;
    let known = |pod: &Pod| before.iter().any(|old| old.name == pod.name);
    while Instant::now() < deadline {
        for pod in cluster.pods().await?.iter().filter(|pod| !known(pod)) {
            if !pod.address.is_empty() {
                return first_ready(pod, deadline).await;
            }
        }
        sleep(PAUSE).await;
    }
    bail!("no new replica")
}

async fn first_ready(pod: &Pod, deadline: Instant) -> Result<Duration> {
    while Instant::now() < deadline {
        if let Ok((200, _)) = pod.get("/readyz").await {
            return age(pod);
        }
        sleep(PAUSE).await;
    }
    bail!("{} did not become ready", pod.name)
}

/// How long ago the process started: its start is in hundredths of a second since the machine's.
fn age(pod: &Pod) -> Result<Duration> {
    let stat = fs::read_to_string(pod.process()?.join("stat"))?;
    let fields = stat.rsplit_once(") ").context("no stat")?.1;
    let started: f64 = fields.split(' ').nth(19).context("no start")?.parse()?;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let now: f64 = uptime.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_secs_f64((now - started / 100.0).max(0.0)))
}

pub async fn tenants_applied(cluster: &Cluster) -> Result<()> {
    for example in ["azure-client-secret", "azure-managed-identity"] {
        let file = format!("examples/{example}/tenant.yaml");
        cluster.kubectl(&["apply", "-f", &file]).await?;
    }
    let patch = r#"{"spec":{"verify":{"interval":"5s","proofTTL":"1m"}}}"#;
    for tenant in TENANTS {
        let args = [
            "patch",
            "tkms",
            tenant,
            "-n",
            "tenants",
            "--type=merge",
            "-p",
            patch,
        ];
        cluster.kubectl(&args).await?;
        cluster
            .env
            .wait_condition(tenant, "Active", "True", Some("Verified"), SOON)
            .await?;
    }
    proved_since(cluster, now()?).await?;
    say("both tenants are proved");
    Ok(())
}

pub async fn holder_killed(cluster: &Cluster) -> Result<()> {
    cluster.both_ready(SOON).await?;
    let before = states(cluster).await?;
    let holder = holder(cluster).await?;
    let (since, killed) = (Instant::now(), now()?);
    let name = &holder.name;
    cluster
        .operators(&["delete", "pod", name, "--grace-period=0", "--force"])
        .await?;
    proved_since(cluster, killed + 1.0).await?;
    let took = since.elapsed().as_secs_f64();
    ensure!(self::holder(cluster).await?.name != holder.name);
    unchanged(cluster, &before).await?;
    cluster.both_ready(SOON).await?;
    say(format_args!(
        "the holder's pod was killed: no state changed, new proofs after {took:.1} s"
    ));
    Ok(())
}

pub async fn upgraded_and_rolled_back(cluster: &Cluster) -> Result<()> {
    let before = states(cluster).await?;
    let took = cluster.upgrade(&["podLabels.tier=second"]).await?;
    cluster.both_ready(SOON).await?;
    proved_since(cluster, now()?).await?;
    unchanged(cluster, &before).await?;
    say(format_args!(
        "helm upgrade --wait: {:.1} s, no state changed",
        took.as_secs_f64()
    ));
    cluster.rollback().await?;
    cluster.both_ready(SOON).await?;
    proved_since(cluster, now()?).await?;
    unchanged(cluster, &before).await?;
    say("helm rollback: no state changed");
    Ok(())
}

pub async fn uninstalled(cluster: &Cluster) -> Result<()> {
    let (before, records) = (states(cluster).await?, records(cluster).await?);
    cluster.uninstall().await?;
    unchanged(cluster, &before).await?;
    ensure!(self::records(cluster).await? == records, "records changed");
    say("helm uninstall leaves tenants and records");
    cluster.install().await?;
    cluster.both_ready(SOON).await?;
    proved_since(cluster, now()?).await?;
    unchanged(cluster, &before).await?;
    say("installed again: proved again, no state changed");
    Ok(())
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// The replica that tells of both tenants.
async fn holder(cluster: &Cluster) -> Result<Pod> {
    for pod in cluster.pods().await? {
        if let Ok((200, text)) = pod.get("/metrics").await
            && TENANTS.iter().all(|tenant| proof(&text, tenant).is_some())
        {
            return Ok(pod);
        }
    }
    bail!("no replica tells of both tenants")
}

/// When the last proof of a tenant was begun, in Unix time.
fn proof(metrics: &str, tenant: &str) -> Option<f64> {
    let name = format!("name=\"{tenant}\"");
    let mut lines = metrics.lines().filter(|line| line.contains(&name));
    let line = lines.find(|line| line.starts_with("tenantkms_last_proof_timestamp_seconds{"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Waits until a replica has proved both tenants after this time.
async fn proved_since(cluster: &Cluster, time: f64) -> Result<()> {
    let deadline = Instant::now() + 2 * SOON;
    loop {
        let metrics = cluster.metrics().await?;
        let new = |tenant: &&str| proof(&metrics, tenant).is_some_and(|proof| proof > time);
        if TENANTS.iter().all(new) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no new proofs in {:?}", 2 * SOON);
        sleep(10 * PAUSE).await;
    }
}

/// What each condition of each tenant says, and since when.
async fn states(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut states = Vec::new();
    for tenant in TENANTS {
        let object = cluster.env.tenant(tenant).await?;
        let conditions = object.pointer("/status/conditions").context("no state")?;
        let conditions = conditions.as_array().into_iter().flatten();
        let fields =
            |of: &Value| ["type", "status", "reason", "lastTransitionTime"].map(|f| of[f].clone());
        states.push(
            conditions
                .map(|of| Value::from(fields(of).to_vec()))
                .collect(),
        );
    }
    Ok(states)
}

async fn unchanged(cluster: &Cluster, before: &[Value]) -> Result<()> {
    let after = states(cluster).await?;
    ensure!(after == before, "states changed:\n{before:?}\n{after:?}");
    Ok(())
}

/// Every record's identity.
async fn records(cluster: &Cluster) -> Result<String> {
    let namespace = &cluster.env.records_namespace;
    let output = "-o=jsonpath={.items[*].metadata.uid}";
    let records = cluster
        .kubectl(&["get", "secrets", "-n", namespace, output])
        .await?;
    ensure!(
        records.split(' ').count() >= TENANTS.len(),
        "records: {records}"
    );
    Ok(records)
}
