//! Sidecars of pending blob transactions, as files beside the journal.
//!
//! The journal is rewritten with every change, and a sidecar has 137 kB. So each is a file, named by the SHA-256 of its
//! bytes, in a folder beside the journal. It is on disk before the entry that names it, and it is removed once no entry
//! sends it again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use rollmill_blob::Sidecar;
use rollmill_errors::InWords;
use sha2::{Digest, Sha256};

use crate::intent::BlobId;

/// The folder of one journal.
#[derive(Debug)]
pub(crate) struct Sidecars {
    folder: PathBuf,
}

impl Sidecars {
    /// The folder beside a journal. It is created with the first sidecar.
    pub(crate) fn beside(journal: &Path) -> Self {
        Self { folder: journal.with_extension("blobs") }
    }

    /// Writes a sidecar, unless it is there; a crash leaves all of it or nothing under its name.
    pub(crate) fn write(&self, sidecar: &Sidecar) -> Result<(), String> {
        let blob = BlobId::of(sidecar);
        if blob == BlobId::empty() || self.read(blob).is_ok() {
            return Ok(());
        }
        let path = self.path(blob.sidecar);
        let write = || -> io::Result<()> {
            rollmill_files::make_folder(&self.folder)?;
            rollmill_files::write(&path, &[&sidecar.to_bytes()])
        };
        write().map_err(|error| {
            format!("sidecar {} cannot be written: {}", path.display(), InWords(&error))
        })
    }

    /// Reads a sidecar; the error says why it cannot.
    pub(crate) fn read(&self, blob: BlobId) -> Result<Sidecar, String> {
        if blob == BlobId::empty() {
            return Ok(Sidecar::empty());
        }
        let path = self.path(blob.sidecar);
        let bytes = fs::read(&path).map_err(|error| {
            format!("sidecar {} cannot be read: {}", path.display(), InWords(&error))
        })?;
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if digest != blob.sidecar.0 {
            return Err(format!("sidecar {} is damaged", path.display()));
        }
        let bad = |error| format!("sidecar {}: {}", path.display(), rollmill_errors::Bare(&error));
        Sidecar::from_bytes(&bytes).map_err(bad)
    }

    /// Removes the files of all sidecars but these, and what a crash left. A file that cannot be removed is tried
    /// again the next time; until then it only takes space.
    pub(crate) fn retain(&self, needed: &BTreeSet<B256>) {
        rollmill_files::sweep_folder(&self.folder);
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let mut named = [0; 32];
            // Nothing else is touched.
            if hex::decode_to_slice(name, &mut named).is_err() {
                continue;
            }
            if !needed.contains(&B256::from(named)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn path(&self, digest: B256) -> PathBuf {
        self.folder.join(hex::encode(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sidecar whose commitment and proofs are not those of its blob, which nothing here checks.
    fn sidecar(byte: u8) -> Sidecar {
        let mut bytes = Sidecar::empty().to_bytes();
        bytes[31] = byte;
        Sidecar::from_bytes(&bytes).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_needed_stays_and_what_a_crash_left_goes() {
        let root = tempfile::tempdir().unwrap();
        let sidecars = Sidecars::beside(&root.path().join("intents.json"));
        sidecars.retain(&BTreeSet::new());
        let (kept, dropped) = (sidecar(1), sidecar(2));
        sidecars.write(&kept).unwrap();
        sidecars.write(&dropped).unwrap();
        let folder = root.path().join("intents.blobs");
        let left = format!("{}.0123456789abcdef.part", "ab".repeat(32));
        fs::write(folder.join(left), b"half").unwrap();
        fs::write(folder.join("notes.txt"), b"of somebody else").unwrap();
        let blob = BlobId::of(&kept);
        sidecars.retain(&BTreeSet::from([blob.sidecar]));
        assert_eq!(names(&folder), [hex::encode(blob.sidecar), "notes.txt".to_owned()]);
        assert_eq!(sidecars.read(blob).unwrap(), kept);
        let error = sidecars.read(BlobId::of(&dropped)).unwrap_err();
        assert!(error.contains("cannot be read"), "{error}");
    }

    #[test]
    fn the_blob_of_zeros_has_no_file() {
        let root = tempfile::tempdir().unwrap();
        let sidecars = Sidecars::beside(&root.path().join("intents.json"));
        sidecars.write(&Sidecar::empty()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert_eq!(sidecars.read(BlobId::empty()).unwrap(), Sidecar::empty());
    }

    #[test]
    fn a_damaged_file_is_never_read_and_is_written_anew() {
        let root = tempfile::tempdir().unwrap();
        let sidecars = Sidecars::beside(&root.path().join("intents.json"));
        let (whole, blob) = (sidecar(1), BlobId::of(&sidecar(1)));
        sidecars.write(&whole).unwrap();
        let path = sidecars.path(blob.sidecar);
        let bytes = fs::read(&path).unwrap();
        for at in [0, 31, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(sidecars.read(blob).unwrap_err().contains("is damaged"), "byte {at}");
        }
        fs::write(&path, &bytes[..100]).unwrap();
        assert!(sidecars.read(blob).is_err());
        sidecars.write(&whole).unwrap();
        assert_eq!(sidecars.read(blob).unwrap(), whole);
    }
}
