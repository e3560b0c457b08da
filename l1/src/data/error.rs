//! Why a source did not return a blob.

use alloy::primitives::B256;

/// Why one source did not return a blob. Every variant names the source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A source does not have the blob.
    ///
    /// Do: Nothing while another source has it. L1 nodes drop blobs after about 18 days: a node that starts later
    /// needs a blob archive, or a peer that has one.
    #[error("{code}: {name} does not have the blob", code = self.code())]
    Absent { name: String },

    /// A source cannot be reached, or does not answer in time.
    ///
    /// Do: Check that the source runs and is reachable. It is asked again.
    #[error("{code}: {name} cannot be reached: {reason}", code = self.code())]
    Unreachable { name: String, reason: String },

    /// A source answered with an error.
    ///
    /// Do: Check the URL of the source and its log. It is asked again.
    #[error("{code}: {name} answered with HTTP status {status}", code = self.code())]
    Status { name: String, status: u16 },

    /// The answer of a source is larger than blobs can be.
    ///
    /// Do: Check the URL of the source: what answers there is no source of blobs.
    #[error("{code}: the answer of {name} has more than {limit} bytes", code = self.code())]
    TooLarge { name: String, limit: usize },

    /// The answer of a source has another form.
    ///
    /// Do: Check the URL of the source: what answers there is no source of blobs.
    #[error("{code}: the answer of {name} is not understood: {reason}", code = self.code())]
    Malformed { name: String, reason: String },

    /// What a source returned is another blob.
    ///
    /// Do: Nothing while another source has the blob. If it recurs, remove the source: it is broken or lies.
    #[error("{code}: {name} returned another blob", code = self.code())]
    Wrong { name: String },

    /// The blob archive cannot be read or written.
    ///
    /// Do: Check the directory of the blob archive, its permissions and its disk.
    #[error("{code}: {name}: {reason}", code = self.code())]
    Disk { name: String, reason: String },

    /// A beacon node cannot be asked by slot for a block whose time is before its chain began.
    ///
    /// Do: Check that the beacon node and the L1 RPC endpoint serve the same chain.
    #[error("{code}: L1 block {block} was made before slot 0 of {name}; both must serve the same chain", code = self.code())]
    NoSlot { name: String, block: u64 },
}

rollmill_errors::coded! {
    SourceError {
        Self::Absent { .. } => "L1-030" retried,
        Self::Unreachable { .. } => "L1-031" retried,
        Self::Status { .. } => "L1-032" retried,
        Self::TooLarge { .. } => "L1-033" retried,
        Self::Malformed { .. } => "L1-034" retried,
        Self::Wrong { .. } => "L1-035" retried,
        Self::Disk { .. } => "L1-036" retried,
        Self::NoSlot { .. } => "L1-037" retried,
    }
}

/// No source has the data of a block.
///
/// Do: Nothing for some minutes: every source is asked again. If it lasts, add a source that has the blob: another beacon
/// node, a peer, or a blob archive. The chain is held before the block until the blob is found or the block is pruned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: no source has blob {versioned_hash} of L1 block {l1_block}: {reasons}", code = self.code())]
pub struct DataMissing {
    pub versioned_hash: B256,
    pub l1_block: u64,
    /// What each source said, in the order in which they were asked.
    pub reasons: String,
}

rollmill_errors::coded! {
    DataMissing {
        Self { .. } => "L1-038" retried,
    }
}
