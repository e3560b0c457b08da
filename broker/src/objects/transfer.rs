//! Bodies on their way into and out of a store.

use std::sync::Arc;

use axum::body::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{Error, GetResult, ObjectStore};
use rollmill_broker_client::Digest;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::{LIMIT, PART_BYTES, limited};
use crate::error::BrokerError;

/// A body that is being written. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub struct Write {
    /// None once it ended.
    writer: Option<BufWriter>,
    hash: Sha256,
    bytes: u64,
}

impl Write {
    pub(super) fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        // One part on its way at a time: two are in memory, that one and the next.
        let writer = BufWriter::with_capacity(store, path, PART_BYTES).with_max_concurrency(1);
        Self { writer: Some(writer), hash: Sha256::new(), bytes: 0 }
    }

    /// Writes the next bytes of the body.
    ///
    /// # Errors
    /// [`BrokerError::Objects`] when the store does not take them.
    pub async fn put(&mut self, bytes: Bytes) -> Result<(), BrokerError> {
        self.hash.update(&bytes);
        self.bytes += bytes.len() as u64;
        let writer = self.writer.as_mut().ok_or_else(ended)?;
        limited(writer.put(bytes)).await.map_err(BrokerError::objects)
    }

    /// Ends the body, which is an object from then on; returns its length.
    ///
    /// # Errors
    /// [`BrokerError::DigestMismatch`] when the bytes have another digest; then there is no object.
    /// [`BrokerError::Objects`] when the store does not take the rest.
    pub async fn finish(mut self, wanted: Digest) -> Result<u64, BrokerError> {
        let got = Digest(std::mem::take(&mut self.hash).finalize().into());
        if got != wanted {
            return Err(BrokerError::DigestMismatch { wanted, got });
        }
        let writer = self.writer.as_mut().ok_or_else(ended)?;
        let shut = tokio::time::timeout(LIMIT, writer.shutdown()).await;
        match shut {
            Ok(Ok(())) => {
                self.writer = None;
                Ok(self.bytes)
            }
            // A writer that was shut down can neither be written to nor aborted.
            Ok(Err(error)) => {
                self.writer = None;
                Err(BrokerError::objects(error))
            }
            Err(elapsed) => {
                self.writer = None;
                Err(BrokerError::objects(elapsed))
            }
        }
    }
}

impl Drop for Write {
    /// Deletes the parts that are stored. What a process that dies leaves of them is the store's to expire.
    fn drop(&mut self) {
        if let Some(mut writer) = self.writer.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                // Parts that stay cost space and are never read.
                let _ = limited(writer.abort()).await;
            });
        }
    }
}

fn ended() -> BrokerError {
    BrokerError::Internal { reason: "a body was written after its end".into() }
}

/// A body that is being read.
pub struct Download {
    bytes: u64,
    left: u64,
    stream: BoxStream<'static, Result<Bytes, Error>>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Download({} of {} bytes left)", self.left, self.bytes)
    }
}

impl Download {
    pub(super) fn new(found: GetResult) -> Self {
        let bytes = found.meta.size;
        Self { bytes, left: bytes, stream: found.into_stream() }
    }

    /// Length of the whole body, as the store says.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// [`BrokerError::Objects`] when the store breaks off, stalls, or sends more or less than it said.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BrokerError> {
        let next = tokio::time::timeout(LIMIT, self.stream.next()).await;
        match next.map_err(BrokerError::objects)? {
            Some(Ok(bytes)) => {
                let left = self.left.checked_sub(bytes.len() as u64);
                self.left =
                    left.ok_or_else(|| BrokerError::objects("more bytes than announced"))?;
                Ok(Some(bytes))
            }
            Some(Err(error)) => Err(BrokerError::objects(error)),
            None if self.left > 0 => Err(BrokerError::objects("fewer bytes than announced")),
            None => Ok(None),
        }
    }
}
