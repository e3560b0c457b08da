//! The machine of an agent, for tests.
//!
//! It has an NVIDIA driver but no card, for programs that look for one: the driver is the emulator of the
//! kernels, and the management library is a fake. [`MetadataService`] is the cloud that it runs in.
//!
//! # Panics
//! Every function panics when a library does not compile or a program does not start: a test cannot
//! continue, and must not be skipped.

mod metadata;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub use metadata::{Answer, MetadataService};

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
    compile_management(&folder.path().join(name), flags);
    folder
}

/// Compiles the fake management library as the file `library`; see [`management`].
pub fn compile_management(library: &Path, flags: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nvml.cpp");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut compiler = Command::new(compiler);
    compiler.args(["-std=c++17", "-shared", "-fPIC", "-Wall", "-Werror"]).args(flags);
    let output = compiler.arg("-o").arg(library).arg(source).output();
    let output = output.expect("a C++ compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A command of `program` as on a machine without ICICLE and without keys.
pub fn without_icicle(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("ROLLMILL_ICICLE_DIR", "/nonexistent/icicle")
        .env("ROLLMILL_CACHE", "/nonexistent/cache")
        // The graphics driver complains where it is not set.
        .env("XDG_RUNTIME_DIR", std::env::temp_dir());
    command
}

/// Runs `command` on a machine whose NVIDIA driver is the emulator with these `faults`.
/// `scratch` is that of [`driver`].
pub fn run_with_driver(mut command: Command, scratch: &Path, faults: &str) -> Output {
    let management = management("libnvidia-ml.so.1", &[]);
    let paths = [driver(scratch), management.path().to_owned()];
    command
        .env("LD_LIBRARY_PATH", std::env::join_paths(paths).expect("no separator in a path"))
        .env("ROLLMILL_EMULATED_CUDA", faults);
    command.output().expect("the program starts")
}

/// Runs `program` in an empty folder with nothing on the path and without keys.
pub fn run_alone(program: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder.path())
        .env("PATH", folder.path())
        .env("ROLLMILL_CACHE", "/nonexistent/cache");
    command.output().expect("the program starts")
}

/// Runs `program` as [`run_alone`] does. It must fail, with one line about an error that contains each of
/// `expected`.
///
/// # Panics
/// When it succeeds, or reports anything else.
pub fn assert_fails_with_one_line(program: &str, arguments: &[&str], expected: &[&str]) {
    let output = run_alone(program, arguments);
    assert!(!output.status.success(), "{arguments:?} was accepted");
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("error")).collect();
    assert_eq!(lines.len(), 1, "{arguments:?}: {text}");
    for part in expected {
        assert!(lines[0].contains(part), "{arguments:?}: {}", lines[0]);
    }
}
