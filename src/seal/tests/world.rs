//! A tenant, a cloud and a clock that only tests move, driven the way the controller drives it.

use std::time::Duration;

use super::oracle::Oracle;
use crate::api::Reason;
use crate::clock::Moment;
use crate::provider::Failure;
use crate::seal::{Attempt, Seal, State, Timing, Transition};

pub(in crate::seal) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(in crate::seal) fn minutes(n: u64) -> Duration {
    Duration::from_mins(n)
}

/// What the customer's key service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::seal) enum Cloud {
    Works,
    Denies(Reason),
    Fails(Reason),
    /// Asks to be left alone for so many seconds.
    Throttles(u64),
    /// The platform's own credential is wrong.
    Misconfigured,
    Hangs,
}

impl Cloud {
    fn answer(self) -> Option<Result<(), Failure>> {
        let asked = |n| Some(seconds(n));
        Some(match self {
            Cloud::Works => Ok(()),
            Cloud::Denies(reason) => Err(Failure::denial(reason, "no")),
            Cloud::Fails(reason) => Err(Failure::transient(reason, "trouble")),
            Cloud::Throttles(n) => {
                Err(Failure::transient(Reason::Throttled, "slow down").with_retry_after(asked(n)))
            }
            Cloud::Misconfigured => Err(Failure::misconfigured(
                Reason::CredentialRejected,
                "own secret",
            )),
            Cloud::Hangs => return None,
        })
    }
}

struct Pending {
    attempt: Attempt,
    at: Moment,
    result: Result<(), Failure>,
}

pub(in crate::seal) struct World {
    pub seal: Seal,
    pub now: Moment,
    pub cloud: Cloud,
    pub latency: Duration,
    /// How late the driver is for everything.
    pub lag: Duration,
    /// Where the jitter comes from: each is used once, then the next; 0.5 when there are none.
    pub jitters: Vec<f64>,
    /// On waking, the caller's time-outs go off before the answers are read.
    pub timer_wins: bool,
    pub tick_first: bool,
    /// What happened, by seconds since the start.
    pub log: Vec<(f64, Transition)>,
    pub attempts: Vec<Attempt>,
    pending: Vec<Pending>,
    start: Moment,
    drawn: usize,
    /// Wakes in a row without any time between them.
    spins: u32,
    oracle: Oracle,
}

impl World {
    /// A process that has just started, with a key that works.
    pub fn new(interval: Duration, proof_ttl: Duration) -> Self {
        let timing = Timing {
            interval,
            proof_ttl,
        };
        let now = Moment {
            boot: seconds(1_000),
            wall: seconds(1_800_000_000),
        };
        Self {
            seal: Seal::new(timing, now),
            now,
            cloud: Cloud::Works,
            latency: Duration::from_millis(100),
            lag: Duration::ZERO,
            jitters: Vec::new(),
            timer_wins: false,
            tick_first: false,
            log: Vec::new(),
            attempts: Vec::new(),
            pending: Vec::new(),
            start: now,
            drawn: 0,
            spins: 0,
            oracle: Oracle::new(timing),
        }
    }

    /// A tenant that was just proved, with the default timing of 30 s and 5 min.
    pub fn active() -> Self {
        let mut world = Self::new(seconds(30), minutes(5));
        world.run(seconds(1));
        assert_eq!(*world.seal.state(), State::Active);
        world.log.clear();
        world
    }

    /// A tenant that was just sealed by a denial.
    pub fn sealed() -> Self {
        let mut world = Self::active();
        world.cloud = Cloud::Denies(Reason::AccessDenied);
        world.run_until(seconds(60), World::is_sealed);
        world.log.clear();
        world
    }

    pub fn elapsed(&self) -> Duration {
        self.now.boot - self.start.boot
    }

    pub fn start(&self) -> Moment {
        self.start
    }

    pub fn newest(&self) -> Attempt {
        *self.attempts.last().expect("something was tried")
    }

    pub fn is_sealed(&self) -> bool {
        matches!(self.seal.state(), State::Sealed { .. })
    }

    pub fn may_serve(&self) -> bool {
        self.seal.may_serve(self.now)
    }

    pub fn transitions(&self) -> Vec<Transition> {
        self.log.iter().map(|entry| entry.1).collect()
    }

    /// Seconds between the starts of the newest attempts, oldest first.
    pub fn rhythm(&self, attempts: usize) -> Vec<f64> {
        let starts: Vec<_> = self.attempts.iter().map(|a| a.started.boot).collect();
        let gaps = starts.windows(2).map(|w| (w[1] - w[0]).as_secs_f64());
        let gaps: Vec<_> = gaps.collect();
        assert!(gaps.len() >= attempts, "only {} attempts", starts.len());
        gaps[gaps.len() - attempts..].to_vec()
    }

    pub fn run(&mut self, span: Duration) {
        let end = self.now.boot + span;
        while let Some(wait) = self.next_wake(end) {
            self.wake_after(wait);
        }
        self.pass(end - self.now.boot);
    }

