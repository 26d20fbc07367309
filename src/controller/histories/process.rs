//! One replica of the operator: the real context over the model's cloud, store and clock. It is
//! driven like the controller drives it, and dropping it is a crash.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use futures::channel::mpsc;
use kube::Client;
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::clock::{Hands, jitter};
use super::cloud::{Cloud, Connector};
use super::ledger::live_ids;
use super::store::{Reach, Store};
use crate::api::TenantKms;
use crate::clock::{Clock, Moment};
use crate::controller::context::{Context, Entry};
use crate::controller::events::Events;
use crate::controller::lease::Ownership;
use crate::controller::namespaces::Namespaces;
use crate::controller::object::tests::watched;
use crate::controller::shares::Shares;
use crate::controller::wakes::Wakes;
use crate::controller::writes::Gate;
use crate::controller::{Syncing, reconcile};
use crate::lock::lock;
use crate::policy::Policy;
use crate::provider::TenantId;
use crate::record::Record;
use crate::seal::State as Seal;
use crate::server::metrics::Metrics;
use crate::session::{Held, Hold};

pub const NAMESPACE: &str = "tenants";
pub const INSTALLATION: &str = "main";
const FOR_EVER: Duration = Duration::from_hours(1_000_000);

pub fn tenant() -> TenantId {
    TenantId::new(NAMESPACE, "acme")
}

/// The UID that the namespace has now.
pub type Namespace = Arc<std::sync::Mutex<String>>;

async fn namespace(
    Path(name): Path<String>,
    State(uid): State<Namespace>,
) -> axum::Json<serde_json::Value> {
    let uid = lock(&uid).clone();
    axum::Json(json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": { "name": name, "uid": uid },
    }))
}

fn metrics() -> Arc<Metrics> {
    static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
    let made = || Arc::new(Metrics::new().expect("metrics"));
    METRICS.get_or_init(made).clone()
}

/// The process ended at a write.
#[derive(Clone, Copy, Debug)]
pub struct Crashed;

/// What never goes down while the process lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marks {
    object_uid: String,
    tenant_uid: String,
    revision: u64,
    epoch: u64,
}

pub struct Process {
    pub ctx: Arc<Context>,
    pub next: Duration,
    clock: Arc<Hands>,
    cloud: Arc<Cloud>,
    store: Arc<Store>,
    crash: Arc<Notify>,
    woken: mpsc::Receiver<TenantId>,
    marks: Marks,
    ownership: watch::Sender<Ownership>,
    _policy: watch::Sender<Arc<Policy>>,
    shard: watch::Sender<bool>,
}

impl Process {
    pub async fn start(
        clock: &Arc<Hands>,
        cloud: &Arc<Cloud>,
        store: &Arc<Store>,
        uid: &Namespace,
    ) -> Self {
        let api = Router::new()
            .route("/api/v1/namespaces/{name}", get(namespace))
            .with_state(uid.clone());
        let client = Client::new(api, NAMESPACE);
        let crash = Arc::new(Notify::new());
        let until = clock.now().after(FOR_EVER);
        let (own, ownership) = watch::channel(Ownership::Holder { until });
        let (policies, policy) = watch::channel(Arc::new(Policy::default()));
        let (shard, held) = watch::channel(true);
        let wakes = Wakes::default();
        let woken = wakes.of_watch(None);
        let ctx = Context {
            namespaces: Arc::new(Namespaces::new(client.clone())),
            clock: clock.clone(),
            jitter,
            providers: Arc::new(Connector(cloud.clone())),
            policy,
            records: Arc::new(Reach {
                store: store.clone(),
                crash: crash.clone(),
            }),
            records_namespace: "records".to_owned(),
            installation: INSTALLATION.to_owned(),
            claims: Arc::default(),
            claims_listed: Arc::default(),
            ownership,
            held,
            gate: Arc::new(Gate::default()),
            events: Arc::new(Events::new(client.clone(), "model", metrics())),
            metrics: metrics(),
            keys: Arc::new(Held::default()),
            roster: Arc::default(),
            guests: Arc::default(),
            syncing: Syncing::new(0),
            attempts: Arc::new(Shares::new(64)),
            wakes: Arc::new(wakes),
            tenants: Arc::default(),
            malformed: Arc::default(),
            client,
        };
        ctx.learn_claims().await.expect("the store answers");
        Self {
            ctx: Arc::new(ctx),
            next: clock.now().boot,
            clock: clock.clone(),
            cloud: cloud.clone(),
            store: store.clone(),
            crash,
            woken,
            marks: Marks::default(),
            ownership: own,
            _policy: policies,
            shard,
        }
    }

