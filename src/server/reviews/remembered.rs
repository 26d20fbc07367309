//! What a remembered review is good for now: pure decisions about one entry.

use std::time::Duration;

use crate::clock::Moment;

/// For how long answers of one kind are remembered.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A yes is not questioned; half of the rest up to `yes` is jitter.
    pub early: Duration,
    /// A yes is served, though asked for again meanwhile, so that nobody waits who calls all the time.
    pub yes: Duration,
    /// A yes still holds when the API server gives no answer.
    pub hold: Duration,
    /// A no is not questioned.
    pub no: Duration,
}

impl Terms {
    /// The age from which a yes is asked for again. `jitter` is a fraction in 0..1: what was allowed
    /// together is not asked for together.
    pub fn early(&self, jitter: f64) -> Duration {
        self.early + self.yes.saturating_sub(self.early).mul_f64(jitter / 2.0)
    }

    /// Up to which age a yes may be relied on after a try that ended so. An API server without an answer
    /// is an outage; too much to ask may be made by whoever fears the answer.
    fn stands(&self, trouble: Trouble) -> Duration {
        match trouble {
            Trouble::Busy => self.yes + CROWDED,
            Trouble::Silent | Trouble::Status(_) => self.hold,
        }
    }
}

/// How much longer than it is served a yes stands while there is no room to ask.
const CROWDED: Duration = Duration::from_secs(5);
/// A try that had no answer keeps the next one waiting: twice this at most, by jitter.
const WAIT: Duration = Duration::from_secs(2);
/// So long after such a try nobody is kept waiting for another one.
const RECENT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// None came in time, or none that could be understood.
    Silent,
    /// The API server did not do the review.
    Status(u16),
    /// It was not asked: too many reviews are under way.
    Busy,
}

/// What the API server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<V, N> {
    /// Remembered no longer than to `until` on the wall clock.
    Yes {
        value: V,
        until: Duration,
    },
    No(N),
}

/// A try without an answer.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    trouble: Trouble,
    at: Moment,
    wait: Duration,
}

impl Failed {
    /// `jitter` is a fraction in 0..1.
    pub fn new(trouble: Trouble, at: Moment, jitter: f64) -> Self {
        Self {
            trouble,
            at,
            wait: WAIT + WAIT.mul_f64(jitter),
        }
    }

    fn within(&self, now: Moment, span: Duration) -> bool {
        now.is_within(span, self.at)
    }
}

/// A yes, dated before it was asked for.
#[derive(Clone, Debug)]
pub struct Yes<V> {
    pub value: V,
    pub at: Moment,
    pub until: Duration,
    /// As [`Terms::early`] says.
    pub early: Duration,
    /// The last try since then.
    pub failed: Option<Failed>,
}

/// Anything but a yes.
#[derive(Clone, Debug)]
pub enum Other<N> {
    No { why: N, at: Moment },
    Failed(Failed),
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<V, N> {
    Serve(V),
    /// Serve at once, and ask meanwhile.
    ServeAndAsk(V),
    Refuse(N),
    /// The last try was just now, and nothing holds.
    Fail(Trouble),
    Ask,
}

impl<V: Clone> Yes<V> {
    /// Whether it is worth anything.
    pub fn holds(&self, now: Moment, terms: &Terms) -> bool {
        self.is_within(now, terms.hold)
    }

    /// Whether it may be relied on after a try that ended so.
    pub fn stands(&self, trouble: Trouble, now: Moment, terms: &Terms) -> bool {
        self.is_within(now, terms.stands(trouble))
    }

    fn is_within(&self, now: Moment, span: Duration) -> bool {
        now.wall < self.until && now.is_within(span, self.at)
    }

