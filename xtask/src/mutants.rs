//! `cargo xtask mutants`: takes out one check at a time and requires a test to notice.
//!
//! A mutant is a switch of the registry ([`crate::switches`]). The test programs are built once with the
//! feature `weaken`; then, for each name, they run with the name in the environment until one fails. Only
//! tests of properties run: one that compares with stored bytes fires on every deliberate change and is then
//! written anew, so it holds nothing.
//!
//! Reported are the mutants and, for each, a test that fails. A mutant that every test passes is a
//! survivor and a finding, unless its switch says why its loss is harmless; then a test that notices
//! the loss is a finding. With `--write` the results go into `docs/book/mutants.md`, which `cargo xtask
//! tidy` compares with the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rollmill_plonk::weaken::{Switch, VARIABLE};

use crate::{Findings, switches};

pub(crate) mod page;

/// Tests of one file, and which of them run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Program<'a> {
    package: &'static str,
    /// A file under `tests/`, which is a module of the program `all`, or `lib` for the tests beside the code.
    target: &'static str,
    /// Starts of the names of tests that run, without the module of `all`; all when empty.
    only: &'static [&'static str],
    /// Tests that do not run: they compare with stored bytes, or take long and hold nothing more.
    skip: &'static [&'static str],
    /// The one test that runs, if it is one.
    exactly: Option<&'a str>,
}

impl Program<'_> {
    /// Folder of its package.
    fn folder(&self) -> &'static str {
        self.package.trim_start_matches("rollmill-")
    }

    /// Name of the test program that holds its tests.
    fn binary(&self) -> &'static str {
        if self.target == LIB { LIB } else { ALL }
    }

    /// What its tests' names start with in that program.
    fn module(&self) -> String {
        if self.target == LIB { String::new() } else { format!("{}::", self.target) }
    }

    /// What the program is to be asked for: names of tests hold one of these, or are the one.
    fn filters(&self) -> Vec<String> {
        let module = self.module();
        match (self.exactly, self.only) {
            (Some(test), _) => vec!["--exact".to_owned(), format!("{module}{test}")],
            (None, []) if module.is_empty() => Vec::new(),
            (None, []) => vec![module],
            (None, only) => only.iter().map(|test| format!("{module}{test}")).collect(),
        }
    }
}

const fn program(package: &'static str, target: &'static str) -> Program<'static> {
    Program { package, target, only: &[], skip: &[], exactly: None }
}

