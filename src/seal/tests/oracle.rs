//! An independent account of what must hold, kept beside every test. It knows what was begun,
//! answered and disturbed, and what each of it means; never how the state machine remembers it.

use std::time::Duration;

use super::{minutes, seconds};
use crate::clock::Moment;
use crate::provider::Kind;
use crate::seal::{Attempt, Cause, Seal, State, Timing, Transition};

/// From a first denial to its seal: about a second, then the confirmation's window.
const OBEYED: Duration = Duration::from_millis(1_100 + 5_000);

#[derive(Debug)]
pub(super) struct Oracle {
    timing: Timing,
    /// The newest yes that was heard and is not void.
    yes: Option<Moment>,
    /// Since when a no waits for its confirmation; of a seal: that it is by denial.
    no: Option<Moment>,
    live: Option<Attempt>,
    newest: u64,
    /// The newest attempt begun before a seal, a doubt or a void, and when that was.
    worthless: (u64, Option<Moment>),
    /// A void that no call has seen yet.
    voided: bool,
    /// The first attempt since the last yes, void or jump of a clock, and since the last sleep.
    first: Option<Moment>,
    first_awake: Option<Moment>,
    slept: bool,
    /// When an attempt was begun last, or could not because the process slept.
    attended: Option<Moment>,
    /// On `boot`: an outage may not seal before.
    earliest: Duration,
    unseals: Vec<Moment>,
    successes: usize,
    /// An unseal was asked for: the open attempt is for it, the next one is to be.
    wish: (bool, bool),
}

