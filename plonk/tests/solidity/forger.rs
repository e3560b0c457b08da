//! Makes proofs of anything, with the known τ of a development SRS.
//!
//! With τ one can open commitments to any values. Here it serves to make proofs that a verifier
//! rejects for one reason alone: an encoding that is not canonical, or a point at infinity. All that
//! they say of the openings and of the gates holds. It is also a second reading of the transcript and
//! of the opening equation, apart from prover and verifier.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInteger, Field, PrimeField};
use rollmill_algebra::bytes::{fr_to_bytes, g1_from_slice, g1_to_bytes};
use rollmill_algebra::field::{omega, powers};
use rollmill_algebra::{Fr, G1Affine, G1Projective};
use rollmill_plonk::gates::{CONSTRAINTS, Challenges, Constants, Fold, constraints};
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::{CLAIMS, COMMITMENTS, EVALUATIONS, Proof, cells_from_evaluations};
use rollmill_plonk::schedule::CLAIM_ORDER;
use rollmill_plonk::shape::QUOTIENT_CHUNKS;
use rollmill_plonk::srs::development_tau;
use rollmill_plonk::transcript::{Transcript, TranscriptKind, short_coefficient};
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair, computed_at};

/// Evaluation of the first quotient chunk: the one the forger solves for.
const FIRST_CHUNK: usize = 3;
/// The commitment that is the first in the sum of the opening: that of the multiplicities.
pub(crate) const FIRST: usize = 12;
const OPENING: usize = COMMITMENTS * 64 + EVALUATIONS * 32;

/// What is wrong with a forgery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing: every verifier accepts it, and so shows that the forger can forge.
    None,
    /// This public input is encoded as itself plus r.
    PublicInput(usize),
    /// This evaluation is encoded as itself plus r.
    Evaluation(usize),
    /// This commitment is (0, 0).
    Commitment(usize),
    /// The opening quotient is (0, 0).
    Quotient,
    /// This point is off the curve, and its term is left out of the sum: as a verifier would add that goes
    /// on when a precompile fails.
    OffCurve(usize),
    /// This point is off the curve, and so is left out what comes after it in the sum: as a verifier would
    /// take it that does not ask whether the sum came to its end.
    CutShort(usize),
    /// The carried pair, which starts at this public input, does not hold, and W' makes up for it with the
    /// folding coefficient that would be drawn if W' were not absorbed before.
    EarlyFold(usize),
}

/// The canonical encoding plus r, which still fits 32 bytes.
fn plus_modulus(value: &Fr) -> [u8; 32] {
    let mut number = value.into_bigint();
    assert!(!number.add_with_carry(&Fr::MODULUS), "2r is below 2^256");
    let mut out = [0; 32];
    out.copy_from_slice(&number.to_bytes_be());
    out
}

fn absorb(transcript: &mut Transcript, bytes: &[u8]) {
    let Transcript::Keccak { buffer, .. } = transcript else { panic!("a Keccak transcript") };
    buffer.extend_from_slice(bytes);
}

