//! The in-circuit verifier and the folding of pairs, against the native verifier.
//!
//! Method: children are *made-up* proofs. Their points are random and one quotient evaluation is solved
//! for, so that everything but the pairing holds; that is all a parent circuit can see. Real proofs are
//! in `counter.rs`.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{Field, UniformRand};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::{Fr, G1Affine, G1Projective, field::powers, poseidon2};
use rollmill_circuits::circuit::Dimensions;
use rollmill_circuits::gadgets::fold::{
    ChildSpec, ChildWitness, PairVars, VerifiedChild, verify_children,
};
use rollmill_circuits::gadgets::straus::{SHORT_WINDOWS, offset_factor};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::gates::{CONSTRAINTS, Constants, Fold, constraints};
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::{EVALUATIONS, Proof, cells_from_evaluations};
use rollmill_plonk::shape::Shape;
use rollmill_plonk::transcript::{TranscriptKind, halves, short_coefficient};
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair, challenges, computed_at, reduce};
use rollmill_protocol::Circuit;
use rollmill_protocol::circuit::Verifier;
use rollmill_protocol::domain;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_tree};

pub(crate) const KIND: TranscriptKind = TranscriptKind::Poseidon2;
const ROLES: [u32; 2] = [1, 2];
const N_PUBLIC: usize = 12;
const PAIR_AT: usize = 2;
const VERSION: u64 = 3;
/// Sizes that the parent accepts.
const SMALL: Dimensions = Dimensions { log_n: 13, cell_bits: 12 };
const LARGE: Dimensions = Dimensions { log_n: 17, cell_bits: 16 };

fn spec(pair_at: Option<usize>) -> ChildSpec<'static> {
    let transcript = Verifier::Circuit.transcript();
    ChildSpec { roles: &ROLES, n_public: N_PUBLIC, sizes: &[SMALL, LARGE], pair_at, transcript }
}

pub(crate) fn points<const N: usize>(rng: &mut ChaCha8Rng) -> [G1Affine; N] {
    let all: Vec<G1Projective> = (0..N).map(|_| G1Affine::generator() * Fr::rand(rng)).collect();
    G1Projective::normalize_batch(&all).try_into().expect("N points")
}

fn made_up_key(rng: &mut ChaCha8Rng, size: Dimensions) -> VerifyingKey {
    let Dimensions { log_n, cell_bits } = size;
    let shape = Shape { log_n, n_public: N_PUBLIC as u32, cell_bits };
    VerifyingKey { shape, srs_id: Fr::rand(rng), fixed: points(rng) }
}

/// Sets one quotient evaluation so that the quotient identity holds.
pub(crate) fn solve(vk: &VerifyingKey, public: &[Fr], proof: &mut Proof) {
    let c = challenges(KIND, &vk.digest(), public, proof);
    let computed = computed_at(&vk.shape, public, c.zeta).expect("off the domain");
    let (cells, t) = cells_from_evaluations(&proof.evaluations, computed);
    let alphas = powers(c.alpha, CONSTRAINTS);
    let mut fold = Fold::new(&alphas);
    constraints(&Constants::new(c.gates, vk.shape.cell_bits), &cells, &mut fold);
    let zeta_n = c.zeta.pow([vk.shape.n() as u64]);
    let rest = t[1..].iter().rev().fold(Fr::from(0u64), |acc, t| (acc + t) * zeta_n);
    let vanishing = zeta_n - Fr::from(1u64);
    proof.evaluations[3] = fold.finish() * vanishing.inverse().expect("not one") - rest;
}

pub(crate) fn made_up_proof(rng: &mut ChaCha8Rng, vk: &VerifyingKey, public: &[Fr]) -> Proof {
    let evaluations: [Fr; EVALUATIONS] = std::array::from_fn(|_| Fr::rand(rng));
    let mut proof = Proof::from_parts(&points(rng), evaluations);
    solve(vk, public, &mut proof);
    proof
}

