//! Libraries of a driver for the tests.

#![allow(dead_code, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// UUID of the emulated driver's first card.
pub(crate) const UUID: &str = "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f";

/// A folder with a CUDA driver made of the emulator.
pub(crate) fn driver() -> PathBuf {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("kernels");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    rollmill_kernels::compile_emulated_driver(&kernels, folder).expect("it compiles")
}

/// A folder with the fake management library under one of its names.
pub(crate) fn management(name: &str, flags: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake/nvml.cpp");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut compiler = Command::new(compiler);
    compiler.args(["-std=c++17", "-shared", "-fPIC", "-Wall", "-Werror"]).args(flags);
    let output = compiler.arg("-o").arg(folder.path().join(name)).arg(source).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}
