//! The state and what one transaction does to it.

use ark_ff::Zero;
use rollmill_algebra::Fr;

use crate::block::{BlockBody, txs_chain_next};
use crate::field;
use crate::gas::{self, FeePerGas, Gas};
use crate::header::{Header, StateRefs, TxState};
use crate::message::{MESSAGES_PER_BLOCK, OUT_LEAVES, claim_nullifier, deposit_leaf};
use crate::note::{fee_balance_slot, refund_leaf};
use crate::tree::{
    IndexedInsertion, IndexedTree, IndexedUpdate, StateRead, StateWrite, StorageError,
    SubtreeAppend, Tree, append, empty_root, indexed,
};
use crate::tx::{NULLIFIERS_MAX, REFUND_SLOT, SLOTS, Tx, TxEffects};

pub use crate::rejection::{ApplyError, TxRejection};

/// What a block gives every transaction in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxGlobals {
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Number of the rollup deployment.
    pub version: u64,
    /// The block's slot.
    pub slot: u64,
    /// The block's prices.
    pub price: FeePerGas,
    /// The gas that the block has left.
    pub gas_left: Gas,
}

/// A state that transactions can be applied to.
#[derive(Debug, Clone)]
pub struct WorldState<S> {
    /// Nodes and leaves.
    pub store: S,
    /// Roots and counts. The message tree is the parent's until the block is closed.
    pub refs: StateRefs,
    /// Root of the archive, which holds every header up to the parent's.
    pub archive_root: Fr,
    /// Number of headers in the archive: the number of the block being built.
    pub archive_count: u64,
    /// Running hash over the transactions applied since the parent.
    pub txs_chain: Fr,
}

/// What a transaction costs and leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Gas it uses.
    pub used: Gas,
    /// Fee it pays, in units.
    pub fee: u64,
    /// What the conservation of value leaves: the fee payer's balance, or the refund.
    pub left: u64,
}

/// That a transaction's anchor is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorWitness {
    /// Block number of the anchor: its index in the archive.
    pub index: u64,
    /// Siblings in the archive before the block, lowest first.
    pub path: Vec<Fr>,
    /// Root of the archive before the block.
    pub archive_root: Fr,
}

/// That a claimed deposit is in the message tree before the block, and was not claimed before. Its index is
/// in the effects, and the root is [`EffectsTransition::message_root`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimTransition {
    /// The deposit's leaf.
    pub leaf: Fr,
    /// Siblings in the message tree, lowest first.
    pub path: Vec<Fr>,
    /// The insertion of its nullifier, after all others of the transaction.
    pub insertion: IndexedInsertion,
}

/// What happens to a fee payer's balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalanceChange {
    /// The slot is there.
    Update(IndexedUpdate),
    /// The slot is not there yet: it had 0.
    Insert(IndexedInsertion),
}

impl BalanceChange {
    /// The root of the public data tree after.
    pub fn root_after(&self) -> Fr {
        match self {
            Self::Update(update) => update.root_after,
            Self::Insert(insertion) => insertion.root_after,
        }
    }
}

/// Where the value goes that is left of a transaction.
#[allow(clippy::large_enum_variant, reason = "there is one a transaction, and most have a payer")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// There is a fee payer: into its balance.
    Payer {
        /// Balance before, in units; 0 if the slot is not there.
        before: u64,
        /// Balance after, in units.
        after: u64,
        change: BalanceChange,
    },
    /// Notes pay: into a note for the holder of the refund's partial.
    Refund {
        /// Value of the note, in units.
        value: u64,
        /// Its leaf, in place of note hash 7.
        leaf: Fr,
    },
}

