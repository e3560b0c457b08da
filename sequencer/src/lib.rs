//! The light sequencer: one proposer that orders transactions into blocks and puts them on L1.
//!
//! It admits a transaction only after its client proof was verified (the node's pool does), takes the
//! best offers first, and publishes a block's data as calldata.

pub mod build;
pub mod config;
pub mod metrics;
pub mod sequencer;
