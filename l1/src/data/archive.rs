//! A directory of blobs, on a disk or on anything that is mounted like one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::B256;
use rollmill_blob::{BYTES, Blob};
use rollmill_errors::InWords;
use sha2::{Digest, Sha256};

use super::error::SourceError;
use super::{BlobRef, BlobSource, Fetch};

/// Bytes of the digest after the blob.
const DIGEST: usize = 32;

/// A directory that keeps every blob that was put into it.
///
/// A blob is the file `<last byte>/<versioned hash>`, both in hexadecimal: its bytes and their SHA-256. A file is
/// complete or absent, and several processes may share the directory. One that is damaged is removed when it is read, so
/// that another source is asked and the blob is written anew. No whole file is ever removed: a block has one blob, so a
/// directory grows by 131,104 bytes for each block with transactions.
#[derive(Debug, Clone)]
pub struct BlobArchive(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    name: String,
}

impl BlobArchive {
    /// The archive in `folder`, which is created if there is none.
    ///
    /// # Errors
    /// [`SourceError::Disk`]
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        let name = format!("blob archive {}", folder.display());
        let archive = Inner { folder: folder.to_owned(), name };
        rollmill_files::make_folder(folder)
            .map_err(|error| archive.disk("cannot be created", &error))?;
        Ok(Self(Arc::new(archive)))
    }

    /// The blob with this hash, as far as the file's digest says; `None` if there is none. Blocks on the disk.
    ///
    /// # Errors
    /// [`SourceError::Disk`] if the file cannot be read, [`SourceError::Malformed`] if it was damaged; it is removed.
    pub fn read(&self, versioned_hash: B256) -> Result<Option<Blob>, SourceError> {
        let path = self.0.path(versioned_hash);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.0.disk("cannot be read", &error)),
        };
        let mut bytes = Vec::with_capacity(BYTES + DIGEST);
        file.take((BYTES + DIGEST + 1) as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| self.0.disk("cannot be read", &error))?;
        match whole(&bytes) {
            Some(blob) => Ok(Some(blob)),
            None => {
                // On a read-only disk it stays, and the other sources are asked all the same.
                let _ = fs::remove_file(&path);
                let reason = format!("file {} is damaged", path.display());
                Err(SourceError::Malformed { name: self.0.name.clone(), reason })
            }
        }
    }

    /// Keeps a blob under its hash, which the caller has verified. Does nothing if it is there. Blocks on the disk.
    ///
    /// # Errors
    /// [`SourceError::Disk`]
    pub fn write(&self, versioned_hash: B256, blob: &Blob) -> Result<(), SourceError> {
        if matches!(self.read(versioned_hash), Ok(Some(_))) {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            let path = self.0.path(versioned_hash);
            let folder = path.parent().unwrap_or(&self.0.folder);
            rollmill_files::make_folder(folder)?;
            // What killed processes left, of this blob or of others that another source has had since.
            rollmill_files::sweep_folder(folder);
            let digest = Sha256::digest(blob.as_bytes());
            rollmill_files::write(&path, &[blob.as_bytes(), &digest])
        };
        write().map_err(|error| self.0.disk("cannot be written", &error))
    }
}

impl Inner {
    fn path(&self, versioned_hash: B256) -> PathBuf {
        let name = hex::encode(versioned_hash);
        self.folder.join(&name[62..]).join(name)
    }

    fn disk(&self, what: &str, error: &io::Error) -> SourceError {
        let reason = format!("{what}: {}", InWords(error));
        SourceError::Disk { name: self.name.clone(), reason }
    }
}

/// The blob of a file's bytes, if none of them has changed.
fn whole(bytes: &[u8]) -> Option<Blob> {
    let (blob, digest) = bytes.split_at_checked(BYTES)?;
    let is_same = Sha256::digest(blob)[..] == *digest;
    Blob::from_bytes(blob).ok().filter(|_| is_same)
}

impl BlobSource for BlobArchive {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn fetch<'a>(&'a self, wanted: &'a BlobRef) -> Fetch<'a> {
        let (archive, hash) = (self.clone(), wanted.versioned_hash);
        Box::pin(async move {
            let name = || archive.0.name.clone();
            let read = {
                let archive = archive.clone();
                move || archive.read(hash)
            };
            let read = tokio::task::spawn_blocking(read).await;
            let read = read
                .map_err(|error| SourceError::Disk { name: name(), reason: error.to_string() })?;
            match read? {
                Some(blob) => Ok(vec![blob.as_bytes().to_vec()]),
                None => Err(SourceError::Absent { name: name() }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: B256 = B256::repeat_byte(1);

    fn blob(word: u64) -> Blob {
        let words = [rollmill_protocol::Fr::from(word)];
        Blob::from_bytes(&rollmill_protocol::blob::encode_words(&words).unwrap()).unwrap()
    }

    #[test]
    fn a_changed_missing_or_added_byte_is_never_read_and_the_file_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let archive = BlobArchive::open(root.path()).unwrap();
        archive.write(HASH, &blob(5)).unwrap();
        let path = archive.0.path(HASH);
        let bytes = fs::read(&path).unwrap();
        let changed = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            bytes
        };
        let longer = [&bytes[..], &[0]].concat();
        for damaged in [
            changed(0),
            changed(BYTES - 1),
            changed(BYTES),
            bytes[..BYTES].to_vec(),
            bytes[..100].to_vec(),
            Vec::new(),
            longer,
        ] {
            fs::write(&path, damaged).unwrap();
            let error = archive.read(HASH).unwrap_err();
            assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
            assert_eq!(archive.read(HASH), Ok(None));
            archive.write(HASH, &blob(5)).unwrap();
            assert_eq!(archive.read(HASH), Ok(Some(blob(5))));
        }
    }

    #[test]
    fn what_was_put_stays_as_it_was_and_a_crash_leaves_no_half_of_it() {
        let root = tempfile::tempdir().unwrap();
        let archive = BlobArchive::open(&root.path().join("a/b")).unwrap();
        archive.write(HASH, &blob(5)).unwrap();
        // Its caller verified both, so the second is the same; here it shows that nothing is rewritten.
        archive.write(HASH, &blob(6)).unwrap();
        let path = archive.0.path(HASH);
        fs::write(path.with_extension("0123456789abcdef.part"), b"half").unwrap();
        let again = BlobArchive::open(&root.path().join("a/b")).unwrap();
        assert_eq!(again.read(HASH), Ok(Some(blob(5))));
        assert_eq!(again.read(B256::repeat_byte(2)), Ok(None));
        // The next blob in the folder removes the half.
        let mut beside = HASH;
        beside.0[0] ^= 1;
        again.write(beside, &blob(6)).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = BlobArchive::open(&file.join("archive")).unwrap_err().to_string();
        assert!(
            error.starts_with("L1-036: blob archive ") && error.contains("cannot be created"),
            "{error}"
        );
        let archive = BlobArchive::open(root.path()).unwrap();
        fs::write(root.path().join("01"), b"a file where a folder must be").unwrap();
        let error = archive.write(HASH, &blob(5)).unwrap_err().to_string();
        assert!(error.contains("cannot be written"), "{error}");
    }
}
