//! Starts the parts of a process that sign blocks.

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_node::BlockSigner;
use rollmill_node::setup::RunningNode;
use rollmill_service::{Failure, HttpLimits, HttpServer, Process, listen};

use crate::config::CommitteeConfig;
use crate::duties::L1Duties;
use crate::keep::keep_proofs;
use crate::metrics::Metrics;
use crate::server::router;
use crate::validator::{Settings, Validator};

/// Connections of proposers. A committee has at most 64, and each may send a body of some megabytes.
const CONNECTIONS: usize = 128;
const CONNECTIONS_PER_PEER: usize = 32;
/// How long a proposal waits for others that are being checked: a proposer has no longer.
const TURN: Duration = Duration::from_secs(2);
/// Slots that a new record of signatures leaves out: the present one and the next. A record that was lost may have
/// had rows of them.
const LEFT_OUT: u64 = 2;

/// The duties of a node's deployment.
pub fn duties(running: &RunningNode) -> L1Duties {
    let selection = running.contract.selection(&running.info);
    L1Duties::new(selection, running.l1.clone(), Arc::clone(&running.node))
}

/// Opens the account's record of signatures. A new one of a committee with other members leaves out the present
/// slot and the next.
///
/// # Errors
/// When another process has it open, or L1 cannot be read.
pub async fn open_signer(
    config: &CommitteeConfig,
    running: &RunningNode,
    key: PrivateKeySigner,
) -> Result<Arc<BlockSigner>, Failure> {
    let is_alone = config.others().is_empty() && config.listen.is_none();
    let first = match is_alone {
        true => 0,
        false => {
            let now = running.l1.latest().await?.timestamp;
            running.node.config().slot_at(now).saturating_add(LEFT_OUT)
        }
    };
    let (path, chain_id, rollup) =
        (config.signatures.clone(), running.l1.chain_id(), running.rollup);
    let open = move || BlockSigner::open(&path, key, chain_id, rollup, first);
    Ok(Arc::new(tokio::task::spawn_blocking(open).await??))
}

/// Attests blocks of other members as part of `process`, until it shuts down, if the settings have an address for
/// that.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve<C>(
    config: &CommitteeConfig,
    running: &RunningNode,
    signer: &Arc<BlockSigner>,
    process: &Process<C>,
) -> Result<(), Failure> {
    let Some(address) = &config.listen else { return Ok(()) };
    let (node, shutdown) = (&running.node, &process.shutdown);
    let metrics = Metrics::new(&process.metrics)?;
    let settings =
        Settings { checks: config.checks, turn: TURN, token: config.listen_token.clone() };
    let validator = Validator::new(
        Arc::clone(node),
        Arc::clone(signer),
        running.blobs.kzg,
        duties(running),
        settings,
        metrics,
    );
    let listener = listen(address, "--committee-listen").await?;
    tracing::info!(
        address = %listener.local_addr()?,
        account = %signer.account(),
        "validator listening"
    );
    let limits = HttpLimits {
        connections: CONNECTIONS,
        connections_per_peer: CONNECTIONS_PER_PEER,
        ..HttpLimits::default()
    };
    let (protection, registry) = (config.listener.protection(), &process.metrics);
    let server = HttpServer::open("committee", address, limits, &protection, registry)?;
    tokio::spawn(server.serve(listener, router(Arc::new(validator)), shutdown.clone()));
    tokio::spawn(keep_proofs(Arc::clone(node), Arc::clone(signer), shutdown.clone()));
    Ok(())
}
