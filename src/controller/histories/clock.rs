//! The two clocks of a model, which only its events move, and its own dice: a history is the same
//! each time it is played.

use std::cell::Cell;
use std::sync::Mutex;
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::lock::lock;

#[derive(Debug)]
pub struct Hands {
    now: Mutex<Moment>,
    /// What passes with each look.
    step: Mutex<Duration>,
}

impl Hands {
    pub fn new() -> Self {
        Self {
            now: Mutex::new(Moment {
                boot: Duration::from_secs(1_000),
                wall: Duration::from_hours(500_000), // in January 2027
            }),
            step: Mutex::default(),
        }
    }

    /// From now on no two looks see the same moment.
    pub fn tick(&self) {
        *lock(&self.step) = Duration::from_nanos(1);
    }

    pub fn pass(&self, span: Duration) {
        let mut now = lock(&self.now);
        *now = now.after(span);
    }

    /// The wall clock is set.
    pub fn set(&self, seconds: i64) {
        let mut now = lock(&self.now);
        let by = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 {
            now.wall -= by;
        } else {
            now.wall += by;
        }
    }
}

impl Clock for Hands {
    fn now(&self) -> Moment {
        self.pass(*lock(&self.step));
        *lock(&self.now)
    }
}

/// `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let limit = u64::try_from(from.len()).expect("few");
        from[usize::try_from(self.below(limit)).expect("few")]
    }
}

thread_local! {
    static JITTER: Cell<u64> = const { Cell::new(0) };
}

/// Begins a history's jitters anew.
pub fn seed_jitter(seed: u64) {
    JITTER.set(seed);
}

/// What the product takes for chance.
pub fn jitter() -> f64 {
    let mut dice = Dice::new(JITTER.get());
    let drawn = dice.below(1_000);
    JITTER.set(dice.0);
    f64::from(u32::try_from(drawn).expect("small")) / 1_000.0
}

/// Where time passes only when everybody waits.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}
