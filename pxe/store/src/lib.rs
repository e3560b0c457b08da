//! What a wallet keeps, in one encrypted database file: accounts with their keys, notes, messages for contracts that
//! are not registered, auth witnesses, capsules, contracts, indices of tags, events and transactions.
//!
//! - **One file, one transaction for each step.** After a crash a step has happened, or it has not.
//! - **Facts and decisions.** What follows from blocks is undone exactly by [`Store::rewind`]; what the wallet decided
//!   is never touched by it.
//! - **Intent first.** [`Step::plan`] takes notes and tags, [`Step::ready`] keeps the bytes, and only then may
//!   anything leave the machine.
//! - **Scopes.** Whatever belongs to an account is read and changed within a [`Scope`] that has the account.
//! - **Sealed.** Names and values are encrypted, and a changed, missing or repeated row is found when the file is
//!   opened. `docs/book/store.md` says what stays visible.

mod block;
mod codec;
mod error;
mod file;
mod keys;
mod keystore;
mod paths;
mod phrase;
mod scope;
mod seal;
mod step;
mod store;
mod tables;
mod view;

pub use block::BlockStep;
pub use error::StoreError;
pub use keys::{KeyKind, MasterKeys, ViewingSecret};
pub use keystore::AccountInfo;
pub use redb::StorageBackend;
pub use scope::Scope;
pub use seal::Cost;
pub use step::{Plan, Planned, Step};
pub use store::{Header, Store};
pub use tables::{
    Account, ClassKeys, Contact, Contract, Event, FunctionKey, Note, Payload, Stage, TransactionRow,
};
pub use view::{Placed, StoredNote, Transaction, View};
pub use zeroize::Zeroizing;
