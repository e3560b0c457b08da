//! Builds a block out of the pool. Pure but for reads of the node's state.

use std::sync::Arc;

use rollmill_node::{Node, NodeError, QueryError};
use rollmill_node_client::wire::BlockRef;
use rollmill_protocol::builder::{Block, BlockBuilder, BlockEnv, BlockError};
use rollmill_protocol::state::ApplyError;
use rollmill_protocol::tree::Overlay;
use rollmill_protocol::{Fr, Tx};

/// Why no block was built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("SEQ-001: the state could not be read: {0}")]
    State(String),
    #[error("SEQ-002: the pending tip is not in the node's store")]
    NoParent,
}

/// A block and what it was built on.
#[derive(Debug)]
pub struct Built {
    pub block: Block,
    pub previous_archive_root: Fr,
    /// Transactions that could not follow the ones before them, with the reason.
    pub left_out: Vec<(Fr, String)>,
}

/// Builds a block on the pending tip out of `candidates`, in order, up to `max_txs`; `None` when none
/// of them can be taken.
pub fn build(
    node: &Node,
    candidates: &[Arc<Tx>],
    max_txs: usize,
    env: BlockEnv,
) -> Result<Option<Built>, BuildError> {
    let parent = node.block_record(BlockRef::Pending)?.ok_or(BuildError::NoParent)?;
    let state = node.state_at(parent.header.block_number)?;
    let mut builder = BlockBuilder::new(&parent.header, Overlay::new(state), env)?;
    let mut left_out = Vec::new();
    for tx in candidates {
        if builder.tx_count() == max_txs {
            break;
        }
        match builder.apply(tx) {
            Ok(_) => {}
            Err(ApplyError::Rejected(reason)) => left_out.push((tx.hash(), reason.to_string())),
            Err(error) => return Err(BuildError::State(error.to_string())),
        }
    }
    if builder.tx_count() == 0 {
        return Ok(None);
    }
    let (block, _) = builder.finish()?;
    Ok(Some(Built { block, previous_archive_root: parent.archive_root, left_out }))
}