const fn only(mut program: Program<'static>, tests: &'static [&'static str]) -> Program<'static> {
    program.only = tests;
    program
}

const fn skip(mut program: Program<'static>, tests: &'static [&'static str]) -> Program<'static> {
    program.skip = tests;
    program
}

/// The program of the tests beside the code.
const LIB: &str = "lib";
/// The program of the tests under `tests/`.
const ALL: &str = "all";
const PLONK: &str = "rollmill-plonk";
const CIRCUITS: &str = "rollmill-circuits";
/// Tests that count rows, which change with every constraint.
const ROW_COUNTS: &[&str] = &["an_evaluation_takes_as_many_rows_as_the_budget_says"];
/// Under a mutant it asks only that no more unknowns may be chosen than without: that the circuit has other
/// rows or fewer equations does not make it fail.
const ANALYSIS: Program<'static> = program(CIRCUITS, "analysis");

/// Programs by what a switch's name starts with, in the order in which they run: the quick ones first. The
/// longest start counts.
const PROGRAMS: &[(&str, &[Program<'static>])] = &[
    (
        "gates",
        &[
            only(program(PLONK, "statements"), &["each_false_statement_is_rejected"]),
            program(PLONK, "statements"),
            program(PLONK, "builder"),
        ],
    ),
    ("zk", &[program(PLONK, "blinding")]),
    ("transcript", &[program(PLONK, "transcript")]),
    (
        "verifier",
        &[
            program(PLONK, "rejections"),
            program(PLONK, "builder"),
            program(PLONK, "statements"),
            only(
                program(PLONK, "solidity"),
                &["forgeries_and_cheats_are_rejected_by_the_native_verifier"],
            ),
        ],
    ),
    (
        "srs",
        &[
            program(PLONK, "doors"),
            program(PLONK, "srs"),
            program(PLONK, "ptau"),
            only(program(PLONK, LIB), &["srs::"]),
        ],
    ),
    ("keys", &[program(CIRCUITS, "maker")]),
    (
        "solidity",
        &[only(program(PLONK, "solidity"), &["the_solidity_verifier_agrees_with_the_native_one"])],
    ),
    (
        "circuits.client",
        &[
            skip(program(CIRCUITS, LIB), ROW_COUNTS),
            program(CIRCUITS, "client"),
            only(ANALYSIS, &["client"]),
        ],
    ),
    (
        "circuits.private",
        &[
            only(program(CIRCUITS, LIB), &["private::"]),
            program(CIRCUITS, "private"),
            program(CIRCUITS, "private_whole"),
            only(ANALYSIS, &["private_"]),
        ],
    ),
    (
        "circuits.tx_",
        &[
            skip(program(CIRCUITS, LIB), ROW_COUNTS),
            program(CIRCUITS, "tx"),
            program(CIRCUITS, "twins"),
            only(
                program(CIRCUITS, "kinds"),
                &["keys_that_make_no_client_proofs", "a_tail_from_elsewhere"],
            ),
            only(ANALYSIS, &["tx_"]),
        ],
    ),
    (
        "circuits",
        &[
            skip(program(CIRCUITS, LIB), ROW_COUNTS),
            program(CIRCUITS, "blocks"),
            program(CIRCUITS, "header"),
            program(CIRCUITS, "twins"),
            only(ANALYSIS, &["block_", "epoch_"]),
        ],
    ),
    (
        "gadgets",
        &[
            skip(program(CIRCUITS, LIB), ROW_COUNTS),
            program(CIRCUITS, "gadgets"),
            program(CIRCUITS, "recursion"),
            skip(program(CIRCUITS, "curve"), ROWS_BY_NUMBER),
            program(CIRCUITS, "client"),
            program(CIRCUITS, "blocks"),
            program(CIRCUITS, "tx"),
            program(CIRCUITS, "twins"),
            ANALYSIS,
        ],
    ),
];

/// Tests that look at rows by their numbers: a constraint that goes missing before them moves the rows, and
/// they would fail for that alone.
const ROWS_BY_NUMBER: &[&str] = &["every_change_in_a_read_and_its_addition_is_rejected"];

/// The sets that run when none is named.
const USUAL: [&str; 6] = ["gates", "zk", "transcript", "verifier", "srs", "keys"];
/// Longest time of one test program under a mutant. One that hangs has noticed.
const SECONDS_MAX: u64 = 600;

/// The outcome of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// A test failed: its name, or that the program did not end.
    Noticed(String),
    Survived,
}

/// The programs that run for a switch: those of the longest start of its name that is listed.
fn programs_of(name: &str) -> anyhow::Result<&'static [Program<'static>]> {
    let fitting = PROGRAMS.iter().filter(|(start, _)| name.starts_with(start));
    let longest = fitting.max_by_key(|(start, _)| start.len());
    longest.map(|(_, programs)| *programs).with_context(|| format!("no test programs for {name}"))
}

/// Runs the sets named, all sets of `make test` when none is, and of these the mutants whose names hold
/// `only`; `write` writes their outcomes to the page.
pub(crate) fn run(
    root: &Path,
    sets: &[String],
    only: Option<&str>,
    write: bool,
) -> anyhow::Result<Findings> {
    let all = switches::all();
    let known: BTreeSet<&str> = all.iter().map(Switch::set).collect();
    let sets: BTreeSet<&str> = match sets.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => BTreeSet::from(USUAL),
        ["all"] => known.clone(),
        ref sets => sets.iter().copied().collect(),
    };
    if let Some(set) = sets.difference(&known).next() {
        let known: Vec<_> = known.iter().copied().collect();
        bail!("there is no set `{set}`; there are {} and `all`", known.join(", "));
    }
    let mut chosen: Vec<(&Switch, &[Program<'static>])> = Vec::new();
    for switch in all.iter().filter(|switch| sets.contains(switch.set())) {
        if only.is_none_or(|part| switch.name.contains(part)) {
            chosen.push((switch, programs_of(&switch.name)?));
        }
    }
    let needed: BTreeSet<(&str, &str)> = chosen
        .iter()
        .flat_map(|(_, programs)| {
            programs.iter().map(|program| (program.package, program.binary()))
        })
        .collect();
    let built = build(root, &needed)?;
    let started = Instant::now();

    let mut findings = Findings::new();
    let path = root.join(page::PAGE);
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let before = page::rows(&old);
    let next = AtomicUsize::new(0);
    let honest = Seen::default();
    let outcomes: Mutex<Vec<Option<anyhow::Result<Outcome>>>> =
        Mutex::new(chosen.iter().map(|_| None).collect());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((switch, programs)) = chosen.get(at) else { return };
                    let narrowed = narrowest(programs, before.get(&*switch.name));
                    let outcome = outcome(root, &switch.name, &narrowed, &built);
                    if let Ok(outcome) = &outcome {
                        println!("{:<44} {}", switch.name, outcome.words(switch));
                    }
                    // Without a mutant the test must pass, or its failure means nothing.
                    let outcome = outcome.and_then(|outcome| match &outcome {
                        Outcome::Noticed(test) if !honest.insert(test) => Ok(outcome),
                        Outcome::Noticed(_) => {
                            let words = outcome.words(switch);
                            let alone = narrowest(programs, Some(&words));
                            match self::outcome(root, "", &alone[..1], &built)? {
                                Outcome::Survived => Ok(outcome),
                                Outcome::Noticed(test) => {
                                    bail!("`{test}` fails without any mutant")
                                }
                            }
                        }
                        Outcome::Survived => Ok(outcome),
                    });
                    let mut outcomes = outcomes.lock();
                    outcomes[at] = Some(outcome);
                    if write {
                        // After each, so that a run which is stopped keeps what it found.
                        // The last writing, below, is the one that must succeed.
                        let _ = std::fs::write(
                            &path,
                            page::with(&old, &all, &words(&chosen, &outcomes)),
                        );
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner();
    if write {
        std::fs::write(&path, page::with(&old, &all, &words(&chosen, &outcomes)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let (mut noticed, mut harmless) = (0, 0);
    for ((switch, _), outcome) in chosen.iter().zip(outcomes) {
        let outcome = outcome.with_context(|| format!("{} did not run", switch.name))??;
        match (&outcome, switch.harmless) {
            (Outcome::Noticed(_), None) => noticed += 1,
            (Outcome::Survived, Some(_)) => harmless += 1,
            (Outcome::Noticed(test), Some(_)) => findings.push(format!(
                "{}: `{test}` notices its loss, so it is not harmless; say so in the registry",
                switch.name
            )),
            (Outcome::Survived, None) => findings.push(format!(
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

/// The page's text for the mutants that have run.
fn words(
    chosen: &[(&Switch, &[Program<'static>])],
    outcomes: &[Option<anyhow::Result<Outcome>>],
) -> BTreeMap<String, String> {
    let known = chosen.iter().zip(outcomes).filter_map(|((switch, _), outcome)| {
        let outcome = outcome.as_ref()?.as_ref().ok()?;
        Some((switch.name.to_string(), outcome.words(switch)))
    });
    known.collect()
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
                LIB => command.arg("--lib"),
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
            let target = if is_lib { LIB } else { name };
            built.insert((package.to_owned(), target.to_owned()), PathBuf::from(program));
        }
    }
    Ok(built)
}

impl Outcome {
    /// The text for the page.
    fn words(&self, switch: &Switch) -> String {
        match (self, switch.harmless) {
            (Self::Noticed(test), _) => format!("`{test}`"),
            (Self::Survived, Some(why)) => format!("{}{why}", page::HARMLESS),
            (Self::Survived, None) => page::SURVIVED.to_owned(),
        }
    }
}

/// Tests that were asked without a mutant already.
#[derive(Default)]
struct Seen(Mutex<BTreeSet<String>>);

impl Seen {
    /// Whether the test is a new one.
    fn insert(&self, test: &str) -> bool {
        self.0.lock().insert(test.to_owned())
    }
}

/// The programs, before them the one test that noticed the last time: most runs end with it.
fn narrowest<'a>(programs: &[Program<'a>], noticed: Option<&'a String>) -> Vec<Program<'a>> {
    let of_page = |program: &Program<'a>| {
        let folder = program.folder();
        let row = noticed?.trim_matches('`');
        let test = row.strip_prefix(folder)?.strip_prefix(' ')?.strip_prefix(program.target)?;
        let exactly = Some(test.strip_prefix("::")?);
        Some(Program { only: &[], skip: &[], exactly, ..*program })
    };
    let first = programs.iter().find_map(of_page);
    first.into_iter().chain(programs.iter().copied()).collect()
}

/// Runs the programs under a mutant until one fails.
fn outcome(
    root: &Path,
    name: &str,
    programs: &[Program<'_>],
    built: &Built,
) -> anyhow::Result<Outcome> {
    for program in programs {
        let key = (program.package.to_owned(), program.binary().to_owned());
        let path = built.get(&key).with_context(|| format!("{key:?} was not built"))?;
        let mut command = Command::new(path);
        command.args(program.filters()).env(VARIABLE, name).env("RUST_BACKTRACE", "0");
        program.skip.iter().for_each(|test| {
            command.args(["--skip", test]);
        });
        if name.is_empty() {
            command.env_remove(VARIABLE);
        }
        // A test reads its fixtures from its package's folder.
        let folder = program.folder();
        command.current_dir(root.join(folder)).stdin(Stdio::null());
        if let Some(test) = failed(command)? {
            let module = program.module();
            let test = test.strip_prefix(&module).unwrap_or(&test);
            return Ok(Outcome::Noticed(format!("{folder} {}::{test}", program.target)));
        }
    }
    Ok(Outcome::Survived)
}

/// The first test by name that failed, if one did.
fn failed(mut command: Command) -> anyhow::Result<Option<String>> {
    let (mut reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut child = command
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .context("cannot run a test program")?;
    // The command holds the pipe's writing end; while it is alive, reading never ends.
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
            return Ok(Some(page::PROGRAM_ENDED[1].to_owned()));
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
    // Tests of a program run side by side; the first by name is the same in every run.
    let test = text
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .min();
    Ok(Some(test.unwrap_or(page::PROGRAM_ENDED[0]).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test programs that no set runs, with the reason.
    const LEFT_OUT: &[(&str, &str, &str)] = &[
        (PLONK, "belongs", "checks of arguments, which no mutant leaves out"),
        (PLONK, "examples", "examples of honest use"),
        (PLONK, "hashes", "libraries"),
        (PLONK, "places", "names of lines"),
        (PLONK, "prover", "honest proofs, and changed bytes that `rejections` tries one by one"),
        (PLONK, "rounds", "tables of the schedule and the book"),
        (PLONK, "weakened", "sets the variable of the mutants itself"),
        (CIRCUITS, "agreement", "random changes, which notice a mutant or not by chance"),
        (CIRCUITS, "counter", "proofs of minutes; `recursion` has the constraints"),
        (CIRCUITS, "epoch", "stored keys and proofs"),
        (CIRCUITS, "jobs", "encodings, which no mutant leaves out"),
        (CIRCUITS, "layout", "digests of stored keys"),
        (CIRCUITS, "mutation", "stored witnesses, and samples of cells"),
        (CIRCUITS, "store", "files, which no mutant leaves out"),
    ];

    /// Goal: a new test program of the proof system or the circuits runs against the mutants, or somebody says why not.
    #[test]
    fn every_test_program_is_in_a_set_or_left_out_with_a_reason() {
        let root = crate::tree::root().unwrap();
        let listed: BTreeSet<_> = PROGRAMS
            .iter()
            .flat_map(|(_, programs)| programs.iter().map(|it| (it.package, it.target.to_owned())))
            .filter(|(_, target)| target != LIB)
            .collect();
        let left_out: BTreeSet<_> =
            LEFT_OUT.iter().map(|(package, target, _)| (*package, (*target).to_owned())).collect();
        let mut found = BTreeSet::new();
        for package in [PLONK, CIRCUITS] {
            let folder = root.join(program(package, LIB).folder()).join("tests");
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let is_program = path.file_stem().is_some_and(|name| name == ALL);
                if !is_program && path.extension().is_some_and(|ending| ending == "rs") {
                    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                    found.insert((package, name));
                }
            }
        }
        let known: BTreeSet<_> = listed.union(&left_out).cloned().collect();
        assert_eq!(known, found, "sets and exceptions, and what is there");
        assert_eq!(listed.intersection(&left_out).next(), None, "both listed and left out");
    }
}
