//! Generated files: one registry of generators, written by `cargo xtask gen` and compared by
//! `cargo xtask gen --check`.
//!
//! To add a generated file, write a function `fn(&Tree) -> anyhow::Result<Vec<Output>>` and put it
//! into [`GENERATORS`]. A generator is a pure function of the tree and of the crates it calls: no
//! clock, no randomness, no environment, or the comparison would fail on another machine. Then give its files a
//! row in `ROWS` of `generated.rs`, which lists everything generated, also what tests and scripts write.

use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::Findings;
use crate::cuda;
use crate::errors;
use crate::tree::Tree;

/// A generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// Path from the repository root.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl Output {
    pub(crate) fn text(path: &str, text: String) -> Self {
        Self { path: path.into(), bytes: text.into_bytes() }
    }
}

type Generator = fn(&Tree) -> anyhow::Result<Vec<Output>>;

/// Every generator, with the name used in messages.
const GENERATORS: &[(&str, Generator)] = &[
    ("error codes", error_codes),
    ("constants of the contracts", crate::layouts::contract),
    ("the page of layouts", crate::layouts::page),
    ("vectors of the models", crate::models::vectors),
    ("Solidity verifiers", crate::verifiers::contracts),
    ("the table of generated files", crate::generated::page),
    ("dashboards", crate::dashboards::files),
];

fn error_codes(tree: &Tree) -> anyhow::Result<Vec<Output>> {
    Ok(vec![Output::text(errors::PAGE, errors::page(&errors::collect(tree)))])
}

/// Runs every generator. Two generators that claim one path are a bug and rejected.
fn outputs(tree: &Tree) -> anyhow::Result<Vec<Output>> {
    let mut all: Vec<Output> = Vec::new();
    for (name, generator) in GENERATORS {
        let outputs = generator(tree).with_context(|| format!("generator of {name} failed"))?;
        for output in outputs {
            anyhow::ensure!(
                all.iter().all(|other| other.path != output.path),
                "two generators write {}",
                output.path
            );
            all.push(output);
        }
    }
    Ok(all)
}

/// Writes every generated file that differs, and names it; `compile` makes the CUDA kernels too.
pub(crate) fn write(root: &Path, compile: bool) -> anyhow::Result<()> {
    let mut all = outputs(&Tree::load(root)?)?;
    if compile {
        all.extend(cuda::compile(root)?);
    }
    for output in all {
        let path = root.join(&output.path);
        if std::fs::read(&path).is_ok_and(|bytes| bytes == output.bytes) {
            continue;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        std::fs::write(&path, &output.bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("gen: wrote {} ({} bytes)", output.path, output.bytes.len());
    }
    Ok(())
}

/// Compares every generated file with what is in the work tree. The compiled kernels are compared with the
/// digests of their sources, or with `compile` to what is compiled again.
pub(crate) fn check(root: &Path, compile: bool) -> anyhow::Result<Findings> {
    let mut all = outputs(&Tree::load(root)?)?;
    if compile {
        all.extend(cuda::compile(root)?);
    }
    let mut findings = compare(&all, |path| std::fs::read(root.join(path)).ok());
    findings.extend(cuda::check(root)?);
    Ok(findings)
}

fn compare(outputs: &[Output], read: impl Fn(&str) -> Option<Vec<u8>>) -> Findings {
    let short = |bytes: &[u8]| hex::encode(&Sha256::digest(bytes)[..4]);
    outputs
        .iter()
        .filter_map(|output| match read(&output.path) {
            None => Some(format!("{}: missing; run `cargo xtask gen`", output.path)),
            Some(bytes) if bytes != output.bytes => Some(format!(
                "{}: differs from what is generated (have {} B {}, want {} B {}); \
                 run `cargo xtask gen` and commit",
                output.path,
                bytes.len(),
                short(&bytes),
                output.bytes.len(),
                short(&output.bytes),
            )),
            Some(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_and_an_edited_file_are_named_and_an_equal_one_is_not() {
        let outputs = [
            Output::text("a", "same".into()),
            Output::text("b", "new".into()),
            Output::text("c", "gone".into()),
        ];
        let findings = compare(&outputs, |path| match path {
            "a" => Some(b"same".to_vec()),
            "b" => Some(b"old".to_vec()),
            _ => None,
        });
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("b: differs"));
        assert!(findings[1].starts_with("c: missing"));
    }

    #[test]
    fn generators_give_the_same_bytes_twice() {
        let tree = Tree::of(&[
            ("r/src/a.rs", "/// A.\npub const A: &str = \"QQ-001\";\n"),
            (crate::dashboards::DECLARED, "dashboard = []\n"),
        ]);
        assert_eq!(outputs(&tree).unwrap(), outputs(&tree).unwrap());
    }
}
