//! The native verifier: from key, public inputs and proof to one pairing equation.
//!
//! Protocol and soundness: `docs/book/protocol.md`. It never panics, and each rejection has its own error.

use ark_ec::{CurveGroup, VariableBaseMSM};
use ark_ff::{AdditiveGroup, Field, Zero};
use rollmill_algebra::field::{inverse_of_nonzero, omega};
pub use rollmill_algebra::pair::{PAIR_INPUTS, Pair, PairError};
use rollmill_algebra::{Fr, G1Projective, G2Affine};

use crate::gates::{CONSTRAINTS, Challenges, Constants, Fold, constraints};
use crate::key::VerifyingKey;
use crate::proof::{Computed, EVALUATIONS, Proof, cells_from_evaluations};
use crate::schedule::{CLAIM_ORDER, CLAIMS, Challenge, Channel, OPENING_POINTS, OPENINGS, replay};
use crate::shape::{BLINDING_ROWS, Shape};
use crate::transcript::{Transcript, TranscriptKind, short_coefficient};
use crate::weaken::{self, gone};

/// Why a proof was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The number of public inputs differs from the circuit's.
    ///
    /// Do: Pass the public inputs of this circuit.
    #[error("{code}: the circuit has {expected} public inputs, got {got}", code = self.code())]
    PublicInputs { expected: usize, got: usize },
    /// A challenge fell on a value for which the protocol is undefined. An honest proof meets this
    /// with probability below 2^-220.
    ///
    /// Do: Reject the proof.
    #[error("{code}: challenge {challenge} is degenerate", code = self.code())]
    Degenerate { challenge: &'static str },
    /// The constraints do not hold at ζ: the proof, its public inputs, the key or the kind of transcript is wrong.
    ///
    /// Do: Reject the proof. If you made it, run `rollmill_plonk::check` on the witness, verify with the transcript
    /// that the proof was made with, then test the device.
    #[error("{code}: the constraints do not hold at the random point: the proof, its public inputs, the key or the kind of transcript is wrong", code = self.code())]
    Quotient,
    /// The opening proofs are wrong.
    ///
    /// Do: Reject the proof. If you made it, check that key and SRS belong together, then test the
    /// device.
    #[error("{code}: the pairing check of the openings failed", code = self.code())]
    Pairing,
    /// The pair in the public inputs is malformed.
    ///
    /// Do: Reject the proof.
    #[error("{code}: the carried pair is malformed: {0}", code = self.code())]
    Pair(#[from] PairError),
    /// The position of the carried pair leaves fewer public inputs than a pair has.
    ///
    /// Do: Correct the calling program: pass the position that the circuit's shape defines.
    #[error("{code}: a carried pair of {PAIR_INPUTS} values from input {at} on exceeds the {got} public inputs", code = self.code())]
    PairPosition { at: usize, got: usize },
}

rollmill_errors::coded! {
    VerifyError {
        Self::PublicInputs { .. } => "PLK-030",
        Self::Degenerate { .. } => "PLK-031",
        Self::Quotient => "PLK-032",
        Self::Pairing => "PLK-033",
        Self::Pair(..) => "PLK-034",
        Self::PairPosition { .. } => "PLK-035",
    }
}

/// The challenges of a proof, in the order in which they are drawn.
#[derive(Debug, Clone)]
pub struct ProofChallenges {
    pub gates: Challenges<Fr>,
    pub alpha: Fr,
    pub zeta: Fr,
    pub rho: Vec<Fr>,
    pub z_prime: Fr,
    /// Squeezed after the last message; folding coefficients are drawn from it.
    pub fold: Fr,
}

/// Replays the transcript of a proof.
pub fn challenges(
    kind: TranscriptKind,
    vk_digest: &Fr,
    public: &[Fr],
    proof: &Proof,
) -> ProofChallenges {
    let mut t = Transcript::new(kind, public.len());
    if !gone("transcript.key") {
        t.absorb(vk_digest);
    }
    if !gone("transcript.public") {
        public.iter().for_each(|p| t.absorb(p));
    }
    let drawn = replay(&mut OfProof { transcript: t, proof });
    let [eta, beta, gamma, alpha, zeta, z_prime, fold] = {
        use Challenge::*;
        [Eta, Beta, Gamma, Alpha, Zeta, ZPrime, Fold].map(|challenge| drawn.get(challenge))
    };
    ProofChallenges {
        gates: Challenges { eta, beta, gamma },
        alpha,
        zeta,
        rho: drawn.rho,
        z_prime,
        fold,
    }
}

/// A transcript with the proof that it replays.
struct OfProof<'a> {
    transcript: Transcript,
    proof: &'a Proof,
}

