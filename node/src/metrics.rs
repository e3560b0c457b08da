//! What a node shows of itself to Prometheus.

use rollmill_node_client::wire::Tips;
use rollmill_service::prometheus::core::Collector;
use rollmill_service::prometheus::{self, Gauge, Registry};

/// The figures, kept up to date whether or not somebody collects them.
#[derive(Debug)]
pub(crate) struct Gauges {
    pending: Gauge,
    proven: Gauge,
    l1_block: Gauge,
    refused: Gauge,
    waiting: Gauge,
}

fn gauge(name: &str, help: &str) -> Gauge {
    // Both texts are constants of this file, in the form that the crate asks for.
    Gauge::new(name, help).expect("a valid name and help")
}

impl Gauges {
    pub(crate) fn new() -> Self {
        Self {
            pending: gauge("rollmill_node_pending_block", "Number of the last executed block."),
            proven: gauge("rollmill_node_proven_block", "Number of the last proven block."),
            l1_block: gauge("rollmill_node_l1_block", "Number of the last followed L1 block."),
            refused: gauge(
                "rollmill_node_block_refused",
                "1 while L1 holds a block that this node refuses.",
            ),
            waiting: gauge("rollmill_node_pool_waiting", "Transactions that wait for a block."),
        }
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        for gauge in [&self.pending, &self.proven, &self.l1_block, &self.refused, &self.waiting] {
            let collector: Box<dyn Collector> = Box::new(gauge.clone());
            registry.register(collector)?;
        }
        Ok(())
    }

    // Numbers of blocks are far below 2^53, up to which a float is exact.
    pub(crate) fn set_tips(&self, tips: &Tips) {
        self.pending.set(tips.pending.block_number as f64);
        self.proven.set(tips.proven.block_number as f64);
        self.l1_block.set(tips.l1_block as f64);
        self.refused.set(if tips.refused.is_some() { 1.0 } else { 0.0 });
    }

    pub(crate) fn set_waiting(&self, n: usize) {
        self.waiting.set(n as f64);
    }
}
