//! Keys and proofs on the CPU: what is accepted, and that everything else is rejected.

use std::cell::Cell;

use rollmill_acir::artifact::{Artifact, Function, Limits};
use rollmill_acir::lower::{Options, Statement};
use rollmill_algebra::{CpuDevice, Fr};
use rollmill_circuits::store::MemoryStore;
use rollmill_noir::backend::{Backend, Order, verify};
use rollmill_noir::files::{KeyFile, ProofFile};
use rollmill_noir::{NoirError, program, solidity};
use rollmill_plonk::transcript::TranscriptKind;
use serde_json::{Map, Value, json};

use crate::support::artifact;

const OPTIONS: Options =
    Options { cell_bits: 8, rows_max: 1 << 12, own_outputs: false, statement: Statement::Program };

fn main_of(artifact: &Value) -> Function {
    let artifact = Artifact::parse(artifact.to_string().as_bytes(), &Limits::default()).unwrap();
    artifact.function("main").unwrap().clone()
}

fn inputs(a: u32, b: u32, sum: u32) -> Map<String, Value> {
    match json!({"pair": {"a": a, "b": b}, "sum": sum}) {
        Value::Object(map) => map,
        _ => unreachable!("it is an object"),
    }
}

fn prove(
    backend: &Backend<'_, CpuDevice>,
    function: &Function,
    inputs: &Map<String, Value>,
    key: Option<&KeyFile>,
    transcript: TranscriptKind,
) -> Result<ProofFile, NoirError> {
    let order = Order { options: &OPTIONS, inputs, key, transcript, seed: [7; 32] };
    backend.prove(function, &order, &|| true)
}

#[test]
fn a_proof_is_verified_with_the_key_of_its_program_alone() {
    let (device, store) = (CpuDevice::default(), MemoryStore::default());
    let backend = Backend { device: &device, store: &store, chain_id: 31337 };
    let function = main_of(&artifact(1));
    let key = backend.key(&function, &OPTIONS).unwrap();
    let other = backend.key(&main_of(&artifact(2)), &OPTIONS).unwrap();
    assert_eq!(backend.key(&function, &OPTIONS).unwrap(), key, "the key from the store");
    assert_eq!(key.vk.shape.n_public, 2);
    for transcript in [TranscriptKind::Keccak, TranscriptKind::Poseidon2] {
        let proof = prove(&backend, &function, &inputs(3, 5, 8), Some(&key), transcript).unwrap();
        assert_eq!(proof.public, [Fr::from(8u64), Fr::from(15u64)]);
        assert_eq!(proof.returned, Some(json!(15)));
        verify(&key, &proof, 31337).unwrap();
        // By way of the files.
        let read = ProofFile::from_json(proof.to_json().as_bytes()).unwrap();
        assert_eq!(read, proof);
        let key_read = KeyFile::from_json(key.to_json().as_bytes()).unwrap();
        assert_eq!(key_read, key);
        verify(&key_read, &read, 31337).unwrap();
        let mut changed = proof.clone();
        changed.public[1] = Fr::from(16u64);
        assert_eq!(verify(&key, &changed, 31337).unwrap_err().code(), "PLK-032");
        changed.public.pop();
        assert_eq!(verify(&key, &changed, 31337).unwrap_err().code(), "PLK-030");
        assert_eq!(verify(&other, &proof, 31337).unwrap_err().code(), "NOI-007");
        let mut renamed = proof.clone();
        renamed.key_digest = other.vk.digest();
        assert!(verify(&other, &renamed, 31337).is_err());
    }
    let wrong = prove(&backend, &function, &inputs(3, 5, 8), Some(&other), TranscriptKind::Keccak);
    assert_eq!(wrong.unwrap_err().code(), "NOI-008");
    let without = prove(&backend, &function, &inputs(1, 1, 2), None, TranscriptKind::Keccak);
    verify(&key, &without.unwrap(), 31337).unwrap();
}

