//! Quotes of provers: what each asks for proving an epoch.
//!
//! A proposer takes them on an address of their own. Provers are not members of the committee: they need neither its
//! token nor its connections, which a proposer must find free within its slot.
//!
//! A quote binds nobody on L1. No contract reads it, any prover may prove any epoch, and proofs are paid by the rates of
//! the deployment. The proposer logs and shows the cheapest quote; what two parties make of it is between them.

mod book;
mod config;
mod error;
mod server;

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::abi;
use rollmill_node::setup::RunningNode;
use rollmill_node::{Node, NodeError};
use rollmill_node_client::wire::BlockRef;
use rollmill_service::{Again, Failure, HttpLimits, HttpServer, Process, Retry, Shutdown, listen};

pub use book::{Market, Opening, QuoteBook};
pub use config::{ListenerConfig, Provers, QuotesConfig};
pub use error::QuoteError;
pub use server::{Admission, QuoteServer, router};

use crate::metrics::Metrics;

/// Pause between two times at which the cheapest quotes are shown.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest pause after the slot could not be read.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Connections of provers, each of which sends some hundred bytes.
const CONNECTIONS: usize = 128;
const CONNECTIONS_PER_PEER: usize = 32;
/// Time for a request's head or body: both are small.
const REQUEST: Duration = Duration::from_secs(5);

/// Reads the slot of L1's head. It may wait for the disk.
pub type SlotReader = Arc<dyn Fn() -> Result<u64, NodeError> + Send + Sync>;

/// The slot of L1's head, as a node has followed it.
pub fn slot_of(node: &Arc<Node>) -> SlotReader {
    let node = Arc::clone(node);
    Arc::new(move || Ok(node.config().slot_at(node.l1_time()?)))
}

/// Takes quotes as part of `process`, until it shuts down, if the settings have an address for that.
///
/// # Errors
/// When the address cannot be listened on, or its certificate cannot be used.
pub async fn start<C>(
    config: &QuotesConfig,
    running: &RunningNode,
    metrics: &Metrics,
    process: &Process<C>,
) -> Result<Option<Arc<QuoteBook>>, Failure> {
    let Some(address) = &config.listen else { return Ok(None) };
    let market = Market {
        chain_id: running.l1.chain_id(),
        rollup: abi::address(running.rollup),
        slots_per_epoch: running.node.config().slots_per_epoch,
    };
    let provers = config.provers.as_ref();
    let provers = provers.map(|provers| provers.iter().map(|it| abi::address(*it)).collect());
    let book = Arc::new(QuoteBook::new(market, provers, metrics.clone()));
    let slot = slot_of(&running.node);
    let listener = listen(address, "--quotes-listen").await?;
    tracing::info!(address = %listener.local_addr()?, "listening for quotes of provers");
    let limits = HttpLimits {
        connections: CONNECTIONS,
        connections_per_peer: CONNECTIONS_PER_PEER,
        head: REQUEST,
        body: REQUEST,
        ..HttpLimits::default()
    };
    let (protection, registry) = (config.listener.protection(), &process.metrics);
    let http = HttpServer::open("quotes", address, limits, &protection, registry)?;
    let (token, admission) = (config.listen_token.clone(), Admission::default());
    let server = QuoteServer::new(Arc::clone(&book), Arc::clone(&slot), token, admission);
    let shutdown = &process.shutdown;
    tokio::spawn(http.serve(listener, router(Arc::new(server)), shutdown.clone()));
    tokio::spawn(show(Arc::clone(&book), slot, shutdown.clone()));
    Ok(Some(book))
}

/// Shows the cheapest quotes now and then until `shutdown` starts.
async fn show(book: Arc<QuoteBook>, slot: SlotReader, shutdown: Shutdown) {
    let mut retry = Retry::new(PAUSE, RETRY_MAX);
    while !shutdown.is_started() {
        match read(&slot).await {
            Ok(slot) => {
                book.show(slot);
                retry.succeeded(|wait_seconds| tracing::info!(wait_seconds, "slot read again"));
                shutdown.within(PAUSE).await;
            }
            Err(error) => {
                let log = |Again { repeated, retry_seconds }| {
                    tracing::warn!(%error, repeated, retry_seconds, "quotes not shown; retrying");
                };
                retry.failed(shutdown.started(), log).await;
            }
        }
    }
}

async fn read(slot: &SlotReader) -> Result<u64, QuoteError> {
    let slot = Arc::clone(slot);
    Ok(tokio::task::spawn_blocking(move || slot()).await??)
}

/// What the block that is about to be proposed in this slot opens, and with which quote; `None` if it is not the first one
/// of its epoch. Quotes that come, expire or are replaced until L1 includes the block do not change it.
pub fn opening_of(book: &QuoteBook, node: &Node, block: u64, slot: u64) -> Option<Opening> {
    match opens_epoch(node, block, slot) {
        Ok(opens) => opens.then(|| book.choose(slot)),
        Err(error) => {
            // Nothing about the block depends on it.
            tracing::warn!(%error, block, "quote of an epoch not looked up");
            None
        }
    }
}

fn opens_epoch(node: &Node, block: u64, slot: u64) -> Result<bool, NodeError> {
    let parent = BlockRef::Number(block.saturating_sub(1));
    let Some(parent) = node.block_record(parent)? else { return Ok(false) };
    let epoch = |slot| node.config().epoch(slot);
    Ok(parent.header.block_number == 0 || epoch(parent.header.slot) != epoch(slot))
}
