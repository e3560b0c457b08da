//! The sequencer's process.

use std::process::ExitCode;

use rollmill_l1::{SenderConfig, TxSender};
use rollmill_node::setup;
use rollmill_sequencer::config::Config;
use rollmill_sequencer::sequencer::{Metrics, Sequencer};
use rollmill_service::{Outcome, Process, Service};

fn main() -> ExitCode {
    Service::new("sequencer")
        .about("Orders transactions into blocks and puts them on L1, and serves a node")
        .run(run)
}

async fn run(process: Process<Config>) -> Outcome {
    let config = process.config.clone();
    let coinbase = setup::parse_address(&config.coinbase)?;
    let signer = config.key().load()?;
    let running = setup::start(&config.node, &process).await?;
    let sender =
        TxSender::open(running.l1.clone(), signer, &config.intents, SenderConfig::default())
            .await?;
    let metrics = Metrics::new(&process.metrics)?;
    tracing::info!(account = %sender.account(), "proposer");
    let sequencer = Sequencer { running, sender, config, coinbase, metrics };
    sequencer.show(&process.board);
    process.ready();
    sequencer.run(&process.shutdown).await
}
