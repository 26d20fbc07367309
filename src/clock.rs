//! Time as the promises need it: two clocks read together, injected everywhere.
//! Nothing in a decision may read a clock by itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far the two clocks may drift apart before a proof is worthless.
pub const TOLERATED_SKEW: Duration = Duration::from_secs(5);

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// `CLOCK_BOOTTIME`: monotonic, and counts while the machine is suspended.
    pub boot: Duration,
    /// Wall clock, since the Unix epoch.
    pub wall: Duration,
}

impl Moment {
    /// The time from `earlier` to `self`: the larger of both clocks, so that neither a suspended
    /// machine nor a clock set back makes anything look younger than it is.
    pub fn since(self, earlier: Moment) -> Duration {
        let boot = self.boot.saturating_sub(earlier.boot);
        let wall = self.wall.saturating_sub(earlier.wall);
        boot.max(wall)
    }

    /// Whether both clocks tell the same story about the time since `earlier`.
    pub fn agrees_with(self, earlier: Moment) -> bool {
        let boot = self.boot.as_millis().cast_signed() - earlier.boot.as_millis().cast_signed();
        let wall = self.wall.as_millis().cast_signed() - earlier.wall.as_millis().cast_signed();
        (boot - wall).unsigned_abs() <= TOLERATED_SKEW.as_millis()
    }

    /// Whether less than `span` has passed since `earlier`. A clock that was set makes every age doubtful.
    pub fn is_within(self, span: Duration, earlier: Moment) -> bool {
        self.agrees_with(earlier) && self.since(earlier) < span
    }

    /// The moment `by` later on both clocks.
    #[must_use]
    pub fn after(self, by: Duration) -> Moment {
        Moment {
            boot: self.boot + by,
            wall: self.wall + by,
        }
    }

    /// The wall clock as the API writes it, in whole seconds.
    pub fn timestamp(self) -> jiff::Timestamp {
        let seconds = i64::try_from(self.wall.as_secs()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX)
    }
}

/// Where a decision's `now` comes from.
pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Moment {
            boot: Duration::new(
                u64::try_from(boot.tv_sec).unwrap_or_default(),
                u32::try_from(boot.tv_nsec).unwrap_or_default(),
            ),
            wall: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A clock moved by hand: what has passed on each clock.
    #[derive(Debug, Default)]
    pub struct Hand(Mutex<(Duration, Duration)>);

    impl Hand {
        pub fn forward(&self, by: Duration) {
            let mut passed = self.0.lock().expect("lock");
            *passed = (passed.0 + by, passed.1 + by);
        }

        /// Sets the wall clock forward and leaves the other.
        pub fn set_forward(&self, by: Duration) {
            self.0.lock().expect("lock").1 += by;
        }

        /// Sets the wall clock back, by no more than has passed, and leaves the other.
        pub fn set_back(&self, by: Duration) {
            self.0.lock().expect("lock").1 -= by;
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Moment {
            let (boot, wall) = *self.0.lock().expect("lock");
            Moment {
                boot,
                wall: Duration::from_secs(1_000) + wall,
            }
        }
    }

    fn at(boot: u64, wall: u64) -> Moment {
        Moment {
            boot: Duration::from_secs(boot),
            wall: Duration::from_secs(wall),
        }
    }

    #[test]
    fn age_is_the_larger_of_both_clocks() {
        assert_eq!(at(130, 1_010).since(at(100, 1_000)).as_secs(), 30);
        assert_eq!(at(110, 1_090).since(at(100, 1_000)).as_secs(), 90);
        assert_eq!(at(110, 900).since(at(100, 1_000)).as_secs(), 10);
    }

    #[test]
    fn a_clock_set_forward_or_back_disagrees() {
        assert!(at(110, 1_015).agrees_with(at(100, 1_000)));
        assert!(!at(110, 1_016).agrees_with(at(100, 1_000)));
        assert!(!at(110, 1_004).agrees_with(at(100, 1_000)));
    }
}
