//! Where keys are kept between runs. The one place of this crate that touches a file system, and only
//! in [`DirStore`]; everything else works on any [`Store`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The store could not write.
#[derive(Debug, thiserror::Error)]
#[error(
    "CIR-020: cannot keep {name} in {place}: {source}; free some space or choose another folder"
)]
pub struct StoreError {
    pub name: String,
    pub place: String,
    #[source]
    pub source: std::io::Error,
}

/// Bytes by name. Everything kept can be made again, so that a missing entry is no error, and what
/// is read is checked by whoever reads it.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// The bytes of this name, if there are any.
    fn get(&self, name: &str) -> Option<Vec<u8>>;
    /// Keeps bytes under a name. Two writers of one name write the same bytes.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
}

/// Files in one folder.
#[derive(Debug)]
pub struct DirStore {
    folder: PathBuf,
}

impl DirStore {
    /// The folder is made when the first file is.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Store for DirStore {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join(name)).ok()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        // Written aside and renamed, so that a reader never sees half a file.
        let aside = self.folder.join(format!("{name}.{}.part", std::process::id()));
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| std::fs::write(&aside, bytes))
            .and_then(|()| std::fs::rename(&aside, self.folder.join(name)))
            .map_err(|source| {
                std::fs::remove_file(&aside).ok();
                let place = self.folder.display().to_string();
                StoreError { name: name.to_owned(), place, source }
            })
    }
}

/// Bytes in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: Mutex<HashMap<String, Vec<u8>>>,
}

impl Store for MemoryStore {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.entries.lock().ok()?.get(name).cloned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if let Ok(mut entries) = self.entries.lock() {
            entries.insert(name.to_owned(), bytes.to_vec());
        }
        Ok(())
    }
}

/// The folder of keys: the one named, else `$ROLLMILL_CACHE/keys`, else `~/.cache/rollmill/keys`.
pub fn cache_dir(named: Option<&Path>) -> PathBuf {
    if let Some(folder) = named {
        return folder.to_owned();
    }
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    match (variable("ROLLMILL_CACHE"), variable("HOME")) {
        (Some(cache), _) => cache.join("keys"),
        (None, Some(home)) => home.join(".cache/rollmill/keys"),
        (None, None) => PathBuf::from("rollmill-keys"),
    }
}
