//! Who waits for a tenant's keys. There may be thousands, and keys change thousands of times a second: each
//! is woken by what concerns its own tenant alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::lock::lock;
use crate::provider::TenantId;

#[derive(Debug, Default)]
pub struct Waiting(pub(super) Mutex<HashMap<TenantId, Row>>);

/// A tenant that somebody waits for.
#[derive(Debug, Default)]
pub struct Row {
    changed: Arc<Notify>,
    waiters: usize,
}

/// One who waits, until it is dropped.
pub struct Waiter<'a> {
    waiting: &'a Waiting,
    tenant: &'a TenantId,
    pub changed: Arc<Notify>,
}

impl Waiting {
    pub fn join<'a>(&'a self, tenant: &'a TenantId) -> Waiter<'a> {
        let mut rows = lock(&self.0);
        let row = rows.entry(tenant.clone()).or_default();
        row.waiters += 1;
        let changed = row.changed.clone();
        drop(rows);
        Waiter {
            waiting: self,
            tenant,
            changed,
        }
    }

    pub fn wake(&self, tenant: &TenantId) {
        let changed = lock(&self.0).get(tenant).map(|row| row.changed.clone());
        if let Some(changed) = changed {
            changed.notify_waiters(); // outside the lock
        }
    }

    pub fn wake_all(&self) {
        let rows = lock(&self.0);
        let all: Vec<_> = rows.values().map(|row| row.changed.clone()).collect();
        drop(rows);
        for changed in all {
            changed.notify_waiters();
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut rows = lock(&self.waiting.0);
        if let Some(row) = rows.get_mut(self.tenant) {
            row.waiters -= 1;
            if row.waiters == 0 {
                rows.remove(self.tenant);
            }
        }
    }
}
