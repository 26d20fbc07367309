//! Clients and their tokens, per tenant and spec, for a bounded time. A token outlives neither
//! the proof's lifetime nor the secret it was bought with; nothing here is shared by tenants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::{Kms, TenantId};
use crate::clock::{Clock, Moment};
use crate::lock::lock;

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
        entries.retain(|entry| now.is_within(life, entry.at));
        let found = entries.iter().find(|entry| entry.made == *made);
        found.map(|entry| entry.kms.clone())
    }

    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// `at` is when its making began, so that it never looks younger than what it holds.
    pub fn put(&self, tenant: &TenantId, made: Made<S>, at: Moment, kms: Arc<dyn Kms>) {
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
        lock(&self.tenants)
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use zeroize::Zeroizing;

    use super::*;
    use crate::clock::tests::Hand;
    use crate::provider::{Failure, Wrapped};

    struct Nothing;

    #[async_trait]
    impl Kms for Nothing {
        async fn wrap(&self, _: &str, _: &Zeroizing<Vec<u8>>) -> Result<Wrapped, Failure> {
            unreachable!("never used")
        }

        async fn unwrap(&self, _: &str, _: &Wrapped) -> Result<Zeroizing<Vec<u8>>, Failure> {
            unreachable!("never used")
        }

        fn key_id(&self) -> &'static str {
            ""
        }

        fn identity(&self) -> &'static str {
            ""
        }
    }

    fn made(spec: u32) -> Made<u32> {
        Made { spec, secret: None }
    }

    const LIFE: Duration = Duration::from_mins(1);

    #[test]
    fn a_client_ends_with_its_life_on_either_clock() {
        let acme = TenantId::new("a", "b");
        let set = Duration::from_secs(20);
        for (passed, moved, held) in [
            (59, None, true),
            (60, None, false),
            (10, Some(Hand::set_forward as fn(&Hand, Duration)), false),
            (30, Some(Hand::set_back), false),
        ] {
            let hand = Arc::new(Hand::default());
            let cache = Cache::new(hand.clone());
            cache.put(&acme, made(1), cache.now(), Arc::new(Nothing));
            hand.forward(Duration::from_secs(passed));
            if let Some(moved) = moved {
                moved(&hand, set);
            }
            let found = cache.get(&acme, &made(1), LIFE);
            assert_eq!(found.is_some(), held, "{passed} {moved:?}");
        }
    }

    #[test]
    fn no_tenant_gets_anothers_client_and_two_specs_fit() {
        let cache = Cache::new(Arc::new(Hand::default()));
        let (acme, other) = (TenantId::new("a", "b"), TenantId::new("a", "c"));
        for spec in 1..=3 {
            cache.put(&acme, made(spec), cache.now(), Arc::new(Nothing));
        }
        assert!(cache.get(&other, &made(3), LIFE).is_none());
        let held = [1, 2, 3].map(|spec| cache.get(&acme, &made(spec), LIFE).is_some());
        assert_eq!(held, [false, true, true]);
        let with_secret = Made {
            secret: Some([1; 32]),
            ..made(3)
        };
        assert!(cache.get(&acme, &with_secret, LIFE).is_none());
    }

    #[test]
    fn the_number_of_tenants_is_bounded_and_the_oldest_goes_first() {
        let hand = Arc::new(Hand::default());
        let cache = Cache::new(hand.clone());
        let tenant = |i: usize| TenantId::new("a", i.to_string());
        for i in 0..=TENANTS {
            if i == 1 {
                hand.forward(Duration::from_secs(1));
            }
            cache.put(&tenant(i), made(1), cache.now(), Arc::new(Nothing));
        }
        assert_eq!(cache.lock().len(), TENANTS);
        assert!(cache.get(&tenant(0), &made(1), LIFE).is_none());
        assert!(cache.get(&tenant(1), &made(1), LIFE).is_some());
    }
}
