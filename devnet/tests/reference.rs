//! The pages about command lines and settings, and the sample files, are what the programs print.
//!
//! `ROLLMILL_BLESS=1` writes them again.

use std::path::{Path, PathBuf};
use std::process::Command;

use rollmill_devnet::Programs;

/// The programs with settings, in the order of the pages.
const SERVICES: &[&str] = &[
    "rollmill-broker",
    "rollmill-agent",
    "rollmill-sequencer",
    "rollmill-prover-node",
    "rollmill-pxe",
    "rollmill-l1",
];

const BLESS: &str = "ROLLMILL_BLESS=1 cargo test --workspace --features \
                     rollmill-service/failpoints --test all reference";

fn program(name: &str) -> PathBuf {
    Programs::beside(Path::new(env!("CARGO_BIN_EXE_rollmill-devnet"))).own(name).unwrap()
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

/// The help texts of a program and of its subcommands, each with the words that ask for it.
fn help_pages(program: &str, words: &[String], out: &mut Vec<(Vec<String>, String)>) {
    let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    arguments.push("--help");
    let text = printed(program, &arguments);
    let names: Vec<String> = subcommands(&text).into_iter().map(str::to_owned).collect();
    out.push((words.to_vec(), text));
    for name in names {
        help_pages(program, &[words, &[name]].concat(), out);
    }
}

/// The help of a program and of its subcommands, with theirs, as sections of Markdown.
fn help(program: &str, shown: &str, out: &mut String) {
    let mut pages = Vec::new();
    help_pages(program, &[], &mut pages);
    for (words, text) in pages {
        let title = [&[shown.to_owned()], &words[..]].concat().join(" ");
        let head = if words.is_empty() { "##" } else { "###" };
        let text = if words.is_empty() { text } else { without_common(shown, &words, &text) };
        out.push_str(&format!("{head} {title}\n\n```text\n{}\n```\n\n", text.trim_end()));
    }
}

/// The help of a subcommand without the settings that every subcommand has, or that the program's own help
/// lists above.
fn without_common(program: &str, words: &[String], text: &str) -> String {
    let has_all = ["check", "config", "serve"].contains(&words[0].as_str());
    let mut out = String::new();
    let mut is_kept = true;
    for line in text.lines() {
        if let Some(heading) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            is_kept = match heading {
                "Arguments" | "Commands" | "Options" => true,
                "Service" | "Logging" => false,
                _ => !has_all,
            };
        }
        if is_kept {
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    match has_all {
        true => format!("{}\n\nSettings: all of `{program}`.\n", out.trim_end()),
        false => out,
    }
}

/// Every page with its path from the repository's root.
fn pages() -> Vec<(String, String)> {
    let generated =
        "<!-- Generated from the programs by devnet/tests/reference.rs. Do not edit. -->";
    let mut lines = format!(
        "# Command lines\n\n{generated}\n\n\
         What each program prints with `--help`. A subcommand lists the settings that it uses and accepts all of \
         them, so that it can run with the settings file of its server. `--config` and the settings of logs, which \
         every subcommand has, are listed with the program only. [Settings](config.md) has all settings by key.\n\n\
         Exit codes: 0 success, 1 failure, 2 invalid command line or setting; some commands have further ones, which \
         their help names.\n\n"
    );
    for name in SERVICES {
        help(name, name, &mut lines);
    }
    help("rollmill-bench", "rollmill-bench", &mut lines);
    help("rollmill-capacity", "rollmill-capacity", &mut lines);
    help("rollmill-devnet", "rollmill-devnet", &mut lines);
    help("rollmill-noir", "rollmill-noir", &mut lines);
    help("rollmill-xtask", "cargo xtask", &mut lines);
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
    let trimmed = |text: String| {
        let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
        format!("{}\n", lines.join("\n"))
    };
    pages.push(("docs/cli.md".to_owned(), lines));
    pages.push(("docs/config.md".to_owned(), settings));
    pages.into_iter().map(|(path, text)| (path, trimmed(text))).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Goal: the pages name no flag, bound or default that the programs do not have.
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
        let sample = folder.path().join(format!("{name}-sample.toml"));
        let text = printed(name, &["config", "--sample"]);
        std::fs::write(&sample, &text).unwrap();
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

/// What the values of options are called, with the kinds of those that are numbers.
const VALUE_NAMES: &[&str] = &[
    "ADDRESS",
    "ADDRESS,...",
    "ADDRESS=URL,...",
    "AZT",
    "BLOCKSxTXS",
    "BOOL",
    "DEVICE",
    "DIR",
    "EPOCH",
    "FILE",
    "FILE=USD",
    "FILTER",
    "FORMAT",
    "FROM..TO",
    "FUNCTION",
    "HASH",
    "HEX",
    "HOST,...",
    "HOST:PORT",
    "IP:PORT",
    "JSON",
    "KEY",
    "KIND",
    "LIST",
    "N,...",
    "NAME",
    "NAME=VALUE",
    "ORIGIN,...",
    "OUTCOME",
    "PART",
    "PATH",
    "PAYER",
    "POLICY",
    "SET",
    "SOURCE",
    "STAGE",
    "STATE",
    "TENANT/NAME=VALUE,...",
    "TEXT",
    "URL",
    "WHERE",
    "URL,...",
    "URL[=file:PATH|env:NAME],...",
    "USD",
    "file:PATH|env:NAME",
];
const NUMBERS: &[&str] = &[
    "BITS",
    "BLOCK",
    "BLOCKS",
    "BPS",
    "BYTES",
    "CENTS",
    "DAYS",
    "EPOCH",
    "GWEI",
    "ID",
    "LOG",
    "MIB",
    "MILLISECONDS",
    "MINUTES",
    "N",
    "PERCENT",
    "SECONDS",
    "SEED",
    "SLOTS",
];

/// An option as a help text shows it.
#[derive(Debug)]
struct Shown {
    heading: String,
    flag: String,
    value: Option<String>,
    help: String,
}

fn options(text: &str) -> Vec<Shown> {
    let (mut heading, mut out) = ("", Vec::<Shown>::new());
    for line in text.lines() {
        let option = line.trim_start().trim_start_matches("-h, ").trim_start_matches("-V, ");
        if !line.starts_with(' ') && line.ends_with(':') {
            heading = line.trim_end_matches(':');
        } else if !line.starts_with("          ") && option.starts_with("--") {
            // The short form has the help on the same line.
            let (option, help) = option.split_once("  ").unwrap_or((option, ""));
            let (flag, value) = match option.split_once([' ', '[']) {
                Some((flag, value)) => (flag, Some(value)),
                None => (option, None),
            };
            let value = value.and_then(|value| value.split(['<', '>']).nth(1));
            out.push(Shown {
                heading: heading.to_owned(),
                flag: flag.trim_start_matches("--").to_owned(),
                value: value.map(str::to_owned),
                help: help.trim().to_owned(),
            });
        } else if line.starts_with("          ")
            && let Some(last) = out.last_mut()
        {
            last.help.push(' ');
            last.help.push_str(line.trim());
        } else if !line.is_empty() {
            // Commands and arguments.
            heading = if line.starts_with(' ') { heading } else { "" };
        }
    }
    out
}

/// What an option's help lacks. `program` is that of a setting, which has a variable and a heading.
fn lacks(option: &Shown, usage: &str, program: Option<&str>) -> Vec<&'static str> {
    let help = option.help.trim();
    let mut lacks = Vec::new();
    let mut require = |holds: bool, what| {
        if !holds {
            lacks.push(what);
        }
    };
    require(help.starts_with(|c: char| c.is_ascii_uppercase()), "a sentence in its help");
    if let Some(value) = option.value.as_deref() {
        let is_number = NUMBERS.contains(&value);
        require(is_number || VALUE_NAMES.contains(&value), "a value name that says what it is");
        let digit = |c: char| c.is_ascii_digit();
        let is_bounded = help.split('[').any(|part| {
            part.split_once(" to ").is_some_and(|(from, to)| {
                !from.is_empty() && from.chars().all(digit) && to.starts_with(digit)
            })
        });
        require(!is_number || is_bounded, "the bounds of its number");
        let has_default = help.contains("[default: ") || help.contains("required");
        let is_required = usage.contains(&format!("--{} <", option.flag));
        require(has_default || is_required, "its default in words");
    }
    if let Some(program) = program {
        let name = format!("{program}_{}", option.flag).to_uppercase().replace('-', "_");
        require(help.contains(&format!("[env: ROLLMILL_{name}]")), "its environment variable");
        require(option.heading != "Options", "a heading");
    }
    lacks
}

/// Goal: a person learns from the help text what each option takes, in which unit, within which bounds, what holds
/// if it is left out, and how to set it in the environment.
#[test]
fn every_option_shows_its_value_unit_bounds_default_variable_and_heading() {
    let mut found = Vec::new();
    let mut seen = 0;
    let others = [
        "rollmill-bench",
        "rollmill-capacity",
        "rollmill-devnet",
        "rollmill-noir",
        "rollmill-xtask",
    ];
    for name in SERVICES.iter().copied().chain(others) {
        let mut pages = Vec::new();
        help_pages(name, &[], &mut pages);
        for (words, text) in pages {
            let usage = text.lines().find(|line| line.starts_with("Usage:")).unwrap_or_default();
            for option in options(&text) {
                // clap's own, and the own arguments of a subcommand.
                let is_own = ["help", "version"].contains(&option.flag.as_str())
                    || (option.heading == "Options" && !words.is_empty());
                let of = match name {
                    "rollmill-capacity" | "rollmill-devnet" | "rollmill-xtask" => None,
                    "rollmill-bench" | "rollmill-noir" => Some("agent"),
                    name => name.strip_prefix("rollmill-"),
                };
                let lacks = lacks(&option, usage, of.filter(|_| !is_own));
                seen += 1;
                found.extend(lacks.iter().map(|what| {
                    format!("{name} {}: --{} lacks {what}", words.join(" "), option.flag)
                }));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(seen > 200, "{seen}");
}

/// Goal: the check above finds each part that may be missing.
#[test]
fn a_help_text_without_one_of_its_parts_is_found() {
    let whole = "Usage: x\n\nJobs:\n      --lease-seconds <SECONDS>\n          Lease duration [1 to 9]\n          \n\
                 \u{20}         [env: ROLLMILL_BROKER_LEASE_SECONDS]\n          [default: 30]\n";
    let of = |text: &str| lacks(&options(text)[0], "Usage: x", Some("broker"));
    assert_eq!(of(whole), Vec::<&str>::new());
    let short = "Usage: x\n\nJobs:\n      --lease-seconds <SECONDS>  Lease duration [1 to 9] \
                 [env: ROLLMILL_BROKER_LEASE_SECONDS] [default: 30]\n";
    assert_eq!(of(short), Vec::<&str>::new());
    for (part, other, what) in [
        ("Lease duration", "", "a sentence in its help"),
        ("<SECONDS>", "<LEASE_SECONDS>", "a value name that says what it is"),
        ("[1 to 9]", "", "the bounds of its number"),
        ("[default: 30]", "", "its default in words"),
        ("[env: ROLLMILL_BROKER_LEASE_SECONDS]", "", "its environment variable"),
        ("Jobs:", "Options:", "a heading"),
    ] {
        assert_eq!(of(&whole.replace(part, other)), [what]);
    }
}