#[test]
fn a_false_key_has_no_proof() {
    let (device, store) = (CpuDevice::default(), MemoryStore::default());
    let backend = Backend { device: &device, store: &store, chain_id: 31337 };
    let function = main_of(&artifact(1));
    let mut key = backend.key(&function, &OPTIONS).unwrap();
    // It states the layout of the program, and commits to other columns.
    key.vk.fixed.swap(0, 1);
    let key = KeyFile::from_json(key.to_json().as_bytes()).unwrap();
    let proof = prove(&backend, &function, &inputs(3, 5, 8), Some(&key), TranscriptKind::Keccak);
    assert_eq!(proof.unwrap_err().code(), "NOI-011");
}

#[test]
fn inputs_that_the_program_rejects_have_no_proof() {
    let (device, store) = (CpuDevice::default(), MemoryStore::default());
    let backend = Backend { device: &device, store: &store, chain_id: 31337 };
    let function = main_of(&artifact(1));
    let fails = |inputs: &Map<String, Value>| {
        let failed = prove(&backend, &function, inputs, None, TranscriptKind::Keccak);
        failed.unwrap_err().code().to_owned()
    };
    assert_eq!(fails(&inputs(3, 5, 9)), "ACR-022");
    assert_eq!(fails(&Map::new()), "ACR-060");
    let mut stated = inputs(3, 5, 8);
    stated.insert("return".to_owned(), json!(16));
    assert_eq!(fails(&stated), "ACR-067");
}

#[test]
fn a_proof_that_nobody_waits_for_is_stopped() {
    let (device, store) = (CpuDevice::default(), MemoryStore::default());
    let backend = Backend { device: &device, store: &store, chain_id: 31337 };
    let inputs = inputs(3, 5, 8);
    let transcript = TranscriptKind::Keccak;
    let order = Order { options: &OPTIONS, inputs: &inputs, key: None, transcript, seed: [7; 32] };
    let function = main_of(&artifact(1));
    let asked = Cell::new(0);
    let times = |most: u32| {
        asked.set(0);
        let goes_on = || {
            asked.set(asked.get() + 1);
            asked.get() <= most
        };
        backend.prove(&function, &order, &goes_on)
    };
    times(u32::MAX).unwrap();
    let all = asked.get();
    // Before the first opcode of the program, and before the last round of the proof.
    for most in [0, all - 1] {
        assert_eq!(times(most).unwrap_err().code(), "NOI-013");
        assert_eq!(asked.get(), most + 1);
    }
}

#[test]
fn a_development_srs_serves_development_chains_only() {
    let (device, store) = (CpuDevice::default(), MemoryStore::default());
    let on = |chain_id: u64| Backend { device: &device, store: &store, chain_id };
    let function = main_of(&artifact(1));
    let error = on(1).key(&function, &OPTIONS).unwrap_err();
    assert!(error.to_string().contains("development"), "{error}");
    // Anyone can forge a proof for the key of a development chain, so it convinces nobody elsewhere.
    let key = on(31337).key(&function, &OPTIONS).unwrap();
    let transcript = TranscriptKind::Keccak;
    let proof = prove(&on(31337), &function, &inputs(3, 5, 8), Some(&key), transcript).unwrap();
    verify(&key, &proof, 31337).unwrap();
    let error = verify(&key, &proof, 1).unwrap_err();
    assert!(error.to_string().contains("development"), "{error}");
}

