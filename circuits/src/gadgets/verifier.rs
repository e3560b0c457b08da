//! The verifier of one proof inside a circuit, up to the MSMs. The twin of `rollmill_plonk::verifier::reduce`.

use ark_ff::Field;
use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;
use rollmill_algebra::field::inverse_of_nonzero;
use rollmill_algebra::{batch_invert, omega};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::{CONSTRAINTS, Challenges, Constants, Fold, constraints, power_of_two};
use rollmill_plonk::proof::{Computed, EVALUATIONS, Proof, cells_from_evaluations};
use rollmill_plonk::schedule::{CLAIM_ORDER, Challenge, Channel, Group, OPENINGS, replay};
use rollmill_plonk::shape::BLINDING_ROWS;

use super::curve::Point;
use super::symbolic::{Sym, assert_zero, lower, sum};
use super::transcript::Transcript;
use super::vk_tree::KeyVars;
use crate::circuit::Dimensions;
use crate::weaken::gone;

/// A proof as variables.
#[derive(Debug, Clone)]
pub struct ProofVars {
    /// Points in the order in which they are sent, W and W′ last.
    pub points: Vec<Point>,
    /// Evaluations in the order in which they are sent.
    pub evaluations: [Var; EVALUATIONS],
}

impl ProofVars {
    /// Points on the curve with coordinates below q; evaluations are any field elements.
    pub fn new(b: &mut Builder, proof: &Proof) -> Self {
        let points = proof.points().iter().map(|p| Point::fresh(b, p)).collect();
        Self { points, evaluations: proof.evaluations.map(|e| b.witness(e)) }
    }

    /// The opened commitments in the order of the claims.
    fn claims(&self, fixed: &[Point]) -> Vec<Point> {
        CLAIM_ORDER.iter().map(|claim| claim.pick(&self.points, fixed)).collect()
    }
}

/// What is left to check of a proof: the pair (W′, 0; R, s_R) with
/// `R = f_1·S_1 + f_2·S_2 + S_3 + w_factor·W + z'·W′`, where `S_i = Σ (2c_k + 1 − 2^128)·C_k` over set `i`.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Commitments of each set with their short values.
    pub sets: [Vec<(Point, Var)>; 3],
    /// Factors of the first two sets.
    pub factors: [Var; 2],
    pub w: Point,
    pub w_factor: Var,
    pub w_prime: Point,
    pub z_prime: Var,
    pub s_r: Var,
    /// The transcript's final squeeze, from which folding coefficients are derived.
    pub fold: Var,
}

/// The signed odd coefficient of a short value.
pub fn short_coefficient(c: Var) -> Sym {
    let offset = Fr::from(1u64) - power_of_two(128);
    Sym::var(c).scale(Fr::from(2u64)) + Sym::constant(offset)
}

/// Claims of each set. The code below assumes three sets, of one, two and three points.
const SETS: [usize; 3] = {
    assert!(OPENINGS.len() == 3);
    let [one, two, three] = [OPENINGS[0], OPENINGS[1], OPENINGS[2]];
    assert!(one.points == 1 && two.points == 2 && three.points == 3);
    [one.claims(), two.claims(), three.claims()]
};

/// A challenge, or in a weakened build a variable with its value that is not tied to the transcript.
fn drawn(b: &mut Builder, challenge: Var, name: &str) -> Var {
    if gone(name) { b.witness(b.value(challenge)) } else { challenge }
}

