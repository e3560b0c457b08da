//! Access to L1: contract bindings, a client over several RPC endpoints, a follower that survives
//! reorgs, a sender whose transactions survive restarts and reorgs, and the sources of blobs.
//!
//! # Conventions
//! - Words of the contract are 32-byte big-endian field elements; [`abi::word`] and [`abi::element`]
//!   convert them.
//! - Nothing here reads a clock to decide: fees rise by L1 blocks that pass, and the waits that
//!   remain are polling intervals, limits of requests and pauses before they are repeated.
//! - Errors are [`L1Error`], with codes `L1-…`.

pub mod abi;
mod amount;
pub mod attest;
mod client;
pub mod data;
mod deploy;
pub mod economics;
mod error;
mod event;
pub mod evidence;
mod failover;
mod fees;
mod follower;
mod intent;
mod intent_v1;
mod keys;
mod queue;
pub mod quote;
mod sealed;
mod seeds;
mod send;
mod sender;
mod sidecars;
mod tick;
mod wire;

pub use amount::{Azt, NotAnAmount};
pub use client::{
    DeploymentInfo, L1BlockRef, L1Client, ProofDeadline, RollupContract, Selection, Tips,
};
pub use deploy::{Chosen, Deployment, Plan, Terms, creation_code, deploy, root_key};
pub use error::L1Error;
pub use event::{
    BlockProposed, EpochProven, Followed, L1Event, MessageKind, MessageSent, Place, Pruned,
};
pub use fees::Fees;
pub use follower::Follower;
pub use keys::{KeyLock, KeySource, parse_key, read_keystore, write_keystore};
pub use seeds::{FIRST_SEED, SEED_LAG, Seeds};
pub use sender::{
    Expiry, GAS_LIMIT_MAX, Right, Seen, SenderConfig, TxReceipt, TxRequest, TxSender, TxStatus,
    TxUpdate,
};

/// Blobs, their commitments and sidecars.
pub use rollmill_blob as blob;

/// The underlying Ethereum library, so that its types have one version in the workspace.
pub use alloy;
