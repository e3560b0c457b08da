//! What the node needs from L1, as traits, so that it can be fed from a chain or from a test.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use rollmill_l1::blob::{self, Short};
use rollmill_l1::{L1BlockRef, L1Error};
use rollmill_protocol::{BlobFr, ChainLink, Commitment, EthAddress, Fr};

/// A block of L1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1Position {
    pub number: u64,
    pub hash: [u8; 32],
}

/// The data of a proposed block.
#[derive(Clone, PartialEq, Eq)]
pub enum Data {
    /// The block has no transactions, and no blob.
    None,
    /// The bytes of the blob that L1 committed to, not decoded.
    Blob(Vec<u8>),
    /// No source has the blob. A source of events says so only of a block that L1 pruned later.
    Missing,
}

impl Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Blob(bytes) => f.debug_tuple("Blob").field(&Short(bytes)).finish(),
            Self::Missing => f.write_str("Missing"),
        }
    }
}

/// A block that was proposed, as L1 recorded it, with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedBlock {
    pub block_number: u64,
    pub archive_root: Fr,
    pub header_hash: Fr,
    /// L1's chain with this block.
    pub chain: Fr,
    pub slot: u64,
    pub coinbase: EthAddress,
    pub total_fees: u128,
    pub tx_count: u64,
    /// Versioned hash of the blob; zero without transactions, as the three fields below.
    pub versioned_hash: [u8; 32],
    /// The point at which L1 opened the blob.
    pub z: Fr,
    /// The blob's value there.
    pub y: BlobFr,
    pub commitment: Commitment,
    /// Running hash of the messages that the block appends.
    pub in_hash: Fr,
    /// Root of the block's messages to L1.
    pub out_root: Fr,
    /// Bitmap of the committee's members that signed.
    pub signers: u64,
    pub data: Data,
}

impl ProposedBlock {
    /// What L1 records of a block with this link and data, if the committee's first member signed it alone. For tests,
    /// whose blocks come from no L1.
    pub fn with_link(block_number: u64, link: &ChainLink, data: Data) -> Self {
        let versioned_hash = match link.tx_count {
            0 => [0; 32],
            _ => blob::Commitment(link.commitment.0).versioned_hash(),
        };
        Self {
            block_number,
            archive_root: link.archive_root,
            header_hash: link.header_hash,
            chain: link.chain(),
            slot: link.slot,
            coinbase: link.coinbase,
            total_fees: link.total_fees,
            tx_count: link.tx_count,
            versioned_hash,
            z: link.z,
            y: link.y,
            commitment: link.commitment,
            in_hash: link.in_hash,
            out_root: link.out_root,
            signers: 1,
            data,
        }
    }
}

/// A message from L1 to the rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The block that appends it.
    pub block: u64,
    /// Index of its leaf in the message tree.
    pub index: u64,
    pub leaf: Fr,
    /// Address and amount if it is a deposit into a fee balance.
    pub deposit: Option<(Fr, u64)>,
}

/// Something that happened on the contracts.
#[expect(clippy::large_enum_variant, reason = "most events are blocks, and few are held at a time")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum L1Event {
    /// The pending chain grew by a block.
    BlockProposed(ProposedBlock),
    /// Somebody sent a message to the rollup.
    MessageSent(Message),
    /// The proven tip moved to `last_block`.
    EpochProven { last_block: u64 },
    /// The pending chain was cut back to the proven tip.
    Pruned { proven_tip: u64 },
}

/// The next step of L1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum L1Update {
    /// L1 continued from the newest known position to `to`.
    Extend {
        to: L1Position,
        /// Timestamp of `to`, in Unix seconds.
        time: u64,
        /// Number of the newest block that L1 has finalized; none where L1 finalizes nothing.
        finalized: Option<u64>,
        /// The events on the way, in order, each with the number of its L1 block.
        events: Vec<(u64, L1Event)>,
    },
    /// L1 was reorganised: of the known positions, `to` is the newest that is still part of it.
    Rewind { to: L1Position },
}

/// Why L1 could not be read. The node retries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum L1SourceError {
    /// L1 cannot be read.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// The contract's event holds a value that no release emits.
    ///
    /// Do: Check that `--node-rollup` is a contract of this release and that the URL is an L1 node.
    #[error("{code}: an event of the contract is malformed: {what}; check node.rollup and node.l1_urls", code = self.code())]
    Event { what: &'static str },
    /// No source has the data of a block that is part of the chain on L1. The node follows L1 up to the L1 block
    /// before it, and continues when a source has the data, or when L1 prunes the block.
    ///
    /// Do: Nothing for some minutes. If it lasts, add a source that has the blob: another beacon node, a peer, or
    /// a blob archive.
    #[error("{code}: the data of block {block} (blob 0x{}) is missing: {reason}", hex::encode(versioned_hash), code = self.code())]
    DataMissing { block: u64, versioned_hash: [u8; 32], reason: String },
}

rollmill_errors::coded! {
    L1SourceError {
        Self::L1(error) => (error),
        Self::Event { .. } => "NODE-014",
        Self::DataMissing { .. } => "NODE-015" retried,
    }
}

/// A source of ordered L1 events.
pub trait L1Events: Send {
    /// The step after `known[0]`, the newest position the node has followed; `None` when L1 has
    /// nothing newer. `known` is never empty; its last entry is the position of the deployment.
    ///
    /// The source keeps nothing that must survive a restart. It must check that `known[0]` is still
    /// part of L1, by its hash, together with what it reads further, and return
    /// [`L1Update::Rewind`] if it is not.
    ///
    /// # Errors
    /// [`L1SourceError::DataMissing`] when the step after `known[0]` has a block whose data is missing
    /// and which L1 has not pruned since.
    fn next(
        &mut self,
        known: &[L1Position],
    ) -> impl Future<Output = Result<Option<L1Update>, L1SourceError>> + Send;
}

/// A blob that an event names, and the L1 block of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedBlob {
    pub versioned_hash: [u8; 32],
    pub l1_block: L1BlockRef,
}

/// Why no source has a blob now, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobMissing(pub String);

/// What comes of [`BlockBlobs::get`].
pub type GettingBlob<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, BlobMissing>> + Send + 'a>>;

/// Where the blobs of blocks come from.
pub trait BlockBlobs: Debug + Send + Sync {
    /// The bytes of a blob. The implementation asks each of its sources once, and returns only bytes whose
    /// commitment has the versioned hash. The caller repeats what failed, after growing pauses.
    fn get<'a>(&'a self, wanted: &'a WantedBlob) -> GettingBlob<'a>;
}
