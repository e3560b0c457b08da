//! Other nodes of the rollup, which serve their blob archives.

use alloy::primitives::B256;
use rollmill_blob::BYTES;

use super::error::SourceError;
use super::web::{Server, WebLimits};
use super::{BlobRef, BlobSource, Fetch};
use crate::error::L1Error;

/// Path of a node's blobs; the versioned hash with `0x` follows. The answer is the blob's bytes.
pub const PEER_PATH: &str = "blobs";

/// The blobs of one node, or of anything that serves them in the same form.
#[derive(Debug)]
pub struct Peer {
    server: Server,
}

impl Peer {
    /// The node at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`L1Error::Url`]
    pub fn new(url: &str, limits: WebLimits) -> Result<Self, L1Error> {
        Ok(Self { server: Server::new("node", url, limits)? })
    }

    async fn ask(&self, versioned_hash: B256) -> Result<Vec<Vec<u8>>, SourceError> {
        let path = [PEER_PATH, &versioned_hash.to_string()];
        Ok(vec![self.server.get(&path, None, BYTES).await?])
    }
}

impl BlobSource for Peer {
    fn name(&self) -> &str {
        &self.server.name
    }

    fn fetch<'a>(&'a self, wanted: &'a BlobRef) -> Fetch<'a> {
        Box::pin(self.ask(wanted.versioned_hash))
    }
}