/// What a transaction's effects did, with the witness of every tree operation, in the order in
/// which they happen: note hashes, nullifiers one by one, balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectsTransition {
    pub tx_hash: Fr,
    pub start: TxState,
    pub end: TxState,
    /// Eight leaves, absent ones zero, appended as one subtree; the last one is the refund's if there is one.
    pub notes: SubtreeAppend,
    /// One insertion for each nullifier of the effects that is present.
    pub nullifiers: [Option<IndexedInsertion>; SLOTS],
    /// The claim, if there is one.
    pub claim: Option<ClaimTransition>,
    /// What the fee payer's balance or the refund becomes.
    pub settlement: Settlement,
    /// Root of the message tree before the block.
    pub message_root: Fr,
    /// Gas that the transaction uses.
    pub used: Gas,
    /// Fee that it pays, in units.
    pub fee: u64,
    /// Its leaves in the block's tree of messages to L1.
    pub out_leaves: [Fr; OUT_LEAVES],
    pub txs_chain_start: Fr,
    pub txs_chain_end: Fr,
}

/// Everything TxBase needs to know about a transaction besides the transaction itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxTransition {
    pub anchor: AnchorWitness,
    pub effects: EffectsTransition,
}

/// The answers that [`WorldState::check_effects`] found on its way.
struct Checked {
    charge: Charge,
    /// Leaf of the claimed deposit and its nullifier.
    claim: Option<(Fr, Fr)>,
    payer: Option<Payer>,
}

/// A fee payer's slot.
struct Payer {
    slot: Fr,
    /// The balance; `None` if the slot is not there.
    balance: Option<u64>,
}

impl<S: StateWrite> WorldState<S> {
    /// The state before genesis: empty trees, indexed ones with their first leaf.
    pub fn empty(mut store: S) -> Result<Self, StorageError> {
        let tx_state = TxState {
            note_root: empty_root(Tree::Notes.height()),
            note_count: 0,
            nullifier_root: indexed::initialize(&mut store, IndexedTree::Nullifiers)?,
            nullifier_count: 1,
            public_data_root: indexed::initialize(&mut store, IndexedTree::PublicData)?,
            public_data_count: 1,
        };
        let refs = StateRefs {
            tx_state,
            message_root: empty_root(Tree::Messages.height()),
            message_count: 0,
        };
        let archive_root = empty_root(Tree::Archive.height());
        Ok(Self { store, refs, archive_root, archive_count: 0, txs_chain: Fr::zero() })
    }

    /// Appends eight leaves to the note-hash tree; the caller has checked that they fit.
    pub(crate) fn append_notes(
        &mut self,
        leaves: &[Fr; SLOTS],
    ) -> Result<SubtreeAppend, StorageError> {
        let state = &mut self.refs.tx_state;
        let appended = append::append_subtree(
            &mut self.store,
            Tree::Notes,
            state.note_root,
            state.note_count,
            leaves,
        )?;
        state.note_root = appended.root_after;
        state.note_count += SLOTS as u64;
        Ok(appended)
    }

    /// Appends the subtree of a block's messages from L1, absent ones zero.
    pub(crate) fn append_messages(
        &mut self,
        leaves: &[Fr; MESSAGES_PER_BLOCK],
    ) -> Result<SubtreeAppend, StorageError> {
        let refs = &mut self.refs;
        let appended = append::append_subtree(
            &mut self.store,
            Tree::Messages,
            refs.message_root,
            refs.message_count,
            leaves,
        )?;
        refs.message_root = appended.root_after;
        refs.message_count += MESSAGES_PER_BLOCK as u64;
        Ok(appended)
    }

    /// Appends a header to the archive.
    pub(crate) fn append_header(&mut self, hash: Fr) -> Result<SubtreeAppend, StorageError> {
        let appended = append::append_subtree(
            &mut self.store,
            Tree::Archive,
            self.archive_root,
            self.archive_count,
            &[hash],
        )?;
        self.store.set_block_of_header(hash, self.archive_count)?;
        self.archive_root = appended.root_after;
        self.archive_count += 1;
        Ok(appended)
    }

