//! The list of the crates that the packaged programs contain, with their licence texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::output;

/// Prefixes of the names of files with a licence or a notice, in capitals.
const TEXTS: &[&str] = &["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
}

/// A crate as `cargo metadata` describes it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Crate {
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<PathBuf>,
    #[serde(default)]
    authors: Vec<String>,
    repository: Option<String>,
    manifest_path: PathBuf,
    source: Option<String>,
}

/// The crates of others that `packages` contain when they are built for `target`: what Cargo resolves for these
/// packages, without build scripts and macros, which no program contains.
pub(super) fn crates(root: &Path, packages: &[&str], target: &str) -> anyhow::Result<Vec<Crate>> {
    let mut arguments = vec!["tree", "--locked", "--target", target];
    arguments.extend(["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]);
    packages.iter().for_each(|package| arguments.extend(["--package", *package]));
    let tree = output(root, "cargo", &arguments)?;
    let linked: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();
    let arguments = ["metadata", "--locked", "--format-version", "1", "--filter-platform", target];
    let metadata = output(root, "cargo", &arguments)?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("cargo metadata printed unknown JSON")?;
    let is_linked = |krate: &Crate| linked.contains(&(krate.name.as_str(), krate.version.as_str()));
    let mut crates: Vec<Crate> = metadata
        .packages
        .into_iter()
        .filter(|krate| krate.source.is_some() && is_linked(krate))
        .collect();
    crates.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    Ok(crates)
}

/// The licence texts in the folder of a crate, in the order of their names.
fn texts(krate: &Crate) -> anyhow::Result<Vec<String>> {
    let folder = krate.manifest_path.parent().unwrap_or(Path::new("/"));
    let named = krate.license_file.as_ref().map(|file| folder.join(file));
    let mut paths: BTreeSet<PathBuf> = named.into_iter().collect();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list the sources of {}; run cargo fetch", krate.name))?;
    for entry in entries {
        let path = entry.context("cannot list the sources of a crate")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if TEXTS.iter().any(|start| name.starts_with(start)) && path.is_file() {
            paths.insert(path);
        }
    }
    let read = |path: &PathBuf| {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        Ok(text.trim_end().to_owned())
    };
    paths.iter().map(read).collect()
}

/// The page: every crate with its licence, then every text once with the crates that come with it.
pub(super) fn page(crates: &[Crate]) -> anyhow::Result<String> {
    let mut page = "The programs of this package contain the Rust standard library (MIT OR Apache-2.0, \
                    https://github.com/rust-lang/rust)\nand these crates. Their licence texts follow.\n\n"
        .to_owned();
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for krate in crates {
        let name = format!("{} {}", krate.name, krate.version);
        let licence = match (&krate.license, &krate.license_file) {
            (Some(licence), _) => licence.clone(),
            (None, Some(file)) => format!("see {}", file.display()),
            (None, None) => anyhow::bail!("{name} names no licence; replace it"),
        };
        let _ = write!(page, "{name}: {licence}");
        krate.repository.iter().for_each(|url| _ = write!(page, "; {url}"));
        if !krate.authors.is_empty() {
            let _ = write!(page, "; {}", krate.authors.join(", "));
        }
        page.push('\n');
        let texts = texts(krate)?;
        if texts.is_empty() {
            without.push(name.clone());
        }
        texts.into_iter().for_each(|text| by_text.entry(text).or_default().push(name.clone()));
    }
    ensure!(!by_text.is_empty(), "no crate has a licence text; is the list of crates empty?");
    let _ = write!(
        page,
        "\nThese crates come without a licence text; the licence named above applies: {}.\n",
        if without.is_empty() { "none".to_owned() } else { without.join(", ") }
    );
    let line = "-".repeat(80);
    let mut texts: Vec<(String, Vec<String>)> = by_text.into_iter().collect();
    texts.sort_by(|one, other| one.1.cmp(&other.1));
    for (text, names) in texts {
        let _ = write!(page, "\n{line}\n{}:\n\n{text}\n", names.join(", "));
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(folder: &Path, name: &str, licence: Option<&str>) -> Crate {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        Crate {
            name: name.into(),
            version: "1.0.0".into(),
            license: licence.map(Into::into),
            license_file: None,
            authors: vec!["Ada".into()],
            repository: Some("https://example.org".into()),
            manifest_path: folder.join("Cargo.toml"),
            source: Some("registry".into()),
        }
    }

    #[test]
    fn a_text_that_crates_share_is_printed_once_and_a_crate_without_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let crates = ["a", "b", "c"].map(|name| krate(folder.path(), name, Some("MIT")));
        for name in ["a/LICENSE-MIT", "b/license.txt"] {
            std::fs::write(folder.path().join(name), "Permission\r\nis granted\n").unwrap();
        }
        let page = page(&crates).unwrap();
        assert!(page.contains("a 1.0.0: MIT; https://example.org; Ada\n"), "{page}");
        assert!(page.contains("named above applies: c 1.0.0.\n"), "{page}");
        assert!(page.contains("\na 1.0.0, b 1.0.0:\n\nPermission\nis granted\n"), "{page}");
        assert_eq!(page.matches("Permission").count(), 1);
    }

    #[test]
    fn a_crate_without_a_licence_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let error = page(&[krate(folder.path(), "a", None)]).unwrap_err().to_string();
        assert_eq!(error, "a 1.0.0 names no licence; replace it");
    }
}
