//! The private kernel in plain Rust: the calls of a transaction on its user's machine, joined into the public
//! effects of one transaction.
//!
//! Each private function has a proof, which states the digest of one [`PrivateCall`]. The kernel takes the calls
//! one by one: [`init`] the first, which the user asked for, and [`inner`] each nested one; [`init2`] takes the first
//! two. [`tail`] checks what concerns the whole transaction and makes its effects. Here everything is computed in the
//! open; circuits state the same rules, with these functions as their twins.
//!
//! A contract chooses its functions, so a function's word is trusted for its own contract only: whatever a call
//! says is kept with the contract's address, and [`ContractFunction`] shows that the proof's key is a function of
//! that contract.
//!
//! # Conventions
//! - Values are field elements until a rule says what range they have, since a proof may state anything.
//! - An absent entry of a list is zero in all of its words, and absent entries come last.
//! - Counters order what happened. A call has an open interval of them, `start` to `end`, and those of its nested
//!   calls lie inside.

mod call;
mod contract;
mod entries;
mod error;
mod inputs;
mod state;
mod step;
mod tail;

pub use call::{CallEntry, PrivateCall, PublicCallEntry, TeardownEntry, TxRequest, gas_hash};
pub use contract::{
    ContractFunction, FUNCTION_HEIGHT, FunctionTree, address_partial, class_id, function_leaf,
};
pub use entries::{
    KeyEntry, LogEntry, MessageEntry, NoteEntry, NullifierEntry, OwnedKey, OwnedLog, OwnedMessage,
    OwnedNote, OwnedNullifier, OwnedRead, ReadEntry,
};
pub use error::KernelError;
pub use inputs::{KernelInputs, KernelInputsLayout};
pub use state::KernelState;
pub use step::{init, init2, inner};
pub use tail::{
    NotePath, NullifierPath, Padding, TailWitness, app_key, silo_note, silo_nullifier, tail,
};

use crate::tx;

/// Note hashes, nullifiers and logs of one call; reads of note hashes too.
pub const PER_CALL: usize = 8;
/// Reads of nullifiers, key requests and nested calls of one call.
pub const FEW_PER_CALL: usize = 4;
/// Note hashes, nullifiers, logs and reads of note hashes of a transaction, before any of them disappears.
pub const PER_TX: usize = 16;
/// Reads of nullifiers, key requests and waiting calls of a transaction.
pub const FEW_PER_TX: usize = 8;
/// Messages to L1, of a call as of a transaction.
pub const MESSAGES: usize = tx::MESSAGES;
/// Bits of a counter.
pub const COUNTER_BITS: u32 = 32;
/// The kind of a key request: a nullifier key. There is no other.
pub const NULLIFIER_KEY: u64 = 1;
/// The contract of what a wallet adds to hide how much its transaction does. No address is zero.
pub const PADDING_CONTRACT: u64 = 0;
/// How many note hashes, nullifiers and logs a transaction may show: one of these, the same for all three.
pub const SIZES: [usize; 3] = [2, 4, 8];

// The largest size fills a transaction.
const _: () = assert!(SIZES[2] == tx::SLOTS);
