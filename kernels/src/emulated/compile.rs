//! Compiles the kernels for the emulator.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

const FLAGS: [&str; 7] = [
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-shared",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wno-unknown-pragmas",
];

/// Compiles the kernels of `crate_dir` (the folder with `cuda/` and `emulator/`) for the emulator, unless
/// `folder` has them already. Returns the path of the library. Uses `$CXX`, or `c++`.
///
/// # Errors
/// The compiler's output, or why files could not be read or written.
pub fn compile_emulator(crate_dir: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut hasher = Sha256::new();
    hasher.update(&compiler);
    FLAGS.iter().for_each(|flag| hasher.update(flag));
    for part in ["cuda", "emulator"] {
        let mut files: Vec<PathBuf> = std::fs::read_dir(crate_dir.join(part))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            hasher.update(file.to_string_lossy().as_bytes());
            hasher.update(std::fs::read(file)?);
        }
    }
    let digest: String =
        hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let library = folder.join(format!("kernels-{digest}.so"));
    let sources =
        ["emulator/emulator.cpp", "emulator/kernels.cpp"].map(|file| crate_dir.join(file));
    compile_once(&compiler, &sources, &[], &library)?;
    Ok(library)
}

/// Compiles a driver library of the emulator: a `libcuda.so` for `LD_LIBRARY_PATH`, with which a process finds
/// a card. Returns its folder. An environment variable makes that card fail; see `emulator/libcuda.cpp`.
///
/// # Errors
/// As [`compile_emulator`].
pub fn compile_emulated_driver(crate_dir: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let kernels = std::path::absolute(compile_emulator(crate_dir, folder)?)?;
    let of_driver = kernels.with_extension("driver");
    let sources = [crate_dir.join("emulator/libcuda.cpp"), kernels.clone()];
    let found = format!("-Wl,-rpath,{}", folder.display());
    compile_once(&compiler, &sources, &[&found], &of_driver.join("libcuda.so"))?;
    Ok(of_driver)
}

/// Compiles a shared library unless it is there. Tests run in many processes at a time; one compiles,
/// the others wait for it.
fn compile_once(
    compiler: &str,
    sources: &[PathBuf],
    more: &[&str],
    library: &Path,
) -> std::io::Result<()> {
    if let Some(folder) = library.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let lock = std::fs::File::create(library.with_extension("lock"))?;
    lock.lock()?;
    if library.exists() {
        return Ok(());
    }
    let unfinished = library.with_extension("unfinished");
    let output = Command::new(compiler)
        .args(FLAGS)
        .args(sources)
        .args(more)
        .arg("-o")
        .arg(&unfinished)
        .output()?;
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stderr);
        return Err(std::io::Error::other(format!(
            "{compiler} cannot compile the kernels:\n{printed}"
        )));
    }
    std::fs::rename(&unfinished, library)
}
