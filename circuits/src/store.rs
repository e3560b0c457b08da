//! Stores keys between runs. Only [`DirStore`] uses the file system; everything else works on any [`Store`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

const SEAL_BYTES: usize = 32;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file cannot be written to the directory of keys.
    ///
    /// Do: Free disk space, or choose another `--keys-dir`.
    #[error("{code}: cannot keep {name} in {place}: {cause}; free some space or choose another --keys-dir", code = self.code(), cause = rollmill_errors::InWords(.source))]
    Write {
        name: String,
        place: String,
        #[source]
        source: std::io::Error,
    },
    /// A file in the directory of keys exists but cannot be read.
    ///
    /// Do: Make it readable by the process, or delete it.
    #[error("{code}: cannot read {name} in {place}: {cause}; make it readable or remove it", code = self.code(), cause = rollmill_errors::InWords(.source))]
    Read {
        name: String,
        place: String,
        #[source]
        source: std::io::Error,
    },
}

rollmill_errors::coded! {
    StoreError {
        Self::Write { .. } => "CIR-020",
        Self::Read { .. } => "CIR-021",
    }
}

/// Bytes by name. Everything stored can be made again, so a missing entry is no error. Readers check what they
/// read.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Reads the bytes of this name; `None` if there are none.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Stores bytes under a name. Two writers of one name write the same bytes.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    /// Where the bytes are, for messages.
    fn place(&self) -> String;

    /// Reads what [`Self::put_sealed`] stored; `None` if it is missing or damaged, since it can be made again.
    fn get_sealed(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(mut bytes) = self.get(name)? else { return Ok(None) };
        let whole = bytes
            .split_last_chunk::<SEAL_BYTES>()
            .is_some_and(|(contents, seal)| Sha256::digest(contents)[..] == seal[..]);
        bytes.truncate(bytes.len().saturating_sub(SEAL_BYTES));
        Ok(whole.then_some(bytes))
    }

    /// Stores bytes followed by their SHA-256.
    fn put_sealed(&self, name: &str, mut bytes: Vec<u8>) -> Result<(), StoreError> {
        let seal = Sha256::digest(&bytes);
        bytes.extend_from_slice(&seal);
        self.put(name, &bytes)
    }
}

/// Files in one folder.
#[derive(Debug)]
pub struct DirStore {
    folder: PathBuf,
}

impl DirStore {
    /// A store in this folder, which is created with its first file.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Store for DirStore {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match std::fs::read(self.folder.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                let place = self.folder.display().to_string();
                Err(StoreError::Read { name: name.to_owned(), place, source })
            }
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let write = || {
            rollmill_files::make_folder(&self.folder)?;
            rollmill_files::write(&path, &[bytes])
        };
        write().map_err(|source| {
            let place = self.folder.display().to_string();
            StoreError::Write { name: name.to_owned(), place, source }
        })
    }
}

/// Bytes in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: Mutex<HashMap<String, Vec<u8>>>,
}

impl Store for MemoryStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.entries.lock().get(name).cloned())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.entries.lock().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}

/// The folder of keys: the one named, else `$ROLLMILL_CACHE/keys`, else `~/.cache/rollmill/keys`.
pub fn cache_dir(named: Option<&Path>) -> PathBuf {
    if let Some(folder) = named {
        return folder.to_owned();
    }
    let of_machine = rollmill_cache::dir().map(|cache| cache.join("keys"));
    of_machine.unwrap_or_else(|| PathBuf::from("rollmill-keys"))
}
