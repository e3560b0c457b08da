//! `benches/gpu.sh` with stubs for its programs: whatever goes wrong, the output folder holds what was measured before.
//! `benches/gpu-rehearsal.sh` does the same with the programs themselves.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// `$BLOCK` is part of the arguments on which it does not end.
const BENCH: &str = r#"#!/usr/bin/env bash
[ "$1" != devices ] || { printf 'cpu\tno card\ncuda:0\tstub "card" GPU-0\n'; exit; }
case "$*" in *"${BLOCK:-nothing}"*) exec tail -f /dev/null ;; esac
while [ $# -gt 0 ]; do
    [ "$1" != --json ] || echo '{"entries": [1]}' >"$2"
    shift
done
echo 'bench: msm 2^16 uniform   rollmill   1.000 ms'
"#;

/// `$FAIL` is a test that fails, `$HANG` one that does not even end when it is told to.
const HARDWARE: &str = r#"#!/usr/bin/env bash
if [ "$1" = --list ]; then
    for name in obeys_every_law says_how_fast_it_is gives_the_cpus_proofs_byte_for_byte \
        makes_several_proofs_at_once_byte_for_byte does_what_is_new computes_every_pass; do
        echo "a_card_$name: test"
    done
    exit
fi
[ "$2" != "${FAIL:-}" ] || { echo 'the sum is wrong'; exit 101; }
[ "$2" != "${HANG:-}" ] || { trap '' TERM; exec tail -f /dev/null; }
[ "$2" != a_card_says_how_fast_it_is ] || echo 'rates: {"products_per_second": 5e10}'
"#;

/// A bundle of stubs, beside a folder that looks like a driver's.
fn bundle() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/gpu.sh");
    std::fs::copy(script, folder.path().join("gpu.sh")).unwrap();
    for (name, text) in [
        ("rollmill-bench", BENCH),
        ("hardware", HARDWARE),
        ("commit", "0123abc\n"),
        ("kernels.json", "{}\n"),
        ("libcuda.so.1", ""),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// The script in an environment with nothing in it but these variables, and its output folder.
fn start(bundle: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> (Child, PathBuf) {
    let out = bundle.path().join("out");
    let child = Command::new("bash")
        .arg(bundle.path().join("gpu.sh"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LD_LIBRARY_PATH", bundle.path())
        .env("OUT", &out)
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, out)
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, Value, TempDir) {
    let bundle = bundle();
    let (child, out) = start(&bundle, arguments, variables);
    let output = child.wait_with_output().unwrap();
    let code = output.status.code().unwrap();
    assert!(out.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    (code, result(&out), bundle)
}

fn result(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("result.json")).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The status of a step.
fn status<'a>(result: &'a Value, name: &str) -> &'a str {
    let steps = result["steps"].as_array().unwrap();
    let found = steps.iter().find(|step| step["name"] == name);
    found.unwrap_or_else(|| panic!("no step {name}: {steps:?}"))["status"].as_str().unwrap()
}

#[test]
fn every_test_and_every_size_is_a_step_and_every_figure_is_in_the_result() {
    let (code, result, bundle) = run(&[], &[]);
    assert_eq!(code, 0, "{result}");
    for step in ["laws", "rates", "proofs", "at_once", "a_card_does_what_is_new"] {
        assert_eq!(status(&result, step), "passed");
    }
    let steps = result["steps"].as_array().unwrap();
    let at = |name: &str| steps.iter().position(|step| step["name"] == name);
    assert_eq!(at("a_card_computes_every_pass"), at("laws").map(|laws| laws + 1));
    for bench in ["proof_17", "trace", "msm_ntt", "large", "proof_20", "huge", "proof_22"] {
        assert_eq!(status(&result, bench), "passed");
        assert_eq!(result[bench]["entries"][0], 1, "{bench}");
    }
    assert_eq!(result["rates"]["products_per_second"], 5e10);
    assert_eq!(result["card"].as_str(), Some("stub \"card\" GPU-0"));
    assert_eq!(result["commit"].as_str(), Some("0123abc"));
    let packed = bundle.path().join("out/logs.tar.gz");
    let packed = Command::new("tar").arg("-tzf").arg(packed).output().unwrap().stdout;
    let packed = String::from_utf8(packed).unwrap();
    assert!(packed.contains("log/laws.txt") && packed.contains("log/proof_22.json"), "{packed}");
    // Results are not mixed with those of another run.
    let (child, _) = start(&bundle, &[], &[]);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(2));
}

#[test]
fn a_step_that_fails_costs_only_itself() {
    let (code, result, _) = run(&[], &[("FAIL", "a_card_obeys_every_law")]);
    assert_eq!(code, 1);
    assert_eq!(status(&result, "laws"), "failed (101)");
    assert_eq!(status(&result, "proof_22"), "passed");
}

/// It does not even end at SIGTERM.
#[test]
fn a_step_that_hangs_costs_only_its_limit() {
    let test = "a_card_makes_several_proofs_at_once_byte_for_byte";
    let (code, result, _) = run(&["--step-limit", "2"], &[("HANG", test)]);
    assert_eq!(code, 1, "what was not seen to be right is not right");
    assert_eq!(status(&result, "at_once"), "cut off after 2 s");
    assert_eq!(status(&result, "proof_22"), "passed");
}

#[test]
fn steps_without_time_are_left_out_and_named() {
    let (code, result, _) = run(&["--budget", "4"], &[]);
    assert_eq!(code, 0);
    assert_eq!((status(&result, "laws"), status(&result, "proof_22")), ("no time", "no time"));
}

/// Method: a bench that does not end, after others that did.
#[test]
fn a_kill_in_the_middle_leaves_what_was_measured_before() {
    for (signal, leaves) in [("TERM", true), ("KILL", false)] {
        let bundle = bundle();
        let (mut child, out) = start(&bundle, &["--step-limit", "5"], &[("BLOCK", "msm,ntt")]);
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut noted = lines.filter(|line| line.starts_with("trace "));
        assert!(noted.next().is_some(), "the step before");
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let status_of_script = child.wait().unwrap();
        assert_eq!(status_of_script.code(), leaves.then_some(1), "{signal}");
        let result = result(&out);
        assert_eq!(status(&result, "proof_17"), "passed");
        assert_eq!(result["proof_17"]["entries"][0], 1);
        let noted = std::fs::read_to_string(out.join("steps.txt")).unwrap();
        assert!(noted.contains("proof_17"), "{noted}");
    }
}

#[test]
fn a_machine_without_a_card_and_a_wrong_command_line_end_with_their_own_status() {
    let bundle = bundle();
    for (arguments, code) in
        [(&["--device", "7"][..], 3), (&["--sizes", "3"], 2), (&["--budget", "x"], 2)]
    {
        let (child, _) = start(&bundle, arguments, &[]);
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(code), "{arguments:?}");
    }
}
