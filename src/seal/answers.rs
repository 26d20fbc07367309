//! What an answer does. A no is confirmed and then obeyed, a yes is dated before its request was
//! sent, and everything else only means trying again. Nothing here may seal for lack of an answer
//! unless the rules in `watch` say that the time is up.

use crate::clock::Moment;
use crate::provider::{Failure, Kind};

use super::{Attempt, Cause, Doubt, Open, Seal, Search, State, Transition, pace, watch};

impl Seal {
    /// The answer to an attempt. One that was voided or superseded is ignored.
    pub fn finish(
        &mut self,
        attempt: Attempt,
        result: Result<(), Failure>,
        now: Moment,
        jitter: f64,
    ) -> Option<Transition> {
        if self.open?.attempt.serial != attempt.serial {
            return None;
        }
        self.observe(now);
        let Open {
            unseal, overslept, ..
        } = self.open.take()?;
        let transition = match result {
            Ok(()) if self.counts(attempt, now) => {
                self.succeed(attempt.started, unseal, now, jitter)
            }
            Ok(()) => {
                self.unseal |= unseal;
                self.due = Some(now);
                None
            }
            // The caller's own time-out went off because the process stood still.
            Err(failure) if overslept && failure.kind != Kind::Denial => {
                self.unseal |= unseal;
                self.due = Some(now);
                None
            }
            Err(failure) => self.fail(failure, attempt.started, now, jitter),
        };
        if std::mem::take(&mut self.asked) && self.doubt.is_none() {
            self.due = Some(now);
        }
        transition
    }

    /// A probe of a new spec of this tenant, begun at `started`, succeeded: as good as an attempt. An
    /// attempt that is open was for the old spec and is ignored from now on.
    pub fn adopt_proof(&mut self, started: Moment, now: Moment) -> Option<Transition> {
        self.observe(now);
        self.drop_open();
        let after_barrier = self.barrier.at.is_none_or(|at| started.boot > at.boot);
        if !after_barrier || !self.is_proof(started, now) {
            return None;
        }
        self.succeed(started, false, now, 0.5)
    }

    /// The key said no to something else than an attempt, which is confirmed and obeyed like a no to one.
    /// What is open was begun before.
    pub fn denied(&mut self, denial: Failure, now: Moment, jitter: f64) -> Option<Transition> {
        self.observe(now);
        if self.is_sealed() || self.doubt.is_some() {
            return None;
        }
        self.drop_open();
        self.last_failure = Some(Box::new((denial.clone(), now)));
        Some(self.deny(denial, now, jitter))
    }

    /// An attempt that was begun before a seal or that took too long says yes to nothing.
    fn counts(&self, attempt: Attempt, now: Moment) -> bool {
        attempt.serial > self.barrier.serial && self.is_proof(attempt.started, now)
    }

    fn succeed(
        &mut self,
        started: Moment,
        unseal: bool,
        now: Moment,
        jitter: f64,
    ) -> Option<Transition> {
        self.last_failure = None;
        let asked = std::mem::take(&mut self.unseal) || unseal;
        if self.is_sealed() {
            self.successes += 1;
            if self.successes < 2 && self.is_flapping(now) && !asked {
                self.due = Some(now.after(pace::second_success(jitter)));
                return None;
            }
            self.unseals.truncate(pace::FLAPS - 1);
            self.unseals.push_front(now);
        }
        let before = std::mem::replace(&mut self.state, State::Active);
        let newer = self.proof.filter(|proof| proof.boot > started.boot);
        self.proof = newer.or(Some(started));
        self.trouble = None;
        self.doubt = None;
        self.search = Search::default();
        self.successes = 0;
        self.due = Some(started.after(pace::check(self.timing, jitter)));
        match before {
            State::Undecided => Some(Transition::Activated),
            State::Active => None,
            State::Sealed { .. } => Some(Transition::Unsealed),
        }
    }

    fn is_flapping(&self, now: Moment) -> bool {
        let oldest = self.unseals.get(pace::FLAPS - 1);
        oldest.is_some_and(|at| watch::ran(*at, now) < pace::FLAP_WINDOW)
    }

    /// An attempt begun at `started` did not succeed.
    pub(super) fn fail(
        &mut self,
        failure: Failure,
        started: Moment,
        now: Moment,
        jitter: f64,
    ) -> Option<Transition> {
        self.last_failure = Some(Box::new((failure.clone(), now)));
        if let State::Sealed { cause, since } = self.state {
            self.successes = 0;
            self.due = Some(started.after(pace::sealed(jitter)));
            return self.explain(failure, cause, since);
        }
        if failure.kind == Kind::Denial {
            return Some(self.deny(failure, now, jitter));
        }
        if self.doubt.is_some() {
            self.due = Some(now.after(pace::confirm(jitter)));
        } else {
            self.search.failures += 1;
            let asked = failure.retry_after;
            let left = self.time_left(now);
            let wait = pace::retry(self.timing, self.search.failures, asked, left, jitter);
            self.due = Some(now.after(wait));
            self.trouble = Some(failure);
        }
        self.expire(now, jitter)
    }

    /// While sealed only a denial changes what explains the seal.
    fn explain(&mut self, failure: Failure, known: Cause, since: Moment) -> Option<Transition> {
        if failure.kind != Kind::Denial {
            return None;
        }
        let cause = Cause::Denial;
        let reason = self.trouble.as_ref().map(|trouble| trouble.reason);
        if known != cause || reason != Some(failure.reason) {
            self.trouble = Some(failure);
        }
        self.state = State::Sealed { cause, since };
        (known != cause).then_some(Transition::Sealed(cause))
    }

    fn deny(&mut self, denial: Failure, now: Moment, jitter: f64) -> Transition {
        if self.doubt.is_some() {
            return self.seal(Cause::Denial, denial, now, jitter);
        }
        let due = now.after(pace::confirm(jitter));
        self.doubt = Some(Box::new(Doubt {
            denial,
            begun: false,
            by: due.after(pace::CONFIRMATION),
        }));
        self.raise_barrier(Some(now));
        self.due = Some(due);
        Transition::Doubted
    }

    pub(super) fn seal(
        &mut self,
        cause: Cause,
        why: Failure,
        now: Moment,
        jitter: f64,
    ) -> Transition {
        self.state = State::Sealed { cause, since: now };
        self.seals += 1;
        self.trouble = Some(why);
        self.proof = None;
        self.doubt = None;
        self.search = Search::default();
        self.successes = 0;
        self.raise_barrier(Some(now));
        self.due = Some(now.after(pace::sealed(jitter)));
        Transition::Sealed(cause)
    }
}
