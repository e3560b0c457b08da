//! The user's side: keys, notes, private execution and client proofs.
//!
//! Everything secret stays here: what leaves is a transaction whose client proof is zero-knowledge and
//! whose logs are encrypted.

pub mod error;
pub mod keys;
pub mod keystore;
pub mod logs;
pub mod prover;
pub mod wallet;
