//! Random histories of one tenant on two replicas, a holder and one that proves on demand, as they
//! serve it: over the model's cloud, store and clocks, with a watch that may be late or lose what was in
//! between. Whatever comes in which order, keys are given only on a fresh proof of the replica's own
//! that was begun after every seal it has seen and every no it has heard.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::ResourceExt;

use self::event::Event;
use super::clock::{Dice, Hands, runtime, seed_jitter};
use super::cloud::{Cloud, KEYS, Mood};
use super::process::{INSTALLATION, NAMESPACE, Process, tenant};
use super::store::{Fault, Store};
use crate::api::{ProviderKind, Reason, TenantKms, TenantKmsSpec, VerifySpec};
use crate::clock::{Clock, Moment};
use crate::controller::object::tests::watched;
use crate::controller::tenant::Reported;
use crate::controller::{objects, report, serving, sighting};
use crate::lock::lock;
use crate::record::keyring::KeyId;
use crate::session::Refused;

mod check;
mod event;
mod former;
mod seals;
mod starting;
mod unwritable;

const HOLDER: usize = 0;
const GUEST: usize = 1;
const HISTORIES: u64 = 1_500;
const INTERVAL: Duration = Duration::from_secs(10);
const PROOF_TTL: Duration = Duration::from_mins(1);
/// How long after an interval a no may be unheard.
const LATE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
/// How old a master key is when it is rotated.
const HOUR: Duration = Duration::from_secs(3_700);

/// What is on record when a state of the object is written.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    epoch: u64,
    /// Which of [`Town::actives`].
    active: usize,
}

/// What a replica has been shown, and what must not be forgotten of it.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    versions: usize,
    /// Of the newest of them.
    written: Written,
    /// Whether it was forbidden then, and since when at the latest.
    vetoed: bool,
    veto: Option<Moment>,
}

pub struct Town {
    pub clock: Arc<Hands>,
    pub cloud: Arc<Cloud>,
    store: Arc<Store>,
    /// The holder is where `holder` says.
    pub processes: [Process; 2],
    holder: usize,
    shown: [Shown; 2],
    /// Every state of the object, with what was on record then.
    objects: Vec<(TenantKms, Written)>,
    /// The master keys in the order in which they became active.
    actives: Vec<String>,
    writable: bool,
    names: u64,
    /// Since when the customer says no.
    denied: Option<Moment>,
    served: usize,
    /// Retired before the history begins.
    former: KeyId,
    /// When each replica heard a no to it.
    refused: [Arc<Mutex<Option<Moment>>>; 2],
}

impl Town {
    pub async fn new(seed: u64) -> Self {
        seed_jitter(seed);
        let clock = Arc::new(Hands::new());
        let cloud = Cloud::new(clock.clone(), true);
        let store = Store::new(cloud.clone());
        let uid = Arc::new(Mutex::new("namespace-0".to_owned()));
        let start = async || Process::start(&clock, &cloud, &store, &uid).await;
        let processes = [start().await, start().await];
        let mut town = Self {
            clock,
            cloud,
            store,
            processes,
            holder: 0,
            shown: [Shown::default(); 2],
            objects: Vec::new(),
            actives: Vec::new(),
            writable: true,
            names: 0,
            denied: None,
            served: 0,
            former: KeyId::from_bytes([0; 16]),
            refused: Default::default(),
        };
        town.processes[1].follow();
        town.create();
        town.pass(3).await;
        town.former = town.active();
        town.clock.pass(HOUR);
        town.rotate().await;
        town.see(0, false);
        town.see(1, false);
        town
    }

    /// By the record.
    fn active(&self) -> KeyId {
        let record = self.store.record().expect("a record");
        let active = record.keyring.as_ref().and_then(|keyring| keyring.active());
        active.expect("an active key").id.clone()
    }

    /// When the master key is old enough.
    async fn rotate(&mut self) {
        let before = self.active();
        self.ask("rotate");
        for _ in 0..8 {
            if self.active() != before {
                return;
            }
            self.pass(1).await;
        }
        panic!("not rotated");
    }

