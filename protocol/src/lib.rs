//! The rollup's rules, without circuits, clocks or I/O: notes, transactions, trees, blocks, epochs,
//! fees, the state transition and every canonical encoding.
//!
//! Everything a circuit proves has its plain twin here, so that a witness, a public input and an
//! expected value all come from one definition.
//!
//! # Conventions
//! - A field element is [`Fr`], 32 bytes big-endian and canonical wherever it is bytes.
//! - Hashes are `poseidon2::hash(domain, inputs)`; the domains are listed in [`domain`].
//! - Decoders are strict: a value has one encoding, and nothing may follow it.
//! - Errors carry stable codes `PRO-…`; a code is never reused.

pub mod blob;
pub mod block;
pub mod builder;
pub mod charge;
pub mod circuit;
pub mod codec;
pub mod config;
pub mod field;
pub mod gas;
pub mod genesis;
pub mod header;
pub mod join;
pub mod layout;
pub mod message;
pub mod note;
pub mod plan;
pub mod private;
pub mod public_inputs;
pub mod rejection;
pub mod state;
pub mod tree;
pub mod tx;
pub mod version;
pub mod vk_tree;

pub use blob::{BlobFr, Commitment, Opening};
pub use block::{BlockBody, BlockData, ChainLink};
pub use builder::{Block, BlockBuilder, BlockEnv, BlockError};
pub use charge::ChargedRows;
pub use circuit::Circuit;
pub use codec::DecodeError;
pub use config::Config;
pub use field::EthAddress;
pub use gas::{FeePerGas, Gas};
pub use genesis::{Genesis, GenesisState};
pub use header::{Header, StateRefs, TxState};
pub use note::Note;
pub use plan::EpochPlan;
pub use public_inputs::{BlockRange, ClientInputs, Constants, EpochRoot, TxRange};
pub use rollmill_algebra::pair::Pair;
pub use rollmill_algebra::{Fr, domain};
pub use state::{ApplyError, TxGlobals, TxRejection, TxTransition, WorldState};
pub use tx::{EffectsError, Log, ProofKind, Tx, TxEffects};
