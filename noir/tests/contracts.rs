//! The generated contracts, run by forge on proofs of programs with no, one and many public inputs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rollmill_acir::artifact::{Artifact, Limits};
use rollmill_acir::lower::Options;
use rollmill_algebra::{CpuDevice, Fr};
use rollmill_circuits::store::MemoryStore;
use rollmill_noir::backend::{Backend, Order};
use rollmill_noir::files::{ProofFile, field_text};
use rollmill_noir::solidity::{INTERFACE, INTERFACE_FILE, contract};
use rollmill_plonk::transcript::TranscriptKind;
use serde_json::{Value, json};

use crate::support::sum_of;

/// Numbers of public inputs.
const COUNTS: [u32; 4] = [0, 1, 2, 40];

fn contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts").canonicalize().expect("contracts/")
}

/// A verifier of this name for a program with so many public inputs, and a proof for it.
fn verifier(name: &str, count: u32) -> (String, ProofFile) {
    let (device, store) = (CpuDevice::default(), MemoryStore::default());
    let backend = Backend { device: &device, store: &store, chain_id: 31337 };
    let json = sum_of(count).to_string();
    let artifact = Artifact::parse(json.as_bytes(), &Limits::default()).unwrap();
    let main = artifact.function("main").unwrap();
    let options = Options { cell_bits: 8, ..Options::default() };
    let key = backend.key(main, &options).unwrap();
    assert_eq!(key.vk.shape.n_public, count);
    let terms: Vec<u32> = (1..=count).collect();
    let sum = 7 + terms.iter().sum::<u32>();
    let Value::Object(inputs) = json!({"terms": terms, "sum": sum}) else {
        unreachable!("it is an object")
    };
    let order = Order {
        options: &options,
        inputs: &inputs,
        key: Some(&key),
        transcript: TranscriptKind::Keccak,
        seed: [7; 32],
    };
    let proof = backend.prove(main, &order, &|| true).unwrap();
    assert_eq!(proof.public, terms.iter().map(|term| Fr::from(*term)).collect::<Vec<_>>());
    (contract(&key, name).unwrap(), proof)
}

/// Tests of one contract: the proof is accepted, and nothing else.
fn tests_of(name: &str, proof: &ProofFile) -> String {
    let mut set = String::new();
    for (i, value) in proof.public.iter().enumerate() {
        writeln!(set, "        inputs[{i}] = {};", field_text(value)).unwrap();
    }
    let count = proof.public.len();
    let bytes: Value = serde_json::from_str(&proof.to_json()).unwrap();
    let bytes = bytes["proof"].as_str().unwrap().trim_start_matches("0x").to_owned();
    format!(
        r#"// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {{{name}}} from "../src/{name}.sol";

contract {name}Test {{
    {name} private verifier = new {name}();

    function inputsOf() private pure returns (bytes32[] memory inputs) {{
        inputs = new bytes32[]({count});
{set}    }}

    function proofOf() private pure returns (bytes memory) {{
        return hex"{bytes}";
    }}

    function accepts(bytes memory proof, bytes32[] memory inputs) private view returns (bool) {{
        try verifier.verify(proof, inputs) returns (bool valid) {{
            return valid;
        }} catch {{
            return false;
        }}
    }}

    function test_the_proof_is_accepted() external view {{
        require(accepts(proofOf(), inputsOf()), "the proof is rejected");
    }}

    function test_other_inputs_are_rejected() external view {{
        for (uint256 i = 0; i < {count}; i++) {{
            bytes32[] memory inputs = inputsOf();
            inputs[i] = bytes32(uint256(inputs[i]) + 1);
            require(!accepts(proofOf(), inputs), "another input is accepted");
        }}
        bytes32[] memory more = new bytes32[]({count} + 1);
        for (uint256 i = 0; i < {count}; i++) {{
            more[i] = inputsOf()[i];
        }}
        require(!accepts(proofOf(), more), "one input more is accepted");
    }}

    function test_other_proofs_are_rejected() external view {{
        bytes memory proof = proofOf();
        for (uint256 i = 31; i < proof.length; i += 320) {{
            proof[i] ^= 0x01;
            require(!accepts(proof, inputsOf()), "another proof is accepted");
            proof[i] ^= 0x01;
        }}
        require(!accepts("", inputsOf()), "an empty proof is accepted");
    }}
}}
"#
    )
}

/// A project of forge that compiles as the folder of contracts does.
fn write_project(root: &Path) {
    for folder in ["src", "test"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let compiler = contracts().join("solcw.js");
    let config = format!(
        "[profile.default]\nsrc = \"src\"\ntest = \"test\"\nlibs = []\nsolc = {:?}\noffline = true\n\
         evm_version = \"osaka\"\nvia_ir = true\noptimizer = true\noptimizer_runs = 200\n",
        compiler.display().to_string()
    );
    fs::write(root.join("foundry.toml"), config).unwrap();
    fs::write(root.join("src").join(INTERFACE_FILE), INTERFACE).unwrap();
    for count in COUNTS {
        let name = format!("Sum{count}");
        let (source, proof) = verifier(&name, count);
        fs::write(root.join(format!("src/{name}.sol")), source).unwrap();
        fs::write(root.join(format!("test/{name}.t.sol")), tests_of(&name, &proof)).unwrap();
    }
}

#[test]
fn contracts_accept_the_proofs_of_their_program_alone() {
    let installed = |package: &str| contracts().join("node_modules").join(package).is_dir();
    assert!(
        installed("solc") && installed("@foundry-rs"),
        "forge and solc are not installed in contracts/node_modules: run `make setup`"
    );
    let project = tempfile::tempdir().unwrap();
    write_project(project.path());
    let run = Command::new("node")
        .arg(contracts().join("forge.js"))
        .args(["test", "--root"])
        .arg(project.path())
        .args(["--gas-limit", "18446744073709551615"])
        .output()
        .expect("node is not installed: run `make setup`");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&run.stdout), text(&run.stderr));
    assert!(run.status.success() && out.contains("0 failed"), "{out}\n{err}");
    for count in COUNTS {
        assert!(out.contains(&format!("Sum{count}Test")), "{out}\n{err}");
    }
}
