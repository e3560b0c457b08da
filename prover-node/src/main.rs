//! The program `rollmill-prover-node`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollmill_broker_client::{Client as Broker, ClientError as BrokerError, Options};
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::load_key_set;
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_l1::L1Error;
use rollmill_node::{ClientKeys, Node, PlacedKey, Pruner, setup, watch_account};
use rollmill_node_client::{ClientError, NodeClient};
use rollmill_protocol::EthAddress;
use rollmill_prover_node::claims::Claims;
use rollmill_prover_node::commands::{self, Commands};
use rollmill_prover_node::config::Config;
use rollmill_prover_node::gather::{Missing, NodeSource};
use rollmill_prover_node::jobs::{Health, Jobs, Tempo};
use rollmill_prover_node::lease::{Identity, Lease};
use rollmill_prover_node::metrics::Metrics;
use rollmill_prover_node::node::ProverNode;
use rollmill_prover_node::ports::{Captures, Memory, NodePorts};
use rollmill_prover_node::preflight;
use rollmill_prover_node::prove::Provers;
use rollmill_prover_node::quotes::Quoter;
use rollmill_prover_node::ranges::controller::Controller;
use rollmill_prover_node::ranges::store::RowStore;
use rollmill_prover_node::ranges::{Policy, Schedule};
use rollmill_prover_node::submit::L1Submitter;
use rollmill_prover_node::traces::EpochTraces;
use rollmill_service::{Failure, Outcome, Process, RotatingSecret, Secret, Service, one_line};

/// The client does not retry: the loops above it do, and report that they are retrying.
const BROKER_OPTIONS: Options =
    Options { patience: Duration::from_secs(2), timeout: Duration::from_secs(30) };

/// Seconds that a prover node leaves to the sequencer to prune a chain whose proof is late.
const PRUNE_PATIENCE_SECONDS: u64 = 96;

fn main() -> ExitCode {
    Service::new(env!("CARGO_BIN_NAME"))
        .about("Prove epochs: plan, enqueue, verify and submit proofs; and serve a node")
        .usage(setup::SetupError::is_usage)
        .usage(L1Error::is_usage)
        .usage(ClientError::is_usage)
        .usage(BrokerError::is_usage)
        .usage(rollmill_sequencer_client::ClientError::is_usage)
        .run_checked(preflight::checks, run)
}

/// The client keys cannot be written.
///
/// Do: Check the path, its permissions and its disk.
#[derive(Debug, thiserror::Error)]
#[error("{code}: cannot write the client keys to {path} ({cause}); check the path and its permissions", code = self.code(), cause = rollmill_errors::InWords(.source))]
struct KeyFileError {
    path: PathBuf,
    source: std::io::Error,
}

rollmill_errors::coded! {
    KeyFileError {
        Self { .. } => "PRN-030",
    }
}

async fn run(process: Process<Config>, command: Option<Commands>) -> Outcome {
    let config = process.config.clone();
    match command {
        None => serve(process).await,
        Some(Commands::Ranges(command)) => commands::run_ranges(&ranges_folder(&config), &command),
        Some(Commands::Keys { out }) => {
            std::fs::write(&out, client_keys(&keys(&config)?).to_bytes())
                .map_err(|source| KeyFileError { path: out.clone(), source })?;
            Ok(())
        }
        Some(Commands::Replay { file }) => commands::run_replay(&keys(&config)?, &file),
    }
}

