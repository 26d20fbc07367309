//! When a tenant is active and when it is sealed: one pure state machine per tenant, fed with
//! answers and moments. It must never read a clock, draw a random number or reach a network.
//!
//! Whoever drives it calls `begin` when `next_attempt` says so, `finish` with the answer (or with
//! a failure once the attempt's deadline has passed), and `tick` when `next_tick` says so, before
//! `begin` when both are due. It may be late or stop altogether: that is noticed, see `watch`.

mod answers;
mod pace;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::provider::Failure;

pub use crate::api::Timing;

/// What sealed a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The customer, or the platform's own policy, said no.
    Denial,
    /// Nobody could tell for longer than `proof_ttl`.
    Outage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// This process has no verdict yet: it serves nothing and changes no condition.
    Undecided,
    Active,
    Sealed {
        cause: Cause,
        since: Moment,
    },
}

/// What the caller has to act on and to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// The first verdict of this process, and it is yes.
    Activated,
    Unsealed,
    /// The key material is to be wiped and the record's seal epoch raised. Returned once more when
    /// an outage turns out to be a denial.
    Sealed(Cause),
    /// A first denial: nothing may be served until a second attempt has cleared it up.
    Doubted,
}

/// One try at the key, to be handed back to [`Seal::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub serial: u64,
    /// Before the request was sent: a proof is dated with this.
    pub started: Moment,
    /// Cloud access tokens from before are not to be used.
    pub fresh_token: bool,
    /// How long the caller may wait for the answer, counted from `started`.
    pub deadline: Duration,
}

/// The seal of one tenant.
#[derive(Clone, Debug)]
pub struct Seal {
    timing: Timing,
    state: State,
    proof: Option<Moment>,
    /// What explains the state: the reason of a seal, or what went wrong since the last proof.
    trouble: Option<Failure>,
    // Boxed as most have none most of the time.
    last_failure: Option<Box<(Failure, Moment)>>,
    doubt: Option<Box<Doubt>>,
    search: Search,
    barrier: Barrier,
    open: Option<Open>,
    serial: u64,
    /// When the next attempt is due; `None` is "as of the next call".
    due: Option<Moment>,
    /// Somebody asked while an attempt was open.
    asked: bool,
    /// Somebody asked for an unseal, and no attempt has begun since.
    unseal: bool,
    seals: u64,
    /// Successes in a row while sealed.
    successes: u32,
    /// The newest unseals, at most [`pace::FLAPS`] of them.
    unseals: VecDeque<Moment>,
    /// The latest call: proof that the process ran then.
    seen: Moment,
}

/// A denial that no second attempt has confirmed or cleared up yet.
#[derive(Clone, Debug)]
struct Doubt {
    denial: Failure,
    /// Whether the confirmation was begun.
    begun: bool,
    /// When the lack of an answer confirms it.
    by: Moment,
}

/// The search for the next proof, as the TTL rule needs to know it.
#[derive(Clone, Copy, Debug, Default)]
struct Search {
    /// When the first attempt since the last proof began.
    first: Option<Moment>,
    /// The TTL counts from `first`, although there may be a proof.
    afresh: bool,
    /// Inconclusive answers in a row.
    failures: u32,
}

/// What was begun up to here proves nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Barrier {
    /// The newest attempt that was begun before.
    serial: u64,
    at: Option<Moment>,
    /// `at` is to be set by the next call.
    pending: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    attempt: Attempt,
    /// Begun because somebody asked for an unseal.
    unseal: bool,
    /// The process stood still when the answer was due.
    overslept: bool,
}

impl Seal {
    /// A tenant about which this process knows nothing; the first attempt is due at once.
    pub fn new(timing: Timing, now: Moment) -> Self {
        Self {
            timing: pace::sane(timing),
            state: State::Undecided,
            proof: None,
            trouble: None,
            last_failure: None,
            doubt: None,
            search: Search::default(),
            barrier: Barrier::default(),
            open: None,
            serial: 0,
            due: Some(now),
            asked: false,
            unseal: false,
            seals: 0,
            successes: 0,
            unseals: VecDeque::new(),
            seen: now,
        }
    }

