//! The rows on disk: one file per row, replaced as a whole.
//!
//! A node has few rows (one for each epoch that L1 has not finalized, and a bounded number of ended
//! ones), each is written a dozen times in its life, and an operator wants to read them. So they are
//! small JSON files and not a second database: a write costs one file, and damage is limited to one row, which is
//! then planned again from L1.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rollmill_broker_client::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::facts::Command;
use super::row::{Parking, Root, Row, State};

/// Number of ended rows that are kept for operators.
const ENDED_MAX: usize = 1000;
const ROW: &str = "json";
const COMMAND: &str = "command";
const ROOT: &str = "root";

/// Why rows cannot be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file in the directory of ranges cannot be read or written.
    ///
    /// Do: Check `--node-data-dir`, its permissions and its disk.
    #[error("{code}: cannot use {path}: {cause}. Check node.data_dir, its permissions and its disk", code = self.code(), cause = rollmill_errors::InWords(.source))]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// There is no range with this id.
    ///
    /// Do: List the ranges with `rollmill-prover-node ranges list`.
    #[error("{code}: there is no range {id}. List them with `rollmill-prover-node ranges list`", code = self.code())]
    Unknown { id: u64 },
    /// The command does not apply to a range in this state.
    ///
    /// Do: Run `rollmill-prover-node ranges show`. Only a range parked for an operator can be retried, and
    /// only a range that has not ended can be abandoned.
    #[error("{code}: range {id} is {state}; only a range parked for an operator can be retried, and only a range that has not ended can be abandoned", code = self.code())]
    NotNow { id: u64, state: &'static str },
    /// No prover node has run with this data directory.
    ///
    /// Do: Correct `--node-data-dir`.
    #[error("{code}: there is no directory {path}, so no prover node has run with this data directory; correct --node-data-dir", code = self.code())]
    NoFolder { path: PathBuf },
}

rollmill_errors::coded! {
    StoreError {
        Self::File { .. } => "PRN-040",
        Self::Unknown { .. } => "PRN-041",
        Self::NotNow { .. } => "PRN-042",
        Self::NoFolder { .. } => "PRN-043",
    }
}

/// A row and the digest of its JSON text in the file, so that a damaged file is detected, and a file of
/// a release whose rows had other fields is not mistaken for damaged.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<R> {
    digest: String,
    row: R,
}

/// A file without a valid row, and what is wrong with it.
pub type Damaged = (PathBuf, String);

/// The directory of rows and root proofs.
#[derive(Debug, Clone)]
pub struct RowStore {
    folder: PathBuf,
}

