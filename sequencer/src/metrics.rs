//! Figures of the sequencer.

use rollmill_service::prometheus;

/// Counters of the sequencer.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) blocks: prometheus::IntCounter,
    pub(crate) txs: prometheus::IntCounter,
    pub(crate) left_out: prometheus::IntCounter,
    pub(crate) refused: prometheus::IntCounter,
    pub(crate) pool: prometheus::IntGauge,
    pub(crate) held: prometheus::IntGauge,
    pub(crate) empty: prometheus::IntCounter,
    pub(crate) unverified: prometheus::IntGauge,
}

impl Metrics {
    /// Registers the counters.
    pub fn new(registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = prometheus::IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = prometheus::IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            blocks: counter("rollmill_sequencer_blocks_total", "Blocks put on L1")?,
            txs: counter("rollmill_sequencer_transactions_total", "Transactions put into blocks")?,
            left_out: counter(
                "rollmill_sequencer_left_out_total",
                "Transactions that could not follow the ones before them",
            )?,
            refused: counter(
                "rollmill_sequencer_refused_total",
                "Turns that ended with an error instead of a block",
            )?,
            pool: gauge(
                "rollmill_sequencer_pool_transactions",
                "Transactions that can be part of the next block",
            )?,
            empty: counter(
                "rollmill_sequencer_empty_blocks_total",
                "Blocks without transactions, put on L1 so that prices fall",
            )?,
            unverified: gauge(
                "rollmill_sequencer_unverified",
                "1 while building waits for the client proofs of blocks on L1",
            )?,
            held: gauge(
                "rollmill_sequencer_held",
                "1 while nothing is built because L1 holds a block that the node refuses",
            )?,
        })
    }
}
