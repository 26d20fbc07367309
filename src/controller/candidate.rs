//! A spec that is not in force yet: proved before it replaces the one that is. Pure.
//! Refusing a candidate never touches the spec in force.

use std::time::Duration;

use crate::api::TenantKmsSpec;
use crate::clock::Moment;
use crate::provider::{Failure, Kind};

const SOON: Duration = Duration::from_secs(30);
const LATER: Duration = Duration::from_mins(5);
/// Refusals tried again every 30 s; after these, every 5 min.
const SOON_TRIES: u32 = 10;

/// What is known of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first attempt has no answer yet.
    Open,
    /// Nobody can tell: an outage.
    Undecided(Failure),
    /// It does not work, and a person must act.
    Refused(Failure),
}

#[derive(Clone, Debug)]
pub struct Candidate {
    pub spec: TenantKmsSpec,
    pub generation: i64,
    verdict: Verdict,
    failures: u32,
    next: Moment,
}

impl Candidate {
    pub fn new(spec: TenantKmsSpec, generation: i64, now: Moment) -> Self {
        Self {
            spec,
            generation,
            verdict: Verdict::Open,
            failures: 0,
            next: now,
        }
    }

    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// When it should be tried (again).
    pub fn next(&self) -> Moment {
        self.next
    }

    /// Somebody asked: try now.
    pub fn request(&mut self, now: Moment) {
        self.next = now;
    }

    /// Takes a failed attempt. An outage after a refusal leaves the refusal standing.
    pub fn failed(&mut self, failure: Failure, now: Moment, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        let refused = matches!(self.verdict, Verdict::Refused(_));
        let pause = match failure.kind {
            Kind::Transient if !refused => {
                let doubled = Duration::from_secs(1 << self.failures.min(5)).min(SOON);
                failure
                    .retry_after
                    .map_or(doubled, |asked| asked.min(LATER).max(doubled))
            }
            _ if self.failures <= SOON_TRIES => SOON,
            _ => LATER,
        };
        self.next = now.after(pause.mul_f64(0.9 + 0.1 * jitter));
        match failure.kind {
            Kind::Transient if refused => {}
            Kind::Transient => self.verdict = Verdict::Undecided(failure),
            Kind::Denial | Kind::Misconfigured => self.verdict = Verdict::Refused(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ProviderKind, Reason};

    fn start() -> Moment {
        Moment {
            boot: Duration::from_secs(1_000),
            wall: Duration::from_secs(1_000_000),
        }
    }

    fn candidate() -> Candidate {
        Candidate::new(
            TenantKmsSpec::new(ProviderKind::Azure, "https://a.vault.azure.net/keys/k"),
            1,
            start(),
        )
    }

    #[test]
    fn a_refusal_is_tried_every_30_s_and_later_every_5_min() {
        let mut candidate = candidate();
        let mut pauses = Vec::new();
        let mut now = start();
        for _ in 0..12 {
            candidate.failed(Failure::denial(Reason::AccessDenied, "no"), now, 1.0);
            pauses.push(candidate.next().since(now).as_secs());
            now = candidate.next();
        }
        assert_eq!(pauses[..10], [30; 10]);
        assert_eq!(pauses[10..], [300; 2]);
        assert!(matches!(candidate.verdict(), Verdict::Refused(_)));
    }

    #[test]
    fn an_outage_backs_off_and_decides_nothing() {
        let mut candidate = candidate();
        let mut pauses = Vec::new();
        let mut now = start();
        for _ in 0..6 {
            candidate.failed(Failure::transient(Reason::Unreachable, "?"), now, 1.0);
            pauses.push(candidate.next().since(now).as_secs());
            now = candidate.next();
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30]);
        assert!(matches!(candidate.verdict(), Verdict::Undecided(_)));
    }

    #[test]
    fn an_outage_does_not_lift_a_refusal() {
        let mut candidate = candidate();
        candidate.failed(Failure::denial(Reason::AccessDenied, "no"), start(), 0.0);
        candidate.failed(Failure::transient(Reason::Unreachable, "?"), start(), 0.0);
        assert!(
            matches!(candidate.verdict(), Verdict::Refused(f) if f.reason == Reason::AccessDenied)
        );
    }
}
