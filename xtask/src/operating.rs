//! Part of `cargo xtask tidy`: what an operator copies names only flags, variables and metrics that exist.
//!
//! The generated pages are what they are compared with, so that a renamed flag fails here until the files follow.

use std::collections::BTreeSet;

use crate::Findings;
use crate::deps::PREFIX;
use crate::tree::Tree;

/// The pages that the programs print.
const COMMANDS: &str = "docs/cli.md";
const METRICS: &str = "docs/metrics.md";
/// Files that operators copy. A page counts with its blocks of commands and settings.
const FOLDERS: &[&str] = &["deploy/compose/", "deploy/container/", "deploy/kubernetes/"];
const PAGES: &[&str] = &["docs/operate.md"];
/// Variables that are no settings: of the cache, and of accounts for development.
const VARIABLES: &[&str] = &["ROLLMILL_CACHE", "ROLLMILL_L1_KEY"];

/// Names that no program has.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    let (Some(commands), Some(metrics)) = (tree.text(COMMANDS), tree.text(METRICS)) else {
        return findings;
    };
    let (variables, flags) = (words(commands, "ROLLMILL_"), words(commands, "--"));
    let metrics = words(metrics, "rollmill_");
    let is_read =
        |path: &str| FOLDERS.iter().any(|folder| path.starts_with(folder)) || PAGES.contains(&path);
    for path in tree.paths.iter().filter(|path| is_read(path)) {
        let text = tree.text(path).unwrap_or_default();
        for (index, line) in text.lines().enumerate() {
            let mut wrong = |what: &str, name: &str| {
                findings.push(format!("{path}:{}: no program has the {what} {name}", index + 1));
            };
            for name in words(line, "ROLLMILL_") {
                if !variables.contains(name) && !VARIABLES.contains(&name) {
                    wrong("variable", name);
                }
            }
            for name in words(line, "rollmill_") {
                if !metrics.contains(name) {
                    wrong("metric", name);
                }
            }
            // A line may have flags of other programs before ours, but not after.
            if let Some((_, ours)) = line.split_once(PREFIX) {
                for name in words(ours, "--") {
                    if !flags.contains(name) {
                        wrong("flag", name);
                    }
                }
            }
        }
    }
    findings
}

/// The words of a text that start so.
fn words<'a>(text: &'a str, start: &str) -> BTreeSet<&'a str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.split(|c: char| !is_part(c))
        .filter(|word| word.len() > start.len() && word.starts_with(start))
        .map(|word| word.trim_end_matches('-'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Findings {
        check(&Tree::of(&[
            (COMMANDS, "      --listen <HOST:PORT>\n          [env: ROLLMILL_BROKER_LISTEN]\n"),
            (METRICS, "| `rollmill_broker_queue_jobs` | gauge |"),
            (path, text),
        ]))
    }

    /// Goal: a renamed flag, variable or metric fails in each file that an operator copies.
    #[test]
    fn names_that_no_program_has_are_found() {
        let right = "rollmill-broker --listen 1 # ROLLMILL_BROKER_LISTEN ROLLMILL_CACHE\nsum(rollmill_broker_queue_jobs)\ntar --file x\n";
        for path in
            ["deploy/compose/compose.yaml", "deploy/container/Containerfile", "docs/operate.md"]
        {
            assert_eq!(found(path, right), Findings::new());
            for wrong in [
                "ROLLMILL_BROKER_LISTENS: 1",
                "sum(rollmill_broker_jobs)",
                "rollmill-broker --listens 1",
            ] {
                let found = found(path, &format!("{right}{wrong}\n"));
                assert!(
                    found.len() == 1 && found[0].starts_with(&format!("{path}:4: ")),
                    "{found:?}"
                );
            }
        }
        assert_eq!(found("README.md", "rollmill-broker --listens 1"), Findings::new());
    }
}
