//! Prometheus metrics. Labels are closed sets (providers, reasons, phases, outcomes); the one
//! exception is the proof time of each tenant, bounded by the objects that exist.

mod agent;
mod attempts;
mod proofs;
mod register;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use prometheus::{
    Encoder, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder,
};

use crate::api::{Phase, ProviderKind, Reason, TenantKmsStatus};
use crate::controller::outcome::Outcome;
use crate::lock::lock;
use crate::provider::TenantId;
use crate::seal::{Seal, Transition};
use crate::server::agent::Operation;
use crate::server::agent::error::Kind;

use agent::Agent;
pub use attempts::AttemptTimer;
use attempts::Attempts;
use proofs::Proofs;
use register::Register;

#[derive(Debug)]
pub struct Metrics {
    register: Register,
    attempts: Attempts,
    agent: Agent,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    tenants: IntGaugeVec,
    transitions: IntCounterVec,
    proofs: Proofs,
    status_writes: IntCounter,
    events_dropped: IntCounter,
    holder: IntGauge,
    policy_invalid: IntGauge,
    phases: Mutex<HashMap<TenantId, Phase>>,
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let register = Register::default();
        let metrics = Self {
            attempts: Attempts::new(&register)?,
            agent: Agent::new(&register)?,
            reconciles: register.counters(
                "reconciles_total",
                "Looks at a tenant, by outcome.",
                &["outcome"],
            )?,
            reconcile_seconds: register.histograms(
                "reconcile_duration_seconds",
                "How long a look at a tenant took, writes included.",
                "outcome",
                &[0.0001, 0.001, 0.01, 0.1, 1.0, 10.0],
            )?,
            tenants: register.gauges("tenants", "Tenants by phase.", &["phase"])?,
            transitions: register.counters(
                "transitions_total",
                "Changes of a tenant's state, by kind and reason.",
                &["transition", "reason"],
            )?,
            proofs: Proofs::default(),
            status_writes: register
                .counter("status_writes_total", "Status writes the API server took.")?,
            events_dropped: register.counter("events_dropped_total", "Events not written.")?,
            holder: register.gauge("holder", "1 when this replica holds the shard.")?,
            policy_invalid: register.gauge(
                "policy_invalid",
                "1 when the configuration file is refused and the previous one is in force.",
            )?,
            phases: Mutex::default(),
            register,
        };
        for phase in Phase::ALL {
            metrics.tenants.with_label_values(&[phase.name()]).set(0);
        }
        for outcome in Outcome::ALL {
            metrics
                .reconciles
                .with_label_values(&[outcome.name()])
                .inc_by(0);
        }
        Ok(metrics)
    }

    /// The text exposition format.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.register.gather(), &mut out)?;
        let message = |error: &dyn std::error::Error| prometheus::Error::Msg(error.to_string());
        let mut text = String::from_utf8(out).map_err(|error| message(&error))?;
        self.proofs
            .write(&mut text)
            .map_err(|error| message(&error))?;
        Ok(text)
    }

    pub fn attempt_started(&self, provider: ProviderKind) -> AttemptTimer<'_> {
        self.attempts.started(provider)
    }

    pub fn reconciled(&self, outcome: Outcome, took: Duration) {
        let label = [outcome.name()];
        self.reconciles.with_label_values(&label).inc();
        self.reconcile_seconds
            .with_label_values(&label)
            .observe(took.as_secs_f64());
    }

    pub fn transition(&self, transition: Transition, reason: Option<Reason>) {
        let kind = match transition {
            Transition::Activated => "activated",
            Transition::Unsealed => "unsealed",
            Transition::Doubted => "doubted",
            Transition::Sealed(_) => "sealed",
        };
        let reason = reason.unwrap_or(Reason::Verified).name();
        self.transitions.with_label_values(&[kind, reason]).inc();
    }

    /// Counts the tenant under its phase and tells when it was proved.
    pub fn state(&self, id: &TenantId, status: &TenantKmsStatus, seal: Option<&Seal>) {
        if let Some(phase) = status.phase {
            let before = lock(&self.phases).insert(id.clone(), phase);
            self.count(before, Some(phase));
        }
        if status.phase == Some(Phase::Suspended) {
            // Nothing proves it, and that is meant.
            self.proofs.forget(id);
        } else if let Some(proof) = seal.and_then(Seal::proof) {
            self.proofs.set(id, proof.wall);
        }
    }

    pub fn forget(&self, id: &TenantId) {
        let before = lock(&self.phases).remove(id);
        self.count(before, None);
        self.proofs.forget(id);
    }

    fn count(&self, before: Option<Phase>, after: Option<Phase>) {
        if before == after {
            return;
        }
        if let Some(phase) = before {
            self.tenants.with_label_values(&[phase.name()]).dec();
        }
        if let Some(phase) = after {
            self.tenants.with_label_values(&[phase.name()]).inc();
        }
    }

    pub fn agent_request(&self, operation: Operation, refused: Option<Kind>, took: Duration) {
        self.agent.request(operation, refused, took);
    }

    pub fn set_keys(&self, held: usize, guests: usize) {
        self.agent.set_keys(held, guests);
    }

    /// The certificate of the agent API: when it ends, and whether something keeps it from being renewed.
    pub fn set_certificate(&self, until: Option<Timestamp>, fault: bool) {
        self.agent.set_certificate(until, fault);
    }

    pub fn status_written(&self) {
        self.status_writes.inc();
    }

    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub fn set_holder(&self, holder: bool) {
        self.holder.set(i64::from(holder));
    }

    pub fn set_policy_invalid(&self, invalid: bool) {
        self.policy_invalid.set(i64::from(invalid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Failure;
    use crate::seal::Cause;

    #[test]
    fn every_metric_is_documented_and_no_other() {
        let metrics = Metrics::new().expect("valid metrics");
        let unreachable = Failure::transient(Reason::Unreachable, "?");
        metrics
            .attempt_started(ProviderKind::Azure)
            .ended(Some(&unreachable));
        metrics.reconciled(Outcome::Steady, Duration::ZERO);
        metrics.transition(Transition::Sealed(Cause::Outage), Some(Reason::Unreachable));
        metrics.agent_request(Operation::Encrypt, None, Duration::ZERO);
        let id = TenantId::new("tenants", "acme");
        metrics.proofs.set(&id, Duration::from_secs(1));
        let text = metrics.text().expect("text");
        let page = include_str!("../../docs/metrics.md");
        let served: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
            .collect();
        assert_eq!(served.len(), 18);
        for name in &served {
            assert!(
                page.contains(&format!("| `{name}` |")),
                "{name} is not in docs/metrics.md"
            );
        }
        let rows = page
            .lines()
            .filter(|line| line.starts_with("| `tenantkms_"));
        assert_eq!(rows.count(), served.len(), "docs/metrics.md has more");
    }

    #[test]
    fn a_tenant_that_is_gone_is_counted_no_more() {
        let metrics = Metrics::new().expect("valid metrics");
        let id = TenantId::new("tenants", "acme");
        let status = TenantKmsStatus {
            phase: Some(Phase::Active),
            ..TenantKmsStatus::default()
        };
        metrics.state(&id, &status, None);
        metrics.state(&id, &status, None);
        assert_eq!(metrics.tenants.with_label_values(&["Active"]).get(), 1);
        metrics.forget(&id);
        assert_eq!(metrics.tenants.with_label_values(&["Active"]).get(), 0);
    }

    #[test]
    fn a_suspended_tenant_has_no_proof_that_grows_old() {
        let metrics = Metrics::new().expect("valid metrics");
        let id = TenantId::new("tenants", "acme");
        metrics.proofs.set(&id, Duration::from_secs(1));
        let of = |phase| TenantKmsStatus {
            phase: Some(phase),
            ..TenantKmsStatus::default()
        };
        let told = || metrics.text().expect("text").contains("name=\"acme\"");
        metrics.state(&id, &of(Phase::Sealed), None);
        assert!(told());
        metrics.state(&id, &of(Phase::Suspended), None);
        assert!(!told());
    }
}
