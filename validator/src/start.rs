//! Starts the parts of a process that sign blocks.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rollmill_l1::alloy::signers::local::PrivateKeySigner;
use rollmill_node::BlockSigner;
use rollmill_node::setup::RunningNode;
use rollmill_protocol::Config;
use rollmill_service::{Error as ServeError, Failure, HttpLimits, HttpServer, Process, listen};
use tokio::task::JoinHandle;

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
/// Folder for evidence against other members, beside the record of signatures.
const EVIDENCE: &str = "evidence";
/// Chain id of anvil and hardhat, on which nothing is at stake. Tests move its time, which may be far behind the clock.
const DEVELOPMENT_CHAIN: u64 = 31337;

/// The duties of a node's deployment.
pub fn duties(running: &RunningNode) -> L1Duties {
    let selection = running.contract.selection(&running.info);
    L1Duties::new(selection, running.l1.clone(), Arc::clone(&running.node))
}

/// The first slot of which a new record of signatures covers anything, by L1's head as an endpoint reports it.
///
/// That endpoint may lag, and a record that was lost may have rows of slots after its head: a signature of another
/// block of one of them costs the stake. So the machine's clock counts where it is later.
fn first_slot(config: &Config, chain_id: u64, head: u64, clock: u64) -> u64 {
    let now = match chain_id {
        DEVELOPMENT_CHAIN => head,
        _ => head.max(clock),
    };
    config.slot_at(now).saturating_add(LEFT_OUT)
}

/// Opens the account's record of signatures. A new one of a committee with other members leaves out the present
/// slot and the next, by L1's head and by the machine's clock.
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
            let head = running.l1.latest().await?.timestamp;
            let clock = SystemTime::now().duration_since(UNIX_EPOCH);
            let clock = clock.map_or(0, |since| since.as_secs());
            first_slot(running.node.config(), running.l1.chain_id(), head, clock)
        }
    };
    let (path, chain_id, rollup) =
        (config.signatures.clone(), running.l1.chain_id(), running.rollup);
    let open = move || BlockSigner::open(&path, key, chain_id, rollup, first);
    Ok(Arc::new(tokio::task::spawn_blocking(open).await??))
}

/// The part of a process that attests blocks of other members, if it does.
#[derive(Debug)]
pub struct Attesting(Option<Tasks>);

#[derive(Debug)]
struct Tasks {
    server: JoinHandle<Result<(), ServeError>>,
    keeper: JoinHandle<()>,
}

impl Attesting {
    /// Waits, after the shutdown started, until each proposal that was taken before is answered. The grace period bounds
    /// the wait, as it does for the whole process.
    ///
    /// # Errors
    /// Why the server ended before.
    pub async fn finished(self) -> Result<(), Failure> {
        let Some(Tasks { server, keeper }) = self.0 else { return Ok(()) };
        server.await??;
        keeper.await?;
        Ok(())
    }
}

/// Attests blocks of other members as part of `process`, until it shuts down, if the settings have an address for
/// that. Proposals that are being checked then are answered before [`Attesting::finished`] returns.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve<C>(
    config: &CommitteeConfig,
    running: &RunningNode,
    signer: &Arc<BlockSigner>,
    process: &Process<C>,
) -> Result<Attesting, Failure> {
    let Some(address) = &config.listen else { return Ok(Attesting(None)) };
    let (node, shutdown) = (&running.node, &process.shutdown);
    let metrics = Metrics::new(&process.metrics)?;
    let settings = Settings {
        checks: config.checks,
        turn: TURN,
        token: config.listen_token.clone(),
        evidence: config.signatures.with_file_name(EVIDENCE),
    };
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
    let served = server.serve(listener, router(Arc::new(validator)), shutdown.clone());
    let kept = keep_proofs(Arc::clone(node), Arc::clone(signer), shutdown.clone());
    let (server, keeper) = (tokio::spawn(served), tokio::spawn(kept));
    Ok(Attesting(Some(Tasks { server, keeper })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault: the record is lost, and the only endpoint that answers is an hour behind. Slots that were signed since
    /// are left out nevertheless; a clock that is behind L1 takes nothing away.
    #[test]
    fn a_new_record_leaves_out_what_a_lagging_endpoint_does_not_know() {
        let config =
            Config { genesis_time: 1_000, slot_seconds: 36, ..rollmill_protocol_testing::config() };
        let first = |chain_id, head, clock| first_slot(&config, chain_id, head, clock);
        let (now, hour_ago) = (1_000 + 36 * 500, 1_000 + 36 * 400);
        for (head, clock) in [(now, now), (hour_ago, now), (now, hour_ago), (now, 0)] {
            assert_eq!(first(1, head, clock), 502, "head {head}, clock {clock}");
        }
        // Before slot 0 begins.
        assert_eq!(first(1, 10, 20), 2);
        // A test moves the time of a development chain, so the clock says nothing of it.
        assert_eq!(first(DEVELOPMENT_CHAIN, hour_ago, now), 402);
    }
}
