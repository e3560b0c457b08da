//! Finds notes of contracts in blocks.
//!
//! A log is encrypted to a viewing key, so an account tries each one. What it decrypts is a value and randomness; whose
//! note that is, of which contract and at which of its owner's addresses, shows the leaf that the transaction made: a
//! note counts only if it opens one. What opens none with the contracts that are registered is deferred, and tried
//! again with each contract that is registered later.

use std::collections::{BTreeMap, BTreeSet};

use ark_ff::Zero;
use rollmill_protocol::note::{self, NoteOrigin};
use rollmill_protocol::private::{app_key, silo_note, silo_nullifier};
use rollmill_protocol::tree::frontier::NOTE_SUBTREE_HEIGHT;
use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{BlockData, Fr, Note, TxEffects};
use rollmill_pxe_store::{Account, BlockStep, Note as NoteRow, Scope, Store, StoreError, View};

use super::book;
use super::error::ContractError;
use super::owners::{Owner, Owners};
use crate::keys::Keys;
use crate::logs;

/// The type of a note of value: value, randomness, and the origin's first nullifier and index.
pub(crate) const VALUE_NOTE: u64 = 1;
/// Under which contract messages wait whose contract is not known. No address is 0.
const NO_CONTRACT: u64 = 0;

/// A decrypted log, and what its transaction made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    value: u64,
    randomness: Fr,
    first_nullifier: Fr,
    /// Index of the transaction's first leaf in the tree.
    first_leaf: u64,
    note_hashes: Vec<Fr>,
}

impl Message {
    fn words(&self) -> Vec<Fr> {
        let head =
            [self.value.into(), self.randomness, self.first_nullifier, self.first_leaf.into()];
        head.into_iter().chain(self.note_hashes.iter().copied()).collect()
    }

    fn of_words(words: &[Fr]) -> Option<Self> {
        let ([value, randomness, first_nullifier, first_leaf], note_hashes) =
            words.split_first_chunk::<4>()?;
        let number = |word| rollmill_protocol::field::to_u64("message", word).ok();
        Some(Self {
            value: number(value)?,
            randomness: *randomness,
            first_nullifier: *first_nullifier,
            first_leaf: number(first_leaf)?,
            note_hashes: note_hashes.to_vec(),
        })
    }

    /// The leaf of the note of this contract at one of the owner's addresses, if the transaction made it.
    fn opens(&self, owner: &Owner, contract: &Fr) -> Option<(u64, NoteRow)> {
        let (value, randomness) = (self.value, self.randomness);
        owner.addresses().find_map(|address| {
            let hash = Note { owner: *address, value, randomness }.hash();
            let siloed = silo_note(contract, &hash);
            (0..).zip(&self.note_hashes).find_map(|(index, leaf)| {
                let origin = NoteOrigin { first_nullifier: self.first_nullifier, index };
                (note::unique(&origin, &siloed) == *leaf)
                    .then(|| (index, self.row(owner, (contract, address), index, leaf)))
            })
        })
    }

    fn row(
        &self,
        owner: &Owner,
        (contract, address): (&Fr, &Fr),
        index: u64,
        leaf: &Fr,
    ) -> NoteRow {
        let key = app_key(&owner.keys.nullifier(), contract);
        let nullifier = silo_nullifier(contract, &note::nullifier(leaf, &key));
        NoteRow {
            // The step sets the block.
            block: 0,
            tx_hash: Fr::zero(),
            contract: *contract,
            slot: *address,
            kind: VALUE_NOTE,
            content: vec![self.value.into(), self.randomness, self.first_nullifier, index.into()],
            unique: *leaf,
            nullifier,
        }
    }

    /// Whether it is a note of the built-in asset, which the wallet of the account has.
    fn is_built_in(&self, owner: &Owner) -> bool {
        let Account(address) = owner.account;
        let note = Note { owner: address, value: self.value, randomness: self.randomness };
        (0..).zip(&self.note_hashes).any(|(index, leaf)| {
            let origin = NoteOrigin { first_nullifier: self.first_nullifier, index };
            note.unique(&origin) == *leaf
        })
    }
}

/// The nullifiers of the notes of each account.
pub(crate) type Known = BTreeMap<Account, BTreeSet<Fr>>;

/// Where a log stands.
type Place<'a> = (&'a Fr, u64);

