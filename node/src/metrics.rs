//! Metrics of a node, which the programs that contain one serve.

use rollmill_node_client::wire::Tips;
use rollmill_service::metrics::Declared;

use crate::pool::{Dropped, Parked, PoolCounts};

/// Every metric of a node.
pub fn declared() -> Vec<Declared> {
    let tables = [
        Gauges::declared(),
        AdmissionMetrics::declared(),
        DeadlineMetrics::declared(),
        AccountMetrics::declared(),
    ];
    tables.into_iter().flatten().collect()
}

rollmill_service::metrics! {
    /// Chain and pool, kept up to date whether or not somebody collects them.
    pub(crate) struct Gauges: "rollmill_node_" {
        /// Number of the last block that was executed.
        pending_block: Gauge,
        /// Last block up to which each transaction is proven on L1 or by its client proof here.
        verified_block: Gauge,
        /// Number of the last block that is proven on L1.
        proven_block: Gauge,
        /// Number of the last block whose proof L1 has finalized.
        finalized_block: Gauge,
        /// Number of the last L1 block that was followed.
        l1_block: Gauge,
        /// Unix time of the last L1 block that was followed.
        l1_head_timestamp_seconds: Gauge,
        /// Reorganizations of L1 that were followed.
        l1_reorgs_total: IntCounter,
        /// L1 blocks that these reorganizations removed.
        l1_reorg_blocks_total: IntCounter,
        /// 1 while L1 contains a block that this node rejected.
        block_refused: Gauge,
        /// Number of the block on L1 whose data no source has, while the node waits for it; 0 otherwise.
        data_missing_block: Gauge,
        /// Transactions that can be part of the next block.
        pool_waiting: Gauge,
        /// Bytes of all transactions that wait.
        pool_bytes: Gauge,
        /// Transactions that wait and cannot be part of the next block.
        pool_parked: GaugeVec[reason in Parked::ALL.map(Parked::label)],
        /// Transactions of blocks not finally proven, kept with their client proofs.
        pool_included: Gauge,
        /// Transactions that left the pool without a block.
        pool_dropped_total: IntCounterVec[reason in Dropped::ALL.map(Dropped::label)],
    }
}

rollmill_service::metrics! {
    /// Verification of submitted transactions.
    pub(crate) struct AdmissionMetrics: "rollmill_node_" {
        /// Submitted transactions that wait for verification.
        pub(crate) admission_waiting: IntGauge,
        /// Client proofs of submitted transactions that were verified, rejected ones included.
        pub(crate) admission_verified_total: IntCounter,
        /// Client proofs of submitted transactions that were rejected.
        pub(crate) admission_refused_total: IntCounter,
        /// Transactions rejected with 503 because too many wait for verification.
        pub(crate) admission_busy_total: IntCounter,
    }
}

rollmill_service::metrics! {
    /// The deadline of the oldest unproven epoch, and the prunes after it.
    pub struct DeadlineMetrics: "rollmill_node_" {
        /// 1 while an epoch waits for its proof.
        pub(crate) proof_deadline_open: IntGauge,
        /// The oldest unproven epoch; 0 while there is none.
        pub(crate) proof_deadline_epoch: IntGauge,
        /// Seconds left in which a proof of that epoch returns its bond; negative afterwards.
        pub(crate) proof_window_seconds: IntGauge,
        /// Seconds left in which a proof of that epoch is accepted; negative when missed.
        pub(crate) proof_deadline_seconds: IntGauge,
        /// 1 while the oldest unproven epoch has missed its deadline and nobody has pruned.
        pub(crate) prune_due: IntGauge,
        /// Prunes of the pending chain that this process got onto L1.
        pub(crate) prunes_sent_total: IntCounter,
        /// Prunes that this process sent and L1 did not accept.
        pub(crate) prune_failures_total: IntCounter,
    }
}

rollmill_service::metrics! {
    /// What the process's account on L1 owns, and what gas costs. Absent while L1 cannot be read.
    pub(crate) struct AccountMetrics: "rollmill_node_" {
        /// What the account of this process owns on L1, in ether; absent while it cannot be read.
        pub(crate) account_balance_eth: Gauge,
        /// Base fee of the newest L1 block, in gwei per unit of gas; absent while it cannot be read.
        pub(crate) l1_base_fee_gwei: Gauge,
    }
}

impl Gauges {
    /// L1 was reorganized, and this many blocks that were followed are no part of it any more.
    pub(crate) fn count_reorg(&self, blocks: u64) {
        self.l1_reorgs_total.inc();
        self.l1_reorg_blocks_total.inc_by(blocks);
    }

    pub(crate) fn set_data_missing(&self, block: Option<u64>) {
        self.data_missing_block.set(block.unwrap_or(0) as f64);
    }

    // Numbers of blocks, and seconds, are far below 2^53, up to which a float is exact.
    pub(crate) fn set_tips(&self, tips: &Tips, l1_time: u64) {
        self.l1_head_timestamp_seconds.set(l1_time as f64);
        self.pending_block.set(tips.pending.block_number as f64);
        self.verified_block.set(tips.verified.block_number as f64);
        self.proven_block.set(tips.proven.block_number as f64);
        self.finalized_block.set(tips.finalized.block_number as f64);
        self.l1_block.set(tips.l1_block as f64);
        self.block_refused.set(if tips.rejected.is_some() { 1.0 } else { 0.0 });
    }

    pub(crate) fn set_pool(&self, counts: &PoolCounts) {
        self.pool_waiting.set(counts.ready as f64);
        self.pool_bytes.set(counts.bytes as f64);
        self.pool_included.set(counts.included as f64);
        for (reason, count) in Parked::ALL.into_iter().zip(counts.parked) {
            self.pool_parked.with_label_values(&[reason.label()]).set(count as f64);
        }
        for (reason, count) in Dropped::ALL.into_iter().zip(counts.dropped) {
            let counter = self.pool_dropped_total.with_label_values(&[reason.label()]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }
}
