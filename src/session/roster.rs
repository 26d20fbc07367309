//! What the objects say of each tenant, as far as this replica has seen, and since when nothing that
//! was proved counts. Both only forbid: nothing here ever lets a tenant be used.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;

use crate::api::{Phase, Reason};
use crate::clock::Moment;
use crate::provider::{Failure, TenantId};

/// Why a tenant is not to be used, whatever its key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Veto {
    Sealed,
    Suspended,
    Deleted,
    /// Another installation's, or not claimed by ours yet.
    Foreign,
    /// It cannot be read, and may say anything.
    Malformed,
}

/// An object as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub uid: Arc<str>,
    /// Of everything that it says, also of what is not kept here.
    pub version: Arc<str>,
    pub veto: Option<Veto>,
    pub phase: Option<Phase>,
    pub reason: Option<Reason>,
    /// Since when the tenant is what it is.
    pub turned: Option<Timestamp>,
}

/// What was proved up to a moment is void, whoever proved it and whenever its answer comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Barrier {
    pub at: Moment,
    /// The key's own no, where that is why.
    pub denial: Option<Failure>,
}

/// An object, and what was seen of it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub object: Object,
    /// Grows with every change of it, from 1; never the same for another object.
    pub changes: u64,
    pub barrier: Option<Barrier>,
    /// When it was last seen to be suspended, or to be another object, or was sealed by this replica for
    /// itself: sessions of before are over. The holder raises the epoch, too, unless it looks only after
    /// both or has not sealed it.
    pub ended: Option<Moment>,
}

impl Seen {
    /// Whether a session that was issued in this second of the wall clock has gone on. One of the very second
    /// may be new: it is left to the epoch. What has passed since is told by the clock that nobody sets.
    pub fn goes_on(&self, issued: u64, now: Moment) -> bool {
        self.ended.is_none_or(|ended| {
            let passed = now.boot.saturating_sub(ended.boot);
            issued >= now.wall.saturating_sub(passed).as_secs()
        })
    }

    /// Whether a proof that was begun at `proof` counts.
    pub fn counts(&self, proof: Moment) -> bool {
        let barrier = self.barrier.as_ref();
        barrier.is_none_or(|barrier| proof.boot > barrier.at.boot)
    }
}

#[derive(Debug, Default)]
pub struct Roster {
    tenants: RwLock<HashMap<TenantId, Seen>>,
    changes: AtomicU64,
}

impl Roster {
    pub fn get(&self, tenant: &TenantId) -> Option<Seen> {
        self.read().get(tenant).cloned()
    }

    pub fn with<T>(&self, tenant: &TenantId, look: impl FnOnce(Option<&Seen>) -> T) -> T {
        look(self.read().get(tenant))
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<TenantId, Seen>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<TenantId, Seen>> {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an object as it is now; as it was seen before, as in a list after a break, it is no news.
    /// `strict` is for who did not see every change of it, or writes none: then a tenant that has turned
    /// meanwhile may have been sealed in between.
    pub fn see(&self, tenant: TenantId, object: Object, now: Moment, strict: bool) {
        let mut tenants = self.write();
        let before = tenants.get(&tenant);
        if before.is_some_and(|before| before.object == object) {
            return;
        }
        let changes = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        let voids = match before.map(|before| &before.object) {
            None => object.veto.is_some(),
            Some(old) => {
                old.uid != object.uid
                    || old.veto.is_none() && object.veto.is_some()
                    || strict && old.turned != object.turned
            }
        };
        let is = |object: &Object, veto| object.veto == Some(veto);
        let ends = before.is_some_and(|Seen { object: old, .. }| {
            let suspended = is(&object, Veto::Suspended) && !is(old, Veto::Suspended);
            suspended || old.uid != object.uid
        });
        let ended = before.and_then(|before| before.ended);
        let ended = if ends { Some(now) } else { ended };
        let barrier = match before {
            _ if voids => Some(Barrier {
                at: now,
                denial: None,
            }),
            Some(before) => before.barrier.clone(),
            None => None,
        };
        tenants.insert(
            tenant,
            Seen {
                object,
                changes,
                barrier,
                ended,
            },
        );
    }

    /// Something else than the object says that what was proved until now is void.
    pub fn void(&self, tenant: &TenantId, barrier: Barrier) {
        if let Some(seen) = self.write().get_mut(tenant) {
            seen.barrier = Some(barrier);
        }
    }

    /// Sessions of before are over, whatever the object says.
    pub fn end_sessions(&self, tenant: &TenantId, now: Moment) {
        if let Some(seen) = self.write().get_mut(tenant) {
            seen.ended = Some(now);
        }
    }

    pub fn remove(&self, tenant: &TenantId) {
        let mut tenants = self.write();
        tenants.remove(tenant);
    }

    /// Forgets those that are not alive, and gives them.
    pub fn keep(&self, alive: impl Fn(&TenantId) -> bool) -> Vec<TenantId> {
        let mut tenants = self.write();
        let gone: Vec<TenantId> = tenants.keys().filter(|id| !alive(id)).cloned().collect();
        for id in &gone {
            tenants.remove(id);
        }
        gone
    }
}

#[cfg(test)]
mod tests;
