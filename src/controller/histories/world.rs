//! Plays a history: moves the clock, runs the processes, and does what people, clouds and clusters
//! do to them. After each step everything that must hold is looked at.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::ResourceExt;

use super::clock::{Hands, seed_jitter};
use super::cloud::{Cloud, KEYS};
use super::event::History;
use super::ledger::live_ids;
use super::process::{INSTALLATION, NAMESPACE, Namespace, Process};
use super::store::Store;
use crate::api::{ProviderKind, TenantKms, TenantKmsSpec, VerifySpec};
use crate::clock::{Clock, Moment};
use crate::lock::lock;
use crate::record::Record;

pub struct World {
    pub clock: Arc<Hands>,
    pub cloud: Arc<Cloud>,
    pub store: Arc<Store>,
    pub namespace: Namespace,
    pub processes: Vec<Process>,
    pub object: TenantKms,
    pub asked: u64,
    /// What stood there before it was damaged, and the damage.
    pub damaged: Option<(Arc<Record>, Vec<u8>)>,
    pub seen: BTreeSet<&'static str>,
    daily: bool,
    names: u64,
    /// Whether the record was another namespace's, and how many calls there had been.
    foreign: (bool, u64),
    /// Whether the tenant was suspended, and the one process knew.
    suspended: bool,
}