    /// Its time as the holder is over; it has not noticed anything else.
    pub fn fence(&self) {
        let until = self.clock.now();
        self.ownership.send_replace(Ownership::Holder { until });
    }

    /// It sees that another replica was the holder, and is the holder again.
    pub fn take_over(&mut self) {
        let now = self.clock.now();
        if !self.ctx.may_write(now) {
            self.ctx.forget_all();
            self.marks = Marks::default();
            let until = now.after(FOR_EVER);
            self.ownership.send_replace(Ownership::Holder { until });
            self.next = now.boot;
        }
    }

    /// It sees that another replica is the holder, and has not acted on it yet.
    pub fn loses(&self) {
        self.ownership.send_replace(Ownership::Follower);
    }

    /// Whether it makes proofs like that of these keys: a holder's until another one is seen, a guest's
    /// while it does not hold the shard.
    pub fn proves(&self, hold: &Hold) -> bool {
        match hold.seen {
            None => matches!(*self.ownership.borrow(), Ownership::Holder { .. }),
            Some(_) => !*self.shard.borrow(),
        }
    }

    /// It sees that another replica is the holder.
    pub fn follow(&mut self) {
        self.loses();
        self.shard.send_replace(false);
        self.ctx.forget_all();
        self.marks = Marks::default();
    }

    /// It acts on what it sees, if it has not yet.
    pub fn notice(&mut self) {
        if *self.ownership.borrow() == Ownership::Follower && *self.shard.borrow() {
            self.follow();
        }
    }

    /// It has the shard, and begins to verify.
    pub async fn lead(&mut self) {
        let now = self.clock.now();
        let until = now.after(FOR_EVER);
        self.ownership.send_replace(Ownership::Holder { until });
        self.ctx.learn_claims().await.expect("the store answers");
        self.shard.send_replace(true);
        self.next = now.boot;
    }

    /// Whether an answer came since it looked last.
    pub fn is_woken(&mut self) -> bool {
        let mut woken = false;
        while self.woken.try_recv().is_ok() {
            woken = true;
        }
        woken
    }

    /// Looks at the tenant until nothing that is ready is left to look at.
    pub async fn work(&mut self, object: &TenantKms) -> Result<(), Crashed> {
        if lock(&self.ctx.claims).is_none() {
            self.ctx.learn_claims().await.expect("the store answers");
        }
        for _ in 0..40 {
            self.look(object).await?;
            for _ in 0..2 {
                tokio::task::yield_now().await; // attempts run
            }
            if !self.is_woken() {
                return Ok(());
            }
        }
        panic!("the tenant is kept busy by nothing");
    }

    async fn look(&mut self, object: &TenantKms) -> Result<(), Crashed> {
        let (id, object) = (tenant(), watched(object));
        let entry = self.ctx.entry(&id, &object.meta.uid).await;
        let mut entry = entry.lock().await;
        let record = self.store.record();
        let keyring = record.as_ref().and_then(|record| record.keyring.as_ref());
        let had_active = keyring.is_some_and(|one| one.active().is_some());
        let before = self.store.ledger().ever();
        let mut failed = None;
        tokio::select! {
            biased;
            () = self.crash.notified() => return Err(Crashed),
            _ = reconcile::look(&self.ctx, &object, &id, &mut entry, &mut failed) => {}
        }
        reconcile::collect(&self.ctx, &id, &mut entry, self.clock.now());
        entry.api_failures = match &failed {
            Some(_) => entry.api_failures + 1,
            None => 0,
        };
        let now = self.clock.now();
        let again = Duration::from_secs(1 << entry.api_failures.min(5));
        let again = failed.as_ref().map(|_| again);
        let look = reconcile::next_look(&self.ctx, &entry);
        let wait = look.into_iter().chain(again).min().unwrap_or(FOR_EVER);
        self.next = now.boot + wait;
        if had_active && self.store.ledger().ever() > before {
            let serves = entry.tenant.seal().is_some_and(|seal| seal.may_serve(now));
            assert!(serves, "a master key was made while sealed");
        }
        self.remember(&entry, failed.is_none());
        Ok(())
    }

