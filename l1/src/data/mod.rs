//! Where the data of blocks comes from: sources of blobs, and what is done while none of them has one.
//!
//! L1 nodes keep a blob for about 18 days and serve it through their beacon API only. A [`BlobSource`] returns bytes
//! that it takes for the blob; [`BlobSources`] asks one after the other and trusts none: it computes the KZG commitment
//! of what it got and compares the versioned hash. What it found goes to the blob archive, if there
//! is one.
//!
//! That no source has a blob is a state, [`DataMissing`], and not the end of anything: the caller holds the chain before
//! the block, reads on from L1, which may prune the block, and asks again after growing pauses.

mod archive;
mod beacon;
mod error;
mod peer;
mod sources;
mod web;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use alloy::primitives::B256;

use crate::client::L1BlockRef;

pub use archive::BlobArchive;
pub use beacon::{Beacon, BlockIds};
pub use error::{DataMissing, SourceError};
pub use peer::{PEER_PATH, Peer};
pub use sources::{BlobSources, SourceFigures};
pub use web::WebLimits;

/// A blob that an event of the rollup names, and the place of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobRef {
    pub versioned_hash: B256,
    /// The L1 block that contains the transaction.
    pub block: L1BlockRef,
}

/// The future of [`BlobSource::fetch`].
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Vec<Vec<u8>>, SourceError>> + Send + 'a>>;

/// Something that may have blobs.
///
/// An implementation bounds its time and the bytes that it reads, verifies nothing, and is asked again after any error.
/// `rollmill_l1_testing::blob_source` has the suite that every implementation passes.
pub trait BlobSource: Debug + Send + Sync {
    /// Its kind and place, for logs and figures; without secrets.
    fn name(&self) -> &str;

    /// The bytes of the blobs that may be the wanted one, at least one.
    ///
    /// # Errors
    /// [`SourceError::Absent`] if it has none, and the other variants if it cannot tell.
    fn fetch<'a>(&'a self, wanted: &'a BlobRef) -> Fetch<'a>;
}
