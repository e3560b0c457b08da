//! `cargo xtask test`: every check and every test, one after the other, and the count at the end.
//!
//! A step that fails does not stop the others, so that one run shows everything that is wrong. The
//! last line is `N passed, N failed`. A check counts as one test; a test program's own summary is
//! read from its output; a program that fails without reporting a failed test counts as one failure.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rollmill_algebra::CpuPath;

use crate::Findings;
use crate::{circuits, generate, mutants};

/// Where nextest writes how long each test took, by `.config/nextest.toml`. It lies there whatever the target directory is.
const REPORT: &str = "target/nextest/default/junit.xml";
/// Tests named at the end, the slowest ones.
const SLOWEST: usize = 10;

/// How long what a killed test started may take to remove what it made.
const TIDYING: Duration = Duration::from_secs(20);

/// The temporary directory of the tests. What lies there when they are over was left behind.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn make() -> anyhow::Result<Self> {
        // Short: sockets lie in it, and a socket's path has at most 107 bytes.
        let path = std::env::temp_dir().join(format!("rollmill-{}", std::process::id()));
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        Ok(Self { path })
    }

    /// What is still there after `limit`.
    fn leftovers(&self, limit: Duration) -> anyhow::Result<Findings> {
        let start = Instant::now();
        loop {
            let mut names = Findings::new();
            for entry in std::fs::read_dir(&self.path).context("cannot list leftovers")? {
                let name = entry.context("cannot list leftovers")?.file_name();
                names.push(format!("the tests left {} behind", name.to_string_lossy()));
            }
            if names.is_empty() || start.elapsed() >= limit {
                names.sort();
                return Ok(names);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Tests counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs everything. `Ok` with no findings means that nothing failed.
pub(crate) fn run(root: &Path, no_nextest: bool) -> anyhow::Result<Findings> {
    let mut total = Count::default();
    let mut failures = Findings::new();

    for (name, result) in [
        ("tidy", crate::tidied(root)),
        ("deps", crate::dependencies(root)),
        ("gen --check", generate::check(root, false)),
        ("circuits", circuits::run(None, false)),
    ] {
        step(name);
        let findings = result.unwrap_or_else(|error| vec![format!("{error:#}")]);
        for finding in &findings {
            println!("{finding}");
        }
        record(name, findings.is_empty(), &mut total, &mut failures);
    }

    let mut programs = vec![program("formatting", "cargo", &["fmt", "--all", "--check"], root)];
    // The features of `make build`, so that no program is built twice.
    let with = ["--features", crate::features::SUITE];
    let cargo = |name, args: &[&str]| {
        let args: Vec<&str> = args
            .iter()
            .flat_map(|arg| match *arg {
                "--workspace" => vec!["--workspace", with[0], with[1]],
                other => vec![other],
            })
            .collect();
        program(name, "cargo", &args, root)
    };
    let scratch = Scratch::make()?;
    let tests = |name, args: &[&str]| {
        let (name, mut command) = cargo(name, args);
        command.env("TMPDIR", &scratch.path);
        (name, command)
    };
    let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    programs.push(cargo("lint", &lint));
    // Not the examples: those that say something are modules of tests, and the lints compile them all.
    let runner: &[&str] = match !no_nextest && works("cargo", &["nextest", "--version"]) {
        true => &["nextest", "run"],
        false => &["test"],
    };
    // Cargo builds examples before tests only where nothing is chosen.
    let libraries = loaded_examples(&crate::features::metadata(root)?);
    let mut build = vec!["build", "--workspace", "--locked"];
    build.extend(libraries.iter().flat_map(|name| ["--example", name.as_str()]));
    programs.push(cargo("libraries that tests load", &build));
    let all = ["--workspace", "--lib", "--bins", "--tests", "--no-fail-fast", "--locked"];
    programs.push(tests("tests", &[runner, &all].concat()));
    let doc = ["test", "--workspace", "--doc", "--no-fail-fast", "--locked"];
    programs.push(tests("documentation tests", &doc));
    programs.push(program("alert rules", "sh", &["deploy/rules.sh"], root));
    // npm's shell finds the files: `node --test` knows no patterns before its version 21.
    let folder = root.join("pxe/js");
    programs.push(program("client of the wallet service", "npm", &["test", "--silent"], &folder));
    let compile = ["compile.js", "--check"];
    programs.push(program("Noir artifacts", "node", &compile, &root.join("noir")));
    let contracts = root.join("contracts");
    match forge(&contracts) {
        Some(forge) => {
            let build = ["build.js", "--check"];
            programs.push(program("contract artifacts", "node", &build, &contracts));
            let gas = ["gas.js", "--check"];
            programs.push(program("page of gas", "node", &gas, &contracts));
            let mutants = ["mutants.js", "--check"];
            programs.push(program("page of contract mutants", "node", &mutants, &contracts));
            let mut tests = Command::new(forge);
            tests.arg("test").current_dir(&contracts);
            programs.push(("contract tests", tests));
        }
        None => {
            step("contract tests");
            println!("no forge under {}: run `make setup`", contracts.display());
            record("contract tests", false, &mut total, &mut failures);
        }
    }

    // One of an earlier run would be taken for this one's.
    let report = root.join(REPORT);
    let _ = std::fs::remove_file(&report);
    for (name, mut command) in programs {
        step(name);
        let started = Instant::now();
        let (count, success) = stream(&mut command)?;
        println!("{name}: {:.0} s", started.elapsed().as_secs_f64());
        let is_check = count == Count::default();
        total.add(count);
        if is_check {
            record(name, success, &mut total, &mut failures);
        } else if !success || count.failed > 0 {
            failures.push(format!("{name}: failed"));
            total.failed += u64::from(count.failed == 0);
        }
    }

    step("paths of the CPU device");
    println!("{}", cpu_paths(CpuPath::is_available));

    step("leftovers");
    let left = scratch.leftovers(TIDYING)?;
    for finding in &left {
        println!("{finding}");
    }
    record("leftovers", left.is_empty(), &mut total, &mut failures);

    // Constraints that no test of a property misses; `make mutants` takes out every other check too.
    step("mutants of the gates");
    let survivors = mutants::run(root, &["gates".to_owned()], None, false);
    let survivors = survivors.unwrap_or_else(|error| vec![format!("{error:#}")]);
    survivors.iter().for_each(|survivor| println!("{survivor}"));
    record("mutants of the gates", survivors.is_empty(), &mut total, &mut failures);

    step("slowest tests");
    match std::fs::read_to_string(&report) {
        Ok(report) => slowest(&report).iter().for_each(|line| println!("{line}")),
        Err(error) => println!("not known without {REPORT}, which nextest writes: {error}"),
    }

    println!();
    for failure in &failures {
        println!("{failure}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(failures)
}

/// The slowest tests of a report in the form of JUnit, the slowest first, each with its time and its program.
fn slowest(report: &str) -> Vec<String> {
    let of_test = |element: &str| {
        let tag = element.split('>').next()?;
        let value = |name: &str| tag.split_once(&format!("{name}=\""))?.1.split('"').next();
        let seconds: f64 = value(" time")?.parse().ok()?;
        Some((seconds, format!("{} {}", value(" classname")?, value(" name")?)))
    };
    // Within the texts of a report every bracket is escaped.
    let mut tests: Vec<(f64, String)> =
        report.split("<testcase").skip(1).filter_map(of_test).collect();
    tests.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    let line = |(seconds, name): &(f64, String)| format!("{seconds:8.1} s  {name}");
    tests.iter().take(SLOWEST).map(line).collect()
}

/// Which paths of the CPU device the tests ran on. The processor decides, and no test fails for one that it lacks, unless
/// `ROLLMILL_TEST_CPU_PATHS` names it.
fn cpu_paths(is_available: impl Fn(CpuPath) -> bool) -> String {
    let names = |available: bool| -> Vec<&'static str> {
        let paths = CpuPath::ALL.into_iter().filter(|path| is_available(*path) == available);
        paths.map(CpuPath::name).collect()
    };
    let tested = format!("tested: {}", names(true).join(", "));
    match names(false)[..] {
        [] => tested,
        ref lacking => format!("{tested}; NOT tested on this processor: {}", lacking.join(", ")),
    }
}

/// The examples of the workspace that are shared libraries, by `cargo metadata`.
fn loaded_examples(metadata: &serde_json::Value) -> Vec<String> {
    let has = |target: &serde_json::Value, field: &str, value: &str| {
        target[field].as_array().is_some_and(|values| values.iter().any(|other| other == value))
    };
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| has(target, "kind", "example") && has(target, "crate_types", "cdylib"))
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect()
}

fn step(name: &str) {
    println!("\n== {name}");
}

fn record(name: &str, success: bool, total: &mut Count, failures: &mut Findings) {
    if success {
        println!("{name}: ok");
        total.passed += 1;
    } else {
        failures.push(format!("{name}: failed"));
        total.failed += 1;
    }
}

fn program(
    name: &'static str,
    program: &str,
    args: &[&str],
    root: &Path,
) -> (&'static str, Command) {
    let mut command = Command::new(program);
    command.args(args).current_dir(root).env("CARGO_TERM_COLOR", "never");
    (name, command)
}

fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The forge binary that npm installed for this machine. The package's own wrapper starts node
/// first, which costs a process and swallows signals.
fn forge(contracts: &Path) -> Option<PathBuf> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let path = contracts.join(format!("node_modules/@foundry-rs/forge-{os}-{arch}/bin/forge"));
    path.is_file().then_some(path)
}

/// Runs a program, passes its output on line by line, and counts the tests it reports.
fn stream(command: &mut Command) -> anyhow::Result<(Count, bool)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let error_writer = writer.try_clone().context("cannot share a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(error_writer)
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    // The command holds copies of the pipe's writing end; while they live, reading never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut count = Count::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("cannot read the output of a test program")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count.add(summary(&line));
    }
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    Ok((count, status.success()))
}

/// The counts in one line of output, zero when it is not a summary of cargo test, nextest or forge.
fn summary(line: &str) -> Count {
    // nextest shows what a failed test printed, indented, and counts it in its own summary.
    let is_of_cargo = line.starts_with("test result:");
    let line = line.trim();
    let is_summary = is_of_cargo
        || line.starts_with("Summary [")
        || line.starts_with("Ran ") && line.contains("tests passed");
    if !is_summary {
        return Count::default();
    }
    let words: Vec<&str> =
        line.split([' ', ',', ';', '(', ')']).filter(|w| !w.is_empty()).collect();
    let number_before = |word: &str| {
        words
            .iter()
            .position(|other| other == &word)
            .and_then(|at| words[..at].iter().rev().find_map(|word| word.parse::<u64>().ok()))
            .unwrap_or(0)
    };
    let timed_out = if line.contains("timed out") { number_before("timed") } else { 0 };
    Count { passed: number_before("passed"), failed: number_before("failed") + timed_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_processor_lacks_is_named() {
        assert_eq!(cpu_paths(|_| true), "tested: portable, adx, avx2, ifma");
        assert_eq!(
            cpu_paths(|path| path == CpuPath::Portable),
            "tested: portable; NOT tested on this processor: adx, avx2, ifma"
        );
    }

    /// Fault: on a machine that had built nothing before, the tests of a library's interface had no library to load.
    #[test]
    fn the_examples_that_are_libraries_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let found = loaded_examples(&crate::features::metadata(root).unwrap());
        assert_eq!(found, ["rollmill_fake_icicle", "rollmill_hollow_icicle"]);
    }

    #[test]
    fn the_summaries_of_the_three_runners_are_read() {
        let cases = [
            (
                "test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; \
                 finished in 0.01s",
                (7, 0),
            ),
            ("test result: FAILED. 1 passed; 3 failed; 0 ignored; finished in 0.01s", (1, 3)),
            (
                "     Summary [   0.051s] 12 tests run: 11 passed (1 slow), 1 failed, 0 skipped",
                (11, 1),
            ),
            (
                "     Summary [  0.1s] 3 tests run: 1 passed, 1 failed, 1 timed out, 0 skipped",
                (1, 2),
            ),
            (
                "Ran 4 test suites in 1.01s (2.02s CPU time): 31 tests passed, 2 failed, 0 skipped \
                 (33 total tests)",
                (31, 2),
            ),
            ("Suite result: ok. 5 passed; 0 failed; 0 skipped; finished in 2ms", (0, 0)),
            ("running 3 tests", (0, 0)),
            ("    test result: FAILED. 0 passed; 1 failed; 0 ignored; finished in 0.01s", (0, 0)),
        ];
        for (line, (passed, failed)) in cases {
            assert_eq!(summary(line), Count { passed, failed }, "{line}");
        }
    }

    /// Form: as nextest writes it, with `name`, `classname`, `timestamp` and `time` of each test in this order.
    #[test]
    fn the_slowest_tests_of_a_report_are_named() {
        let case = |name: &str, time: &str| {
            format!(
                "        <testcase name=\"{name}\" classname=\"rollmill-files\" \
                 timestamp=\"2026-08-04T10:00:00.000+00:00\" time=\"{time}\">\n        </testcase>\n"
            )
        };
        let failed = "        <testcase name=\"tests::fails\" classname=\"rollmill-broker::all\" \
                      timestamp=\"2026-08-04T10:00:00.000+00:00\" time=\"75.260\">\n            \
                      <failure message=\"a&gt;b\" type=\"test failure\">time=&quot;9&quot; \
                      &lt;testcase name=&quot;x&quot;</failure>\n        </testcase>\n";
        let quick: String = (0..20).map(|n| case(&format!("tests::n{n:02}"), "0.100")).collect();
        let report = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"nextest-run\" tests=\"22\" \
             failures=\"1\" errors=\"0\" timestamp=\"2026-08-04T10:00:00.000+00:00\" time=\"100.0\">\n    \
             <testsuite name=\"rollmill-files\" tests=\"22\" disabled=\"0\" errors=\"0\" failures=\"1\">\n\
             {quick}{}{failed}    </testsuite>\n</testsuites>\n",
            case("tests::slow", "100.000")
        );
        let found = slowest(&report);
        assert_eq!(found.len(), SLOWEST);
        assert_eq!(found[0], "   100.0 s  rollmill-files tests::slow");
        assert_eq!(found[1], "    75.3 s  rollmill-broker::all tests::fails");
        assert_eq!(found[2], "     0.1 s  rollmill-files tests::n00");
        assert_eq!(found[9], "     0.1 s  rollmill-files tests::n07");
        assert!(slowest("").is_empty() && slowest("<testcase name=\"x\"").is_empty());
    }

    #[test]
    fn what_tests_leave_behind_is_found_and_removed() {
        let scratch = Scratch::make().unwrap();
        assert!(scratch.leftovers(Duration::ZERO).unwrap().is_empty());
        std::fs::create_dir(scratch.path.join("pg-1")).unwrap();
        let found = scratch.leftovers(Duration::ZERO).unwrap();
        assert_eq!(found, ["the tests left pg-1 behind"]);
        let path = scratch.path.clone();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn a_failing_program_is_seen_and_its_tests_are_counted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'test result: ok. 2 passed; 0 failed;'; echo x >&2; exit 4"]);
        let (count, success) = stream(&mut command).unwrap();
        assert_eq!(count, Count { passed: 2, failed: 0 });
        assert!(!success);
    }
}