/// Verifies a proof for `public` under `key`, except for the MSMs and the pairing.
pub fn reduce(b: &mut Builder, key: &KeyVars, public: &[Var], proof: &ProofVars) -> Opening {
    let mut t = Transcript::new(b, public.len());
    if !gone("gadgets.verifier.absorb.key") {
        t.absorb(&[key.digest]);
    }
    if !gone("gadgets.verifier.absorb.public") {
        t.absorb(public);
    }
    let challenges = replay(&mut OfProof { b: &mut *b, transcript: t, proof });
    let [w, w_prime] =
        [Group::Opening, Group::OpeningAtZPrime].map(|group| proof.points[group.point()]);

    let mut challenge =
        |challenge: Challenge, name: &str| drawn(b, challenges.get(challenge), name);
    let [eta, beta, gamma] = [Challenge::Eta, Challenge::Beta, Challenge::Gamma]
        .map(|of_gates| Sym::var(challenge(of_gates, "gadgets.verifier.eta_beta_gamma")));
    let alpha = challenge(Challenge::Alpha, "gadgets.verifier.alpha");
    let zeta = challenge(Challenge::Zeta, "gadgets.verifier.zeta");
    let z_prime = challenge(Challenge::ZPrime, "gadgets.verifier.z_prime");
    let fold = challenge(Challenge::Fold, "gadgets.verifier.fold");
    let short: Vec<Var> =
        challenges.rho.iter().map(|v| drawn(b, *v, "gadgets.verifier.rho")).collect();

    let zeta_n = power_n(b, key, zeta);
    let computed = computed_at(b, key, public, zeta, zeta_n);
    let challenges = Challenges { eta, beta, gamma };
    let evaluations = proof.evaluations.map(Sym::var);
    let (cells, chunks) = cells_from_evaluations(&evaluations, computed);
    let weights =
        std::array::from_fn(|i| of_size(b, key, |size| power_of_two(size.cell_bits * i as u32)));
    let constants = Constants::with_weights(challenges, weights);
    let one = Sym::constant(Fr::from(1u64));
    let powers: Vec<Sym> =
        std::iter::successors(Some(one.clone()), |p| Some(p.clone() * Sym::var(alpha)))
            .take(CONSTRAINTS)
            .collect();
    let mut folded = Fold::new(&powers);
    constraints(&constants, &cells, &mut folded);
    let zeta_n = Sym::var(zeta_n);
    let zero = Sym::constant(Fr::from(0u64));
    let quotient = chunks.iter().rev().fold(zero, |acc, t| acc * zeta_n.clone() + t.clone());
    if !gone("gadgets.verifier.quotient") {
        assert_zero(b, &(folded.finish() - (zeta_n - one) * quotient));
    }

    let (factors, w_factor, s_r) = opening(b, key, &evaluations, zeta, z_prime, &short);
    let mut claims = proof.claims(&key.fixed).into_iter().zip(short);
    let sets = SETS.map(|count| claims.by_ref().take(count).collect());
    Opening { sets, factors, w, w_factor, w_prime, z_prime, s_r, fold }
}

/// The transcript of a proof in a circuit.
struct OfProof<'a> {
    b: &'a mut Builder,
    transcript: Transcript,
    proof: &'a ProofVars,
}

impl Channel for OfProof<'_> {
    type Value = Var;
    fn absorb_points(&mut self, points: std::ops::Range<usize>) {
        let is_gone = |i: usize| {
            i == Group::Opening.point() && gone("gadgets.verifier.absorb.w")
                || i == Group::OpeningAtZPrime.point() && gone("gadgets.verifier.absorb.w_prime")
        };
        for i in points.filter(|i| !is_gone(*i)) {
            self.transcript.absorb_points(self.b, &self.proof.points[i..=i]);
        }
    }
    fn absorb_evaluations(&mut self) {
        if !gone("gadgets.verifier.absorb.evaluations") {
            self.transcript.absorb(&self.proof.evaluations);
        }
    }
    fn squeeze(&mut self, count: usize) -> Vec<Var> {
        self.transcript.squeeze(self.b, count)
    }
    fn squeeze_short(&mut self, count: usize) -> Vec<Var> {
        self.transcript.squeeze_short(self.b, count)
    }
}

/// The value that all have, if they have one.
fn common<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// ζ^n, where n is one of the sizes that the key can have.
fn power_n(b: &mut Builder, key: &KeyVars, zeta: Var) -> Var {
    let log_ns: Vec<u32> = key.size.values().iter().map(|size| size.log_n).collect();
    let largest = log_ns.iter().copied().max().expect("a key has a size");
    let mut powers = vec![zeta];
    for k in 0..largest as usize {
        let square = b.mul(powers[k], powers[k]);
        powers.push(square);
    }
    if let Some(log_n) = common(log_ns.iter()) {
        return powers[*log_n as usize];
    }
    let bits = key.size.bits.iter().zip(&log_ns);
    let terms = bits.map(|(bit, log_n)| Sym::var(*bit) * Sym::var(powers[*log_n as usize]));
    let [power] = lower(b, [&sum(terms)]);
    power
}

/// A number that depends only on the key's size.
fn of_size(b: &mut Builder, key: &KeyVars, f: impl Fn(Dimensions) -> Fr) -> Sym {
    match common(key.size.values().iter().map(|size| f(*size))) {
        Some(value) => Sym::constant(value),
        None => Sym::var(key.size.map(b, f)),
    }
}

/// [`of_size`] of a number that depends on the number of rows alone.
fn of_rows(b: &mut Builder, key: &KeyVars, f: impl Fn(u32) -> Fr) -> Sym {
    of_size(b, key, |size| f(size.log_n))
}