    fn object(&self) -> TenantKms {
        self.objects.last().expect("one").0.clone()
    }

    fn put(&mut self, mut object: TenantKms) {
        object.metadata.resource_version = Some(self.objects.len().to_string());
        let record = self.store.record();
        let active = record.as_ref().and_then(|record| {
            let keyring = record.keyring.as_ref()?;
            Some(keyring.active()?.id.to_string())
        });
        let written = Written {
            epoch: record.map_or(0, |record| record.seal_epoch),
            active: active.map_or(0, |id| self.order(&id)),
        };
        self.objects.push((object, written));
    }

    fn create(&mut self) {
        let mut spec = TenantKmsSpec::new(ProviderKind::Azure, KEYS[0]);
        spec.verify = Some(Box::new(VerifySpec {
            interval: Some(format!("{}s", INTERVAL.as_secs())),
            proof_ttl: Some(format!("{}s", PROOF_TTL.as_secs())),
            ..VerifySpec::default()
        }));
        self.names += 1;
        let mut object = TenantKms::new("acme", spec);
        object.metadata.namespace = Some(NAMESPACE.to_owned());
        object.metadata.uid = Some(format!("object-{}", self.names));
        object.metadata.generation = Some(1);
        let ours = "tenantkms.dev/installation".to_owned();
        object.metadata.annotations = Some([(ours, INSTALLATION.to_owned())].into());
        self.put(object);
    }

    /// The watch of a replica brings what is new, or only what is there now.
    pub fn see(&mut self, replica: usize, relisted: bool) {
        let ctx = &self.processes[replica].ctx;
        let shown = &mut self.shown[replica];
        let from = if relisted {
            self.objects.len() - 1
        } else {
            shown.versions
        };
        for (object, written) in &self.objects[from..] {
            let guarded = Ok(watched(object));
            let vetoed = sighting::of(&guarded, INSTALLATION).veto.is_some();
            if vetoed && !shown.vetoed {
                shown.veto = Some(self.clock.now());
            }
            shown.vetoed = vetoed;
            objects::note(ctx, &tenant(), &guarded, relisted);
            shown.written = *written;
        }
        shown.versions = self.objects.len();
    }

