//! A member of the committee: attests blocks of other proposers.
//!
//! A proposer sends its block with all transactions and their client proofs. The validator executes the block over
//! its own node's state, compares the header and the link with its own, verifies every proof, and signs the link.
//!
//! # What may be signed
//! - Only a block that the slot's proposer has signed, by the contract's word, in the slot of L1's head or the one
//!   after it. A slot has one proposer, so nobody can use up a validator's signature of somebody else's slot.
//! - Only a block that is valid: whatever the proposer does, no signature vouches for an invalid one.
//! - At most one block of a slot, which [`rollmill_node::BlockSigner`] ensures on the disk. A proposer that signs
//!   two blocks loses its own slot, and gives evidence against itself.
//!
//! # What a signature promises
//! That this node has the client proofs. It keeps them, and [`keep_proofs`] passes them on to the node, which serves
//! them when the block is on L1.

mod check;
mod config;
mod duties;
mod error;
mod evidence;
mod keep;
pub mod metrics;
mod server;
mod start;
mod validator;

pub use config::{CommitteeConfig, Peer, Peers};
pub use duties::{Duties, L1Duties};
pub use error::AttestError;
pub use keep::keep_proofs;
pub use metrics::Metrics;
pub use server::router;
pub use start::{Attesting, duties, open_signer, serve};
pub use validator::{Settings, Validator};
