//! Master keys in the clear: the only place that keeps them. A tenant's keys are held on one proof, at
//! most as long as that proof may be relied on, and wiped at once when the tenant seals.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::hold::{Hold, Version};
use super::waiting::Waiting;
use crate::clock::{Clock, Moment};
use crate::provider::TenantId;
use crate::record::Record;
use crate::record::keyring::wrapping::Opened;

/// How often keys whose proof has grown old are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// After a longer pause between two looks the process stood still, and no check was made meanwhile.
const STOOD_STILL: Duration = Duration::from_secs(5);

type Tenants = HashMap<TenantId, Arc<Hold>>;

#[derive(Default)]
pub struct Held {
    tenants: RwLock<Tenants>,
    /// Who waits for something that is not held.
    pub(super) waiting: Waiting,
    /// When old proofs were looked for last, in milliseconds of the boot clock; zero for never.
    swept: AtomicU64,
    /// When the process stood still last, on the same clock.
    stopped: AtomicU64,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("keys", &self.len()).finish()
    }
}

impl Held {
    fn read(&self) -> RwLockReadGuard<'_, Tenants> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tenants> {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a tenant's keys on a new proof, in the place of any before. Retired ones that were opened
    /// stay, if they still are the tenant's.
    pub fn hold(&self, tenant: &TenantId, hold: Hold) {
        let mut tenants = self.write();
        let hold = match tenants.get(tenant) {
            Some(before) => hold.succeeding(before),
            None => hold,
        };
        tenants.insert(tenant.clone(), Arc::new(hold));
        drop(tenants);
        self.waiting.wake(tenant);
    }

    /// Holds one more version; not when the keys on hand are others by now.
    pub fn add(&self, tenant: &TenantId, tenant_uid: &str, opened: Opened) -> Option<Arc<Version>> {
        let mut tenants = self.write();
        let hold = tenants.get_mut(tenant)?;
        let (more, version) = hold.with(tenant_uid, opened)?;
        *hold = Arc::new(more);
        Some(version)
    }

    /// Forgets what is held of `tenant`, now.
    pub fn wipe(&self, tenant: &TenantId) {
        let gone = self.write().remove(tenant);
        drop(gone); // outside the lock
    }

    /// Forgets what a guest proved, now; what the holder did is not its to forget.
    pub fn wipe_guest(&self, tenant: &TenantId) {
        let mut tenants = self.write();
        if tenants.get(tenant).is_some_and(|hold| hold.seen.is_some()) {
            let gone = tenants.remove(tenant);
            drop(tenants);
            drop(gone); // outside the lock
        }
    }

    /// Forgets every key whose proof is too old to be relied on. One from before a stop is relied on until
    /// it should have been made again: what went wrong meanwhile was no outage.
    pub fn sweep(&self, now: Moment) {
        let stopped = self.stood_still(now);
        if stopped {
            self.stopped.store(milliseconds(now), Ordering::Relaxed);
        }
        let stop = self.stopped.load(Ordering::Relaxed);
        let kept = |hold: &Hold| {
            let overdue = hold.is_overdue(now) && milliseconds(hold.proof) < stop;
            hold.holds(now) && !overdue
        };
        if self.read().values().any(|hold| !kept(hold)) {
            self.write().retain(|_, hold| kept(hold));
        }
        self.swept
            .store(milliseconds(now).max(1), Ordering::Relaxed);
        if stopped {
            self.waiting.wake_all();
        }
    }

    /// Whether nobody has looked for old proofs for so long that this process cannot have run.
    fn stood_still(&self, now: Moment) -> bool {
        let swept = self.swept.load(Ordering::Relaxed);
        let since = milliseconds(now).saturating_sub(swept);
        swept > 0 && u128::from(since) > STOOD_STILL.as_millis()
    }

    /// The tenants whose keys are held.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is held for `tenant`, on a proof that is still good. Nothing after a stop, until the proofs
    /// were looked through.
    pub fn get(&self, tenant: &TenantId, now: Moment) -> Option<Arc<Hold>> {
        if self.stood_still(now) {
            return None;
        }
        let hold = self.read().get(tenant).cloned()?;
        hold.holds(now).then_some(hold)
    }

    /// Whether what is held for `tenant` is the active key of `record`, opened by what wraps it there,
    /// for its epoch; nothing when none is held. Then the record's word on the others is taken too.
    pub fn settle(&self, tenant: &TenantId, record: &Record) -> Option<bool> {
        let mut tenants = self.write();
        let hold = tenants.get_mut(tenant)?;
        let settled = hold.settled(record);
        let fits = settled.is_some();
        if let Some(settled) = settled {
            *hold = Arc::new(settled);
        }
        Some(fits)
    }

    /// The same keys on the same proof of a guest, for what the objects say since.
    pub fn seen(&self, tenant: &TenantId, changes: u64) {
        if let Some(hold) = self.write().get_mut(tenant)
            && hold.seen.is_some()
        {
            *hold = Arc::new(hold.as_of(changes));
        }
        self.waiting.wake(tenant);
    }

    /// Looks now and after each change of what is held for `tenant`, until there is something or `patience` ends.
    pub async fn wait<T>(
        &self,
        tenant: &TenantId,
        patience: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let waiter = self.waiting.join(tenant);
        let waiting = async {
            loop {
                let changed = waiter.changed.notified();
                if let Some(found) = look() {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(patience, waiting).await.ok()
    }

    /// Lets those who wait for `tenant` look again.
    pub fn nudge(&self, tenant: &TenantId) {
        self.waiting.wake(tenant);
    }

    /// Lets all who wait look again.
    pub fn nudge_all(&self) {
        self.waiting.wake_all();
    }
}

fn milliseconds(now: Moment) -> u64 {
    u64::try_from(now.boot.as_millis()).unwrap_or(u64::MAX)
}

/// Sweeps until the process ends, whatever else stands still; `told` hears how many are held.
pub async fn sweep(held: Arc<Held>, clock: Arc<dyn Clock>, told: impl Fn(usize)) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        held.sweep(clock.now());
        told(held.len());
    }
}
