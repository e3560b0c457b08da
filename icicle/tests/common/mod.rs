//! A folder with a fake ICICLE, whose behaviour a test chooses.

#![allow(dead_code, reason = "each test program uses a part")]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rollmill_icicle::{IcicleDevice, IcicleError, Options};
use tempfile::TempDir;

const NAMES: [&str; 3] = ["icicle_device", "icicle_field_bn254", "icicle_curve_bn254"];

/// The file of a library.
pub(crate) fn file(name: &str) -> String {
    format!("{DLL_PREFIX}{name}{DLL_SUFFIX}")
}

/// What Cargo built of an example, which it does before it runs tests.
pub(crate) fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().and_then(Path::parent).unwrap();
    let path = folder.join("examples").join(file(name));
    assert!(path.exists(), "{} is missing; `cargo build --examples` makes it", path.display());
    path
}

/// A copy of the fake in a new folder, with its own state.
pub(crate) struct Fake {
    pub(crate) folder: TempDir,
}

impl Fake {
    pub(crate) fn new(behaviour: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let fake = Self { folder };
        std::fs::copy(built("rollmill_fake_icicle"), fake.path("copy")).unwrap();
        for name in NAMES {
            symlink("copy", fake.path(&file(name))).unwrap();
        }
        fake.behave(behaviour);
        fake
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the fake does from now on.
    pub(crate) fn behave(&self, behaviour: &[&str]) {
        std::fs::write(self.path("behaviour"), behaviour.join("\n")).unwrap();
    }

    pub(crate) fn try_open(&self, asked: &str) -> Result<IcicleDevice, IcicleError> {
        let folder = Some(self.folder.path().to_path_buf());
        IcicleDevice::open(asked, &Options { folder, host_threads: 2 })
    }

    pub(crate) fn open(&self) -> IcicleDevice {
        self.try_open("0").unwrap_or_else(|error| panic!("{error}"))
    }
}
