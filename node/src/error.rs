//! Errors of the node, by who is at fault: the node itself, a block on L1, a sender, an asker.

use std::path::PathBuf;

use rollmill_protocol::field::to_hex;
use rollmill_protocol::genesis::GenesisError;
use rollmill_protocol::tree::StorageError;
use rollmill_protocol::{ApplyError, BlockError, DecodeError, Fr, TxRejection};

use crate::l1_events::L1SourceError;

/// What stops a node or one of its steps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The database file cannot be opened: no permission, no space, or damaged.
    #[error("NODE-001: database {} cannot be opened; check the path of node.data_dir, its permissions and the disk's space", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has the database open.
    #[error("NODE-009: database {} is in use by another process; stop that process, or give this one another node.data_dir", path.display())]
    InUse { path: PathBuf },
    /// The data directory holds another deployment's chain.
    #[error("NODE-002: {} holds the chain of genesis {got}, not of {expected}; name another data directory", path.display())]
    OtherDeployment { path: PathBuf, expected: String, got: String },
    /// The database was written by another version of this software.
    #[error(
        "NODE-003: database schema {expected} expected, got {got}; name another data directory to follow L1 anew"
    )]
    Schema { expected: u64, got: u64 },
    /// The database did not do what was asked: disk full, or an input/output error.
    #[error("NODE-004: database: {0}; check the disk's space and health")]
    Database(#[source] Box<redb::Error>),
    /// The database holds something that cannot be.
    #[error("NODE-005: database is damaged: {what}; delete the data directory to follow L1 anew")]
    Corrupt { what: String },
    /// L1 could not be read. The node tries again.
    #[error("NODE-006: L1 cannot be read: {0}")]
    Source(#[from] L1SourceError),
    /// What L1 said contradicts what it said before.
    #[error("NODE-007: L1 source is inconsistent: {what}")]
    Inconsistent { what: String },
    /// The genesis file cannot be built.
    #[error("NODE-008: {0}")]
    Genesis(#[from] GenesisError),
}

/// Each of the database's errors becomes [`NodeError::Database`].
macro_rules! from_database {
    ($($error:ty),*) => {
        $(impl From<$error> for NodeError {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        })*
    };
}
from_database!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

/// Reading state goes through the protocol's storage error and comes out as what went in.
impl From<StorageError> for NodeError {
    fn from(error: StorageError) -> Self {
        let StorageError { reason, source } = error;
        match source.map(|source| source.downcast::<Self>()) {
            Some(Ok(own)) => *own,
            _ => Self::Corrupt { what: reason },
        }
    }
}

impl NodeError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

/// A value that a record in the database does not decode to.
pub(crate) fn damaged(error: DecodeError) -> NodeError {
    NodeError::corrupt(error.to_string())
}

/// Why a block on L1 is not followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockRefusal {
    /// It does not follow the pending tip.
    #[error("NODE-030: block {expected} expected, L1 proposed {got}")]
    OutOfOrder { expected: u64, got: u64 },
    /// Its bytes are not the ones whose hash L1 recorded.
    #[error("NODE-031: the data has hash {}, L1 recorded {}", to_hex(.got), to_hex(.expected))]
    DataHash { expected: Fr, got: Fr },
    /// Its bytes are no block.
    #[error("NODE-032: the data is no block: {0}")]
    Data(#[from] DecodeError),
    /// The proposer told L1 something else than the data says.
    #[error("NODE-033: {what} on L1 is not what the data says")]
    Mismatch { what: &'static str },
    /// It breaks a rule.
    #[error("NODE-034: {0}")]
    Rule(BlockError),
    /// Its bytes cannot be had, although L1 answers.
    #[error("NODE-036: the data is not available: {0}")]
    Unavailable(String),
    /// An earlier block of the chain was refused.
    #[error("NODE-035: it follows a refused block")]
    AfterRefused,
}

/// Why a transaction is not taken into the pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The bytes are no transaction.
    #[error("NODE-020: {0}")]
    Malformed(#[from] DecodeError),
    /// It cannot be part of the next block.
    #[error("NODE-021: {0}")]
    Rejected(#[from] TxRejection),
    /// Its client proof does not verify.
    #[error("NODE-022: the client proof is refused: {reason}")]
    Proof { reason: String },
    /// A transaction in the pool publishes the same nullifier. Offer a tenth more to replace it.
    #[error("NODE-023: transaction {} in the pool publishes nullifier {}; offer at least a tenth more for both kinds of gas to replace it", to_hex(.other), to_hex(.nullifier))]
    Conflict { nullifier: Fr, other: Fr },
    /// The pool is full of transactions that offer as much or more. Send again later.
    #[error(
        "NODE-024: the pool holds {max} transactions, its most, and each offers at least {offer}; offer more or send again later"
    )]
    Full { max: usize, offer: u128 },
    /// The fee payer's balance does not cover all its transactions in the pool.
    #[error(
        "NODE-025: the fee payer's balance {balance} does not cover {needed} for its transactions in the pool"
    )]
    PayerOvercommitted { balance: u64, needed: u128 },
    /// The fee payer has as many transactions in the pool as one may have, and each offers as much
    /// or more.
    #[error(
        "NODE-027: the fee payer has {max} transactions in the pool, the most of one payer; wait for a block"
    )]
    PayerFull { max: usize },
    /// The node verifies as many transactions as it can. Send again later.
    #[error("NODE-028: the node is busy with other transactions; send again later")]
    Busy,
    /// The transaction is larger than any valid one.
    #[error("NODE-026: a transaction of {got} bytes, at most {max} are read")]
    TooLarge { max: usize, got: usize },
    /// The node is at fault.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl From<ApplyError> for PoolError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Rejected(rejection) => Self::Rejected(rejection),
            ApplyError::Storage(error) => Self::Node(error.into()),
            other => Self::Node(NodeError::corrupt(other.to_string())),
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The node has no such block.
    #[error("NODE-010: block {block} is not part of the chain")]
    UnknownBlock { block: String },
    /// The state after this block is no longer kept.
    #[error("NODE-011: the state after block {block} is no longer kept; the oldest is {oldest}")]
    StateGone { block: u64, oldest: u64 },
    /// A parameter is missing, superfluous or not what the method takes.
    #[error("NODE-012: {method}: {reason}")]
    Parameters { method: &'static str, reason: String },
    /// The tree has no such leaf.
    #[error("NODE-013: note {index} is not in the tree, which holds {count} leaves")]
    NoLeaf { index: u64, count: u64 },
    /// The node is at fault.
    #[error(transparent)]
    Node(#[from] NodeError),
}
