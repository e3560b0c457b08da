//! Metrics of a validator.

use rollmill_service::metrics::Declared;

use crate::error::AttestError;

/// Every metric of a validator.
pub fn declared() -> Vec<Declared> {
    Metrics::declared()
}

/// Buckets of the time of a check, in seconds.
const SECONDS: [f64; 8] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

rollmill_service::metrics! {
    /// Metrics of a validator.
    pub struct Metrics: "rollmill_validator_" {
        /// Blocks of other proposers that were attested; one that is asked for again is not counted again.
        pub(crate) attested_total: IntCounter,
        /// Proposals that were not attested, by error code.
        pub(crate) rejected_total: IntCounterVec[code in AttestError::codes()],
        /// Proposers that signed two blocks of a slot, counted once for each slot: the evidence is in a file.
        pub(crate) equivocations_total: IntCounter,
        /// Slot of the last block of another proposer that was attested.
        pub(crate) attested_slot: IntGauge,
        /// Proposals that are being checked.
        pub(crate) checks: IntGauge,
        /// Time of a check, with the execution of the block and its client proofs.
        pub(crate) check_seconds: Histogram(SECONDS),
    }
}
