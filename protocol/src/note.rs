//! Notes, the keys that own them, and what spending one reveals.

use ark_ff::Zero;
use rollmill_algebra::{Fr, poseidon2};

use crate::domain;

/// Public part of a nullifier key: `hash(NPK, [nsk])`.
pub fn npk(nsk: &Fr) -> Fr {
    poseidon2::hash(domain::NPK, &[*nsk])
}

/// A viewing key: a point of Grumpkin, whose coordinates lie in Fr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewingKey {
    pub x: Fr,
    pub y: Fr,
}

/// An address: `hash(ADDRESS, [npk, vpk.x, vpk.y])`. Anyone who can open it can spend its notes.
pub fn address(npk: &Fr, viewing: &ViewingKey) -> Fr {
    poseidon2::hash(domain::ADDRESS, &[*npk, viewing.x, viewing.y])
}

/// The discovery tag of the log number `counter` between two parties who share `secret`.
pub fn discovery_tag(secret: &Fr, counter: u64) -> Fr {
    poseidon2::hash(domain::TAG, &[*secret, Fr::from(counter)])
}

/// Value that belongs to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Note {
    /// Address of the owner.
    pub owner: Fr,
    /// Amount in the smallest unit.
    pub value: u64,
    /// Hides the other two.
    pub randomness: Fr,
}

/// The origin that makes a note's leaf unique: the transaction that created it and the index there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoteOrigin {
    /// First nullifier of the transaction; [`genesis_nullifier`] for a genesis note.
    pub first_nullifier: Fr,
    /// Index among the transaction's note hashes, or in the genesis list.
    pub index: u64,
}

impl NoteOrigin {
    /// The origin of a dummy input: nothing, so that its nullifier depends on its randomness alone.
    pub fn dummy() -> Self {
        Self { first_nullifier: Fr::zero(), index: 0 }
    }
}

impl Note {
    /// `hash(NOTE, [owner, value, randomness])`.
    pub fn hash(&self) -> Fr {
        poseidon2::hash(domain::NOTE, &[self.owner, Fr::from(self.value), self.randomness])
    }

    /// The leaf of the note-hash tree: `hash(UNIQUE_NOTE, [first_nullifier, index, note_hash])`.
    pub fn unique(&self, origin: &NoteOrigin) -> Fr {
        unique(origin, &self.hash())
    }
}

/// The leaf of a note hash with this origin.
pub fn unique(origin: &NoteOrigin, note_hash: &Fr) -> Fr {
    poseidon2::hash(
        domain::UNIQUE_NOTE,
        &[origin.first_nullifier, Fr::from(origin.index), *note_hash],
    )
}

/// What spending the note of this leaf reveals: `hash(NULLIFIER, [unique, nsk])`.
pub fn nullifier(unique: &Fr, nsk: &Fr) -> Fr {
    poseidon2::hash(domain::NULLIFIER, &[*unique, *nsk])
}

/// Stands for the first nullifier in the origin of genesis notes:
/// `hash(GENESIS, [chain_id, version])`.
pub fn genesis_nullifier(chain_id: u64, version: u64) -> Fr {
    poseidon2::hash(domain::GENESIS, &[Fr::from(chain_id), Fr::from(version)])
}

/// The public data slot of an address's fee balance: `hash(FEE_BALANCE_SLOT, [address])`.
pub fn fee_balance_slot(address: &Fr) -> Fr {
    poseidon2::hash(domain::FEE_BALANCE_SLOT, &[*address])
}
