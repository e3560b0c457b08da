//! Metrics of the agent. Those of its card are in [`crate::card`].

use rollmill_broker_client::SizeClass;
use rollmill_service::metrics::Declared;

use crate::agent::End;
use crate::config::Config;
use crate::leave::Reason;
use crate::worker::DeviceReport;

const SECONDS: [f64; 10] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// Every metric of an agent.
pub fn declared() -> Vec<Declared> {
    [Metrics::declared(), crate::card::declared()].into_iter().flatten().collect()
}

rollmill_service::metrics! {
    /// What an agent counts. The series of each job type of the agent exist from startup.
    pub(crate) struct Metrics: "rollmill_agent_" {
        /// 1; the labels are the device's name and the largest size class of jobs that it holds.
        pub(crate) device_info: IntGaugeVec[device, class],
        /// Jobs by type and outcome.
        pub(crate) jobs_total: IntCounterVec[kind, outcome in End::labels()],
        /// Proving time of a job.
        pub(crate) proving_seconds: HistogramVec[kind](SECONDS),
        /// Witness generation time of a job.
        pub(crate) witness_seconds: HistogramVec[kind](SECONDS),
        /// Jobs on the device.
        pub(crate) busy: IntGauge,
        /// Jobs claimed and not finished: prepared, proven or reported.
        pub(crate) jobs_held: IntGauge,
        /// Times that the agent began to leave: told to stop (`signal`), asked by the broker (`drain`), because its machine is
        /// taken away (`reclaim`), or because it can do nothing more (`fault`).
        pub(crate) leaving_total: IntCounterVec[reason in Reason::labels()],
        /// Questions whether the machine is taken away that were not answered.
        pub(crate) reclaim_failures_total: IntCounter,
        /// Heartbeats not delivered.
        pub(crate) heartbeat_failures_total: IntCounter,
        /// Proving keys loaded before a job needed them.
        pub(crate) keys_warmed_total: IntCounter,
        /// Bytes of verified proofs that no broker has taken yet; the agent claims no job beyond 256 MiB.
        pub(crate) spool_bytes: IntGauge,
        /// Verified proofs that no broker has taken yet.
        pub(crate) spool_proofs: IntGauge,
        /// Unix time at which the oldest of them was finished; NaN while there is none.
        pub(crate) spool_oldest_timestamp_seconds: Gauge = f64::NAN,
    }
}

impl Metrics {
    /// Shows a device, and returns the largest size class of jobs that it holds.
    pub(crate) fn show_device(&self, device: &DeviceReport, config: &Config) -> SizeClass {
        let class = config.class_of(device.memory_bytes);
        let labels = [device.name.as_str(), &class.to_string()];
        self.device_info.with_label_values(&labels).set(1);
        class
    }
}
