//! Builds a block from the pool. Its only effects are reads of the node's state.

use std::sync::Arc;

use rollmill_node::{Node, NodeError, QueryError};
use rollmill_node_client::wire::BlockRef;
use rollmill_protocol::builder::{Block, BlockBuilder, BlockEnv, BlockError};
use rollmill_protocol::gas::FeePerGas;
use rollmill_protocol::state::{ApplyError, TxRejection};
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
    /// The state cannot be read.
    ///
    /// Do: Do what the message says; usually the disk of `--node-data-dir` is the cause.
    #[error("{code}: the state cannot be read: {0}", code = self.code())]
    State(String),
    /// The pending tip is not in the node's database.
    ///
    /// Do: Restart the sequencer. If it recurs, delete `--node-data-dir` to sync again.
    #[error("{code}: the pending tip is not in the node's store", code = self.code())]
    NoParent,
    /// No block can follow the pending tip, because its timestamp is the maximum.
    ///
    /// Do: Wait for the prune of the pending chain.
    #[error("{code}: no block can follow the pending tip, whose timestamp is 2^64 - 1", code = self.code())]
    EndOfTime,
}

rollmill_errors::coded! {
    BuildError {
        Self::Node(error) => (error),
        Self::Query(error) => (error),
        Self::Block(error) => (error),
        Self::State(..) => "SEQ-001",
        Self::NoParent => "SEQ-002",
        Self::EndOfTime => "SEQ-005",
    }
}

/// A block and the archive root it was built on.
#[derive(Debug)]
pub struct Built {
    pub block: Block,
    pub previous_archive_root: Fr,
}

/// The result of [`build`].
#[derive(Debug)]
pub struct Outcome {
    /// `None` when no candidate can be included and an empty block would not make one includable.
    pub built: Option<Built>,
    /// Candidates that could not follow the ones before them, with the reason.
    pub left_out: Vec<(Fr, String)>,
}

/// Builds a block on the pending tip from `candidates`, in order, until it contains `max_txs` or none
/// is left.
///
/// If none can be included because of the price, which one of them shows or `is_priced_out` says, the
/// block is empty: prices fall after it.
pub fn build(
    node: &Node,
    candidates: &[Arc<Tx>],
    max_txs: usize,
    env: BlockEnv,
    is_priced_out: bool,
) -> Result<Outcome, BuildError> {
    let parent = node.block_record(BlockRef::Pending)?.ok_or(BuildError::NoParent)?;
    let state = node.state_at(parent.header.block_number)?;
    let mut builder = BlockBuilder::new(&parent.header, Overlay::new(state), env)?;
    let mut left_out = Vec::new();
    let mut is_priced_out = is_priced_out;
    for tx in candidates {
        if builder.tx_count() == max_txs {
            break;
        }
        match builder.apply(tx) {
            Ok(_) => {}
            Err(ApplyError::Rejected(reason)) => {
                is_priced_out |= matches!(
                    reason,
                    TxRejection::PriceAboveMax { .. }
                        | TxRejection::FeeOverflow { .. }
                        | TxRejection::BalanceTooLow { .. }
                );
                left_out.push((tx.hash(), reason.to_string()));
            }
            Err(error) => return Err(BuildError::State(rollmill_errors::Bare(&error).to_string())),
        }
    }
    let can_fall = env.price != FeePerGas::MIN;
    if builder.tx_count() == 0 && !(is_priced_out && can_fall) {
        return Ok(Outcome { built: None, left_out });
    }
    let (block, _) = builder.finish()?;
    let built = Built { block, previous_archive_root: parent.archive_root };
    Ok(Outcome { built: Some(built), left_out })
}
