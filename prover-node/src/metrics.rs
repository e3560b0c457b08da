//! Metrics of the prover node.

use rollmill_service::prometheus::{
    self, Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, Registry,
};

use crate::pipeline::Finished;

/// See the help texts.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub epochs: IntCounter,
    pub failures: IntCounter,
    pub unproven: IntGauge,
    pub epoch_seconds: Histogram,
    proving_seconds: HistogramVec,
}

impl Metrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.25, 2.0, 14)?;
        let this = Self {
            epochs: IntCounter::new(
                "rollmill_prover_node_epochs_proven_total",
                "Ranges whose proof L1 accepted",
            )?,
            failures: IntCounter::new(
                "rollmill_prover_node_failures_total",
                "Turns that ended with an error",
            )?,
            unproven: IntGauge::new(
                "rollmill_prover_node_unproven_blocks",
                "Blocks of the open epoch that are not proven",
            )?,
            epoch_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "rollmill_prover_node_range_seconds",
                    "Seconds from the start of a range to its root proof",
                )
                .buckets(buckets.clone()),
            )?,
            proving_seconds: HistogramVec::new(
                HistogramOpts::new(
                    "rollmill_prover_node_job_proving_seconds",
                    "Seconds agents spent on proofs, by circuit",
                )
                .buckets(buckets),
                &["circuit"],
            )?,
        };
        registry.register(Box::new(this.epochs.clone()))?;
        registry.register(Box::new(this.failures.clone()))?;
        registry.register(Box::new(this.unproven.clone()))?;
        registry.register(Box::new(this.epoch_seconds.clone()))?;
        registry.register(Box::new(this.proving_seconds.clone()))?;
        Ok(this)
    }

    /// Takes in a finished job.
    pub fn finished(&self, job: &Finished) {
        let seconds = job.view.stats.as_ref().and_then(|s| s.get("proving_seconds")?.as_f64());
        if let Some(seconds) = seconds {
            self.proving_seconds.with_label_values(&[job.circuit]).observe(seconds);
        }
    }
}
