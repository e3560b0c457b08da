//! What a node shows of itself to Prometheus.

use rollmill_node_client::wire::Tips;
use rollmill_service::prometheus::core::Collector;
use rollmill_service::prometheus::{self, Gauge, GaugeVec, IntCounterVec, Opts, Registry};

use crate::pool::{Dropped, Parked, PoolCounts};
use crate::rules::Rule;

/// The figures, kept up to date whether or not somebody collects them.
#[derive(Debug)]
pub(crate) struct Gauges {
    pending: Gauge,
    verified: Gauge,
    proven: Gauge,
    finalized: Gauge,
    l1_block: Gauge,
    l1_time: Gauge,
    refused: Gauge,
    waiting: Gauge,
    parked: GaugeVec,
    bytes: Gauge,
    included: Gauge,
    dropped: IntCounterVec,
    broken: IntCounterVec,
}

fn gauge(name: &str, help: &str) -> Gauge {
    // Both texts are constants of this file, in the form that the crate asks for.
    Gauge::new(name, help).expect("a valid name and help")
}

impl Gauges {
    pub(crate) fn new() -> Self {
        Self {
            pending: gauge("rollmill_node_pending_block", "Number of the last executed block."),
            verified: gauge(
                "rollmill_node_verified_block",
                "Last block up to which each transaction is proven on L1 or by its client proof here.",
            ),
            proven: gauge("rollmill_node_proven_block", "Number of the last proven block."),
            finalized: gauge(
                "rollmill_node_finalized_block",
                "Number of the last block whose proof L1 has finalized.",
            ),
            l1_block: gauge("rollmill_node_l1_block", "Number of the last followed L1 block."),
            l1_time: gauge(
                "rollmill_node_l1_head_timestamp_seconds",
                "Unix second of the last followed L1 block.",
            ),
            refused: gauge(
                "rollmill_node_block_refused",
                "1 while L1 holds a block that this node refuses.",
            ),
            waiting: gauge(
                "rollmill_node_pool_waiting",
                "Transactions that can be part of the next block.",
            ),
            parked: {
                let name = "rollmill_node_pool_parked";
                let help = "Transactions that wait and cannot be part of the next block.";
                let parked = GaugeVec::new(Opts::new(name, help), &["reason"]);
                let parked = parked.expect("a valid name, help and label");
                for reason in Parked::ALL {
                    parked.with_label_values(&[reason.label()]);
                }
                parked
            },
            bytes: gauge("rollmill_node_pool_bytes", "Bytes of the transactions that wait."),
            included: gauge(
                "rollmill_node_pool_included",
                "Transactions of blocks not finally proven, kept with their client proofs.",
            ),
            dropped: {
                let name = "rollmill_node_pool_dropped_total";
                let help = "Transactions that left the pool without a block.";
                let dropped = IntCounterVec::new(Opts::new(name, help), &["reason"]);
                let dropped = dropped.expect("a valid name, help and label");
                for reason in Dropped::ALL {
                    dropped.with_label_values(&[reason.label()]);
                }
                dropped
            },
            broken: {
                let name = "rollmill_node_block_rule_broken_total";
                let help = "Blocks that break a rule of honest proposers which nothing forces.";
                let broken = IntCounterVec::new(Opts::new(name, help), &["rule"]);
                let broken = broken.expect("a valid name, help and label");
                for rule in Rule::ALL {
                    broken.with_label_values(&[rule.label()]);
                }
                broken
            },
        }
    }

    pub(crate) fn count_broken(&self, rule: Rule) {
        self.broken.with_label_values(&[rule.label()]).inc();
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let gauges = [
            &self.pending,
            &self.verified,
            &self.proven,
            &self.finalized,
            &self.l1_block,
            &self.l1_time,
            &self.refused,
            &self.waiting,
            &self.bytes,
            &self.included,
        ];
        for gauge in gauges {
            let collector: Box<dyn Collector> = Box::new(gauge.clone());
            registry.register(collector)?;
        }
        registry.register(Box::new(self.parked.clone()))?;
        registry.register(Box::new(self.dropped.clone()))?;
        registry.register(Box::new(self.broken.clone()))
    }

    // Numbers of blocks, and seconds, are far below 2^53, up to which a float is exact.
    pub(crate) fn set_tips(&self, tips: &Tips, l1_time: u64) {
        self.l1_time.set(l1_time as f64);
        self.pending.set(tips.pending.block_number as f64);
        self.verified.set(tips.verified.block_number as f64);
        self.proven.set(tips.proven.block_number as f64);
        self.finalized.set(tips.finalized.block_number as f64);
        self.l1_block.set(tips.l1_block as f64);
        self.refused.set(if tips.refused.is_some() { 1.0 } else { 0.0 });
    }

    pub(crate) fn set_pool(&self, counts: &PoolCounts) {
        self.waiting.set(counts.ready as f64);
        self.bytes.set(counts.bytes as f64);
        self.included.set(counts.included as f64);
        for (reason, count) in Parked::ALL.into_iter().zip(counts.parked) {
            self.parked.with_label_values(&[reason.label()]).set(count as f64);
        }
        for (reason, count) in Dropped::ALL.into_iter().zip(counts.dropped) {
            let counter = self.dropped.with_label_values(&[reason.label()]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }
}