    async fn tasks(&self) {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    /// Everybody does what is ready; the holder writes what there is to tell.
    async fn work(&mut self) {
        self.tasks().await;
        let object = self.object();
        let now = self.clock.now();
        let holder = &mut self.processes[self.holder];
        if holder.is_woken() || holder.next <= now.boot {
            holder.work(&object).await.expect("no crash");
        }
        let entry = lock(&holder.ctx.tenants).get(&tenant()).cloned();
        if let Some(entry) = entry
            && self.writable
        {
            let mut entry = entry.try_lock().expect("nobody works");
            if entry.tenant.may_report(object.status.as_ref()) {
                let known = entry.tenant.reported().or(object.status.as_ref());
                let status = report::report(&entry.tenant.view(&object.spec, now), known);
                let guarded = Arc::new(Ok(watched(&object)));
                entry.tenant.told(Reported::new(status.clone(), &guarded));
                if object.status.as_ref() != Some(&status) {
                    let status = Some(status);
                    self.put(TenantKms { status, ..object });
                }
            }
        }
        self.tasks().await;
    }

    pub async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.pass(SECOND);
            tokio::time::advance(SECOND).await;
            for process in &self.processes {
                process.ctx.keys.sweep(self.clock.now());
            }
            self.work().await;
            self.check();
        }
    }

    /// The object changes, and the holder looks.
    fn change(&mut self, change: impl FnOnce(&mut TenantKms)) {
        let mut object = self.object();
        change(&mut object);
        self.put(object);
        self.processes[self.holder].next = self.clock.now().boot;
    }

    pub fn suspend(&mut self, suspend: bool) {
        if self.object().spec.is_suspended() != suspend {
            self.change(|object| {
                object.spec.suspend = Some(suspend);
                object.metadata.generation = object.metadata.generation.map(|one| one + 1);
            });
        }
    }

    pub fn turn(&mut self) {
        self.cloud.turn(0);
        self.ask("verify");
    }

    fn ask(&mut self, what: &str) {
        self.names += 1;
        let name = format!("tenantkms.dev/{what}-requested-at");
        let asked = [(name, self.names.to_string())];
        self.change(|object| object.annotations_mut().extend(asked));
    }

    async fn play(&mut self, event: Event) {
        match event {
            Event::Passes(seconds) => self.pass(seconds).await,
            Event::Sleeps(seconds) => {
                self.clock.pass(Duration::from_secs(seconds));
                self.check(); // before anybody has looked
                self.pass(1).await;
            }
            Event::Sets(seconds) => self.clock.set(seconds),
            Event::Feels(mood) => {
                self.cloud.set_mood(0, mood);
                let denied = (mood == Mood::Denies).then(|| self.clock.now());
                self.denied = denied.map(|now| self.denied.unwrap_or(now));
            }
            Event::Turns => self.turn(),
            Event::Unwritable(down) => {
                self.writable = !down;
                self.store.set_fault(down.then_some((0, Fault::Outage)));
            }
            Event::Unreadable(down) => self.store.set_reads_fail(down),
            Event::Sees(replica, relisted) => {
                self.see(replica, relisted);
                self.check(); // before anybody has acted on it
            }
            Event::Suspends(suspend) => self.suspend(suspend),
            Event::Created => {
                self.create();
                self.processes[self.holder].next = self.clock.now().boot;
            }
            Event::TakesOver(noticed) => {
                let former = &mut self.processes[self.holder];
                former.loses();
                if noticed {
                    former.follow();
                }
                self.holder = 1 - self.holder;
                self.processes[self.holder].follow();
                self.processes[self.holder].lead().await;
                self.check(); // before it has looked
            }
            Event::Asks(replica) => {
                self.processes[replica].notice();
                let ctx = self.processes[replica].ctx.clone();
                tokio::spawn(async move { serving::hold(&ctx, &tenant()).await.is_ok() });
            }
            Event::Opens(replica) => {
                let ctx = self.processes[replica].ctx.clone();
                let (former, refused) = (self.former.clone(), self.refused[replica].clone());
                let since = self.clock.now();
                tokio::spawn(async move {
                    let Ok(Some(hold)) = serving::at_hand(&ctx, &tenant()) else {
                        return;
                    };
                    let opened = serving::version(&ctx, &tenant(), &hold, &former, since).await;
                    let no = Refused::Unproved(Some(Reason::AccessDenied));
                    if opened.is_err_and(|refused| refused == no) {
                        *lock(&refused) = Some(ctx.clock.now());
                    }
                });
            }
        }
        self.work().await;
        self.check();
    }
}

fn played(seed: u64) -> usize {
    runtime().block_on(async {
        let mut dice = Dice::new(seed);
        let mut town = Town::new(seed).await;
        for _ in 0..30 {
            town.play(Event::drawn(&mut dice)).await;
        }
        town.served
    })
}

#[test]
fn whatever_comes_in_which_order_no_replica_serves_without_a_fresh_proof_of_its_own() {
    let one = std::env::var("TENANT_KMS_HISTORY").ok();
    if let Some(seed) = one.and_then(|seed| seed.parse().ok()) {
        let mut dice = Dice::new(seed);
        let events: Vec<_> = (0..30).map(|_| Event::drawn(&mut dice)).collect();
        eprintln!("{events:?}");
        played(seed);
        return;
    }
    let mut served = 0;
    for seed in 0..HISTORIES {
        let outcome = std::panic::catch_unwind(|| played(seed));
        served += outcome.unwrap_or_else(|_| panic!("the history of seed {seed} fails"));
    }
    let often = usize::try_from(HISTORIES * 10).expect("few");
    assert!(served > often, "keys were given only {served} times");
}
