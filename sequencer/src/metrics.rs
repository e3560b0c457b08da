//! Metrics of the sequencer.

rollmill_service::metrics! {
    /// What a sequencer counts.
    pub struct Metrics: "rollmill_sequencer_" {
        /// Blocks that this process got onto L1.
        pub(crate) blocks_total: IntCounter,
        /// Blocks without transactions that this process got onto L1, so that prices fall.
        pub(crate) empty_blocks_total: IntCounter,
        /// Transactions of the blocks that this process got onto L1.
        pub(crate) transactions_total: IntCounter,
        /// Transactions that were left out of a block because they could not follow the ones before them.
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
