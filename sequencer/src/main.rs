//! The sequencer's process.

use std::process::ExitCode;
use std::sync::Arc;

use rollmill_l1::{SenderConfig, TxSender};
use rollmill_node::{Pruner, setup};
use rollmill_sequencer::config::Config;
use rollmill_sequencer::metrics::Metrics;
use rollmill_sequencer::sequencer::Sequencer;
use rollmill_service::{Outcome, Process, Service};

fn main() -> ExitCode {
    Service::new("sequencer")
        .about("Orders transactions into blocks and puts them on L1, and serves a node")
        .run(run)
}

async fn run(process: Process<Config>) -> Outcome {
    let config = process.config.clone();
    let coinbase = setup::parse_address("coinbase", &config.coinbase)?;
    let signer = config.key().load()?;
    let running = setup::start(&config.node, &process).await?;
    let sending = SenderConfig {
        max_fee_limit_wei: u128::from(config.l1_max_fee_gwei) * 1_000_000_000,
        ..SenderConfig::default()
    };
    let sender = TxSender::open(running.l1.clone(), signer, &config.intents, sending).await?;
    let sender = Arc::new(sender);
    let pruner = Pruner::of(&running, Some(Arc::clone(&sender)), 0, &process.metrics)?;
    let metrics = Metrics::new(&process.metrics)?;
    let sequencer = Sequencer { running, sender, config, coinbase, metrics, pruner };
    sequencer.require_proposer()?;
    tracing::info!(account = %sequencer.sender.account(), "proposer");
    sequencer.show(&process.board);
    process.ready();
    sequencer.run(&process.shutdown).await
}
