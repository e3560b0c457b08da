//! The rollup's circuits: gadgets, the in-circuit verifier, and one module for each circuit.
//!
//! Each circuit is laid out by the same code for setup and for proving, and never branches on a value.
//! Its own part, apart from the verification of its children, is a function `constrain` (or `join`)
//! whose plain twin is in `rollmill_protocol`.

pub mod block_merge;
pub mod block_root;
pub mod children;
pub mod circuit;
pub mod client;
pub mod epoch_root;
pub mod gadgets;
pub mod jobs;
pub mod keyset;
pub mod maker;
pub mod private;
pub mod registry;
pub mod store;
pub mod tx_base;
pub mod tx_merge;
pub mod weaken;

pub use rollmill_protocol::Circuit;

/// The version that jobs of these keys carry. An agent proves jobs of its own version only. It is the start of
/// the key tree's root, so that it changes with any circuit.
pub fn version_name(keys: &keyset::KeySet) -> String {
    let root = rollmill_protocol::field::to_bytes(&keys.root());
    format!("v{}-{}", rollmill_protocol::version::PROTOCOL_VERSION, hex::encode(&root[..8]))
}
