//! What may not change a tenant's state or record: a lost holder, an upgrade, a rollback, and no
//! operator at all. A film of the states judges it, so that nothing passes unseen.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use harness::node::{Cluster, Pod};
use tokio::time::sleep;

use crate::check::say;
use crate::customers::Tenant;
use crate::film::Film;
use crate::records::Records;

pub const SOON: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// Tenants that were Active at some moment, and what must be true of them from then on.
#[derive(Debug)]
pub struct Steady {
    names: Vec<&'static str>,
    film: Film,
    records: Records,
}

impl Steady {
    /// Applies these tenants, waits until each is Active with its identity, and watches all that
    /// there are from then on; `before` are those there are already.
    pub async fn from(cluster: &Cluster, tenants: &[Tenant], before: &[Tenant]) -> Result<Self> {
        for tenant in tenants {
            tenant.apply(cluster).await?;
        }
        for tenant in tenants {
            has_its_identity(cluster, *tenant).await?;
        }
        let all = before.iter().chain(tenants);
        let names: Vec<_> = all.map(|tenant| tenant.name).collect();
        proved_since(cluster, &names, now()?).await?;
        Ok(Self {
            film: Film::start(cluster, &names).await?,
            records: Records::of(cluster, &names).await?,
            names,
        })
    }

    /// Waits until a replica has proved all of them after this time; nothing has changed.
    async fn proved(&self, cluster: &Cluster, since: f64) -> Result<()> {
        proved_since(cluster, &self.names, since).await?;
        self.unchanged(cluster).await
    }

    async fn unchanged(&self, cluster: &Cluster) -> Result<()> {
        self.film.unmoved()?;
        let now = Records::of(cluster, &self.names).await?;
        self.records.unchanged(&now)
    }

    pub async fn holder_killed(&self, cluster: &Cluster) -> Result<()> {
        cluster.both_ready(SOON).await?;
        let holder = self.holder(cluster).await?;
        let (since, killed) = (Instant::now(), now()?);
        // It has no chance to hand anything over.
        holder.kill()?;
        let name = &holder.name;
        cluster
            .operators(&["delete", "pod", name, "--grace-period=0", "--force"])
            .await?;
        self.proved(cluster, killed + 1.0).await?;
        let took = since.elapsed().as_secs_f64();
        ensure!(self.holder(cluster).await?.name != holder.name);
        cluster.both_ready(SOON).await?;
        say(format_args!(
            "the holder's pod was killed: no state changed, new proofs after {took:.1} s"
        ));
        Ok(())
    }

    pub async fn upgraded(&self, cluster: &Cluster, set: &[&str], to: &str) -> Result<()> {
        let took = cluster.upgrade(set).await?;
        cluster.both_ready(SOON).await?;
        self.proved(cluster, now()?).await?;
        say(format_args!(
            "helm upgrade --wait to {to}: {:.1} s, no state and no record changed",
            took.as_secs_f64()
        ));
        Ok(())
    }

    pub async fn rolled_back(&self, cluster: &Cluster) -> Result<()> {
        cluster.rollback().await?;
        cluster.both_ready(SOON).await?;
        self.proved(cluster, now()?).await?;
        say("helm rollback: no state and no record changed");
        Ok(())
    }

    pub async fn uninstalled(&self, cluster: &Cluster, set: &[&str]) -> Result<()> {
        cluster.uninstall().await?;
        nothing_runs(cluster).await?;
        self.film.proves(cluster, self.names[0]).await?;
        self.unchanged(cluster).await?;
        say("helm uninstall leaves tenants and records as they are");
        cluster.install(set).await?;
        cluster.both_ready(SOON).await?;
        self.proved(cluster, now()?).await?;
        say("installed again: proved again, no state and no record changed");
        Ok(())
    }

    /// The end for those whose records were not all there were.
    pub async fn unmoved_to_the_end(self, cluster: &Cluster) -> Result<()> {
        self.film.proves(cluster, self.names[0]).await
    }

    /// The end: nothing has moved, and a seal is noticed when there is one.
    pub async fn seal_is_noticed(
        self,
        cluster: &Cluster,
        name: &'static str,
        seal: impl FnOnce(),
    ) -> Result<()> {
        self.film.proves(cluster, name).await?;
        seal();
        let sealed = self.film.until(name, "sealed", |object| {
            object["status"]["phase"] == "Sealed"
        });
        sealed.await?;
        self.film.noticed(name)?;
        let now = Records::of(cluster, &self.names).await?;
        let told = self.records.unchanged(&now).is_err();
        ensure!(told, "the record of a seal went unnoticed");
        say("at last the customer says no: that, and nothing before, is noticed");
        Ok(())
    }

    /// The replica that tells of all tenants.
    async fn holder(&self, cluster: &Cluster) -> Result<Pod> {
        for pod in cluster.pods().await? {
            if let Ok((200, text)) = pod.get("/metrics").await
                && self.names.iter().all(|name| proof(&text, name).is_some())
            {
                return Ok(pod);
            }
        }
        bail!("no replica tells of all tenants")
    }
}

/// Waits until the last pod has ended; helm does not.
async fn nothing_runs(cluster: &Cluster) -> Result<()> {
    let deadline = Instant::now() + SOON;
    let get = ["get", "deployments,pods,networkpolicies", "-o=name"];
    loop {
        let left = cluster.operators(&get).await?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "helm uninstall leaves {left}");
        sleep(10 * PAUSE).await;
    }
}

pub async fn has_its_identity(cluster: &Cluster, tenant: Tenant) -> Result<()> {
    let name = tenant.name;
    let active = |reason| {
        let env = &cluster.env;
        env.wait_condition(name, "Active", "True", reason, SOON)
    };
    active(Some("Verified")).await?;
    let told = |object: &serde_json::Value| tenant.has_its_identity(object);
    let what = "told with its identity";
    cluster.env.wait(name, what, SOON, told).await.map(drop)
}

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

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// When the last proof of a tenant was begun, in Unix time.
fn proof(metrics: &str, tenant: &str) -> Option<f64> {
    let name = format!("name=\"{tenant}\"");
    let mut lines = metrics.lines().filter(|line| line.contains(&name));
    let line = lines.find(|line| line.starts_with("tenantkms_last_proof_timestamp_seconds{"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Waits until a replica has proved these tenants after this time.
async fn proved_since(cluster: &Cluster, names: &[&str], time: f64) -> Result<()> {
    let deadline = Instant::now() + 2 * SOON;
    loop {
        let metrics = cluster.metrics().await?;
        let old = |name: &&&str| proof(&metrics, name).is_none_or(|proof| proof <= time);
        let Some(name) = names.iter().find(old) else {
            return Ok(());
        };
        ensure!(
            Instant::now() < deadline,
            "no new proof of {name} in {:?}",
            2 * SOON
        );
        sleep(10 * PAUSE).await;
    }
}
