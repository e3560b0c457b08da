//! The object store: the bodies of large artifacts, in a directory or in a bucket.
//!
//! Whole bodies never lie in memory: they are written and read in parts of at most [`PART_BYTES`], and their
//! digest is computed on the way. A body whose digest is wrong at its end never becomes an object. Every replica
//! of a broker uses the same store; an object with a random identity tells a store from another.

mod address;
mod http;
mod transfer;

use std::fmt;
use std::future::Future;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use rollmill_broker_client::Digest;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::BrokerError;

pub use address::{Address, object_store};
pub use transfer::{Download, Write};

/// Most bytes of one body that are in memory, of a body that is written. S3 accepts no smaller parts.
pub const PART_BYTES: usize = 5 << 20;

/// Longest time for one operation of a store, its retries included; for a body, for each part.
const LIMIT: Duration = Duration::from_secs(60);

/// Name of the object with the store's identity.
const IDENTITY: &str = "rollmill-store-id";

/// Most bytes that the identity's object may have.
const IDENTITY_BYTES_MAX: u64 = 64;

/// Objects deleted at a time.
const DELETES: usize = 16;

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Bytes with the digest asked for.
    Whole,
    /// Other bytes.
    Damaged,
    /// Nothing.
    Absent,
}

/// A store. Clones share its connections.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    name: Arc<str>,
    /// Of a store in a directory.
    directory: Option<Arc<FilePath>>,
}

impl fmt::Debug for Objects {
    /// Without the store's settings, which hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.name)
    }
}

impl Objects {
    /// A store in a directory, which is created when it is missing.
    ///
    /// # Errors
    /// [`BrokerError::Objects`] when it cannot be.
    pub fn in_directory(directory: &FilePath) -> Result<Self, BrokerError> {
        rollmill_files::make_folder(directory).map_err(BrokerError::objects)?;
        let store = LocalFileSystem::new_with_prefix(directory).map_err(BrokerError::objects)?;
        // What is acknowledged survives a power cut.
        let objects = Self::over(store.with_fsync(true), format!("file://{}", directory.display()));
        Ok(Self { directory: Some(directory.into()), ..objects })
    }

    /// A store that keeps nothing beyond this process, for programs that need none.
    pub(crate) fn nowhere() -> Self {
        Self::over(InMemory::new(), "memory")
    }

    /// The store of any kind, as `name` in messages.
    pub fn over(store: impl ObjectStore, name: impl Into<Arc<str>>) -> Self {
        Self { store: Arc::new(store), name: name.into(), directory: None }
    }

    /// What the store is called in messages: its URL, which has no credentials.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts to write the body of an object. Nothing is there under its name before [`Write::finish`].
    pub fn write(&self, path: Path) -> Write {
        Write::new(Arc::clone(&self.store), path)
    }

    /// Opens an object; `None` if there is none.
    ///
    /// # Errors
    /// [`BrokerError::Objects`] when the store does not answer.
    pub async fn open(&self, path: &Path) -> Result<Option<Download>, BrokerError> {
        match limited(self.store.get(path)).await {
            Ok(found) => Ok(Some(Download::new(found))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(BrokerError::objects(error)),
        }
    }

    /// Reads an object as a whole and compares its digest.
    ///
    /// # Errors
    /// [`BrokerError::Objects`] when the store does not answer or breaks off: that says nothing about the bytes.
    pub async fn check(&self, path: &Path, digest: Digest) -> Result<Found, BrokerError> {
        let Some(mut body) = self.open(path).await? else { return Ok(Found::Absent) };
        let mut hash = Sha256::new();
        while let Some(bytes) = body.next().await? {
            hash.update(&bytes);
        }
        let got = Digest(hash.finalize().into());
        Ok(if got == digest { Found::Whole } else { Found::Damaged })
    }

    /// Copies an object within the store.
    ///
    /// # Errors
    /// [`BrokerError::Objects`] when the store does not answer, or there is no such object.
    pub async fn copy(&self, from: &Path, to: &Path) -> Result<(), BrokerError> {
        limited(self.store.copy(from, to)).await.map_err(BrokerError::objects)
    }

    /// Deletes every object below `folder`, in which nobody writes; returns how many there were. One that is gone already is no error, so
    /// that a deletion that broke off is repeated.
    ///
    /// # Errors
    /// [`BrokerError::Objects`] when the store does not answer.
    pub async fn delete_below(&self, folder: &Path) -> Result<u64, BrokerError> {
        let listed = self.store.list(Some(folder)).map_ok(|object| object.location);
        let deleted = listed.map(|path| async move {
            let path = path.map_err(BrokerError::objects)?;
            match limited(self.store.delete(&path)).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(1),
                Err(error) => Err(BrokerError::objects(error)),
            }
        });
        let mut deleted = std::pin::pin!(deleted.buffer_unordered(DELETES));
        let mut count = 0;
        while let Some(one) = within(deleted.next()).await? {
            count += one?;
        }
        if let Some(directory) = &self.directory {
            // The folder, with what a broker that died was writing in it.
            let folder = directory.join(folder.as_ref());
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder));
            match removed.await.map_err(BrokerError::objects)? {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(BrokerError::objects(error));
                }
                _ => {}
            }
        }
        Ok(count)
    }

    /// The store's identity; `None` for a store that no broker has used.
    ///
    /// # Errors
    /// [`BrokerError::Objects`] when the store does not answer, or the object is not an identity.
    pub async fn identity(&self) -> Result<Option<Uuid>, BrokerError> {
        let Some(mut body) = self.open(&Path::from(IDENTITY)).await? else { return Ok(None) };
        let wrong = || {
            BrokerError::objects(format!(
                "the object {IDENTITY} of {} holds no identity",
                self.name
            ))
        };
        if body.bytes() > IDENTITY_BYTES_MAX {
            return Err(wrong());
        }
        let mut text = Vec::new();
        while let Some(bytes) = body.next().await? {
            text.extend_from_slice(&bytes);
        }
        let text = std::str::from_utf8(&text).map_err(|_| wrong())?;
        text.trim().parse().map(Some).map_err(|_| wrong())
    }

    /// Gives the store an identity if it has none, and returns the one that it has. Of brokers that do this at once
    /// the first one's stays.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub async fn identify(&self) -> Result<Uuid, BrokerError> {
        self.identify_as(Uuid::new_v4()).await
    }

    /// As [`Self::identify`], with this identity if it has none.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub async fn identify_as(&self, wanted: Uuid) -> Result<Uuid, BrokerError> {
        if let Some(identity) = self.identity().await? {
            return Ok(identity);
        }
        let payload = PutPayload::from(format!("{wanted}\n").into_bytes());
        let path = Path::from(IDENTITY);
        let put = self.store.put_opts(&path, payload, PutMode::Create.into());
        match limited(put).await {
            Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(BrokerError::objects(error)),
        }
        let read = self.identity().await?;
        read.ok_or_else(|| BrokerError::objects(format!("{} forgot its identity", self.name)))
    }
}

/// An operation of a store, or an error after [`LIMIT`].
async fn limited<T>(operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(LIMIT, operation).await {
        Ok(done) => done,
        Err(elapsed) => Err(Error::Generic { store: "object store", source: Box::new(elapsed) }),
    }
}

/// As [`limited`], for what has no result of its own.
async fn within<T>(operation: impl Future<Output = T>) -> Result<T, BrokerError> {
    tokio::time::timeout(LIMIT, operation).await.map_err(BrokerError::objects)
}
