//! Errors of the node, by who is at fault: the node itself, a block on L1, a sender, an asker.

use std::path::{Path, PathBuf};

use rollmill_errors::Bare;
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
    ///
    /// Do: Check the path of `--node-data-dir`, its permissions and its disk.
    #[error("{code}: database {} cannot be opened; check the path of node.data_dir, its permissions and the disk's space", path.display(), code = self.code())]
    Open {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has the database open.
    ///
    /// Do: Stop that process, or set another `--node-data-dir`.
    #[error("{code}: database {} is in use by another process; stop that process, or give this one another node.data_dir", path.display(), code = self.code())]
    InUse { path: PathBuf },
    /// The data directory holds the chain of another deployment.
    ///
    /// Do: Set another `--node-data-dir`, or correct `--node-genesis`.
    #[error("{code}: {} holds the chain of genesis {got}, not of {expected}; name another data directory", path.display(), code = self.code())]
    OtherDeployment { path: PathBuf, expected: String, got: String },
    /// The database was written by another version. One of schema 1 has the chain of another protocol, whose
    /// deployments this release does not follow.
    ///
    /// Do: Set another `--node-data-dir`; the node then syncs from L1.
    #[error("{code}: database schema {expected} expected, got {got}{}; name another data directory to follow L1 anew", of_protocol_1(*got), code = self.code())]
    Schema { expected: u64, got: u64 },
    /// A database operation failed: full disk, or an I/O error.
    ///
    /// Do: Check the disk's free space and health, then restart.
    #[error("{code}: database{}: {source}; check the disk's space and health", of(path.as_deref()), code = self.code())]
    Database {
        /// Its file, where the operation knows it.
        path: Option<PathBuf>,
        #[source]
        source: Box<redb::Error>,
    },
    /// The database holds an impossible value: it is damaged.
    ///
    /// Do: Delete the data directory; the node then syncs from L1. If it recurs, report it with the
    /// log.
    #[error("{code}: database is damaged: {what}; delete the data directory to follow L1 anew", code = self.code())]
    Corrupt { what: String },
    /// L1 cannot be read. The node retries.
    ///
    /// Do: Do what the message says; usually an endpoint in `--node-l1-urls` must be corrected.
    #[error("{code}: L1 cannot be read: {cause}", code = self.code(), cause = Bare(.0))]
    Source(#[from] L1SourceError),
    /// An L1 endpoint contradicts what it reported before. The node retries.
    ///
    /// Do: Nothing after a reorg. If it lasts, use another L1 endpoint, or delete the data
    /// directory to sync again.
    #[error("{code}: L1 contradicts what it reported before: {what}", code = self.code())]
    Inconsistent { what: String },
    /// The genesis file is invalid.
    ///
    /// Do: Use the deployment's genesis file (`--node-genesis`).
    #[error("{code}: the genesis is invalid: {cause}", code = self.code(), cause = Bare(.0))]
    Genesis(#[from] GenesisError),
}

rollmill_errors::coded! {
    NodeError {
        Self::Open { .. } => "NODE-001",
        Self::InUse { .. } => "NODE-009",
        Self::OtherDeployment { .. } => "NODE-002",
        Self::Schema { .. } => "NODE-003",
        Self::Database { .. } => "NODE-004",
        Self::Corrupt { .. } => "NODE-005",
        Self::Source(_) => "NODE-006",
        Self::Inconsistent { .. } => "NODE-007",
        Self::Genesis(_) => "NODE-008",
    }
}

/// The file of a database, for a message.
fn of(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!(" {}", path.display()))
}

/// What a database of the first schema is.
fn of_protocol_1(schema: u64) -> &'static str {
    if schema == 1 { ", which has a chain of protocol 1, another deployment" } else { "" }
}

