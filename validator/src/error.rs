//! Why a block is not attested.

use rollmill_errors::{Bare, Coded, Disposition};
use rollmill_l1::L1Error;
use rollmill_l1::blob::BlobError;
use rollmill_node::{NodeError, PoolError, QueryError, SigningError};
use rollmill_protocol::{BlockError, DecodeError};
use rollmill_validator_client::PROPOSAL_BYTES_MAX;

/// What is wrong with a request or a proposal, or with this validator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The body exceeds the size of the largest proposal.
    ///
    /// Do: Send a proposal of this release.
    #[error("{code}: a proposal of at most {PROPOSAL_BYTES_MAX} bytes is read", code = self.code())]
    TooLarge,
    /// The body is incomplete.
    ///
    /// Do: Send the proposal again; check the network or proxy.
    #[error("{code}: the proposal is incomplete; send it again", code = self.code())]
    Body,
    /// The bearer token is missing or wrong.
    ///
    /// Do: Set `--committee-peers-token` of the proposer to the validator's token.
    #[error("{code}: the bearer token is missing or wrong; the proposer's setting is committee.peers_token", code = self.code())]
    Token,
    /// The bytes are not a proposal.
    ///
    /// Do: Run proposer and validator of the same release.
    #[error("{code}: not a proposal: {cause}", code = self.code(), cause = Bare(.0))]
    Malformed(#[from] DecodeError),
    /// The validator checks as many proposals as it may.
    ///
    /// Do: Nothing: the proposer asks again. If it lasts, raise `--committee-checks`.
    #[error("{code}: the validator is busy with other proposals; ask again later", code = self.code())]
    Busy,
    /// There is no such path.
    ///
    /// Do: Correct the URL in `--committee-peers` of the proposer.
    #[error("{code}: a validator has no such path", code = self.code())]
    UnknownPath,
    /// The path takes another method.
    ///
    /// Do: Run proposer and validator of the same release.
    #[error("{code}: the path takes another method", code = self.code())]
    WrongMethod,
    /// The block's slot is neither that of L1's head nor the one after it.
    ///
    /// Do: Check that proposer and validator follow the same L1, and that neither is behind.
    #[error("{code}: L1 is in slot {current}, the block is of slot {got}", code = self.code())]
    Slot { current: u64, got: u64 },
    /// The slot has no committee.
    ///
    /// Do: Nothing: the slot stays empty. Later epochs have a committee once enough accounts have a stake.
    #[error("{code}: slot {slot} has no committee", code = self.code())]
    NoCommittee { slot: u64 },
    /// The validator's account is not in the committee of the slot.
    ///
    /// Do: Nothing in an epoch without it. Otherwise check the key of the validator.
    #[error("{code}: account {account} is not in the committee of epoch {epoch}", code = self.code())]
    NotAMember { account: String, epoch: u64 },
    /// The proposal is not signed by the proposer of its slot.
    ///
    /// Do: Check the key of the proposer, and that both use the same rollup contract.
    #[error("{code}: slot {slot} is for proposer {expected}, whose signature of the block this is not", code = self.code())]
    NotTheProposer { slot: u64, expected: String },
    /// The validator has not followed the block before this one.
    ///
    /// Do: Nothing: the proposer asks again. If it lasts, look for the validator's log lines about L1.
    #[error("{code}: block {got} does not follow block {pending}, the last one that this validator has followed", code = self.code())]
    Number { pending: u64, got: u64 },
    /// The block follows another block than the pending tip that the validator has followed.
    ///
    /// Do: Nothing: after a reorganisation of L1 both soon have one tip. If it lasts, compare their L1 endpoints.
    #[error("{code}: the block does not follow block {pending} as this validator has it: archive root {expected} expected, got {got}", code = self.code())]
    Parent { pending: u64, expected: String, got: String },
    /// L1 has a block that this validator rejected, and nothing is attested on top of it.
    ///
    /// Do: See the validator's log; it goes on once L1 has pruned the block.
    #[error("{code}: L1 has block {block}, which this validator rejected", code = self.code())]
    Held { block: u64 },
    /// The block breaks a rule, or its header does not follow from its transactions. The message names it.
    ///
    /// Do: Run proposer and validator of the same release. Otherwise the proposer is at fault.
    #[error("{code}: the block breaks a rule: {cause}", code = self.code(), cause = Bare(.0))]
    Rule(BlockError),
    /// The client proof of a transaction does not verify.
    ///
    /// Do: The proposer must leave the transaction out.
    #[error("{code}: transaction {index}: {cause}", code = self.code(), cause = Bare(.fault))]
    Proof {
        index: usize,
        #[source]
        fault: PoolError,
    },
    /// The commitment is not that of the blob which the transactions make.
    ///
    /// Do: Run proposer and validator of the same release. Otherwise the proposer is at fault.
    #[error("{code}: the commitment does not belong to the block's data", code = self.code())]
    Commitment,
    /// The link is not the one that follows from the block.
    ///
    /// Do: Run proposer and validator of the same release. Otherwise the proposer is at fault.
    #[error("{code}: chain {expected} follows from the block, got {got}", code = self.code())]
    Chain { expected: String, got: String },
    /// The blob cannot be computed.
    ///
    /// Do: Report it with the log.
    #[error("{code}: the block's blob: {cause}", code = self.code(), cause = Bare(.0))]
    Blob(#[from] BlobError),
    /// The block does not fit into a blob.
    ///
    /// Do: Report it with the log: the rules of a block allow fewer transactions.
    #[error("{code}: the block's data: {cause}", code = self.code(), cause = Bare(.0))]
    Data(#[source] DecodeError),
    /// The check of a proposal panicked.
    ///
    /// Do: A bug in Rollmill: report it with the validator's log.
    #[error("{code}: internal error: the check of the proposal panicked; see the validator's log", code = self.code())]
    Died(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// L1 does not tell who proposes.
    ///
    /// Do: Do what the message says; usually an endpoint in `--node-l1-urls` of the validator must be corrected.
    #[error("{code}: L1 does not tell who proposes: {cause}", code = self.code(), cause = Bare(.0))]
    L1(#[from] L1Error),
    /// The validator's node is at fault.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Nothing is signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

rollmill_errors::coded! {
    AttestError {
        Self::TooLarge => "VAL-001",
        Self::Body => "VAL-002",
        Self::Token => "VAL-003",
        Self::Malformed(_) => "VAL-004",
        Self::Busy => "VAL-005" retried,
        Self::UnknownPath => "VAL-006",
        Self::WrongMethod => "VAL-007",
        Self::Slot { .. } => "VAL-010" retried,
        Self::NotAMember { .. } => "VAL-011",
        Self::NotTheProposer { .. } => "VAL-012",
        Self::Number { .. } => "VAL-013" retried,
        Self::Parent { .. } => "VAL-014" retried,
        Self::Held { .. } => "VAL-015",
        Self::Rule(_) => "VAL-016",
        Self::Proof { .. } => "VAL-017",
        Self::Commitment => "VAL-018",
        Self::Chain { .. } => "VAL-019",
        Self::Blob(_) => "VAL-020",
        Self::Died(_) => "VAL-021",
        Self::L1(_) => "VAL-022" retried,
        Self::NoCommittee { .. } => "VAL-023",
        Self::Data(_) => "VAL-024",
        Self::Query(error) => (error) retried,
        Self::Signing(error) => (error),
    }
}

impl From<NodeError> for AttestError {
    fn from(error: NodeError) -> Self {
        Self::Query(error.into())
    }
}

impl AttestError {
    /// Every code that it can have.
    pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
        let inner = QueryError::own_codes().chain(NodeError::own_codes());
        Self::own_codes().chain(inner).chain(SigningError::own_codes())
    }

    /// The HTTP status. 503 asks the proposer to try again within its slot.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::Body | Self::Malformed(_) => 400,
            Self::Token => 401,
            Self::UnknownPath => 404,
            Self::WrongMethod => 405,
            Self::Blob(_) | Self::Data(_) | Self::Died(_) => 500,
            other if other.disposition() == Disposition::Retried => 503,
            Self::Signing(error) if error.disposition() != Disposition::Permanent => 500,
            _ => 422,
        }
    }

    /// The error without what only this validator's operator may read.
    pub(crate) fn message(&self) -> String {
        rollmill_errors::one_line(self)
    }
}
