//! The sequencer: a member of the committee that orders transactions into blocks in its own slots, has them signed
//! by the other members and posts them to L1.
//!
//! The node's pool admits a transaction only after verifying its client proof. Blocks take the highest
//! offers first, and their data is published in a blob.

pub mod bond;
pub mod build;
pub mod committee;
pub mod config;
pub mod error;
pub mod metrics;
pub mod preflight;
pub mod quotes;
pub mod seed;
pub mod sequencer;
mod unverified;