impl Channel for OfProof<'_> {
    type Value = Fr;
    fn absorb_points(&mut self, points: std::ops::Range<usize>) {
        let all = self.proof.points();
        let sent = points.filter(|i| !gone(weaken::POINT[*i]));
        sent.for_each(|i| self.transcript.absorb_point(&all[i]));
    }
    fn absorb_evaluations(&mut self) {
        if !gone("transcript.evaluations") {
            self.proof.evaluations.iter().for_each(|e| self.transcript.absorb(e));
        }
    }
    fn squeeze(&mut self, count: usize) -> Vec<Fr> {
        self.transcript.squeeze(count)
    }
    fn squeeze_short(&mut self, count: usize) -> Vec<Fr> {
        self.transcript.squeeze_short(count).into_iter().map(short_coefficient).collect()
    }
}

/// What a verifier computes by itself at ζ; `None` when ζ lies on the domain.
pub fn computed_at(shape: &Shape, public: &[Fr], zeta: Fr) -> Option<Computed<Fr>> {
    let n = Fr::from(shape.n() as u64);
    let w = omega(shape.log_n);
    let vanishing = zeta.pow([shape.n() as u64]) - Fr::ONE;
    if vanishing.is_zero() {
        return None;
    }
    let lagrange = |power: Fr| -> Fr {
        // ζ is not on the domain, so the difference has an inverse.
        power * vanishing * inverse_of_nonzero(&(n * (zeta - power)))
    };
    let mut power = Fr::ONE;
    let mut sum = Fr::ZERO;
    for value in public {
        sum += lagrange(power) * value;
        power *= w;
    }
    let mut power = w.pow([shape.usable_rows() as u64]);
    let last = lagrange(power);
    let mut blind = Fr::ZERO;
    for _ in 0..BLINDING_ROWS {
        blind += lagrange(power);
        power *= w;
    }
    Some(Computed { x: zeta, active: Fr::ONE - blind, first: lagrange(Fr::ONE), last, public: sum })
}

/// Everything but the pairing: the pair that must hold, and the folding seed.
pub fn reduce(
    kind: TranscriptKind,
    vk: &VerifyingKey,
    public: &[Fr],
    proof: &Proof,
) -> Result<(Pair, Fr), VerifyError> {
    let expected = vk.shape.n_public as usize;
    if public.len() != expected && !gone("verifier.public_inputs") {
        return Err(VerifyError::PublicInputs { expected, got: public.len() });
    }
    let c = challenges(kind, &vk.digest(), public, proof);
    let computed = computed_at(&vk.shape, public, c.zeta)
        .ok_or(VerifyError::Degenerate { challenge: "zeta" })?;
    let (cells, t) = cells_from_evaluations(&proof.evaluations, computed);
    let constants = Constants::new(c.gates, vk.shape.cell_bits);
    let powers = rollmill_algebra::field::powers(c.alpha, CONSTRAINTS);
    let mut fold = Fold::new(&powers);
    constraints(&constants, &cells, &mut fold);
    let zeta_n = c.zeta.pow([vk.shape.n() as u64]);
    let quotient = t.iter().rev().fold(Fr::ZERO, |acc, t| acc * zeta_n + t);
    if fold.finish() != (zeta_n - Fr::ONE) * quotient && !gone("verifier.quotient") {
        return Err(VerifyError::Quotient);
    }
    let (scalars, s_r) = opening(&vk.shape, &proof.evaluations, &c)?;
    let mut bases = proof.claims(&vk.fixed).to_vec();
    bases.extend([proof.w, proof.w_prime]);
    let r = G1Projective::msm_unchecked(&bases, &scalars).into_affine();
    Ok((Pair { l: proof.w_prime, s_l: Fr::ZERO, r, s_r }, c.fold))
}

