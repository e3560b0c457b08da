//! The sequencer: a single proposer that orders transactions into blocks and posts them to L1.
//!
//! The node's pool admits a transaction only after verifying its client proof. Blocks take the highest
//! offers first, and their data is published as calldata.

pub mod build;
pub mod committee;
pub mod config;
pub mod error;
pub mod metrics;
pub mod sequencer;
