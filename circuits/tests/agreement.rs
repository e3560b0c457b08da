//! The in-circuit verifier says of a proof what the native one says, and the native one says under the
//! transcript of L1 what it says under this one.
//!
//! Thirty-two random changes by default; `ROLLMILL_MUTATIONS` asks for more, `ROLLMILL_SEED` for others.
//! The generated Solidity verifier is compared with the native one in `plonk/tests/solidity.rs`.

use std::ops::Range;
use std::sync::OnceLock;

use ark_ff::UniformRand;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rollmill_algebra::bytes::{FIELD_BYTES, fr_from_slice, fr_to_bytes};
use rollmill_algebra::cpu::CpuDevice;
use rollmill_algebra::{Fr, G1Affine, G1Projective};
use rollmill_circuits::circuit::Dimensions;
use rollmill_circuits::gadgets::verifier::{Opening, ProofVars, reduce};
use rollmill_circuits::gadgets::vk_tree::KeyVars;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::check;
use rollmill_plonk::key::{Bases, ProvingKey, VerifyingKey, setup};
use rollmill_plonk::layout::FixedRow;
use rollmill_plonk::proof::{EVALUATIONS, Proof};
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::{TranscriptKind, short_coefficient};
use rollmill_plonk::verifier::{Pair, VerifyError, verify};
use rollmill_plonk_testing::statements;

use crate::common::mutate::{gate_constants, gate_fails};
use rollmill_plonk_testing::cheats::Cheat;
use rollmill_plonk_testing::statements::{Setting, circuit};

const CELL_BITS: u32 = 8;
/// Verifiers that are laid out in one circuit of 2^17 rows.
const A_CIRCUIT: usize = 32;
const KIND: TranscriptKind = TranscriptKind::Poseidon2;

/// What a verifier says, and where a refusal comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// The gates do not add up at ζ.
    Gates,
    /// The pair that is left does not hold.
    Openings,
}

struct Good {
    srs: Srs,
    vk: VerifyingKey,
    public: Vec<Fr>,
    proof: Proof,
    /// A proof of the same witness for L1.
    l1_proof: Proof,
}

impl Good {
    fn native(&self, kind: TranscriptKind, public: &[Fr], proof: &Proof) -> Verdict {
        match verify(kind, &self.vk, &self.srs.tau_g2, public, proof, None) {
            Ok(()) => Verdict::Accepted,
            Err(VerifyError::Quotient) => Verdict::Gates,
            Err(VerifyError::Pairing) => Verdict::Openings,
            Err(other) => panic!("{other}"),
        }
    }
}

fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| make(CELL_BITS, None))
}

fn size_of(vk: &VerifyingKey) -> Dimensions {
    Dimensions { log_n: vk.shape.log_n, cell_bits: vk.shape.cell_bits }
}

fn make(cell_bits: u32, log_n: Option<u32>) -> Good {
    let mut b = Builder::new(2, cell_bits);
    let x = b.witness(Fr::from(3u64));
    b.set_public(0, x);
    b.range(x, 6);
    let digest = b.hash(9, &[x, x]);
    b.set_public(1, digest);
    let (layout, witness) = b.finish(log_n).expect("fits");
    let device = CpuDevice::new(2);
    let srs = Srs::development(layout.shape.log_n);
    let lagrange = srs.lagrange(layout.shape.log_n).expect("long enough");
    let bases = Bases::new(&device, &srs, &lagrange).expect("registered");
    let columns = layout.fixed_columns();
    let vk = setup(&device, &bases, srs.id(), layout.shape, &columns).expect("key");
    let key = ProvingKey::new(&device, vk.clone(), &columns).expect("key");
    let blinding = Blinding::On { seed: [5; 32] };
    let prove = |kind| prove(&device, &key, &bases, kind, &witness, blinding).expect("a proof");
    let (proof, l1_proof) = (prove(KIND), prove(TranscriptKind::Keccak));
    Good { srs, vk, public: witness.public, proof, l1_proof }
}

/// The sums that `reduce` leaves to the curve gadgets, natively.
fn pair(b: &Builder, o: &Opening) -> Pair {
    let sum = |set: &[(rollmill_circuits::gadgets::curve::Point, Var)]| -> G1Projective {
        set.iter()
            .map(|(point, c)| {
                let (low, high) = rollmill_plonk::transcript::halves(&b.value(*c));
                assert_eq!(high, 0, "a short value has at most 128 bits");
                point.value() * short_coefficient(low)
            })
            .sum()
    };
    let r = sum(&o.sets[0]) * b.value(o.factors[0])
        + sum(&o.sets[1]) * b.value(o.factors[1])
        + sum(&o.sets[2])
        + o.w.value() * b.value(o.w_factor)
        + o.w_prime.value() * b.value(o.z_prime);
    Pair { l: o.w_prime.value(), s_l: Fr::from(0u64), r: r.into(), s_r: b.value(o.s_r) }
}

type Case = (Vec<Fr>, Proof);

