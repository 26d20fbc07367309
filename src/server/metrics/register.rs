//! Makes metrics; what is made is served.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Error, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Before every name.
const PREFIX: &str = "tenantkms";

#[derive(Debug, Default)]
pub struct Register(Registry);

impl Register {
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.0.gather()
    }

    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.keep(IntCounter::with_opts(options(name, help))?)
    }

    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, Error> {
        self.keep(IntCounterVec::new(options(name, help), labels)?)
    }

    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.keep(IntGauge::with_opts(options(name, help))?)
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.keep(IntGaugeVec::new(options(name, help), labels)?)
    }

    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> Result<HistogramVec, Error> {
        let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
        self.keep(HistogramVec::new(options, &[label])?)
    }

    fn keep<M: Collector + Clone + 'static>(&self, made: M) -> Result<M, Error> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(PREFIX)
}
