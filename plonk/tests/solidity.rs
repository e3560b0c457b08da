//! The Solidity verifier against the native one, run by forge on real proofs.
//!
//! A forge project is written to a temporary folder: the generated contracts, the test contract of
//! `tests/solidity/`, proofs and mutations with the native verdict on each.
//!
//! The stored proofs of `tests/fixtures/solidity/` must keep verifying, at the gas and code size stored
//! there. After a deliberate change, `ROLLMILL_BLESS=1` writes all of it again.
//! `ROLLMILL_KEEP_FORGE_PROJECT=/some/folder` leaves the project there, to run forge by hand.

#[path = "solidity/forger.rs"]
mod forger;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::PrimeField;
use forger::Flaw;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rollmill_algebra::bytes::{fr_from_slice, fr_to_bytes, g2_from_bytes, g2_to_bytes};
use rollmill_algebra::cpu::CpuDevice;
use rollmill_algebra::{Fq, Fr, G1Affine, G2Affine};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::{CONSTRAINTS, Challenges, Constants, Fold, constraints, power_of_two};
use rollmill_plonk::key::{Bases, ProvingKey, VerifyingKey, setup};
use rollmill_plonk::layout::{FixedRow, Layout, Witness};
use rollmill_plonk::proof::{
    COMMITMENTS, Computed, EVALUATIONS, PROOF_BYTES, Proof, cells_from_evaluations,
};
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::shape::QUOTIENT_CHUNKS;
use rollmill_plonk::solidity::{Memory, emit, generate, quotient_identity};
use rollmill_plonk::srs::{Srs, development_tau};
use rollmill_plonk::transcript::{TranscriptKind, halves};
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair, verify};

const CELL_BITS: u32 = 8;
/// Public inputs of the circuit that carries no pair.
const PLAIN_INPUTS: usize = 2;
/// Public inputs before the carried pair of the other one, as many as the epoch's root has.
const PAIR_AT: usize = 15;

/// A circuit that uses arithmetic, range checks, Poseidon2 and the ROM; it carries a pair it does not
/// look at, when one is given.
fn circuit(x: u64, pair: Option<&PairFields>) -> (Layout, Witness) {
    let n_public = pair.map_or(PLAIN_INPUTS, |_| PAIR_AT + PAIR_INPUTS);
    let mut b = Builder::new(n_public, CELL_BITS);
    let x = b.witness(Fr::from(x));
    let y = b.witness(Fr::from(5u64));
    b.set_public(0, x);
    let product = b.mul(x, y);
    b.range(product, 32);
    let carried: Vec<Var> =
        pair.map_or(Vec::new(), |fields| fields.map(|field| b.witness(field)).to_vec());
    carried.iter().enumerate().for_each(|(i, var)| b.set_public(PAIR_AT + i, *var));
    let digest = b.hash(9, &[x, y, product]);
    b.set_public(1, digest);
    if pair.is_some() {
        (2..PAIR_AT).for_each(|i| b.set_public(i, digest));
    }
    let id = b.constant_u64(1);
    let address = b.constant_u64(4);
    b.rom_write(id, address, [x, y, product, x], [y, digest, product, x]);
    let copy = b.add(address, Builder::ZERO);
    let row = b.raw_row([copy, x, y, id], &FixedRow::read([Fr::from(0u64); 8]), [0; 8]);
    b.raw_row([x, y, product, x], &FixedRow::blank(), [0; 8]);
    b.raw_row([y, digest, product, x], &FixedRow::blank(), [0; 8]);
    b.note_read(row, id, copy);
    b.finish(None).expect("the circuit fits")
}

/// A carried pair as public inputs.
type PairFields = [Fr; PAIR_INPUTS];

/// A pair that holds, out of three numbers.
fn good_pair(l: u64, s_l: u64, s_r: u64) -> Pair {
    let g = G1Affine::generator();
    let [l, s_l, s_r] = [l, s_l, s_r].map(Fr::from);
    let r = (l - s_l) * development_tau() + s_r;
    Pair { l: (g * l).into_affine(), s_l, r: (g * r).into_affine(), s_r }
}