fn in_circuit(good: &Good, public: &[Fr], proof: &Proof) -> Verdict {
    in_one_circuit(good, &[(public.to_vec(), proof.clone())])[0]
}

fn in_one_circuit(good: &Good, cases: &[Case]) -> Vec<Verdict> {
    verdicts_in_one_circuit(&good.vk, &good.srs, &[size_of(&good.vk)], cases)
}

/// The verdict on each case, of verifiers side by side in one circuit: laying out and padding one costs
/// far more than a verifier's own rows.
fn verdicts_in_one_circuit(
    vk: &VerifyingKey,
    srs: &Srs,
    sizes: &[Dimensions],
    cases: &[Case],
) -> Vec<Verdict> {
    let mut b = Builder::new(0, 16);
    let n_public = vk.shape.n_public as usize;
    let key = KeyVars::new(&mut b, vk, sizes, n_public);
    let mut parts = Vec::new();
    for (public, proof) in cases {
        let start = b.rows();
        let public: Vec<Var> = public.iter().map(|p| b.witness(*p)).collect();
        let proof = ProofVars::new(&mut b, proof);
        let opening = reduce(&mut b, &key, &public, &proof);
        parts.push((start..b.rows(), pair(&b, &opening)));
    }
    let (layout, witness) = b.finish(None).expect("fits");
    let constants = gate_constants(layout.shape.cell_bits);
    let fails = |row: usize| {
        let f = layout.fixed_row(row);
        f != FixedRow::default() && gate_fails(&constants, &f, &witness, row)
    };
    // The gates at ζ come last, so a refusal is found soonest from the end.
    let verdict = |(rows, pair): (Range<usize>, Pair)| match rows.into_iter().rev().any(fails) {
        true => Verdict::Gates,
        false if pair.holds(&srs.tau_g2) => Verdict::Accepted,
        false => Verdict::Openings,
    };
    let verdicts: Vec<Verdict> = parts.into_iter().map(verdict).collect();
    // The whole check finds no more than the gates' rows: ties and ranges hold by construction.
    let is_rejected = verdicts.contains(&Verdict::Gates);
    assert_eq!(check(&layout, &witness).is_err(), is_rejected);
    verdicts
}

/// Another point, another number, another public input, or two points swapped. The same draws make the
/// same change to any proof.
fn change(public: &mut [Fr], proof: &mut Proof, rng: &mut ChaCha8Rng) {
    let mut points = proof.points();
    let mut evaluations = proof.evaluations;
    match rng.gen_range(0..5) {
        0 => {
            let i = rng.gen_range(0..public.len());
            public[i] = Fr::rand(rng);
        }
        1 => {
            let i = rng.gen_range(0..evaluations.len());
            evaluations[i] += Fr::from(1u64);
        }
        2 => {
            let (i, j) = (rng.gen_range(0..points.len()), rng.gen_range(0..points.len()));
            points.swap(i, j);
        }
        // The two openings are the only parts that the gates at ζ do not bind.
        3 => points[22 + rng.gen_range(0..2)] = G1Affine::rand(rng),
        _ => {
            let i = rng.gen_range(0..points.len());
            points[i] = G1Affine::rand(rng);
        }
    }
    *proof = Proof::from_parts(&points, evaluations);
}

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// Goal: one verdict, for one reason. Method: the same random changes to two proofs of one witness, one
/// for each transcript; the in-circuit verifier reads the first, the native one both.
#[test]
fn the_in_circuit_verifier_agrees_with_the_native_one() {
    let good = good();
    for (kind, proof) in [(KIND, &good.proof), (TranscriptKind::Keccak, &good.l1_proof)] {
        let verdict = good.native(kind, &good.public, proof);
        assert_eq!(verdict, Verdict::Accepted, "the honest proof, natively, {kind:?}");
    }
    let verdict = in_circuit(good, &good.public, &good.proof);
    assert_eq!(verdict, Verdict::Accepted, "the honest proof, in a circuit");
    let seed = number("ROLLMILL_SEED", 7);
    println!("seed {seed}");
    let changed = |proof: &Proof, i: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(i << 20));
        let (mut public, mut proof) = (good.public.clone(), proof.clone());
        change(&mut public, &mut proof, &mut rng);
        (public, proof)
    };
    let numbers: Vec<u64> = (0..number("ROLLMILL_MUTATIONS", 32)).collect();
    numbers.par_chunks(A_CIRCUIT).for_each(|chunk| {
        let cases: Vec<Case> = chunk.iter().map(|i| changed(&good.proof, *i)).collect();
        let verdicts = in_one_circuit(good, &cases);
        for ((i, (public, proof)), verdict) in chunk.iter().zip(&cases).zip(verdicts) {
            let expected = good.native(KIND, public, proof);
            assert_eq!(verdict, expected, "seed {seed}, change {i}");
            // Swapping a point with itself changes nothing; all else is rejected.
            let same = *public == good.public && *proof == good.proof;
            assert_eq!(expected == Verdict::Accepted, same, "seed {seed}, change {i}");
            let (public, l1_proof) = changed(&good.l1_proof, *i);
            let verdict = good.native(TranscriptKind::Keccak, &public, &l1_proof);
            assert_eq!(verdict, expected, "seed {seed}, change {i}, under the transcript of L1");
        }
    });
}