    /// Runs until `there`, and fails when it takes longer than `limit`.
    pub fn run_until(&mut self, limit: Duration, there: impl Fn(&World) -> bool) {
        let end = self.now.boot + limit;
        while !there(self) {
            let wait = self.next_wake(end).expect("not there within the limit");
            self.wake_after(wait);
        }
    }

    /// SIGSTOP, or a suspended machine: time passes and nobody calls.
    pub fn sleep(&mut self, span: Duration) {
        self.pass(span);
        self.oracle.slept(span, self.now);
        let late = |p: &Pending| p.attempt.started.after(p.attempt.deadline).boot;
        for pending in &mut self.pending {
            if self.timer_wins && late(pending) < self.now.boot {
                pending.result = Err(timed_out());
            }
        }
    }

    pub fn set_wall_forward(&mut self, by: Duration) {
        self.now.wall += by;
    }

    pub fn set_wall_back(&mut self, by: Duration) {
        self.now.wall -= by;
    }

    pub fn request(&mut self, unseal: bool) {
        self.seal.request(self.now, unseal);
        self.oracle.requested(unseal, self.now);
        self.watch();
    }

    pub fn void(&mut self) {
        self.seal.void();
        self.oracle.voided();
        self.watch();
    }

    /// A probe of a new spec, begun `ago`, succeeds now.
    pub fn adopt(&mut self, ago: Duration) -> Option<Transition> {
        let started = Moment {
            boot: self.now.boot - ago,
            wall: self.now.wall - ago,
        };
        let before = *self.seal.state();
        let transition = self.seal.adopt_proof(started, self.now);
        self.oracle.adopted(started, before, transition, self.now);
        self.note(transition);
        transition
    }

    /// The key says no to something else than an attempt.
    pub fn refuse(&mut self) {
        let before = *self.seal.state();
        let denial = Failure::denial(Reason::AccessDenied, "no");
        let jitter = self.jitter();
        let transition = self.seal.denied(denial, self.now, jitter);
        self.oracle.refused(before, transition, self.now);
        self.note(transition);
    }

    pub fn begin(&mut self) -> Attempt {
        let attempt = self.seal.begin(self.now);
        self.oracle.began(attempt, *self.seal.state());
        self.attempts.push(attempt);
        let answer = self
            .cloud
            .answer()
            .filter(|_| self.latency < attempt.deadline);
        let (wait, result) = match answer {
            Some(result) => (self.latency, result),
            None => (attempt.deadline, Err(timed_out())),
        };
        let at = self.now.after(wait);
        self.pending.push(Pending {
            attempt,
            at,
            result,
        });
        self.watch();
        attempt
    }

    pub fn tick(&mut self) {
        let before = *self.seal.state();
        let jitter = self.jitter();
        let transition = self.seal.tick(self.now, jitter);
        self.oracle.ticked(before, transition, self.now);
        self.note(transition);
    }

    /// The time to the next thing to do, `None` when it is not before `end`.
    fn next_wake(&self, end: Duration) -> Option<Duration> {
        let answers = self
            .pending
            .iter()
            .map(|p| p.at.boot.saturating_sub(self.now.boot));
        let calls = [
            self.seal.next_attempt(self.now),
            self.seal.next_tick(self.now),
        ];
        let wait = answers.chain(calls.into_iter().flatten()).min()?;
        let wait = if wait.is_zero() {
            wait
        } else {
            wait + self.lag
        };
        (self.now.boot + wait <= end).then_some(wait)
    }

    fn wake_after(&mut self, wait: Duration) {
        self.spins = if wait.is_zero() { self.spins + 1 } else { 0 };
        assert!(self.spins < 20, "the driver is kept busy by nothing");
        self.pass(wait);
        self.work();
    }

    fn work(&mut self) {
        if self.tick_first {
            self.tick();
        }
        let due = |p: &Pending| p.at.boot <= self.now.boot;
        if let Some(index) = self.pending.iter().position(due) {
            let Pending {
                attempt, result, ..
            } = self.pending.remove(index);
            self.finish(attempt, result);
        }
        self.tick();
        if self.seal.next_attempt(self.now) == Some(Duration::ZERO) {
            self.begin();
        }
    }

    fn finish(&mut self, attempt: Attempt, result: Result<(), Failure>) {
        let before = *self.seal.state();
        let kind = result.as_ref().err().map(|failure| failure.kind);
        let jitter = self.jitter();
        let transition = self.seal.finish(attempt, result, self.now, jitter);
        self.oracle
            .answered(attempt, kind, before, transition, self.now);
        self.note(transition);
    }

    fn note(&mut self, transition: Option<Transition>) {
        let at = self.elapsed().as_secs_f64();
        self.log
            .extend(transition.map(|transition| (at, transition)));
        self.watch();
    }

    fn watch(&mut self) {
        self.oracle.check(&self.seal, self.now, self.lag);
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
    }

    fn jitter(&mut self) -> f64 {
        if self.jitters.is_empty() {
            return 0.5;
        }
        self.drawn += 1;
        self.jitters[self.drawn % self.jitters.len()]
    }
}

fn timed_out() -> Failure {
    Failure::transient(Reason::Unreachable, "no answer in time")
}