/// Pairs that must be refused although the proof that carries them is good.
fn bad_pairs(good: &Pair) -> Vec<(String, PairFields)> {
    let fields = good.to_fields();
    let one = Fr::from(1u64);
    let zero = Fr::from(0u64);
    let swapped = Pair { l: good.r, r: good.l, s_l: good.s_r, s_r: good.s_l };
    let opposite = Pair { l: -good.l, ..*good };
    let mut out = vec![
        ("its sides are swapped".to_owned(), swapped.to_fields()),
        ("its left point is the opposite".to_owned(), opposite.to_fields()),
        // Taken for the identity, both would satisfy the equation.
        ("its points are (0, 0)".to_owned(), [zero; PAIR_INPUTS]),
    ];
    let mut change = |what: String, changes: &[(usize, Fr)]| {
        let mut changed = fields;
        changes.iter().for_each(|(i, value)| changed[*i] = *value);
        out.push((what, changed));
    };
    for i in [4, 9] {
        change(format!("scalar {i} is another"), &[(i, fields[i] + one)]);
    }
    for start in [0, 5] {
        change(
            format!("point {start} is the identity"),
            &[(start, zero), (start + 1, zero), (start + 2, zero), (start + 3, zero)],
        );
    }
    for low in [0, 2, 5, 7] {
        let (low_half, high_half) = (fields[low], fields[low + 1]);
        change(format!("coordinate {low} is off the curve"), &[(low, low_half + one)]);
        // The same sum of halves, with a bit carried down.
        change(
            format!("coordinate {low} has a low half of 129 bits"),
            &[(low, low_half + power_of_two(128)), (low + 1, high_half - one)],
        );
        change(
            format!("coordinate {low} has a high half of 129 bits"),
            &[(low + 1, high_half + power_of_two(128))],
        );
        // q more: the same coordinate, and still less than 2^256.
        let [q_low, q_high] = [Fq::MODULUS.0[..2].to_vec(), Fq::MODULUS.0[2..].to_vec()]
            .map(|limbs| u128::from(limbs[0]) | u128::from(limbs[1]) << 64);
        let (sum, carry) = halves(&low_half).0.overflowing_add(q_low);
        let high = halves(&high_half).0 + q_high + u128::from(carry);
        change(
            format!("coordinate {low} is not below the modulus"),
            &[(low, Fr::from(sum)), (low + 1, Fr::from(high))],
        );
    }
    out
}

/// Proofs that only their encoding betrays.
fn forgeries(fixture: &Fixture) -> Vec<(Flaw, Vec<u8>)> {
    let model = Proof::from_bytes(&fixture.case.proof).expect("a proof");
    let inputs = (0..PLAIN_INPUTS).map(Flaw::PublicInput);
    let evaluations = (0..EVALUATIONS).map(Flaw::Evaluation);
    [Flaw::None, Flaw::Quotient]
        .into_iter()
        .chain(inputs)
        .chain(evaluations)
        .chain((0..COMMITMENTS).map(Flaw::Commitment))
        .map(|flaw| (flaw, forger::forge(&fixture.vk, &fixture.case.public, &model, flaw)))
        .collect()
}

struct Prover {
    device: CpuDevice,
    srs: Srs,
    bases: Bases<CpuDevice>,
}

impl Prover {
    fn new(log_n: u32) -> Self {
        let device = CpuDevice::new(2);
        let srs = Srs::development(log_n);
        let lagrange = srs.lagrange(log_n).expect("the string is long enough");
        let bases = Bases::new(&device, &srs, &lagrange).expect("registered");
        Self { device, srs, bases }
    }

    fn prove(&self, x: u64, pair: Option<&PairFields>, seed: u8) -> (VerifyingKey, Case) {
        let (layout, witness) = circuit(x, pair);
        self.prove_witness(&layout, witness, seed)
    }

