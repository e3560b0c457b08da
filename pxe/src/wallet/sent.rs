//! Transactions that this wallet sent, and the state of the notes that they spend.
//!
//! The notes of a sent transaction stay locked until its block is proven (a reorganisation may remove
//! the block before that), until the node reports that it was dropped, or until another transaction
//! publishes one of its nullifiers. If the node does not know the transaction, the wallet sends it
//! again, and the response decides.
//!
//! A transaction whose last slot has passed cannot be included any more, and its notes are free. Before
//! that anyone with a copy can still get a dropped one included, as long as its anchor is on the chain and
//! none of its nullifiers is published. That spends the notes only once, since a nullifier is published
//! only once. But a user who pays again with *other* notes may pay twice. So the wallet spends a released
//! note before others, which invalidates the dropped transaction. It does so after an expiry too, since a
//! reorganization of L1 brings earlier slots back.

use std::collections::BTreeSet;

use rollmill_node_client::wire::{HexBytes, TxStatus};
use rollmill_node_client::{ClientError, NodeClient};
use rollmill_protocol::field::{serde_fr, to_hex};
use rollmill_protocol::{Fr, Tx, TxEffects};
use serde::{Deserialize, Serialize};

use super::{IdempotencyKey, Order, Wallet, node_error};
use crate::error::PxeError;

/// A transaction that was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sent {
    #[serde(with = "serde_fr")]
    tx_hash: Fr,
    /// [`Tx::to_bytes`].
    tx: HexBytes,
    /// Block that contains it, as far as the chain was read.
    included_in: Option<u64>,
    /// Whether the user was informed of it. False from before it is sent until then, so that a later
    /// command reports the transaction of an interrupted command before it pays again. True from the start if the
    /// order has an idempotency key: its client asks again with the key, and nobody else is concerned.
    reported: bool,
}

/// A transaction of the wallet whose block is not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentTransaction {
    pub tx_hash: Fr,
    /// Block that contains it, as far as the chain was read.
    pub included_in: Option<u64>,
}

impl Sent {
    fn tx(&self) -> Option<Tx> {
        // Decodes, since this wallet wrote and sealed it; a damaged entry locks nothing.
        Tx::from_bytes(&self.tx.0).ok()
    }

    fn nullifiers(&self) -> Vec<Fr> {
        let tx = self.tx();
        tx.map(|tx| tx.effects().present_nullifiers().copied().collect()).unwrap_or_default()
    }
}

/// What a transaction may take from its payer's balance, beyond what it puts there.
fn taken(effects: &TxEffects) -> u64 {
    let sum = |terms: &[u64]| terms.iter().fold(0u128, |sum, term| sum + u128::from(*term));
    let out = sum(&[effects.withdraw_amount, effects.notes_in]);
    let out = out.saturating_add(effects.gas.max_fee());
    let taken = out.saturating_sub(sum(&[effects.notes_out, effects.claim_amount]));
    u64::try_from(taken).unwrap_or(u64::MAX)
}

/// A node's report on a transaction that is in no block that was read.
pub(crate) enum Word {
    /// The node has it.
    Known,
    /// Whether the node has it is not known; it may still be included.
    Wait,
    /// The node does not have it, and why.
    Gone(String),
}

impl Wallet {
    /// Locks the notes that a transaction spends, before it is sent: if the response is lost, they stay
    /// locked. `key` is the idempotency key of its order, if it has one.
    pub(super) fn hold(&mut self, tx: &Tx, key: Option<&IdempotencyKey>, order: &Order) {
        self.bind(key, order, tx.hash());
        self.state.sent.push(Sent {
            tx_hash: tx.hash(),
            tx: HexBytes(tx.to_bytes()),
            included_in: None,
            reported: key.is_some(),
        });
        self.mark();
    }

    /// Records a transaction of a block.
    pub(super) fn note_published(&mut self, block: u64, tx_hash: Fr, nullifiers: &BTreeSet<Fr>) {
        let mut replaced = Vec::new();
        self.state.sent.retain_mut(|sent| {
            if sent.tx_hash == tx_hash {
                sent.included_in = Some(block);
                return true;
            }
            // Another transaction spent its notes: it can no longer be included.
            let is_spent = sent.nullifiers().iter().any(|n| nullifiers.contains(n));
            let stays = sent.included_in.is_some() || !is_spent;
            if !stays {
                replaced.push(sent.tx_hash);
            }
            stays
        });
        let reason = "another transaction spent its notes";
        replaced.iter().for_each(|hash| self.state.keyed.drop_tx(hash, reason));
        self.state.keyed.accept(&tx_hash);
    }

    /// Transactions of commands that were interrupted before they reported them; [`Wallet::sync`] sends
    /// those that were not sent. After a sync, those that can no longer be included are not among them. Nor are
    /// those with an idempotency key, which [`Wallet::recall`] returns to whoever has the key.
    pub fn unreported(&self) -> Vec<Fr> {
        self.state.sent.iter().filter(|sent| !sent.reported).map(|sent| sent.tx_hash).collect()
    }

    /// The transactions whose blocks are not proven, in the order in which they were sent.
    pub fn sent_transactions(&self) -> impl Iterator<Item = SentTransaction> {
        let shown =
            |sent: &Sent| SentTransaction { tx_hash: sent.tx_hash, included_in: sent.included_in };
        self.state.sent.iter().map(shown)
    }