/// A root and children of the first two roles under it, each with a carried pair. The roles are of different sizes.
fn children(count: usize) -> (Fr, Vec<ChildWitness>) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let keys = [LARGE, SMALL].map(|size| made_up_key(&mut rng, size));
    let circuits = [Circuit::TxBase, Circuit::TxMerge];
    let leaves: Vec<VkLeaf> = circuits
        .iter()
        .zip(&keys)
        .map(|(circuit, vk)| VkLeaf {
            circuit: *circuit,
            vk_digest: vk.digest(),
            log_n: vk.shape.log_n.into(),
            n_public_inputs: N_PUBLIC as u64,
            charged_rows: 1000 + circuit.role(),
            protocol_version: VERSION,
        })
        .collect();
    let tree = vk_tree(&leaves);
    let children = (0..count)
        .map(|i| {
            let leaf = leaves[i % 2];
            let mut public: Vec<Fr> = (0..N_PUBLIC).map(|_| Fr::rand(&mut rng)).collect();
            let [l, r] = points(&mut rng);
            let pair = Pair { l, s_l: Fr::rand(&mut rng), r, s_r: Fr::rand(&mut rng) };
            public[PAIR_AT..PAIR_AT + PAIR_INPUTS].copy_from_slice(&pair.to_fields());
            let vk = keys[i % 2].clone();
            let proof = made_up_proof(&mut rng, &vk, &public);
            let index = leaf.circuit.role() as usize;
            let path = std::array::from_fn(|level| tree[level][(index >> level) ^ 1]);
            ChildWitness { proof, public, vk, leaf, path }
        })
        .collect();
    (tree[VK_TREE_HEIGHT][0], children)
}

struct Laid {
    b: Builder,
    verified: Vec<VerifiedChild>,
    pair: PairVars,
}

fn lay(root: Fr, children: &[ChildWitness], pair_at: Option<usize>) -> Laid {
    let mut b = Builder::new(PAIR_INPUTS, 16);
    let root = b.witness(root);
    let version = b.constant_u64(VERSION);
    let specs: Vec<_> = children.iter().map(|c| (spec(pair_at), c)).collect();
    let (verified, pair) = verify_children(&mut b, root, version, &specs);
    for (i, var) in pair.iter().enumerate() {
        b.set_public(i, *var);
    }
    Laid { b, verified, pair }
}

/// The folding coefficients that final squeezes lead to, the first pair's first.
pub(crate) fn coefficients(seeds: &[Fr]) -> Vec<Fr> {
    let mut state = [0, 0, 0, domain::FOLD].map(Fr::from);
    let mut us = vec![Fr::from(1u64)];
    for chunk in seeds.chunks(3) {
        for (slot, value) in state.iter_mut().zip(chunk) {
            *slot += value;
        }
        poseidon2::permute(&mut state);
    }
    for element in &state[..3] {
        let (low, high) = halves(element);
        us.extend([short_coefficient(low), short_coefficient(high)]);
    }
    us
}

/// The sum of all pairs, as the points whose pairing is compared.
fn expected(children: &[ChildWitness], pair_at: Option<usize>) -> [G1Projective; 2] {
    let sides = |p: &Pair| {
        [
            G1Projective::from(p.l) - G1Affine::generator() * p.s_l,
            G1Projective::from(p.r) - G1Affine::generator() * p.s_r,
        ]
    };
    let mut pairs = Vec::new();
    let mut seeds = Vec::new();
    for child in children {
        let (own, seed) = reduce(KIND, &child.vk, &child.public, &child.proof).expect("holds");
        seeds.push(seed);
        pairs.push(own);
        if let Some(at) = pair_at {
            let fields = child.public[at..at + PAIR_INPUTS].try_into().expect("ten");
            pairs.push(Pair::from_fields(fields).expect("a pair"));
        }
    }
    let us = coefficients(&seeds);
    let mut out = [G1Projective::default(); 2];
    for (pair, u) in pairs.iter().zip(us) {
        for (sum, side) in out.iter_mut().zip(sides(pair)) {
            *sum += side * u;
        }
    }
    out
}

