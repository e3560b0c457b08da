//! The common node of prover-node and sequencer.
//!
//! It follows L1, executes every published block itself, keeps the world state and the transactions
//! with their client proofs, and serves queries over JSON-RPC.
//!
//! ```text
//! L1Events ──► archiver ──► store (redb: blocks, versioned state, L1 position, pool)
//!                              ▲                │
//!           sendTransaction ──►pool             └──► Node ──► JSON-RPC, sequencer, prover-node
//! ```
//!
//! # Use
//! [`Node::open`] returns the handle. [`follow`] drives it from an [`L1Events`] source until shutdown,
//! and [`fetch_missing`] asks other nodes for client proofs. [`rpc::router`] serves it. A sequencer
//! takes [`Node::ready_txs`] and [`Node::messages`], and builds over [`Node::state_at`] the pending tip; a prover node
//! replays
//! [`Node::block`] with the transactions of [`Node::transaction`] over the parent's state.
//! [`Node::watch_tips`] wakes both.
//!
//! # Crash safety
//! Each update from L1 is one database commit that contains the blocks, the state they lead to and the
//! L1 position reached. A process killed at any instant resumes from the last commit.
//!
//! The calls of [`Node`] block on the disk and on hashing; call them from a blocking task.

mod account;
mod archiver;
mod blobs;
pub mod checks;
mod client_keys;
pub mod config;
mod deadline;
mod error;
mod health;
mod l1_events;
mod l1_source;
pub mod metrics;
mod node;
mod peers;
mod pool;
mod rejected;
pub mod rpc;
pub mod setup;
mod signatures;
mod store;
#[cfg(test)]
mod tests;
mod watch;

pub use account::watch_account;
pub use archiver::follow;
pub use blobs::{BeaconIds, BlobConfig, BlobsError, NodeBlobs};
pub use client_keys::{ClientKeyError, ClientKeys, PlacedKey};
pub use deadline::{Deadline, Pruner, read_deadline};
pub use error::{BlockRefusal, NodeError, PoolError, QueryError};
pub use l1_events::{
    BlobMissing, BlockBlobs, Data, GettingBlob, L1Event, L1Events, L1Position, L1SourceError,
    L1Update, Message, ProposedBlock, WantedBlob,
};
pub use l1_source::{RollupEvents, position};
pub use metrics::DeadlineMetrics;
pub use node::{Node, NodeSettings};
pub use peers::fetch_missing;
pub use pool::{ClientProofVerifier, PoolLimits, ProofRejected};
pub use rpc::AdmissionLimits;
pub use signatures::{BlockSigner, Signed, SigningError, Vote};
pub use store::{BlockRecord, StateAt, StoredBlock};
pub use watch::watch;
