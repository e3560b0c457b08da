//! Part of `cargo xtask tidy`: what an operator copies names only flags, variables and metrics that exist, and shows no
//! password in the arguments of a process.
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

/// Programs of PostgreSQL. Every user of a machine can read the arguments that they are started with.
const CLIENTS: &[&str] = &["psql", "pg_dump", "pg_restore"];

/// Names that no program has, and passwords among arguments.
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
            if passes_a_password(line) {
                let rule = "pass a URL without password, and name a file in PGPASSFILE";
                findings.push(format!("{path}:{}: {rule}", index + 1));
            }
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

/// Whether a program of PostgreSQL is started with the password of a database, or with the URL that has it.
fn passes_a_password(line: &str) -> bool {
    let is_client = line.split_whitespace().any(|word| CLIENTS.contains(&word));
    let has_password = |rest: &str| {
        rest.split_once('@').is_some_and(|(user, _)| user.contains(':') && !user.contains(' '))
    };
    is_client && (line.contains("database-url") || line.split("://").skip(1).any(has_password))
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

    /// Goal: no user of a machine reads the password of the database in its list of processes.
    #[test]
    fn passwords_among_arguments_are_found() {
        for right in [
            "psql --quiet postgres://rollmill@127.0.0.1/rollmill --command 'SELECT 1'",
            "install -m 640 /dev/stdin /etc/database-url <<< 'postgres://rollmill:PASSWORD@127.0.0.1/rollmill'",
        ] {
            assert_eq!(found("docs/operate.md", right), Findings::new());
        }
        for wrong in [
            "pg_dump --format=custom \"$(cat /etc/database-url)\"",
            "sudo -u rollmill psql postgres://rollmill:secret@127.0.0.1/rollmill",
            "pg_restore --dbname=\"$(cat /etc/database-url)\" broker.dump",
        ] {
            let found = found("docs/operate.md", wrong);
            assert!(found.len() == 1 && found[0].ends_with("PGPASSFILE"), "{wrong}: {found:?}");
        }
    }
}
