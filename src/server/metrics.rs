//! Prometheus metrics. Labels are closed sets (providers, reasons, phases, outcomes); the one
//! exception is the proof time of each tenant, bounded by the objects that exist.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::api::{Phase, ProviderKind, Reason, TenantKmsStatus};
use crate::controller::context::lock;
use crate::controller::outcome::Outcome;
use crate::provider::{Failure, TenantId};
use crate::seal::{Seal, Transition};
use crate::server::agent::Operation;

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    attempts: IntCounterVec,
    attempt_seconds: HistogramVec,
    open_attempts: IntGauge,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    tenants: IntGaugeVec,
    transitions: IntCounterVec,
    proof: GaugeVec,
    status_writes: IntCounter,
    events_dropped: IntCounter,
    holder: IntGauge,
    policy_invalid: IntGauge,
    agent_requests: IntCounterVec,
    agent_seconds: HistogramVec,
    keys_held: IntGauge,
    guests: IntGauge,
    phases: Mutex<HashMap<TenantId, Phase>>,
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("tenantkms".to_owned()), None)?;
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let plain = |name: &str, help: &str| {
            let made = IntCounter::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let gauge = |name: &str, help: &str| {
            let made = IntGauge::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let histogram = |name: &str, help: &str, label: &str, buckets: Vec<f64>| {
            let made =
                HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &[label])?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let tenants = IntGaugeVec::new(Opts::new("tenants", "Tenants by phase."), &["phase"])?;
        registry.register(Box::new(tenants.clone()))?;
        let proof = GaugeVec::new(
            Opts::new(
                "last_proof_timestamp_seconds",
                "When the newest proof of a tenant was begun, in Unix time.",
            ),
            &["namespace", "name"],
        )?;
        registry.register(Box::new(proof.clone()))?;
        let metrics = Self {
            attempts: counter(
                "attempts_total",
                "Attempts to prove a key, by provider and reason (Verified: it worked).",
                &["provider", "reason"],
            )?,
            attempt_seconds: histogram(
                "attempt_duration_seconds",
                "How long an attempt took, token included.",
                "provider",
                vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
            )?,
            open_attempts: gauge("open_attempts", "Attempts under way.")?,
            reconciles: counter(
                "reconciles_total",
                "Looks at a tenant, by outcome.",
                &["outcome"],
            )?,
            reconcile_seconds: histogram(
                "reconcile_duration_seconds",
                "How long a look at a tenant took, writes included.",
                "outcome",
                vec![0.0001, 0.001, 0.01, 0.1, 1.0, 10.0],
            )?,
            transitions: counter(
                "transitions_total",
                "Changes of a tenant's state, by kind and reason.",
                &["transition", "reason"],
            )?,
            status_writes: plain("status_writes_total", "Status writes the API server took.")?,
            events_dropped: plain("events_dropped_total", "Events not written.")?,
            holder: gauge("holder", "1 when this replica holds the shard.")?,
            policy_invalid: gauge(
                "policy_invalid",
                "1 when the configuration file is refused and the previous one is in force.",
            )?,
            agent_requests: counter(
                "agent_requests_total",
                "Calls of the agent API, by operation and outcome (ok, or the type of the error).",
                &["operation", "outcome"],
            )?,
            agent_seconds: histogram(
                "agent_request_duration_seconds",
                "How long a call of the agent API took.",
                "operation",
                vec![
                    0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5, 10.0,
                ],
            )?,
            keys_held: gauge(
                "keys_held",
                "Tenants whose master keys this replica holds in the clear, on a fresh proof.",
            )?,
            guests: gauge(
                "guests",
                "Tenants that this replica proves because they are used here, without holding them.",
            )?,
            tenants,
            proof,
            phases: Mutex::default(),
            registry,
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
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        String::from_utf8(out).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    pub fn attempt_started(&self, provider: ProviderKind) -> AttemptTimer<'_> {
        self.open_attempts.inc();
        AttemptTimer {
            metrics: self,
            provider,
            started: Instant::now(),
        }
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
        if let Some(proof) = seal.and_then(Seal::proof) {
            self.proof
                .with_label_values(&[id.namespace.as_str(), id.name.as_str()])
                .set(proof.wall.as_secs_f64());
        }
    }

    pub fn forget(&self, id: &TenantId) {
        let before = lock(&self.phases).remove(id);
        self.count(before, None);
        // Not there when the tenant was never proved.
        let _ = self
            .proof
            .remove_label_values(&[id.namespace.as_str(), id.name.as_str()]);
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

    pub fn agent_request(&self, operation: Operation, outcome: &str, took: Duration) {
        self.agent_requests
            .with_label_values(&[operation.name(), outcome])
            .inc();
        self.agent_seconds
            .with_label_values(&[operation.name()])
            .observe(took.as_secs_f64());
    }

    pub fn set_keys(&self, held: usize, guests: usize) {
        self.keys_held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.guests.set(i64::try_from(guests).unwrap_or(i64::MAX));
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

/// Measures one attempt; an attempt that is abandoned is only no longer open.
#[derive(Debug)]
pub struct AttemptTimer<'a> {
    metrics: &'a Metrics,
    provider: ProviderKind,
    started: Instant,
}

impl AttemptTimer<'_> {
    pub fn ended(self, failure: Option<&Failure>) {
        let reason = failure.map_or(Reason::Verified, |failure| failure.reason);
        let provider = self.provider.name();
        self.metrics
            .attempts
            .with_label_values(&[provider, reason.name()])
            .inc();
        self.metrics
            .attempt_seconds
            .with_label_values(&[provider])
            .observe(self.started.elapsed().as_secs_f64());
    }
}

impl Drop for AttemptTimer<'_> {
    fn drop(&mut self) {
        self.metrics.open_attempts.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        metrics.agent_request(Operation::Encrypt, "ok", Duration::ZERO);
        let id = TenantId::new("tenants", "acme");
        let labels = [id.namespace.as_str(), id.name.as_str()];
        metrics.proof.with_label_values(&labels).set(1.0);
        let text = metrics.text().expect("text");
        let page = include_str!("../../docs/metrics.md");
        let served: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
            .collect();
        assert_eq!(served.len(), 16);
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
}