/// Coefficients of the claims, W and W′ in R, and the multiple of the generator (SHPLONK,
/// eprint 2020/081, section 4).
fn opening(
    shape: &Shape,
    e: &[Fr; EVALUATIONS],
    c: &ProofChallenges,
) -> Result<(Vec<Fr>, Fr), VerifyError> {
    let points = opening_points(c.zeta, shape.log_n);
    let d = points.map(|p| c.z_prime - p);
    if d.iter().any(|d| d.is_zero()) || c.zeta.is_zero() {
        return Err(VerifyError::Degenerate { challenge: "z'" });
    }
    // What the vanishing polynomial of a set lacks of that of all points.
    let factor = |set: usize| d[OPENINGS[set].points..].iter().product::<Fr>();
    let mut scalars = Vec::with_capacity(CLAIMS + 2);
    let mut s_r = Fr::ZERO;
    for (claim, rho) in CLAIM_ORDER.iter().zip(&c.rho) {
        let rho = *rho * factor(claim.set);
        let values = &e[claim.evaluations()];
        let value = interpolate(&points[..values.len()], values, c.z_prime);
        s_r += rho * value;
        scalars.push(rho);
    }
    scalars.extend([-d.iter().product::<Fr>(), c.z_prime]);
    Ok((scalars, s_r))
}

/// ζ, ζω, … for a domain of `2^log_n` rows: the points at which columns are opened.
pub(crate) fn opening_points(zeta: Fr, log_n: u32) -> [Fr; OPENING_POINTS] {
    let w = omega(log_n);
    let mut next = zeta;
    [(); OPENING_POINTS].map(|()| {
        let point = next;
        next *= w;
        point
    })
}

/// Value at `x` of the polynomial through at most three points.
fn interpolate(points: &[Fr], values: &[Fr], x: Fr) -> Fr {
    let mut sum = Fr::ZERO;
    for (i, (p, v)) in points.iter().zip(values).enumerate() {
        let mut term = *v;
        for (j, q) in points.iter().enumerate() {
            if i != j {
                // The points ζ, ζω, ζω² differ, as ζ is not zero.
                term *= (x - q) * inverse_of_nonzero(&(*p - q));
            }
        }
        sum += term;
    }
    sum
}

/// Verifies a proof. `pair_at` is where in the public inputs a carried pair starts, if there is one;
/// it must hold too.
pub fn verify(
    kind: TranscriptKind,
    vk: &VerifyingKey,
    tau_g2: &G2Affine,
    public: &[Fr],
    proof: &Proof,
    pair_at: Option<usize>,
) -> Result<(), VerifyError> {
    let (mut pair, u) = reduce(kind, vk, public, proof)?;
    if let Some(at) = pair_at.filter(|_| !gone("verifier.pair")) {
        let fields: &[Fr; PAIR_INPUTS] = public
            .get(at..at + PAIR_INPUTS)
            .and_then(|f| f.try_into().ok())
            .ok_or(VerifyError::PairPosition { at, got: public.len() })?;
        pair = pair.fold(&Pair::from_fields(fields)?, u);
    }
    if pair.holds(tau_g2) || gone("verifier.pairing") { Ok(()) } else { Err(VerifyError::Pairing) }
}
