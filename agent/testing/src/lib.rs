//! A machine with an NVIDIA driver but without a card, for tests of programs that look for one: the
//! driver is the emulator of the kernels, and the management library is a fake.
//!
//! # Panics
//! Every function panics when a library does not compile: a test cannot go on, and must not be skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// UUID of the emulated driver's first card.
pub const UUID: &str = "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f";

/// A folder in `scratch`, which tests may share, with a CUDA driver made of the emulator.
pub fn driver(scratch: &Path) -> PathBuf {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels");
    let kernels = kernels.canonicalize().expect("the folder of the kernels");
    rollmill_kernels::compile_emulated_driver(&kernels, scratch).expect("it compiles")
}

/// A folder with the fake management library under one of its names. `flags` are the compiler's, such as
/// `-DOLD`: what the library lacks.
pub fn management(name: &str, flags: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nvml.cpp");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut compiler = Command::new(compiler);
    compiler.args(["-std=c++17", "-shared", "-fPIC", "-Wall", "-Werror"]).args(flags);
    let output = compiler.arg("-o").arg(folder.path().join(name)).arg(source).output();
    let output = output.expect("a C++ compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}