/// ω^k for a small k of either sign.
fn root(log_n: u32, k: i64) -> Fr {
    let power = omega(log_n).pow([k.unsigned_abs()]);
    if k < 0 { inverse_of_nonzero(&power) } else { power }
}

/// The values at ζ that a verifier computes itself. ζ is constrained to lie outside the domain.
fn computed_at(
    b: &mut Builder,
    key: &KeyVars,
    public: &[Var],
    zeta: Var,
    zeta_n: Var,
) -> Computed<Sym> {
    let one = Fr::from(1u64);
    let vanishing = b.scale(zeta_n, one, -one);
    if !gone("gadgets.verifier.zeta_off_domain") {
        b.inverse(vanishing);
    }
    let n_inverse = of_rows(b, key, |log_n| inverse_of_nonzero(&power_of_two(log_n)));
    // L_k(ζ)·(ζ − ω^k) = ω^k·(ζ^n − 1)/n, and ζ − ω^k is not zero.
    let [over_n] = lower(b, [&(Sym::var(vanishing) * n_inverse)]);
    let blinding = BLINDING_ROWS as i64;
    let mut values = Vec::new();
    let rows = (-blinding..0).chain(0..public.len().max(1) as i64);
    let (at, size) = (b.value(zeta), key.size.chosen(b));
    let chosen_root = |k: i64| size.map_or(Fr::from(0u64), |size| root(size.log_n, k));
    let mut inverses: Vec<Fr> = rows.clone().map(|k| at - chosen_root(k)).collect();
    batch_invert(&mut inverses);
    for (k, inverse) in rows.zip(inverses) {
        let power = of_rows(b, key, |log_n| root(log_n, k));
        let [point] = lower(b, [&power]);
        let value = b.value(point) * b.value(over_n) * inverse;
        let value = Sym::var(b.witness(value));
        let left = value.clone() * (Sym::var(zeta) - power.clone());
        if !gone("gadgets.verifier.lagrange") {
            assert_zero(b, &(left - power * Sym::var(over_n)));
        }
        values.push(value);
    }
    let (blind, domain) = values.split_at(BLINDING_ROWS);
    let terms = public.iter().zip(domain).map(|(p, l)| Sym::var(*p) * l.clone());
    let active = Sym::constant(one) - sum(blind.iter().cloned());
    let [active, public] = lower(b, [&active, &sum(terms)]);
    Computed {
        x: Sym::var(zeta),
        active: Sym::var(active),
        first: domain[0].clone(),
        last: blind[0].clone(),
        public: Sym::var(public),
    }
}

