//! The programs of noir/programs, as noir/compile.js compiled them: each is proven and verified natively, and the
//! verifier's circuit accepts the proof. `benches/noir.py` does the same with the program and a contract on anvil.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rollmill_acir::artifact::Function;
use rollmill_acir::lower::Options;
use rollmill_algebra::{CpuDevice, Fr};
use rollmill_circuits::circuit::Dimensions;
use rollmill_circuits::gadgets::fold::{Children, KeyCheck, ProofWitness};
use rollmill_circuits::gadgets::vk_tree::KeyVars;
use rollmill_circuits::registry::{SRS_NAME, open_srs};
use rollmill_circuits::store::{DirStore, MemoryStore, Store, cache_dir};
use rollmill_noir::backend::{Backend, Order, verify};
use rollmill_noir::files::{KeyFile, ProofFile};
use rollmill_noir::{NoirError, inputs, program};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair};
use serde_json::{Map, Value};

/// The programs, each with the kind of opcode that it is about; the others have several.
const PROGRAMS: [(&str, Option<&str>); 21] = [
    ("aes128", Some("aes128_encrypt")),
    ("assert_zero", Some("AssertZero")),
    ("big_loop", None),
    ("blake2s", Some("blake2s")),
    ("blake3", Some("blake3")),
    ("brillig", Some("BrilligCall")),
    ("ecdsa_secp256k1", Some("ecdsa_secp256k1")),
    ("ecdsa_secp256r1", Some("ecdsa_secp256r1")),
    ("embedded_curve_add", Some("embedded_curve_add")),
    ("keccakf1600", Some("keccakf1600")),
    ("logic", Some("xor")),
    ("merkle_path", None),
    ("multi_scalar_mul", Some("multi_scalar_mul")),
    ("poseidon2", Some("poseidon2_permutation")),
    ("ram", Some("memory written")),
    ("range", Some("range")),
    ("rom", Some("memory only read")),
    ("sha256_compression", Some("sha256_compression")),
    ("sha256_preimage", None),
    ("signed_message", None),
    ("sudoku", None),
];

/// Rows of the circuit that verifies one proof, at most.
const VERIFIER: Dimensions = Dimensions { log_n: 17, cell_bits: 16 };

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn loaded(name: &str) -> (Function, Map<String, Value>) {
    let artifact = folder(&format!("artifacts/programs/{name}.json"));
    let function = program::load(&artifact, "main").unwrap_or_else(|error| {
        panic!("{error}; run `npm ci --ignore-scripts && node compile.js` in noir")
    });
    (function, inputs::load(&folder(&format!("programs/{name}/Prover.toml"))).unwrap())
}

/// A store with an SRS that is long enough for all programs, and with nothing that lasts.
fn store() -> MemoryStore {
    let store = MemoryStore::default();
    let srs = open_srs(&DirStore::new(cache_dir(None)), 31337).unwrap();
    store.put(SRS_NAME, &srs.to_bytes()).unwrap();
    store
}

fn proven(
    backend: &Backend<'_, CpuDevice>,
    function: &Function,
    inputs: &Map<String, Value>,
    key: Option<&KeyFile>,
) -> Result<ProofFile, NoirError> {
    let order = Order {
        options: &Options::default(),
        inputs,
        key,
        // Of the proofs that a circuit verifies.
        transcript: TranscriptKind::Poseidon2,
        seed: [7; 32],
    };
    backend.prove(function, &order, &|| true)
}

/// The key of one program, as a constant of the circuit.
struct OneKey {
    sizes: [Dimensions; 1],
    n_public: usize,
    digest: Fr,
}

impl KeyCheck for OneKey {
    type Known = ();
    fn n_public(&self) -> usize {
        self.n_public
    }
    fn sizes(&self) -> &[Dimensions] {
        &self.sizes
    }
    fn pair_at(&self) -> Option<usize> {
        None
    }
    fn constrain(self, b: &mut Builder, key: &KeyVars) {
        b.assert_constant(key.digest, self.digest);
    }
}

