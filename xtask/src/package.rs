//! `cargo xtask package`: builds the programs in release mode and packs them with what an operator needs.
//!
//! What is packed follows from the manifests ([`manifests`]) and from the folders below: a new program is
//! packed because its manifest says so, and a service without a systemd unit is an error. The archive is
//! a function of the commit and of the programs: names are sorted, and times, owners and modes are fixed.

mod licences;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use crate::manifests::{self, Program, Role};
use crate::tree::Tree;

/// Folder of the systemd units, `NAME.service` for each service.
const UNITS: &str = "deploy/systemd";
/// Folders that are packed as they are, without the first part of their paths.
const FOLDERS: [&str; 2] = ["deploy/grafana/", "deploy/prometheus/"];
/// Files at the top of the repository that are packed.
const TOP: &[&str] = &["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "SECURITY.md"];
/// Pages and samples of settings.
const PAGES: &str = "docs";
/// What lies under [`PAGES`] for the build of the book alone.
const PAGES_EXCEPT: &[&str] = &["docs/SUMMARY.md", "docs/book.toml", "docs/theme/"];

/// A file of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    bytes: Vec<u8>,
    is_program: bool,
}

/// What the archive contains, by path.
type Entries = BTreeMap<String, Entry>;

/// Builds the programs and writes the archive and its digest into `out`, or `TARGET_DIR/package`.
pub(crate) fn run(root: &Path, out: Option<&Path>) -> anyhow::Result<()> {
    let manifests = manifests::load(root)?;
    let findings = manifests::check(&manifests);
    ensure!(findings.is_empty(), "the manifests are incomplete:\n{}", findings.join("\n"));
    let programs = manifests.programs();
    let packages: Vec<&str> = packed(&programs).map(|program| program.package.as_str()).collect();
    let target = host(root)?;
    build(root, &packages, &target)?;

    let built = manifests.target_directory.join(&target).join("release");
    let mut entries = collect(root, &Tree::load(root)?, &programs, &built)?;
    let version = version(&manifests, &packages)?;
    add_text(&mut entries, "BUILD", about(root, &version, &target)?);
    let licences = licences::page(&licences::crates(root, &packages, &target)?)?;
    add_text(&mut entries, "THIRD-PARTY-LICENSES.txt", licences);
    let out = out.map_or_else(|| manifests.target_directory.join("package"), Path::to_path_buf);
    let name = format!("rollmill-{version}-{target}");
    let archive = write(&out, &name, entries, time(root)?)?;
    println!("{}", archive.display());
    Ok(())
}

/// The programs that are packed.
fn packed(programs: &[Program]) -> impl Iterator<Item = &Program> {
    programs.iter().filter(|program| program.role != Role::Checkout)
}

/// Runs a program in `root` and returns what it prints.
fn output(root: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {} failed: {}", arguments.join(" "), errors.trim());
    String::from_utf8(output.stdout).with_context(|| format!("{program} did not print UTF-8"))
}

/// Rust's name of this machine.
fn host(root: &Path) -> anyhow::Result<String> {
    let version = output(root, "rustc", &["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Builds `packages` alone: features that the bench or the tests ask for must not leak into what is
/// shipped. The paths of this machine are removed from the programs. Naming the target keeps these
/// flags from build scripts, and these results apart from those of `cargo build --release`.
fn build(root: &Path, packages: &[&str], target: &str) -> anyhow::Result<()> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    for (from, to) in [(Some(root.to_path_buf()), "rollmill"), (home, "cargo")] {
        let Some(from) = from else { continue };
        let from = from.display().to_string();
        ensure!(!from.contains(char::is_whitespace), "{from}: build in a path without spaces");
        flags.push_str(&format!(" --remap-path-prefix={from}={to}"));
    }
    let mut command = Command::new("cargo");
    command.args(["build", "--locked", "--release", "--bins", "--target", target]);
    packages.iter().for_each(|package| _ = command.args(["--package", *package]));
    let status = command.env("RUSTFLAGS", flags.trim()).env("CARGO_INCREMENTAL", "0");
    let status = status.current_dir(root).status().context("cannot run cargo build")?;
    ensure!(status.success(), "cargo build failed");
    Ok(())
}

/// The one version of the packed crates.
fn version(manifests: &manifests::Manifests, packages: &[&str]) -> anyhow::Result<String> {
    let is_packed = |name: &str| packages.contains(&name);
    let mut versions: Vec<&str> = manifests
        .packages
        .iter()
        .filter(|package| is_packed(&package.name))
        .map(|package| package.version.as_str())
        .collect();
    versions.sort_unstable();
    versions.dedup();
    match versions[..] {
        [version] => Ok(version.to_owned()),
        _ => bail!("the packed crates have versions {versions:?}; use `version.workspace = true`"),
    }
}

/// What was built, from which commit, by which compiler, against which C library.
fn about(root: &Path, version: &str, target: &str) -> anyhow::Result<String> {
    let commit = output(root, "git", &["rev-parse", "HEAD"])?;
    let is_clean = output(root, "git", &["status", "--porcelain"])?.is_empty();
    let changes = if is_clean { "" } else { ", with uncommitted changes" };
    let compiler = output(root, "rustc", &["--version"])?;
    let libc = output(root, "getconf", &["GNU_LIBC_VERSION"]).unwrap_or_else(|_| "unknown".into());
    Ok(format!(
        "version: {version}\ntarget: {target}\ncommit: {}{changes}\ncompiler: {}\n\
         C library: {} (the programs need this version or a newer one)\n",
        commit.trim(),
        compiler.trim(),
        libc.trim()
    ))
}

/// The time of every file: `SOURCE_DATE_EPOCH`, or that of the commit, in seconds since 1970.
fn time(root: &Path) -> anyhow::Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => output(root, "git", &["log", "-1", "--format=%ct"])?,
    };
    let text = text.trim();
    text.parse().with_context(|| format!("`{text}` is not a number of seconds since 1970"))
}

