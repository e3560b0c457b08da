//! Metrics of the prover node.

use rollmill_protocol::Circuit;
use rollmill_sequencer_client::Reason;

use crate::ranges::State;

/// Outcomes of an attempt to submit a proof.
const SUBMISSIONS: [&str; 5] = ["sent", "refused", "unavailable", "included", "reverted"];

/// Buckets from 0.25 s, each twice the previous one.
const SECONDS: [f64; 14] =
    [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];

/// The circuits whose proofs agents generate.
fn circuits() -> impl Iterator<Item = &'static str> {
    Circuit::ALL.iter().filter(|circuit| circuit.is_job()).map(|circuit| circuit.name())
}

rollmill_service::metrics! {
    /// Metrics of a prover node.
    pub struct Metrics: "rollmill_prover_node_" {
        /// Ranges by state.
        pub ranges: IntGaugeVec[state in State::NAMES],
        /// Seconds of L1 to the end of the proof window of the oldest unproven epoch, without grace; NaN while all are proven.
        pub seconds_to_deadline: Gauge = f64::NAN,
        /// Blocks of the pending chain that are not proven.
        pub unproven_blocks: IntGauge,
        /// Ranges whose proof L1 included; one that a reorganization drops counts again.
        pub epochs_proven_total: IntCounter,
        /// Ranges whose challenge period ended before they were proven.
        pub epochs_missed_total: IntCounter,
        /// Turns that ended with an error.
        pub failures_total: IntCounter,
        /// 1 while this process holds the submitter's lease and has renewed it in time, else 0.
        pub submitter_lease_held: IntGauge,
        /// Fence of the submitter's lease that this process held last.
        pub submitter_fence: IntGauge,
        /// Attempts to submit a proof, by outcome.
        pub submissions_total: IntCounterVec[outcome in SUBMISSIONS],
        /// Gas used by proofs that L1 included; one that a reorganization drops counts again.
        pub submission_gas_total: IntCounter,
        /// Fees paid for proofs that L1 included, in ether; counted as the gas is.
        pub submission_fees_eth_total: Counter,
        /// What the prover is owed on L1, in AZT, as of the last reading.
        pub rewards_owed_azt: Gauge,
        /// What a claim would pay the prover, in AZT, as of the last reading; less than it is owed while Rewards has too little.
        pub rewards_payable_azt: Gauge,
        /// Claims by this process of what the prover is owed.
        pub rewards_claims_total: IntCounter,
        /// Quotes that a proposer took and did not have before.
        pub(crate) quotes_posted_total: IntCounter,
        /// Quotes that a proposer did not take, by reason; one that is sent again counts again.
        pub(crate) quotes_failed_total: IntCounterVec[reason in Reason::ALL.map(Reason::label)],
        /// Jobs enqueued and not finished.
        pub jobs_open: IntGauge,
        /// Times a dead-lettered job was found and replayed.
        pub jobs_dead_total: IntCounter,
        /// Times a job's input was missing or damaged at the broker and was uploaded again.
        pub inputs_wanted_total: IntCounter,
        /// Times a finished job's result was missing or damaged at the broker.
        pub results_lost_total: IntCounter,
        /// Results whose bytes failed verification.
        pub results_rejected_total: IntCounter,
        /// Time from the start of a range to its root proof, in this process.
        pub range_seconds: Histogram(SECONDS),
        /// Time that an agent spent on a proof, by circuit.
        pub(crate) job_proving_seconds: HistogramVec[circuit in circuits()](SECONDS),
    }
}