/// The verifier's circuit over a proof with these public inputs: whether its rows hold, and whether the pair that it
/// leaves holds under the key's SRS. Both together are what its own verifier asks.
fn circuit_accepts(key: &KeyFile, proof: &ProofFile, public: &[Fr]) -> (bool, bool) {
    let shape = key.vk.shape;
    let size = Dimensions { log_n: shape.log_n, cell_bits: shape.cell_bits };
    let one = OneKey { sizes: [size], n_public: public.len(), digest: key.vk.digest() };
    let mut b = Builder::new(PAIR_INPUTS, VERIFIER.cell_bits);
    let mut children = Children::default();
    let witness = ProofWitness { proof: &proof.proof, public, vk: &key.vk };
    children.verify(&mut b, one, witness);
    for (i, word) in children.fold(&mut b).into_iter().enumerate() {
        b.set_public(i, word);
    }
    let (layout, rows) = b.finish(Some(VERIFIER.log_n)).unwrap();
    let pair: [Fr; PAIR_INPUTS] = rows.public.clone().try_into().unwrap();
    let holds = Pair::from_fields(&pair).is_ok_and(|pair| pair.holds(&key.tau_g2));
    (check(&layout, &rows).is_ok(), holds)
}

#[test]
fn every_program_of_the_folder_is_tested_and_has_its_opcode() {
    let mut found: Vec<String> = std::fs::read_dir(folder("programs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Nargo.toml").exists())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, PROGRAMS.map(|(name, _)| name));
    for (name, opcode) in PROGRAMS {
        let (function, _) = loaded(name);
        let gates = program::gates(&function, &Options::default()).unwrap();
        let counts: BTreeMap<&str, usize> =
            gates.families.iter().map(|family| (family.opcode.as_str(), family.opcodes)).collect();
        println!("{name}: {} rows, {counts:?}", gates.rows);
        let is_there = opcode.is_none_or(|opcode| counts.contains_key(opcode));
        assert!(is_there, "{name} has no {opcode:?}: {counts:?}");
    }
}

/// Proves these programs and verifies them natively and in a circuit.
fn verified(names: &[&str]) {
    let (device, store) = (CpuDevice::default(), store());
    let backend = Backend { device: &device, store: &store, chain_id: 31337 };
    for name in names {
        println!("{name}");
        let (function, inputs) = loaded(name);
        let key = backend.key(&function, &Options::default()).unwrap();
        let proof = proven(&backend, &function, &inputs, Some(&key)).unwrap();
        verify(&key, &proof, 31337).unwrap();
        assert_eq!(circuit_accepts(&key, &proof, &proof.public), (true, true), "{name}");
        // Both reject another public input.
        let mut other = proof.clone();
        other.public[0] += Fr::from(1u64);
        assert!(verify(&key, &other, 31337).is_err(), "{name}");
        let (rows_hold, pair_holds) = circuit_accepts(&key, &proof, &other.public);
        assert!(!(rows_hold && pair_holds), "{name}");
    }
}

#[test]
fn programs_of_arithmetic_memory_and_hints_are_verified_natively_and_in_a_circuit() {
    verified(&["assert_zero", "range", "rom", "ram", "brillig", "logic", "sudoku", "big_loop"]);
}

#[test]
fn programs_on_grumpkin_and_with_poseidon2_are_verified_natively_and_in_a_circuit() {
    verified(&["poseidon2", "merkle_path", "multi_scalar_mul", "embedded_curve_add"]);
}

#[test]
fn programs_of_sha256_blake_and_aes_are_verified_natively_and_in_a_circuit() {
    verified(&["sha256_compression", "sha256_preimage", "blake2s", "blake3", "aes128"]);
}

#[test]
fn programs_of_signatures_and_keccak_are_verified_natively_and_in_a_circuit() {
    verified(&["ecdsa_secp256k1", "ecdsa_secp256r1", "signed_message", "keccakf1600"]);
}

/// Goal: the inputs matter. Each of these programs has a witness for its own inputs alone.
#[test]
fn other_inputs_of_a_program_have_no_proof() {
    let (device, store) = (CpuDevice::default(), MemoryStore::default());
    let backend = Backend { device: &device, store: &store, chain_id: 31337 };
    // No key is made: the program rejects them before.
    for (name, parameter) in [
        ("assert_zero", "y"),
        ("ecdsa_secp256k1", "digest"),
        ("ecdsa_secp256r1", "digest"),
        ("sha256_preimage", "message"),
        ("signed_message", "message"),
        ("sudoku", "solution"),
    ] {
        let (function, mut inputs) = loaded(name);
        let mut value = inputs.get_mut(parameter).unwrap();
        while value.is_array() {
            value = value.get_mut(0).unwrap();
        }
        *value = Value::from(value.as_u64().unwrap() ^ 2);
        let error = proven(&backend, &function, &inputs, None).unwrap_err();
        assert!(error.to_string().starts_with("ACR-022"), "{name}: {error}");
    }
}