impl RowStore {
    /// Opens the directory, and creates it if it is missing.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let this = Self { folder: folder.to_owned() };
        rollmill_files::make_folder(folder).map_err(this.failed(folder))?;
        // What a killed process left of files that are not written again.
        rollmill_files::sweep_folder(folder);
        Ok(this)
    }

    /// Opens a directory that a prover node created, for a command that reads it. Creates nothing.
    ///
    /// # Errors
    /// [`StoreError::NoFolder`] if it is not there.
    pub fn existing(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.to_owned();
        match fs::read_dir(folder) {
            Ok(_) => Ok(Self { folder: path }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::NoFolder { path })
            }
            Err(source) => Err(StoreError::File { path, source }),
        }
    }

    fn failed(&self, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
        let path = path.to_owned();
        move |source| StoreError::File { path, source }
    }

    fn path(&self, id: u64, extension: &str) -> PathBuf {
        self.folder.join(format!("{id:08}.{extension}"))
    }

    /// Every row, oldest first. A damaged file is set aside under another name: its range is still
    /// on L1.
    pub fn load(&self) -> Result<Vec<Row>, StoreError> {
        let (rows, damaged) = self.read()?;
        for (path, reason) in damaged {
            self.set_aside(&path, &reason)?;
        }
        Ok(rows)
    }

    /// Every row, oldest first, and each damaged file with what is wrong with it. Changes nothing.
    pub fn read(&self) -> Result<(Vec<Row>, Vec<Damaged>), StoreError> {
        let (mut rows, mut damaged) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.folder).map_err(self.failed(&self.folder))? {
            let path = entry.map_err(self.failed(&self.folder))?.path();
            if path.extension().is_none_or(|extension| extension != ROW) {
                continue;
            }
            let bytes = fs::read(&path).map_err(self.failed(&path))?;
            match read_row(&bytes) {
                Ok(row) if self.path(row.id, ROW) == path => rows.push(row),
                Ok(row) => damaged.push((path, format!("it holds row {}", row.id))),
                Err(reason) => damaged.push((path, reason)),
            }
        }
        rows.sort_by_key(|row| row.id);
        Ok((rows, damaged))
    }

    fn set_aside(&self, path: &Path, reason: &str) -> Result<(), StoreError> {
        let aside = path.with_extension("damaged");
        tracing::error!(path = %path.display(), error = reason, "damaged range file set aside; its blocks are planned again");
        // A command was meant for the row that the file had.
        remove(&path.with_extension(COMMAND))?;
        fs::rename(path, &aside).map_err(self.failed(path))
    }

    /// Writes a row. After this returns, a crash leaves this row or a later one.
    pub fn put(&self, row: &Row) -> Result<(), StoreError> {
        let (id, path) = (row.id, self.path(row.id, ROW));
        let failed = |error: serde_json::Error| StoreError::File {
            path: path.clone(),
            source: io::Error::other(error),
        };
        let text = serde_json::to_string_pretty(row).map_err(failed)?;
        let digest = Digest::of(text.as_bytes()).to_string();
        let row = RawValue::from_string(text).map_err(failed)?;
        let bytes = serde_json::to_vec_pretty(&Sealed { digest, row: &row }).map_err(failed)?;
        // A row that cannot be read back must not replace one that can.
        if let Err(why) = read_row(&bytes) {
            let source = io::Error::other(format!("row {id} cannot be kept: {why}"));
            return Err(StoreError::File { path, source });
        }
        rollmill_files::write(&path, &[&bytes]).map_err(self.failed(&path))
    }

    /// Removes the oldest ended rows beyond the limit, with their files.
    pub fn forget(&self, rows: &mut Vec<Row>) -> Result<(), StoreError> {
        let ended = rows.iter().filter(|row| row.state.is_end()).count();
        let mut excess = ended.saturating_sub(ENDED_MAX);
        let mut kept = Vec::with_capacity(rows.len());
        for row in std::mem::take(rows) {
            if excess == 0 || !row.state.is_end() {
                kept.push(row);
                continue;
            }
            excess -= 1;
            remove(&self.path(row.id, ROW))?;
            remove(&self.path(row.id, COMMAND))?;
            if let Some(root) = &row.root {
                remove(&self.root_path(&root.digest))?;
            }
        }
        *rows = kept;
        Ok(())
    }

    // Root proofs

    fn root_path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.{ROOT}"))
    }

    /// Stores a root proof's bytes and returns their digest, which names the file.
    pub fn put_root(&self, bytes: &[u8]) -> Result<String, StoreError> {
        let digest = Digest::of(bytes).to_string();
        let path = self.root_path(&digest);
        rollmill_files::write(&path, &[bytes]).map_err(self.failed(&path))?;
        Ok(digest)
    }

    /// A root proof's bytes; `None` if they cannot be read or have another digest.
    pub fn root(&self, root: &Root) -> Option<Vec<u8>> {
        let bytes = fs::read(self.root_path(&root.digest)).ok()?;
        (Digest::of(&bytes).to_string() == root.digest).then_some(bytes)
    }

    // Commands of an operator, which another process writes for the running one

    /// Writes a command for a row.
    pub fn put_command(&self, id: u64, command: Command) -> Result<(), StoreError> {
        let (rows, _) = self.read()?;
        let row = rows.iter().find(|row| row.id == id).ok_or(StoreError::Unknown { id })?;
        let waits = matches!(row.state, State::Parked { parking: Parking::Operator { .. }, .. });
        let applies = match command {
            Command::Retry => waits,
            Command::Abandon => !row.state.is_end(),
        };
        if !applies {
            return Err(StoreError::NotNow { id, state: row.state.as_str() });
        }
        let path = self.path(id, COMMAND);
        let bytes = serde_json::to_vec(&command).map_err(|error| StoreError::File {
            path: path.clone(),
            source: io::Error::other(error),
        })?;
        rollmill_files::write(&path, &[&bytes]).map_err(self.failed(&path))
    }

    /// The command written for a row.
    pub fn command(&self, id: u64) -> Option<Command> {
        let bytes = fs::read(self.path(id, COMMAND)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Removes the command of a row, once the row that follows from it has been written.
    pub fn take_command(&self, id: u64) -> Result<(), StoreError> {
        remove(&self.path(id, COMMAND))
    }
}

fn read_row(bytes: &[u8]) -> Result<Row, String> {
    let sealed: Sealed<&RawValue> =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let text = sealed.row.get();
    if Digest::of(text.as_bytes()).to_string() != sealed.digest {
        return Err("its digest is that of another row".to_owned());
    }
    let row: Row = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if row.blocks.is_empty() {
        return Err("it has no blocks".to_owned());
    }
    Ok(row)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
