//! The result of a measurement: one line of JSON.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::run::Measured;

/// What was measured, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Metrics(pub(crate) BTreeMap<String, f64>);

impl Metrics {
    /// Work, and the CPU time it took.
    pub(crate) fn of_load(measured: &Measured) -> Self {
        let done = measured.done as f64;
        Self::default()
            .with("per_cpu_second", done / measured.cpu_seconds.max(0.01))
            .with("per_second", done / measured.seconds)
            .with("cpu_share", measured.cpu_seconds / measured.seconds)
    }

    /// Adds one.
    pub(crate) fn with(mut self, name: &str, value: f64) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// Adds a histogram of nanoseconds, in microseconds.
    pub(crate) fn with_latencies(self, latencies: &Histogram<u64>) -> Self {
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        self.with("p50_us", at(0.5)).with("p99_us", at(0.99)).with("p999_us", at(0.999))
    }
}

/// One line of the results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) round: u32,
    pub(crate) work: String,
    pub(crate) shape: String,
    pub(crate) system: String,
    pub(crate) metrics: Metrics,
}
