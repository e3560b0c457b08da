//! What operators have at hand: the ranges on disk, and captures of failed ones, whose replay finds the job
//! at fault. The captured range is the epoch of three blocks with 3, 0 and 1 transactions that the circuits
//! keep as golden files.

use std::path::{Path, PathBuf};
use std::process::Command;

use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::KEY_SET_NAME;
use rollmill_protocol::Fr;
use rollmill_protocol::plan::EpochPlan;
use rollmill_prover_node::capture::{Capture, CaptureError, CapturedJob, Finding, replay};
use rollmill_prover_node::ranges::store::RowStore;
use rollmill_prover_node::ranges::{Command as Order, Parking, RangeBlock, Row, State};

const TX_COUNTS: [usize; 3] = [3, 0, 1];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../circuits/tests/golden")
}

fn keys() -> KeySet {
    KeySet::from_bytes(&std::fs::read(golden().join(KEY_SET_NAME)).unwrap()).unwrap()
}

/// The golden epoch as a capture of a range whose every job is done.
fn capture() -> Capture {
    let plan = EpochPlan::new(&TX_COUNTS).unwrap();
    let jobs = plan.nodes.iter().enumerate().map(|(index, node)| {
        let circuit = node.circuit.name().to_owned();
        let file = |ending: &str| {
            let path = golden().join(format!("{index:02}-{circuit}.{ending}"));
            hex::encode(std::fs::read(&path).unwrap())
        };
        let (input, result) = (file("input"), Some(file("output")));
        CapturedJob { index, circuit, input, result, state: "done".into() }
    });
    let block = |number| RangeBlock { number, header_hash: Fr::from(number), l1_block: number };
    Capture {
        format: 1,
        reason: "a test".into(),
        row: Row::new(1, 0, (1..=3).map(block).collect()),
        version: "v1".into(),
        tx_counts: TX_COUNTS.to_vec(),
        jobs: jobs.collect(),
        incomplete: None,
    }
}

/// Indices and reasons of the jobs that do not hold.
fn fails(findings: &[Finding]) -> Vec<(usize, &str)> {
    let fails = findings.iter().enumerate().filter_map(|(index, finding)| match finding {
        Finding::Fails(why) => Some((index, why.as_str())),
        Finding::Holds | Finding::Provable => None,
    });
    fails.collect()
}

/// Flips the last bit of hexadecimal digits.
fn flip(text: &mut String) {
    let last = text.pop().unwrap().to_digit(16).unwrap();
    text.push(char::from_digit(last ^ 1, 16).unwrap());
}

#[test]
fn every_job_of_an_honest_range_holds() {
    let findings = replay(&keys(), &capture());
    assert_eq!(findings, vec![Finding::Holds; 10]);
}

/// Goal: the job at fault and those that were built on it are named, and no other.
#[test]
fn a_replay_finds_the_job_at_fault() {
    let keys = keys();
    let parent_of = |index: usize| EpochPlan::new(&TX_COUNTS).unwrap().nodes[index].parent.unwrap();

    let mut wrong = capture();
    flip(wrong.jobs[1].result.as_mut().unwrap());
    let findings = replay(&keys, &wrong);
    let indices: Vec<usize> = fails(&findings).iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [1, parent_of(1)]);
    assert!(fails(&findings)[1].1.contains("does not hold the result of job 1"), "{findings:?}");

    let mut swapped = capture();
    (swapped.jobs[0].result, swapped.jobs[1].result) =
        (swapped.jobs[1].result.clone(), swapped.jobs[0].result.clone());
    let indices: Vec<usize> =
        fails(&replay(&keys, &swapped)).iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [0, 1, parent_of(0)]);

    let mut misplaced = capture();
    misplaced.jobs[5].circuit = "block_root_1".into();
    let findings = replay(&keys, &misplaced);
    assert_eq!(fails(&findings), [(5, "the plan has block_root_0 in its place")]);
}

/// Goal: without a result the witness is computed and checked against its circuit.
#[test]
fn a_job_without_a_result_is_provable_or_fails_by_its_input() {
    let keys = keys();
    let mut capture = capture();
    // The last job, so that no other contains its result.
    capture.jobs[9].result = None;
    let findings = replay(&keys, &capture);
    assert_eq!(findings[9], Finding::Provable);
    assert_eq!(fails(&findings), []);

    // A byte in the middle of the input: in one of the children's proofs.
    let middle = capture.jobs[9].input.len() / 2;
    let digit = if &capture.jobs[9].input[middle..=middle] == "0" { "1" } else { "0" };
    capture.jobs[9].input.replace_range(middle..=middle, digit);
    let findings = replay(&keys, &capture);
    assert_eq!(fails(&findings).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [9]);
}

