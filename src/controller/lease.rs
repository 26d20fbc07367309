//! Ownership of a shard by a `coordination.k8s.io/v1` Lease. Every write of the Lease carries the
//! version that was read. A lost Lease stops writes, nothing else: proofs stay what they are.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::clock::{Clock, Moment};
use crate::random;

/// How long a holder that is not heard of keeps the shard.
pub const DURATION: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(4);
const RETRY: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(3);
/// A holder begins no write from this long before others may take over: longer than the deadline of
/// any write.
const MARGIN: Duration = Duration::from_secs(5);

/// What this replica may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Another replica holds the shard, or nobody is known to.
    Follower,
    /// Ours; writes are allowed before this moment (on the boot clock).
    Holder { until: Moment },
}

impl Ownership {
    /// Whether this replica verifies: it holds the shard, or held it last and nobody took over.
    pub fn verifies(self) -> bool {
        matches!(self, Self::Holder { .. })
    }

    /// Whether this replica may write now. A process that was stopped finds its time over.
    pub fn may_write(self, now: Moment) -> bool {
        matches!(self, Self::Holder { until } if now.boot < until.boot)
    }
}

pub struct Elector<C> {
    leases: Api<Lease>,
    name: String,
    identity: String,
    clock: C,
}

impl<C> std::fmt::Debug for Elector<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elector")
            .field("name", &self.name)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The foreign holder as seen last, and since when (by our clock: theirs may be wrong).
struct Seen {
    holder: String,
    renewed: Option<MicroTime>,
    since: Moment,
}

impl<C: Clock> Elector<C> {
    pub fn new(client: Client, namespace: &str, name: String, identity: String, clock: C) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name,
            identity,
            clock,
        }
    }

    /// Takes and renews the Lease until `stop` resolves, then hands it over.
    pub async fn run(self, ownership: watch::Sender<Ownership>, mut stop: watch::Receiver<bool>) {
        let mut seen = None;
        loop {
            let pause = match timeout(CALL, self.round(&ownership, &mut seen)).await {
                Ok(Ok(true)) => RENEW,
                Ok(Ok(false)) => RETRY,
                Ok(Err(error)) => {
                    warn!(error = %describe(&error), "the lease could not be renewed");
                    RETRY
                }
                Err(_) => {
                    warn!("the API server did not answer a lease request in time");
                    RETRY
                }
            };
            tokio::select! {
                () = sleep(pause.mul_f64(0.8 + 0.2 * random::fraction())) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if ownership.borrow().verifies() {
            ownership.send_replace(Ownership::Follower);
            if matches!(timeout(CALL, self.hand_over()).await, Ok(Ok(()))) {
                info!("lease handed over");
            } else {
                warn!("the lease could not be handed over; it ends by itself");
            }
        }
    }

    /// One look at the Lease; true when it is ours now.
    async fn round(
        &self,
        ownership: &watch::Sender<Ownership>,
        seen: &mut Option<Seen>,
    ) -> Result<bool, kube::Error> {
        let started = self.clock.now();
        let found = self.leases.get_opt(&self.name).await?;
        let Some(lease) = found else {
            let lease = self.claim(Lease::default(), started);
            return self
                .settle(ownership, started, || async {
                    self.leases.create(&PostParams::default(), &lease).await
                })
                .await;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder != self.identity && become_follower(ownership) {
            // Others may have written since: what is known here is forgotten before it is ours.
            return Ok(false);
        }
        if holder != self.identity && !holder.is_empty() {
            let known = seen
                .as_ref()
                .filter(|seen| seen.holder == holder && seen.renewed == spec.renew_time);
            let since = known.map_or(started, |seen| seen.since);
            *seen = Some(Seen {
                holder,
                renewed: spec.renew_time,
                since,
            });
            if started.boot.saturating_sub(since.boot) < DURATION {
                return Ok(false);
            }
        }
        let lease = self.claim(lease, started);
        self.settle(ownership, started, || async {
            self.leases
                .replace(&self.name, &PostParams::default(), &lease)
                .await
        })
        .await
    }

    /// Writes our claim; a conflict means somebody else was faster.
    async fn settle<F>(
        &self,
        ownership: &watch::Sender<Ownership>,
        started: Moment,
        write: impl FnOnce() -> F,
    ) -> Result<bool, kube::Error>
    where
        F: Future<Output = Result<Lease, kube::Error>>,
    {
        match write().await {
            Ok(_) => {
                let until = started.after(DURATION.saturating_sub(MARGIN));
                let before = ownership.send_replace(Ownership::Holder { until });
                if !before.verifies() {
                    info!(lease = %self.name, "holding the shard");
                }
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn claim(&self, lease: Lease, now: Moment) -> Lease {
        let old = lease.spec.unwrap_or_default();
        let ours = old.holder_identity.as_deref() == Some(self.identity.as_str());
        let stamp = MicroTime(now.timestamp());
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..lease.metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: if ours {
                    old.acquire_time
                } else {
                    Some(stamp.clone())
                },
                renew_time: Some(stamp),
                lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!ours)),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn hand_over(&self) -> Result<(), kube::Error> {
        let mut lease = self.leases.get(&self.name).await?;
        if let Some(spec) = lease.spec.as_mut()
            && spec.holder_identity.as_deref() == Some(self.identity.as_str())
        {
            spec.holder_identity = Some(String::new());
            self.leases
                .replace(&self.name, &PostParams::default(), &lease)
                .await?;
        }
        Ok(())
    }
}

/// True when we held the shard until now.
fn become_follower(ownership: &watch::Sender<Ownership>) -> bool {
    let held = ownership.send_replace(Ownership::Follower).verifies();
    if held {
        warn!("another replica holds the shard, or held it since");
    }
    held
}

/// An API error in our words: never a body.
pub fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.reason, status.code),
        _ => "no connection to the API server".to_owned(),
    }
}
