//! The first state of a deployment: its parameters, and on development chains notes and fee balances, out of
//! a file.

use std::collections::BTreeSet;

use ark_ff::Zero;
use rollmill_algebra::Fr;
use serde::{Deserialize, Serialize};

use crate::builder::header_of;
use crate::codec::DecodeError;
use crate::config::Config;
use crate::field::{EthAddress, serde_fr};
use crate::gas::FeePerGas;
use crate::header::Header;
use crate::note::{Note, NoteOrigin, fee_balance_slot, genesis_nullifier};
use crate::state::WorldState;
use crate::tree::{IndexedTree, StateWrite, StorageError, indexed};
use crate::tx::SLOTS;
use crate::version::rollup_version;

/// Version of the file format.
pub const GENESIS_FORMAT: u64 = 2;
/// Most notes, and most balances, in a file; bounds the work of a start.
pub const GENESIS_ITEMS_MAX: usize = 4096;

/// Why a genesis file is rejected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The text is not a genesis file.
    ///
    /// Do: Correct the place that the message names, or use the deployment's file.
    #[error("{code}: genesis file: {0}", code = self.code())]
    Json(#[from] serde_json::Error),
    /// The genesis file has another format version.
    ///
    /// Do: Use a genesis file for this release.
    #[error("{code}: genesis format {GENESIS_FORMAT} expected, got {got}", code = self.code())]
    Format { got: u64 },
    /// An address has two balances in the genesis file, or the slot of a balance is zero.
    ///
    /// Do: Correct the entry that the message names.
    #[error("{code}: genesis balance {index} repeats an address", code = self.code())]
    BalanceRepeated { index: usize },
    /// The genesis file has too many entries.
    ///
    /// Do: Shorten the list; the message has both numbers.
    #[error("{code}: genesis holds {got} {what}, at most {GENESIS_ITEMS_MAX} are allowed", code = self.code())]
    TooMany { what: &'static str, got: usize },
    /// A parameter of the deployment is out of its bounds.
    ///
    /// Do: Correct the parameter that the message names.
    #[error("{code}: genesis file: {cause}", code = self.code(), cause = rollmill_errors::Bare(.0))]
    Config(DecodeError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

rollmill_errors::coded! {
    GenesisError {
        Self::Json(..) => "PRO-080",
        Self::Format { .. } => "PRO-081",
        Self::BalanceRepeated { .. } => "PRO-082",
        Self::TooMany { .. } => "PRO-083",
        Self::Config(..) => "PRO-084",
        Self::Storage(error) => (error),
    }
}

/// A note in a genesis file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisNote {
    #[serde(with = "serde_fr")]
    pub owner: Fr,
    pub value: u64,
    #[serde(with = "serde_fr")]
    pub randomness: Fr,
}

/// A fee balance in a genesis file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisBalance {
    #[serde(with = "serde_fr")]
    pub address: Fr,
    pub amount: u64,
}

/// A genesis file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// [`GENESIS_FORMAT`].
    pub format: u64,
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Address of the contract `Rollup` on that chain.
    pub rollup: EthAddress,
    /// Root of the verification-key tree.
    #[serde(with = "serde_fr")]
    pub vk_root: Fr,
    /// The parameters.
    pub config: Config,
    /// Prices that the first block's follow from, by the rule that also brings them into its bounds.
    pub fee_per_l2_gas: u64,
    pub fee_per_da_gas: u64,
    pub notes: Vec<GenesisNote>,
    pub fee_balances: Vec<GenesisBalance>,
}

/// The state at block 0.
#[derive(Debug)]
pub struct GenesisState<S> {
    /// Block 0's header, the archive's leaf 0.
    pub header: Header,
    /// The state after it.
    pub state: WorldState<S>,
}

impl GenesisNote {
    /// The note.
    pub fn note(&self) -> Note {
        Note { owner: self.owner, value: self.value, randomness: self.randomness }
    }
}

impl Genesis {
    /// Reads a file's text.
    pub fn from_json(text: &str) -> Result<Self, GenesisError> {
        let genesis: Self = serde_json::from_str(text)?;
        genesis.check()?;
        Ok(genesis)
    }

    /// The text of a file.
    pub fn to_json(&self) -> String {
        // Strings and integers only: serialization cannot fail.
        serde_json::to_string_pretty(self).expect("a genesis file is plain data")
    }

    fn check(&self) -> Result<(), GenesisError> {
        if self.format != GENESIS_FORMAT {
            return Err(GenesisError::Format { got: self.format });
        }
        self.config.check().map_err(GenesisError::Config)?;
        for (what, got) in [("notes", self.notes.len()), ("fee balances", self.fee_balances.len())]
        {
            if got > GENESIS_ITEMS_MAX {
                return Err(GenesisError::TooMany { what, got });
            }
        }
        Ok(())
    }

    /// Number of the deployment.
    pub fn version(&self) -> u64 {
        rollup_version(self.chain_id, self.rollup, &self.vk_root, &self.config)
    }

    /// Where the note of this index comes from; it makes the note's leaf unique.
    pub fn origin(&self, index: usize) -> NoteOrigin {
        NoteOrigin {
            first_nullifier: genesis_nullifier(self.chain_id, self.version()),
            index: index as u64,
        }
    }

    /// Leaves of the note-hash tree at genesis, note `i` at index `i`.
    pub fn leaves(&self) -> Vec<Fr> {
        let origin = self.origin(0);
        let notes = (0..).zip(&self.notes);
        notes.map(|(index, note)| note.note().unique(&NoteOrigin { index, ..origin })).collect()
    }

    /// Builds the state at block 0 in an empty store.
    pub fn build<S: StateWrite>(&self, store: S) -> Result<GenesisState<S>, GenesisError> {
        self.check()?;
        let mut state = WorldState::empty(store)?;
        for chunk in self.leaves().chunks(SLOTS) {
            let mut leaves = [Fr::zero(); SLOTS];
            leaves[..chunk.len()].copy_from_slice(chunk);
            state.append_notes(&leaves)?;
        }
        let mut slots = BTreeSet::new();
        let mut entries = Vec::with_capacity(self.fee_balances.len());
        for (index, balance) in self.fee_balances.iter().enumerate() {
            let slot = fee_balance_slot(&balance.address);
            if slot.is_zero() || !slots.insert(slot) {
                return Err(GenesisError::BalanceRepeated { index });
            }
            entries.push((slot, balance.amount.into()));
        }
        let refs = &mut state.refs.tx_state;
        let inserted = indexed::insert_all(
            &mut state.store,
            IndexedTree::PublicData,
            refs.public_data_root,
            refs.public_data_count,
            &entries,
        )?;
        if let Some(last) = inserted.last() {
            refs.public_data_root = last.root_after;
        }
        refs.public_data_count += inserted.len() as u64;
        let price = FeePerGas { l2: self.fee_per_l2_gas, da: self.fee_per_da_gas };
        let header = Header {
            timestamp: self.config.genesis_time,
            ..header_of(self.chain_id, self.version(), price, &state)
        };
        state.append_header(header.hash())?;
        Ok(GenesisState { header, state })
    }
}
