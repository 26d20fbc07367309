//! The tenants, each with two vaults of its own, and the operator that is killed and started again.
//! Waits for what the cloud and the API server show, never for a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fakecloud::{Call, Effect, Fault, Key, Scope};
use harness::Operator;
use jiff::Timestamp;
use serde_json::Value;

use super::super::film::is;
use super::super::kills::{HOLDING, HOLDS, end_lease};
use super::super::town::{SOON, Town};
use super::ledger::Ledger;
use super::rights;
use crate::seen::eventually;
use crate::support::DIRECTORY;

/// So long that only requests and starts cause checks.
const RARELY: &str = "{ interval: 150s, proofTTL: 5m }";
/// How often one operation is hit at a write.
const WRITES: usize = 3;

pub struct Tenant {
    pub number: usize,
    pub name: String,
    pub old: Key,
    pub new: Key,
    /// The new vault's and the old one's.
    pub hosts: [String; 2],
    principal: String,
    manifest: String,
}

/// Where a tenant is stopped: at the call that comes after so many at this host.
pub struct Cut {
    pub host: String,
    pub after: usize,
    /// At hosts that are everybody's.
    pub principal: Option<String>,
}

impl Cut {
    pub fn at(host: &str, after: usize) -> Self {
        Self {
            host: host.to_owned(),
            after,
            principal: None,
        }
    }

    /// The tenant's first token.
    pub fn token(tenant: &Tenant) -> Self {
        Self {
            host: "login.microsoftonline.com".to_owned(),
            after: 0,
            principal: Some(tenant.principal.clone()),
        }
    }

    fn fault(&self, effect: Effect) -> Fault {
        let fault = Fault::on(&self.host, effect);
        match &self.principal {
            Some(principal) => fault.principal(principal),
            None => fault,
        }
    }
}

pub struct Stage {
    pub ledger: Ledger,
    town: Town,
    tenants: Vec<Tenant>,
    operator: Operator,
}

