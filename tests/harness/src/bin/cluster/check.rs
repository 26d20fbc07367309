//! The second tier of the tests: an installation by helm on a real node, from the first pod to
//! `helm uninstall`, with a tenant for every form of identity. Every figure that is promised is
//! measured here.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::node::{self, Cluster};
use serde_json::Value;

use crate::customers::{self, BIRCH, BIRCH_LATER, FIRST, LATER, LENT, OWN};
use crate::life::{self, Steady};
use crate::{restrictions, webhook};

/// What is promised of the image, uncompressed, in MiB.
const IMAGE: f64 = 30.0;
/// What is promised of a replica's resident memory without tenants, in MiB.
const IDLE: f64 = 25.0;
/// What is promised from a process's start to its being ready, on a machine that has the time.
const READY: Duration = Duration::from_secs(1);
/// What a machine that compiles beside it may make of that.
const READY_HERE: Duration = Duration::from_secs(10);

const NETWORK: &str = "networkPolicy.enabled=true";

pub async fn run(program: &Path) -> Result<()> {
    let cgroup = node::enter()?;
    let cluster = Cluster::start(&cgroup, program).await?;
    let told = tell(&cluster).await;
    if told.is_err() {
        eprintln!("{}", cluster.logs().await);
    }
    told
}

async fn tell(cluster: &Cluster) -> Result<()> {
    webhook::install(cluster).await?;
    let oak = customers::onboard(cluster).await?;
    let set = [LENT, NETWORK];
    installed(cluster, &set).await?;
    let first = Steady::from(cluster, &FIRST, &[]).await?;
    say("every identity beside a managed one: Active with it");

    customers::allow(cluster, "workloadIdentity")?;
    let workload = format!(r#"workloadIdentity.azure={{"enabled":true,"clientId":"{OWN}"}}"#);
    let set = [LENT, NETWORK, &workload];
    first.upgraded(cluster, &set, "workload identity").await?;
    life::has_its_identity(cluster, BIRCH_LATER).await?;
    first.rolled_back(cluster).await?;
    life::has_its_identity(cluster, BIRCH).await?;
    first.upgraded(cluster, &set, "workload identity").await?;
    let all = Steady::from(cluster, &LATER, &FIRST).await?;
    say("every identity beside the pod's own: Active with it");
    restricted(cluster).await?;

    all.holder_killed(cluster).await?;
    all.uninstalled(cluster, &set).await?;
    restricted(cluster).await?;
    first.unmoved_to_the_end(cluster).await?;
    all.seal_is_noticed(cluster, "oak", || oak.says_no()).await
}

#[allow(clippy::cast_precision_loss, reason = "a size of some megabytes")]
async fn installed(cluster: &Cluster, set: &[&str]) -> Result<()> {
    let mib = cluster.image_size as f64 / 1_048_576.0;
    say(format_args!("the image holds {mib:.1} MiB uncompressed"));
    ensure!(mib < IMAGE, "the image holds {mib:.1} MiB");

    let took = cluster.install(set).await?;
    say(format_args!(
        "helm install --wait: {:.1} s",
        took.as_secs_f64()
    ));
    restricted(cluster).await?;
    network_policy(cluster).await?;
    for pod in cluster.pods().await? {
        let resident = pod.resident()?;
        say(format_args!("resident without tenants: {resident:.1} MiB"));
        ensure!(resident < IDLE, "{} has {resident:.1} MiB", pod.name);
    }
    let took = life::ready_after(cluster).await?;
    let busy = if took < READY { "" } else { ": a busy machine" };
    say(format_args!(
        "ready at most {:.2} s after its start (promised: {} s){busy}",
        took.as_secs_f64(),
        READY.as_secs()
    ));
    ensure!(took < READY_HERE, "ready only after {took:?}");
    Ok(())
}

async fn restricted(cluster: &Cluster) -> Result<()> {
    let pods = cluster.both_ready(life::SOON).await?;
    restrictions::check(&pods).context("a container is not as restricted as it should be")?;
    say("both replicas are ready and restricted: no capability, no writable mount of their own");
    Ok(())
}

/// It is stored, and selects these pods. Whether it is enforced is the network's affair, and this
/// one does not.
async fn network_policy(cluster: &Cluster) -> Result<()> {
    let get = ["get", "networkpolicy", "-o", "json"];
    let list: Value = serde_json::from_str(&cluster.operators(&get).await?)?;
    let policies = list["items"].as_array().context("a list")?;
    ensure!(policies.len() == 1, "network policies: {policies:#?}");
    let spec = &policies[0]["spec"];
    ensure!(
        spec["policyTypes"] == serde_json::json!(["Ingress", "Egress"]),
        "{spec:#}"
    );
    let labels = spec
        .pointer("/podSelector/matchLabels")
        .and_then(Value::as_object);
    let selector: Vec<String> = labels
        .context("a selector")?
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    let selector = selector.join(",");
    let get = ["get", "pods", "--selector", &selector, "-o", "name"];
    let selected = cluster.operators(&get).await?;
    ensure!(selected.lines().count() == 2, "it selects {selected:?}");
    let ports = spec["egress"].to_string();
    let proxy = cluster.proxy_port();
    ensure!(
        ports.contains(&proxy),
        "the proxy's port {proxy} is not in {ports}"
    );
    say("the NetworkPolicy is stored, selects both replicas and lets them reach the proxy");
    Ok(())
}

pub fn say(text: impl std::fmt::Display) {
    println!("    {text}");
}
