//! A sign of life during long steps. It must never be captured by the test
//! runner: a person waiting is who it is for.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Runs `work`, printing `what` and the seconds so far to stderr every 9 s.
pub(crate) fn with<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (running, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let start = Instant::now();
            let period = Duration::from_secs(9);
            while ended.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                say(&format!("{what} ({} s)", start.elapsed().as_secs()));
            }
        });
        let result = work();
        drop(running);
        result
    })
}

/// Writes a line to the process's own stderr, past the test runner's capture.
pub fn say(line: &str) {
    // A closed stderr is no reason to fail what is being reported on.
    let _ = writeln!(io::stderr(), "{line}");
}
