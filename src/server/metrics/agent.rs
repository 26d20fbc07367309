//! The metrics of the agent API.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Error, Histogram, IntCounter, IntCounterVec, IntGauge};

use super::register::Register;
use crate::server::agent::Operation;
use crate::server::agent::error::Kind;

/// What nearly every call of one operation touches, looked up once.
#[derive(Debug)]
struct Served {
    ok: IntCounter,
    seconds: Histogram,
}

#[derive(Debug)]
pub struct Agent {
    requests: IntCounterVec,
    /// In the order of the operations.
    served: [Served; Operation::ALL.len()],
    keys_held: IntGauge,
    guests: IntGauge,
    certificate_expiry: IntGauge,
    certificate_fault: IntGauge,
}

impl Agent {
    pub fn new(register: &Register) -> Result<Self, Error> {
        let requests = register.counters(
            "agent_requests_total",
            "Calls of the agent API, by operation and outcome (ok, or the type of the error).",
            &["operation", "outcome"],
        )?;
        let seconds = register.histograms(
            "agent_request_duration_seconds",
            "How long a call of the agent API took.",
            "operation",
            &[
                0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5, 10.0,
            ],
        )?;
        Ok(Self {
            served: Operation::ALL.map(|operation| Served {
                ok: requests.with_label_values(&[operation.name(), "ok"]),
                seconds: seconds.with_label_values(&[operation.name()]),
            }),
            requests,
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

    pub fn request(&self, operation: Operation, refused: Option<Kind>, took: Duration) {
        let served = &self.served[operation as usize];
        match refused {
            None => served.ok.inc(),
            Some(kind) => {
                let labels = [operation.name(), kind.name()];
                self.requests.with_label_values(&labels).inc();
            }
        }
        served.seconds.observe(took.as_secs_f64());
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
