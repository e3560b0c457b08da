//! Fetches from other nodes the client proofs that this one does not have.
//!
//! Without them a block is unverified until L1 has its proof: its transactions may mint notes and
//! charge strangers, and this node could not detect that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rollmill_node_client::NodeClient;
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use rollmill_service::{Backoff, Shutdown};

use crate::error::PoolError;
use crate::node::Node;

/// Transactions requested between two checks of what is missing.
const BATCH: usize = 64;
/// Attempts for one transaction between two log events.
const LOG_EACH: u32 = 100;
/// Pauses while no peer has anything that is missing grow to so many times the first.
const PAUSE_GROWTH: u32 = 4;

/// Asks `peers` for missing client proofs until `shutdown` starts: as blocks come, and again after `pause`, and
/// later after longer pauses, while some are missing.
pub async fn fetch_missing(
    node: Arc<Node>,
    peers: Vec<NodeClient>,
    pause: Duration,
    shutdown: Shutdown,
) {
    if peers.is_empty() {
        return;
    }
    let mut tips = node.watch_tips();
    let mut tries: HashMap<Fr, u32> = HashMap::new();
    let mut retry = Backoff::new(pause, pause * PAUSE_GROWTH);
    loop {
        let missing: Vec<(u64, Fr)> = node
            .missing_proofs()
            .into_iter()
            .flat_map(|(block, hashes)| hashes.into_iter().map(move |hash| (block, hash)))
            .collect();
        tries.retain(|hash, _| missing.iter().any(|(_, other)| other == hash));
        // The least tried first, so that one that no peer has does not delay the others.
        let mut order = missing;
        order.sort_by_key(|(block, hash)| (tries.get(hash).copied().unwrap_or_default(), *block));
        let is_complete = order.is_empty();
        for (block, tx_hash) in order.into_iter().take(BATCH) {
            let found = tokio::select! {
                () = shutdown.started() => return,
                found = fetch(&node, &peers, &tx_hash) => found,
            };
            if found {
                retry.reset();
                tries.remove(&tx_hash);
                continue;
            }
            let count = tries.entry(tx_hash).or_default();
            if count.is_multiple_of(LOG_EACH) {
                let tx = to_hex(&tx_hash);
                tracing::warn!(
                    block,
                    tx,
                    attempt = *count + 1,
                    "client proof not found at any peer"
                );
            }
            *count += 1;
        }
        tokio::select! {
            () = shutdown.started() => return,
            changed = tips.changed() => match changed {
                Ok(()) => retry.reset(),
                Err(_) => return,
            },
            () = tokio::time::sleep(retry.pause()), if !is_complete => {}
        }
    }
}

/// Asks each peer; true when one had it and the node stored it.
async fn fetch(node: &Arc<Node>, peers: &[NodeClient], tx_hash: &Fr) -> bool {
    for peer in peers {
        match peer.transaction(tx_hash).await {
            Ok(Some(tx)) => {
                let store = Arc::clone(node);
                let kept = tokio::task::spawn_blocking(move || store.keep_included(tx)).await;
                match kept.unwrap_or(Err(PoolError::Busy)) {
                    Ok(()) => return true,
                    Err(error) => {
                        tracing::warn!(peer = peer.url(), %error, "client proof of a peer rejected");
                    }
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(peer = peer.url(), %error, "peer unreachable"),
        }
    }
    false
}
