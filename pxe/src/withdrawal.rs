//! What the contract `FeePortal` needs to pay out a withdrawal: the place of its message in the block's
//! tree of messages to L1, and the siblings up to the tree's root.

use std::fmt;
use std::str::FromStr;

use rollmill_errors::Bare;
use rollmill_node_client::NodeClient;
use rollmill_node_client::wire::TxStatus;
use rollmill_protocol::field::{from_hex, to_hex};
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

/// Reads the text of [`Display`](fmt::Display). Whether the block is proven is not part of it.
impl FromStr for Withdrawal {
    type Err = PxeError;

    fn from_str(text: &str) -> Result<Self, PxeError> {
        let bad = |why: String| PxeError::WithdrawalText { why };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut next = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map(str::trim).ok_or_else(|| bad(format!("the line `{name}` is missing")))
        };
        let (block, tx) = (next("block")?, next("transaction")?);
        let (recipient, amount) = (next("recipient")?, next("amount")?);
        let path = next("path")?;
        if let Some(more) = lines.next() {
            let start: String = more.chars().take(20).collect();
            return Err(bad(format!("`{start}` follows the path")));
        }
        let number = |name: &str, text: &str| {
            text.parse::<u64>().map_err(|_| bad(format!("`{name}` is no number")))
        };
        let list = path.strip_prefix('[').and_then(|path| path.strip_suffix(']'));
        let list = list.ok_or_else(|| bad("`path` has no brackets".to_owned()))?;
        let siblings = list.split(',').map(str::trim).filter(|item| !item.is_empty());
        let path = siblings.map(from_hex).collect::<Result<Vec<Fr>, _>>();
        let no_tx = |_| bad("`transaction` is beyond any block".to_owned());
        Ok(Self {
            block_number: number("block", block)?,
            tx: usize::try_from(number("transaction", tx)?).map_err(no_tx)?,
            recipient: EthAddress::from_hex(recipient)
                .map_err(|_| bad("`recipient` is no account on L1".to_owned()))?,
            amount: number("amount", amount)?,
            path: path
                .map_err(|_| bad("`path` has a sibling that is no field element".to_owned()))?,
            is_proven: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawal_is_read_back_from_its_text_and_nothing_else_is() {
        let withdrawal = Withdrawal {
            block_number: 7,
            tx: 3,
            recipient: EthAddress([0xab; 20]),
            amount: u64::MAX,
            path: vec![Fr::from(1u64), Fr::from(2u64)],
            is_proven: false,
        };
        let text = withdrawal.to_string();
        assert_eq!(text.parse::<Withdrawal>().unwrap(), withdrawal);
        assert_eq!(format!("\n{text}\r\n").parse::<Withdrawal>().unwrap(), withdrawal);
        let alone = Withdrawal { path: Vec::new(), ..withdrawal };
        assert_eq!(alone.to_string().parse::<Withdrawal>().unwrap(), alone);
        for (from, to, why) in [
            ("block 7", "block -7", "`block` is no number"),
            ("block 7\n", "", "line `block`"),
            ("recipient 0x", "recipient 0y", "no account on L1"),
            ("amount 18446744073709551615", "amount 18446744073709551616", "`amount` is no number"),
            ("path [", "path ", "brackets"),
            ("path [0x", "path [0xg", "no field element"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            let error = changed.parse::<Withdrawal>().unwrap_err();
            assert!(error.to_string().contains(why), "{changed}: {error}");
        }
        let longer = format!("{text}\nblock 8");
        assert!(longer.parse::<Withdrawal>().unwrap_err().to_string().contains("follows the path"));
    }
}
