//! The metrics of attempts to prove a key.

use std::time::Instant;

use prometheus::{Error, HistogramVec, IntCounterVec, IntGauge};

use super::register::Register;
use crate::api::{ProviderKind, Reason};
use crate::provider::Failure;

#[derive(Debug)]
pub struct Attempts {
    total: IntCounterVec,
    seconds: HistogramVec,
    open: IntGauge,
}

impl Attempts {
    pub fn new(register: &Register) -> Result<Self, Error> {
        Ok(Self {
            total: register.counters(
                "attempts_total",
                "Attempts to prove a key, by provider and reason (Verified: it worked).",
                &["provider", "reason"],
            )?,
            seconds: register.histograms(
                "attempt_duration_seconds",
                "How long an attempt took, token included.",
                "provider",
                &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
            )?,
            open: register.gauge("open_attempts", "Attempts under way.")?,
        })
    }

    pub fn started(&self, provider: ProviderKind) -> AttemptTimer<'_> {
        self.open.inc();
        AttemptTimer {
            attempts: self,
            provider,
            started: Instant::now(),
        }
    }
}

/// Measures one attempt; an attempt that is abandoned is only no longer open.
#[derive(Debug)]
pub struct AttemptTimer<'a> {
    attempts: &'a Attempts,
    provider: ProviderKind,
    started: Instant,
}

impl AttemptTimer<'_> {
    pub fn ended(self, failure: Option<&Failure>) {
        let reason = failure.map_or(Reason::Verified, |failure| failure.reason);
        let provider = self.provider.name();
        self.attempts
            .total
            .with_label_values(&[provider, reason.name()])
            .inc();
        self.attempts
            .seconds
            .with_label_values(&[provider])
            .observe(self.started.elapsed().as_secs_f64());
    }
}

impl Drop for AttemptTimer<'_> {
    fn drop(&mut self) {
        self.attempts.open.dec();
    }
}
