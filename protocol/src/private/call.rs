//! What a private function's proof states, and what a user asks for.

use rollmill_algebra::{Fr, poseidon2};

use super::entries::{KeyEntry, LogEntry, MessageEntry, NoteEntry, NullifierEntry, ReadEntry};
use super::{FEW_PER_CALL, MESSAGES, PER_CALL};
use crate::domain;
use crate::gas::GasSettings;
use crate::layout::layout;

layout! {
    /// A call that waits for its proof: what its caller says about it.
    #[derive(Copy)]
    pub struct CallEntry<T> {
        /// Address of the called contract.
        pub contract: T,
        /// The function.
        pub selector: T,
        /// Address of the caller; zero for the first call of a transaction.
        pub sender: T,
        /// One if the call may not have effects.
        pub is_static: T,
        /// Hash of the arguments.
        pub args_hash: T,
        /// Hash of the values that the caller was given.
        pub returns_hash: T,
        /// Counter before the call.
        pub start: T,
        /// Counter after the call.
        pub end: T,
    }
}

layout! {
    /// A call of a public function. There are none yet, so every word is zero.
    #[derive(Copy)]
    pub struct PublicCallEntry<T> {
        pub contract: T,
        pub calldata_hash: T,
        pub sender: T,
        pub is_static: T,
        pub counter: T,
    }
}

layout! {
    /// The public call that ends a transaction. There is none yet, so every word is zero.
    #[derive(Copy)]
    pub struct TeardownEntry<T> {
        pub contract: T,
        pub calldata_hash: T,
        pub sender: T,
        pub is_static: T,
    }
}

layout! {
    /// Everything that one call of a private function says, in the order of its digest.
    pub struct PrivateCall<T> {
        /// Address of the contract.
        pub contract: T,
        /// The function.
        pub selector: T,
        /// Address of the caller; zero for the first call of a transaction.
        pub sender: T,
        /// One if the call may not have effects.
        pub is_static: T,
        /// Hash of the arguments.
        pub args_hash: T,
        /// Hash of the returned values.
        pub returns_hash: T,
        /// Hash of the header whose state the call read.
        pub anchor_header_hash: T,
        /// Chain id of the L1.
        pub chain_id: T,
        /// Number of the rollup deployment.
        pub version: T,
        /// [`gas_hash`] of the transaction's gas settings.
        pub gas_hash: T,
        /// Counter before the first effect.
        pub start: T,
        /// Counter after the last effect.
        pub end: T,
        /// First counter of what a later phase may revert; zero if the call does not set it.
        pub min_revertible: T,
        /// One if the contract pays the fee.
        pub is_fee_payer: T,
        /// Last slot of a block that may have the transaction.
        pub expiry_slot: T,
        /// Note hashes that must exist.
        pub note_reads: [ReadEntry<T>; PER_CALL],
        /// Nullifiers that must exist.
        pub nullifier_reads: [ReadEntry<T>; FEW_PER_CALL],
        /// Note hashes.
        pub note_hashes: [NoteEntry<T>; PER_CALL],
        /// Nullifiers.
        pub nullifiers: [NullifierEntry<T>; PER_CALL],
        /// Logs.
        pub logs: [LogEntry<T>; PER_CALL],
        /// Keys that the call used.
        pub keys: [KeyEntry<T>; FEW_PER_CALL],
        /// Nested private calls in the order in which they were made.
        pub calls: [CallEntry<T>; FEW_PER_CALL],
        /// Public calls.
        pub public_calls: [PublicCallEntry<T>; FEW_PER_CALL],
        /// The public call that ends the transaction.
        pub teardown: TeardownEntry<T>,
        /// Messages to L1.
        pub messages: [MessageEntry<T>; MESSAGES],
    }
}

// The specification's sum.
const _: () = assert!(PrivateCall::<Fr>::CELLS == 185);

impl PrivateCall<Fr> {
    /// A call with every word zero.
    pub fn empty() -> Self {
        Self::indices().map(|_| Fr::from(0u64))
    }

    /// `hash(CALL, fields)`: the one public input of a function's proof.
    pub fn digest(&self) -> Fr {
        poseidon2::hash(domain::CALL, &self.to_vec())
    }

    /// The call as its caller states it.
    pub fn entry(&self) -> CallEntry<Fr> {
        CallEntry {
            contract: self.contract,
            selector: self.selector,
            sender: self.sender,
            is_static: self.is_static,
            args_hash: self.args_hash,
            returns_hash: self.returns_hash,
            start: self.start,
            end: self.end,
        }
    }
}

/// `hash(GAS_SETTINGS, fields)`.
pub fn gas_hash(gas: &GasSettings) -> Fr {
    poseidon2::hash(domain::GAS_SETTINGS, &gas.to_fields())
}

/// The first call of a transaction as its user asks for it, and in which deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxRequest {
    /// Address of the contract that is called first: the user's account.
    pub origin: Fr,
    /// Its function.
    pub selector: Fr,
    /// Hash of the arguments.
    pub args_hash: Fr,
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Number of the rollup deployment.
    pub version: u64,
    /// Prices and limits.
    pub gas: GasSettings,
    /// A random word, so that two equal requests are two transactions and nobody can guess one from its hash.
    pub salt: Fr,
}

impl TxRequest {
    /// `hash(TX_REQUEST, [origin, selector, args_hash, chain_id, version, gas_hash, salt])`. It is the first
    /// nullifier of a transaction that has no other which cannot be reverted.
    pub fn hash(&self) -> Fr {
        let words = [
            self.origin,
            self.selector,
            self.args_hash,
            self.chain_id.into(),
            self.version.into(),
            gas_hash(&self.gas),
            self.salt,
        ];
        poseidon2::hash(domain::TX_REQUEST, &words)
    }
}
