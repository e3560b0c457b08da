//! The program as anybody runs it.

use std::path::Path;
use std::process::{Command, Output};

use acir::FieldElement;
use acir::native_types::WitnessStack;
use serde_json::Value;

use crate::support::artifact;

/// The program in a directory, which is also its directory of keys.
fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollmill-noir"));
    command.current_dir(dir).args(["--device", "cpu", "--keys-dir", "keys"]).args(arguments);
    command
}

fn noir(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

/// What a command that succeeds prints.
fn printed(dir: &Path, arguments: &[&str]) -> String {
    let output = noir(dir, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A directory with a program and its inputs.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pair.json"), artifact(1).to_string()).unwrap();
    let inputs = "sum = \"0x08\"\nreturn = 15\n\n[pair]\na = 3\nb = \"5\"\n";
    std::fs::write(dir.path().join("Prover.toml"), inputs).unwrap();
    dir
}

const SMALL: [&str; 3] = ["pair.json", "--cell-bits", "8"];

fn small<'a>(command: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&[command][..], &SMALL, rest].concat()
}

#[test]
fn a_program_is_proven_verified_and_has_its_contract() {
    let project = project();
    let dir = project.path();
    let gates: Value = serde_json::from_str(&printed(dir, &small("gates", &["--json"]))).unwrap();
    assert_eq!(gates["public_inputs"], 2);
    assert!(printed(dir, &small("gates", &[])).contains("AssertZero"));
    let digest = printed(dir, &small("key", &[]));
    assert_eq!(printed(dir, &small("prove", &["--key", "noir-key.json"])), "15\n");
    assert_eq!(printed(dir, &["verify"]), format!("valid for key {digest}"));
    let elsewhere = noir(dir, &["verify", "--chain-id", "1"]);
    assert_eq!(elsewhere.status.code(), Some(1), "{elsewhere:?}");
    assert!(elsewhere.stdout.is_empty(), "{elsewhere:?}");
    printed(dir, &["solidity", "--contract", "Pair", "--output", "contracts/src"]);
    let source = std::fs::read_to_string(dir.join("contracts/src/Pair.sol")).unwrap();
    assert!(source.contains("contract Pair") && source.contains(digest.trim()), "{source}");
    assert!(dir.join("contracts/src/IVerifier.sol").exists());
    // The same inputs as JSON, and without the key.
    std::fs::write(dir.join("in.json"), r#"{"pair": {"a": 3, "b": 5}, "sum": 8}"#).unwrap();
    printed(dir, &small("prove", &["--inputs", "in.json", "--output", "second.json"]));
    printed(dir, &["verify", "--proof", "second.json"]);
    // Without a width of cells the key's is taken, and without a key the one with the smallest circuit.
    printed(dir, &["prove", "pair.json", "--key", "noir-key.json", "--output", "third.json"]);
    printed(dir, &["verify", "--proof", "third.json"]);
    let gates: Value =
        serde_json::from_str(&printed(dir, &["gates", "pair.json", "--json"])).unwrap();
    assert_eq!((&gates["cell_bits"], &gates["log_n"]), (&8.into(), &9.into()));
    printed(dir, &["key", "pair.json", "--cell-bits", "9", "--output", "wide-key.json"]);
    let wide = ["prove", "pair.json", "--key", "wide-key.json", "--output", "wide.json"];
    printed(dir, &wide);
    printed(dir, &["verify", "--key", "wide-key.json", "--proof", "wide.json"]);
    // The witness as other provers read it.
    printed(dir, &["witness", "pair.json"]);
    let bytes = std::fs::read(dir.join("witness.gz")).unwrap();
    let mut stack = WitnessStack::<FieldElement>::deserialize(&bytes).unwrap();
    let values: Vec<FieldElement> =
        stack.pop().unwrap().witness.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [3u64, 5, 8, 15].map(FieldElement::from));
    // Nothing is left of files that were written aside.
    let is_part = |name: &str| name.ends_with(".part");
    let names = std::fs::read_dir(dir).unwrap();
    let names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| is_part(name)), "{names:?}");
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let project = project();
    let mut command = command(project.path(), &small("gates", &[]));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // A disk that is full is one.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("NOI-002"), "{output:?}");
}

#[test]
fn a_proof_of_something_else_is_rejected() {
    let project = project();
    let dir = project.path();
    printed(dir, &small("key", &[]));
    printed(dir, &small("prove", &[]));
    let path = dir.join("noir-proof.json");
    let mut proof: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    proof["public_inputs"][0] = proof["public_inputs"][1].clone();
    std::fs::write(&path, proof.to_string()).unwrap();
    let output = noir(dir, &["verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PLK-032"), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_a_person_must_correct_exits_with_2() {
    let project = project();
    let dir = project.path();
    std::fs::write(dir.join("short.toml"), "sum = 8\npair.a = 3\n").unwrap();
    std::fs::write(dir.join("broken.toml"), "sum = = 8\n").unwrap();
    for (arguments, code) in [
        (small("prove", &["--inputs", "short.toml"]), "ACR-060"),
        (small("prove", &["--inputs", "broken.toml"]), "NOI-004"),
        (small("prove", &["--function", "mint"]), "ACR-007"),
        (small("prove", &["--key", "pair.json"]), "NOI-005"),
        (vec!["gates", "Prover.toml"], "ACR-002"),
        (small("key", &["--output", "pair.json"]), "NOI-014"),
        (small("prove", &["--output", "./Prover.toml"]), "NOI-014"),
        (small("prove", &["--key", "short.toml", "--output", "short.toml"]), "NOI-014"),
    ] {
        let output = noir(dir, &arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(code), "{arguments:?}: {errors}");
    }
    let output = noir(dir, &small("prove", &["--output", "missing/proof.json"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("NOI-002"), "{output:?}");
}
