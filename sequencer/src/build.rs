//! Builds a block from the pool. Its only effects are reads of the node's state.

use std::sync::Arc;

use rollmill_node::{Node, NodeError, QueryError};
use rollmill_node_client::wire::BlockRef;
use rollmill_protocol::EthAddress;
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
}

// SEQ-005 is retired.
rollmill_errors::coded! {
    BuildError {
        Self::Node(error) => (error),
        Self::Query(error) => (error),
        Self::Block(error) => (error),
        Self::State(..) => "SEQ-001",
        Self::NoParent => "SEQ-002",
    }
}

/// A block and L1's chain before it.
#[derive(Debug)]
pub struct Built {
    pub block: Block,
    pub chain_before: Fr,
    /// The block's transactions, with their client proofs.
    pub txs: Vec<Arc<Tx>>,
}

/// What a proposer decides about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub slot: u64,
    pub coinbase: EthAddress,
    pub max_txs: usize,
    /// Whether a transaction waits that no block includes at these prices.
    pub is_priced_out: bool,
}

/// Whether L1 has messages that no block has appended. They are appended in order, so a block is built for
/// them even if no transaction waits: a new account can do nothing before its deposit is on the rollup.
pub fn has_messages(node: &Node) -> Result<bool, BuildError> {
    // After a prune they may belong to a number far above the tip.
    let tip = node.tips().pending.block_number;
    Ok(node.last_message_block()?.is_some_and(|last| last > tip))
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
/// is left. Time, prices and messages follow from the slot, the parent and L1.
///
/// If none can be included because of the price, which one of them shows or the choice says, the block is
/// empty: prices fall after it. It is empty, too, if only messages wait.
pub fn build(node: &Node, candidates: &[Arc<Tx>], choice: Choice) -> Result<Outcome, BuildError> {
    let parent = node.block_record(BlockRef::Pending)?.ok_or(BuildError::NoParent)?;
    let number = parent.header.block_number;
    let state = node.state_at(number)?;
    let Choice { slot, coinbase, max_txs, mut is_priced_out } = choice;
    let messages = node.messages(number.saturating_add(1))?;
    let env = BlockEnv { slot, coinbase, messages };
    let config = node.config();
    let mut builder = BlockBuilder::new(&parent.header, Overlay::new(state), config, env)?;
    let (mut txs, mut left_out) = (Vec::new(), Vec::new());
    for tx in candidates {
        if builder.tx_count() == max_txs {
            break;
        }
        match builder.apply(tx) {
            Ok(_) => txs.push(Arc::clone(tx)),
            Err(ApplyError::Rejected(reason)) => {
                is_priced_out |= matches!(
                    reason,
                    TxRejection::PriceAboveMax { .. }
                        | TxRejection::FeeOverflow { .. }
                        | TxRejection::ValueTooLow { .. }
                );
                left_out.push((tx.hash(), reason.to_string()));
            }
            Err(error) => return Err(BuildError::State(rollmill_errors::Bare(&error).to_string())),
        }
    }
    let least = config.min_fee_per_gas;
    let can_fall = builder.globals().price != FeePerGas { l2: least, da: least };
    if builder.tx_count() == 0 && !(is_priced_out && can_fall) && !has_messages(node)? {
        return Ok(Outcome { built: None, left_out });
    }
    let (block, _) = builder.finish()?;
    let built = Built { block, chain_before: parent.chain, txs };
    Ok(Outcome { built: Some(built), left_out })
}
