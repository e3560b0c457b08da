//! L1 as the rollup sees it: contract bindings, a client over several RPC endpoints, a follower that
//! survives reorgs, and a sender whose transactions survive restarts and reorgs.
//!
//! # Conventions
//! - Words of the contract are 32-byte big-endian field elements; [`abi::word`] and [`abi::element`]
//!   convert them.
//! - Nothing here reads a clock to decide: fees rise by L1 blocks that pass, and the waits that
//!   remain are polling intervals.
//! - Errors are [`L1Error`], with codes `L1-…`.

pub mod abi;
mod client;
mod error;
mod failover;

pub use client::{L1BlockRef, L1Client, ProofDeadline, RollupContract, Tips};
pub use error::L1Error;