#[test]
fn a_capture_survives_its_file_and_another_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let capture = capture();
    let path = capture.write(folder.path()).unwrap();
    assert_eq!(Capture::read(&path).unwrap(), capture);

    let bytes = std::fs::read(&path).unwrap();
    let other = folder.path().join("other.json");
    let format = |bytes: &[u8]| {
        std::fs::write(&other, bytes).unwrap();
        let error = Capture::read(&other).unwrap_err();
        assert!(matches!(error, CaptureError::Format { .. }), "{error}");
        error.to_string()
    };
    format(&bytes[..bytes.len() / 2]);
    format(b"[]");
    let next = String::from_utf8(bytes).unwrap().replacen("\"format\":1", "\"format\":2", 1);
    assert!(format(next.as_bytes()).contains("its format is 2, expected 1"));
    let missing = Capture::read(&folder.path().join("gone.json")).unwrap_err();
    assert!(missing.to_string().starts_with("PRN-050: cannot use "), "{missing}");
}

/// Goal: the command names the invalid job, and its exit code says whether all jobs are valid.
#[test]
fn the_command_names_the_job_and_ends_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden().join(KEY_SET_NAME), folder.path().join(KEY_SET_NAME)).unwrap();
    let run = |capture: &Capture| {
        let path = capture.write(folder.path()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_rollmill-prover-node"))
            .arg("--keys-dir")
            .arg(folder.path())
            .arg("replay")
            .arg(path)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let mut capture = capture();
    let (code, printed, errors) = run(&capture);
    assert_eq!(code, Some(0), "{printed}{errors}");
    assert!(printed.ends_with("10 of 10 jobs hold\n"), "{printed}");
    flip(capture.jobs[9].result.as_mut().unwrap());
    let (code, printed, errors) = run(&capture);
    assert_eq!(code, Some(1), "{printed}{errors}");
    assert!(printed.contains("job 9 (epoch_root_2): "), "{printed}");
    assert!(errors.contains("PRN-052: 1 of 10 jobs"), "{errors}");
}

/// Goal: a command that only reads reports what is missing, which setting is wrong and what to do, and
/// creates nothing.
#[test]
fn a_command_says_what_is_missing_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollmill-prover-node"));
        let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for verb in [&["list"][..], &["show", "1"], &["retry", "1"], &["abandon", "1"]] {
        let error = run(&[&["--node-data-dir", "nope", "ranges"][..], verb].concat());
        assert!(error.contains("PRN-043: there is no directory nope/ranges"), "{error}");
        assert!(error.contains("--node-data-dir"), "{error}");
    }
    let error = run(&["keys", "--keys-dir", "nokeys", "x"]);
    assert!(error.contains("CIR-032: there is no keys.set in nokeys"), "{error}");
    assert!(error.contains("`rollmill-agent keys --keys-dir nokeys`"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let set = std::fs::read(golden().join(KEY_SET_NAME)).unwrap();
    std::fs::write(folder.path().join(KEY_SET_NAME), &set[..set.len() / 2]).unwrap();
    let error = run(&["keys", "--keys-dir", ".", "x"]);
    assert!(error.contains("CIR-01") && error.contains("The file is keys.set in ."), "{error}");
    assert!(error.contains("`rollmill-agent keys --keys-dir .`"), "{error}");
}

/// Goal: an operator sees every range, damaged ones too, and leaves commands for the running node.
#[test]
fn ranges_are_listed_shown_and_commanded() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("ranges");
    let store = RowStore::open(&folder).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rollmill-prover-node"))
            .arg("--node-data-dir")
            .arg(data.path())
            .arg("ranges")
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let mut row = capture().row;
    for id in [1, 2] {
        row.id = id;
        store.put(&row).unwrap();
    }
    let parking = Parking::Operator { reason: "look".into() };
    let parked = Row { id: 1, state: State::Parked { parking, intent: None }, ..row.clone() };
    std::fs::write(folder.join("00000002.json"), "damage").unwrap();

    let (code, printed, errors) = run(&["list"]);
    assert_eq!(code, Some(0), "{errors}");
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 3, "{printed}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words, ["1", "0", "1-3", "planned", "1", "-"]);
    assert!(lines[2].starts_with("damaged: ") && lines[2].contains("00000002.json"), "{printed}");

    let (_, printed, errors) = run(&["show", "1"]);
    row.id = 1;
    assert_eq!(serde_json::from_str::<Row>(&printed).expect(&errors), row);
    store.put(&parked).unwrap();
    for (word, order) in [("retry", Order::Retry), ("abandon", Order::Abandon)] {
        let (code, _, errors) = run(&[word, "1"]);
        assert_eq!((code, store.command(1)), (Some(0), Some(order)), "{errors}");
    }
    for word in ["show", "retry", "abandon"] {
        let (code, _, errors) = run(&[word, "7"]);
        assert_eq!(code, Some(1));
        assert!(errors.contains("PRN-041: there is no range 7"), "{errors}");
    }
}
