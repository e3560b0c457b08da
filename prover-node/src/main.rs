//! The prover node's process.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, Command};
use rollmill_broker_client::{Client as Broker, Incarnation, Options};
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::load_key_set;
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_l1::{SenderConfig, TxSender};
use rollmill_node::{ClientKey, setup};
use rollmill_node_client::NodeClient;
use rollmill_protocol::{Circuit, EthAddress};
use rollmill_prover_node::config::Config;
use rollmill_prover_node::metrics::Metrics;
use rollmill_prover_node::watch::ProverNode;
use rollmill_service::{Failure, Outcome, Process, Service};

fn main() -> ExitCode {
    let out = Arg::new("out").required(true).help("file to write");
    Service::new("prover-node")
        .about("Proves epochs: plans, enqueues, verifies, submits; and serves a node")
        .subcommand(Command::new("keys").about("Export the client circuit's key").arg(out))
        .run(run)
}

async fn run(process: Process<Config>) -> Outcome {
    let config = process.config.clone();
    let keys = keys(&config)?;
    if let Some(("keys", arguments)) = process.command() {
        let out = arguments.get_one::<String>("out").map(PathBuf::from).unwrap_or_default();
        std::fs::write(&out, client_key(&keys).to_bytes())
            .map_err(|error| format!("PRN-030: cannot write {}: {error}", out.display()))?;
        return Ok(());
    }
    let signer = config.key().load()?;
    let running = setup::start(&config.node, &process).await?;
    keys.require_root(&running.constants.vk_root)?;
    let sender =
        TxSender::open(running.l1.clone(), signer, &config.intents, SenderConfig::default())
            .await?;
    let prover_id = match &config.prover_id {
        Some(text) => setup::parse_address("prover_id", text)?,
        None => EthAddress(sender.account().into_array()),
    };
    let token = config.token.as_ref().map(|t| t.reveal());
    let broker = Broker::new(&config.broker, token, Options::default())?;
    let peers =
        config.tx_sources.iter().map(|url| NodeClient::new(url)).collect::<Result<Vec<_>, _>>()?;
    let account = sender.account();
    let node = Arc::new(ProverNode {
        running,
        broker,
        peers,
        version: rollmill_circuits::version_name(&keys).parse()?,
        keys: Arc::new(keys),
        prover_id,
        sender,
        holder: format!("prover-node-{}", std::process::id()).parse()?,
        incarnation: Incarnation::random(),
        prefix_blocks: config.prefix_blocks,
        submit: !config.dry_run,
        metrics: Metrics::new(&process.metrics)?,
    });
    tracing::info!(%account, "prover account");
    process.ready();
    node.run(&process.shutdown).await
}

fn keys(config: &Config) -> Result<KeySet, Failure> {
    let store = DirStore::new(cache_dir(config.keys_dir.as_deref()));
    Ok(load_key_set(&store)?)
}

fn client_key(keys: &KeySet) -> ClientKey {
    let opened = keys.opened(Circuit::Client);
    let key = keys.key(Circuit::Client);
    ClientKey::new(*keys.tau_g2(), key.vk.clone(), key.rows_used, opened.path)
}
