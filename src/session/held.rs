//! Master keys in the clear: the only place that keeps them. Each is held on one proof, at most as
//! long as that proof may be relied on, and wiped at once when the tenant seals.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::provider::TenantId;
use crate::record::keyring::Keyring;
use crate::record::keyring::wrapping::Opened;

/// How often keys whose proof has grown old are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// What one proof gave.
struct Key {
    opened: Opened,
    proof: Moment,
    ttl: Duration,
}

impl Key {
    fn holds(&self, now: Moment) -> bool {
        now.agrees_with(self.proof) && now.since(self.proof) < self.ttl
    }
}

#[derive(Default)]
pub struct Held(Mutex<HashMap<TenantId, Key>>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("keys", &self.len()).finish()
    }
}

impl Held {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the active key of `tenant` on the proof begun at `proof`, in the place of any before.
    pub fn hold(&self, tenant: &TenantId, opened: Opened, proof: Moment, ttl: Duration) {
        self.lock()
            .insert(tenant.clone(), Key { opened, proof, ttl });
    }

    /// Forgets what is held of `tenant`, now.
    pub fn wipe(&self, tenant: &TenantId) {
        self.lock().remove(tenant);
    }

    /// Forgets every key whose proof is too old to be relied on.
    pub fn sweep(&self, now: Moment) {
        self.lock().retain(|_, key| key.holds(now));
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether what is held for `tenant` is the active key of `keyring`, opened by what wraps it
    /// there; nothing when none is held.
    pub fn is_active_of(&self, tenant: &TenantId, keyring: Option<&Keyring>) -> Option<bool> {
        let keys = self.lock();
        let held = &keys.get(tenant)?.opened;
        Some(keyring.is_some_and(|keyring| held.is_active_of(keyring)))
    }

    /// The id of the key that is held for `tenant` on a proof that is still good.
    pub fn id(&self, tenant: &TenantId, now: Moment) -> Option<String> {
        let keys = self.lock();
        let key = keys.get(tenant).filter(|key| key.holds(now))?;
        Some(key.opened.id.to_string())
    }
}

/// Sweeps until the process ends, whatever else stands still.
pub async fn sweep(held: Arc<Held>, clock: Arc<dyn Clock>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        held.sweep(clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Wrapped;
    use crate::record::keyring::{KeyId, MasterKey};

    fn at(boot: u64, wall: u64) -> Moment {
        Moment {
            boot: Duration::from_secs(boot),
            wall: Duration::from_secs(1_000_000 + wall),
        }
    }

    fn held() -> (Held, TenantId) {
        let (held, tenant) = (Held::default(), TenantId::new("tenants", "acme"));
        let opened = Opened {
            id: KeyId::random().expect("random"),
            key: MasterKey::random().expect("random"),
            key_id: "key".to_owned(),
            wrapped: Wrapped {
                ciphertext: Vec::new(),
                kek_version: "1".to_owned(),
            },
        };
        held.hold(&tenant, opened, at(10, 10), Duration::from_mins(1));
        (held, tenant)
    }

    #[test]
    fn a_key_is_gone_when_its_proof_is_too_old_on_either_clock_or_the_clocks_disagree() {
        for (then, kept) in [
            (at(69, 69), true),
            (at(70, 70), false),
            (at(66, 71), false),
            (at(71, 66), false),
            (at(20, 26), false),
        ] {
            let (held, tenant) = held();
            assert_eq!(held.id(&tenant, then).is_some(), kept, "{then:?}");
            held.sweep(then);
            assert_eq!(held.len(), usize::from(kept), "{then:?}");
        }
    }

    #[test]
    fn wiping_leaves_nothing() {
        let (held, tenant) = held();
        held.wipe(&tenant);
        assert!(held.is_empty());
    }
}