    fn prove_witness(&self, layout: &Layout, witness: Witness, seed: u8) -> (VerifyingKey, Case) {
        let columns = layout.fixed_columns();
        let vk =
            setup(&self.device, &self.bases, self.srs.id(), layout.shape, &columns).expect("a key");
        let key = ProvingKey::new(&self.device, vk.clone(), &columns).expect("a proving key");
        let blinding = Blinding::On { seed: [seed; 32] };
        let kind = TranscriptKind::Keccak;
        let proof =
            prove(&self.device, &key, &self.bases, kind, &witness, blinding).expect("a proof");
        (vk, Case { public: witness.public, proof: proof.to_bytes() })
    }
}

/// Public inputs and proof.
#[derive(Clone)]
struct Case {
    public: Vec<Fr>,
    proof: Vec<u8>,
}

impl Case {
    fn to_bytes(&self) -> Vec<u8> {
        let public = self.public.iter().flat_map(fr_to_bytes);
        public.chain(self.proof.iter().copied()).collect()
    }
    fn from_bytes(bytes: &[u8]) -> Self {
        let (public, proof) = bytes.split_at(bytes.len() - PROOF_BYTES);
        let public = public.chunks(32).map(|c| fr_from_slice(c).expect("canonical")).collect();
        Self { public, proof: proof.to_vec() }
    }
}

/// A key with its string's `[τ]_2`, and one of its proofs.
struct Fixture {
    vk: VerifyingKey,
    tau_g2: G2Affine,
    case: Case,
    pair_at: Option<usize>,
}

impl Fixture {
    /// The native verdict on encoded public inputs and proof.
    fn accepts(&self, bytes: &[u8]) -> bool {
        let (words, proof) = bytes.split_at(bytes.len() - PROOF_BYTES);
        let public: Result<Vec<Fr>, _> = words.chunks(32).map(fr_from_slice).collect();
        let (Ok(public), Ok(proof)) = (public, Proof::from_bytes(proof)) else { return false };
        let kind = TranscriptKind::Keccak;
        verify(kind, &self.vk, &self.tau_g2, &public, &proof, self.pair_at).is_ok()
    }

