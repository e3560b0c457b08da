//! Why nothing was proposed.

use rollmill_l1::L1Error;
use rollmill_l1::blob::BlobError;
use rollmill_l1::data::SourceError;
use rollmill_node::{NodeError, QueryError, SigningError};
use rollmill_protocol::DecodeError;

use crate::build::BuildError;

/// Why a turn failed, or the sequencer cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SequencerError {
    /// L1 has the proposed block, but the node did not follow it in time.
    ///
    /// Do: Read the log's lines about L1 and correct the endpoints.
    #[error("{code}: block {number} is on L1, but the node has not followed it in {seconds} s; see the lines of its log about L1", code = self.code())]
    NotFollowed { number: u64, seconds: u64 },
    /// The committee did not sign the block in time. The slot stays empty unless the members sign later in it.
    ///
    /// Do: See what the message says of each member: start those that are unreachable, and correct `--committee-peers`.
    /// While a third of the committee is away, every slot stays empty.
    #[error("{code}: block {number} has {got} of the {needed} signatures that slot {slot} needs after {seconds} s: {reasons}", code = self.code())]
    NoQuorum { number: u64, slot: u64, got: usize, needed: usize, seconds: u64, reasons: String },
    /// The block's data does not make a blob.
    ///
    /// Do: Report it with the log.
    #[error("{code}: the block's blob: {cause}", code = self.code(), cause = rollmill_errors::Bare(.0))]
    Blob(#[from] BlobError),
    /// The block does not fit into a blob.
    ///
    /// Do: Report it with the log: the rules of a block allow fewer transactions.
    #[error("{code}: the block's data: {cause}", code = self.code(), cause = rollmill_errors::Bare(.0))]
    Data(#[from] DecodeError),
    /// The account is no member of the committee.
    ///
    /// Do: Give a member's key with `--l1-key-env` or `--l1-keystore`.
    #[error("{code}: account {account} is none of the {members} members of the present epoch's committee; give a member's key with --l1-key-env or --l1-keystore", code = self.code())]
    NotAMember { account: String, members: usize },
    /// The block's blob cannot be kept.
    #[error(transparent)]
    Archive(#[from] SourceError),
    /// The proposed block is in no L1 block yet.
    ///
    /// Do: Check the log's lines about L1 and its fees; raise `--l1-max-fee-gwei` if they are the
    /// reason.
    #[error("{code}: block {number} was proposed and is in no L1 block after {seconds} s; no other is proposed before its slot ends; see the lines of the log about L1 and its fees", code = self.code())]
    NotIncluded { number: u64, seconds: u64 },
    /// A task of the sequencer panicked.
    ///
    /// Do: Report it with the log. The sequencer goes on if it was a block that was built.
    #[error("{code}: {task} ended early: {source}", code = self.code())]
    Task {
        task: &'static str,
        #[source]
        source: tokio::task::JoinError,
    },
    /// Nothing is signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The block cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// L1 cannot be read, or does not take a transaction.
    #[error(transparent)]
    L1(#[from] L1Error),
}

// SEQ-004 is retired.
rollmill_errors::coded! {
    SequencerError {
        Self::NotFollowed { .. } => "SEQ-003",
        Self::NotIncluded { .. } => "SEQ-006",
        Self::Task { .. } => "SEQ-007",
        Self::NoQuorum { .. } => "SEQ-008",
        Self::Blob(..) => "SEQ-009",
        Self::NotAMember { .. } => "SEQ-011",
        Self::Data(..) => "SEQ-012",
        Self::Archive(error) => (error),
        Self::Signing(error) => (error),
        Self::Build(error) => (error),
        Self::L1(error) => (error),
    }
}

impl From<NodeError> for SequencerError {
    fn from(error: NodeError) -> Self {
        Self::Build(error.into())
    }
}

impl From<QueryError> for SequencerError {
    fn from(error: QueryError) -> Self {
        Self::Build(error.into())
    }
}

impl SequencerError {
    pub(crate) fn task(task: &'static str) -> impl FnOnce(tokio::task::JoinError) -> Self {
        move |source| Self::Task { task, source }
    }
}
