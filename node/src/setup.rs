//! Starts a node that follows L1 and serves clients, from its settings. Sequencer and prover node share
//! it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rollmill_errors::{Coded, Disposition};
use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_l1::{DeploymentInfo, L1Client, L1Error, RollupContract, SenderConfig, TxSender};
use rollmill_node_client::NodeClient;
use rollmill_protocol::{EthAddress, Fr, Genesis, field};
use rollmill_service::{Conditions, Failure, HttpServer, Process, Shutdown, listen};

use crate::blobs::NodeBlobs;
use crate::checks::{read_genesis, read_keys, require_early_start};
use crate::config::NodeConfig;
use crate::health;
use crate::l1_events::L1Position;
use crate::rpc::Rpc;
use crate::{ClientKeys, Node, NodeSettings, RollupEvents, fetch_missing, follow};

const WEI_PER_GWEI: u128 = 1_000_000_000;

/// Pause before peers are asked again for a client proof that none of them had.
const FETCH_PAUSE: Duration = Duration::from_secs(3);

/// A running node.
#[derive(Debug)]
pub struct RunningNode {
    pub node: Arc<Node>,
    pub l1: L1Client,
    pub contract: RollupContract,
    pub rollup: EthAddress,
    /// What the contract fixes; checked against the genesis file, which has the parameters.
    pub info: DeploymentInfo,
    pub blobs: NodeBlobs,
}

impl RunningNode {
    /// Opens the sender of an account's L1 transactions, which offers at most `max_fee_gwei` per unit
    /// of gas. The condition `fees` of the process is false while that is too low.
    ///
    /// # Errors
    /// As [`TxSender::open`].
    pub async fn open_sender(
        &self,
        signer: PrivateKeySigner,
        intents: &Path,
        max_fee_gwei: u64,
        conditions: &Conditions,
        shutdown: &Shutdown,
    ) -> Result<TxSender, L1Error> {
        let config = SenderConfig {
            max_fee_limit_wei: u128::from(max_fee_gwei) * WEI_PER_GWEI,
            ..SenderConfig::default()
        };
        let sender = TxSender::open(self.l1.clone(), signer, intents, config).await?;
        let rejections = sender.watch_fee_rejections();
        let quiet = || tokio::time::sleep(health::FEES_QUIET);
        let (conditions, shutdown) = (conditions.clone(), shutdown.clone());
        tokio::spawn(health::watch_fees(rejections, quiet, conditions, shutdown));
        Ok(sender)
    }
}

/// The command-line flag of a setting.
fn flag(key: &str) -> String {
    format!("--{}", key.replace(['.', '_'], "-"))
}

