//! What the node needs from L1, as a trait, so that it can be fed from a chain or from a test.

use std::future::Future;

use rollmill_l1::L1Error;
use rollmill_protocol::{EthAddress, Fr};

/// A block of L1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1Position {
    pub number: u64,
    pub hash: [u8; 32],
}

/// A block that was proposed, as L1 recorded it, with its calldata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedBlock {
    pub block_number: u64,
    pub archive_root: Fr,
    pub header_hash: Fr,
    pub data_hash: Fr,
    /// L1's chain with this block.
    pub chain: Fr,
    pub slot: u64,
    pub coinbase: EthAddress,
    pub total_fees: u128,
    /// The published bytes, or why they are unavailable although L1 responds.
    pub data: Result<Vec<u8>, String>,
}

/// Something that happened on the rollup contract.
#[expect(clippy::large_enum_variant, reason = "most events are blocks, and few are held at a time")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum L1Event {
    /// The pending chain grew by a block.
    BlockProposed(ProposedBlock),
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
}

rollmill_errors::coded! {
    L1SourceError {
        Self::L1(error) => (error),
        Self::Event { .. } => "NODE-014",
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
    fn next(
        &mut self,
        known: &[L1Position],
    ) -> impl Future<Output = Result<Option<L1Update>, L1SourceError>> + Send;
}