    /// Records that the user was informed that this transaction is sent, or may be.
    pub fn report(&mut self, tx_hash: &Fr) {
        for sent in self.state.sent.iter_mut().filter(|sent| sent.tx_hash == *tx_hash) {
            sent.reported = true;
        }
    }

    /// After a reorganisation no transaction counts as included until the chain is read again.
    pub(super) fn unplace_sent(&mut self) {
        self.state.sent.iter_mut().for_each(|sent| sent.included_in = None);
    }

    /// Queries the node for the status of the transactions that are in no block, and releases the notes
    /// of the dropped ones.
    pub(super) async fn settle(&mut self, node: &NodeClient) -> Result<(), PxeError> {
        let tips = node.tips().await.map_err(node_error)?;
        // By the tips of another chain, transactions would be forgotten that no block has there.
        self.check_tip(node).await?;
        let proven = tips.proven.block_number;
        (self.proven, self.verified) = (proven, tips.verified.block_number);
        self.state
            .sent
            .retain(|sent| !sent.reported || sent.included_in.is_none_or(|block| block > proven));
        let waiting: Vec<Sent> =
            self.state.sent.iter().filter(|sent| sent.included_in.is_none()).cloned().collect();
        for sent in waiting {
            let word = match self.expired(&sent) {
                Some(reason) => Word::Gone(reason),
                None => ask(node, &sent.tx_hash, &sent.tx.0).await?,
            };
            match word {
                Word::Known => self.state.keyed.accept(&sent.tx_hash),
                Word::Wait => {}
                Word::Gone(reason) => self.give_back(&sent.tx_hash, &reason),
            }
        }
        self.mark();
        let kept: BTreeSet<Fr> = self.state.sent.iter().map(|sent| sent.tx_hash).collect();
        self.state.keyed.age((self.clock)(), &kept);
        Ok(())
    }

    /// Why a transaction that is in no block cannot be in a later one, if it has expired.
    fn expired(&self, sent: &Sent) -> Option<String> {
        let (last, slot) = (sent.tx()?.effects().expiry_slot, self.state.slot);
        // Each later block has a later slot.
        (last <= slot).then(|| format!("it expired: its last slot was {last}, the tip's is {slot}"))
    }

    /// Indices of the deposits that sent transactions claim which are in no block yet.
    pub(super) fn claims_sent(&self) -> impl Iterator<Item = u64> {
        self.waiting()
            .map(|effects| (effects.claim_index, effects.claim_amount))
            .filter_map(|(index, amount)| (amount != 0).then_some(index))
    }

    /// What sent transactions that are in no block yet may take from the public balance.
    pub(super) fn balance_in_flight(&self) -> u64 {
        let paid = self.waiting().filter(|effects| effects.fee_payer == self.owner);
        paid.fold(0u64, |sum, effects| sum.saturating_add(taken(&effects)))
    }

    fn waiting(&self) -> impl Iterator<Item = TxEffects> {
        let waiting = self.state.sent.iter().filter(|sent| sent.included_in.is_none());
        waiting.filter_map(Sent::tx).map(|tx| tx.body.effects)
    }

    /// Forgets a transaction and releases its notes.
    pub(super) fn give_back(&mut self, tx_hash: &Fr, reason: &str) {
        self.state.keyed.drop_tx(tx_hash, reason);
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

    /// Updates the notes' marks from the sent transactions.
    fn mark(&mut self) {
        let held: BTreeSet<Fr> = self.state.sent.iter().flat_map(Sent::nullifiers).collect();
        for note in &mut self.state.notes {
            note.pending = note.spent_in.is_none() && held.contains(&note.nullifier);
        }
    }
}

/// Asks a node for a transaction that is in no block that was read, and sends it if the node does not know it. `bytes`
/// are those of [`Tx::to_bytes`].
pub(crate) async fn ask(node: &NodeClient, tx_hash: &Fr, bytes: &[u8]) -> Result<Word, PxeError> {
    match node.transaction_status(tx_hash).await.map_err(node_error)? {
        // Included in a block after the chain was read.
        TxStatus::Pending { .. } | TxStatus::Included { .. } | TxStatus::Proven { .. } => {
            Ok(Word::Known)
        }
        TxStatus::Dropped { reason } => Ok(Word::Gone(reason)),
        TxStatus::Unknown => {
            let Ok(tx) = Tx::from_bytes(bytes) else {
                return Ok(Word::Gone("what was kept of it cannot be read".to_owned()));
            };
            match node.send_transaction(&tx).await {
                Ok(_) => Ok(Word::Known),
                Err(error) if error.rejects_transaction() => {
                    Ok(after_rejection(node, tx_hash, &error).await)
                }
                Err(_) => Ok(Word::Wait),
            }
        }
    }
}

/// What is known of a transaction that the node rejects. Somebody else may have sent it first, such as another sync or
/// another client with the same keys: if a block has it already, the node rejects it for its own nullifiers. So it is
/// gone only if the node says after the rejection that it does not have it.
pub(crate) async fn after_rejection(
    node: &NodeClient,
    tx_hash: &Fr,
    rejection: &ClientError,
) -> Word {
    match node.transaction_status(tx_hash).await {
        Ok(TxStatus::Pending { .. } | TxStatus::Included { .. } | TxStatus::Proven { .. }) => {
            Word::Known
        }
        Ok(TxStatus::Dropped { .. } | TxStatus::Unknown) => Word::Gone(rejection.to_string()),
        Err(_) => Word::Wait,
    }
}
