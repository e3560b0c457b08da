//! Part of `cargo xtask tidy`: a text that names a program or a crate names one that exists, and a command of
//! a program is one that the program has.

use std::collections::BTreeSet;

use crate::Findings;
use crate::deps::PREFIX;
use crate::tree::Tree;

/// The page with the help of each program and of its subcommands, which a test compares with the programs.
const COMMANDS: &str = "docs/cli.md";
/// Endings of files that name programs.
const TEXTS: &[&str] = &[".rs", ".md", ".toml", ".sh", ".yml", ".service"];
/// Files that name what was, or what a test makes up.
const EXCEPT: &[&str] = &["CHANGELOG.md", "xtask/src/names.rs"];

/// Names in back quotes of programs, crates and commands that do not exist.
pub(crate) fn check(tree: &Tree) -> Findings {
    let names = names(tree);
    let commands = commands(tree);
    let mut findings = Findings::new();
    let is_text =
        |path: &str| TEXTS.iter().any(|ending| path.ends_with(ending)) && !EXCEPT.contains(&path);
    for file in tree.files.iter().filter(|file| is_text(&file.path)) {
        for (index, line) in file.text.lines().enumerate() {
            let quoted = line.split('`').skip(1).filter_map(|part| wrong(part, &names, &commands));
            let built = line.split("--bin ").skip(1).filter_map(|part| wrong_bin(part, &names));
            for finding in quoted.chain(built) {
                findings.push(format!("{}:{}: {finding}", file.path, index + 1));
            }
        }
    }
    findings
}

/// The crates and programs that the manifests name.
fn names(tree: &Tree) -> BTreeSet<&str> {
    let manifests = tree.files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    manifests
        .flat_map(|file| file.text.lines())
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| name.starts_with(PREFIX))
        .collect()
}

/// The programs and their commands, such as `rollmill-broker tokens`.
fn commands(tree: &Tree) -> BTreeSet<String> {
    let text = tree.text(COMMANDS).unwrap_or_default();
    let titles = text.lines().filter(|line| line.starts_with("##"));
    titles
        .map(|line| line.trim_start_matches('#').trim())
        .filter(|title| title.starts_with(PREFIX))
        .map(|title| title.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect()
}

/// What is wrong with a text that starts in back quotes.
fn wrong(quoted: &str, names: &BTreeSet<&str>, commands: &BTreeSet<String>) -> Option<String> {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let end = quoted.find(|c| !part(c)).unwrap_or(quoted.len());
    let (name, rest) = quoted.split_at(end);
    let word = |text: &str| {
        let text = text.strip_prefix(' ')?;
        let end = text.find(|c: char| !part(c)).unwrap_or(text.len());
        let is_command = text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text[end..].starts_with(|c: char| c.is_alphanumeric() || "_/.:".contains(c));
        is_command.then(|| text[..end].to_owned())
    };
    if !name.starts_with(PREFIX) {
        // The name of a program without its prefix, with one of its commands or flags.
        let full = format!("{PREFIX}{name}");
        let command = word(rest).map(|word| format!("{full} {word}"));
        let is_program = commands.contains(&full);
        let is_used =
            command.is_some_and(|command| commands.contains(&command)) || rest.starts_with(" --");
        return (is_program && is_used).then(|| format!("`{name}` is installed as `{full}`"));
    }
    // A file, or the end of a name that a value completes.
    if name == PREFIX || rest.starts_with(['.', '_', '{', '*']) {
        return None;
    }
    if !names.contains(name) {
        return Some(format!("there is no program and no crate `{name}`"));
    }
    let command = word(rest).map(|word| format!("{name} {word}"))?;
    let is_wrong = commands.contains(name) && !commands.contains(&command);
    is_wrong.then(|| format!("`{command}` is no command; {COMMANDS} lists the commands of {name}"))
}

/// What is wrong with the name of a program that follows `--bin`.
fn wrong_bin(text: &str, names: &BTreeSet<&str>) -> Option<String> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(text.len());
    let name = &text[..end];
    // A word in capitals, a variable and a value in braces are filled in.
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase());
    (is_name && !names.contains(name)).then(|| format!("there is no program `{name}` to build"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_crate_or_command_that_does_not_exist_is_named() {
        let found = |text: &str| {
            check(&Tree::of(&[
                ("broker/Cargo.toml", "name = \"rollmill-broker\"\n"),
                ("net/Cargo.toml", "name = \"rollmill-net\"\n"),
                (COMMANDS, "## rollmill-broker\n### rollmill-broker tokens add\n"),
                ("broker/src/error.rs", text),
            ]))
        };
        for right in [
            "`rollmill-broker`",
            "`rollmill-broker --url URL`, `rollmill-broker tokens`",
            "`rollmill-broker tokens add`, `rollmill-broker COMMAND`",
            "`rollmill-net`, `rollmill-net/feature`, `rollmill-gpu.tar.gz`, `rollmill-VERSION`",
            "cargo run --bin rollmill-broker, --bin NAME, --bin {program}",
            "the `broker` crate, `broker/client`, `broker ready`, rollmill-ghost",
        ] {
            assert_eq!(found(right), Findings::new(), "{right}");
        }
        for (wrong, what) in [
            ("`rollmill-brokr`", "no program and no crate `rollmill-brokr`"),
            ("run `rollmill-agent keys`", "no program and no crate `rollmill-agent`"),
            ("`rollmill-broker token`", "`rollmill-broker token` is no command"),
            ("`broker tokens add`", "`broker` is installed as `rollmill-broker`"),
            ("`broker --url URL`", "`broker` is installed as `rollmill-broker`"),
            ("cargo run --bin broker &", "no program `broker` to build"),
        ] {
            let findings = found(&format!("\n/// Do: {wrong}.\n"));
            assert_eq!(findings.len(), 1, "{wrong}: {findings:?}");
            assert!(findings[0].starts_with("broker/src/error.rs:2: "), "{findings:?}");
            assert!(findings[0].contains(what), "{findings:?}");
        }
    }
}
