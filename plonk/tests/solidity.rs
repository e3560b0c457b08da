//! The Solidity verifier against the native one, run by forge on real proofs.
//!
//! A forge project is written to a temporary folder: the generated contracts, the test contract of
//! `tests/solidity/`, proofs and mutations with the native verdict on each.
//!
//! The stored proofs of `tests/fixtures/solidity/` must keep verifying, at the gas and code size stored
//! there. After a deliberate change, `ROLLMILL_BLESS=1` writes all of it again.
//! `ROLLMILL_KEEP_FORGE_PROJECT=/some/folder` leaves the project there, to run forge by hand.

mod forger;
mod pairs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ark_ff::PrimeField;
use forger::Flaw;
use pairs::{PairFields, bad_pairs, good_pair};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rollmill_algebra::bytes::{fr_from_slice, fr_to_bytes, g2_from_bytes, g2_to_bytes};
use rollmill_algebra::cpu::CpuDevice;
use rollmill_algebra::{Fr, G2Affine};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::{CONSTRAINTS, Challenges, Constants, Fold, constraints};
use rollmill_plonk::key::{Bases, ProvingKey, VerifyingKey, setup};
use rollmill_plonk::layout::{FixedRow, Layout, Witness};
use rollmill_plonk::proof::{
    COMMITMENTS, Computed, EVALUATIONS, PROOF_BYTES, Proof, cells_from_evaluations,
};
use rollmill_plonk::prover::{Blinding, prove_with};
use rollmill_plonk::shape::QUOTIENT_CHUNKS;
use rollmill_plonk::solidity::{Memory, emit, generate, quotient_identity};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair, verify};
use rollmill_plonk_testing::cheats::{Cheat, Cheater, Lie};

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
        .chain((0..=COMMITMENTS).map(Flaw::OffCurve))
        // The first point of the sum cannot be meant: nothing would be left for W'.
        .chain((0..=COMMITMENTS).filter(|i| *i != forger::FIRST).map(Flaw::CutShort))
        .map(|flaw| (flaw, forger::forge(&fixture.vk, &fixture.case.public, &model, flaw)))
        .collect()
}

/// A proof that carries a pair which does not hold, made up for by W'.
fn early_fold(fixture: &Fixture, pair: &Pair) -> Vec<u8> {
    let model = Proof::from_bytes(&fixture.case.proof).expect("a proof");
    let mut public = fixture.case.public.clone();
    let bad = Pair { s_r: pair.s_r + Fr::from(1u64), ..*pair };
    public[PAIR_AT..PAIR_AT + PAIR_INPUTS].copy_from_slice(&bad.to_fields());
    forger::forge(&fixture.vk, &public, &model, Flaw::EarlyFold(PAIR_AT))
}

/// Provers that cheat, of false statements about the plain circuit.
fn cheating(prover: &Prover) -> Vec<(String, Case)> {
    let lies = [Lie::Limb(0), Lie::Multiplicity, Lie::Tie(0)];
    let mut out = Vec::new();
    for lie in lies {
        let all = match lie {
            Lie::Tie(_) => &Cheat::OF_THE_PERMUTATION[..],
            _ => &Cheat::OF_THE_BUS[..],
        };
        for cheat in all.iter().copied().chain([Cheat::None]) {
            let (layout, mut witness) = circuit(3, None);
            lie.tell(&layout, &mut witness, None);
            let case = prover.prove_witness(&layout, witness, 1, cheat).1;
            out.push((format!("{lie:?}, {cheat:?}"), case));
        }
    }
    out
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
        let lagrange = srs.lagrange(log_n).expect("the SRS is long enough");
        let bases = Bases::new(&device, &srs, &lagrange).expect("registered");
        Self { device, srs, bases }
    }

    fn prove(&self, x: u64, pair: Option<&PairFields>, seed: u8) -> (VerifyingKey, Case) {
        let (layout, witness) = circuit(x, pair);
        self.prove_witness(&layout, witness, seed, Cheat::None)
    }

    fn prove_witness(
        &self,
        layout: &Layout,
        witness: Witness,
        seed: u8,
        cheat: Cheat,
    ) -> (VerifyingKey, Case) {
        let columns = layout.fixed_columns();
        let vk =
            setup(&self.device, &self.bases, self.srs.id(), layout.shape, &columns).expect("a key");
        let key = ProvingKey::new(&self.device, vk.clone(), &columns).expect("a proving key");
        let blinding = Blinding::On { seed: [seed; 32] };
        let kind = TranscriptKind::Keccak;
        let (device, bases) = (&self.device, &self.bases);
        let mut cheater = Cheater { cheat, end: layout.shape.usable_rows() };
        let proof = prove_with(device, &key, bases, kind, &witness, blinding, &mut cheater);
        let proof = proof.expect("bytes, whatever the witness");
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

/// A key with its SRS's `[τ]_2`, and one of its proofs.
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

/// Named and random changes to valid proofs; the native verifier decides on each later.
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
    let graph = quotient_identity(&memory, CELL_BITS);
    let code = emit::emit(&graph, memory.gates, "            ");
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
    let config = config.replace("./solcw.js", &contracts.join("solcw.js").display().to_string());
    // The files of this project in place of those of the contracts' tests, and one way to compile all of them: what
    // is measured is the verifier as the contracts' folder compiles it.
    let lists = [
        ("fs_permissions", "{ access = \"read-write\", path = \"./\" }"),
        ("additional_compiler_profiles", ""),
        ("compilation_restrictions", ""),
    ];
    let config = lists.iter().fold(config, |config, (key, value)| {
        let key = format!("\n{key} = [");
        let (before, rest) = config.split_once(&key).expect("a list of foundry.toml");
        let (_, after) = rest.split_once("\n]\n").expect("the end of the list");
        format!("{before}{key}{value}]\n{after}")
    });
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
    // The mutants of the contracts' checks distinguish this from a test that fails.
    assert!(!out.contains("Compiler run failed"), "the contracts do not compile: {out}\n{err}");
    assert!(run.status.success() && out.contains("0 failed"), "{out}\n{err}");
    println!("{out}");
}

