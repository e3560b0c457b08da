//! Metrics of the prover node.

use rollmill_protocol::Circuit;
use rollmill_service::prometheus::{
    self, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use crate::ranges::State;

/// Outcomes of an attempt to submit a proof, as `rollmill_prover_node_submissions_total` counts them.
pub const SUBMISSIONS: [&str; 5] = ["sent", "refused", "unavailable", "included", "reverted"];

/// See the help texts. Every series exists from the start.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub epochs: IntCounter,
    pub missed: IntCounter,
    pub failures: IntCounter,
    pub unproven: IntGauge,
    pub epoch_seconds: Histogram,
    pub ranges: IntGaugeVec,
    pub deadline_seconds: Gauge,
    pub lease_held: IntGauge,
    pub lease_fence: IntGauge,
    pub submissions: IntCounterVec,
    pub jobs_open: IntGauge,
    pub jobs_dead: IntCounter,
    pub inputs_wanted: IntCounter,
    pub results_lost: IntCounter,
    pub results_rejected: IntCounter,
    pub(crate) proving_seconds: HistogramVec,
}

fn name(rest: &str) -> String {
    format!("rollmill_prover_node_{rest}")
}

impl Metrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.25, 2.0, 14)?;
        let counter = |rest: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let metric = IntCounter::new(name(rest), help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |rest: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let metric = IntGauge::new(name(rest), help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauges = |rest: &str, help: &str, label: &str, values: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name(rest), help), &[label])?;
            for value in values {
                metric.with_label_values(&[value]).set(0);
            }
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let deadline_seconds = Gauge::new(
            name("seconds_to_deadline"),
            "Seconds until the oldest unproven epoch can no longer be proven; NaN while all are proven",
        )?;
        let epoch_seconds = Histogram::with_opts(
            HistogramOpts::new(
                name("range_seconds"),
                "Seconds from the start of a range to its root proof, in this process",
            )
            .buckets(buckets.clone()),
        )?;
        let proving_seconds = HistogramVec::new(
            HistogramOpts::new(
                name("job_proving_seconds"),
                "Seconds agents spent on proofs, by circuit",
            )
            .buckets(buckets),
            &["circuit"],
        )?;
        for circuit in Circuit::ALL.iter().filter(|circuit| **circuit != Circuit::Client) {
            let _ = proving_seconds.with_label_values(&[circuit.name()]);
        }
        let submissions = IntCounterVec::new(
            Opts::new(name("submissions_total"), "Attempts to submit a proof, by outcome"),
            &["outcome"],
        )?;
        for outcome in SUBMISSIONS {
            submissions.with_label_values(&[outcome]).inc_by(0);
        }
        deadline_seconds.set(f64::NAN);
        registry.register(Box::new(deadline_seconds.clone()))?;
        registry.register(Box::new(epoch_seconds.clone()))?;
        registry.register(Box::new(proving_seconds.clone()))?;
        registry.register(Box::new(submissions.clone()))?;
        Ok(Self {
            epochs: counter(
                "epochs_proven_total",
                "Ranges whose proof L1 included; one that a reorg drops counts again",
            )?,
            missed: counter(
                "epochs_missed_total",
                "Ranges whose window closed before anybody proved them",
            )?,
            failures: counter("failures_total", "Turns that ended with an error")?,
            unproven: gauge("unproven_blocks", "Blocks of the pending chain that are not proven")?,
            ranges: gauges("ranges", "Ranges by state", "state", &State::NAMES)?,
            lease_held: gauge(
                "submitter_lease_held",
                "1 while this process holds the submitter's lease and renewed it lately",
            )?,
            lease_fence: gauge("submitter_fence", "Fence of the submitter's lease last held")?,
            jobs_open: gauge("jobs_open", "Jobs enqueued and not finished")?,
            jobs_dead: counter(
                "jobs_dead_total",
                "Times a dead-lettered job was found and replayed",
            )?,
            inputs_wanted: counter(
                "inputs_wanted_total",
                "Times a job's input was missing or damaged at the broker and uploaded again",
            )?,
            results_lost: counter(
                "results_lost_total",
                "Times a finished job's result was missing or damaged at the broker",
            )?,
            results_rejected: counter(
                "results_rejected_total",
                "Results whose bytes failed verification",
            )?,
            deadline_seconds,
            epoch_seconds,
            submissions,
            proving_seconds,
        })
    }
}
