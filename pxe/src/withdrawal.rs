//! What the contract `FeePortal` needs to pay out a withdrawal: the place of its message in the block's
//! tree of messages to L1, and the siblings up to the tree's root.

use std::fmt;

use rollmill_errors::Bare;
use rollmill_node_client::NodeClient;
use rollmill_node_client::wire::TxStatus;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::message::{out_path, out_root};
use rollmill_protocol::{BlockData, EthAddress, Fr};

use crate::error::PxeError;
use crate::wallet::node_error;

/// A withdrawal and the path of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    pub block_number: u64,
    /// Index of the transaction in its block.
    pub tx: usize,
    pub recipient: EthAddress,
    /// Amount in units.
    pub amount: u64,
    /// Siblings, lowest first.
    pub path: Vec<Fr>,
    /// Whether the block is proven on L1: only then does the contract pay.
    pub is_proven: bool,
}

impl Withdrawal {
    /// Finds the withdrawal of a transaction in the node's blocks.
    ///
    /// # Errors
    /// [`PxeError::NotIncluded`], [`PxeError::NoWithdrawal`], and [`PxeError::Node`] for a block that is
    /// not what it claims to be.
    pub async fn find(node: &NodeClient, tx_hash: &Fr) -> Result<Self, PxeError> {
        let status = node.transaction_status(tx_hash).await.map_err(node_error)?;
        let (number, is_proven) = match status {
            TxStatus::Included { block_number, .. } => (block_number, false),
            TxStatus::Proven { block_number, .. } => (block_number, true),
            TxStatus::Unknown | TxStatus::Pending { .. } | TxStatus::Dropped { .. } => {
                return Err(PxeError::NotIncluded { hash: to_hex(tx_hash) });
            }
        };
        let blocks = node.block_effects(number, 1).await.map_err(node_error)?;
        let block = blocks.first().filter(|block| block.block_number == number);
        let block = block.ok_or_else(|| PxeError::Node(format!("it has no block {number}")))?;
        let block = block.decode().map_err(|error| PxeError::Node(Bare(&error).to_string()))?;
        Ok(Self { is_proven, ..Self::of(&block, tx_hash)? })
    }

    /// The withdrawal of a transaction of this block, which counts as not proven.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn of(block: &BlockData, tx_hash: &Fr) -> Result<Self, PxeError> {
        let header = &block.header;
        let absent = || PxeError::Node(format!("block {} lacks it", header.block_number));
        let tx = block.txs.iter().position(|tx| tx.effects.tx_hash() == *tx_hash);
        let tx = tx.ok_or_else(absent)?;
        let effects = &block.txs[tx].effects;
        if effects.withdraw_amount == 0 {
            return Err(PxeError::NoWithdrawal { hash: to_hex(tx_hash) });
        }
        let leaves: Vec<_> = block.txs.iter().map(|tx| tx.effects.out_leaves()).collect();
        if out_root(&leaves) != header.out_root {
            let why = format!("block {} has other messages to L1", header.block_number);
            return Err(PxeError::Node(why));
        }
        Ok(Self {
            block_number: header.block_number,
            tx,
            recipient: effects.withdraw_recipient,
            amount: effects.withdraw_amount,
            path: out_path(&leaves, tx, 0).ok_or_else(absent)?,
            is_proven: false,
        })
    }
}

/// One line for each argument of the contract's `withdraw`, in its order.
impl fmt::Display for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<String> = self.path.iter().map(to_hex).collect();
        writeln!(f, "block {}", self.block_number)?;
        writeln!(f, "transaction {}", self.tx)?;
        writeln!(f, "recipient {}", self.recipient)?;
        writeln!(f, "amount {}", self.amount)?;
        write!(f, "path [{}]", path.join(","))
    }
}
