//! One replica's part: reads the authority, carries out what is due, issues its own certificate, and
//! publishes while it is the holder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{error, info};

use super::authority::Authority;
use super::bundle::Bundles;
use super::plan::{plan, published, renewable};
use super::secret::{Store, Version};
use super::{Trouble, mint};
use crate::clock::Clock;
use crate::random;
use crate::server::tls::Surroundings;
use crate::server::tls::pair::Pair;

/// How often the Secret and the `ConfigMap`s are looked at.
const EVERY: Duration = Duration::from_mins(2);
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// How often in one round a Secret that others write as well is read again.
const ATTEMPTS: usize = 3;

pub struct Replica {
    store: Store,
    bundles: Bundles,
    names: Vec<String>,
    clock: Arc<dyn Clock>,
    holder: watch::Receiver<bool>,
    /// What was read or written last. It issues also while the API server is silent.
    known: Vec<Authority>,
    /// The authority of the certificate in use.
    issuer: Option<String>,
    pairs: watch::Sender<Option<Pair>>,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").finish_non_exhaustive()
    }
}

impl Replica {
    /// And the certificate that it issues.
    pub fn new(
        names: Vec<String>,
        namespaces: Vec<String>,
        around: Surroundings,
    ) -> (Self, watch::Receiver<Option<Pair>>) {
        let (pairs, held) = watch::channel(None);
        let replica = Self {
            store: Store::new(around.client.clone(), around.records_namespace),
            bundles: Bundles::new(around.client, namespaces),
            names,
            clock: around.clock,
            holder: around.holder,
            known: Vec::new(),
            issuer: None,
            pairs,
        };
        (replica, held)
    }

    /// Round after round, until nobody holds the certificate any more.
    pub async fn run(mut self, faults: watch::Sender<Option<String>>) {
        let mut retry = FIRST_RETRY;
        loop {
            let pause = match self.round().await {
                Ok(holds) => {
                    retry = FIRST_RETRY;
                    faults.send_if_modified(|held| held.take().is_some());
                    holds.min(EVERY)
                }
                Err(trouble) => {
                    tell(&faults, &trouble);
                    let pause = retry;
                    retry = (retry * 2).min(EVERY);
                    pause
                }
            };
            // Never at once: a plan that ends now may need the clock's next second.
            let pause = pause
                .max(FIRST_RETRY)
                .mul_f64(0.75 + 0.5 * random::fraction());
            tokio::select! {
                () = self.pairs.closed() => return,
                () = tokio::time::sleep(pause) => {}
                Ok(()) = self.holder.changed() => {}
            }
        }
    }

    /// Does all that is due now; for how long nothing else will be. What can be done is done also
    /// when something else fails.
    pub async fn round(&mut self) -> Result<Duration, Trouble> {
        let settled = self.settle().await;
        self.issue()?;
        let version = settled?;
        if *self.holder.borrow_and_update() {
            self.publish(&version).await?;
        }
        let holds = plan(&self.known, self.now()).holds;
        Ok(holds.try_into().unwrap_or_default())
    }

    fn now(&self) -> Timestamp {
        self.clock.now().timestamp()
    }

    /// Makes the Secret what it should be.
    async fn settle(&mut self) -> Result<Version, Trouble> {
        for _ in 0..ATTEMPTS {
            let (stored, version) = self.store.load().await?;
            let now = self.now();
            let plan = plan(&stored, now);
            self.known = stored;
            if !plan.changed {
                return Ok(version);
            }
            let mut next = plan.authorities;
            if plan.make {
                next.insert(0, mint::authority(now)?);
            }
            match self.store.save(&next, &version).await {
                Ok(version) => {
                    info!(
                        made = plan.make,
                        authorities = next.len(),
                        "agent's CA written"
                    );
                    self.known = next;
                    return Ok(version);
                }
                Err(Trouble::Conflict) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Err(Trouble::Conflict)
    }

    /// Issues a certificate when the one in use is old, or of another authority.
    fn issue(&mut self) -> Result<(), Trouble> {
        let now = self.now();
        let plan = plan(&self.known, now);
        let Some(issuer) = plan.issuer() else {
            let ended = self.known.first().map(|one| one.validity.until);
            return ended.map_or(Ok(()), |ended| Err(Trouble::Expired(ended)));
        };
        let leaf = self.pairs.borrow().as_ref().map(Pair::validity);
        let current = self.issuer.as_ref() == Some(&issuer.certificate);
        if current && leaf.is_some_and(|leaf| !renewable(leaf, now)) {
            return Ok(());
        }
        let pair = mint::leaf(issuer, &self.names, now)?;
        info!(until = %pair.until(), "certificate issued");
        self.issuer = Some(issuer.certificate.clone());
        self.pairs.send_replace(Some(pair));
        Ok(())
    }

    /// Has every namespace know the authorities, and remembers since when.
    async fn publish(&mut self, version: &Version) -> Result<(), Trouble> {
        let now = self.now();
        let missing = self.bundles.publish(&plan(&self.known, now).bundle()).await;
        if !missing.matters {
            let marked = published(&self.known, now);
            if marked != self.known {
                match self.store.save(&marked, version).await {
                    Ok(_) => self.known = marked,
                    Err(Trouble::Conflict) => {} // the next round looks at what it is then
                    Err(trouble) => return Err(trouble),
                }
            }
        }
        if missing.told.is_empty() {
            Ok(())
        } else {
            Err(Trouble::Unpublished(missing.told))
        }
    }
}

/// Once for each trouble; of a namespace's it was told already.
fn tell(faults: &watch::Sender<Option<String>>, trouble: &Trouble) {
    let text = trouble.to_string();
    let new = faults.send_if_modified(|held| {
        let new = held.as_ref() != Some(&text);
        if new {
            *held = Some(text.clone());
        }
        new
    });
    if new && !matches!(trouble, Trouble::Unpublished(_)) {
        error!(error = %text, "the agent's CA");
    }
}