impl World {
    pub async fn new(history: &History) -> Self {
        seed_jitter(history.seed);
        let clock = Arc::new(Hands::new());
        let cloud = Cloud::new(clock.clone(), history.binds);
        let store = Store::new(cloud.clone());
        let mut world = Self {
            clock,
            cloud,
            store,
            namespace: Arc::new(Mutex::new("namespace-0".to_owned())),
            processes: Vec::new(),
            object: TenantKms::new("acme", TenantKmsSpec::new(ProviderKind::Azure, KEYS[0])),
            asked: 0,
            damaged: None,
            seen: BTreeSet::new(),
            daily: history.daily,
            names: 0,
            foreign: (false, 0),
            suspended: false,
        };
        world.create(false);
        world.set_timing(150); // few checks: many histories
        world.start().await;
        world.run(Duration::from_secs(5)).await;
        world
    }

    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    pub fn another(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}-{}", self.names)
    }

    /// A new object of the same name, with the spec of the last one.
    pub fn create(&mut self, forgets_ids: bool) {
        let mut spec = self.object.spec.clone();
        let keys = spec.master_key.get_or_insert_default();
        keys.rotation_interval = self.daily.then(|| "24h".to_owned());
        if forgets_ids {
            keys.erased_ids.clear();
        }
        let mut object = TenantKms::new("acme", spec);
        object.metadata.namespace = Some(NAMESPACE.to_owned());
        object.metadata.uid = Some(self.another("object"));
        object.metadata.generation = Some(1);
        let claim = (
            "tenantkms.dev/installation".to_owned(),
            INSTALLATION.to_owned(),
        );
        object.annotations_mut().extend([claim]);
        self.object = object;
        for process in &self.processes {
            process.ctx.namespaces.forget(NAMESPACE); // as the watch has it
        }
    }

    /// The object gets another spec.
    pub fn respec(&mut self, change: impl FnOnce(&mut TenantKmsSpec)) {
        let before = self.object.spec.clone();
        change(&mut self.object.spec);
        if self.object.spec != before {
            let generation = self.object.metadata.generation.get_or_insert(0);
            *generation += 1;
        }
        self.wake();
    }

    pub fn set_timing(&mut self, seconds: u64) {
        self.respec(|spec| {
            spec.verify = Some(Box::new(VerifySpec {
                interval: Some(format!("{seconds}s")),
                ..VerifySpec::default()
            }));
        });
    }

    pub fn ask(&mut self, what: &str) {
        self.asked += 1;
        let name = format!("tenantkms.dev/{what}-requested-at");
        let value = self.asked.to_string();
        self.object.annotations_mut().insert(name, value);
        self.wake();
    }

    /// The object has changed: everybody who watches it looks.
    pub fn wake(&mut self) {
        let now = self.now().boot;
        for process in &mut self.processes {
            process.next = now;
        }
    }

    pub async fn start(&mut self) {
        let (clock, cloud) = (&self.clock, &self.cloud);
        let process = Process::start(clock, cloud, &self.store, &self.namespace).await;
        self.processes.push(process);
    }

    /// A process ends, and with it what only it remembered.
    pub fn end(&mut self, which: usize) {
        if which < self.processes.len() {
            drop(self.processes.remove(which));
            if let [last] = self.processes.as_mut_slice() {
                last.take_over();
            }
            self.forgotten();
        }
    }

    /// What neither the record nor a process has is lost by what just happened.
    pub fn forgotten(&mut self) {
        let known = self.known();
        self.store.ledger().only(&known);
    }

    fn known(&self) -> BTreeSet<String> {
        let processes = self.processes.iter().flat_map(Process::remembers);
        processes.chain(self.recorded()).collect()
    }

    /// The versions that the record has.
    pub fn recorded(&self) -> BTreeSet<String> {
        let record = self.undamaged();
        live_ids(record.as_ref().and_then(|record| record.keyring.as_ref()))
    }

    /// The record, or what a person will restore in its place.
    pub fn undamaged(&self) -> Option<Arc<Record>> {
        match &self.damaged {
            Some((good, _)) => Some(good.clone()),
            None => self.store.record(),
        }
    }

    pub fn is_foreign(&self) -> bool {
        let record = self.undamaged();
        record.is_some_and(|record| record.namespace_uid != *lock(&self.namespace))
    }

    pub async fn sleep(&mut self, span: Duration) {
        self.clock.pass(span);
        tokio::time::advance(span).await;
        self.settle_tasks().await;
    }

    async fn settle_tasks(&mut self) {
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        let now = self.now().boot;
        for process in &mut self.processes {
            if process.is_woken() {
                process.next = now;
            }
        }
    }

    pub async fn run(&mut self, span: Duration) {
        let end = self.now().boot + span;
        let mut looks = 0;
        loop {
            self.settle_tasks().await;
            self.work().await;
            let now = self.now().boot;
            if now >= end {
                return;
            }
            let next = self.processes.iter().map(|one| one.next).min();
            let next = next.unwrap_or(end).max(now + Duration::from_millis(10));
            self.sleep(next.min(end).saturating_sub(now)).await;
            looks += 1;
            assert!(looks < 200 + 4 * span.as_secs(), "it looks all the time");
        }
    }

    /// Every process that is due looks once.
    async fn work(&mut self) {
        let now = self.now().boot;
        let mut which = 0;
        while which < self.processes.len() {
            let process = &mut self.processes[which];
            if process.next <= now && process.work(&self.object).await.is_err() {
                self.end(which);
                self.seen.insert("crashed at a write");
            } else {
                which += 1;
            }
            self.check();
        }
    }

    /// What must hold at any moment.
    pub fn check(&mut self) {
        for process in &self.processes {
            process.check();
            if process.is_sealed() {
                self.seen.insert("sealed");
            }
        }
        let (live, recorded) = (self.store.ledger().live(), self.recorded());
        if !live.is_subset(&recorded) {
            assert!(live.is_subset(&self.known()), "a version is lost");
        }
        assert_eq!(
            self.cloud.foreign_calls(),
            0,
            "another namespace's key is used"
        );
        let now = (self.is_foreign(), self.cloud.calls());
        assert!(
            !(now.0 && self.foreign.0) || now.1 == self.foreign.1,
            "a key is used for a foreign record"
        );
        let suspended = self.object.spec.is_suspended() && self.processes.len() == 1;
        let looked = self.processes.iter().all(|one| one.next > self.now().boot);
        let suspended = suspended && looked;
        assert!(
            !(suspended && self.suspended) || now.1 == self.foreign.1,
            "a key is used while suspended"
        );
        self.suspended = suspended;
        self.foreign = now;
    }
}