fn add_text(entries: &mut Entries, path: &str, text: String) {
    entries.insert(path.to_owned(), Entry { bytes: text.into_bytes(), is_program: false });
}

/// Every file that the repository and the build give.
fn collect(
    root: &Path,
    tree: &Tree,
    programs: &[Program],
    built: &Path,
) -> anyhow::Result<Entries> {
    let mut entries = Entries::new();
    let mut add = |path: String, file: &Path, is_program: bool| {
        let bytes =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        entries.insert(path, Entry { bytes, is_program });
        anyhow::Ok(())
    };
    ensure!(packed(programs).next().is_some(), "no program is packed");
    for program in packed(programs) {
        let file = built.join(&program.name);
        ensure!(file.is_file(), "{} is missing in {}", program.name, built.display());
        add(format!("bin/{}", program.name), &file, true)?;
    }
    let services: Vec<&Program> =
        programs.iter().filter(|program| program.role == Role::Service).collect();
    for service in &services {
        let unit = format!("{}.service", service.name);
        let path = format!("{UNITS}/{unit}");
        ensure!(tree.paths.contains(&path), "{path} is missing; write a unit for {}", service.name);
        let sample = format!("{PAGES}/config/{}.toml", service.name);
        ensure!(tree.paths.contains(&sample), "{sample} is missing; see CONTRIBUTING.md");
        add(format!("systemd/{unit}"), &root.join(&path), false)?;
    }
    for path in tree.paths.iter().filter(|path| path.starts_with(UNITS)) {
        let name = path[UNITS.len() + 1..].trim_end_matches(".service");
        ensure!(
            services.iter().any(|service| service.name == name),
            "{path}: there is no service {name}"
        );
    }
    let is_packed = |path: &&String| FOLDERS.iter().any(|folder| path.starts_with(folder));
    for path in tree.paths.iter().filter(is_packed) {
        add(path["deploy/".len()..].to_owned(), &root.join(path), false)?;
    }
    for path in TOP {
        add((*path).to_owned(), &root.join(path), false)?;
    }
    let is_page = |path: &&String| {
        path.starts_with(&format!("{PAGES}/"))
            && !PAGES_EXCEPT.iter().any(|except| path.starts_with(except))
    };
    for path in tree.paths.iter().filter(is_page) {
        add(path.clone(), &root.join(path), false)?;
    }
    Ok(entries)
}

/// One line per file, as `sha256sum` prints and checks it.
fn digests<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    files.map(|(path, bytes)| format!("{}  {path}\n", hex::encode(Sha256::digest(bytes)))).collect()
}

/// Writes `NAME/` and `NAME.tar.gz` with its digest into `out`, and returns the path of the archive.
fn write(out: &Path, name: &str, mut entries: Entries, time: u64) -> anyhow::Result<PathBuf> {
    let sums = digests(entries.iter().map(|(path, entry)| (path.as_str(), &entry.bytes[..])));
    add_text(&mut entries, "SHA256SUMS", sums);
    let folder = out.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    for (path, entry) in &entries {
        let file = folder.join(path);
        let parent = file.parent().unwrap_or(&folder);
        let failed = || format!("cannot write {}", file.display());
        std::fs::create_dir_all(parent).with_context(failed)?;
        std::fs::write(&file, &entry.bytes).with_context(failed)?;
        let mode = if entry.is_program { 0o755 } else { 0o644 };
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).with_context(failed)?;
    }
    let tar = format!("{name}.tar");
    let archive = out.join(format!("{tar}.gz"));
    let time = format!("--mtime=@{time}");
    let mut arguments = vec!["--create", "--file", &tar, "--format=ustar", "--sort=name", &time];
    arguments.extend(["--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX", name]);
    output(out, "tar", &arguments)?;
    // Without name and time in the head of the compressed file.
    output(out, "gzip", &["--no-name", "--force", "-9", &tar])?;
    let bytes = std::fs::read(&archive).context("cannot read the archive again")?;
    let sum = digests([(format!("{tar}.gz").as_str(), &bytes[..])].into_iter());
    std::fs::write(out.join(format!("{tar}.gz.sha256")), sum).context("cannot write the digest")?;
    Ok(archive)
}

#[cfg(test)]
mod tests;
