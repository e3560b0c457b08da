//! Gathers the inputs of an epoch's proofs: re-executes its blocks with the transactions as they were
//! sent, client proofs included.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollmill_circuits::keyset::KeySet;
use rollmill_errors::{Bare, Coded};
use rollmill_node::{BlockRecord, Node};
use rollmill_node_client::NodeClient;
use rollmill_node_client::wire::BlockRef;
use rollmill_protocol::builder::{Block, BlockBuilder, BlockEnv};
use rollmill_protocol::field::to_hex;
use rollmill_protocol::plan::EpochPlan;
use rollmill_protocol::tree::Overlay;
use rollmill_protocol::{Commitment, EthAddress, Fr, Tx, TxTransition};

use crate::pipeline::Work;
use crate::prove::Source;
use crate::range::RangeWork;
use crate::ranges::RangeBlock;
use crate::work::WorkError;

/// How long a block counts as one without its transactions since somebody last began to look for it, or found nothing:
/// longer than the longest pause between two attempts, and than an attempt at some peers of which none answers. Nobody
/// looks for the blocks of a range that was stopped.
const LOOKED_FOR: Duration = Duration::from_secs(120);

/// One executed block with the data that the circuits need.
#[derive(Debug, Clone)]
pub struct BlockWork {
    pub block: Block,
    /// The chain hash before the block.
    pub chain_before: Fr,
    /// Commitment to the block's blob, as L1 has it.
    pub commitment: Commitment,
    pub txs: Vec<(Arc<Tx>, TxTransition)>,
}

/// Why a block cannot be proven yet, or at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// No node has the transaction with its client proof.
    ///
    /// Do: Name more nodes in `--tx-sources`.
    #[error("{code}: no node has transaction {tx_hash} of block {block} with its client proof; name more --tx-sources", code = self.code())]
    Missing { block: u64, tx_hash: String },
    /// The chain changed while it was read. The prover node retries.
    ///
    /// Do: Nothing.
    #[error("{code}: block {block} is not on this node's chain any more", code = self.code())]
    Gone { block: u64 },
    /// Executing the block produced another header or another link than the chain's.
    ///
    /// Do: Run the release of the deployment. If it is, delete the data directory to sync again,
    /// and report it if it recurs.
    #[error("{code}: executing block {block} gave {got}, the chain has {expected}", code = self.code())]
    Differs { block: u64, expected: String, got: String },
    /// A block cannot be read or executed. The prover node retries.
    ///
    /// Do: Do what the message says.
    #[error("{code}: block {block}: {cause}", code = self.code(), cause = Bare(.cause.as_ref()))]
    Failed { block: u64, cause: Box<dyn Coded + Send + Sync> },
}

rollmill_errors::coded! {
    GatherError {
        Self::Missing { .. } => "PRN-010",
        Self::Gone { .. } => "PRN-011",
        Self::Differs { .. } => "PRN-012",
        Self::Failed { .. } => "PRN-013",
    }
}

fn failed<E: Coded + Send + Sync + 'static>(block: u64) -> impl FnOnce(E) -> GatherError {
    move |cause| GatherError::Failed { block, cause: Box::new(cause) }
}

/// Fetches the transactions of block `number`: from the node's pool, else from peers, whose responses
/// the node verifies and stores.
pub async fn fetch(
    node: &Arc<Node>,
    peers: &[NodeClient],
    number: u64,
) -> Result<Vec<Arc<Tx>>, GatherError> {
    let stored =
        node.block(number).map_err(failed(number))?.ok_or(GatherError::Gone { block: number })?;
    let mut txs = Vec::with_capacity(stored.tx_hashes.len());
    for tx_hash in &stored.tx_hashes {
        let kept = node.transaction(tx_hash).map_err(failed(number))?;
        let tx = match kept {
            Some(tx) => tx,
            None => from_peers(node, peers, number, tx_hash).await?,
        };
        txs.push(tx);
    }
    Ok(txs)
}

