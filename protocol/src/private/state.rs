//! What the kernel knows after some of the calls.

use rollmill_algebra::{Fr, poseidon2};

use super::call::CallEntry;
use super::entries::{OwnedKey, OwnedLog, OwnedMessage, OwnedNote, OwnedNullifier, OwnedRead};
use super::{FEW_PER_TX, MESSAGES, PER_TX};
use crate::domain;
use crate::layout::layout;

layout! {
    /// The kernel's state between two proofs, in the order of its digest. Entries stand in the order in which
    /// their calls were taken, which is not that of their counters.
    pub struct KernelState<T> {
        /// [`super::TxRequest::hash`] of what the user asked for.
        pub request_hash: T,
        /// Hash of the header whose state every call read.
        pub anchor_header_hash: T,
        /// Chain id of the L1.
        pub chain_id: T,
        /// Number of the rollup deployment.
        pub version: T,
        /// [`super::gas_hash`] of the transaction's gas settings.
        pub gas_hash: T,
        /// First counter of what a later phase may revert; zero if no call has set it.
        pub min_revertible: T,
        /// Address of the contract that pays the fee; zero if none has said so.
        pub fee_payer: T,
        /// Counter before the call in which it said so.
        pub fee_payer_start: T,
        /// Least of the calls' last slots.
        pub expiry_slot: T,
        /// Note hashes that must exist.
        pub note_reads: [OwnedRead<T>; PER_TX],
        /// Nullifiers that must exist.
        pub nullifier_reads: [OwnedRead<T>; FEW_PER_TX],
        /// Note hashes.
        pub note_hashes: [OwnedNote<T>; PER_TX],
        /// Nullifiers.
        pub nullifiers: [OwnedNullifier<T>; PER_TX],
        /// Logs.
        pub logs: [OwnedLog<T>; PER_TX],
        /// Keys that calls used.
        pub keys: [OwnedKey<T>; FEW_PER_TX],
        /// Messages to L1.
        pub messages: [OwnedMessage<T>; MESSAGES],
        /// Calls that wait for their proofs; the last one is taken next and has the highest start counter.
        pub stack: [CallEntry<T>; FEW_PER_TX],
    }
}

impl KernelState<Fr> {
    /// A state with every word zero.
    pub fn empty() -> Self {
        Self::indices().map(|_| Fr::from(0u64))
    }

    /// `hash(KERNEL_STATE, fields)`: what a proof of the kernel states of it.
    pub fn digest(&self) -> Fr {
        poseidon2::hash(domain::KERNEL_STATE, &self.to_vec())
    }

    /// True when this counter belongs to what a later phase may revert.
    pub(super) fn is_revertible(&self, counter: &Fr) -> bool {
        self.min_revertible != Fr::from(0u64) && *counter >= self.min_revertible
    }
}