    /// Applies a transaction whose anchor needs no check, as those of a block on L1.
    ///
    /// # Errors
    /// [`ApplyError::Rejected`] leaves the state as it was.
    pub fn apply_body(
        &mut self,
        body: &BlockBody,
        globals: &TxGlobals,
    ) -> Result<EffectsTransition, ApplyError> {
        let effects = &body.effects;
        let Checked { charge, claim, payer } = self.check_body(body, globals)?;

        // Everything that can reject the transaction has been asked; from here on it is applied.
        let start = self.refs.tx_state;
        let mut note_leaves = effects.note_hashes;
        let settlement = match payer {
            Some(payer) => self.settle_balance(&payer, charge.left)?,
            None => {
                let [first, ..] = &effects.nullifiers;
                let leaf = refund_leaf(first, &effects.refund_partial, charge.left);
                note_leaves[REFUND_SLOT] = leaf;
                Settlement::Refund { value: charge.left, leaf }
            }
        };
        let notes = self.append_notes(&note_leaves)?;
        let claim_key = claim.map(|(_, nullifier)| nullifier);
        let (nullifiers, claimed) = self.insert_nullifiers(effects, claim_key)?;
        let claim = match (claim, claimed) {
            (Some((leaf, _)), Some(insertion)) => {
                let path = append::path(&self.store, Tree::Messages, 0, effects.claim_index)?;
                Some(ClaimTransition { leaf, path, insertion })
            }
            _ => None,
        };

        let tx_hash = effects.tx_hash();
        let txs_chain_start = self.txs_chain;
        self.txs_chain = txs_chain_next(&txs_chain_start, &tx_hash);
        Ok(EffectsTransition {
            tx_hash,
            start,
            end: self.refs.tx_state,
            notes,
            nullifiers,
            claim,
            settlement,
            message_root: self.refs.message_root,
            used: charge.used,
            fee: charge.fee,
            out_leaves: effects.out_leaves(),
            txs_chain_start,
            txs_chain_end: self.txs_chain,
        })
    }

    /// Applies a transaction as a sender made it: chain, version, anchor, then its effects and logs.
    /// The client proof is the caller's to verify.
    ///
    /// # Errors
    /// [`ApplyError::Rejected`] leaves the state as it was.
    pub fn apply_tx(&mut self, tx: &Tx, globals: &TxGlobals) -> Result<TxTransition, ApplyError> {
        let anchor = self.check_binding(tx, globals)?;
        let effects = self.apply_body(&tx.body, globals)?;
        Ok(TxTransition { anchor, effects })
    }

    /// Sets the balance of a fee payer, whose slot the tree may gain by it.
    fn settle_balance(&mut self, payer: &Payer, after: u64) -> Result<Settlement, StorageError> {
        const TREE: IndexedTree = IndexedTree::PublicData;
        let state = &mut self.refs.tx_state;
        let (root, value) = (state.public_data_root, Fr::from(after));
        let store = &mut self.store;
        let change = if payer.balance.is_some() {
            let update = indexed::update(store, TREE, root, &payer.slot, value)?;
            let vanished = || StorageError::corrupt("a balance leaf vanished");
            BalanceChange::Update(update.ok_or_else(vanished)?)
        } else {
            let count = state.public_data_count;
            state.public_data_count += 1;
            BalanceChange::Insert(indexed::insert(store, TREE, root, count, payer.slot, value)?)
        };
        state.public_data_root = change.root_after();
        Ok(Settlement::Payer { before: payer.balance.unwrap_or(0), after, change })
    }

    /// Inserts the nullifiers of the effects, and behind them that of a claim.
    #[allow(clippy::type_complexity, reason = "both halves of one list")]
    fn insert_nullifiers(
        &mut self,
        effects: &TxEffects,
        claim: Option<Fr>,
    ) -> Result<([Option<IndexedInsertion>; SLOTS], Option<IndexedInsertion>), StorageError> {
        let own = effects.present_nullifiers().count();
        let keys: Vec<(Fr, Fr)> = effects
            .present_nullifiers()
            .copied()
            .chain(claim)
            .map(|nullifier| (nullifier, Fr::zero()))
            .collect();
        let state = &mut self.refs.tx_state;
        let mut inserted = indexed::insert_all(
            &mut self.store,
            IndexedTree::Nullifiers,
            state.nullifier_root,
            state.nullifier_count,
            &keys,
        )?;
        if let Some(last) = inserted.last() {
            state.nullifier_root = last.root_after;
        }
        state.nullifier_count += inserted.len() as u64;
        let claimed = inserted.drain(own..).next();
        let mut nullifiers = [const { None }; SLOTS];
        for (out, insertion) in nullifiers.iter_mut().zip(inserted) {
            *out = Some(insertion);
        }
        Ok((nullifiers, claimed))
    }
}

