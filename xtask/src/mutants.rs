//! `cargo xtask mutants`: takes out one check at a time and requires a test to notice.
//!
//! A mutant is a switch of the registry ([`crate::switches`]). The test programs are built once with the
//! feature `weaken`; then, for each name, they run with the name in the environment until one fails. Only
//! tests of properties run: one that compares with stored bytes fires on every deliberate change and is then
//! written anew, so it holds nothing.
//!
//! Reported are the mutants and, for each, the test that fails first. A mutant that every test passes is a
//! survivor and a finding, unless its switch says why its loss is harmless; then a test that notices is one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rollmill_plonk::weaken::{Switch, VARIABLE};

use crate::{Findings, switches};

/// A test program, and which of its tests run.
#[derive(Debug, Clone, Copy)]
struct Program {
    package: &'static str,
    /// A name under `tests/`, or `lib` for the tests beside the code.
    target: &'static str,
    /// Tests that run; all when empty.
    only: &'static [&'static str],
    /// Tests that do not run: they compare with stored bytes, or take long and hold nothing more.
    skip: &'static [&'static str],
}

const fn program(package: &'static str, target: &'static str) -> Program {
    Program { package, target, only: &[], skip: &[] }
}

const fn only(mut program: Program, tests: &'static [&'static str]) -> Program {
    program.only = tests;
    program
}

const PLONK: &str = "rollmill-plonk";
const CIRCUITS: &str = "rollmill-circuits";

/// Programs by set, in the order in which they run: those first that most mutants fail in.
const PROGRAMS: &[(&str, &[Program])] = &[
    (
        "gates",
        &[
            only(program(PLONK, "statements"), &["each_false_statement_is_refused"]),
            program(PLONK, "statements"),
            program(PLONK, "builder"),
        ],
    ),
    ("zk", &[program(PLONK, "blinding")]),
    ("transcript", &[program(PLONK, "transcript")]),
    (
        "verifier",
        &[
            program(PLONK, "refusals"),
            program(PLONK, "builder"),
            program(PLONK, "statements"),
            only(
                program(PLONK, "solidity"),
                &["forgeries_and_cheats_are_refused_by_the_native_verifier"],
            ),
        ],
    ),
    (
        "srs",
        &[
            program(PLONK, "doors"),
            program(PLONK, "srs"),
            program(PLONK, "ptau"),
            only(program(PLONK, "lib"), &["srs::"]),
        ],
    ),
    ("keys", &[program(CIRCUITS, "maker")]),
    (
        "solidity",
        &[only(program(PLONK, "solidity"), &["the_solidity_verifier_agrees_with_the_native_one"])],
    ),
    (
        "gadgets",
        &[
            program(CIRCUITS, "gadgets"),
            program(CIRCUITS, "curve"),
            program(CIRCUITS, "client"),
            program(CIRCUITS, "tx"),
            program(CIRCUITS, "blocks"),
            program(CIRCUITS, "recursion"),
        ],
    ),
];

/// The sets that run when none is named.
const USUAL: [&str; 6] = ["gates", "zk", "transcript", "verifier", "srs", "keys"];
/// Longest time of one test program under a mutant. One that hangs has noticed.
const SECONDS_MAX: u64 = 600;

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// A test failed: its name, or that the program did not end.
    Noticed(String),
    Survived,
}