/// Each of the database's errors becomes [`NodeError::Database`].
macro_rules! from_database {
    ($($error:ty),*) => {
        $(impl From<$error> for NodeError {
            fn from(error: $error) -> Self {
                Self::Database { path: None, source: Box::new(error.into()) }
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
    /// Names the file in a failure of the database.
    pub(crate) fn at(self, file: &Path) -> Self {
        match self {
            Self::Database { path: None, source } => {
                Self::Database { path: Some(file.to_owned()), source }
            }
            other => other,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

/// A value that a record in the database does not decode to.
pub(crate) fn damaged(error: DecodeError) -> NodeError {
    NodeError::corrupt(Bare(&error).to_string())
}

/// Why a block on L1 is not followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockRefusal {
    /// The block does not follow the pending tip.
    ///
    /// Do: Nothing: the node does not follow it. It is pruned on L1 after its deadline.
    #[error("{code}: block {expected} expected, L1 has block {got}", code = self.code())]
    OutOfOrder { expected: u64, got: u64 },
    /// The block's blob is no list of transactions. L1 takes any blob, but such a block cannot be proven.
    ///
    /// Do: Nothing: the block is pruned on L1 after its deadline. Tell the proposer.
    #[error("{code}: the data is not a block: {cause}", code = self.code(), cause = Bare(.0))]
    Data(#[from] DecodeError),
    /// What the proposer stated on L1 does not follow from the block's data.
    ///
    /// Do: Nothing: the block is pruned on L1 after its deadline. Tell the proposer.
    #[error("{code}: {what} on L1 does not follow from the data", code = self.code())]
    Mismatch { what: &'static str },
    /// The block violates a consensus rule. The message names it.
    ///
    /// Do: Nothing: the block is pruned on L1 after its deadline. Tell the proposer.
    #[error("{code}: the block violates a rule: {cause}", code = self.code(), cause = Bare(.0))]
    Rule(BlockError),
    /// No source has the block's data, and L1 pruned the block since.
    ///
    /// Do: Nothing: the node continues after the prune.
    #[error("{code}: data missing", code = self.code())]
    DataMissing,
    /// An earlier block of the chain was rejected.
    ///
    /// Do: Look for the first rejected block in the log.
    #[error("{code}: it follows a rejected block", code = self.code())]
    AfterRefused,
}

// NODE-031 is retired.
rollmill_errors::coded! {
    BlockRefusal {
        Self::OutOfOrder { .. } => "NODE-030",
        Self::Data(..) => "NODE-032",
        Self::Mismatch { .. } => "NODE-033",
        Self::Rule(..) => "NODE-034",
        Self::DataMissing => "NODE-036",
        Self::AfterRefused => "NODE-035",
    }
}

/// Why a transaction is not taken into the pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The bytes are not a transaction.
    ///
    /// Do: Create it with a wallet of the same release.
    #[error("{code}: not a transaction: {cause}", code = self.code(), cause = Bare(.0))]
    Malformed(#[from] DecodeError),
    /// The transaction cannot be part of the next block.
    ///
    /// Do: Do what the message says; usually the wallet must sync and build it
    /// again.
    #[error("{code}: the next block cannot include the transaction: {cause}", code = self.code(), cause = Bare(.0))]
    Rejected(#[from] TxRejection),
    /// The client proof does not verify.
    ///
    /// Do: Use the keys of the deployment (`--keys-dir` of the wallet) and prove again.
    #[error("{code}: the client proof does not verify: {reason}", code = self.code())]
    Proof { reason: String },
    /// A transaction in the pool publishes the same nullifier, or claims the same deposit.
    ///
    /// Do: Wait for it, or raise both gas prices by at least a tenth to replace it.
    #[error("{code}: transaction {} in the pool publishes nullifier {}; offer at least a tenth more for both kinds of gas to replace it", to_hex(.other), to_hex(.nullifier), code = self.code())]
    Conflict { nullifier: Fr, other: Fr },
    /// The pool is full of transactions that offer as much or more.
    ///
    /// Do: Offer more, or send again later. An operator can raise `--node-pool-txs`.
    #[error("{code}: the pool is full ({max} transactions), and each offers at least {offer}; offer more or send again later", code = self.code())]
    Full { max: usize, offer: u128 },
    /// The fee payer's balance, with what its transactions add to it, does not cover all of them in the pool.
    ///
    /// Do: Wait until some are included.
    #[error("{code}: the fee payer's balance {balance} does not cover {needed} for its transactions in the pool", code = self.code())]
    PayerOvercommitted { balance: u64, needed: u128 },
    /// The fee payer has the maximum number of transactions in the pool, and each offers as much or
    /// more.
    ///
    /// Do: Wait for a block. An operator can raise `--node-pool-payer-txs`.
    #[error("{code}: the fee payer has {max} transactions in the pool, the most of one payer; wait for a block", code = self.code())]
    PayerFull { max: usize },
    /// The queue for verifying transactions is full.
    ///
    /// Do: Send again later. An operator can raise `--node-verify-queue` and
    /// `--node-verify-threads`.
    #[error("{code}: the node is busy with other transactions; send again later", code = self.code())]
    Busy,
    /// The transaction is larger than any valid one.
    ///
    /// Do: Create it with a wallet of the same release.
    #[error("{code}: a transaction of {got} bytes, at most {max} are read", code = self.code())]
    TooLarge { max: usize, got: usize },
    /// The node is at fault.
    #[error(transparent)]
    Node(#[from] NodeError),
}

rollmill_errors::coded! {
    PoolError {
        Self::Malformed(_) => "NODE-020",
        Self::Rejected(_) => "NODE-021",
        Self::Proof { .. } => "NODE-022",
        Self::Conflict { .. } => "NODE-023",
        Self::Full { .. } => "NODE-024",
        Self::PayerOvercommitted { .. } => "NODE-025",
        Self::PayerFull { .. } => "NODE-027",
        Self::Busy => "NODE-028",
        Self::TooLarge { .. } => "NODE-026",
        Self::Node(error) => (error),
    }
}

impl From<ApplyError> for PoolError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Rejected(rejection) => Self::Rejected(rejection),
            ApplyError::Storage(error) => Self::Node(error.into()),
            other => Self::Node(NodeError::corrupt(Bare(&other).to_string())),
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The node has no such block.
    ///
    /// Do: Ask for a block up to the pending tip. The node may still be syncing, or the block was
    /// pruned.
    #[error("{code}: block {block} is not part of the chain", code = self.code())]
    UnknownBlock { block: String },
    /// The state after this block is no longer kept.
    ///
    /// Do: Ask for a newer block, or raise `--node-state-blocks`.
    #[error("{code}: the state after block {block} is no longer kept; the oldest is {oldest}", code = self.code())]
    StateGone { block: u64, oldest: u64 },
    /// A parameter is missing, superfluous, or not what the method takes.
    ///
    /// Do: Correct the request; the message names the parameter.
    #[error("{code}: {method}: {reason}", code = self.code())]
    Parameters { method: &'static str, reason: String },
    /// The tree has no such leaf.
    ///
    /// Do: Ask for a leaf below the count in the message.
    #[error("{code}: leaf {index} is not in the tree, which holds {count} leaves", code = self.code())]
    NoLeaf { index: u64, count: u64 },
    /// The node is at fault.
    #[error(transparent)]
    Node(#[from] NodeError),
}

rollmill_errors::coded! {
    QueryError {
        Self::UnknownBlock { .. } => "NODE-010",
        Self::StateGone { .. } => "NODE-011",
        Self::Parameters { .. } => "NODE-012",
        Self::NoLeaf { .. } => "NODE-013",
        Self::Node(error) => (error),
    }
}