/// The factors of sets 1 and 2 and of W, and the multiple s_R of the generator.
fn opening(
    b: &mut Builder,
    key: &KeyVars,
    e: &[Sym; EVALUATIONS],
    zeta: Var,
    z_prime: Var,
    short: &[Var],
) -> ([Var; 2], Var, Var) {
    // 1 / Π_{j ≠ i} (ω^i − ω^j) over the points of a set.
    let weight = |points: i64, i: i64| {
        move |log_n: u32| {
            let product = (0..points)
                .filter(|j| *j != i)
                .fold(Fr::from(1u64), |acc, j| acc * (root(log_n, i) - root(log_n, j)));
            inverse_of_nonzero(&product)
        }
    };
    let z = Sym::var(zeta);
    let w = of_rows(b, key, |log_n| root(log_n, 1));
    let w2 = of_rows(b, key, |log_n| root(log_n, 2));
    let z_prime = Sym::var(z_prime);
    let differences =
        [z_prime.clone() - z.clone(), z_prime.clone() - z.clone() * w, z_prime - z * w2];
    let d = lower(b, differences.each_ref()).map(Sym::var);
    let both = |i: usize, j: usize| d[i].clone() * d[j].clone();
    let minus = Sym::constant(-Fr::from(1u64));
    let [f1, f2, w_factor] = lower(b, [&both(1, 2), &d[2], &(minus * (both(1, 2) * d[0].clone()))]);
    // z' is none of the three points, and ζ is not zero, so that the three differ.
    if !gone("gadgets.verifier.z_prime_off_set") {
        b.inverse(w_factor);
    }
    let zeta_inverse = match gone("gadgets.verifier.zeta_inverse") {
        true => b.witness(b.value(zeta).inverse().unwrap_or_default()),
        false => b.inverse(zeta),
    };
    let zeta_inverse = Sym::var(zeta_inverse);

    let rho: Vec<Sym> = short.iter().map(|c| short_coefficient(*c)).collect();
    let weighted = |set: usize, at: usize| {
        let claims = CLAIM_ORDER.iter().zip(&rho).filter(|(claim, _)| claim.set == set);
        sum(claims.map(|(claim, rho)| rho.clone() * e[claim.evaluation + at].clone()))
    };
    let set1 = weighted(0, 0);
    let mut set2 = Vec::new();
    for i in 0..2 {
        let other = d[1 - i].clone();
        let k = of_rows(b, key, weight(2, i as i64));
        set2.push(weighted(1, i) * other * k);
    }
    let mut set3 = Vec::new();
    for i in 0..3 {
        let others = both((i + 1) % 3, (i + 2) % 3);
        let k = of_rows(b, key, weight(3, i as i64));
        set3.push(weighted(2, i) * others * k);
    }
    let s_r = Sym::var(f1) * set1
        + Sym::var(f2) * zeta_inverse.clone() * sum(set2)
        + zeta_inverse.square() * sum(set3);
    let [s_r] = lower(b, [&s_r]);
    ([f1, f2], w_factor, s_r)
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;
    use rollmill_plonk::schedule::CLAIMS;

    use super::super::vk_tree::Choice;
    use super::*;

    const SMALL: Dimensions = Dimensions { log_n: 13, cell_bits: 12 };
    const LARGE: Dimensions = Dimensions { log_n: 17, cell_bits: 16 };

    /// Whether a circuit accepts these two points under the last of these sizes, with only the rows that matter here.
    fn accepted(sizes: &[Dimensions], lay_out: impl Fn(&mut Builder, &KeyVars)) -> bool {
        let mut b = Builder::new(0, 16);
        let size = Choice::new(&mut b, sizes, *sizes.last().expect("a size"));
        let zero = Builder::ZERO;
        let key = KeyVars { fixed: Vec::new(), size, log_n: zero, digest: zero };
        lay_out(&mut b, &key);
        let (layout, witness) = b.finish(None).expect("fits");
        check(&layout, &witness).is_ok()
    }

    /// On the domain any value of a Lagrange polynomial passes, so a prover could choose it.
    #[test]
    fn a_point_of_the_domain_is_rejected() {
        let taken = |sizes: &[Dimensions], zeta: Fr| {
            accepted(sizes, |b, key| {
                let zeta = b.witness(zeta);
                let zeta_n = power_n(b, key, zeta);
                let public = [b.constant_u64(4), b.constant_u64(5)];
                computed_at(b, key, &public, zeta, zeta_n);
            })
        };
        let lists = [&[LARGE][..], &[SMALL, LARGE], &[LARGE, SMALL]];
        for sizes in lists {
            let log_n = sizes[sizes.len() - 1].log_n;
            assert!(taken(sizes, Fr::from(7u64)), "{sizes:?}");
            for k in [0, 1, 2, 77, -1, -(BLINDING_ROWS as i64)] {
                assert!(!taken(sizes, root(log_n, k)), "{sizes:?}: {k}");
            }
        }
        // A point of the large domain alone: the size decides.
        assert!(taken(&[LARGE, SMALL], root(LARGE.log_n, 1)));
    }

    /// At these points the factor of a set's claims is zero.
    #[test]
    fn a_second_point_among_those_of_the_first_is_rejected() {
        let zeta = Fr::from(7u64);
        let taken = |sizes: &[Dimensions], zeta: Fr, z_prime: Fr| {
            accepted(sizes, |b, key| {
                let (zeta, z_prime) = (b.witness(zeta), b.witness(z_prime));
                let short: Vec<Var> = (0..CLAIMS as u64).map(|i| b.constant_u64(i + 9)).collect();
                let evaluations: [Sym; EVALUATIONS] =
                    std::array::from_fn(|i| Sym::constant(Fr::from(i as u64 + 100)));
                opening(b, key, &evaluations, zeta, z_prime, &short);
            })
        };
        for sizes in [&[LARGE][..], &[SMALL, LARGE], &[LARGE, SMALL]] {
            let log_n = sizes[sizes.len() - 1].log_n;
            assert!(taken(sizes, zeta, Fr::from(8u64)), "{sizes:?}");
            for k in 0..3 {
                assert!(!taken(sizes, zeta, zeta * root(log_n, k)), "{sizes:?}: {k}");
            }
            assert!(!taken(sizes, Fr::from(0u64), Fr::from(8u64)), "all three are one");
        }
        assert!(taken(&[LARGE, SMALL], zeta, zeta * root(LARGE.log_n, 1)), "of another size");
    }
}