/// Runs the sets named, all sets of `make test` when none is, and of these the mutants whose names hold
/// `only`.
pub(crate) fn run(root: &Path, sets: &[String], only: Option<&str>) -> anyhow::Result<Findings> {
    let sets: Vec<&str> = match sets.iter().map(String::as_str).collect::<Vec<_>>() {
        sets if sets.is_empty() => USUAL.to_vec(),
        sets if sets == ["all"] => PROGRAMS.iter().map(|(set, _)| *set).collect(),
        sets => sets,
    };
    let mut chosen: Vec<(Switch, &[Program])> = Vec::new();
    for set in sets {
        let Some((_, programs)) = PROGRAMS.iter().find(|(name, _)| *name == set) else {
            let known: Vec<_> = PROGRAMS.iter().map(|(name, _)| *name).collect();
            bail!("there is no set `{set}`; there are {} and `all`", known.join(", "));
        };
        let of_set = switches::all().into_iter().filter(|switch| switch.set() == set);
        let wanted = of_set.filter(|switch| only.is_none_or(|part| switch.name.contains(part)));
        chosen.extend(wanted.map(|switch| (switch, *programs)));
    }
    let needed: BTreeSet<(&str, &str)> = chosen
        .iter()
        .flat_map(|(_, programs)| programs.iter().map(|program| (program.package, program.target)))
        .collect();
    let built = build(root, &needed)?;
    let started = Instant::now();

    // Without a mutant all must pass, or a failure would mean nothing.
    let mut findings = Findings::new();
    let mut seen = BTreeSet::new();
    for (switch, programs) in &chosen {
        if seen.insert(switch.set().to_owned())
            && let Fate::Noticed(test) = fate(root, "", programs, &built)?
        {
            findings.push(format!("{}: `{test}` fails without any mutant", switch.set()));
        }
    }
    if !findings.is_empty() {
        return Ok(findings);
    }

    let next = AtomicUsize::new(0);
    let fates: Mutex<Vec<Option<anyhow::Result<Fate>>>> =
        Mutex::new(chosen.iter().map(|_| None).collect());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((switch, programs)) = chosen.get(at) else { return };
                    let fate = fate(root, &switch.name, programs, &built);
                    let mut fates = fates.lock().unwrap_or_else(PoisonError::into_inner);
                    fates[at] = Some(fate);
                }
            });
        }
    });
    let fates = fates.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut noticed, mut harmless) = (0, 0);
    for ((switch, _), fate) in chosen.iter().zip(fates) {
        let fate = fate.with_context(|| format!("{} did not run", switch.name))??;
        match (&fate, switch.harmless) {
            (Fate::Noticed(test), None) => {
                noticed += 1;
                println!("{:<44} {test}", switch.name);
            }
            (Fate::Survived, Some(why)) => {
                harmless += 1;
                println!("{:<44} harmless: {why}", switch.name);
            }
            (Fate::Noticed(test), Some(_)) => findings.push(format!(
                "{}: `{test}` notices its loss, so it is not harmless; say so in the registry",
                switch.name
            )),
            (Fate::Survived, None) => findings.push(format!(
                "{}: no test notices its loss; write one, or say in the registry why it is harmless",
                switch.name
            )),
        }
    }
    println!(
        "{} mutants: {noticed} noticed, {harmless} harmless, {} survived, in {:.0} s",
        chosen.len(),
        chosen.len() - noticed - harmless,
        started.elapsed().as_secs_f64()
    );
    Ok(findings)
}

/// Where each test program lies: by package and target.
type Built = BTreeMap<(String, String), PathBuf>;

fn build(root: &Path, needed: &BTreeSet<(&str, &str)>) -> anyhow::Result<Built> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut built = Built::new();
    let packages: BTreeSet<&str> = needed.iter().map(|(package, _)| *package).collect();
    for package in packages {
        let mut command = Command::new(&cargo);
        command
            .args(["test", "--locked", "--no-run", "--features", "weaken", "--package", package])
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(root);
        for (_, target) in needed.iter().filter(|(of, _)| *of == package) {
            match *target {
                "lib" => command.arg("--lib"),
                name => command.args(["--test", name]),
            };
        }
        let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("the tests of {package} do not build with the feature `weaken`");
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let message: serde_json::Value = serde_json::from_str(line)?;
            let (Some(program), Some(name)) =
                (message["executable"].as_str(), message["target"]["name"].as_str())
            else {
                continue;
            };
            let is_lib = message["target"]["kind"][0] == "lib";
            let target = if is_lib { "lib" } else { name };
            built.insert((package.to_owned(), target.to_owned()), PathBuf::from(program));
        }
    }
    Ok(built)
}

/// Runs the programs under a mutant until one fails.
fn fate(root: &Path, name: &str, programs: &[Program], built: &Built) -> anyhow::Result<Fate> {
    for program in programs {
        let key = (program.package.to_owned(), program.target.to_owned());
        let path = built.get(&key).with_context(|| format!("{key:?} was not built"))?;
        let mut command = Command::new(path);
        command.args(program.only).env(VARIABLE, name).env("RUST_BACKTRACE", "0");
        program.skip.iter().for_each(|test| {
            command.args(["--skip", test]);
        });
        if name.is_empty() {
            command.env_remove(VARIABLE);
        }
        // A test reads its fixtures from its package's folder.
        let folder = program.package.trim_start_matches("rollmill-");
        command.current_dir(root.join(folder)).stdin(Stdio::null());
        if let Some(test) = failed(command)? {
            return Ok(Fate::Noticed(format!("{}::{test}", program.target)));
        }
    }
    Ok(Fate::Survived)
}

/// The first test that failed, if one did.
fn failed(mut command: Command) -> anyhow::Result<Option<String>> {
    let (mut reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut child = command
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .context("cannot run a test program")?;
    // The command holds the pipe's writing end; while it lives, reading never ends.
    drop(command);
    let read = std::thread::spawn(move || {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut text).map(|_| text)
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > Duration::from_secs(SECONDS_MAX) {
            child.kill()?;
            child.wait()?;
            return Ok(Some(format!("(no end within {SECONDS_MAX} s)")));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    if status.success() {
        return Ok(None);
    }
    let text =
        read.join().map_err(|_| anyhow::anyhow!("cannot read a test program's output"))??;
    let text = String::from_utf8_lossy(&text);
    if text.contains("do not compile") {
        bail!("a mutant of the contracts does not compile: {text}");
    }
    let test =
        text.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    Ok(Some(test.unwrap_or("(the program ended)").to_owned()))
}