    /// A shorter interval or TTL makes an attempt due at once, so that it holds from now on.
    pub fn set_timing(&mut self, timing: Timing) {
        let timing = pace::sane(timing);
        let tighter =
            timing.interval < self.timing.interval || timing.proof_ttl < self.timing.proof_ttl;
        self.timing = timing;
        if tighter && self.doubt.is_none() && !self.is_sealed() {
            self.due = None;
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// What explains the present state: the reason of a seal, the unconfirmed denial, or the last
    /// inconclusive failure since the last proof.
    pub fn failure(&self) -> Option<&Failure> {
        let doubted = self.doubt.as_ref().map(|doubt| &doubt.denial);
        doubted.or(self.trouble.as_ref())
    }

    /// The newest failed attempt and when its answer came; cleared by a success.
    pub fn last_failure(&self) -> Option<&(Failure, Moment)> {
        self.last_failure.as_deref()
    }

    /// How often this process has sealed the tenant. The record's seal epoch is to be raised once for
    /// each of them, even when the tenant was unsealed before the record could be written.
    pub fn seals(&self) -> u64 {
        self.seals
    }

    /// When the request of the newest proof was sent.
    pub fn proof(&self) -> Option<Moment> {
        self.proof
    }

    /// Whether a denial waits for its confirmation.
    pub fn is_doubted(&self) -> bool {
        self.doubt.is_some()
    }

    /// Whether a session or a plaintext key may be given out at this moment.
    pub fn may_serve(&self, now: Moment) -> bool {
        self.state == State::Active
            && self.doubt.is_none()
            && self.proof.is_some_and(|proof| self.is_proof(proof, now))
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How long until the next attempt: zero when it is due, `None` while one is open.
    pub fn next_attempt(&self, now: Moment) -> Option<Duration> {
        let wait = || self.due.map_or(Duration::ZERO, |due| watch::ran(now, due));
        self.open.is_none().then(wait)
    }

    /// Starts an attempt. At most one is open: an earlier one that still is counts no more.
    pub fn begin(&mut self, now: Moment) -> Attempt {
        self.observe(now);
        self.serial += 1;
        if !self.is_sealed() {
            self.search_from(now);
        }
        let attempt = Attempt {
            serial: self.serial,
            started: now,
            fresh_token: self.needs_fresh_token(),
            deadline: self.patience(now),
        };
        self.open = Some(Open {
            attempt,
            unseal: std::mem::take(&mut self.unseal),
            overslept: false,
        });
        self.asked = false;
        attempt
    }

    /// Somebody wants an attempt now. With `unseal`, its success unseals even a flapping tenant.
    pub fn request(&mut self, now: Moment, unseal: bool) {
        self.observe(now);
        self.unseal |= unseal;
        if self.open.is_some() {
            self.asked = true;
        } else if self.doubt.is_none() {
            self.due = Some(now);
        }
    }

    /// Everything proved or begun until now is worthless: another replica saw the tenant sealed,
    /// the policy changed, the tenant is suspended or resumed. An attempt is due at once.
    pub fn void(&mut self) {
        self.proof = None;
        self.successes = 0;
        self.search = Search::default();
        self.drop_open();
        self.raise_barrier(None);
        self.due = None;
    }

    fn is_sealed(&self) -> bool {
        matches!(self.state, State::Sealed { .. })
    }

    /// A no at the identity provider is only heard by asking it again.
    fn needs_fresh_token(&self) -> bool {
        let denied = matches!(
            self.state,
            State::Sealed {
                cause: Cause::Denial,
                ..
            }
        );
        self.doubt.is_some() || denied
    }

    /// How long an attempt begun now may wait; a confirmation never outlasts its window.
    fn patience(&mut self, now: Moment) -> Duration {
        let Some(doubt) = &mut self.doubt else {
            return pace::DEADLINE;
        };
        if !std::mem::replace(&mut doubt.begun, true) {
            doubt.by = now.after(pace::CONFIRMATION);
        }
        watch::ran(now, doubt.by).min(pace::DEADLINE)
    }

    /// Nobody will hear the open attempt's answer; what was asked for is still to be done.
    fn drop_open(&mut self) {
        self.unseal |= self.open.take().is_some_and(|open| open.unseal);
    }

    /// From `at` on: `None` is "as of the next call".
    fn raise_barrier(&mut self, at: Option<Moment>) {
        self.barrier = Barrier {
            serial: self.serial,
            at,
            pending: at.is_none(),
        };
    }
}