    fn read(name: &str, pair_at: Option<usize>) -> Self {
        let read = |part: &str| {
            let path = fixtures().join(format!("{name}.{part}"));
            fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let tau_g2 = read("tau").try_into().expect("128 bytes");
        Self {
            vk: VerifyingKey::from_bytes(&read("key")).expect("a key"),
            tau_g2: g2_from_bytes(&tau_g2).expect("a point of G2"),
            case: Case::from_bytes(&read("proof")),
            pair_at,
        }
    }

    fn write(name: &str, vk: &VerifyingKey, tau_g2: &G2Affine, case: &Case) {
        fs::create_dir_all(fixtures()).expect("a folder for fixtures");
        let parts = [
            ("key", vk.to_bytes()),
            ("tau", g2_to_bytes(tau_g2).into()),
            ("proof", case.to_bytes()),
        ];
        for (part, bytes) in parts {
            fs::write(fixtures().join(format!("{name}.{part}")), bytes).expect("written");
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/solidity")
}

fn contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts").canonicalize().expect("contracts/")
}

fn random(rng: &mut ChaCha20Rng) -> Fr {
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    Fr::from_be_bytes_mod_order(&bytes)
}

/// How many random changes to make; `ROLLMILL_MUTATIONS` asks for more than the usual.
fn random_changes() -> usize {
    let asked = std::env::var("ROLLMILL_MUTATIONS").ok();
    asked.map_or(64, |text| text.parse().expect("ROLLMILL_MUTATIONS is a number"))
}

/// Named and random changes to good proofs; what the native verifier says of each is asked later.
fn mutations(good: &[&Case], rng: &mut ChaCha20Rng) -> Vec<Case> {
    let point_at = |i: usize| if i < 22 { 64 * i } else { PROOF_BYTES - 128 + 64 * (i - 22) };
    let mut out = Vec::new();
    for case in good {
        for i in 0..24 {
            // Another valid point, or the opposite one.
            let mut changed = (*case).clone();
            let other = point_at((i + 1 + rng.gen_range(0..23)) % 24);
            let point = case.proof[other..other + 64].to_vec();
            changed.proof[point_at(i)..point_at(i) + 64].copy_from_slice(&point);
            out.push(changed);
        }
        for i in [0, 12, 13, 16, 21, 22, 23] {
            let mut changed = (*case).clone();
            let at = point_at(i);
            let point = rollmill_algebra::bytes::g1_from_slice(&case.proof[at..at + 64]);
            let opposite = rollmill_algebra::bytes::g1_to_bytes(&-point.expect("a point"));
            changed.proof[at..at + 64].copy_from_slice(&opposite);
            out.push(changed);
        }
        for _ in 0..random_changes() / good.len() {
            let mut changed = (*case).clone();
            match rng.gen_range(0..4) {
                0 => {
                    let i = rng.gen_range(0..case.public.len());
                    changed.public[i] = random(rng);
                }
                1 => {
                    let (to, from) = (rng.gen_range(0..24), rng.gen_range(0..24));
                    let point = case.proof[point_at(from)..point_at(from) + 64].to_vec();
                    changed.proof[point_at(to)..point_at(to) + 64].copy_from_slice(&point);
                }
                _ => {
                    let at = 22 * 64 + 32 * rng.gen_range(0..EVALUATIONS);
                    changed.proof[at..at + 32].copy_from_slice(&fr_to_bytes(&random(rng)));
                }
            }
            out.push(changed);
        }
        for i in 0..case.public.len() {
            let mut changed = (*case).clone();
            changed.public[i] = random(rng);
            out.push(changed);
            let mut changed = (*case).clone();
            changed.public[i] += Fr::from(1u64);
            out.push(changed);
        }
        let mut changed = (*case).clone();
        changed.public.swap(0, 1);
        out.push(changed);
    }
    out
}

/// Input words of the gates' code, in the order of [`gates_contract`], and the value they give.
fn gate_case(values: &[Fr]) -> Vec<u8> {
    let evaluations: [Fr; EVALUATIONS] = std::array::from_fn(|i| values[10 + i]);
    let [eta, beta, gamma, alpha, zeta, zeta_n] = std::array::from_fn(|i| values[i]);
    let computed = Computed {
        x: zeta,
        active: values[6],
        first: values[7],
        last: values[8],
        public: values[9],
    };
    let (cells, t) = cells_from_evaluations(&evaluations, computed);
    let powers = rollmill_algebra::field::powers(alpha, CONSTRAINTS);
    let mut fold = Fold::new(&powers);
    constraints(&Constants::new(Challenges { eta, beta, gamma }, CELL_BITS), &cells, &mut fold);
    let chunk = |i: usize| t[i] * rollmill_algebra::field::powers(zeta_n, QUOTIENT_CHUNKS)[i];
    let quotient: Fr = (0..QUOTIENT_CHUNKS).map(chunk).sum();
    let expected = fold.finish() - (zeta_n - Fr::from(1u64)) * quotient;
    values.iter().chain([&expected]).flat_map(fr_to_bytes).collect()
}

fn gates_contract() -> String {
    let memory = Memory::new();
    let (graph, root) = quotient_identity(&memory, CELL_BITS);
    let code = emit::emit(&graph, root, memory.gates, "            ");
    let (eta, evaluations, result) = (memory.eta, memory.evaluations, code.result);
    format!(
        "// SPDX-License-Identifier: MIT OR Apache-2.0\npragma solidity 0.8.37;\n
contract Gates {{
    uint256 public constant WORDS = {words};
    function evaluate(bytes calldata words) external pure returns (uint256) {{
        assembly {{
            mstore(0x20, {modulus})
            calldatacopy({eta:#x}, words.offset, 0x140)
            calldatacopy({evaluations:#x}, add(words.offset, 0x140), {bytes:#x})
            let r := mload(0x20)
            let ok := words.length
{yul}            mstore(0x00, mod(mload({result:#x}), r))
            return(0x00, 0x20)
        }}
    }}
}}\n",
        words = 10 + EVALUATIONS,
        modulus = Fr::MODULUS,
        bytes = 32 * EVALUATIONS,
        yul = code.yul,
    )
}

/// Forge bounds the memory of a call; a call reads one file.
const CASES_A_FILE: usize = 300;

fn write_project(
    root: &Path,
    plain: &Fixture,
    carrying: &Fixture,
    cases: &[Vec<u8>],
    gates: &[u8],
) {
    for folder in ["src", "test", "data"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let contracts = contracts();
    let config = fs::read_to_string(contracts.join("foundry.toml")).expect("foundry.toml");
    let config =
        config.replace("./solcw.js", &contracts.join("solcw.js").display().to_string()).replace(
            "[profile.default]\n",
            "[profile.default]\nfs_permissions = [{ access = \"read-write\", path = \"./\" }]\n",
        );
    let interface = fs::read_to_string(contracts.join("src/IVerifier.sol")).expect("IVerifier");
    let source = |f: &Fixture, name: &str| generate(&f.vk, &f.tau_g2, name, f.pair_at).into_bytes();
    // Not run, but it must compile: the key has the size of an epoch's root.
    let mut large = carrying.vk.clone();
    (large.shape.log_n, large.shape.cell_bits) = (18, 16);
    let large = generate(&large, &carrying.tau_g2, "Large", carrying.pair_at).into_bytes();
    let files: [(&str, Vec<u8>); 10] = [
        ("src/Large.sol", large),
        ("foundry.toml", config.into_bytes()),
        ("src/IVerifier.sol", interface.into_bytes()),
        ("src/Plain.sol", source(plain, "Plain")),
        ("src/Carrying.sol", source(carrying, "Carrying")),
        ("src/Gates.sol", gates_contract().into_bytes()),
        ("test/Verifier.t.sol", include_bytes!("solidity/Verifier.t.sol").to_vec()),
        ("data/plain", plain.case.to_bytes()),
        ("data/carrying", carrying.case.to_bytes()),
        ("data/gates", gates.to_vec()),
    ];
    for (path, bytes) in files {
        fs::write(root.join(path), bytes).expect("written");
    }
    for (i, part) in cases.chunks(CASES_A_FILE).enumerate() {
        fs::write(root.join(format!("data/cases.{i}")), part.concat()).expect("written");
    }
}

fn forge(root: &Path) {
    let script = contracts().join("forge.js");
    let installed = |package: &str| contracts().join("node_modules").join(package).is_dir();
    assert!(
        installed("solc") && installed("@foundry-rs"),
        "forge and solc are not installed in contracts/node_modules: run `make setup`"
    );
    let run = Command::new("node")
        .arg(script)
        .args(["test", "--root"])
        .arg(root)
        .args(["--gas-limit", "18446744073709551615"])
        .output()
        .expect("node is not installed: run `make setup`");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&run.stdout), text(&run.stderr));
    assert!(run.status.success() && out.contains("0 failed"), "{out}\n{err}");
    println!("{out}");
}

/// Goal: Solidity and Rust accept and refuse the same proofs. Method: the claims are the test
/// functions of `solidity/Verifier.t.sol`, which says what each does; here are made the proofs.
#[test]
fn the_solidity_verifier_agrees_with_the_native_one() {
    let log_n = circuit(3, None).0.shape.log_n;
    assert_eq!(log_n, 9, "the smallest size that holds the table of 8 bits");
    let prover = Prover::new(log_n);
    let pair = good_pair(11, 2, 3);
    let fields = pair.to_fields();
    let mut live = Vec::new();
    for (name, pair) in [("plain", None), ("carrying", Some(&fields))] {
        let (vk, case) = prover.prove(3, pair, 1);
        if std::env::var_os("ROLLMILL_BLESS").is_some() {
            Fixture::write(name, &vk, &prover.srs.tau_g2, &case);
        }
        live.push((vk, case));
    }
    let plain = Fixture::read("plain", None);
    let carrying = Fixture::read("carrying", Some(PAIR_AT));
    for (fixture, (vk, _)) in [&plain, &carrying].into_iter().zip(&live) {
        assert_eq!(fixture.vk, *vk, "the stored key is not this circuit's: see ROLLMILL_BLESS");
        assert!(fixture.accepts(&fixture.case.to_bytes()), "a stored proof must keep verifying");
    }

    let mut rng = ChaCha20Rng::seed_from_u64(20_240_817);
    let (_, other) = prover.prove(4, None, 2);
    let (_, other_carrying) = prover.prove(3, Some(&good_pair(7, 0, 1 << 40).to_fields()), 9);
    let mut cases = Vec::new();
    let mut add = |fixture: &Fixture, case: Vec<u8>| {
        let verdict = fixture.accepts(&case);
        cases.push([vec![u8::from(fixture.pair_at.is_some()), u8::from(verdict)], case].concat());
        verdict
    };
    assert!(add(&plain, live[0].1.to_bytes()) && add(&plain, other.to_bytes()));
    assert!(add(&carrying, live[1].1.to_bytes()) && add(&carrying, other_carrying.to_bytes()));
    for (what, fields) in bad_pairs(&pair) {
        let case = prover.prove(3, Some(&fields), 1).1;
        assert!(!add(&carrying, case.to_bytes()), "{what}");
    }
    // The openings of a false statement are true: only the gates refuse it.
    let (layout, mut witness) = circuit(3, None);
    witness.public[1] += Fr::from(1u64);
    assert!(!add(&plain, prover.prove_witness(&layout, witness, 1).1.to_bytes()));
    for (flaw, case) in forgeries(&plain) {
        assert_eq!(add(&plain, case), flaw == Flaw::None, "{flaw:?}");
    }
    for case in mutations(&[&plain.case, &other], &mut rng) {
        add(&plain, case.to_bytes());
    }
    for case in mutations(&[&carrying.case], &mut rng) {
        add(&carrying, case.to_bytes());
    }

    // The largest values put every lazy sum at its bound.
    let minus_one = -Fr::from(1u64);
    let mut gates = gate_case(&vec![minus_one; 10 + EVALUATIONS]);
    gates.extend(gate_case(&vec![Fr::from(0u64); 10 + EVALUATIONS]));
    for _ in 0..24 {
        let values: Vec<Fr> = (0..10 + EVALUATIONS)
            .map(|_| match rng.gen_range(0..8u32) {
                0 => minus_one,
                1 => Fr::from(0u64),
                _ => random(&mut rng),
            })
            .collect();
        gates.extend(gate_case(&values));
    }

    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = match std::env::var_os("ROLLMILL_KEEP_FORGE_PROJECT") {
        Some(path) => PathBuf::from(path),
        None => folder.path().to_owned(),
    };
    write_project(&root, &plain, &carrying, &cases, &gates);
    forge(&root);

    // Name, gas of the call, gas of a transaction that only makes it, bytes of code.
    let measured = fs::read_to_string(root.join("data/measured")).expect("measured");
    println!("{measured}");
    for line in measured.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words[i].parse::<u64>().expect("a number");
        assert!(number(1) <= 560_000, "a verification takes more than 560,000 gas: {line}");
        assert!(number(3) <= 24_576, "the code is larger than EIP-170 allows: {line}");
    }
    let snapshot = fixtures().join("measured");
    if std::env::var_os("ROLLMILL_BLESS").is_some() {
        fs::write(&snapshot, &measured).expect("written");
    }
    let expected = fs::read_to_string(snapshot).expect("the stored figures");
    assert_eq!(measured, expected, "gas or code size has changed: see ROLLMILL_BLESS");
}
