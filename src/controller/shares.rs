//! How many attempts on clouds may be under way at once. The less pressing one is, the smaller the share of
//! them that it may have: thousands whose cloud hangs must not keep others from their next proof, once they
//! have had an attempt without an answer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::candidate::{Candidate, Verdict};
use crate::clock::Moment;
use crate::provider::Kind;
use crate::seal::Seal;

/// How pressing an attempt is, the most pressing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A denial waits for it, and seals without an answer.
    Confirms,
    /// There is a proof, and nothing is wrong.
    Renews,
    /// There is a proof, but the last attempt had no answer; or none yet, and nothing says that this one will
    /// have no answer. Also what no proof waits for.
    Proves,
    /// There is no proof, and the last attempt had no answer. A new spec that did not work.
    Retries,
}

impl Urgency {
    /// Of the next attempt on the spec in force.
    pub fn of(seal: &Seal, now: Moment) -> Self {
        let silent = seal
            .last_failure()
            .is_some_and(|(failure, _)| failure.kind == Kind::Transient);
        match (seal.may_serve(now), silent) {
            _ if seal.is_doubted() => Self::Confirms,
            (true, false) => Self::Renews,
            (true, true) | (false, false) => Self::Proves,
            (false, true) => Self::Retries,
        }
    }

    /// Of the next attempt on a spec that is not in force.
    pub fn of_trial(candidate: &Candidate) -> Self {
        match candidate.verdict() {
            Verdict::Open => Self::Proves,
            Verdict::Undecided(_) | Verdict::Refused(_) => Self::Retries,
        }
    }
}

/// By urgency; each is a part of the one before.
#[derive(Debug)]
pub struct Shares([Arc<Semaphore>; 4]);

/// The right to make one attempt, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    _of_shares: Vec<OwnedSemaphorePermit>,
}

impl Shares {
    pub fn new(attempts: usize) -> Self {
        let shares = [
            attempts,
            attempts - attempts / 16,
            attempts - attempts / 4,
            attempts / 2,
        ];
        Self(shares.map(|share| Arc::new(Semaphore::new(share))))
    }

    /// The smallest first.
    fn of(&self, urgency: Urgency) -> impl Iterator<Item = Arc<Semaphore>> {
        self.0[..=urgency as usize].iter().rev().cloned()
    }

    /// Nothing when too many are under way.
    pub fn permit(&self, urgency: Urgency) -> Option<Permit> {
        let permits = self.of(urgency).map(|share| share.try_acquire_owned().ok());
        let permits = permits.collect::<Option<_>>()?;
        Some(Permit {
            _of_shares: permits,
        })
    }