impl Stage {
    pub async fn new(name: &str, tenants: usize) -> Result<Self> {
        let names: Vec<String> = (0..tenants).map(|number| format!("t{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let town = Town::new(name, &names).await?;
        let directory = town.env.cloud.directory(DIRECTORY);
        let tenants = town.customers.iter().enumerate().map(|(number, customer)| {
            let vault = town
                .env
                .cloud
                .vault(&format!("{}-new-kv", customer.name), &directory);
            vault.grant(customer.app.principal(), Scope::Vault);
            Tenant {
                number,
                name: customer.name.clone(),
                old: customer.key.clone(),
                new: vault.create_key("tenant-wrapping-key"),
                hosts: [vault.host(), customer.host()],
                principal: customer.app.principal(),
                manifest: customer.manifest(RARELY),
            }
        });
        let tenants: Vec<Tenant> = tenants.collect();
        let keys = tenants
            .iter()
            .map(|one| (one.name.clone(), vec![one.old.clone(), one.new.clone()]));
        let keys: BTreeMap<_, _> = keys.collect();
        Ok(Self {
            ledger: Ledger::new(&town.env, keys).await?,
            operator: town.env.operator().await?,
            town,
            tenants,
        })
    }

    pub fn keyring(&self, tenant: usize) -> Value {
        self.ledger.keyring(&self.tenants[tenant].name)
    }

    /// The id of a tenant's n-th master key.
    pub fn id(&self, tenant: usize, version: usize) -> String {
        let keyring = self.keyring(tenant);
        keyring["versions"][version]["id"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Applies these tenants at once, each as `change` has it.
    pub async fn apply(
        &self,
        which: Range<usize>,
        change: impl Fn(&Tenant, String) -> String,
    ) -> Result<()> {
        let all = self.tenants[which].iter();
        let all: Vec<String> = all.map(|one| change(one, one.manifest.clone())).collect();
        self.town
            .env
            .apply(&all.join("---\n"))
            .await?
            .success()
            .map(drop)
    }

    /// Every customer's key gets another version.
    pub fn new_kek_versions(&self) {
        for tenant in &self.tenants {
            tenant.old.new_version();
        }
    }

    /// Makes the operator look at every key now.
    pub async fn look_for_a_new_version(&self) -> Result<()> {
        let now = format!("tenantkms.dev/verify-requested-at={}", Timestamp::now());
        let args = ["annotate", "--overwrite", "--all", "tkms", &now];
        self.town.env.kubectl(&args).await?.success().map(drop)
    }

    /// Does `trigger` while each of these tenants but the last is stopped at a call of its own, kills,
    /// and lets everything finish. Gives the calls that were cut.
    pub async fn cut_calls(
        &mut self,
        which: Range<usize>,
        revision: u64,
        trigger: impl AsyncFn(&Self) -> Result<()>,
        cut: impl Fn(usize, &Tenant) -> Cut,
    ) -> Result<Vec<String>> {
        let free = which.end - 1;
        let cuts: Vec<Cut> = (which.start..free)
            .map(|at| cut(at - which.start, &self.tenants[at]))
            .collect();
        for one in &cuts {
            let cloud = &self.town.env.cloud;
            cloud.fault(one.fault(Effect::Hang));
            // The one armed last is hit first, for as often as it says.
            let pass = one.fault(Effect::Latency(Duration::ZERO));
            cloud.fault(pass.times(u32::try_from(one.after)?));
        }
        let begun = Instant::now();
        trigger(self).await?;
        let deadline = Instant::now() + SOON;
        loop {
            self.ledger.look().await?;
            let stopped = |(at, one): (usize, &Cut)| {
                let tenant = &self.tenants[which.start + at].name;
                self.calls(one, begun).len() > one.after || self.ledger.revision(tenant) == revision
            };
            let done = self.ledger.revision(&self.tenants[free].name) == revision;
            if done && cuts.iter().enumerate().all(stopped) {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "not all were stopped:\n{}",
                self.operator.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.operator.kill().await?;
        self.town.env.cloud.clear_faults();
        let names = self.cut_at(&cuts, &self.tenants[free], begun)?;
        self.ledger.look().await?;
        let unfinished = self.unfinished(which.clone(), revision);
        ensure!(
            unfinished.len() >= names.len() / 2,
            "stopped nothing: {unfinished:?}"
        );
        self.finish(which, revision, trigger).await?;
        Ok(names)
    }

    /// The calls that were cut; fails when the tenant that went on made one that nobody was cut at.
    fn cut_at(&self, cuts: &[Cut], free: &Tenant, begun: Instant) -> Result<Vec<String>> {
        for (host, other) in free.hosts.iter().zip(0..) {
            let made = self.calls(&Cut::at(host, 0), begun).len();
            let kind = |one: &&Cut| {
                self.tenants
                    .iter()
                    .any(|tenant| tenant.hosts[other] == one.host)
            };
            let cut = cuts.iter().filter(kind).count();
            ensure!(
                made <= cut,
                "{made} calls at {host} and {cut} tenants to be cut at them"
            );
        }
        let name = |one: &Cut| Some(self.calls(one, begun).get(one.after)?.operation.clone());
        Ok(cuts.iter().filter_map(name).collect())
    }

    /// A new operator finds every retired version retired long ago.
    pub async fn long_retired(&mut self) -> Result<()> {
        self.operator.kill().await?;
        for tenant in &self.tenants {
            self.town.env.long_retired(&tenant.name).await?;
        }
        self.ledger.look().await?;
        self.start().await
    }

    /// Does `trigger` and kills as soon as a keyring is written, a few times; then lets everything
    /// finish.
    pub async fn cut_writes(
        &mut self,
        which: Range<usize>,
        revision: u64,
        trigger: impl AsyncFn(&Self) -> Result<()>,
    ) -> Result<()> {
        let mut hits = 0;
        while hits < WRITES && !self.unfinished(which.clone(), revision).is_empty() {
            if hits > 0 {
                self.start().await?;
            }
            let hit = async {
                self.ledger.changed(SOON).await?;
                self.operator.kill().await
            };
            let (triggered, hit) = tokio::join!(trigger(self), hit);
            triggered.and(hit)?;
            self.ledger.look().await?;
            hits += 1;
        }
        let left = self.unfinished(which.clone(), revision).len();
        harness::say(&format!(
            "revision {revision}: killed at {hits} writes, {left} left to do"
        ));
        self.finish(which, revision, trigger).await
    }

    /// Does `trigger` while no record may be written: what was made is lost with the process.
    pub async fn cut_before_writes(
        &mut self,
        which: Range<usize>,
        revision: u64,
        trigger: impl AsyncFn(&Self) -> Result<()>,
    ) -> Result<()> {
        rights::may(&self.town.env, "secrets", "update", false).await?;
        trigger(self).await?;
        eventually("every record was refused", SOON, async || {
            let refused = "the API server did not take a change";
            let log = self.operator.log();
            let told = |one: &Tenant| {
                let name = format!("/{}\"", one.name);
                let mut lines = log.lines().filter(|line| line.contains(refused));
                lines.any(|line| line.contains(&name))
            };
            Ok(self.tenants[which.clone()].iter().all(told))
        })
        .await?;
        self.operator.kill().await?;
        rights::may(&self.town.env, "secrets", "update", true).await?;
        self.ledger.look().await?;
        let unfinished = self.unfinished(which.clone(), revision).len();
        ensure!(unfinished == which.len(), "only {unfinished} were refused");
        Ok(())
    }

    /// Does `trigger` while no status may be written, and kills when every record is.
    pub async fn cut_before_status(
        &mut self,
        which: Range<usize>,
        revision: u64,
        trigger: impl AsyncFn(&Self) -> Result<()>,
    ) -> Result<()> {
        rights::may(&self.town.env, "tenantkmses/status", "patch", false).await?;
        self.start().await?;
        trigger(self).await?;
        let deadline = Instant::now() + SOON;
        while !self.unfinished(which.clone(), revision).is_empty() {
            ensure!(
                Instant::now() < deadline,
                "not all were written:\n{}",
                self.operator.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.ledger.look().await?;
        }
        self.operator.kill().await?;
        rights::may(&self.town.env, "tenantkmses/status", "patch", true).await?;
        self.finish(which, revision, trigger).await
    }

    /// The requests of this kind that came since, in order.
    fn calls(&self, cut: &Cut, since: Instant) -> Vec<Call> {
        let mut calls = self.town.env.cloud.calls();
        calls.retain(|call| {
            call.host == cut.host
                && call.instant >= since
                && call.operation != "connect"
                && (cut.principal.is_none() || cut.principal == call.principal)
        });
        calls
    }

    /// These tenants' names whose keyring has not come to `revision`, as far as was looked.
    fn unfinished(&self, which: Range<usize>, revision: u64) -> Vec<&str> {
        let names = self.tenants[which].iter().map(|one| one.name.as_str());
        names
            .filter(|name| self.ledger.revision(name) < revision)
            .collect()
    }

    async fn start(&mut self) -> Result<()> {
        end_lease(&self.town.env).await?;
        let options = self.town.env.operator_options().without_waiting();
        self.operator = self.town.env.spawn(options).await?;
        self.operator.wait_log(HOLDING, HOLDS).await.map(drop)
    }

    /// A new operator without faults: it proves every tenant, and what was begun is done, once.
    async fn finish(
        &mut self,
        which: Range<usize>,
        revision: u64,
        trigger: impl AsyncFn(&Self) -> Result<()>,
    ) -> Result<()> {
        let started = Instant::now();
        self.start().await?;
        trigger(self).await?;
        for tenant in &self.tenants[which.clone()] {
            let proved = |call: &Call| {
                call.instant >= started
                    && tenant.hosts.contains(&call.host)
                    && call.operation == "unwrapkey"
                    && call.status == 200
            };
            self.town.env.cloud.wait_for_call(proved, SOON).await?;
        }
        let deadline = Instant::now() + SOON;
        while !self.unfinished(which.clone(), revision).is_empty() {
            let left = self.unfinished(which.clone(), revision);
            ensure!(
                Instant::now() < deadline,
                "{left:?} are not done:\n{}",
                self.operator.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.ledger.look().await?;
        }
        for tenant in &self.tenants[which.clone()] {
            let right = |object: &Value| {
                is(object, "Active", "True")
                    && is(object, "Ready", "True")
                    && object["status"]["observedGeneration"] == object["metadata"]["generation"]
            };
            self.town
                .env
                .wait(&tenant.name, "Active", SOON, right)
                .await?;
        }
        self.ledger.look().await?;
        for tenant in &self.tenants[which] {
            let is = self.ledger.revision(&tenant.name);
            ensure!(
                is == revision,
                "{}: revision {is} for {revision}",
                tenant.name
            );
        }
        Ok(())
    }
}
