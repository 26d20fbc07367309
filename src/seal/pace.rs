//! How long everything waits. Only arithmetic: jitter comes in from outside, and a jitter that is
//! no number between 0 and 1 must never panic.

use std::time::Duration;

use super::Timing;

/// How long an attempt may wait for its answer.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// How long a confirmation may stay without an answer before the denial counts.
pub(super) const CONFIRMATION: Duration = Duration::from_secs(5);
/// The time the last attempt before the proof expires is given.
const LAST_TRY: Duration = Duration::from_secs(5);
const SEALED: Duration = Duration::from_secs(30);

/// This many unseals within [`FLAP_WINDOW`] make a tenant flapping.
pub(super) const FLAPS: usize = 3;
pub(super) const FLAP_WINDOW: Duration = Duration::from_mins(10);

/// A timing that leaves two checks per proof, whatever was asked for.
pub(super) fn sane(timing: Timing) -> Timing {
    Timing {
        interval: timing.interval.min(timing.proof_ttl / 2),
        ..timing
    }
}

/// From the start of a successful attempt to the next: 90 to 100 % of the interval.
pub(super) fn check(timing: Timing, jitter: f64) -> Duration {
    spread(timing.interval, 0.9, 1.0, jitter)
}

/// From an inconclusive answer to the next attempt: 2, 4, 8… seconds, or as long as the cloud
/// asked for, never beyond the interval. `left` is what remains of the TTL: it never passes
/// without a last try.
pub(super) fn retry(
    timing: Timing,
    failures: u32,
    asked: Option<Duration>,
    left: Option<Duration>,
    jitter: f64,
) -> Duration {
    let growing = Duration::from_secs(1 << failures.clamp(1, 16));
    let wait = spread(growing, 0.9, 1.1, jitter)
        .max(asked.unwrap_or_default())
        .min(timing.interval);
    match left.and_then(|left| left.checked_sub(LAST_TRY)) {
        Some(last_try) if !last_try.is_zero() => wait.min(last_try),
        _ => wait,
    }
}

/// From a denial, or from an inconclusive confirmation, to the next confirmation.
pub(super) fn confirm(jitter: f64) -> Duration {
    spread(Duration::from_secs(1), 0.9, 1.1, jitter)
}

/// From the start of an attempt while sealed to the next.
pub(super) fn sealed(jitter: f64) -> Duration {
    spread(SEALED, 0.9, 1.0, jitter)
}

/// From the first success of a flapping tenant to the second try.
pub(super) fn second_success(jitter: f64) -> Duration {
    spread(Duration::from_secs(1), 1.0, 2.0, jitter)
}

fn spread(around: Duration, low: f64, high: f64, jitter: f64) -> Duration {
    let jitter = if jitter.is_nan() {
        0.5
    } else {
        jitter.clamp(0.0, 1.0)
    };
    around.mul_f64(low + (high - low) * jitter)
}