    /// Waits while too many are under way.
    pub async fn wait(&self, urgency: Urgency) -> Permit {
        let mut permits = Vec::new();
        for share in self.of(urgency) {
            permits.extend(share.acquire_owned().await); // never closed
        }
        Permit {
            _of_shares: permits,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::{ProviderKind, Reason, TenantKmsSpec, Timing};
    use crate::controller::context::Context;
    use crate::controller::histories::clock::runtime;
    use crate::controller::histories::cloud::Mood;
    use crate::controller::histories::process::tenant;
    use crate::controller::histories::replicas::Town;
    use crate::controller::serving;
    use crate::provider::Failure;

    const HOLDER: usize = 0;

    /// All that attempts of this urgency may have.
    fn taken(shares: &Shares, urgency: Urgency) -> Vec<Permit> {
        std::iter::from_fn(|| shares.permit(urgency)).collect()
    }

    #[tokio::test]
    async fn the_less_pressing_leave_room_for_the_others() {
        let shares = Shares::new(64);
        let all = [
            (Urgency::Retries, 32),
            (Urgency::Proves, 16),
            (Urgency::Renews, 12),
            (Urgency::Confirms, 4),
        ];
        let mut permits: Vec<_> = all
            .map(|(urgency, share)| {
                let taken = taken(&shares, urgency);
                assert_eq!(taken.len(), share, "{urgency:?}");
                taken
            })
            .into();
        for (urgency, _) in all {
            assert!(shares.permit(urgency).is_none(), "{urgency:?}");
        }
        let retries = permits.remove(0);
        let (_permit, ()) = tokio::join!(shares.wait(Urgency::Retries), async { drop(retries) });
        assert_eq!(taken(&shares, Urgency::Retries).len(), 31);
        drop(permits);
    }

    fn at(second: u64) -> Moment {
        Moment {
            boot: Duration::from_secs(second),
            wall: Duration::from_secs(1_000_000 + second),
        }
    }

    #[test]
    fn what_seals_without_an_answer_comes_first_and_what_had_none_last() {
        let timing = Timing {
            interval: Duration::from_secs(30),
            proof_ttl: Duration::from_mins(1),
        };
        let no = || Err(Failure::denial(Reason::AccessDenied, "no"));
        let nothing = || Err(Failure::transient(Reason::Unreachable, "?"));
        let mut seal = Seal::new(timing, at(0));
        for (second, answer, urgency) in [
            (1, nothing(), Urgency::Retries),
            (2, Ok(()), Urgency::Renews),
            (3, nothing(), Urgency::Proves),
            (4, Ok(()), Urgency::Renews),
            (5, no(), Urgency::Confirms),
            (6, nothing(), Urgency::Confirms),
            (7, no(), Urgency::Proves),
            (8, nothing(), Urgency::Retries),
            (9, no(), Urgency::Proves),
            (10, Ok(()), Urgency::Renews),
        ] {
            let attempt = seal.begin(at(second));
            seal.finish(attempt, answer, at(second), 0.5);
            assert_eq!(Urgency::of(&seal, at(second)), urgency, "{second}");
        }
        let fresh = Seal::new(timing, at(0));
        assert_eq!(Urgency::of(&fresh, at(0)), Urgency::Proves);

        let spec = TenantKmsSpec::new(ProviderKind::Local, "local://k");
        let mut candidate = Candidate::new(spec, 1, at(0));
        assert_eq!(Urgency::of_trial(&candidate), Urgency::Proves);
        candidate.failed(Failure::transient(Reason::Unreachable, "?"), at(0), 0.5);
        assert_eq!(Urgency::of_trial(&candidate), Urgency::Retries);
    }

    fn serves(ctx: &Context) -> bool {
        matches!(serving::at_hand(ctx, &tenant()), Ok(Some(_)))
    }

    #[test]
    fn thousands_that_hang_keep_nobody_from_the_next_proof() {
        runtime().block_on(async {
            let mut town = Town::new(1).await;
            let ctxs = [0, 1].map(|replica| town.processes[replica].ctx.clone());
            let hung = ctxs
                .each_ref()
                .map(|ctx| taken(&ctx.attempts, Urgency::Retries));
            for _ in 0..90 {
                town.pass(1).await;
                for ctx in &ctxs {
                    let hold = serving::hold(ctx, &tenant()).await;
                    assert!(hold.is_ok(), "{hold:?}");
                }
            }
            drop(hung);
        });
    }

    #[test]
    fn a_tenant_that_had_no_answer_waits_for_others_like_it() {
        runtime().block_on(async {
            let mut town = Town::new(1).await;
            let ctx = town.processes[HOLDER].ctx.clone();
            town.cloud.set_mood(0, Mood::Hangs);
            town.pass(75).await;
            let mut hung = taken(&ctx.attempts, Urgency::Retries);
            while hung.len() < 32 {
                town.pass(1).await; // its own attempt ends
                hung.extend(ctx.attempts.permit(Urgency::Retries));
            }
            town.cloud.set_mood(0, Mood::Works);
            town.pass(60).await;
            assert!(town.processes[HOLDER].is_sealed());
            hung.pop();
            town.pass(3).await;
            assert!(!town.processes[HOLDER].is_sealed());
        });
    }

    #[test]
    fn a_denial_is_confirmed_or_cleared_up_however_many_checks_hang() {
        runtime().block_on(async {
            let mut town = Town::new(1).await;
            let ctx = town.processes[HOLDER].ctx.clone();
            town.cloud.set_mood(0, Mood::Denies);
            while serves(&ctx) {
                town.pass(1).await;
            }
            assert!(!town.processes[HOLDER].is_sealed(), "confirmed already");
            let hung = taken(&ctx.attempts, Urgency::Renews);
            town.cloud.set_mood(0, Mood::Works);
            town.pass(8).await;
            assert!(serves(&ctx) && !town.processes[HOLDER].is_sealed());
            drop(hung);
        });
    }
}
