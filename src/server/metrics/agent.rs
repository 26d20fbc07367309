//! The metrics of the agent API.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Error, HistogramVec, IntCounterVec, IntGauge};

use super::register::Register;
use crate::server::agent::Operation;

#[derive(Debug)]
pub struct Agent {
    requests: IntCounterVec,
    seconds: HistogramVec,
    keys_held: IntGauge,
    guests: IntGauge,
    certificate_expiry: IntGauge,
    certificate_fault: IntGauge,
}

impl Agent {
    pub fn new(register: &Register) -> Result<Self, Error> {
        Ok(Self {
            requests: register.counters(
                "agent_requests_total",
                "Calls of the agent API, by operation and outcome (ok, or the type of the error).",
                &["operation", "outcome"],
            )?,
            seconds: register.histograms(
                "agent_request_duration_seconds",
                "How long a call of the agent API took.",
                "operation",
                &[
                    0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5, 10.0,
                ],
            )?,
            keys_held: register.gauge(
                "keys_held",
                "Tenants whose master keys this replica holds in the clear, on a fresh proof.",
            )?,
            guests: register.gauge(
                "guests",
                "Tenants that this replica proves because they are used here, without holding them.",
            )?,
            certificate_expiry: register.gauge(
                "agent_certificate_expiry_timestamp_seconds",
                "When the certificate of the agent API ends, in Unix time (0: there is none).",
            )?,
            certificate_fault: register.gauge(
                "agent_certificate_fault",
                "1 when something keeps the certificate of the agent API from being renewed.",
            )?,
        })
    }

    pub fn request(&self, operation: Operation, outcome: &str, took: Duration) {
        self.requests
            .with_label_values(&[operation.name(), outcome])
            .inc();
        self.seconds
            .with_label_values(&[operation.name()])
            .observe(took.as_secs_f64());
    }

    pub fn set_keys(&self, held: usize, guests: usize) {
        self.keys_held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.guests.set(i64::try_from(guests).unwrap_or(i64::MAX));
    }

    pub fn set_certificate(&self, until: Option<Timestamp>, fault: bool) {
        self.certificate_expiry
            .set(until.map_or(0, Timestamp::as_second));
        self.certificate_fault.set(i64::from(fault));
    }
}