/// Reads a block for these accounts: notes of the contracts that are registered, messages that may be of others, and
/// nullifiers of notes that are known. `known` has the nullifiers of an account's notes. Returns the positions of the
/// subtrees of the note tree that have what was kept: paths of their leaves may be needed.
pub(crate) fn read_block(
    step: &mut BlockStep<'_, '_>,
    block: &BlockData,
    owners: &[Owner],
    contracts: &[Fr],
    known: &mut Known,
) -> Result<BTreeSet<u64>, StoreError> {
    let mut positions = BTreeSet::new();
    let new = (SLOTS as u64).saturating_mul(block.txs.len() as u64);
    // A block with fewer leaves than its transactions make has no valid notes; the wallet's own sync rejects it.
    let first = block.header.state.tx_state.note_count.saturating_sub(new);
    let hashes = TxEffects::tx_hashes(block.txs.iter().map(|tx| &tx.effects));
    let leaves = (first..).step_by(SLOTS);
    let keys: Vec<Keys> = owners.iter().map(|owner| Keys::from_master(&owner.keys)).collect();
    for ((tx, tx_hash), first_leaf) in block.txs.iter().zip(hashes).zip(leaves) {
        let effects = &tx.effects;
        for (index, log) in (0..).zip(&tx.logs) {
            for (owner, keys) in owners.iter().zip(&keys) {
                let Some(found) = logs::decrypt(keys, log) else { continue };
                let message = Message {
                    value: found.value,
                    randomness: found.randomness,
                    first_nullifier: effects.nullifiers[0],
                    first_leaf,
                    note_hashes: effects.note_hashes.to_vec(),
                };
                match keep(step, owner, &message, contracts, (&tx_hash, index))? {
                    Kept::Note(nullifier) => {
                        known.entry(owner.account).or_default().insert(nullifier);
                    }
                    Kept::Deferred => {}
                    Kept::Nothing => continue,
                }
                positions.insert(first_leaf >> NOTE_SUBTREE_HEIGHT);
            }
        }
        nullify(step, effects, known)?;
    }
    Ok(positions)
}

/// Records which of the known nullifiers a transaction publishes.
pub(crate) fn nullify(
    step: &mut BlockStep<'_, '_>,
    effects: &TxEffects,
    known: &Known,
) -> Result<(), StoreError> {
    for nullifier in effects.present_nullifiers() {
        for (account, known) in known {
            if known.contains(nullifier) {
                step.nullify(account, nullifier)?;
            }
        }
    }
    Ok(())
}

/// What became of a message.
enum Kept {
    /// A note with this nullifier.
    Note(Fr),
    Deferred,
    /// The wallet of the account has its note.
    Nothing,
}

/// Adds the note of a message, or defers it.
fn keep(
    step: &mut BlockStep<'_, '_>,
    owner: &Owner,
    message: &Message,
    contracts: &[Fr],
    place: Place<'_>,
) -> Result<Kept, StoreError> {
    let found = contracts.iter().find_map(|contract| message.opens(owner, contract));
    let (tx_hash, _) = place;
    match found {
        Some((index, row)) => {
            let nullifier = row.nullifier;
            let leaf = message.first_leaf.saturating_add(index);
            step.note(&owner.account, leaf, NoteRow { tx_hash: *tx_hash, ..row })?;
            Ok(Kept::Note(nullifier))
        }
        None if message.is_built_in(owner) => Ok(Kept::Nothing),
        None => {
            step.defer(&owner.account, &Fr::from(NO_CONTRACT), place, message.words())?;
            Ok(Kept::Deferred)
        }
    }
}

/// Positions of the subtrees of the note tree that have deferred messages of the accounts of a scope. None if a message
/// cannot be read, as a newer release may write it.
pub(crate) fn deferred_positions(
    view: &View<'_>,
    scope: &Scope,
) -> Result<Option<BTreeSet<u64>>, StoreError> {
    let unknown = Fr::from(NO_CONTRACT);
    let mut positions = BTreeSet::new();
    for account in scope.accounts() {
        for placed in view.deferred(account, &unknown)? {
            let Some(message) = Message::of_words(&placed.item.words) else { return Ok(None) };
            positions.insert(message.first_leaf >> NOTE_SUBTREE_HEIGHT);
        }
    }
    Ok(Some(positions))
}

/// A note that was deferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundNote {
    pub account: Account,
    pub nullifier: Fr,
    /// The block that made it.
    pub block: u64,
}

/// Tries the deferred messages of the accounts of a scope with a contract that was registered. The notes that are found
/// may have been spent since: [`super::sync::mark_spent`] reads the blocks after them again.
///
/// # Errors
/// [`ContractError::Unknown`], and those of the store.
pub fn decode_deferred(
    store: &Store,
    scope: &Scope,
    contract: &Fr,
) -> Result<Vec<FoundNote>, ContractError> {
    let unknown = Fr::from(NO_CONTRACT);
    let mut readable = Vec::new();
    {
        let view = store.view(scope)?;
        book::instance(&view, contract)?;
        let owners = Owners::read(&view, scope)?;
        for owner in owners.all() {
            for placed in view.deferred(&owner.account, &unknown)? {
                let Some(message) = Message::of_words(&placed.item.words) else { continue };
                let Some((index, row)) = message.opens(owner, contract) else { continue };
                let leaf = message.first_leaf.saturating_add(index);
                readable.push((owner.account, placed, leaf, row));
            }
        }
    }
    let mut found = Vec::with_capacity(readable.len());
    for (account, placed, leaf, row) in readable {
        let (nullifier, block) = (row.nullifier, placed.item.block);
        store.read_again(scope, block, |step| {
            step.resolve(&account, &unknown, (&placed.tx_hash, placed.index))?;
            step.note(&account, leaf, NoteRow { tx_hash: placed.tx_hash, ..row })
        })?;
        found.push(FoundNote { account, nullifier, block });
    }
    Ok(found)
}
