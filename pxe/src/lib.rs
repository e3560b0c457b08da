//! The wallet: keys, notes, private execution and client proofs.
//!
//! All secrets stay in the wallet: it sends only transactions, whose client proofs are zero-knowledge
//! and whose logs are encrypted.

pub mod contracts;
pub mod error;
pub mod keys;
pub mod keystore;
pub mod leaks;
mod leaves;
pub mod logs;
pub mod prover;
pub mod serve;
pub mod stored;
pub mod wallet;
pub mod withdrawal;
