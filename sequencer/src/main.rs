//! The program `rollmill-sequencer`.

use std::process::ExitCode;
use std::sync::Arc;

use rollmill_l1::L1Error;
use rollmill_node::{Pruner, setup, watch_account};
use rollmill_node_client::ClientError;
use rollmill_protocol::EthAddress;
use rollmill_sequencer::bond::BondKeeper;
use rollmill_sequencer::committee::Committee;
use rollmill_sequencer::config::Config;
use rollmill_sequencer::metrics::Metrics;
use rollmill_sequencer::preflight;
use rollmill_sequencer::quotes;
use rollmill_sequencer::seed::SeedKeeper;
use rollmill_sequencer::sequencer::Sequencer;
use rollmill_service::{NoCommands, Outcome, Process, Service};

fn main() -> ExitCode {
    Service::new(env!("CARGO_BIN_NAME"))
        .about("Build blocks from the transaction pool, post them to L1 and serve a node")
        .usage(setup::SetupError::is_usage)
        .usage(L1Error::is_usage)
        .usage(ClientError::is_usage)
        .usage(rollmill_validator_client::ClientError::is_usage)
        .run_checked(preflight::checks, run)
}

async fn run(process: Process<Config>, _: Option<NoCommands>) -> Outcome {
    let config = process.config.clone();
    let source = config.account.key();
    let _lock = source.lock()?;
    let key = source.load()?;
    let running = setup::start(&config.node, &process).await?;
    let signer = rollmill_validator::open_signer(&config.committee, &running, key.clone()).await?;
    let attesting = rollmill_validator::serve(&config.committee, &running, &signer, &process);
    let attesting = attesting.await?;
    if config.committee.attest_only {
        tracing::info!(account = %signer.account(), "attesting only");
        process.ready();
        process.shutdown.started().await;
        return attesting.finished().await;
    }
    let (conditions, shutdown) = (&process.conditions, &process.shutdown);
    let max_fee_gwei = config.account.l1_max_fee_gwei;
    let intents = &config.account.intents;
    let sender = running.open_sender(key, intents, max_fee_gwei, conditions, shutdown).await?;
    let sender = Arc::new(sender);
    let shown = Some(&process.conditions);
    watch_account(&running, sender.account(), &process.metrics, shown, shutdown)?;
    let pruner = Pruner::of(&running, Some(Arc::clone(&sender)), 0, &process.metrics)?;
    let metrics = Metrics::new(&process.metrics)?;
    let economics = running.contract.economics(&running.info).await?;
    let (watched, conditions) = (Arc::clone(&sender), process.conditions.clone());
    let bond = BondKeeper::new(economics, watched, config.bond_top_up, metrics.clone(), conditions);
    let watched = Arc::clone(&sender);
    let seeds = SeedKeeper::new(&running.contract, &running.info, watched, metrics.clone()).await?;
    let duties = rollmill_validator::duties(&running);
    let committee = Committee::new(signer, duties, &config.committee, metrics.clone())?;
    let quotes = quotes::start(&config.quotes, &running, &metrics, &process).await?;
    let coinbase = config.coinbase.unwrap_or(EthAddress(sender.account().into_array()));
    let sequencer =
        Sequencer { running, sender, committee, config, coinbase, metrics, pruner, quotes };
    tracing::info!(account = %sequencer.sender.account(), "proposer account");
    sequencer.show(&process.status_page);
    let stop = process.shutdown.clone();
    tokio::spawn(async move { bond.run(&stop).await });
    if let Some(seeds) = seeds {
        let stop = process.shutdown.clone();
        tokio::spawn(async move { seeds.run(&stop).await });
    }
    process.ready();
    sequencer.run(&process.shutdown).await?;
    attesting.finished().await
}