/// Public inputs and a proof, encoded, for a key of a development SRS. `model` is any valid proof.
pub(crate) fn forge(vk: &VerifyingKey, public: &[Fr], model: &Proof, flaw: Flaw) -> Vec<u8> {
    let mut words: Vec<[u8; 32]> = public.iter().map(fr_to_bytes).collect();
    let mut points: Vec<[u8; 64]> = model.points().iter().map(g1_to_bytes).collect();
    match flaw {
        Flaw::PublicInput(i) => words[i] = plus_modulus(&public[i]),
        Flaw::Commitment(i) => points[i] = [0; 64],
        Flaw::Quotient => points[COMMITMENTS] = [0; 64],
        // q is odd, so no two points of the curve have ordinates that differ by one.
        Flaw::OffCurve(i) | Flaw::CutShort(i) => points[i][63] ^= 1,
        Flaw::Evaluation(_) | Flaw::None | Flaw::EarlyFold(_) => {}
    }
    let mut t = Transcript::new(TranscriptKind::Keccak, public.len());
    t.absorb(&vk.digest());
    absorb(&mut t, words.as_flattened());
    absorb(&mut t, points[..13].as_flattened());
    let [eta, beta, gamma] = t.squeeze(3).try_into().expect("three");
    absorb(&mut t, points[13..17].as_flattened());
    let alpha = t.squeeze(1)[0];
    absorb(&mut t, points[17..COMMITMENTS].as_flattened());
    let zeta = t.squeeze(1)[0];

    // Any evaluations will do but one, which makes the gates come out.
    let mut e = model.evaluations;
    let computed = computed_at(&vk.shape, public, zeta).expect("not on the domain");
    let (cells, chunks) = cells_from_evaluations(&e, computed);
    let alphas = powers(alpha, CONSTRAINTS);
    let mut fold = Fold::new(&alphas);
    let challenges = Challenges { eta, beta, gamma };
    constraints(&Constants::new(challenges, vk.shape.cell_bits), &cells, &mut fold);
    let zeta_n = zeta.pow([vk.shape.n() as u64]);
    let shifts = powers(zeta_n, QUOTIENT_CHUNKS);
    let rest: Fr = (1..QUOTIENT_CHUNKS).map(|i| shifts[i] * chunks[i]).sum();
    e[FIRST_CHUNK] = fold.finish() * (zeta_n - Fr::ONE).inverse().expect("not zero") - rest;
    let mut values: Vec<[u8; 32]> = e.iter().map(fr_to_bytes).collect();
    if let Flaw::Evaluation(i) = flaw {
        values[i] = plus_modulus(&e[i]);
    }
    absorb(&mut t, values.as_flattened());
    let rho: Vec<Fr> = t.squeeze_short(CLAIMS).into_iter().map(short_coefficient).collect();
    absorb(&mut t, &points[COMMITMENTS]);
    let z = t.squeeze(1)[0];
    let early = t.clone().squeeze(1)[0];

    // (τ − z′)·W′ = Σ f ρ C − Z_T·W − s_R·G.
    let w = omega(vk.shape.log_n);
    let d = [z - zeta, z - zeta * w, z - zeta * w * w];
    let decode = |i: usize| match flaw {
        Flaw::OffCurve(off) | Flaw::CutShort(off) if off == i => G1Affine::default(),
        _ => g1_from_slice(&points[i]).expect("a point"),
    };
    let order: Vec<usize> = [FIRST, 14, 15].into_iter().chain(17..22).collect();
    let after: Vec<usize> = (4..12).chain([13, 16]).chain(0..4).collect();
    let of_proof = |i: usize| (Some(i), decode(i));
    let claims = order
        .into_iter()
        .map(of_proof)
        .chain(vk.fixed.map(|point| (None, point)))
        .chain(after.into_iter().map(of_proof))
        .collect::<Vec<(Option<usize>, G1Affine)>>();
    let (mut sum_cut, mut is_cut) = (G1Projective::default(), false);
    let mut sum = G1Projective::default();
    let mut at = e.iter();
    let mut value = || *at.next().expect("as many as the claims need");
    for (k, ((i, claim), rho)) in claims.iter().zip(&rho).enumerate() {
        // The claim's share of s_R, with f multiplied in: f cancels most of the denominators.
        let (factor, opened) = if CLAIM_ORDER[k].set == 0 {
            (d[1] * d[2], d[1] * d[2] * value())
        } else if CLAIM_ORDER[k].set == 1 {
            let (v0, v1) = (value(), value());
            let slope = (v1 - v0) * (zeta * w - zeta).inverse().expect("two points");
            (d[2], d[2] * (v0 + slope * d[0]))
        } else {
            // Newton's form through three points.
            let (v0, v1, v2) = (value(), value(), value());
            let step = zeta * w - zeta;
            let first = (v1 - v0) * step.inverse().expect("two points");
            let second = (v2 - v1) * (step * w).inverse().expect("two points");
            let span = (zeta * w * w - zeta).inverse().expect("two points");
            (Fr::ONE, v0 + d[0] * (first + d[1] * (second - first) * span))
        };
        is_cut |= matches!(flaw, Flaw::CutShort(off) if *i == Some(off));
        if !is_cut {
            sum_cut += *claim * (*rho * factor);
        }
        sum += *claim * (*rho * factor) - G1Affine::generator() * (*rho * opened);
    }
    sum -= decode(COMMITMENTS) * (d[0] * d[1] * d[2]);
    if let Flaw::EarlyFold(at) = flaw {
        let pair: [Fr; PAIR_INPUTS] = std::array::from_fn(|i| public[at + i]);
        let pair = Pair::from_fields(&pair).expect("points of the curve");
        let g = G1Affine::generator();
        let missing = (pair.l - g * pair.s_l) * development_tau() - (pair.r - g * pair.s_r);
        sum -= missing * early;
    }
    // Cut short, the right side has neither z′·W′ nor the values: τ·W′ is what it does have.
    let (sum, at) = match flaw {
        Flaw::CutShort(_) => (sum_cut, development_tau()),
        _ => (sum, development_tau() - z),
    };
    let w_prime = sum * at.inverse().expect("neither 0 nor τ");
    points[COMMITMENTS + 1] = g1_to_bytes(&w_prime.into_affine());

    let mut out = words.as_flattened().to_vec();
    out.extend_from_slice(points[..COMMITMENTS].as_flattened());
    out.extend_from_slice(values.as_flattened());
    out.extend_from_slice(points[COMMITMENTS..].as_flattened());
    assert_eq!(out.len(), 32 * public.len() + OPENING + 128);
    out
}
