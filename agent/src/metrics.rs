//! What the agent counts. Names begin with `rollmill_agent_`.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) jobs_total: IntCounterVec,
    pub(crate) proving_seconds: HistogramVec,
    pub(crate) witness_seconds: HistogramVec,
    pub(crate) busy: IntGauge,
    pub(crate) jobs_held: IntGauge,
    pub(crate) heartbeat_failures_total: IntCounter,
    pub(crate) keys_warmed_total: IntCounter,
    pub(crate) spool_bytes: IntGauge,
    pub(crate) spool_proofs: IntGauge,
}

impl Metrics {
    /// Every series of `kinds`, the job types of this agent, exists from the start, so that a rate over
    /// the first event of each can be computed.
    pub(crate) fn new<I: Iterator<Item = &'static str>>(
        registry: &Registry,
        kinds: &[String],
        outcomes: impl Fn() -> I,
    ) -> Result<Self, prometheus::Error> {
        const SECONDS: [f64; 10] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];
        let seconds = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
            HistogramVec::new(options, &["kind"])
        };
        let metrics = Self {
            jobs_total: IntCounterVec::new(
                Opts::new("rollmill_agent_jobs_total", "Jobs by type and how they ended"),
                &["kind", "outcome"],
            )?,
            proving_seconds: seconds("rollmill_agent_proving_seconds", "Proving, a job")?,
            witness_seconds: seconds(
                "rollmill_agent_witness_seconds",
                "Witness generation, a job",
            )?,
            busy: IntGauge::new("rollmill_agent_busy", "jobs on the device now")?,
            jobs_held: IntGauge::new(
                "rollmill_agent_jobs_held",
                "Jobs claimed and not ended: prepared, proven or reported",
            )?,
            heartbeat_failures_total: IntCounter::new(
                "rollmill_agent_heartbeat_failures_total",
                "Heartbeats not delivered",
            )?,
            keys_warmed_total: IntCounter::new(
                "rollmill_agent_keys_warmed_total",
                "Proving keys loaded before a job asked for them",
            )?,
            spool_bytes: IntGauge::new(
                "rollmill_agent_spool_bytes",
                "Bytes of verified proofs that no broker has taken yet",
            )?,
            spool_proofs: IntGauge::new(
                "rollmill_agent_spool_proofs",
                "Verified proofs that no broker has taken yet",
            )?,
        };
        for kind in kinds {
            for outcome in outcomes() {
                metrics.jobs_total.with_label_values(&[kind.as_str(), outcome]);
            }
            metrics.proving_seconds.with_label_values(&[kind]);
            metrics.witness_seconds.with_label_values(&[kind]);
        }
        registry.register(Box::new(metrics.jobs_total.clone()))?;
        registry.register(Box::new(metrics.proving_seconds.clone()))?;
        registry.register(Box::new(metrics.witness_seconds.clone()))?;
        registry.register(Box::new(metrics.busy.clone()))?;
        registry.register(Box::new(metrics.jobs_held.clone()))?;
        registry.register(Box::new(metrics.heartbeat_failures_total.clone()))?;
        registry.register(Box::new(metrics.keys_warmed_total.clone()))?;
        registry.register(Box::new(metrics.spool_bytes.clone()))?;
        registry.register(Box::new(metrics.spool_proofs.clone()))?;
        Ok(metrics)
    }
}