#[test]
fn damaged_files_are_errors() {
    let (device, store) = (CpuDevice::default(), MemoryStore::default());
    let backend = Backend { device: &device, store: &store, chain_id: 31337 };
    let function = main_of(&artifact(1));
    let key = backend.key(&function, &OPTIONS).unwrap();
    let proof =
        prove(&backend, &function, &inputs(3, 5, 8), Some(&key), TranscriptKind::Keccak).unwrap();
    let (key, proof) = (key.to_json(), proof.to_json());
    let change = |json: &str, field: &str, value: Value| {
        let mut json: Value = serde_json::from_str(json).unwrap();
        json[field] = value;
        json.to_string().into_bytes()
    };
    let zero = format!("0x{}", "0".repeat(64));
    for (field, value) in [
        ("format", json!("other")),
        ("digest", json!(zero)),
        ("tau_g2", json!("0x00")),
        ("key", json!("0x00")),
        ("key", json!("zz")),
        ("layout_digest", json!("0x")),
        ("public_inputs", json!(3)),
        ("log_n", json!(20)),
        ("rows", json!(-1)),
    ] {
        let reason = KeyFile::from_json(&change(&key, field, value.clone()));
        assert!(reason.is_err(), "{field} = {value}");
    }
    let modulus = "0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001";
    for (field, value) in [
        ("format", json!("other")),
        ("transcript", json!("sha256")),
        ("proof", json!("0x00")),
        ("key_digest", json!("0x01")),
        ("public_inputs", json!([modulus])),
        ("public_inputs", json!([8])),
    ] {
        let reason = ProofFile::from_json(&change(&proof, field, value.clone()));
        assert!(reason.is_err(), "{field} = {value}");
    }
    assert!(KeyFile::from_json(proof.as_bytes()).is_err());
    assert!(ProofFile::from_json(b"").is_err());
}

#[test]
fn rows_are_counted_by_kind_of_opcode() {
    let gates = program::gates(&main_of(&artifact(1)), &OPTIONS).unwrap();
    let of = |name: &str| gates.families.iter().find(|family| family.opcode == name).unwrap();
    assert_eq!(of("AssertZero").opcodes, 2);
    assert_eq!((gates.public_inputs, gates.cell_bits), (2, 8));
    assert_eq!(of("public inputs").rows, 2);
    assert!(gates.rows < 1 << gates.log_n);
    let text = gates.to_string();
    // The column of the rows adds up to the circuit's.
    let lines = text.lines().skip(1).filter(|line| !line.contains(':'));
    let column = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap());
    assert_eq!(column.sum::<i64>(), gates.rows as i64, "{text}");
    assert_eq!(text.lines().count(), gates.families.len() + 3, "{text}");
    assert!(text.contains("AssertZero") && text.contains("2 public inputs"), "{text}");
}

/// Goal: a small program has a small circuit, and none is larger than with the usual 12 bits.
#[test]
fn the_width_of_cells_is_that_of_the_smallest_circuit() {
    for (name, json, expected) in [
        ("range", include_str!("../artifacts/programs/range.json"), (8, 9)),
        ("sudoku", include_str!("../artifacts/programs/sudoku.json"), (10, 11)),
        ("multi_scalar_mul", include_str!("../artifacts/programs/multi_scalar_mul.json"), (12, 13)),
        ("big_loop", include_str!("../artifacts/programs/big_loop.json"), (12, 15)),
    ] {
        let artifact = Artifact::parse(json.as_bytes(), &Limits::default()).unwrap();
        let function = artifact.function("main").unwrap();
        let options = program::fitting(function, &Options::default()).unwrap();
        let gates = program::gates(function, &options).unwrap();
        assert_eq!((options.cell_bits, gates.log_n), expected, "{name}");
        let usual = program::gates(function, &Options::default()).unwrap();
        assert!(gates.log_n <= usual.log_n, "{name}");
        assert_eq!(
            options,
            Options { cell_bits: options.cell_bits, ..Options::default() },
            "{name}"
        );
    }
}

#[test]
fn a_contract_is_written_for_the_key() {
    let (device, store) = (CpuDevice::default(), MemoryStore::default());
    let backend = Backend { device: &device, store: &store, chain_id: 31337 };
    let key = backend.key(&main_of(&artifact(1)), &OPTIONS).unwrap();
    let source = solidity::contract(&key, "PairVerifier").unwrap();
    assert!(source.contains("contract PairVerifier"), "{source}");
    assert!(source.contains(&key.digest()), "{source}");
    for name in ["", "1a", "a b", "a/../b", "ä", "IVerifier", "iverifier", "verify"] {
        assert_eq!(solidity::contract(&key, name).unwrap_err().code(), "NOI-010", "{name}");
    }
}