impl<S: StateRead> WorldState<S> {
    /// The state after the block of `header`, whose nodes `store` holds.
    ///
    /// # Errors
    /// [`StorageError`] also when the archive in the store does not end with this header.
    pub fn at(store: S, header: &Header) -> Result<Self, StorageError> {
        let leaf = append::node(&store, Tree::Archive, 0, header.block_number)?;
        if leaf != header.hash() {
            return Err(StorageError::corrupt(format!(
                "the archive holds another header as block {}",
                header.block_number
            )));
        }
        let archive_root = append::node(&store, Tree::Archive, Tree::Archive.height(), 0)?;
        Ok(Self {
            store,
            refs: header.state,
            archive_root,
            archive_count: header.block_number + 1,
            txs_chain: Fr::zero(),
        })
    }

    /// Asks everything of a transaction that [`WorldState::apply_tx`] asks, and changes nothing.
    pub fn check_tx(&self, tx: &Tx, globals: &TxGlobals) -> Result<Charge, ApplyError> {
        self.check_binding(tx, globals)?;
        Ok(self.check_body(&tx.body, globals)?.charge)
    }

    /// The public fee balance of an address; 0 if it never had one.
    pub fn fee_balance(&self, address: &Fr) -> Result<u64, StorageError> {
        Ok(self.balance_at(&fee_balance_slot(address))?.unwrap_or(0))
    }

    fn balance_at(&self, slot: &Fr) -> Result<Option<u64>, StorageError> {
        indexed::value(&self.store, IndexedTree::PublicData, slot)?
            .map(|value| field::to_u64("balance", &value))
            .transpose()
            .map_err(|error| StorageError::corrupt(rollmill_errors::Bare(&error).to_string()))
    }

    /// The witness that the header with this hash is in the archive.
    pub fn anchor(&self, header_hash: &Fr) -> Result<AnchorWitness, ApplyError> {
        let unknown = TxRejection::UnknownAnchor { anchor: *header_hash };
        let index = self.store.block_of_header(header_hash)?.ok_or(unknown.clone())?;
        if index >= self.archive_count {
            return Err(unknown.into());
        }
        let path = append::path(&self.store, Tree::Archive, 0, index)?;
        Ok(AnchorWitness { index, path, archive_root: self.archive_root })
    }

    fn check_binding(&self, tx: &Tx, globals: &TxGlobals) -> Result<AnchorWitness, ApplyError> {
        if tx.chain_id != globals.chain_id {
            return Err(
                TxRejection::WrongChain { expected: globals.chain_id, got: tx.chain_id }.into()
            );
        }
        if tx.version != globals.version {
            return Err(
                TxRejection::WrongVersion { expected: globals.version, got: tx.version }.into()
            );
        }
        self.anchor(&tx.anchor_header_hash)
    }

    /// Asks the rules of a transaction in the order of the specification.
    fn check_body(&self, body: &BlockBody, globals: &TxGlobals) -> Result<Checked, ApplyError> {
        let effects = &body.effects;
        effects.check_with_logs(&body.logs)?;
        let (used, fee) = check_gas(effects, globals)?;
        if globals.slot > effects.expiry_slot {
            let (expiry, slot) = (effects.expiry_slot, globals.slot);
            return Err(TxRejection::Expired { expiry, slot }.into());
        }
        for (i, nullifier) in effects.present_nullifiers().enumerate() {
            if effects.nullifiers[..i].contains(nullifier) {
                return Err(TxRejection::NullifierRepeated { nullifier: *nullifier }.into());
            }
        }
        for nullifier in effects.present_nullifiers() {
            if indexed::contains(&self.store, IndexedTree::Nullifiers, nullifier)? {
                return Err(TxRejection::NullifierSpent { nullifier: *nullifier }.into());
            }
        }
        let claim = self.check_claim(effects)?;
        let payer = if effects.has_payer() {
            let slot = fee_balance_slot(&effects.fee_payer);
            Some(Payer { slot, balance: self.balance_at(&slot)? })
        } else {
            None
        };
        let before = payer.as_ref().and_then(|payer| payer.balance).unwrap_or(0);
        let left = what_is_left(effects, before, fee)?;
        self.check_capacity(effects, claim.is_some(), payer.as_ref())?;
        Ok(Checked { charge: Charge { used, fee, left }, claim, payer })
    }

