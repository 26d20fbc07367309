//! What every reconciliation shares: clients, the tenants' memory, limits. No decisions here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tracing::debug;

use super::Syncing;
use super::attempt::OpenAttempts;
use super::events::Events;
use super::guests::Guests;
use super::lease::Ownership;
use super::namespaces::Namespaces;
use super::outcome::ReconcileError;
use super::shares::Shares;
use super::tenant::Tenant;
use super::wakes::Wakes;
use super::writes::Gate;
use crate::clock::{Clock, Moment};
use crate::lock::lock;
use crate::policy::Policy;
use crate::provider::{Connect, Failure, TenantId};
use crate::record::claims::{Claims, Taken};
use crate::record::store::{RecordStore, StoreError};
use crate::server::metrics::Metrics;
use crate::session::roster::Barrier;
use crate::session::{Held, Hold, Roster};

/// How old the list of claims may be when a tenant is refused because of it.
const CLAIMS_AGE: Duration = Duration::from_secs(20);

/// One tenant's memory with its open attempts, which end when this is dropped.
#[derive(Debug)]
pub struct Entry {
    pub tenant: Tenant,
    pub open: OpenAttempts,
    /// Reads and writes that the API server did not take, in a row.
    pub api_failures: u32,
    /// The policy that was looked at last.
    pub policy: Arc<Policy>,
    /// The last one that was acted on.
    pub barrier: Option<Barrier>,
}

/// The tenants by name. Each is reconciled by one task at a time.
pub type Tenants = Mutex<HashMap<TenantId, Arc<AsyncMutex<Entry>>>>;

/// Uid and resource version of what could not be read and says so.
pub type Malformed = Mutex<HashMap<TenantId, (String, String)>>;

