//! The second tier of the tests: an installation by helm on a real node, from the first pod to
//! `helm uninstall`. Every figure that is promised is measured here.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::Acme;
use harness::node::{self, Cluster};

use crate::{life, restrictions};

/// What is promised of the image, uncompressed, in MiB.
const IMAGE: f64 = 30.0;
/// What is promised of a replica's resident memory without tenants, in MiB.
const IDLE: f64 = 25.0;
/// What is promised from a process's start to its being ready.
const READY: Duration = Duration::from_secs(1);

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
    let _acme = Acme::onboard(&cluster.env)?;
    installed(cluster).await?;
    life::tenants_applied(cluster).await?;
    life::holder_killed(cluster).await?;
    life::upgraded_and_rolled_back(cluster).await?;
    life::uninstalled(cluster).await
}

#[allow(clippy::cast_precision_loss, reason = "a size of some megabytes")]
async fn installed(cluster: &Cluster) -> Result<()> {
    let mib = cluster.image_size as f64 / 1_048_576.0;
    say(format_args!("the image holds {mib:.1} MiB uncompressed"));
    ensure!(mib < IMAGE, "the image holds {mib:.1} MiB");

    let took = cluster.install().await?;
    say(format_args!(
        "helm install --wait: {:.1} s",
        took.as_secs_f64()
    ));
    let pods = cluster.both_ready(Duration::from_secs(5)).await?;
    restrictions::check(&pods).context("a container is not as restricted as it should be")?;
    say("both replicas run restricted: no capability, no writable mount of their own");
    for pod in &pods {
        let resident = pod.resident()?;
        say(format_args!("resident without tenants: {resident:.1} MiB"));
        ensure!(resident < IDLE, "{} has {resident:.1} MiB", pod.name);
    }
    let took = life::ready_after(cluster).await?;
    say(format_args!(
        "ready at most {:.2} s after its start",
        took.as_secs_f64()
    ));
    ensure!(took < READY, "ready only after {took:?}");
    Ok(())
}

pub fn say(text: impl std::fmt::Display) {
    println!("    {text}");
}