/// The points whose pairing the published pair compares.
fn sides_of(laid: &Laid) -> [G1Projective; 2] {
    let fields = laid.pair.map(|v| laid.b.value(v));
    let pair = Pair::from_fields(&fields).expect("canonical and on the curve");
    let generator = G1Affine::generator();
    [pair.l - generator * pair.s_l, pair.r - generator * pair.s_r]
}

fn folds_as_expected(count: usize, pair_at: Option<usize>) {
    let (root, children) = children(count);
    let started = std::time::Instant::now();
    let laid = lay(root, &children, pair_at);
    let elapsed = started.elapsed();
    assert_eq!(sides_of(&laid), expected(&children, pair_at));
    for (child, witness) in laid.verified.iter().zip(&children) {
        assert_eq!(laid.b.value(child.charged_rows), Fr::from(witness.leaf.charged_rows));
    }
    let mut sections: Vec<(String, usize)> = Vec::new();
    for (name, rows) in laid.b.section_rows() {
        match sections.iter_mut().find(|(n, _)| *n == name) {
            Some((_, sum)) => *sum += rows,
            None => sections.push((name, rows)),
        }
    }
    for (name, rows) in sections {
        println!("  {rows:>7} {name}");
    }
    let (layout, witness) = laid.b.finish(None).expect("fits");
    println!(
        "{count} children: {} rows, log_n {}, witness {elapsed:?}",
        layout.rows_used, layout.shape.log_n
    );
    assert_eq!(check(&layout, &witness), Ok(()));
}

#[test]
fn one_child_without_a_pair_folds_to_its_own_pair() {
    folds_as_expected(1, None);
}

#[test]
fn two_children_and_their_pairs_fold_to_the_sum_and_fit_in_two_to_the_17() {
    folds_as_expected(2, Some(PAIR_AT));
}

/// The child under another size: a proof for it, made up anew, and a leaf that claims it.
fn of_size(child: &mut ChildWitness, size: Dimensions) {
    (child.vk.shape.log_n, child.vk.shape.cell_bits) = (size.log_n, size.cell_bits);
    child.leaf.log_n = size.log_n.into();
    solve(&child.vk, &child.public, &mut child.proof);
}

fn accepted(root: Fr, children: &[ChildWitness]) -> bool {
    let (layout, witness) = lay(root, children, Some(PAIR_AT)).b.finish(None).expect("fits");
    check(&layout, &witness).is_ok()
}

