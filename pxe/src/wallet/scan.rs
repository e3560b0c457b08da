//! Finds the account's notes and claims in blocks.

use std::collections::{BTreeMap, BTreeSet};

use ark_ff::Zero;
use rollmill_node_client::wire::BlockEffects;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::note::{NoteOrigin, note_partial, nullifier};
use rollmill_protocol::tx::{REFUND_SLOT, SLOTS};
use rollmill_protocol::{BlockBody, FeePerGas, Fr, Genesis, Note, TxEffects};

use super::{OwnedNote, RECENT, TAG_WINDOW, Wallet};
use crate::error::PxeError;
use crate::keys::{point_from_bytes, point_to_bytes};
use crate::{leaves, logs};

/// A transaction's place in its block.
struct Place {
    block: u64,
    price: FeePerGas,
    /// Index in the tree of its first note hash.
    first_leaf: u64,
}

impl Wallet {
    /// Adds the genesis notes of this account.
    pub fn read_genesis(&mut self, genesis: &Genesis) {
        for (i, item) in genesis.notes.iter().enumerate() {
            if item.owner == self.owner {
                let note = item.note();
                self.add_note((note.value, note.randomness), genesis.origin(i), i as u64, 0);
            }
        }
    }

    /// Applies one block, completely or not at all. Blocks come in order.
    ///
    /// # Errors
    /// [`PxeError::Node`] for another block than the next, and for one that cannot be read, and
    /// [`PxeError::NoteRoot`] for one whose notes are not those of its header.
    pub fn read_block(&mut self, block: &BlockEffects) -> Result<(), PxeError> {
        let data = leaves::decoded(self.state.next_block, block)?;
        let header = &data.header;
        // Each transaction of the block has eight leaves, and they are the tree's last ones.
        let new = (SLOTS * data.txs.len()) as u64;
        let count = header.state.tx_state.note_count;
        let Some(first) = count.checked_sub(new) else {
            return Err(PxeError::Node(format!("block {} has too few notes", header.block_number)));
        };
        let growth = self.state.tree.as_ref().map(|tree| tree.growth(&data)).transpose()?;
        let hashes = TxEffects::tx_hashes(data.txs.iter().map(|tx| &tx.effects));
        let leaves = (first..).step_by(SLOTS);
        for ((tx, hash), first_leaf) in data.txs.iter().zip(hashes).zip(leaves) {
            let (block, price) = (header.block_number, header.fee_per_gas());
            self.read_tx(&Place { block, price, first_leaf }, hash, tx);
        }
        let notes = self.positions();
        if let (Some(tree), Some(growth)) = (&mut self.state.tree, growth) {
            tree.apply(growth, &notes);
        }
        self.state.next_block += 1;
        self.state.slot = header.slot;
        self.state.recent.push((header.block_number, to_hex(&block.header_hash)));
        if self.state.recent.len() > RECENT {
            self.state.recent.remove(0);
        }
        Ok(())
    }

    fn read_tx(&mut self, place: &Place, tx_hash: Fr, tx: &BlockBody) {
        let effects = &tx.effects;
        let spent: BTreeSet<Fr> = effects.present_nullifiers().copied().collect();
        for note in &mut self.state.notes {
            if note.spent_in.is_none() && spent.contains(&note.nullifier) {
                note.spent_in = Some(place.block);
                note.pending = false;
            }
        }
        self.note_published(place.block, tx_hash, &spent);
        if effects.fee_payer == self.owner && effects.claim_amount != 0 {
            self.state.claimed.insert(effects.claim_index, place.block);
        }
        self.read_logs(place, tx);
        self.read_refund(place, effects);
    }

    fn read_logs(&mut self, place: &Place, tx: &BlockBody) {
        let (effects, block) = (&tx.effects, place.block);
        let expected = self.expected_tags();
        for (i, log) in tx.logs.iter().enumerate().take(SLOTS) {
            let tagged = expected.get(&effects.tags[i]);
            let Some(found) = logs::decrypt(&self.keys, log) else { continue };
            let note = Note { owner: self.owner, value: found.value, randomness: found.randomness };
            let origin = NoteOrigin { first_nullifier: effects.nullifiers[0], index: i as u64 };
            if note.unique(&origin) != effects.note_hashes[i] {
                tracing::warn!(block, "log names a note that its transaction does not create");
                continue;
            }
            self.add_note(
                (note.value, note.randomness),
                origin,
                place.first_leaf + i as u64,
                block,
            );
            let contact = hex::encode(point_to_bytes(&found.sender));
            let entry = self.state.contacts.entry(contact).or_default();
            if let Some((_, counter)) = tagged {
                entry.seen = entry.seen.max(counter + 1);
            }
        }
    }

    /// Adds what came back of the notes that paid the fee, if they were this account's.
    fn read_refund(&mut self, place: &Place, effects: &TxEffects) {
        if effects.has_payer() {
            return;
        }
        let first_nullifier = effects.nullifiers[0];
        let randomness = self.keys.refund_randomness(&first_nullifier);
        if note_partial(&self.owner, &randomness) != effects.refund_partial {
            return;
        }
        let Some(value) = leaves::refund(effects, place.price) else {
            tracing::warn!(block = place.block, "transaction takes more than its notes leave");
            return;
        };
        let origin = NoteOrigin::refund(first_nullifier);
        self.add_note(
            (value, randomness),
            origin,
            place.first_leaf + REFUND_SLOT as u64,
            place.block,
        );
    }

    /// Published tags that known senders use next, with the sender and the counter.
    fn expected_tags(&self) -> BTreeMap<Fr, (String, u64)> {
        let mut out = BTreeMap::new();
        for (key, contact) in &self.state.contacts {
            let Some(vpk) = hex::decode(key).ok().and_then(|b| point_from_bytes(&b)) else {
                continue;
            };
            let secret = logs::pair_secret(&self.keys.vsk, &vpk, &self.owner);
            for counter in contact.seen..contact.seen.saturating_add(TAG_WINDOW) {
                out.insert(logs::published_tag(&secret, counter), (key.clone(), counter));
            }
        }
        out
    }

    /// Adds a note that was not found before. Those without value are of no use.
    fn add_note(
        &mut self,
        (value, randomness): (u64, Fr),
        origin: NoteOrigin,
        leaf_index: u64,
        block: u64,
    ) {
        let note = Note { owner: self.owner, value, randomness };
        let nullifier = nullifier(&note.unique(&origin), &self.keys.nsk);
        if value.is_zero() || self.state.notes.iter().any(|n| n.nullifier == nullifier) {
            return;
        }
        self.state.notes.push(OwnedNote {
            value,
            randomness,
            first_nullifier: origin.first_nullifier,
            index_in_tx: origin.index,
            leaf_index,
            nullifier,
            spent_in: None,
            block,
            pending: false,
            given_back: false,
        });
    }
}
