//! Metrics of the sequencer.

use crate::committee::Outcome;
use crate::quotes::QuoteError;

/// Buckets of the time to a quorum, in seconds.
const QUORUM_SECONDS: [f64; 7] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

rollmill_service::metrics! {
    /// Metrics of a sequencer.
    pub struct Metrics: "rollmill_sequencer_" {
        /// Blocks by this process that L1 included.
        pub(crate) blocks_total: IntCounter,
        /// Blocks without transactions by this process that L1 included; they make prices fall.
        pub(crate) empty_blocks_total: IntCounter,
        /// Transactions in the blocks by this process that L1 included.
        pub(crate) transactions_total: IntCounter,
        /// Transactions left out of a block because they are invalid after the ones before them.
        pub(crate) left_out_total: IntCounter,
        /// Turns that ended with an error instead of a block.
        pub(crate) refused_total: IntCounter,
        /// Requests to other members of the committee for a signature, by outcome.
        pub(crate) attestations_total: IntCounterVec[outcome in Outcome::ALL.map(Outcome::label)],
        /// Blocks for which too few members of the committee signed in time; a slot may count several times.
        pub(crate) quorum_missed_total: IntCounter,
        /// Time from asking the committee to its quorum.
        pub(crate) quorum_seconds: Histogram(QUORUM_SECONDS),
        /// Slots given up because the block that was signed in them no longer follows the tip.
        pub(crate) slots_lost_total: IntCounter,
        /// Transactions that can be part of the next block.
        pub(crate) pool_transactions: IntGauge,
        /// 1 while building is paused because L1 contains a block that the node rejected.
        pub(crate) held: IntGauge,
        /// 1 while building is paused because no source has the data of a block on L1.
        pub(crate) data_missing: IntGauge,
        /// 1 while building waits for the client proofs of blocks on L1.
        pub(crate) unverified: IntGauge,
        /// Free part of the account's bond, in AZT: what the next epoch that it opens can lock.
        pub(crate) bond_free_azt: Gauge,
        /// Locked part of the account's bond, in AZT.
        pub(crate) bond_locked_azt: Gauge,
        /// Bond that the first block of an epoch locks now, in AZT.
        pub(crate) bond_needed_azt: Gauge,
        /// Deposits by this process to the account's bond.
        pub(crate) bond_top_ups_total: IntCounter,
        /// 1 while the present epoch has recorded no seed for a later committee; 0 where committees are fixed.
        pub(crate) seed_missing: IntGauge,
        /// Seeds for later committees that this process recorded.
        pub(crate) seeds_recorded_total: IntCounter,
        /// Quotes of provers that were new; one that is sent again is not counted again.
        pub(crate) quotes_accepted_total: IntCounter,
        /// Requests about quotes that were rejected, by error code.
        pub(crate) quotes_rejected_total: IntCounterVec[code in QuoteError::codes()],
        /// Valid quotes for the present epoch and later ones.
        pub(crate) quotes: IntGauge,
        /// Fee of the cheapest valid quote for the present epoch, in AZT; NaN without one.
        pub(crate) quote_fee_azt: Gauge = f64::NAN,
        /// Fee of the cheapest valid quote for the next epoch, in AZT; NaN without one.
        pub(crate) quote_next_fee_azt: Gauge = f64::NAN,
        /// Epochs that this process opened while it had a valid quote; L1 knows nothing of quotes.
        pub(crate) quotes_taken_total: IntCounter,
    }
}
