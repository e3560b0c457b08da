//! The directory of a network's files: data, logs, genesis.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// A directory that is removed when the network stops, unless the user named it.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    keep: bool,
}

impl RunDir {
    /// Opens the directory that the user named, which is kept; or a new one in the system's directory
    /// for temporary files, which is removed afterwards.
    ///
    /// The name is short: PostgreSQL's socket is below it, and a socket's path may have at most
    /// 107 bytes.
    ///
    /// # Errors
    /// [`Error::DirInUse`] when the user's directory is not empty, since a network's data belongs to
    /// one run; [`Error::File`] when it cannot be created.
    pub fn create(given: Option<&Path>, unique: u32) -> Result<Self, Error> {
        let (path, keep) = match given {
            Some(path) => (std::path::absolute(path).map_err(Error::file("find", path))?, true),
            None => (std::env::temp_dir().join(format!("rollmill-{unique:08x}")), false),
        };
        if keep && path.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::DirInUse { path });
        }
        let mut builder = std::fs::DirBuilder::new();
        // Others may pass through: as root, PostgreSQL runs under another user and must reach its
        // data below this folder. They may not list it.
        builder.mode(0o711).recursive(keep);
        builder.create(&path).map_err(Error::file("create", &path))?;
        let dir = Self { path, keep };
        for part in ["logs", "data"] {
            builder.recursive(true);
            let path = dir.path.join(part);
            builder.create(&path).map_err(Error::file("create", path))?;
        }
        Ok(dir)
    }

    /// The absolute path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is kept when the network stops.
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// The data directory of a process.
    pub fn data(&self, name: &str) -> PathBuf {
        self.path.join("data").join(name)
    }

    /// The log file of a process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// Removes the directory unless it should be kept.
    ///
    /// # Errors
    /// [`Error::File`] when something in it cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        if self.keep || !self.path.exists() {
            return Ok(());
        }
        std::fs::remove_dir_all(&self.path).map_err(Error::file("remove", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_is_removed_and_a_named_one_is_kept() {
        let own = RunDir::create(None, std::process::id()).unwrap();
        assert!(own.log("anvil").parent().unwrap().is_dir());
        own.remove().unwrap();
        assert!(!own.path().exists());

        let parent = tempfile::tempdir().unwrap();
        let given = RunDir::create(Some(&parent.path().join("net/1")), 0).unwrap();
        given.remove().unwrap();
        assert!(given.path().is_dir());
    }

    #[test]
    fn a_folder_that_is_not_empty_is_rejected() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("thesis.tex"), "x").unwrap();
        let rejected = RunDir::create(Some(parent.path()), 0);
        assert!(matches!(rejected, Err(Error::DirInUse { .. })), "{rejected:?}");
        assert!(parent.path().join("thesis.tex").exists());
    }
}
