//! Vectors that a second implementation in Python computes, which shares no code with the crates.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::generate::Output;
use crate::tree::{self, Tree};

/// Models, their arguments, and what each prints.
const MODELS: [(&str, &[&str], &str); 4] = [
    ("protocol/tests/vectors/model2.py", &[], "protocol/tests/vectors/protocol2.json"),
    // 20 blocks of a seed whose blocks have every kind of transaction.
    (
        "protocol/tests/vectors/model2.py",
        &["--random", "27", "20"],
        "protocol/tests/vectors/stream2.jsonl",
    ),
    ("protocol/tests/vectors/private2.py", &[], "protocol/tests/vectors/private2.json"),
    ("plonk/tests/vectors/transcript.py", &[], "plonk/tests/vectors/transcript.json"),
];

/// Runs every model.
pub(crate) fn vectors(_tree: &Tree) -> anyhow::Result<Vec<Output>> {
    let root = tree::root()?;
    MODELS
        .iter()
        .map(|(model, arguments, path)| Ok(Output::text(path, run(&root, model, arguments)?)))
        .collect()
}

fn run(root: &Path, model: &str, arguments: &[&str]) -> anyhow::Result<String> {
    // Isolated from the user's Python, and without leaving compiled files beside the sources.
    let output = Command::new("python3")
        .args(["-I", "-B", model])
        .args(arguments)
        .current_dir(root)
        .output()
        .context("cannot run python3; run `make setup`")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{model} failed:\n{errors}");
    String::from_utf8(output.stdout).with_context(|| format!("{model} printed no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_fails_is_named_with_what_it_said() {
        let root = tree::root().unwrap();
        let error = run(&root, "protocol/tests/vectors/absent.py", &[]).unwrap_err().to_string();
        assert!(error.starts_with("protocol/tests/vectors/absent.py failed"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }
}
