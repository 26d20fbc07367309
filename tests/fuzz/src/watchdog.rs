//! What never returns cannot be judged after its return: a thread beside it looks on.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Work {
    input: Vec<u8>,
    /// What the process had worked when it began.
    begun: Duration,
}

type Shared = Mutex<Option<Work>>;

/// Looks at one input at a time.
#[derive(Debug)]
pub struct Watchdog(Arc<Shared>);

impl Watchdog {
    /// Calls `stuck` with an input that has kept the process busy for longer than `limit`.
    pub fn start(limit: Duration, stuck: impl FnOnce(Vec<u8>) + Send + 'static) -> Self {
        let shared: Arc<Shared> = Arc::default();
        let watched = Arc::downgrade(&shared);
        thread::spawn(move || {
            if let Some(input) = look(&watched, limit) {
                stuck(input);
            }
        });
        Self(shared)
    }

    pub fn watch<T>(&self, input: &[u8], work: impl FnOnce() -> T) -> T {
        *lock(&self.0) = Some(Work {
            input: input.to_vec(),
            begun: worked(),
        });
        let outcome = work();
        *lock(&self.0) = None;
        outcome
    }
}

/// The input that takes too long; none when nobody is watched any more.
fn look(watched: &Weak<Shared>, limit: Duration) -> Option<Vec<u8>> {
    loop {
        thread::sleep(EVERY);
        let shared = watched.upgrade()?;
        let mut work = lock(&shared);
        if let Some(work) = work.as_mut()
            && worked().saturating_sub(work.begun) > limit
        {
            return Some(mem::take(&mut work.input));
        }
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Option<Work>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What this process has worked so far: on a busy machine time says nothing.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_never_ends_is_told_with_its_input_and_many_that_do_are_not() {
        let (tell, told) = mpsc::channel();
        let limit = Duration::from_millis(300);
        let dog = Watchdog::start(limit, move |input| tell.send(input).expect("heard"));
        for _ in 0..20 {
            let until = worked() + limit / 10;
            dog.watch(b"quick", || while worked() < until {});
        }
        let begun = Instant::now();
        let input = dog.watch(b"endless", || {
            loop {
                assert!(begun.elapsed() < Duration::from_mins(1), "never told");
                if let Ok(input) = told.try_recv() {
                    return input;
                }
            }
        });
        assert_eq!(input, b"endless");
    }
}
