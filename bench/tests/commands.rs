//! The commands of `rollmill-bench` from outside: a command that fails ends with one line.

use std::io::BufRead as _;
use std::process::{Command, Output, Stdio};

use rollmill_bench::result::Results;

use rollmill_agent_testing::{assert_fails_with_one_line, run_alone};

const BENCH: &str = env!("CARGO_BIN_EXE_rollmill-bench");

fn bench(arguments: &[&str]) -> Output {
    run_alone(BENCH, arguments)
}

#[test]
fn a_command_that_fails_ends_with_one_line() {
    let poseidon2 = ["--device", "cpu", "run", "--only", "poseidon2"];
    for (arguments, expected) in [
        (&["--peers", "barretenberg"][..], &["BEN-007", "barretenberg", "--bb"][..]),
        (&["--bb", "/nonexistent/bb"], &["BEN-007", "/nonexistent/bb"]),
        (&["--peers", "icicle"], &["BEN-007", "icicle", "ICICLE was not found"]),
        (&["--json", "/nonexistent/x.json"], &["BEN-004", "/nonexistent/x.json"]),
        (&["--peers", "gnark"], &["BEN-001", "--peers", "`gnark`", "arkworks"]),
    ] {
        let arguments = [&poseidon2, arguments].concat();
        assert_fails_with_one_line(BENCH, &arguments, expected);
    }
}

/// A slip in an argument exits with 2, as does a program without a command.
#[test]
fn a_wrong_command_line_is_told_from_a_failure() {
    for arguments in [&[][..], &["run", "--sizes", "99"], &["run", "--only", "fft"], &["measure"]] {
        assert_eq!(bench(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// Goal: what is measured is what an agent would prove on. Method: the agent's own variable names a device
/// that is not there.
#[test]
fn the_settings_are_those_of_an_agent() {
    let output = Command::new(env!("CARGO_BIN_EXE_rollmill-bench"))
        .args(["run", "--only", "poseidon2", "--peers", "none"])
        .env("ROLLMILL_AGENT_DEVICE", "wgpu:no such adapter")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("AGT-032"), "{text}");
}

/// The output of a rejected command: one line and nothing else.
fn only_line(arguments: &[&str], output: &Output) -> String {
    assert!(!output.status.success(), "{arguments:?} was accepted");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("error: "), "{arguments:?}: {text}");
    lines[0].to_owned()
}

#[test]
fn files_that_cannot_be_compared_end_the_command_with_one_line() {
    let results = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/results");
    let good = format!("{results}/bench-msm-ntt-zen5-2cores.json");
    let proofs = format!("{results}/bench-proof-zen5-2cores.json");
    let foreign = format!("{results}/devnet-demo-zen5-2cores.json");
    let text = std::fs::read_to_string(&good).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name).display().to_string();
        std::fs::write(&path, text).unwrap();
        path
    };
    let cut = write("cut.json", &text[..text.len() / 2]);
    let older = write("older.json", &text.replacen("\"schema\": 1", "\"schema\": 7", 1));
    let empty = write("empty.json", "");
    let svg = folder.path().join("no/folder.svg").display().to_string();
    for (arguments, expected) in [
        (&["/nonexistent/x.json"][..], &["BEN-009", "/nonexistent/x.json"][..]),
        (&[&good, &cut], &["BEN-005", "cut.json", "no bench results"]),
        (&[&good, &empty], &["BEN-005", "empty.json"]),
        (&[&foreign, &good], &["BEN-005", "devnet-demo"]),
        (
            &[&good, &older],
            &["BEN-006", "older.json has schema 7", "reads 1", "run the bench again"],
        ),
        (&[&good, &proofs], &["BEN-010", "no operation in common"]),
        (&[&good, "--price", "other=2"], &["BEN-001", "price", "bench-msm-ntt", "`other`"]),
        (&[&good, "--price", "free"], &["BEN-001", "FILE=USD", "`free`"]),
        (&[&good, "--svg", &svg], &["BEN-004", &svg]),
    ] {
        let arguments = [&["compare"], arguments].concat();
        let line = only_line(&arguments, &bench(&arguments));
        for part in expected {
            assert!(line.contains(part), "{arguments:?}: {line}");
        }
    }
    let output = bench(&["compare", &good]);
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
}

/// Goal: a size that fails takes no figure with it. Method: there is no proof of so few rows, which is found out
/// after the transforms.
#[test]
fn a_run_that_fails_keeps_the_figures_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("part.json");
    let arguments = ["--device", "cpu", "run", "--only", "ntt,proof", "--sizes", "4", "--peers"];
    let arguments = [&arguments[..], &["none", "--runs", "1", "--json", file.to_str().unwrap()]];
    let output = bench(&arguments.concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let results = Results::read(&file).unwrap();
    assert_eq!(results.entries.len(), 3, "a transform, one on a coset, and eight");
    let reason = results.unfinished.unwrap();
    assert!(reason.starts_with("BEN-001"), "{reason}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing but the file: {left:?}");
    let compared = bench(&["compare", file.to_str().unwrap()]);
    let text = String::from_utf8(compared.stdout).unwrap();
    assert!(text.contains("part is not whole: BEN-001"), "{text}");
}

/// Goal: a step that is cut off costs only itself. Method: more runs than anyone waits for, and a signal after the
/// second figure.
#[test]
fn a_run_that_is_stopped_keeps_the_figures_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("part.json");
    let mut running = Command::new(BENCH)
        .args(["--device", "cpu", "run", "--only", "ntt", "--sizes", "4..20", "--peers", "none"])
        .args(["--runs", "1000", "--json", file.to_str().unwrap()])
        .env("ROLLMILL_CACHE", folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut printed = std::io::BufReader::new(running.stderr.take().unwrap()).lines();
    let mut figures = printed.by_ref().map(Result::unwrap).filter(|line| line.contains(" ms"));
    assert!(figures.nth(1).is_some_and(|line| line.contains("ntt 2^4")));
    let pid = running.id().to_string();
    let killed = Command::new("sh").args(["-c", "kill -TERM $1", "sh", &pid]).status().unwrap();
    assert!(killed.success());
    let last = printed.map(Result::unwrap).last().unwrap();
    assert!(last.starts_with("error: BEN-012"), "{last}");
    assert_eq!(running.wait().unwrap().code(), Some(1));
    let results = Results::read(&file).unwrap();
    assert!(results.entries.len() >= 2, "{:?}", results.entries);
    // The run itself says so, or it had no time left to.
    assert!(results.unfinished.is_some());
}

/// Method: a limit on the process's address space, as `ulimit -v` sets it.
#[test]
fn a_bench_that_does_not_fit_into_memory_ends_before_it_begins() {
    let arguments = ["--device", "cpu", "run", "--only", "msm", "--sizes", "26", "--peers", "none"];
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 8388608; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_rollmill-bench")])
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    // What it does comes before; no operation was started.
    let (printed, line) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(printed.lines().all(|line| line.starts_with("bench: ")), "{text}");
    assert!(!printed.contains("2^") && line.starts_with("error: "), "{text}");
    for part in ["BEN-008", "msm needs about 24576 MiB", "are free", "--sizes"] {
        assert!(line.contains(part), "{line}");
    }
}
