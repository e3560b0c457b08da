//! The state and what one transaction does to it.

use ark_ff::Zero;
use rollmill_algebra::Fr;

use crate::block::txs_chain_next;
use crate::codec::DecodeError;
use crate::field;
use crate::gas::{self, FeePerGas};
use crate::header::{Header, StateRefs, TxState};
use crate::note::fee_balance_slot;
use crate::tree::{
    IndexedInsertion, IndexedTree, IndexedUpdate, StateRead, StateWrite, StorageError,
    SubtreeAppend, Tree, append, empty_root, indexed,
};
use crate::tx::{SLOTS, Tx, TxEffects};

/// Why a transaction cannot be part of a block. The state is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxRejection {
    /// The transaction's effects violate the format.
    ///
    /// Do: Create it with a wallet of the same release.
    #[error("{code}: malformed transaction: {cause}", code = self.code(), cause = rollmill_errors::Bare(.0))]
    Malformed(#[from] DecodeError),
    /// The transaction is for another L1 chain.
    ///
    /// Do: Use the wallet with a node of its own chain.
    #[error("{code}: chain id {expected} expected, got {got}", code = self.code())]
    WrongChain { expected: u64, got: u64 },
    /// The transaction is for another deployment.
    ///
    /// Do: Use the wallet with a node of its own deployment.
    #[error("{code}: rollup version {expected} expected, got {got}", code = self.code())]
    WrongVersion { expected: u64, got: u64 },
    /// The transaction's anchor is not in the archive before the block.
    ///
    /// Do: Sync the wallet and build the transaction again.
    #[error("{code}: anchor {} is not in the archive", field::to_hex(.anchor), code = self.code())]
    UnknownAnchor { anchor: Fr },
    /// The block's gas price is above the transaction's maximum.
    ///
    /// Do: Wait for lower prices, or build the transaction again with a higher maximum.
    #[error("{code}: {kind} gas costs {price} a unit, at most {max} is allowed", code = self.code())]
    PriceAboveMax { kind: &'static str, price: u64, max: u64 },
    /// The gas limits do not cover the gas used and the teardown limits.
    ///
    /// Do: Build the transaction again with higher limits.
    #[error("{code}: gas limits do not cover the gas used and the teardown limits", code = self.code())]
    GasLimit,
    /// The fee does not fit 64 bits.
    ///
    /// Do: Build the transaction again with lower prices or limits.
    #[error("{code}: the fee at prices {l2} and {da} does not fit 64 bits", code = self.code())]
    FeeOverflow { l2: u64, da: u64 },
    /// A nullifier is already in the tree: the note was spent, or the transaction is already
    /// included.
    ///
    /// Do: Sync the wallet. If the transfer is not in its history, send it again from other notes.
    #[error("{code}: nullifier {} was published before", field::to_hex(.nullifier), code = self.code())]
    NullifierSpent { nullifier: Fr },
    /// A nullifier occurs twice in the transaction.
    ///
    /// Do: Create it with a wallet of the same release.
    #[error("{code}: nullifier {} occurs twice in the transaction", field::to_hex(.nullifier), code = self.code())]
    NullifierRepeated { nullifier: Fr },
    /// A state tree is full.
    ///
    /// Do: Nothing helps on this deployment: it has reached its capacity.
    #[error("{code}: the tree {tree:?} is full", code = self.code())]
    TreeFull { tree: Tree },
    /// The fee payer has no fee balance.
    ///
    /// Do: Pay from an account with a balance in the genesis.
    #[error("{code}: fee payer {} has no balance", field::to_hex(.fee_payer), code = self.code())]
    FeePayerUnknown { fee_payer: Fr },
    /// The fee payer's balance is below the fee.
    ///
    /// Do: Pay from another account, or lower the fee.
    #[error("{code}: the fee is {fee}, the fee payer has {balance}", code = self.code())]
    BalanceTooLow { balance: u64, fee: u64 },
    /// The block holds the maximum number of transactions.
    ///
    /// Do: Nothing: the transaction goes into a later block.
    #[error("{code}: the block already holds {max} transactions", code = self.code())]
    BlockFull { max: usize },
}

rollmill_errors::coded! {
    TxRejection {
        Self::Malformed(..) => "PRO-020",
        Self::WrongChain { .. } => "PRO-021",
        Self::WrongVersion { .. } => "PRO-022",
        Self::UnknownAnchor { .. } => "PRO-023",
        Self::PriceAboveMax { .. } => "PRO-024",
        Self::GasLimit => "PRO-025",
        Self::FeeOverflow { .. } => "PRO-026",
        Self::NullifierSpent { .. } => "PRO-027",
        Self::NullifierRepeated { .. } => "PRO-028",
        Self::TreeFull { .. } => "PRO-029",
        Self::FeePayerUnknown { .. } => "PRO-030",
        Self::BalanceTooLow { .. } => "PRO-031",
        Self::BlockFull { .. } => "PRO-032",
    }
}

/// Why a transaction was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The transaction is at fault; the state is as it was.
    #[error(transparent)]
    Rejected(#[from] TxRejection),
    /// The store is at fault; what was written must be dropped.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

rollmill_errors::coded! {
    ApplyError {
        Self::Rejected(error) => (error),
        Self::Storage(error) => (error),
    }
}

/// What a block gives every transaction in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxGlobals {
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Number of the rollup deployment.
    pub version: u64,
    /// The block's prices.
    pub price: FeePerGas,
}

/// A state that transactions can be applied to.
#[derive(Debug, Clone)]
pub struct WorldState<S> {
    /// Nodes and leaves.
    pub store: S,
    /// Roots and counts.
    pub refs: StateRefs,
    /// Root of the archive, which holds every header up to the parent's.
    pub archive_root: Fr,
    /// Number of headers in the archive: the number of the block being built.
    pub archive_count: u64,
    /// Running hash over the transactions applied since the parent.
    pub txs_chain: Fr,
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

/// What a transaction's effects did, with the witness of every tree operation, in the order in
/// which they happen: note hashes, nullifiers one by one, fee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectsTransition {
    pub tx_hash: Fr,
    pub start: TxState,
    pub end: TxState,
    /// All eight note hashes, absent ones zero, appended as one subtree.
    pub notes: SubtreeAppend,
    /// One insertion for each nullifier that is present.
    pub nullifiers: [Option<IndexedInsertion>; SLOTS],
    /// The fee taken from the fee payer's balance.
    pub fee_payment: IndexedUpdate,
    pub fee: u64,
    pub txs_chain_start: Fr,
    pub txs_chain_end: Fr,
}

/// Everything TxBase needs to know about a transaction besides the transaction itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxTransition {
    pub anchor: AnchorWitness,
    pub effects: EffectsTransition,
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

    /// Applies effects whose anchor needs no check, as those of a block on L1.
    ///
    /// # Errors
    /// [`ApplyError::Rejected`] leaves the state as it was.
    pub fn apply_effects(
        &mut self,
        effects: &TxEffects,
        price: FeePerGas,
    ) -> Result<EffectsTransition, ApplyError> {
        let fee = self.check_effects(effects, price)?;
        let slot = fee_balance_slot(&effects.fee_payer);
        let balance = self.fee_balance(&effects.fee_payer)?;
        let left = balance.checked_sub(fee).ok_or(TxRejection::BalanceTooLow { balance, fee })?;

        // Everything that can reject the transaction has been asked; from here on it is applied.
        let start = self.refs.tx_state;
        let notes = self.append_notes(&effects.note_hashes)?;
        let mut nullifiers = [const { None }; SLOTS];
        let state = &mut self.refs.tx_state;
        let keys: Vec<(Fr, Fr)> =
            effects.present_nullifiers().map(|nullifier| (*nullifier, Fr::zero())).collect();
        let inserted = indexed::insert_all(
            &mut self.store,
            IndexedTree::Nullifiers,
            state.nullifier_root,
            state.nullifier_count,
            &keys,
        )?;
        for (out, insertion) in nullifiers.iter_mut().zip(inserted) {
            state.nullifier_root = insertion.root_after;
            state.nullifier_count += 1;
            *out = Some(insertion);
        }
        let fee_payment = indexed::update(
            &mut self.store,
            IndexedTree::PublicData,
            state.public_data_root,
            &slot,
            Fr::from(left),
        )?
        .ok_or_else(|| StorageError::corrupt("a balance leaf vanished"))?;
        state.public_data_root = fee_payment.root_after;

        let tx_hash = effects.tx_hash();
        let txs_chain_start = self.txs_chain;
        self.txs_chain = txs_chain_next(&txs_chain_start, &tx_hash);
        Ok(EffectsTransition {
            tx_hash,
            start,
            end: self.refs.tx_state,
            notes,
            nullifiers,
            fee_payment,
            fee,
            txs_chain_start,
            txs_chain_end: self.txs_chain,
        })
    }

    /// Applies a transaction as a sender made it: chain, version, anchor, logs, then its effects.
    /// The client proof is the caller's to verify.
    ///
    /// # Errors
    /// [`ApplyError::Rejected`] leaves the state as it was.
    pub fn apply_tx(&mut self, tx: &Tx, globals: &TxGlobals) -> Result<TxTransition, ApplyError> {
        let anchor = self.check_binding(tx, globals)?;
        let effects = self.apply_effects(&tx.effects, globals.price)?;
        Ok(TxTransition { anchor, effects })
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
    /// Returns the fee.
    pub fn check_tx(&self, tx: &Tx, globals: &TxGlobals) -> Result<u64, ApplyError> {
        self.check_binding(tx, globals)?;
        let fee = self.check_effects(&tx.effects, globals.price)?;
        let balance = self.fee_balance(&tx.effects.fee_payer)?;
        if balance < fee {
            return Err(TxRejection::BalanceTooLow { balance, fee }.into());
        }
        Ok(fee)
    }

    /// The public fee balance of an address.
    pub fn fee_balance(&self, address: &Fr) -> Result<u64, ApplyError> {
        let slot = fee_balance_slot(address);
        let value = indexed::value(&self.store, IndexedTree::PublicData, &slot)?
            .ok_or(TxRejection::FeePayerUnknown { fee_payer: *address })?;
        field::to_u64("balance", &value).map_err(|error| {
            StorageError::corrupt(rollmill_errors::Bare(&error).to_string()).into()
        })
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
        tx.effects.check_logs(&tx.logs).map_err(TxRejection::Malformed)?;
        self.anchor(&tx.anchor_header_hash)
    }

    /// Checks everything but the balance; returns the fee.
    fn check_effects(&self, effects: &TxEffects, price: FeePerGas) -> Result<u64, ApplyError> {
        effects.check().map_err(TxRejection::Malformed)?;
        let gas = &effects.gas;
        for (kind, price, max) in
            [("L2", price.l2, gas.max_fee_per_l2_gas), ("DA", price.da, gas.max_fee_per_da_gas)]
        {
            if price > max {
                return Err(TxRejection::PriceAboveMax { kind, price, max }.into());
            }
        }
        if !gas.covers_use() {
            return Err(TxRejection::GasLimit.into());
        }
        let fee = gas::fee(price).ok_or(TxRejection::FeeOverflow { l2: price.l2, da: price.da })?;
        self.check_capacity(effects)?;
        for (i, nullifier) in effects.present_nullifiers().enumerate() {
            if effects.nullifiers[..i].contains(nullifier) {
                return Err(TxRejection::NullifierRepeated { nullifier: *nullifier }.into());
            }
            if indexed::contains(&self.store, IndexedTree::Nullifiers, nullifier)? {
                return Err(TxRejection::NullifierSpent { nullifier: *nullifier }.into());
            }
        }
        Ok(fee)
    }

    fn check_capacity(&self, effects: &TxEffects) -> Result<(), TxRejection> {
        let state = &self.refs.tx_state;
        let nullifiers = effects.present_nullifiers().count() as u64;
        for (tree, count, more) in [
            (Tree::Notes, state.note_count, SLOTS as u64),
            (Tree::Nullifiers, state.nullifier_count, nullifiers),
        ] {
            if count.checked_add(more).is_none_or(|end| end > tree.capacity()) {
                return Err(TxRejection::TreeFull { tree });
            }
        }
        Ok(())
    }
}
