//! Metrics of the sequencer.

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
        /// Transactions that can be part of the next block.
        pub(crate) pool_transactions: IntGauge,
        /// 1 while building is paused because L1 contains a block that the node rejected.
        pub(crate) held: IntGauge,
        /// 1 while building waits for the client proofs of blocks on L1.
        pub(crate) unverified: IntGauge,
    }
}
