//! What time alone changes: a proof that grows too old, a denial that nobody confirms, clocks that
//! disagree, and a process that stood still. A tenant is never sealed because the operator itself
//! did not run: whatever nobody tried says nothing about the key.
//!
//! The age of a proof looks at both clocks. Everything else is counted on `boot` alone, which
//! nobody can set, so that a corrected wall clock neither seals a tenant nor puts a seal off.

use std::time::Duration;

use crate::api::Reason;
use crate::clock::Moment;
use crate::provider::Failure;

use super::{Cause, Open, Seal, Search, Transition, pace};

/// How late the process may be before it counts as having stood still.
const LATE: Duration = Duration::from_secs(5);
/// While something is overdue, a call this often shows that the process runs and is only busy.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
const JUST_AFTER: Duration = Duration::from_millis(1);

const NO_ANSWER: &str = "The key service has not answered any attempt for as long as a proof may \
    be relied on. Check that the operator reaches it: proxy, firewall, DNS, private endpoint.";

/// The time the process saw pass from `earlier` to `later`; zero when it is the other way round.
pub(super) fn ran(earlier: Moment, later: Moment) -> Duration {
    later.boot.saturating_sub(earlier.boot)
}

impl Seal {
    /// What time has changed by now.
    pub fn tick(&mut self, now: Moment, jitter: f64) -> Option<Transition> {
        self.observe(now);
        if let Some(open) = self.abandoned(now) {
            if !open.overslept {
                return self.fail(no_answer(), open.attempt.started, now, jitter);
            }
            self.unseal |= open.unseal;
            self.due = Some(now);
        }
        self.expire(now, jitter)
    }

    /// How long until `tick` could change something.
    pub fn next_tick(&self, now: Moment) -> Option<Duration> {
        let unconfirmed = self.doubt.as_ref().map(|doubt| ran(now, doubt.by));
        let abandoned = self.open.map(|open| {
            let attempt = open.attempt;
            ran(now, attempt.started.after(attempt.deadline + LATE)) + JUST_AFTER
        });
        [
            unconfirmed,
            self.time_left(now),
            abandoned,
            self.sign_of_life(now),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A process that is only too busy to begin or to answer an attempt in time shows it by calls.
    fn sign_of_life(&self, now: Moment) -> Option<Duration> {
        let wait = self.promised().map_or(Duration::ZERO, |at| ran(now, at));
        if self.is_sealed() {
            None
        } else if wait.is_zero() {
            Some(SIGN_OF_LIFE)
        } else {
            self.open.map(|_| wait)
        }
    }

    /// Every call passes here first, and notices what happened since the last one.
    pub(super) fn observe(&mut self, now: Moment) {
        let slept = self.slept(now);
        if slept || self.due.is_none() {
            self.confirm_again(now);
        }
        if slept {
            self.search = Search {
                afresh: true,
                ..Search::default()
            };
            if let Some(open) = &mut self.open {
                open.overslept = true;
            }
        }
        if self.proof.is_some_and(|proof| !now.agrees_with(proof)) {
            self.proof = None;
            self.search = Search::default();
            if self.doubt.is_none() {
                self.due = Some(now);
            }
        }
        self.due.get_or_insert(now);
        if std::mem::take(&mut self.barrier.pending) {
            self.barrier.at = Some(now);
        }
        if now.boot > self.seen.boot {
            self.seen = now;
        }
    }

    /// Whether a success of an attempt begun at `started` says anything now.
    pub(super) fn is_proof(&self, started: Moment, now: Moment) -> bool {
        now.is_within(self.timing.proof_ttl, started)
    }

    /// An attempt begins: from the first one on the lack of a proof means something. When that one
    /// comes too late to be answered while the proof is good, the TTL counts from it.
    pub(super) fn search_from(&mut self, now: Moment) {
        if self.search.first.is_none() {
            let answered = now.after(pace::DEADLINE);
            let in_time = self
                .proof
                .is_some_and(|proof| self.is_proof(proof, answered));
            self.search.afresh |= !in_time;
            self.search.first = Some(now);
        }
    }

    /// What is left until the lack of a proof seals. Counted only once somebody has tried, and not
    /// while a denial waits for its confirmation, which is decided sooner.
    pub(super) fn time_left(&self, now: Moment) -> Option<Duration> {
        let first = self.search.first?;
        if self.is_sealed() || self.doubt.is_some() {
            return None;
        }
        let spent = match self.proof {
            Some(proof) if !self.search.afresh => now.since(proof),
            _ => ran(first, now),
        };
        Some(self.timing.proof_ttl.saturating_sub(spent))
    }

    /// Seals when the time is up.
    pub(super) fn expire(&mut self, now: Moment, jitter: f64) -> Option<Transition> {
        if let Some(doubt) = &self.doubt {
            let denial = (now.boot >= doubt.by.boot).then(|| doubt.denial.clone())?;
            return Some(self.seal(Cause::Denial, denial, now, jitter));
        }
        self.time_left(now).filter(Duration::is_zero)?;
        let why = self.trouble.take().unwrap_or_else(no_answer);
        Some(self.seal(Cause::Outage, why, now, jitter))
    }

    /// Whether nobody called for so long that something overdue says nothing about the key.
    fn slept(&self, now: Moment) -> bool {
        let expected = self.promised().map(|at| at.boot.max(self.seen.boot));
        expected.is_some_and(|at| now.boot > at + LATE)
    }

    /// When the caller is to come at the latest: with an answer, or for an attempt.
    fn promised(&self) -> Option<Moment> {
        match self.open {
            Some(open) => Some(open.attempt.started.after(open.attempt.deadline)),
            None => self.due,
        }
    }

    /// Takes back an attempt that its caller will not answer any more.
    fn abandoned(&mut self, now: Moment) -> Option<Open> {
        self.open.take_if(|open| {
            let attempt = open.attempt;
            ran(attempt.started, now) > attempt.deadline + LATE
        })
    }

    /// Nobody could confirm the denial: the confirmation is due now and has its time again.
    fn confirm_again(&mut self, now: Moment) {
        if let Some(doubt) = &mut self.doubt {
            doubt.begun = false;
            doubt.by = now.after(pace::CONFIRMATION);
            self.due = Some(now);
        }
    }
}

fn no_answer() -> Failure {
    Failure::transient(Reason::Unreachable, NO_ANSWER)
}