/// Values for the gates, extreme and random ones.
fn gate_cases(rng: &mut ChaCha20Rng) -> Vec<u8> {
    // The largest values put every lazy sum at its bound.
    let minus_one = -Fr::from(1u64);
    let mut gates = gate_case(&vec![minus_one; 10 + EVALUATIONS]);
    gates.extend(gate_case(&vec![Fr::from(0u64); 10 + EVALUATIONS]));
    for _ in 0..24 {
        let values: Vec<Fr> = (0..10 + EVALUATIONS)
            .map(|_| match rng.gen_range(0..8u32) {
                0 => minus_one,
                1 => Fr::from(0u64),
                _ => random(rng),
            })
            .collect();
        gates.extend(gate_case(&values));
    }
    gates
}

/// Compares gas and code size with their limits and with the stored figures.
fn compare_measured(root: &Path) {
    // Without one of its checks a verifier takes less gas; that shows nothing.
    if std::env::var_os(rollmill_plonk::weaken::VARIABLE).is_some() {
        return;
    }
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

/// Goal: Solidity and Rust accept and reject the same proofs. Method: the claims are the test functions of
/// `solidity/Verifier.t.sol`, which describes each; the proofs are made here.
#[test]
fn the_solidity_verifier_agrees_with_the_native_one() {
    let log_n = circuit(3, None).0.shape.log_n;
    assert_eq!(log_n, 9, "the smallest size that fits the table of 8 bits");
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
    // The openings of a false statement are true: only the gates reject it.
    let (layout, mut witness) = circuit(3, None);
    witness.public[1] += Fr::from(1u64);
    assert!(!add(&plain, prover.prove_witness(&layout, witness, 1, Cheat::None).1.to_bytes()));
    let mut off_curve = Vec::new();
    for (flaw, case) in forgeries(&plain) {
        if flaw == Flaw::OffCurve(0) {
            off_curve.clone_from(&case);
        }
        assert_eq!(add(&plain, case), flaw == Flaw::None, "{flaw:?}");
    }
    assert!(!add(&carrying, early_fold(&carrying, &pair)), "W' is absorbed too late");
    for (what, case) in cheating(&prover) {
        assert!(!add(&plain, case.to_bytes()), "{what}");
    }
    for case in mutations(&[&plain.case, &other], &mut rng) {
        add(&plain, case.to_bytes());
    }
    for case in mutations(&[&carrying.case], &mut rng) {
        add(&carrying, case.to_bytes());
    }

    let gates = gate_cases(&mut rng);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = match std::env::var_os("ROLLMILL_KEEP_FORGE_PROJECT") {
        Some(path) => PathBuf::from(path),
        None => folder.path().to_owned(),
    };
    write_project(&root, &plain, &carrying, &cases, &gates);
    fs::write(root.join("data/off_curve"), off_curve).expect("written");
    forge(&root);

    compare_measured(&root);
}

/// The same forgeries, for the native verifier only.
#[test]
fn forgeries_and_cheats_are_rejected_by_the_native_verifier() {
    let prover = Prover::new(circuit(3, None).0.shape.log_n);
    let plain = Fixture::read("plain", None);
    let carrying = Fixture::read("carrying", Some(PAIR_AT));
    for fixture in [&plain, &carrying] {
        assert!(fixture.accepts(&fixture.case.to_bytes()), "a stored proof must keep verifying");
    }
    for (flaw, case) in forgeries(&plain) {
        assert_eq!(plain.accepts(&case), flaw == Flaw::None, "{flaw:?}");
    }
    let pair = good_pair(11, 2, 3);
    assert!(!carrying.accepts(&early_fold(&carrying, &pair)), "W' is absorbed too late");
    for (what, case) in cheating(&prover) {
        assert!(!plain.accepts(&case.to_bytes()), "{what}");
    }
    for (what, fields) in bad_pairs(&pair) {
        let case = prover.prove(3, Some(&fields), 1).1;
        assert!(!carrying.accepts(&case.to_bytes()), "{what}");
    }
}