#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    /// Where every jitter comes from: a fraction in 0..1.
    pub jitter: fn() -> f64,
    pub providers: Arc<dyn Connect>,
    pub policy: watch::Receiver<Arc<Policy>>,
    pub records: Arc<dyn RecordStore>,
    pub records_namespace: String,
    pub installation: String,
    pub namespaces: Arc<Namespaces>,
    /// Known only to the holder.
    pub claims: Arc<Mutex<Option<Claims>>>,
    /// When they were listed for a tenant that was refused.
    pub claims_listed: Arc<Mutex<Option<Moment>>>,
    pub ownership: watch::Receiver<Ownership>,
    /// Whether this replica holds the shard and has learned the claims.
    pub held: watch::Receiver<bool>,
    pub gate: Arc<Gate>,
    pub events: Arc<Events>,
    pub metrics: Arc<Metrics>,
    /// Master keys in the clear.
    pub keys: Arc<Held>,
    /// What the objects say, on every replica, and what voids proofs.
    pub roster: Arc<Roster>,
    /// Tenants that are proved here although another replica holds them.
    pub guests: Arc<Guests>,
    pub syncing: Arc<Syncing>,
    /// How many attempts may be under way at once.
    pub attempts: Arc<Shares>,
    /// Asks the controller to look at a tenant again.
    pub wakes: Arc<Wakes>,
    pub tenants: Arc<Tenants>,
    /// Objects that cannot be read and were told so.
    pub malformed: Arc<Malformed>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The memory of this tenant; a new one when the object is another than before.
    pub async fn entry(&self, id: &TenantId, object_uid: &Arc<str>) -> Arc<AsyncMutex<Entry>> {
        let known = lock(&self.tenants).get(id).cloned();
        if let Some(entry) = known
            && entry.lock().await.tenant.object_uid == *object_uid
        {
            return entry;
        }
        let entry = Arc::new(AsyncMutex::new(Entry {
            tenant: Tenant::new(id.clone(), object_uid.clone()),
            open: OpenAttempts::default(),
            api_failures: 0,
            policy: self.policy.borrow().clone(),
            barrier: None,
        }));
        self.wipe(id);
        lock(&self.tenants).insert(id.clone(), entry.clone());
        entry
    }

    /// Drops what is known of a tenant: its object is gone, or another replica holds it.
    pub fn forget(&self, id: &TenantId) {
        lock(&self.malformed).remove(id);
        self.forget_memory(id);
    }

    /// Drops the memory of a tenant whose object is still there.
    pub fn forget_memory(&self, id: &TenantId) {
        if lock(&self.tenants).remove(id).is_some() {
            self.wipe(id);
        }
        // Also without an entry: a look that was under way when it was forgotten has told once more.
        self.metrics.forget(id);
        self.gate.forget(id);
    }

    /// Forgets what a tenant's use rests on: keys, clients, tokens.
    pub fn wipe(&self, id: &TenantId) {
        self.keys.wipe(id);
        self.providers.forget(id);
    }

    /// Keeps what was opened on a proof, unless that is void by now, or the holder has forgotten the
    /// tenant meanwhile.
    pub fn keep(&self, id: &TenantId, hold: Hold) {
        let (proof, of_guest) = (hold.proof, hold.seen.is_some());
        self.keys.hold(id, hold);
        // In this order, and the other way round in `void`: what comes between is not missed.
        let counts = |proof| {
            self.roster
                .with(id, |seen| seen.is_none_or(|seen| seen.counts(proof)))
        };
        if !counts(proof) || !of_guest && !lock(&self.tenants).contains_key(id) {
            self.keys.wipe(id);
        }
    }

    /// Nothing that was proved until now counts, also where the answer is still to come. A denial is
    /// one of the key itself, for whoever checks it to act on.
    pub fn void(&self, id: &TenantId, denial: Option<Failure>) {
        let at = self.clock.now();
        self.roster.void(id, Barrier { at, denial });
        self.keys.wipe(id);
    }

    /// Whether tenants are proved on demand here: another replica holds the shard, or this one has
    /// not begun to verify.
    pub fn is_guest(&self) -> bool {
        !*self.held.borrow()
    }

    /// Whether these keys are proved again and again yet: those of the holder while it has the shard,
    /// those of a guest until then.
    pub fn looks_after(&self, hold: &Hold) -> bool {
        match hold.seen {
            None => self.ownership.borrow().verifies(),
            Some(_) => self.is_guest(),
        }
    }

    /// Drops every tenant: another replica holds the shard.
    pub fn forget_all(&self) {
        let all: Vec<TenantId> = lock(&self.tenants).keys().cloned().collect();
        for id in all {
            self.forget(&id);
        }
        *lock(&self.claims) = None;
        self.keys.nudge_all(); // who waits is served otherwise now
    }

    /// Lists anew which keys are claimed on record.
    pub async fn learn_claims(&self) -> Result<(), StoreError> {
        lock(&self.claims).get_or_insert_default().listing_begins();
        let listed = self.records.claims().await?;
        lock(&self.claims).get_or_insert_default().learn(listed);
        Ok(())
    }

    /// Whether the key may be this tenant's. A record that stood in the way may be gone: that is
    /// looked at again, but not often.
    pub async fn check_claim(&self, id: &TenantId, key_id: &str) -> Result<(), Taken> {
        let check = || match lock(&self.claims).as_ref() {
            Some(claims) => claims.check(id, key_id),
            None => Ok(()), // decided before anything is recorded
        };
        if check().is_ok() {
            return Ok(());
        }
        let now = self.clock.now();
        let often = lock(&self.claims_listed)
            .replace(now)
            .filter(|last| now.since(*last) < CLAIMS_AGE);
        if let Some(last) = often {
            *lock(&self.claims_listed) = Some(last);
        } else if let Err(error) = self.learn_claims().await {
            debug!(%error, "the claims could not be listed anew");
        }
        check()
    }

    /// The right to write once to this tenant's object.
    pub fn turn(&self, id: &TenantId, seal: bool) -> Result<(), ReconcileError> {
        match self.gate.wait(id, seal, self.clock.now()) {
            None => Ok(()),
            Some(wait) => Err(ReconcileError::Turn(wait)),
        }
    }

    pub fn may_write(&self, now: Moment) -> bool {
        self.ownership.borrow().may_write(now)
    }
}