    /// The leaf of a claimed deposit and its nullifier.
    fn check_claim(&self, effects: &TxEffects) -> Result<Option<(Fr, Fr)>, ApplyError> {
        if effects.claim_amount == 0 {
            return Ok(None);
        }
        let index = effects.claim_index;
        let leaf = deposit_leaf(&effects.fee_payer, effects.claim_amount, index);
        let is_there = index < self.refs.message_count
            && append::node(&self.store, Tree::Messages, 0, index)? == leaf;
        if !is_there {
            return Err(TxRejection::ClaimUnknown { index }.into());
        }
        let nullifier = claim_nullifier(&leaf);
        let spent = effects.nullifiers.contains(&nullifier)
            || indexed::contains(&self.store, IndexedTree::Nullifiers, &nullifier)?;
        if spent {
            return Err(TxRejection::ClaimSpent { index }.into());
        }
        Ok(Some((leaf, nullifier)))
    }

    fn check_capacity(
        &self,
        effects: &TxEffects,
        claims: bool,
        payer: Option<&Payer>,
    ) -> Result<(), TxRejection> {
        let state = &self.refs.tx_state;
        let nullifiers = effects.present_nullifiers().count() + usize::from(claims);
        debug_assert!(nullifiers <= NULLIFIERS_MAX);
        let slots = payer.is_some_and(|payer| payer.balance.is_none());
        for (tree, count, more) in [
            (Tree::Notes, state.note_count, SLOTS as u64),
            (Tree::Nullifiers, state.nullifier_count, nullifiers as u64),
            (Tree::PublicData, state.public_data_count, u64::from(slots)),
        ] {
            if count.checked_add(more).is_none_or(|end| end > tree.capacity()) {
                return Err(TxRejection::TreeFull { tree });
            }
        }
        Ok(())
    }
}

/// Checks prices and limits; returns the gas used and the fee.
fn check_gas(effects: &TxEffects, globals: &TxGlobals) -> Result<(Gas, u64), TxRejection> {
    let (gas, price) = (&effects.gas, globals.price);
    for (kind, price, max) in
        [("L2", price.l2, gas.max_fee_per_l2_gas), ("DA", price.da, gas.max_fee_per_da_gas)]
    {
        if price > max {
            return Err(TxRejection::PriceAboveMax { kind, price, max });
        }
    }
    let needed = gas.used().ok_or(TxRejection::GasLimit)?;
    let fee =
        gas::fee(price, needed).ok_or(TxRejection::FeeOverflow { l2: price.l2, da: price.da })?;
    let left = globals.gas_left;
    if left.checked_sub(needed).is_none() {
        return Err(TxRejection::BlockGas { needed, left });
    }
    Ok((needed, fee))
}

/// The conservation of value: what is left for the balance after, or for the refund.
pub fn what_is_left(effects: &TxEffects, before: u64, fee: u64) -> Result<u64, TxRejection> {
    let sum = |terms: [u64; 3]| terms.into_iter().map(u128::from).sum::<u128>();
    let funds = sum([before, effects.claim_amount, effects.notes_out]);
    let due = sum([fee, effects.withdraw_amount, effects.notes_in]);
    let left = funds.checked_sub(due).ok_or(TxRejection::ValueTooLow { funds, due })?;
    u64::try_from(left).map_err(|_| TxRejection::ValueOverflow { left })
}
