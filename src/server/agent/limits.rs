//! How much a tenant and one caller of it may ask of this replica: token buckets that hold one
//! second's worth. A bucket that is full again is as good as none, so memory is bounded by
//! forgetting those first.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Moment};
use crate::lock::lock;
use crate::policy::{Limits, Policy};
use crate::provider::TenantId;
use crate::session::Caller;

const SHARDS: usize = 64;
/// Callers of all tenants of a shard. More at once, and all begin anew.
const PER_SHARD: usize = 2048;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// May cost two reviews by the API server.
    Session,
    /// An operation on data.
    Data,
    /// So many more of a call that has taken for its first.
    More(u32),
}

impl Call {
    fn tokens(self) -> f64 {
        match self {
            Self::Session => 10.0,
            Self::Data => 1.0,
            Self::More(operations) => f64::from(operations),
        }
    }

    /// How much must be there; what it costs beyond that is paid for afterwards. A bucket of which the first
    /// operation was taken is never full when the others are asked for, nor where somebody else calls.
    fn needs(self, per_second: u32) -> f64 {
        let most = match self {
            Self::Session | Self::Data => per_second,
            Self::More(_) => per_second / 2,
        };
        self.tokens().min(f64::from(most))
    }
}

/// Whose limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Caller,
    Tenant,
}

/// Too much was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    pub whose: Whose,
    /// A call for one operation, a session counting as ten.
    pub per_second: u32,
    /// Whole seconds, at least one.
    pub try_again_after: Duration,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whose, field) = match self.whose {
            Whose::Caller => ("this caller of the tenant", "agentCallerRps"),
            Whose::Tenant => ("all callers of the tenant together", "agentTenantRps"),
        };
        write!(
            f,
            "more than {} operations per second by {whose}, a new session counting as ten. Try \
             again after {} s; keep a session until it is to be renewed. The platform's people \
             set limits.{field} in the operator's configuration",
            self.per_second,
            self.try_again_after.as_secs()
        )
    }
}

impl std::error::Error for Exceeded {}

/// The limits in force and what was used of them.
pub struct Limiter {
    policy: watch::Receiver<Arc<Policy>>,
    clock: Arc<dyn Clock>,
    shards: Box<[Mutex<Shard>]>,
    hashing: std::hash::RandomState,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter")
    }
}

impl Limiter {
    /// Follows the configuration: what is written there holds from the next call on.
    pub fn new(policy: watch::Receiver<Arc<Policy>>, clock: Arc<dyn Clock>) -> Self {
        Self {
            policy,
            clock,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hashing: std::hash::RandomState::new(),
        }
    }

    /// Takes what the call costs from the caller's and the tenant's bucket, or from neither.
    pub fn take(&self, tenant: &TenantId, caller: &Caller, call: Call) -> Result<(), Exceeded> {
        let limits = self.policy.borrow().limits();
        let now = self.clock.now();
        let mut shard = lock(self.shard(tenant));
        shard.take(tenant, caller.digest(), call, limits, now)
    }

    fn shard(&self, tenant: &TenantId) -> &Mutex<Shard> {
        use std::hash::BuildHasher;
        let hash = self.hashing.hash_one(tenant) % SHARDS as u64;
        &self.shards[usize::try_from(hash).unwrap_or_default()]
    }
}

/// What was used by some of the tenants.
#[derive(Default)]
struct Shard {
    tenants: HashMap<TenantId, Used>,
    callers: usize,
}

struct Used {
    bucket: Bucket,
    callers: HashMap<[u8; 32], Bucket>,
}

impl Shard {
    fn take(
        &mut self,
        tenant: &TenantId,
        caller: [u8; 32],
        call: Call,
        limits: Limits,
        now: Moment,
    ) -> Result<(), Exceeded> {
        let known = |used: &Used| used.callers.contains_key(&caller);
        if !self.tenants.get(tenant).is_some_and(known) {
            self.admit(tenant, caller, limits, now);
        }
        let used = self.tenants.get_mut(tenant);
        let buckets = used.and_then(|used| {
            let caller = used.callers.get_mut(&caller)?;
            Some((&mut used.bucket, caller))
        });
        let Some((of_tenant, of_caller)) = buckets else {
            return Ok(()); // just admitted
        };
        for (bucket, whose, per_second) in [
            (&mut *of_caller, Whose::Caller, limits.agent_caller_rps),
            (&mut *of_tenant, Whose::Tenant, limits.agent_tenant_rps),
        ] {
            bucket.fill(per_second, now);
            if let Some(try_again_after) = bucket.lacks(call, per_second) {
                return Err(Exceeded {
                    whose,
                    per_second,
                    try_again_after,
                });
            }
        }
        of_caller.level -= call.tokens();
        of_tenant.level -= call.tokens();
        Ok(())
    }

    fn admit(&mut self, tenant: &TenantId, caller: [u8; 32], limits: Limits, now: Moment) {
        if self.callers >= PER_SHARD {
            self.forget_full(limits, now);
        }
        let used = self.tenants.entry(tenant.clone()).or_insert_with(|| Used {
            bucket: Bucket::full(limits.agent_tenant_rps, now),
            callers: HashMap::new(),
        });
        let bucket = Bucket::full(limits.agent_caller_rps, now);
        used.callers.insert(caller, bucket);
        self.callers += 1;
    }

    /// Makes room for at least half as many again, so that looking for it stays cheap.
    fn forget_full(&mut self, limits: Limits, now: Moment) {
        self.callers = 0;
        self.tenants.retain(|_, used| {
            let full = limits.agent_caller_rps;
            used.callers.retain(|_, bucket| !bucket.is_full(full, now));
            self.callers += used.callers.len();
            !used.callers.is_empty() || !used.bucket.is_full(limits.agent_tenant_rps, now)
        });
        if self.callers > PER_SHARD / 2 || self.tenants.len() > PER_SHARD / 2 {
            self.tenants.clear();
            self.callers = 0;
        }
    }
}

/// What is left at a moment; below nothing after a call that costs more than a second's worth.
#[derive(Clone, Copy)]
struct Bucket {
    level: f64,
    at: Moment,
}

impl Bucket {
    fn full(per_second: u32, now: Moment) -> Self {
        Self {
            level: f64::from(per_second),
            at: now,
        }
    }

    fn level(&self, per_second: u32, now: Moment) -> f64 {
        let rate = f64::from(per_second);
        (self.level + now.since(self.at).as_secs_f64() * rate).min(rate)
    }

    fn is_full(&self, per_second: u32, now: Moment) -> bool {
        self.level(per_second, now) >= f64::from(per_second)
    }

    fn fill(&mut self, per_second: u32, now: Moment) {
        self.level = self.level(per_second, now);
        self.at = now;
    }

    /// How long until there is enough; `None`: there is. A full bucket is enough for anything.
    fn lacks(&self, call: Call, per_second: u32) -> Option<Duration> {
        let missing = call.needs(per_second) - self.level;
        let seconds = (missing / f64::from(per_second)).ceil().max(1.0);
        (missing > 0.0).then(|| Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests;
