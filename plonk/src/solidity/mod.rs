//! Writes the Solidity verifier of a circuit.
//!
//! The frame is `verifier.sol.template`, read as Solidity; the code of the gates comes out of
//! [`crate::gates::constraints`] by way of symbolic expressions, so that no gate is written twice. Cost of one
//! verification: 44 to 47 scalar multiplications of 6,000 gas, one pairing of 113,000, and some tens of
//! thousands for the rest. `tests/solidity.rs` keeps the measured figures.

pub mod emit;
mod rounds;
#[cfg(feature = "weaken")]
mod weaken;

use std::fmt::Write;

use ark_ec::AffineRepr;
use ark_ff::{Field, One, PrimeField, Zero};
use rollmill_algebra::bytes::{fq_to_bytes, fr_to_bytes, g2_to_bytes};
use rollmill_algebra::device::Expr;
use rollmill_algebra::field::{inverse_of_nonzero, omega};
use rollmill_algebra::graph::{Expression, Graph, Identity};
use rollmill_algebra::pair::PairCells;
use rollmill_algebra::{Fq, Fr, G2Affine};

use self::emit::{Address, literal};
use crate::gates::{CONSTRAINTS, Challenges, Constants, Fold, constraints, power_of_two};
use crate::key::VerifyingKey;
use crate::proof::{
    CLAIMS, COMMITMENTS, Computed, EVALUATIONS, PROOF_BYTES, cells_from_evaluations,
};
use crate::schedule::OPENINGS;
use crate::shape::BLINDING_ROWS;
use crate::srs::{DEVELOPMENT_CHAINS, development_tau_g2};
use crate::transcript::{Transcript, TranscriptKind};
use crate::verifier::PAIR_INPUTS;

const TEMPLATE: &str = include_str!("verifier.sol.template");
const WORD: usize = 0x20;
const POINT: usize = 0x40;
/// What the code of the gates is indented by.
const INDENT: &str = "                ";

/// Addresses in the verifier's memory, which the template explains.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub eta: usize,
    pub beta: usize,
    pub gamma: usize,
    pub alpha: usize,
    pub zeta: usize,
    pub zeta_n: usize,
    pub active: usize,
    pub first: usize,
    pub last: usize,
    pub public: usize,
    pub evaluations: usize,
    /// From here on everything is free once the Lagrange polynomials are known.
    pub gates: usize,
    rest: usize,
    pairing: usize,
    scalars: usize,
    points: usize,
}

/// First address after those that the template fixes itself.
const FIRST_FREE: usize = 0x1a0;
/// Words of the template's own, in its order, from [`Memory::rest`] on.
const REST_WORDS: usize = 6 + 5;
/// Terms of both sums: claims, W, W′, the generator, the carried R; the carried L, the generator.
const TERMS: usize = CLAIMS + 4 + 2;