async fn serve(process: Process<Config>) -> Outcome {
    let config = process.config.clone();
    let keys = keys(&config)?;
    process.conditions.expect(&["broker", "token", "agents"]);
    if !config.dry_run {
        process.conditions.expect(&["submitter"]);
    }
    let signer = config.account.key().load()?;
    let running = setup::start(&config.node, &process).await?;
    keys.require_root(&running.info.vk_root)?;
    let lease = Lease::default();
    let held = lease.clone();
    let (conditions, shutdown) = (&process.conditions, &process.shutdown);
    let max_fee_gwei = config.account.l1_max_fee_gwei;
    let intents = &config.account.intents;
    let sender = running.open_sender(signer.clone(), intents, max_fee_gwei, conditions, shutdown);
    let sender = Arc::new(sender.await?.guarded(move |fence| held.right(fence, Instant::now())));
    let shown = (!config.dry_run).then_some(conditions);
    watch_account(&running, sender.account(), &process.metrics, shown, shutdown)?;
    let pruner = Pruner::of(
        &running,
        (!config.dry_run).then(|| Arc::clone(&sender)),
        PRUNE_PATIENCE_SECONDS,
        &process.metrics,
    )?;
    pruner.show(&process.status_page);
    let prover_id = config.prover_id.unwrap_or(EthAddress(sender.account().into_array()));
    let token = config.token.as_ref().map(|t| t.reveal());
    let broker = Broker::new(&config.broker, token, BROKER_OPTIONS)?;
    if let Some(token) = config.token.clone() {
        tokio::spawn(follow_token(token, broker.clone()));
    }
    let peers =
        config.tx_sources.iter().map(|url| NodeClient::new(url)).collect::<Result<Vec<_>, _>>()?;
    let account = sender.account();
    let metrics = Metrics::new(&process.metrics)?;
    let quotes = Quoter::open(&config.quotes, &running, signer, &metrics)?;
    let claims = Claims::new(
        &running.contract,
        &running.info,
        (!config.dry_run).then(|| Arc::clone(&sender)),
        prover_id.0.into(),
        config.claim_rewards_above,
        metrics.clone(),
    )
    .await?;
    let health = Arc::new(Health::default());
    let store = RowStore::open(&ranges_folder(&config))?;
    let policy = Policy {
        prefix_blocks: config.prefix_blocks,
        ranges_max: config.ranges_max,
        dry_run: config.dry_run,
    };
    let controller = Controller::open(store.clone(), policy)?;
    let version = rollmill_circuits::version_name(&keys).parse()?;
    let source = NodeSource {
        node: Arc::clone(&running.node),
        peers,
        keys: Arc::new(keys),
        prover_id,
        missing: Missing::default(),
    };
    let (fixed, deployment) = (&running.info.schedule, running.node.config());
    let schedule = Schedule {
        genesis_time: deployment.genesis_time,
        epoch_seconds: deployment.slots_per_epoch.saturating_mul(deployment.slot_seconds),
        proof_window_seconds: fixed.proofWindowSeconds.into(),
        challenge_seconds: fixed.challengeSeconds.into(),
    };
    let hex = |address: EthAddress| -> String {
        address.0.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let (prover_hex, rollup_hex) = (hex(prover_id), hex(running.rollup));
    // A dry run submits nothing, so the lease is for others.
    let submits = match config.dry_run {
        true => None,
        false => {
            let identity = Identity::open(&config.account.intents)?;
            Some((format!("submitter/{rollup_hex}/{prover_hex}"), identity))
        }
    };
    let jobs = Jobs::new(
        broker.clone(),
        format!("0x{rollup_hex}"),
        Tempo::default(),
        Arc::clone(&health),
        metrics.clone(),
    )
    .traced(process.traces.clone());
    let (traces, holder) = (process.traces.clone(), lease.clone());
    let exports = move || holder.fence(Instant::now()).is_some();
    let chain_id = config.node.chain_id;
    let traces = EpochTraces::new(traces, chain_id, running.rollup, prover_id, exports);
    let followed: Arc<Node> = Arc::clone(&running.node);
    let (contract, rollup) = (running.contract.clone(), running.rollup);
    let submitter = L1Submitter { sender, contract, rollup, followed };
    let node = ProverNode {
        controller,
        broker,
        pruner: Arc::new(pruner),
        claims: Arc::new(claims),
        quotes,
        submits,
        ports: NodePorts {
            schedule,
            provers: Provers::new(jobs, Arc::new(source), store.clone(), version).traced(traces),
            store,
            captures: Captures {
                folder: config.node.data_dir.join("captures"),
                ..Captures::default()
            },
            submitter: Arc::new(submitter),
            lease,
            dry_run: config.dry_run,
            health,
            metrics,
            shown: process.conditions.clone(),
            memory: Memory::default(),
            running,
        },
    };
    tracing::info!(%account, "prover account");
    process.ready();
    node.run(&process.shutdown).await
}

/// Sends another token once its file has one: it was rotated. Every client of the broker is a clone of this one.
async fn follow_token(token: Secret, broker: Broker) {
    let changed = move |token: &Secret| {
        if let Err(error) = broker.set_token(token.reveal()) {
            tracing::error!(error = one_line(&error), "token cannot be sent");
        }
    };
    RotatingSecret::new(token).keep(changed).await;
}

fn ranges_folder(config: &Config) -> PathBuf {
    config.node.data_dir.join("ranges")
}

fn keys(config: &Config) -> Result<KeySet, Failure> {
    let store = DirStore::new(cache_dir(config.keys_dir.as_deref()));
    Ok(load_key_set(&store)?)
}

fn client_keys(keys: &KeySet) -> ClientKeys {
    ClientKeys::new(*keys.tau_g2(), |circuit| {
        let (key, path) = (keys.key(circuit), keys.opened(circuit).path);
        PlacedKey { vk: key.vk.clone(), charged_rows: key.rows_used, path }
    })
}
