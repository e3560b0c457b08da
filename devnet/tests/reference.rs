//! The pages about command lines and settings, and the sample files, are what the programs print.
//!
//! `ROLLMILL_BLESS=1` writes them again.

use std::path::{Path, PathBuf};
use std::process::Command;

use rollmill_devnet::Programs;

/// The programs with settings, in the order of the pages.
const SERVICES: &[&str] = &["broker", "agent", "sequencer", "prover-node", "pxe"];

const BLESS: &str = "ROLLMILL_BLESS=1 cargo test --workspace --features \
                     rollmill-service/failpoints --test reference";

fn program(name: &str) -> PathBuf {
    Programs::beside(Path::new(env!("CARGO_BIN_EXE_devnet"))).own(name).unwrap()
}

/// What the program prints, without the environment of the test.
fn printed(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program(name));
    let output = command.args(arguments).env_clear().output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{name} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names of the subcommands that a help text lists, without clap's own `help`.
fn subcommands(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = lines.take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

/// The help of a program and of its subcommands, with theirs, as sections of Markdown.
fn help(program: &str, shown: &str, words: &[&str], out: &mut String) {
    let text = printed(program, &[words, &["--help"]].concat());
    let title = [&[shown], words].concat().join(" ");
    let head = if words.is_empty() { "##" } else { "###" };
    out.push_str(&format!("{head} {title}\n\n```text\n{}\n```\n\n", text.trim_end()));
    for name in subcommands(&text) {
        help(program, shown, &[words, &[name]].concat(), out);
    }
}

/// Every page with its path from the repository's root.
fn pages() -> Vec<(String, String)> {
    let generated =
        "<!-- Generated from the programs by devnet/tests/reference.rs. Do not edit. -->";
    let mut lines = format!(
        "# Command lines\n\n{generated}\n\n\
         What each program prints with `--help`. A subcommand lists the settings that it uses and accepts all of \
         them, so that it can run with the settings file of its server. [Settings](config.md) has the same settings \
         by key.\n\n\
         Exit codes: 0 success, 1 failure, 2 invalid command line or setting; some commands have further ones, which \
         their help names.\n\n"
    );
    for name in SERVICES {
        help(name, name, &[], &mut lines);
    }
    help("rollmill-bench", "rollmill-bench", &[], &mut lines);
    help("devnet", "devnet", &[], &mut lines);
    help("rollmill-xtask", "cargo xtask", &[], &mut lines);
    let mut settings = format!(
        "# Settings\n\n{generated}\n\n\
         A flag overrides the environment variable, which overrides the settings file, which overrides the default. \
         The file is TOML; an unknown key is an error. `PROGRAM config` prints the effective settings, \
         `PROGRAM config --sample` a file with every key.\n\n\
         A secret is never written literally: `file:PATH` names a file that holds it, `env:NAME` an environment \
         variable.\n\n"
    );
    let mut pages = Vec::new();
    for name in SERVICES {
        settings.push_str(&printed(name, &["config", "--markdown"]));
        pages.push((format!("docs/config/{name}.toml"), printed(name, &["config", "--sample"])));
    }
    let trimmed = |text: String| format!("{}\n", text.trim_end());
    pages.push(("docs/cli.md".to_owned(), trimmed(lines)));
    pages.push(("docs/config.md".to_owned(), trimmed(settings)));
    pages.into_iter().map(|(path, text)| (path, trimmed(text))).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Goal: nobody reads of a flag, a bound or a default that the programs do not have.
#[test]
fn the_pages_and_samples_are_what_the_programs_print() {
    let bless = std::env::var_os("ROLLMILL_BLESS").is_some();
    let mut differing = Vec::new();
    for (path, text) in pages() {
        let file = root().join(&path);
        if std::fs::read_to_string(&file).is_ok_and(|written| written == text) {
            continue;
        }
        if bless {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        } else {
            differing.push(path);
        }
    }
    assert!(differing.is_empty(), "{differing:?} differ; build the programs and run {BLESS}");
}

/// Goal: a person can start from a sample as it is, and from one with any key uncommented.
#[test]
fn every_sample_file_is_read_by_its_program_as_its_defaults() {
    let folder = tempfile::tempdir().unwrap();
    for name in SERVICES {
        let sample = root().join(format!("docs/config/{name}.toml"));
        let text = std::fs::read_to_string(&sample).unwrap();
        let set = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') && !rest.ends_with('=') => rest.to_owned(),
            _ => line.to_owned(),
        };
        let all: Vec<String> = text.lines().map(set).collect();
        let uncommented = folder.path().join(format!("{name}.toml"));
        std::fs::write(&uncommented, all.join("\n")).unwrap();
        let defaults = printed(name, &["config"]);
        for path in [&sample, &uncommented] {
            let path = path.to_str().unwrap();
            assert_eq!(printed(name, &["--config", path, "config"]), defaults, "{path}");
        }
    }
}

/// Goal: a person learns from the help text what each option takes, in which unit and within which bounds.
#[test]
fn every_option_has_a_help_text_and_every_number_its_bounds() {
    for name in SERVICES.iter().copied().chain(["devnet"]) {
        let mut text = String::new();
        help(name, name, &[], &mut text);
        assert!(!text.contains("<VALUE>"), "{name}: an option without a value name");
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let is_option = line.trim_start().starts_with("--");
            if !is_option {
                continue;
            }
            let help = lines[i + 1].trim();
            let starts = help.chars().next().is_some_and(|c| c.is_ascii_uppercase());
            assert!(starts, "{name}: {line}: {help}");
            let units = ["<N>", "<SECONDS>", "<MILLISECONDS>", "<BYTES>", "<MIB>", "<BLOCKS>"];
            if units.iter().any(|unit| line.contains(unit)) {
                let rest = lines[i + 1..].iter().take_while(|line| !line.is_empty());
                let rest: Vec<&str> = rest.copied().collect();
                let digit = |c: char| c.is_ascii_digit();
                let bounded = rest.join(" ").split('[').any(|part| {
                    part.split_once(" to ")
                        .is_some_and(|(from, to)| from.chars().all(digit) && to.starts_with(digit))
                });
                assert!(bounded, "{name}: {line}: {rest:?}");
            }
        }
    }
}
