//! Files from outside: what is read of them, and that no bytes make the reader panic or expand without end.

use std::io::{Read, Write};

use acir::circuit::{Opcode, Program};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::{DeflateEncoder, GzEncoder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_acir::artifact::{Artifact, ArtifactError, Limits};
use serde_json::{Value, json};

use crate::support::{F, base64, bytecode, circuit, expression};

fn program() -> Program<F> {
    let opcode = Opcode::AssertZero(expression(&[(1, 0, 0)], &[(-1, 1)], 0));
    Program { functions: vec![circuit(1, vec![opcode])], unconstrained_functions: Vec::new() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The JSON of a program with this bytecode and debug information.
pub(crate) fn file(bytecode: &[u8], debug: &[u8]) -> Value {
    json!({
        "noir_version": "1.0.0",
        "abi": {"parameters": [], "return_type": null, "error_types": {
            "14225679739041873922": {"error_kind": "string", "string": "Index out of bounds"}}},
        "bytecode": base64(bytecode),
        "debug_symbols": base64(debug),
        "file_map": {"50": {"source": "fn main() {}\n", "path": "src/main.nr"}},
    })
}

fn debug() -> Vec<u8> {
    let info = json!({"debug_infos": [{
        "brillig_locations": {},
        "location_tree": {"locations": [
            {"parent": null, "value": {"span": {"start": 0, "end": 0}, "file": 0}},
            {"parent": 0, "value": {"span": {"start": 3, "end": 7}, "file": 50}}]},
        "acir_locations": {"0": 1}, "variables": {}, "functions": {}, "types": {}}]});
    deflate(info.to_string().as_bytes())
}

fn parse(file: &Value) -> Result<Artifact, ArtifactError> {
    Artifact::parse(file.to_string().as_bytes(), &Limits::default())
}

#[test]
fn a_program_is_read_with_its_lines_and_its_messages() {
    let artifact = parse(&file(&bytecode(&program()), &debug())).unwrap();
    assert_eq!(artifact.contract, None);
    let main = artifact.function("main").unwrap();
    assert_eq!(main.program, program());
    assert_eq!(main.circuit().unwrap().opcodes.len(), 1);
    assert_eq!(main.debug.opcode(0)[0].to_string(), "src/main.nr:1:4");
    assert_eq!(main.errors[&14225679739041873922].message(&[]), "Index out of bounds");
    let wrapped = json!({"program": file(&bytecode(&program()), &debug())});
    assert_eq!(parse(&wrapped).unwrap().function("main").unwrap().program, program());
}

#[test]
fn of_a_contract_the_private_functions_are_read() {
    let function = |name: &str, attribute: &str, bytecode: &str| {
        json!({"name": name, "custom_attributes": [attribute], "abi": {"error_types": {}},
            "bytecode": bytecode, "debug_symbols": ""})
    };
    let good = base64(&bytecode(&program()));
    let contract = json!({"name": "Token", "file_map": {}, "functions": [
        function("transfer", "abi_private", &good),
        // The bytecode of a public function is for another machine.
        function("mint", "abi_public", "AAAA")]});
    let artifact = parse(&contract).unwrap();
    assert_eq!(artifact.contract.as_deref(), Some("Token"));
    assert_eq!(artifact.functions.len(), 1);
    assert!(artifact.function("transfer").is_ok());
    let error = artifact.function("mint").unwrap_err();
    assert_eq!(error.code(), "ACR-007");
    assert!(error.to_string().contains("transfer"), "{error}");
}

#[test]
fn each_damaged_part_is_an_error_of_its_own() {
    let good = bytecode(&program());
    let with = |key: &str, value: Value| {
        let mut file = file(&good, &debug());
        file[key] = value;
        parse(&file).unwrap_err()
    };
    assert_eq!(Artifact::parse(b"{", &Limits::default()).unwrap_err().code(), "ACR-002");
    assert_eq!(parse(&json!({"abi": {}})).unwrap_err().code(), "ACR-002");
    assert_eq!(with("bytecode", json!("AAA")).code(), "ACR-003");
    assert_eq!(with("bytecode", json!("äöü")).code(), "ACR-003");
    assert_eq!(with("bytecode", json!("AAAA")).code(), "ACR-004");
    assert_eq!(with("bytecode", json!(base64(&good[..good.len() - 9]))).code(), "ACR-004");
    assert_eq!(with("bytecode", json!(base64(&gzip(&[])))).code(), "ACR-005");
    assert_eq!(with("bytecode", json!(base64(&gzip(&[9, 1, 2])))).code(), "ACR-005");
    assert_eq!(with("bytecode", json!(base64(&gzip(&[3, 0x92])))).code(), "ACR-005");
    assert_eq!(with("debug_symbols", json!("AAA")).code(), "ACR-003");
    assert_eq!(with("debug_symbols", json!(base64(&[0xff, 0xff]))).code(), "ACR-004");
    assert_eq!(with("debug_symbols", json!(base64(&deflate(b"{}")))).code(), "ACR-006");
}

#[test]
fn a_part_above_its_limit_is_rejected_before_it_is_expanded() {
    let limits = Limits { file_bytes: 20_000, bytecode_bytes: 1_000, debug_bytes: 2_000 };
    let parse = |file: &Value| Artifact::parse(file.to_string().as_bytes(), &limits);
    let good = bytecode(&program());
    assert!(parse(&file(&good, &debug())).is_ok());
    let bomb = vec![0; 5 << 20];
    for (file, part) in [
        (file(&gzip(&bomb), &debug()), "the bytecode of \"main\""),
        (file(&good, &deflate(&bomb)), "the debug information of \"main\""),
        (file(&[1; 20_000], &debug()), "the file"),
    ] {
        match parse(&file).unwrap_err() {
            ArtifactError::TooLarge { part: got, .. } => assert_eq!(got, part),
            other => panic!("{part}: {other}"),
        }
    }
    // MessagePack that announces 2^32 − 1 elements and has none.
    let announced = [3, 0x92, 0xdd, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(parse(&file(&gzip(&announced), &debug())).unwrap_err().code(), "ACR-005");
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let mut plain = Vec::new();
    GzDecoder::new(bytecode(&program()).as_slice()).read_to_end(&mut plain).unwrap();
    let json = file(&gzip(&plain), &debug()).to_string().into_bytes();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let limits = Limits { file_bytes: 1 << 20, bytecode_bytes: 1 << 20, debug_bytes: 1 << 20 };
    for cut in 0..plain.len() {
        let file = file(&gzip(&plain[..cut]), &[]).to_string();
        assert!(Artifact::parse(file.as_bytes(), &limits).is_err(), "{cut} bytes");
    }
    for _ in 0..500 {
        let mut changed = plain.clone();
        for _ in 0..rng.gen_range(1..4) {
            let at = rng.gen_range(0..changed.len());
            changed[at] = rng.r#gen();
        }
        // Either is right: some bytes are values.
        _ = Artifact::parse(file(&gzip(&changed), &[]).to_string().as_bytes(), &limits);
        let mut changed = json.clone();
        let at = rng.gen_range(0..changed.len());
        changed[at] = rng.r#gen();
        _ = Artifact::parse(&changed, &limits);
    }
}