/// Goal: where a parent accepts two sizes, the verdict is the native one's for keys of either. Method: two keys that
/// differ in rows and in width of cells, their honest proofs, and random changes to them.
#[test]
fn keys_of_either_accepted_size_are_verified_as_natively() {
    let seed = number("ROLLMILL_SEED", 8);
    println!("seed {seed}");
    let other = make(CELL_BITS + 1, Some(11));
    let both = [good(), &other];
    let sizes = both.map(|good| size_of(&good.vk));
    assert!(sizes[0].log_n != sizes[1].log_n && sizes[0].cell_bits != sizes[1].cell_bits);
    for good in both {
        let mut cases = vec![(good.public.clone(), good.proof.clone())];
        for i in 0..8 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(i << 20));
            let (mut public, mut proof) = cases[0].clone();
            change(&mut public, &mut proof, &mut rng);
            cases.push((public, proof));
        }
        let verdicts = verdicts_in_one_circuit(&good.vk, &good.srs, &sizes, &cases);
        assert_eq!(verdicts[0], Verdict::Accepted, "{:?}", good.vk.shape);
        for ((public, proof), verdict) in cases.iter().zip(verdicts) {
            assert_eq!(verdict, good.native(KIND, public, proof), "{:?}", good.vk.shape);
        }
    }
}

/// Goal: no byte of a public input or of a proof is idle in the in-circuit verifier. Method: flip one
/// bit of each; most do not decode, the rest must be rejected for the reason the native verifier has.
/// Honest proofs stand between them and must be accepted, so that no refusal is a neighbour's.
#[test]
fn every_flipped_byte_is_rejected_in_a_circuit() {
    let good = good();
    let mut bytes: Vec<u8> = good.public.iter().flat_map(fr_to_bytes).collect();
    bytes.extend(good.proof.to_bytes());
    let at = FIELD_BYTES * good.public.len();
    let mut cases: Vec<(usize, Case)> = Vec::new();
    for i in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[i] ^= 1 << (i % 8);
        let public: Result<Vec<Fr>, _> =
            bytes[..at].chunks(FIELD_BYTES).map(fr_from_slice).collect();
        if let (Ok(public), Ok(proof)) = (public, Proof::from_bytes(&bytes[at..])) {
            cases.push((i, (public, proof)));
        }
    }
    // Nearly every flip in a number leaves a number.
    assert!(cases.len() >= 31 * (good.public.len() + EVALUATIONS), "{} decode", cases.len());
    cases.par_chunks(A_CIRCUIT).for_each(|chunk| {
        let honest = (good.public.clone(), good.proof.clone());
        let mut row: Vec<Case> = chunk.iter().map(|(_, case)| case.clone()).collect();
        row.insert(chunk.len() / 2, honest.clone());
        row.push(honest);
        let mut verdicts = in_one_circuit(good, &row);
        assert_eq!(verdicts.pop(), Some(Verdict::Accepted), "the honest one at the end");
        let between = verdicts.remove(chunk.len() / 2);
        assert_eq!(between, Verdict::Accepted, "the honest one between");
        for ((i, (public, proof)), verdict) in chunk.iter().zip(verdicts) {
            assert_ne!(verdict, Verdict::Accepted, "byte {i}");
            assert_eq!(verdict, good.native(KIND, public, proof), "byte {i}");
        }
    });
}

/// Goal: the in-circuit verifier refuses what a prover says who cheats in z, s, h0 or h1, and every statement
/// that one constraint alone refuses. Method: the false statements of the gates' own tests, each with an
/// honest proof beside it.
#[test]
fn every_false_statement_of_the_gates_is_rejected_in_a_circuit() {
    let made = circuit(None);
    let setting = Setting::new(&made.layout);
    let honest = (made.witness.public.clone(), setting.prove(KIND, &made.witness, Cheat::None));
    let statements = statements::all();
    statements.par_chunks(A_CIRCUIT - 1).for_each(|chunk| {
        let prove = |statement: &statements::Statement| {
            let witness = statement.witness().witness;
            let proof = setting.prove(KIND, &witness, statement.cheat);
            (witness.public, proof)
        };
        let mut cases: Vec<Case> = chunk.iter().map(prove).collect();
        cases.push(honest.clone());
        let vk = &setting.key.vk;
        let mut verdicts = verdicts_in_one_circuit(vk, &setting.srs, &[size_of(vk)], &cases);
        assert_eq!(verdicts.pop(), Some(Verdict::Accepted), "the honest statement");
        for (statement, verdict) in chunk.iter().zip(verdicts) {
            assert_eq!(verdict, Verdict::Gates, "{statement:?}");
        }
    });
}
