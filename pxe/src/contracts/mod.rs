//! Contracts of a wallet: what is registered, what their functions do, and the proof of a transaction of them.
//!
//! [`register`] keeps a contract. [`execute`] runs the first function of a transaction with Noir's solver, answers what
//! it asks, and runs the calls that it makes. [`ExecutedTransaction::join`] takes them by the kernel's rules in plain
//! Rust: that is a simulation. [`prover::ContractProver`] proves what was simulated. Notes of contracts are found by
//! [`sync::follow`] and lie in the store. [`prepare`] and [`deliver`] send a transaction, and [`settle`] follows it to
//! its block.
//!
//! Whatever the store has is checked where it is used: an address is a hash over class and keys, a class one over its
//! artifact, and the kernel checks notes, keys and calls. No clock: whoever calls decides how long something may take.

mod book;
mod class;
mod contacts;
mod discover;
mod error;
mod executor;
mod intent;
mod named;
mod oracles;
mod owners;
pub mod prover;
mod record;
mod request;
mod send;
mod sent;
pub mod sync;
mod transaction;

pub use book::{
    Book, Deployed, FunctionKeys, address, class_of, init_hash, instance, partial, register, remove,
};
pub use class::{Class, artifact_hash};
pub use contacts::add_contact;
pub use discover::{FoundNote, decode_deferred};
pub use error::ContractError;
pub use executor::{Executed, ExecutedTransaction, Limits, UsedNote, UsedTag, execute};
pub use intent::{Intent, abandon, abandon_planned, plan, ready};
pub use named::{NamedCall, named_authorization, named_call, named_request, own_contract};
pub use owners::signing_key;
pub use request::{
    Authorization, CallRequest, ContractCall, EntryTerms, Environment, allow, disallow,
};
pub use send::{
    CallDelivery, CallOrder, CallProver, CallQuote, PreparedCall, Simulation, Told, Wanted,
    deliver, prepare, prepare_request, send, simulate,
};
pub use sent::{
    CallStage, CallState, SentCall, history, is_used, known_state, recall, recall_text, refresh,
    report, settle, status, unreported, wait,
};
pub use transaction::SimulatedTransaction;

#[cfg(test)]
pub(crate) mod tests;
