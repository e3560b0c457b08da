//! Compiled pipelines in a file, so that a start does not compile them again: drivers take seconds for them.
//!
//! There is a file for each adapter and each way to compile. It says of which adapter, driver and sources its pipelines
//! are, and has a digest: a file that is damaged, or of something else, is ignored and written again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rollmill_errors::InWords;
use sha2::{Digest, Sha256};

use crate::adapter::LimbForm;
use crate::kernel::Kernel;
use crate::native::pipeline_cache;
use crate::source::assemble;

/// The first bytes of a file; the number is the version of its form.
const MAGIC: &[u8] = b"rollmill pipelines 1\n";
/// Maximum bytes of a file: about twenty times what a GPU's driver keeps.
const BYTES_MAX: u64 = 256 << 20;

/// The status of the file of compiled pipelines when a device was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pipelines {
    /// No directory is set.
    Off,
    /// This adapter's driver has no cache that a program can keep: it is not Vulkan.
    Unsupported,
    /// There was no file.
    New,
    /// The file was read.
    Loaded,
    /// The file was of no use; it is written again.
    Ignored { path: PathBuf, reason: String },
}

/// What the pipelines of a device are compiled with.
#[derive(Debug)]
pub(crate) struct Compilation<'a> {
    /// Name, backend and numbers of the adapter.
    pub(crate) adapter: &'a str,
    /// Driver and version.
    pub(crate) driver: &'a str,
    pub(crate) form: LimbForm,
    pub(crate) checks: bool,
}

impl Compilation<'_> {
    /// The name of the file.
    fn file(&self) -> String {
        let text = format!("{}\n{}\n{}", self.adapter, self.form.name(), self.checks);
        let digest = Sha256::digest(text);
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}.pipelines")
    }

    /// Identifies adapter, driver and sources.
    fn key(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(format!("{}\n{}\n{}\n", self.adapter, self.driver, self.checks));
        for kernel in Kernel::ALL {
            // A source that does not assemble has no pipeline.
            hasher.update(assemble(&kernel.spec(), self.form).unwrap_or_default());
        }
        hasher.finalize().into()
    }
}

/// A file of pipelines, and the cache of the driver that it is read into and written from.
#[derive(Debug)]
pub(crate) struct PipelineFile {
    path: PathBuf,
    key: [u8; 32],
    pub(crate) cache: wgpu::PipelineCache,
    /// The digest of what was written last.
    written: Mutex<Option<[u8; 32]>>,
}

impl PipelineFile {
    /// Opens the file of a compilation in a directory, which need not exist.
    pub(crate) fn open(
        device: &wgpu::Device,
        dir: &Path,
        compilation: &Compilation<'_>,
    ) -> (Option<Self>, Pipelines) {
        let (path, key) = (dir.join(compilation.file()), compilation.key());
        let ignored = |reason: String| Pipelines::Ignored { path: path.clone(), reason };
        let (data, mut state) = match read(&path, &key) {
            Found::Nothing => (None, Pipelines::New),
            Found::Data(data) => (Some(data), Pipelines::Loaded),
            Found::Unusable(reason) => (None, ignored(reason)),
        };
        let (mut cache, rejected) = pipeline_cache(device, data.as_deref());
        let mut written = data.as_deref().map(|data| Sha256::digest(data).into());
        if let Some(reason) = rejected {
            state = ignored(reason);
            written = None;
            cache = pipeline_cache(device, None).0;
        }
        let file = cache.map(|cache| Self { path, key, cache, written: Mutex::new(written) });
        (file, state)
    }

    /// Writes what the driver has compiled so far, if that is new. What cannot be written is compiled again at the next
    /// start.
    pub(crate) fn save(&self) {
        let Some(data) = self.cache.get_data() else { return };
        let digest: [u8; 32] = Sha256::digest(&data).into();
        let mut written = self.written.lock();
        if *written != Some(digest) && write(&self.path, &self.key, &digest, &data).is_ok() {
            *written = Some(digest);
        }
    }
}

/// What a file contains.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Data(Vec<u8>),
    Unusable(String),
}

fn read(path: &Path, key: &[u8; 32]) -> Found {
    let bytes = fs::metadata(path).and_then(|metadata| match metadata.len() {
        0..=BYTES_MAX => fs::read(path),
        _ => Err(ErrorKind::FileTooLarge.into()),
    });
    match bytes {
        Ok(bytes) => parse(&bytes, key),
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::Unusable(InWords(&error).to_string()),
    }
}

fn parse(bytes: &[u8], key: &[u8; 32]) -> Found {
    let unusable = |reason: &str| Found::Unusable(reason.to_owned());
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return unusable("it is no file of pipelines");
    };
    let Some((of, rest)) = rest.split_first_chunk::<32>() else { return unusable("it is cut off") };
    let Some((digest, data)) = rest.split_first_chunk::<32>() else {
        return unusable("it is cut off");
    };
    let computed: [u8; 32] = Sha256::digest(data).into();
    if computed != *digest {
        return unusable("it is damaged");
    }
    if of != key {
        return unusable("it is of another driver or another version of the shaders");
    }
    Found::Data(data.to_vec())
}

/// Writes a file as a whole, and makes its folder.
fn write(path: &Path, key: &[u8; 32], digest: &[u8; 32], data: &[u8]) -> std::io::Result<()> {
    if data.len() as u64 > BYTES_MAX / 2 {
        return Err(ErrorKind::FileTooLarge.into());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    rollmill_files::write(path, &[MAGIC, key, digest, data])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compilation<'a>(adapter: &'a str, driver: &'a str) -> Compilation<'a> {
        Compilation { adapter, driver, form: LimbForm::U32, checks: false }
    }

    #[test]
    fn a_file_is_of_one_adapter_driver_and_form() {
        let one = compilation("card", "driver 1");
        let updated = compilation("card", "driver 2");
        assert_eq!(one.file(), updated.file(), "a new driver's pipelines replace the old ones");
        assert_ne!(one.key(), updated.key());
        let other = compilation("other card", "driver 1");
        assert!(one.file() != other.file() && one.key() != other.key());
        let wide = Compilation { form: LimbForm::U64, ..compilation("card", "driver 1") };
        assert!(one.file() != wide.file() && one.key() != wide.key());
    }

    #[test]
    fn a_file_that_is_damaged_or_of_something_else_has_no_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/a.pipelines");
        let (key, data) = ([7; 32], b"compiled".to_vec());
        assert_eq!(read(&path, &key), Found::Nothing);
        let digest = Sha256::digest(&data).into();
        write(&path, &key, &digest, &data).unwrap();
        assert_eq!(read(&path, &key), Found::Data(data));
        let reason = |found: Found| match found {
            Found::Unusable(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason(read(&path, &[8; 32])).contains("another driver"));
        let whole = fs::read(&path).unwrap();
        for (at, expected) in
            [(0, "no file of pipelines"), (whole.len() - 1, "damaged"), (60, "damaged")]
        {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(reason(parse(&bytes, &key)).contains(expected), "byte {at}");
        }
        for len in [0, 10, MAGIC.len(), MAGIC.len() + 40, whole.len() - 1] {
            reason(parse(&whole[..len], &key));
        }
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing is left over"
        );
    }
}