/// What does not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A file that a setting names cannot be read.
    ///
    /// Do: Check the path and permissions of `--node-genesis` and `--node-client-key`.
    #[error("{code}: cannot read {path}, the file of {key} ({cause})", code = self.code(), cause = rollmill_errors::InWords(.source))]
    File { path: PathBuf, key: &'static str, source: std::io::Error },
    /// A required setting is not set.
    ///
    /// Do: Set it as a flag, in the settings file or in the environment.
    #[error("{code}: setting {key} is not set; give it as {}, in the settings file or in the environment", flag(.key), code = self.code())]
    Unset { key: &'static str },
    /// The genesis, client keys or settings of this node differ from the contract.
    ///
    /// Do: Use the files of the deployment, or correct `--node-rollup` and `--node-chain-id`.
    #[error("{code}: {what}: this node has {ours}, the contract at {rollup} has {theirs}", code = self.code())]
    Mismatch { what: &'static str, ours: String, theirs: String, rollup: String },
    /// L1 has no block of the number in `--node-l1-start`.
    ///
    /// Do: Correct `--node-l1-start`, or wait until the L1 node has synced.
    #[error("{code}: L1 has no block {number}; check --node-l1-start", code = self.code())]
    NoStart { number: u64 },
    /// `--node-l1-start` is later than some blocks of the rollup.
    ///
    /// Do: Set it to an L1 block before the contract's deployment.
    #[error("{code}: at L1 block {number}, which --node-l1-start names, the rollup had {tip} blocks already; give an L1 block before the contract's deployment", code = self.code())]
    LateStart { number: u64, tip: u64 },
    /// A file of the deployment is not what the setting says. The cause's message, which this one repeats whole, has
    /// the code and quotes its own causes, so it is no `source` that would be shown a second time.
    #[error("{cause}. The file is {}; the setting is {}", path.display(), flag(.key))]
    Contents { path: PathBuf, key: &'static str, cause: Box<dyn Coded + Send + Sync> },
}

rollmill_errors::coded! {
    SetupError {
        Self::File { .. } => "NODE-060",
        Self::Unset { .. } => "NODE-064" usage,
        Self::Mismatch { .. } => "NODE-062",
        Self::NoStart { .. } => "NODE-063",
        Self::LateStart { .. } => "NODE-065",
        Self::Contents { cause, .. } => (cause.as_ref()),
    }
}

impl SetupError {
    /// Whether the setting itself cannot be used, whatever the files and L1 contain.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }
}

/// Opens the node, checks it against the contract, and starts following L1 and serving clients as part
/// of `process`: its metrics are under `/metrics`, its tips under `/status`. The tasks end when the
/// process shuts down; a database failure shuts it down, and is what the process ends with.
pub async fn start<C>(config: &NodeConfig, process: &Process<C>) -> Result<RunningNode, Failure> {
    let shutdown = &process.shutdown;
    // First of all: it loads for some seconds, in a thread of its own.
    let blobs = NodeBlobs::open(&config.blobs)?;
    blobs.show(&process.status_page);
    let address = config.rollup()?;
    let genesis = read_genesis(&config.genesis)?;
    let keys = read_keys(&config.client_key)?;

    let l1 = L1Client::connect(&config.l1_urls, config.chain_id).await?;
    let contract = l1.rollup(address.0.into()).await?;
    let info = contract.info().await?;
    agreed(config, &genesis, &keys, &info)?;
    require_early_start(config, &contract).await?;

    let start = l1
        .block(config.l1_start.into())
        .await?
        .ok_or(SetupError::NoStart { number: config.l1_start })?;
    let settings = NodeSettings {
        data_dir: config.data_dir.clone(),
        genesis,
        l1_start: L1Position { number: config.l1_start, hash: start.header.hash.0 },
        pool: config.pool(),
        state_blocks: config.state_blocks,
    };
    let node = tokio::task::spawn_blocking(move || Node::open(settings, Arc::new(keys))).await??;
    let (ours, theirs) = (node.genesis_archive_root(), info.genesis_archive_root);
    if ours != theirs {
        let (what, rollup) = ("genesis archive root", address.to_string());
        let (ours, theirs) = (field::to_hex(&ours), field::to_hex(&theirs));
        return Err(SetupError::Mismatch { what, ours, theirs, rollup }.into());
    }
    node.register_metrics(&process.metrics)?;
    process.show_disk(&config.data_dir)?;
    let shown = Arc::clone(&node);
    process.status_page.show("tips", move || serde_json::json!(shown.tips()));
    let shown = Arc::clone(&node);
    process
        .status_page
        .show("unverified_from_block", move || serde_json::json!(shown.tips().unverified()));
    let (limits, protection) = (config.http(), config.listener.protection());
    let server = HttpServer::open("rpc", &config.listen, limits, &protection, &process.metrics)?;
    let listener = listen(&config.listen, "--node-listen").await?;
    tracing::info!(address = %listener.local_addr()?, "node JSON-RPC listening");
    let rpc = Rpc::new(Arc::clone(&node), config.admission()).with_blobs(blobs.archive.clone());
    rpc.register_metrics(&process.metrics)?;
    tokio::spawn(server.serve(listener, rpc.router(), shutdown.clone()));
    let peers = config.tx_sources.iter().map(|url| NodeClient::new(url));
    let peers = peers.collect::<Result<Vec<_>, _>>()?;
    tokio::spawn(fetch_missing(Arc::clone(&node), peers, FETCH_PAUSE, shutdown.clone()));
    let conditions = &process.conditions;
    tokio::spawn(health::watch_chain(node.watch_tips(), conditions.clone(), shutdown.clone()));
    let inbox = EthAddress(info.contracts.inbox.into_array());
    let events = RollupEvents::new(l1.clone(), contract.clone(), inbox, Arc::new(blobs.clone()));
    let source = health::Watched::new(events, conditions.clone());
    let following =
        follow(Arc::clone(&node), source, Duration::from_millis(config.poll_ms), shutdown.clone());
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if let Err(error) = following.await {
            tracing::error!(%error, "node database failed; shutting down");
            // No success: a supervisor starts the process again, which goes on once there is space.
            stop.fail(error);
        }
    });
    Ok(RunningNode { node, l1, contract, rollup: address, info, blobs })
}

/// Requires that files and contract belong to one deployment.
pub(crate) fn agreed(
    config: &NodeConfig,
    genesis: &Genesis,
    keys: &ClientKeys,
    contract: &DeploymentInfo,
) -> Result<(), Failure> {
    let address = config.rollup()?;
    let check = |what, ours: String, theirs: String| match ours == theirs {
        true => Ok(()),
        false => Err(SetupError::Mismatch { what, ours, theirs, rollup: address.to_string() }),
    };
    let same =
        |what, ours: &Fr, theirs: &Fr| check(what, field::to_hex(ours), field::to_hex(theirs));
    check("chain id", genesis.chain_id.to_string(), config.chain_id.to_string())?;
    check("rollup address", genesis.rollup.to_string(), address.to_string())?;
    same("config hash", &genesis.config.hash(), &contract.config_hash)?;
    same("key root", &genesis.vk_root, &contract.vk_root)?;
    // It covers the four above and nothing else, so a difference means another formula: another protocol.
    check("rollup version", genesis.version().to_string(), contract.version.to_string())?;
    Ok(keys.require(&contract.vk_root, config.chain_id)?)
}
