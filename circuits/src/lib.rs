//! The rollup's circuits: gadgets, the in-circuit verifier, and one module a circuit.
//!
//! Each circuit is laid out by the same code for setup and for proving, and never branches on a value.
//! Its own part, apart from the verification of its children, is a function `constrain` (or `join`)
//! whose plain twin is in `rollmill_protocol`.

pub mod block_merge;
pub mod block_root;
pub mod client;
pub mod epoch_root;
pub mod gadgets;
pub mod tx_base;
pub mod tx_merge;