impl Memory {
    /// The one layout.
    pub fn new() -> Self {
        let word = |i: usize| FIRST_FREE + i * WORD;
        let rest = word(10);
        let pairing = rest + REST_WORDS * WORD;
        // One word before the evaluations takes the state of the transcript.
        let evaluations = pairing + 12 * WORD + WORD;
        let scalars = evaluations + EVALUATIONS * WORD;
        let points = scalars + TERMS * WORD;
        Self {
            eta: word(0),
            beta: word(1),
            gamma: word(2),
            alpha: word(3),
            zeta: word(4),
            zeta_n: word(5),
            active: word(6),
            first: word(7),
            last: word(8),
            public: word(9),
            rest,
            pairing,
            evaluations,
            scalars,
            points,
            gates: points + TERMS * POINT,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// What must vanish at ζ: the folded constraints less `(ζ^n − 1) Σ ζ^{ni} t_i(ζ)`, over memory words.
pub fn quotient_identity(memory: &Memory, cell_bits: u32) -> Graph<Address> {
    let at = |address: usize| Expression::var(Address(address));
    let evaluations: [Expression<Address>; EVALUATIONS] =
        std::array::from_fn(|i| at(memory.evaluations + i * WORD));
    let computed = Computed {
        x: at(memory.zeta),
        active: at(memory.active),
        first: at(memory.first),
        last: at(memory.last),
        public: at(memory.public),
    };
    let (cells, t) = cells_from_evaluations(&evaluations, computed);
    let challenges =
        Challenges { eta: at(memory.eta), beta: at(memory.beta), gamma: at(memory.gamma) };
    let alpha = at(memory.alpha);
    let one = Expression::constant(Fr::one());
    let powers: Vec<Expression<Address>> =
        std::iter::successors(Some(one.clone()), |power| Some(power.clone() * alpha.clone()))
            .take(CONSTRAINTS)
            .collect();
    let mut fold = Fold::new(&powers);
    constraints(&Constants::new(challenges, cell_bits), &cells, &mut fold);
    let zeta_n = at(memory.zeta_n);
    let quotient = t
        .into_iter()
        .rev()
        .reduce(|sum, chunk| sum * zeta_n.clone() + chunk)
        .unwrap_or_else(|| Expression::constant(Fr::zero()));
    Graph::new(Identity::Value, [&(fold.finish() - (zeta_n - one) * quotient)])
}

/// The source of a contract `name`, a Solidity identifier, that verifies the proofs of `vk` with a Keccak transcript.
///
/// `tau_g2` is `[τ]_2` of the key's SRS. For a development SRS the contract rejects every proof except on
/// [`DEVELOPMENT_CHAINS`]. `pair_at` is where in the public inputs a carried pair
/// starts, if there is one. The contract implements `IVerifier`, which it imports from its own folder.
///
/// # Panics
/// When the carried pair does not fit the public inputs, or `name` is no identifier: the caller's bug, met when code is
/// generated.
#[track_caller]
pub fn generate(
    vk: &VerifyingKey,
    tau_g2: &G2Affine,
    name: &str,
    pair_at: Option<usize>,
) -> String {
    let n_public = vk.shape.n_public as usize;
    if let Some(at) = pair_at {
        assert!(
            at.checked_add(PAIR_INPUTS).is_some_and(|end| end <= n_public),
            "a carried pair of {PAIR_INPUTS} values from input {at} on exceeds the {n_public} public inputs"
        );
    }
    assert!(
        is_identifier(name),
        "a contract cannot be named {name:?}: Solidity wants an identifier"
    );
    let memory = Memory::new();
    let graph = quotient_identity(&memory, vk.shape.cell_bits);
    let gates = emit::emit(&graph, memory.gates, INDENT);
    let mut out = TEMPLATE.to_owned();
    let mut set = |key: &str, value: String| {
        let placeholder = format!("{{{{{key}}}}}");
        debug_assert!(out.contains(&placeholder), "{key} is not in the template");
        out = out.replace(&placeholder, &value);
    };
    set("NAME", name.to_owned());
    set("GATES", gates.yul);
    set("GATES_RESULT", format!("{:#x}", gates.result));
    set("FIXED", fixed_points(vk, &memory));
    set("CHAINS", development_chains(tau_g2));
    set("PAIR", pair_at.map(carried_pair).unwrap_or_default());
    set_fields(&mut set);
    rounds::set(&mut set);
    set_circuit(vk, &mut set);
    set_setup(tau_g2, &mut set);
    set_addresses(&memory, n_public, pair_at.is_some(), &mut set);
    #[cfg(feature = "weaken")]
    let out = weaken::weakened(out);
    out
}

/// Whether `name` has the form of a Solidity identifier. Reserved words have it too: the compiler rejects those.
pub fn is_identifier(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    name.chars().all(is_part) && name.starts_with(|c: char| !c.is_ascii_digit())
}

type Set<'a> = &'a mut dyn FnMut(&str, String);

fn set_fields(set: Set<'_>) {
    let minus = |x: Fr| word_literal(&fr_to_bytes(&-x));
    let modulus = |limbs: [u64; 4]| {
        word_literal(&limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect::<Vec<_>>())
    };
    set("R", modulus(Fr::MODULUS.0));
    set("Q", modulus(Fq::MODULUS.0));
    set("R_MINUS_1", minus(Fr::one()));
    set("R_MINUS_2", minus(Fr::from(2u64)));
    set("R_MINUS_2_128", minus(power_of_two(128)));
}

fn set_circuit(vk: &VerifyingKey, set: Set<'_>) {
    let w = omega(vk.shape.log_n);
    let inverse = |x: Fr| literal(&inverse_of_nonzero(&x));
    let one = Fr::one();
    let w2 = w * w;
    set("LOG_N", vk.shape.log_n.to_string());
    set("N_PUBLIC", vk.shape.n_public.to_string());
    set("PUBLIC_BYTES", format!("{:#x}", vk.shape.n_public as usize * WORD));
    set("N_INVERSE", inverse(Fr::from(vk.shape.n() as u64)));
    set("OMEGA", literal(&w));
    set("OMEGA_2", literal(&w2));
    set("OMEGA_BLINDING", literal(&w.pow([vk.shape.usable_rows() as u64])));
    set("LINE", inverse(one - w));
    set("CURVE_0", inverse((one - w) * (one - w2)));
    set("CURVE_1", inverse((w - one) * (w - w2)));
    set("CURVE_2", inverse((w2 - one) * (w2 - w)));
    set("VK_DIGEST", word_literal(&fr_to_bytes(&vk.digest())));
    let start = match Transcript::new(TranscriptKind::Keccak, vk.shape.n_public as usize) {
        Transcript::Keccak { state, .. } => state,
        Transcript::Poseidon2 { .. } => {
            unreachable!("the schedule was replayed with a Keccak transcript")
        }
    };
    set("TRANSCRIPT", word_literal(&start));
}

fn set_setup(tau_g2: &G2Affine, set: Set<'_>) {
    for (name, point) in [("TAU", *tau_g2), ("G2", G2Affine::generator())] {
        for (i, word) in g2_to_bytes(&point).chunks(WORD).enumerate() {
            set(&format!("{name}_{i}"), word_literal(word));
        }
    }
}

fn set_addresses(memory: &Memory, n_public: usize, pair: bool, set: Set<'_>) {
    let m = memory;
    let scalar = |i: usize| m.scalars + i * WORD;
    let point = |i: usize| m.points + i * POINT;
    let second = OPENINGS[0].claims();
    let third = second + OPENINGS[1].claims();
    let lagrange_bytes = (BLINDING_ROWS + n_public.max(1)) * WORD;
    let words = [
        ("ETA", m.eta),
        ("BETA", m.beta),
        ("GAMMA", m.gamma),
        ("ALPHA", m.alpha),
        ("ZETA", m.zeta),
        ("ZETA_N", m.zeta_n),
        ("ACTIVE", m.active),
        ("FIRST", m.first),
        ("LAST", m.last),
        ("PUBLIC", m.public),
        ("ZETA_INVERSE", m.rest),
        ("Z_PRIME", m.rest + WORD),
        ("FOLD", m.rest + 2 * WORD),
        ("S_R", m.rest + 3 * WORD),
        ("F_1", m.rest + 4 * WORD),
        ("F_2", m.rest + 5 * WORD),
        ("WEIGHTS", m.rest + 6 * WORD),
        ("PAIRING", m.pairing),
        ("EVALUATIONS_STATE", m.evaluations - WORD),
        ("EVALUATIONS", m.evaluations),
        ("SCALARS", m.scalars),
        ("SCALARS_2", scalar(second)),
        ("SCALARS_3", scalar(third)),
        ("SCALARS_W", scalar(CLAIMS)),
        ("SCALARS_W_PRIME", scalar(CLAIMS + 1)),
        ("SCALARS_G", scalar(CLAIMS + 2)),
        ("SCALARS_R", scalar(CLAIMS + 3)),
        ("SCALARS_L", scalar(CLAIMS + 4)),
        ("POINTS", m.points),
        ("POINTS_2", point(second)),
        ("POINTS_3", point(third)),
        ("POINTS_W", point(CLAIMS)),
        ("POINTS_G", point(CLAIMS + 2)),
        ("POINTS_R", point(CLAIMS + 3)),
        ("POINTS_L", point(CLAIMS + 4)),
        ("POINTS_RIGHT_END", point(CLAIMS + if pair { 4 } else { 3 })),
        ("ROOTS", m.gates),
        ("DIFFERENCES", m.gates + lagrange_bytes),
        ("LAGRANGE", m.gates + 2 * lagrange_bytes),
        ("LAGRANGE_BYTES", lagrange_bytes),
        ("BLINDING_BYTES", BLINDING_ROWS * WORD),
        ("BUFFER", m.gates),
        ("PROOF_BYTES", PROOF_BYTES),
        ("AT_EVALUATIONS", COMMITMENTS * POINT),
        ("EVALUATION_BYTES", EVALUATIONS * WORD),
        ("AT_OPENING", COMMITMENTS * POINT + EVALUATIONS * WORD),
    ];
    for (name, value) in words {
        set(name, format!("{value:#x}"));
    }
}

fn fixed_points(vk: &VerifyingKey, memory: &Memory) -> String {
    let mut out = String::new();
    let start = memory.points + rounds::first_fixed() * POINT;
    for (i, point) in vk.fixed.iter().enumerate() {
        for (j, coordinate) in [point.x, point.y].iter().enumerate() {
            let address = start + i * POINT + j * WORD;
            let value = word_literal(&fq_to_bytes(coordinate));
            // Writing to a string cannot fail.
            let _ = writeln!(out, "            mstore({address:#x}, {value})");
        }
    }
    out
}

/// The check that makes a verifier for a development SRS reject every proof on a chain that may not use one.
fn development_chains(tau_g2: &G2Affine) -> String {
    if *tau_g2 != development_tau_g2() {
        return String::new();
    }
    let one = |chain: u64| format!("eq(chainid(), {chain})");
    let any =
        DEVELOPMENT_CHAINS.into_iter().map(one).reduce(|any, one| format!("or({any}, {one})"));
    format!(
        "            // The tau of this setup is public: on a chain with value anything could be proven.\n            if iszero({}) {{ refuse() }}\n",
        any.unwrap_or_else(|| "0".to_owned())
    )
}

fn carried_pair(at: usize) -> String {
    let PairCells { l, s_l, r, s_r } = PairCells::split(std::array::from_fn(|i| i * WORD));
    let hex = |value: usize| format!("{value:#x}");
    CARRIED
        .replace("{{AT}}", &hex(at * WORD + l[0]))
        .replace("{{S_L}}", &hex(s_l))
        .replace("{{R}}", &hex(r[0]))
        .replace("{{S_R}}", &hex(s_r))
}

const CARRIED: &str = include_str!("carried.yul.template");

/// The source of `IVerifier`, the interface that a [generated](generate) contract implements. It belongs
/// into the contract's folder as `IVerifier.sol`.
pub const INTERFACE: &str = include_str!("../../../contracts/src/IVerifier.sol");

/// 32 bytes as a literal.
fn word_literal(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