    fn remember(&mut self, entry: &Entry, sure: bool) {
        let Some(stored) = &entry.tenant.stored else {
            self.marks = Marks::default(); // it had to forget
            return;
        };
        let record = &stored.record;
        let new = Marks {
            object_uid: entry.tenant.object_uid.to_string(),
            tenant_uid: record.tenant_uid.clone(),
            revision: record.keyring.as_ref().map_or(0, |one| one.revision),
            epoch: record.seal_epoch,
        };
        let old = &self.marks;
        if sure && old.object_uid == new.object_uid && old.tenant_uid == new.tenant_uid {
            assert!(old.revision <= new.revision, "the revision went down");
            assert!(old.epoch <= new.epoch, "the epoch went down");
        }
        if sure {
            self.marks = new;
        }
    }

    /// What the process knows of the record.
    fn with_known<T>(&self, look: impl FnOnce(&Record) -> T) -> Option<T> {
        let entry = lock(&self.ctx.tenants).get(&tenant()).cloned()?;
        let entry = entry.try_lock().expect("nobody works");
        Some(look(&entry.tenant.stored.as_ref()?.record))
    }

    pub fn known(&self) -> Option<Record> {
        self.with_known(Record::clone)
    }

    pub fn remembers(&self) -> BTreeSet<String> {
        let live = self.with_known(|known| live_ids(known.keyring.as_ref()));
        live.unwrap_or_default()
    }

    /// What holds at any moment.
    pub fn check(&self) {
        let now = self.clock.now();
        self.ctx.keys.sweep(now);
        if self.ctx.keys.is_empty() {
            return;
        }
        let entry = lock(&self.ctx.tenants).get(&tenant()).cloned();
        let entry = entry.expect("a key of nobody is held");
        let entry = entry.try_lock().expect("nobody works");
        let known = &entry.tenant;
        assert!(!known.is_suspended(), "a key is held while suspended");
        assert!(known.unusable.is_none(), "held for an unusable record");
        let seal = known.seal().expect("held without a seal");
        let state = *seal.state();
        assert!(
            state == Seal::Active && !seal.is_doubted(),
            "held while {state:?}"
        );
        let hold = self.ctx.keys.get(&tenant(), now);
        let id = hold.expect("held on no proof").active().id().to_string();
        let live = live_ids(known.keyring());
        assert!(live.contains(&id), "a key is held that is not live");
        let record = &known.stored.as_ref().expect("held without a record").record;
        let proved = self.ctx.keys.settle(&tenant(), record);
        assert_eq!(proved, Some(true), "held on a proof of another key");
        self.check_age(
            &id,
            known.in_force().map(|spec| spec.timing().proof_ttl),
            now,
        );
    }

    fn check_age(&self, id: &str, ttl: Option<Duration>, now: Moment) {
        let ttl = ttl.expect("held without a spec");
        let ledger = self.store.ledger();
        let bytes = ledger.bytes(id).expect("held and never recorded");
        let yes = self.cloud.yes(bytes).expect("held and never opened");
        let age = now.boot.saturating_sub(yes.boot);
        let wall = now.wall.saturating_sub(yes.wall);
        assert!(age < ttl, "a key is held {age:?} after it was opened");
        assert!(wall < ttl + Duration::from_secs(6), "{wall:?} on the wall");
    }

    /// Whether the tenant is active, with what its object asks for.
    pub fn is_settled(&self) -> bool {
        let entry = lock(&self.ctx.tenants).get(&tenant()).cloned();
        entry.is_some_and(|entry| {
            let entry = entry.try_lock().expect("nobody works");
            let seal = entry.tenant.seal();
            let serves = seal.is_some_and(|seal| seal.may_serve(self.clock.now()));
            serves && entry.tenant.candidate().is_none() && !entry.tenant.stale
        })
    }

    pub fn is_sealed(&self) -> bool {
        let entry = lock(&self.ctx.tenants).get(&tenant()).cloned();
        entry.is_some_and(|entry| {
            let entry = entry.try_lock().expect("nobody works");
            let seal = entry.tenant.seal().map(|seal| *seal.state());
            matches!(seal, Some(Seal::Sealed { .. }))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.ctx.forget_all(); // with a process its attempts end
    }
}