impl Oracle {
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            yes: None,
            no: None,
            live: None,
            newest: 0,
            worthless: (0, None),
            voided: false,
            first: None,
            first_awake: None,
            slept: false,
            attended: None,
            earliest: Duration::ZERO,
            unseals: Vec::new(),
            successes: 0,
            wish: (false, false),
        }
    }

    pub fn began(&mut self, attempt: Attempt, state: State) {
        self.look_at_clocks(attempt.started);
        assert!(attempt.serial > self.newest, "attempts are told apart");
        self.newest = attempt.serial;
        self.live = Some(attempt);
        self.first.get_or_insert(attempt.started);
        self.first_awake.get_or_insert(attempt.started);
        self.attended = Some(attempt.started);
        self.wish = (self.wish.1, false);
        let confirming = self.no.is_some() && !is_sealed(state);
        let patience = seconds(if confirming { 5 } else { 10 });
        assert!(attempt.deadline <= patience, "{attempt:?} waits too long");
        assert_eq!(
            attempt.fresh_token,
            self.no.is_some(),
            "a no is heard again only with a fresh token"
        );
    }

    pub fn answered(
        &mut self,
        attempt: Attempt,
        failure: Option<Kind>,
        before: State,
        transition: Option<Transition>,
        now: Moment,
    ) {
        if self.live.is_none_or(|live| live.serial != attempt.serial) {
            assert_eq!(transition, None, "a stale answer does nothing");
            return;
        }
        self.look_at_clocks(now);
        self.live = None;
        let overslept = now.boot > attempt.started.boot + attempt.deadline + seconds(5);
        match failure {
            None if attempt.serial > self.worthless.0 && self.holds(attempt.started, now) => {
                self.heard_yes(attempt.started, self.wish.0, before, transition, now);
                return;
            }
            None => {
                assert_eq!(transition, None, "a worthless success does nothing");
                self.wish.1 |= self.wish.0;
            }
            Some(Kind::Denial) => self.heard_no(before, transition, now),
            Some(_) if overslept => self.wish.1 |= self.wish.0,
            Some(_) => self.successes = 0,
        }
        self.decided(before, transition, now);
    }

    pub fn adopted(
        &mut self,
        started: Moment,
        before: State,
        transition: Option<Transition>,
        now: Moment,
    ) {
        self.look_at_clocks(now);
        self.wish.1 |= self.live.take().is_some() && self.wish.0;
        let young = self.worthless.1.is_none_or(|at| started.boot > at.boot);
        if young && self.holds(started, now) {
            self.heard_yes(started, false, before, transition, now);
        } else {
            assert_eq!(transition, None, "a worthless probe does nothing");
        }
    }

    pub fn refused(&mut self, before: State, transition: Option<Transition>, now: Moment) {
        self.look_at_clocks(now);
        if is_sealed(before) || self.no.is_some() {
            assert_eq!(transition, None, "the no is known");
            return;
        }
        self.wish.1 |= self.live.take().is_some() && self.wish.0;
        self.heard_no(before, transition, now);
    }

    pub fn ticked(&mut self, before: State, transition: Option<Transition>, now: Moment) {
        self.look_at_clocks(now);
        let overdue = |a: &Attempt| now.boot > a.started.boot + a.deadline + seconds(5);
        if self.live.take_if(|live| overdue(live)).is_some() {
            self.wish.1 |= self.wish.0;
        }
        assert!(matches!(transition, None | Some(Transition::Sealed(_))));
        self.decided(before, transition, now);
    }

    pub fn requested(&mut self, unseal: bool, now: Moment) {
        self.look_at_clocks(now);
        self.wish.1 |= unseal;
    }

    pub fn voided(&mut self) {
        self.yes = None;
        self.first = None;
        self.first_awake = None;
        self.successes = 0;
        self.wish.1 |= self.live.take().is_some() && self.wish.0;
        self.worthless.0 = self.newest;
        self.voided = true;
    }

    /// The process did not run until `now`. Nobody may hold against the key what was not tried.
    pub fn slept(&mut self, span: Duration, now: Moment) {
        self.first_awake = None;
        self.slept = true;
        self.attended = Some(now);
        self.no = self.no.map(|_| now);
        if span > self.timing.interval.max(seconds(10)) + seconds(6) {
            self.earliest = now.boot + self.timing.proof_ttl;
        }
    }

    /// What must hold after every call.
    pub fn check(&self, seal: &Seal, now: Moment, lag: Duration) {
        let state = *seal.state();
        for (later, wall) in [
            (0, 0),
            (1, 0),
            (20, 0),
            (20, 6),
            (59, 0),
            (299, 0),
            (300, 0),
        ] {
            let mut then = now.after(seconds(later));
            then.wall += seconds(wall);
            let yes = self.yes.is_some_and(|yes| self.holds(yes, then));
            let expected = state == State::Active && self.no.is_none() && yes;
            assert_eq!(seal.may_serve(then), expected, "{later} s later: {self:?}");
        }
        assert_eq!(seal.is_open(), self.live.is_some());
        if !is_sealed(state) {
            assert_eq!(seal.proof(), self.yes, "{self:?}");
            self.check_in_time(now, lag);
        }
        if let State::Sealed { cause, .. } = state {
            let kind = seal.failure().expect("a seal is explained").kind;
            assert_eq!(kind == Kind::Denial, cause == Cause::Denial);
        }
        if let Some(attended) = self.attended {
            let longest = self.timing.interval.max(seconds(30)) + seconds(11) + lag + lag;
            assert!(
                now.boot - attended.boot <= longest,
                "nobody tries: {self:?}"
            );
        }
    }

    fn check_in_time(&self, now: Moment, lag: Duration) {
        if let Some(no) = self.no {
            let obeyed = no.boot + OBEYED + lag + lag;
            assert!(
                self.voided || now.boot <= obeyed,
                "a no is not obeyed: {self:?}"
            );
            return;
        }
        let soon = self.first.map(|first| first.after(seconds(10)));
        let tried = |yes: &Moment| soon.is_some_and(|soon| self.holds(*yes, soon));
        let yes = self.yes.filter(|yes| !self.slept && tried(yes));
        let trusted = match (yes, self.first_awake) {
            (Some(yes), _) => now.boot - yes.boot,
            (None, Some(first)) => now.boot - first.boot,
            (None, None) => Duration::ZERO,
        };
        let limit = self.timing.proof_ttl + seconds(1) + lag;
        assert!(trusted <= limit, "an outage does not seal: {self:?}");
    }

    fn heard_yes(
        &mut self,
        started: Moment,
        wish: bool,
        before: State,
        transition: Option<Transition>,
        now: Moment,
    ) {
        let asked = wish || self.wish.1;
        self.wish.1 = false;
        if is_sealed(before) {
            self.successes += 1;
            self.unseals.retain(|at| now.boot - at.boot < minutes(10));
            let needed = if self.unseals.len() >= 3 && !asked {
                2
            } else {
                1
            };
            if self.successes < needed {
                assert_eq!(transition, None, "flapping, and this is the first success");
                return;
            }
            self.unseals.push(now);
        }
        let expected = match before {
            State::Undecided => Some(Transition::Activated),
            State::Active => None,
            State::Sealed { .. } => Some(Transition::Unsealed),
        };
        assert_eq!(transition, expected, "a yes is obeyed");
        let newer = self.yes.filter(|yes| yes.boot > started.boot);
        self.yes = newer.or(Some(started));
        self.attended = Some(now);
        self.no = None;
        self.first = None;
        self.first_awake = None;
        self.slept = false;
        self.earliest = Duration::ZERO;
    }

    fn heard_no(&mut self, before: State, transition: Option<Transition>, now: Moment) {
        let sealed = Some(Transition::Sealed(Cause::Denial));
        let expected = match before {
            State::Sealed { cause, .. } => sealed.filter(|_| cause == Cause::Outage),
            _ if self.no.is_some() => sealed,
            _ => Some(Transition::Doubted),
        };
        assert_eq!(transition, expected, "a no is heard");
        self.successes = 0;
        self.no.get_or_insert(now);
        if transition == Some(Transition::Doubted) {
            self.worthless = (self.newest, Some(now));
        }
    }

    fn decided(&mut self, before: State, transition: Option<Transition>, now: Moment) {
        let Some(Transition::Sealed(cause)) = transition else {
            return;
        };
        if cause == Cause::Denial {
            assert!(self.no.is_some(), "sealed by a denial that nobody heard");
        } else {
            assert!(self.no.is_none() && !is_sealed(before));
            assert!(
                now.boot >= self.earliest,
                "sealed for having slept: {self:?}"
            );
            let first = self.first.expect("sealed although nobody tried");
            let spent = match self.yes {
                Some(yes) => now.since(yes),
                None => now.boot - first.boot,
            };
            assert!(spent >= self.timing.proof_ttl, "sealed too early: {self:?}");
        }
        if !is_sealed(before) {
            self.yes = None;
            self.successes = 0;
            self.worthless = (self.newest, Some(now));
            self.attended = Some(now);
        }
    }

    fn holds(&self, started: Moment, now: Moment) -> bool {
        now.agrees_with(started) && now.since(started) < self.timing.proof_ttl
    }

    fn look_at_clocks(&mut self, now: Moment) {
        if std::mem::take(&mut self.voided) {
            self.worthless.1 = Some(now);
            self.no = self.no.map(|_| now);
        }
        if self.yes.is_some_and(|yes| !now.agrees_with(yes)) {
            self.yes = None;
            self.first = None;
            self.first_awake = None;
            self.earliest = now.boot + self.timing.proof_ttl;
        }
    }
}

fn is_sealed(state: State) -> bool {
    matches!(state, State::Sealed { .. })
}