async fn from_peers(
    node: &Arc<Node>,
    peers: &[NodeClient],
    block: u64,
    tx_hash: &Fr,
) -> Result<Arc<Tx>, GatherError> {
    for peer in peers {
        match peer.transaction(tx_hash).await {
            Ok(Some(tx)) => {
                let (store, copy) = (Arc::clone(node), tx.clone());
                let kept = tokio::task::spawn_blocking(move || store.keep_included(copy)).await;
                match kept {
                    Ok(Ok(())) => return Ok(Arc::new(tx)),
                    Ok(Err(error)) => {
                        tracing::warn!(peer = peer.url(), %error, "transaction of a peer rejected");
                    }
                    Err(error) => tracing::error!(%error, "transaction not stored"),
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(peer = peer.url(), %error, "peer unreachable"),
        }
    }
    Err(GatherError::Missing { block, tx_hash: to_hex(tx_hash) })
}

/// Executes block `number` over its parent's state. Blocks on the disk and on hashing.
pub fn execute(node: &Node, number: u64, txs: Vec<Arc<Tx>>) -> Result<BlockWork, GatherError> {
    let record = |number: u64| -> Result<BlockRecord, GatherError> {
        node.block_record(BlockRef::Number(number))
            .map_err(failed(number))?
            .ok_or(GatherError::Gone { block: number })
    };
    let (parent, this) = (record(number.saturating_sub(1))?, record(number)?);
    let state = node.state_at(parent.header.block_number).map_err(failed(number))?;
    let env = BlockEnv {
        slot: this.header.slot,
        coinbase: this.header.coinbase,
        messages: node.messages(number).map_err(failed(number))?,
    };
    let mut builder = BlockBuilder::new(&parent.header, Overlay::new(state), node.config(), env)
        .map_err(failed(number))?;
    let mut done = Vec::with_capacity(txs.len());
    for tx in txs {
        let transition = builder.apply(&tx).map_err(failed(number))?;
        done.push((tx, transition));
    }
    let (block, _) = builder.finish().map_err(failed(number))?;
    if block.header_hash != this.header_hash {
        let (expected, got) = (to_hex(&this.header_hash), to_hex(&block.header_hash));
        return Err(GatherError::Differs { block: number, expected, got });
    }
    let (chain_before, commitment) = (parent.chain, this.commitment);
    // The transactions that were found are those of the link that L1 has, down to each word of a log.
    let link = block.chain_link(chain_before, &block.opening(commitment));
    if link.chain() != this.chain {
        let (expected, got) = (to_hex(&this.chain), to_hex(&link.chain()));
        return Err(GatherError::Differs { block: number, expected, got });
    }
    Ok(BlockWork { block, chain_before, commitment, txs: done })
}

/// Blocks whose transactions no node had when they were last looked for.
#[derive(Debug, Default)]
pub struct Missing {
    blocks: Mutex<BTreeMap<u64, (Instant, String)>>,
}

impl Missing {
    fn note(&self, number: u64, error: Option<&GatherError>, now: Instant) {
        let mut blocks = self.blocks.lock();
        match error {
            Some(error @ GatherError::Missing { .. }) => {
                blocks.insert(number, (now, error.to_string()));
            }
            _ => {
                blocks.remove(&number);
            }
        }
    }

    /// Somebody looks for a block again, and nobody knows yet whether it has its transactions now.
    fn look(&self, number: u64, now: Instant) {
        if let Some((at, _)) = self.blocks.lock().get_mut(&number) {
            *at = now;
        }
    }

    /// Why the first of them cannot be proven.
    pub fn reason(&self, now: Instant) -> Option<String> {
        let mut blocks = self.blocks.lock();
        blocks.retain(|_, (at, _)| now.saturating_duration_since(*at) < LOOKED_FOR);
        blocks.values().next().map(|(_, why)| why.clone())
    }
}

/// The node's own chain as the source of blocks, and transactions from it and its peers.
#[derive(Debug)]
pub struct NodeSource {
    pub node: Arc<Node>,
    pub peers: Vec<NodeClient>,
    pub keys: Arc<KeySet>,
    pub prover_id: EthAddress,
    pub missing: Missing,
}

impl NodeSource {
    async fn transactions(&self, number: u64) -> Result<Vec<Arc<Tx>>, GatherError> {
        self.missing.look(number, Instant::now());
        let found = fetch(&self.node, &self.peers, number).await;
        self.missing.note(number, found.as_ref().err(), Instant::now());
        found
    }
}

impl Source for NodeSource {
    type Block = BlockWork;

    async fn fetch(&self, number: u64) -> Result<(), GatherError> {
        self.transactions(number).await.map(drop)
    }

    async fn block(&self, block: RangeBlock) -> Result<BlockWork, GatherError> {
        let number = block.number;
        let txs = self.transactions(number).await?;
        let node = Arc::clone(&self.node);
        let executed = tokio::task::spawn_blocking(move || execute(&node, number, txs)).await;
        let work = executed.map_err(WorkError::from).map_err(failed(number))??;
        if work.block.header_hash != block.header_hash {
            return Err(GatherError::Gone { block: number });
        }
        Ok(work)
    }

    fn tx_count(block: &BlockWork) -> usize {
        block.txs.len()
    }

    fn work(&self, plan: Arc<EpochPlan>, blocks: Vec<Arc<BlockWork>>) -> Arc<dyn Work> {
        let ids = self.node.versions().ids;
        let config = *self.node.config();
        let (chain_id, version) = (ids.chain_id, ids.rollup_version);
        Arc::new(RangeWork {
            plan,
            keys: Arc::clone(&self.keys),
            constants: self.keys.constants(chain_id, version, &config, self.prover_id),
            config,
            blocks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_without_transactions_is_named_until_it_has_them_or_nobody_looks_for_it() {
        let (missing, start) = (Missing::default(), Instant::now());
        let error = |block| GatherError::Missing { block, tx_hash: "0xab".to_owned() };
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(missing.reason(start), None);
        missing.note(8, Some(&error(8)), start);
        missing.note(7, Some(&error(7)), start);
        let why = missing.reason(start).unwrap();
        assert!(why.starts_with("PRN-010: ") && why.contains("block 7"), "{why}");
        assert!(why.contains("--tx-sources"), "{why}");
        missing.note(7, None, start);
        assert!(missing.reason(start).unwrap().contains("block 8"));
        // It left the chain.
        missing.note(8, Some(&GatherError::Gone { block: 8 }), start);
        assert_eq!(missing.reason(start), None);
        missing.note(9, Some(&error(9)), start);
        assert!(missing.reason(after(119)).is_some());
        // Peers that do not answer take their time.
        missing.look(9, after(119));
        missing.look(10, after(119));
        assert!(missing.reason(after(238)).unwrap().contains("block 9"));
        assert_eq!(missing.reason(after(239)), None);
    }
}
