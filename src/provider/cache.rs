//! Clients and their tokens, per tenant and spec, for a bounded time. A token outlives neither
//! the proof's lifetime nor the secret it was bought with; nothing here is shared by tenants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Kms, TenantId};
use crate::clock::{Clock, Moment};

/// A tenant has at most the spec in force and one that is being decided.
const PER_TENANT: usize = 2;

/// Twice the design point of one process; beyond it the oldest make room.
const TENANTS: usize = 20_000;

/// What a client was made from. Equal means that the client can stand in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Made<S> {
    pub spec: S,
    /// A keyed fingerprint of the secret, never the secret.
    pub secret: Option<[u8; 32]>,
}

struct Entry<S> {
    made: Made<S>,
    at: Moment,
    kms: Arc<dyn Kms>,
}

pub(super) struct Cache<S> {
    clock: Arc<dyn Clock>,
    tenants: Mutex<HashMap<TenantId, Vec<Entry<S>>>>,
}

impl<S: PartialEq> Cache<S> {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            tenants: Mutex::default(),
        }
    }

    /// The client made from exactly this, if it is younger than `life`.
    pub fn get(&self, tenant: &TenantId, made: &Made<S>, life: Duration) -> Option<Arc<dyn Kms>> {
        let now = self.clock.now();
        let mut tenants = self.lock();
        let entries = tenants.get_mut(tenant)?;
        entries.retain(|entry| {
            // A clock that was set makes every age doubtful.
            now.agrees_with(entry.at) && now.since(entry.at) < life
        });
        let found = entries.iter().find(|entry| entry.made == *made);
        found.map(|entry| entry.kms.clone())
    }

    pub fn put(&self, tenant: &TenantId, made: Made<S>, kms: Arc<dyn Kms>) {
        let at = self.clock.now();
        let mut tenants = self.lock();
        if tenants.len() >= TENANTS && !tenants.contains_key(tenant) {
            evict_oldest(&mut tenants, at);
        }
        let entries = tenants.entry(tenant.clone()).or_default();
        entries.retain(|entry| entry.made.spec != made.spec);
        if entries.len() >= PER_TENANT {
            entries.remove(0);
        }
        entries.push(Entry { made, at, kms });
    }

    pub fn forget(&self, tenant: &TenantId) {
        self.lock().remove(tenant);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Vec<Entry<S>>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn evict_oldest<S>(tenants: &mut HashMap<TenantId, Vec<Entry<S>>>, now: Moment) {
    let age = |entries: &Vec<Entry<S>>| {
        let newest = entries.iter().map(|entry| now.since(entry.at)).min();
        newest.unwrap_or(Duration::MAX)
    };
    let oldest = tenants.iter().max_by_key(|(_, entries)| age(entries));
    if let Some(tenant) = oldest.map(|(tenant, _)| tenant.clone()) {
        tenants.remove(&tenant);
    }
}