/// Each attack changes one honest child; all but the control must be rejected.
#[test]
fn named_attacks_on_a_child_are_rejected() {
    let (root, honest) = children(1);
    type Attack = (&'static str, fn(&mut ChildWitness));
    let attacks: [Attack; 13] = [
        ("a role that is not accepted", |c| c.leaf.circuit = Circuit::BlockMerge),
        ("another accepted role, not the key's own", |c| c.leaf.circuit = Circuit::TxMerge),
        ("other charged rows than in the leaf", |c| c.leaf.charged_rows += 1),
        ("another key, for which the proof would hold", |c| {
            c.vk = made_up_key(&mut ChaCha8Rng::seed_from_u64(9), LARGE);
            solve(&c.vk, &c.public, &mut c.proof);
        }),
        ("another accepted size, for which the proof would hold", |c| of_size(c, SMALL)),
        ("another accepted role with its size, not the key's own", |c| {
            c.leaf.circuit = Circuit::TxMerge;
            of_size(c, SMALL);
        }),
        ("the rows of another accepted size", |c| {
            of_size(c, Dimensions { log_n: SMALL.log_n, ..LARGE });
        }),
        ("the width of cells of another accepted size", |c| {
            of_size(c, Dimensions { cell_bits: SMALL.cell_bits, ..LARGE });
        }),
        ("two commitments swapped", |c| c.proof.wires.swap(0, 1)),
        ("a commitment doubled in another's place", |c| c.proof.wires[1] = c.proof.wires[0]),
        ("another public input", |c| c.public[0] += Fr::from(1u64)),
        ("the carried pair replaced", |c| {
            c.public[PAIR_AT..].copy_from_slice(&Pair::trivial().to_fields());
        }),
        ("the carried pair dropped", |c| {
            c.public[PAIR_AT..].fill(Fr::from(0u64));
            solve(&c.vk, &c.public, &mut c.proof);
        }),
    ];
    assert!(accepted(root, &honest));
    assert!(!accepted(root + Fr::from(1u64), &honest), "another key tree");
    for (name, attack) in attacks {
        let mut changed = honest.clone();
        attack(&mut changed[0]);
        assert!(!accepted(root, &changed), "{name}");
    }
}

/// Goal: no coefficient is known before the last message of the last child. Method: change only that
/// message, which no other challenge depends on, and compare the circuit's sum with one made of the new
/// coefficients.
#[test]
fn folding_coefficients_depend_on_the_last_message_of_the_last_child() {
    let (root, mut children) = children(2);
    let drawn = |children: &[ChildWitness]| {
        let seed = |c: &ChildWitness| reduce(KIND, &c.vk, &c.public, &c.proof).expect("holds").1;
        coefficients(&children.iter().map(seed).collect::<Vec<_>>())
    };
    let before = drawn(&children);
    children[1].proof.w_prime = children[0].proof.w_prime;
    let after = drawn(&children);
    assert_eq!(before[0], after[0], "the first pair is taken as it is");
    assert!(before.iter().zip(&after).skip(1).all(|(x, y)| x != y));
    assert_eq!(sides_of(&lay(root, &children, Some(PAIR_AT))), expected(&children, Some(PAIR_AT)));
}

/// Goal: the point that every sum starts from is b·G with b the last value of the squeeze, which the last
/// message of the child changes. Method: L is published with the multiple of b·G that went into it, and the
/// pairing cannot tell (it is settled in s_L), so it is taken out here.
#[test]
fn the_offset_is_squeezed_after_the_last_message() {
    let (root, mut children) = children(1);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let laid = lay(root, &children, Some(PAIR_AT));
        let pair = Pair::from_fields(&laid.pair.map(|v| laid.b.value(v))).expect("a pair");
        let child = &children[0];
        let (own, seed) = reduce(KIND, &child.vk, &child.public, &child.proof).expect("holds");
        let fields = child.public[PAIR_AT..PAIR_AT + PAIR_INPUTS].try_into().expect("ten");
        let carried = Pair::from_fields(fields).expect("a pair");
        let drawn = coefficients(&[seed]);
        let sum = own.l + carried.l * drawn[1];
        let offset = G1Projective::from(pair.l) - sum;
        let expected = G1Affine::generator() * (drawn[2] * offset_factor(SHORT_WINDOWS));
        assert_eq!(offset, expected);
        seen.push(offset);
        children[0].proof.w_prime = children[0].proof.w;
    }
    assert_ne!(seen[0], seen[1]);
}

/// A commitment that is sent twice, with a proof that is otherwise made to fit, is added up twice: equal
/// points do not upset the additions, and the pairing decides.
#[test]
fn equal_commitments_fold_to_the_right_sum() {
    let (root, mut children) = children(1);
    let child = &mut children[0];
    child.proof.wires = [child.proof.wires[0]; 12];
    child.proof.w_prime = child.proof.w;
    solve(&child.vk, &child.public, &mut child.proof);
    let laid = lay(root, &children, Some(PAIR_AT));
    assert_eq!(sides_of(&laid), expected(&children, Some(PAIR_AT)));
    let (layout, witness) = laid.b.finish(None).expect("fits");
    assert_eq!(check(&layout, &witness), Ok(()));
}
