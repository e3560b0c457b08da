//! Notes, the keys that own them, and what spending one reveals.

use ark_ff::Zero;
use rollmill_algebra::{Fr, poseidon2};

use crate::domain;
use crate::tx::REFUND_SLOT;

/// The contract that a tag of the built-in client is siloed with.
pub const BUILT_IN_CONTRACT: u64 = 1;

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

/// The keys of an address: `hash(KEYS, [npk, vpk.x, vpk.y])`.
pub fn keys_hash(npk: &Fr, viewing: &ViewingKey) -> Fr {
    poseidon2::hash(domain::KEYS, &[*npk, viewing.x, viewing.y])
}

/// An address: `hash(ADDRESS, [keys_hash, partial])`. `partial` names the account's contract, and is zero
/// without one; the built-in client knows only those.
pub fn address(keys_hash: &Fr, partial: &Fr) -> Fr {
    poseidon2::hash(domain::ADDRESS, &[*keys_hash, *partial])
}

/// The discovery tag of the log number `counter` between two parties who share `secret`.
pub fn discovery_tag(secret: &Fr, counter: u64) -> Fr {
    poseidon2::hash(domain::TAG, &[*secret, Fr::from(counter)])
}

/// A tag as it is published: `hash(SILO_TAG, [contract, tag])`, so that no contract writes under another's
/// tags.
pub fn silo_tag(contract: &Fr, tag: &Fr) -> Fr {
    poseidon2::hash(domain::SILO_TAG, &[*contract, *tag])
}

/// Value that belongs to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Note {
    /// Address of the owner.
    pub owner: Fr,
    /// Amount in units.
    pub value: u64,
    /// Hides the owner.
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

    /// The origin of the refund of the transaction with this first nullifier.
    pub fn refund(first_nullifier: Fr) -> Self {
        Self { first_nullifier, index: REFUND_SLOT as u64 }
    }
}

impl Note {
    /// [`note_partial`] of owner and randomness.
    pub fn partial(&self) -> Fr {
        note_partial(&self.owner, &self.randomness)
    }

    /// [`note_hash`].
    pub fn hash(&self) -> Fr {
        note_hash(&self.partial(), self.value)
    }

    /// The leaf of the note-hash tree: `hash(UNIQUE_NOTE, [first_nullifier, index, note_hash])`.
    pub fn unique(&self, origin: &NoteOrigin) -> Fr {
        unique(origin, &self.hash())
    }
}

/// A note without its value: `hash(NOTE_PARTIAL, [owner, randomness])`. It hides the owner, and a block
/// completes it with a value that nobody knew before.
pub fn note_partial(owner: &Fr, randomness: &Fr) -> Fr {
    poseidon2::hash(domain::NOTE_PARTIAL, &[*owner, *randomness])
}

/// `hash(NOTE, [partial, value])`.
pub fn note_hash(partial: &Fr, value: u64) -> Fr {
    poseidon2::hash(domain::NOTE, &[*partial, Fr::from(value)])
}

/// The leaf of the refund that a transaction without a fee payer gets, also when its value is zero.
pub fn refund_leaf(first_nullifier: &Fr, refund_partial: &Fr, value: u64) -> Fr {
    unique(&NoteOrigin::refund(*first_nullifier), &note_hash(refund_partial, value))
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