    /// `None`: it is worth nothing any more.
    pub fn step<N>(&self, now: Moment, terms: &Terms) -> Option<Step<V, N>> {
        if !self.holds(now, terms) {
            return None;
        }
        let served = self.value.clone();
        if self.is_within(now, self.early) {
            return Some(Step::Serve(served));
        }
        let nobody_waits =
            |failed: &Failed| failed.within(now, RECENT) && self.stands(failed.trouble, now, terms);
        Some(match self.failed.filter(nobody_waits) {
            Some(failed) if failed.within(now, failed.wait) => Step::Serve(served),
            Some(_) => Step::ServeAndAsk(served),
            None if self.is_within(now, terms.yes) => Step::ServeAndAsk(served),
            None => Step::Ask,
        })
    }
}

impl<N: Clone> Other<N> {
    pub fn step<V>(&self, now: Moment, terms: &Terms) -> Option<Step<V, N>> {
        match self {
            Self::No { why, at } if now.is_within(terms.no, *at) => Some(Step::Refuse(why.clone())),
            Self::Failed(failed) if failed.within(now, failed.wait) => {
                Some(Step::Fail(failed.trouble))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        early: Duration::from_secs(20),
        yes: Duration::from_secs(30),
        hold: Duration::from_mins(5),
        no: Duration::from_secs(10),
    };

    fn at(boot: u64, wall: u64) -> Moment {
        Moment {
            boot: Duration::from_secs(boot),
            wall: Duration::from_secs(1_000 + wall),
        }
    }

    fn yes(until: u64, failed: Option<Failed>) -> Yes<u8> {
        Yes {
            value: 7,
            at: at(0, 0),
            until: at(0, until).wall,
            early: TERMS.early(0.5),
            failed,
        }
    }

    fn step(yes: &Yes<u8>, boot: u64, wall: u64) -> Option<Step<u8, ()>> {
        yes.step(at(boot, wall), &TERMS)
    }

    #[test]
    fn a_yes_is_served_then_asked_again_then_worth_nothing() {
        let yes = yes(10_000, None);
        for (seconds, expected) in [
            (0, Some(Step::Serve(7))),
            (22, Some(Step::Serve(7))),
            (23, Some(Step::ServeAndAsk(7))),
            (29, Some(Step::ServeAndAsk(7))),
            (30, Some(Step::Ask)),
            (299, Some(Step::Ask)),
            (300, None),
        ] {
            assert_eq!(step(&yes, seconds, seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn a_yes_ends_with_its_token_and_with_a_clock_that_was_set() {
        let short = yes(20, None);
        assert_eq!(step(&short, 19, 19), Some(Step::Serve(7)));
        assert_eq!(step(&short, 20, 20), None);
        let yes = yes(10_000, None);
        assert_eq!(step(&yes, 10, 16), None);
        assert_eq!(step(&yes, 16, 10), None);
        assert_eq!(step(&yes, 28, 30), Some(Step::Ask), "the larger age");
        assert_eq!(step(&yes, 19, 21), Some(Step::Serve(7)));
    }

    #[test]
    fn after_a_try_without_an_answer_nobody_waits_and_the_next_try_does() {
        let failed = Failed::new(Trouble::Silent, at(100, 100), 0.5);
        let yes = yes(10_000, Some(failed));
        for (seconds, expected) in [
            (100, Some(Step::Serve(7))),
            (102, Some(Step::Serve(7))),
            (103, Some(Step::ServeAndAsk(7))),
            (109, Some(Step::ServeAndAsk(7))),
            // The API server may have recovered long ago: its word counts again.
            (110, Some(Step::Ask)),
            (300, None),
        ] {
            assert_eq!(step(&yes, seconds, seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn a_yes_does_not_stand_long_because_too_much_is_asked() {
        let failed = Failed::new(Trouble::Busy, at(29, 29), 0.0);
        let early = yes(10_000, Some(failed));
        for (seconds, expected) in [
            (30, Step::Serve(7)),
            (31, Step::ServeAndAsk(7)),
            (34, Step::ServeAndAsk(7)),
            (35, Step::Ask),
        ] {
            assert_eq!(step(&early, seconds, seconds), Some(expected), "{seconds}");
        }
        let stands = |trouble, seconds| early.stands(trouble, at(seconds, seconds), &TERMS);
        assert!(stands(Trouble::Busy, 34) && !stands(Trouble::Busy, 35));
        for outage in [Trouble::Silent, Trouble::Status(503)] {
            assert!(stands(outage, 299) && !stands(outage, 300), "{outage:?}");
        }
    }

    #[test]
    fn a_try_before_the_time_that_had_no_answer_is_not_repeated_at_once() {
        let failed = Failed::new(Trouble::Silent, at(23, 23), 0.0);
        let yes = yes(10_000, Some(failed));
        for (seconds, expected) in [
            (24, Step::Serve(7)),
            (25, Step::ServeAndAsk(7)),
            (32, Step::ServeAndAsk(7)),
            (33, Step::Ask),
        ] {
            assert_eq!(step(&yes, seconds, seconds), Some(expected), "{seconds}");
        }
    }

    #[test]
    fn what_was_allowed_together_is_not_asked_for_together() {
        for (jitter, early) in [(0.0, 20_000), (0.5, 22_500), (0.999, 24_995)] {
            assert_eq!(TERMS.early(jitter).as_millis(), early);
        }
    }

    #[test]
    fn a_no_and_a_failure_are_short() {
        let no = Other::No {
            why: "no",
            at: at(0, 0),
        };
        let failed = Other::Failed(Failed::new(Trouble::Busy, at(0, 0), 0.0));
        let step = |other: &Other<&'static str>, boot, wall| -> Option<Step<u8, _>> {
            other.step(at(boot, wall), &TERMS)
        };
        assert_eq!(step(&no, 9, 9), Some(Step::Refuse("no")));
        assert_eq!(step(&no, 10, 10), None);
        assert_eq!(step(&no, 9, 0), None);
        assert_eq!(step(&failed, 1, 1), Some(Step::Fail(Trouble::Busy)));
        assert_eq!(step(&failed, 2, 2), None);
    }

    #[test]
    fn the_wait_is_jittered() {
        for (jitter, wait) in [(0.0, 2_000), (0.5, 3_000), (0.999, 3_998)] {
            let failed = Failed::new(Trouble::Silent, at(0, 0), jitter);
            assert_eq!(failed.wait.as_millis(), wait);
        }
    }
}
