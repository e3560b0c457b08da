//! Transactions that this wallet sent, and what becomes of the notes that they spend.
//!
//! A sent transaction holds its notes back until its block is proven, so that a reorganisation that takes
//! its block away finds it held back again, until the node says that it was dropped, or until another
//! transaction published one of its nullifiers. A node that does not know it is sent it again, and its
//! answer decides.
//!
//! No transaction has an end of its own: one that a node dropped can still be put into a block by whoever
//! kept a copy, as long as its anchor is on the chain and none of its nullifiers is published. That spends
//! the notes once all the same, as a nullifier is published once. But who pays again with *other* notes may
//! have paid twice; so a note that was given back is spent before others, which ends the dropped
//! transaction for good.

use std::collections::BTreeSet;

use rollmill_node_client::wire::{HexBytes, TxStatus};
use rollmill_node_client::{ClientError, NodeClient};
use rollmill_protocol::field::{serde_fr, to_hex};
use rollmill_protocol::{Fr, Tx};
use serde::{Deserialize, Serialize};

use super::{Wallet, node_error};
use crate::error::PxeError;

/// A transaction that was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sent {
    #[serde(with = "serde_fr")]
    tx_hash: Fr,
    /// [`Tx::to_bytes`].
    tx: HexBytes,
    /// Block that holds it, as far as the chain was read.
    included_in: Option<u64>,
    /// The user was told of it. False from before it is sent until then, so that the transaction of a
    /// command that was cut off in between is told by a later one, before that one pays again.
    #[serde(default = "yes")]
    reported: bool,
}

/// State of before this was kept holds only transactions that were sent.
fn yes() -> bool {
    true
}

impl Sent {
    fn nullifiers(&self) -> Vec<Fr> {
        // Written by this wallet and sealed, so it decodes; and what does not holds nothing back.
        let tx = Tx::from_bytes(&self.tx.0).ok();
        tx.map(|tx| tx.effects.present_nullifiers().copied().collect()).unwrap_or_default()
    }
}

/// What a node says of a transaction that is in no block that was read.
enum Word {
    /// It may still come.
    Wait,
    /// The node does not have it, and why.
    Gone(String),
}

impl Wallet {
    /// Holds back what a transaction spends, before it is sent: an answer that is lost leaves it held.
    pub(super) fn hold(&mut self, tx: &Tx) {
        self.state.sent.push(Sent {
            tx_hash: tx.hash(),
            tx: HexBytes(tx.to_bytes()),
            included_in: None,
            reported: false,
        });
        self.mark();
    }

    /// Takes note of a block's transaction.
    pub(super) fn note_published(&mut self, block: u64, tx_hash: Fr, nullifiers: &BTreeSet<Fr>) {
        self.state.sent.retain_mut(|sent| {
            if sent.tx_hash == tx_hash {
                sent.included_in = Some(block);
                return true;
            }
            // Another one spent what this one spends: it cannot come any more.
            sent.included_in.is_some() || !sent.nullifiers().iter().any(|n| nullifiers.contains(n))
        });
    }

    /// Transactions of commands that were cut off before they told of them, and that are sent or will be
    /// by [`Wallet::sync`]. After a sync, those that cannot land are not among them.
    pub fn unreported(&self) -> Vec<Fr> {
        self.state.sent.iter().filter(|sent| !sent.reported).map(|sent| sent.tx_hash).collect()
    }

    /// The user was told that this transaction is sent, or may be.
    pub fn report(&mut self, tx_hash: &Fr) {
        for sent in self.state.sent.iter_mut().filter(|sent| sent.tx_hash == *tx_hash) {
            sent.reported = true;
        }
    }

    /// After a reorganisation nothing is in a block until the chain is read again.
    pub(super) fn unplace_sent(&mut self) {
        self.state.sent.iter_mut().for_each(|sent| sent.included_in = None);
    }

    /// Asks the node what became of the transactions that are in no block, and gives back the notes of
    /// those that it dropped.
    pub(super) async fn settle(&mut self, node: &NodeClient) -> Result<(), PxeError> {
        let tips = node.tips().await.map_err(node_error)?;
        let proven = tips.proven.block_number;
        (self.proven, self.verified) = (proven, tips.verified.block_number);
        self.state
            .sent
            .retain(|sent| !sent.reported || sent.included_in.is_none_or(|block| block > proven));
        let waiting: Vec<Sent> =
            self.state.sent.iter().filter(|sent| sent.included_in.is_none()).cloned().collect();
        for sent in waiting {
            if let Word::Gone(reason) = ask(node, &sent).await? {
                self.give_back(&sent.tx_hash, &reason);
            }
        }
        self.mark();
        Ok(())
    }

    /// Forgets a transaction and releases its notes.
    pub(super) fn give_back(&mut self, tx_hash: &Fr, reason: &str) {
        let tx = to_hex(tx_hash);
        tracing::warn!(tx, reason, "transaction dropped; its notes are spendable again");
        let (gone, kept) = std::mem::take(&mut self.state.sent)
            .into_iter()
            .partition::<Vec<Sent>, _>(|sent| sent.tx_hash == *tx_hash);
        self.state.sent = kept;
        let back: BTreeSet<Fr> = gone.iter().flat_map(Sent::nullifiers).collect();
        for note in &mut self.state.notes {
            note.given_back |= back.contains(&note.nullifier);
        }
        self.mark();
    }

    /// Brings the notes' marks in line with what was sent.
    fn mark(&mut self) {
        let held: BTreeSet<Fr> = self.state.sent.iter().flat_map(Sent::nullifiers).collect();
        for note in &mut self.state.notes {
            note.pending = note.spent_in.is_none() && held.contains(&note.nullifier);
        }
    }
}

async fn ask(node: &NodeClient, sent: &Sent) -> Result<Word, PxeError> {
    match node.transaction_status(&sent.tx_hash).await.map_err(node_error)? {
        // In a block that was not there when the chain was read.
        TxStatus::Pending { .. } | TxStatus::Included { .. } | TxStatus::Proven { .. } => {
            Ok(Word::Wait)
        }
        TxStatus::Dropped { reason } => Ok(Word::Gone(reason)),
        TxStatus::Unknown => {
            let Ok(tx) = Tx::from_bytes(&sent.tx.0) else {
                return Ok(Word::Gone("what was kept of it cannot be read".to_owned()));
            };
            match node.send_transaction(&tx).await {
                Ok(_) => Ok(Word::Wait),
                Err(error) if is_refusal(&error) => Ok(Word::Gone(error.to_string())),
                Err(_) => Ok(Word::Wait),
            }
        }
    }
}

/// Whether the node will not have a transaction, as it is. A pool that is full, or that holds another
/// transaction with the same nullifier, may have it later; a node that is at fault said nothing of it.
pub(super) fn is_refusal(error: &ClientError) -> bool {
    let of_the_transaction = ["020", "021", "022", "025", "026"];
    let code = error.refusal().and_then(|code| code.strip_prefix("NODE-"));
    code.is_some_and(|code| of_the_transaction.contains(&code))
}
