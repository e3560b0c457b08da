//! Verifies the proofs of children and folds their pairs into one.
//!
//! A verification leaves a pair (L, s_L; R, s_R) that must satisfy `e(L − s_L·G, [τ]) = e(R − s_R·G, [1])`.
//! The pairs of all children, and the pairs that they carry in their public inputs, are added up with
//! independent short coefficients u, drawn from the final transcript states of all children. If one
//! pair is invalid, then for given other coefficients the sum is valid for at most one u. A u is one half of a squeezed
//! element: a lower half has 2^128 values and an upper half r/2^128, so the chance is about 2^-125.6.
//! The first pair's coefficient is one.
//!
//! Multiples of the generator stay native: each MSM starts from b·G (see [`super::straus`]), and that known multiple
//! is added to s_L and s_R.
//!
//! # The offset, and terms that contain it
//! The MSMs over sets 1 and 2 result in `S + 16^31·b·G` and are terms of the MSM for R, which starts from
//! the same b·G. Before an addition its accumulator is then `(16^j + m)·b·G + C`, where `m = 16^31·Σ p` over the
//! leading digits p of those terms so far, and the entry is `e·16^31·b·G + E`. Digits, C and E are fixed
//! before b. Challenges that are drawn before b determine the factor of b in the difference and in the sum of the
//! two. It is zero with negligible chance, so again at most two values of b are bad.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;
use rollmill_algebra::pair::PairCells;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::Proof;
use rollmill_plonk::verifier::PAIR_INPUTS;
use rollmill_protocol::domain;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf};

use super::curve::{Planned, Point, Table};
use super::straus::{LONG_WINDOWS, Offset, SHORT_WINDOWS, Scalar, multi_scalar, offset_factor};
use super::symbolic::{Sym, lower, sum};
use super::transcript::{OffsetScalar, Transcript};
use super::verifier::{Opening, ProofVars, reduce, short_coefficient};
use super::vk_tree::{Choice, KeyVars, LeafVars, assert_leaf};
use crate::circuit::Dimensions;
use crate::weaken::gone;

/// Siblings of a leaf of the verification-key tree, lowest first.
pub type VkPath = [Fr; VK_TREE_HEIGHT];

/// A child's proof and everything needed to verify it.
#[derive(Debug, Clone)]
pub struct ChildWitness {
    pub proof: Proof,
    pub public: Vec<Fr>,
    pub vk: VerifyingKey,
    pub leaf: VkLeaf,
    pub path: VkPath,
}

/// What a circuit requires of a child. All of it is constant.
#[derive(Debug, Clone, Copy)]
pub struct ChildSpec<'a> {
    /// Roles that are accepted.
    pub roles: &'a [u32],
    /// Number of public inputs.
    pub n_public: usize,
    /// Numbers of rows and widths of limb cells that are accepted, each number with its width.
    pub sizes: &'a [Dimensions],
    /// Where in the public inputs a carried pair starts, if there is one.
    pub pair_at: Option<usize>,
    /// The transcript in the child's leaf.
    pub transcript: u64,
}

/// A child whose proof was verified, up to the folded pair.
#[derive(Debug, Clone)]
pub struct VerifiedChild {
    pub public: Vec<Var>,
    /// One bit for each accepted role, of which one is set.
    pub role_bits: Vec<Var>,
    /// Charged rows of the child's own circuit, from its leaf.
    pub charged_rows: Var,
}

/// A pair in the order of public inputs, see [`PairCells`].
pub type PairVars = [Var; PAIR_INPUTS];

/// One pair to fold: a child's own, or one that it carries.
enum Part {
    Own(Box<Opening>),
    Carried(Box<CarriedPair>),
}

struct CarriedPair {
    l: Point,
    s_l: Var,
    r: Point,
    s_r: Var,
}

/// How a circuit knows that a child's key is the right one. The number of public inputs is a word of the key's digest,
/// and belongs to the check: a key that was checked in one way serves for no proof of another form.
pub trait KeyCheck {
    /// What the check finds out.
    type Known;
    /// Number of public inputs of a proof under the key.
    fn n_public(&self) -> usize;
    /// Numbers of rows and widths of limb cells that are accepted.
    fn sizes(&self) -> &[Dimensions];
    /// Where in the public inputs a carried pair starts, if there is one.
    fn pair_at(&self) -> Option<usize>;
    /// Constrains the key to be right.
    fn constrain(self, b: &mut Builder, key: &KeyVars) -> Self::Known;
}

/// The key of one of the network's circuits, by its place in the key tree.
#[derive(Debug, Clone, Copy)]
pub struct TreeKey<'a> {
    pub spec: ChildSpec<'a>,
    /// The role that the prover claims, and the rest of the leaf.
    pub role: u32,
    pub charged_rows: u64,
    pub path: &'a VkPath,
    pub vk_root: Var,
    pub protocol_version: Var,
}

/// What the leaf of a child says.
#[derive(Debug, Clone)]
pub struct KnownLeaf {
    /// One bit for each accepted role, of which one is set.
    pub role_bits: Vec<Var>,
    /// Charged rows of the child's own circuit.
    pub charged_rows: Var,
}

impl KeyCheck for TreeKey<'_> {
    type Known = KnownLeaf;
    fn n_public(&self) -> usize {
        self.spec.n_public
    }
    fn sizes(&self) -> &[Dimensions] {
        self.spec.sizes
    }
    fn pair_at(&self) -> Option<usize> {
        self.spec.pair_at
    }
    fn constrain(self, b: &mut Builder, key: &KeyVars) -> KnownLeaf {
        let Self { spec, role, charged_rows, path, vk_root, protocol_version } = self;
        let role = Choice::new(b, spec.roles, role);
        let charged_rows = b.witness(charged_rows.into());
        let leaf = LeafVars {
            n_public: spec.n_public,
            charged_rows,
            protocol_version,
            transcript: spec.transcript,
        };
        assert_leaf(b, vk_root, &role, key, leaf, path);
        KnownLeaf { role_bits: role.bits, charged_rows }
    }
}

/// A proof with its public inputs and the key it was made under.
#[derive(Debug, Clone, Copy)]
pub struct ProofWitness<'a> {
    pub proof: &'a Proof,
    pub public: &'a [Fr],
    pub vk: &'a VerifyingKey,
}

/// Children of one circuit, verified one by one and then folded.
#[derive(Default)]
pub struct Children {
    parts: Vec<Part>,
    seeds: Vec<Var>,
    count: usize,
}

impl std::fmt::Debug for Children {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Children").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Children {
    /// Verifies the next child up to its pair. Returns its public inputs and what is known of its key.
    pub fn verify<K: KeyCheck>(
        &mut self,
        b: &mut Builder,
        check: K,
        witness: ProofWitness<'_>,
    ) -> (Vec<Var>, K::Known) {
        let i = self.count;
        self.count += 1;
        let (n_public, pair_at) = (check.n_public(), check.pair_at());
        b.section(&format!("child {i}: key and points"));
        let key = KeyVars::new(b, witness.vk, check.sizes(), n_public);
        let known = check.constrain(b, &key);
        let proof = ProofVars::new(b, witness.proof);
        assert_eq!(witness.public.len(), n_public, "public inputs of child {i}");
        let public: Vec<Var> = witness.public.iter().map(|v| b.witness(*v)).collect();
        b.section(&format!("child {i}: transcript and gates"));
        let opening = reduce(b, &key, &public, &proof);
        self.seeds.push(opening.fold);
        self.parts.push(Part::Own(Box::new(opening)));
        if let Some(at) = pair_at {
            let cells = std::array::from_fn(|k| public[at + k]);
            self.parts.push(carried(b, &cells));
        }
        (public, known)
    }

    /// Adds a pair that the prover chooses, which hides the folded one if it is random. It is folded as one that a
    /// child carries: the coefficients depend on all of its words, so the sum is valid only if this pair is.
    pub fn add_pair(&mut self, b: &mut Builder, pair: &[Fr; PAIR_INPUTS]) {
        let cells = pair.map(|word| b.witness(word));
        self.seeds.extend(cells);
        self.parts.push(carried(b, &cells));
    }

    /// Folds all pairs into one.
    ///
    /// # Panics
    /// Without a child.
    pub fn fold(self, b: &mut Builder) -> PairVars {
        let Self { parts, seeds, count } = self;
        assert!(count > 0, "a fold starts with the pair of a child");
        b.section("folding coefficients");
        let mut sponge = Transcript::with_tag(b, domain::FOLD.into());
        sponge.absorb(&seeds);
        // One for each pair after the first, then the offset.
        let (coefficients, offset) = sponge.end_with_offset(b, parts.len() - 1);
        let coefficients: Vec<Var> = match gone("gadgets.fold.coefficients") {
            true => coefficients.into_iter().map(|u| b.witness(b.value(u))).collect(),
            false => coefficients,
        };
        fold(b, &parts, &coefficients, offset)
    }
}

/// Verifies every child under `vk_root` and folds the pairs into one. At least one child.
pub fn verify_children(
    b: &mut Builder,
    vk_root: Var,
    protocol_version: Var,
    children: &[(ChildSpec<'_>, &ChildWitness)],
) -> (Vec<VerifiedChild>, PairVars) {
    let mut all = Children::default();
    let mut verified = Vec::new();
    for (spec, witness) in children {
        let ChildWitness { proof, public, vk, leaf, path } = witness;
        let key = TreeKey {
            spec: *spec,
            role: leaf.circuit as u32,
            charged_rows: leaf.charged_rows,
            path,
            vk_root,
            protocol_version,
        };
        let (public, known) = all.verify(b, key, ProofWitness { proof, public, vk });
        let KnownLeaf { role_bits, charged_rows } = known;
        verified.push(VerifiedChild { public, role_bits, charged_rows });
    }
    (verified, all.fold(b))
}

/// Reads a carried pair from public inputs and constrains its points to be points.
fn carried(b: &mut Builder, fields: &PairVars) -> Part {
    let values = fields.map(|v| b.value(v));
    carried_given(b, fields, &values)
}

/// [`carried`] with coordinates that the prover chooses, in the order of `fields`.
fn carried_given(b: &mut Builder, fields: &PairVars, given: &[Fr; PAIR_INPUTS]) -> Part {
    let (fields, given) = (PairCells::split(*fields), PairCells::split(*given));
    let mut point = |fields: [Var; 4], given: [Fr; 4]| {
        let mut limbs = [Builder::ZERO; 8];
        for i in 0..4 {
            let words = ark_ff::PrimeField::into_bigint(given[i]).0;
            let low = b.witness(Fr::from(words[0]));
            let high = b.witness(Fr::from(words[1]));
            // The limbs are constrained to 64 bits together with the point's.
            let terms = [(Fr::from(1u64), low), (power_of_two(64), high)];
            if !gone("gadgets.fold.halves") {
                b.linear_into(&terms, Fr::from(0u64), fields[i]);
            }
            (limbs[2 * i], limbs[2 * i + 1]) = (low, high);
        }
        let [x0, x1, x2, x3, y0, y1, y2, y3] = limbs;
        Point::from_limbs(b, [x0, x1, x2, x3], [y0, y1, y2, y3])
    };
    let (l, r) = (point(fields.l, given.l), point(fields.r, given.r));
    Part::Carried(Box::new(CarriedPair { l, s_l: fields.s_l, r, s_r: fields.s_r }))
}

/// A term of an MSM, with a table of its own.
struct Term {
    table: Table,
    scalar: Scalar,
}

fn sum_of(b: &mut Builder, start: &Offset, terms: &[Term], once: &[&Point]) -> Point {
    let terms: Vec<(&Table, Scalar)> = terms.iter().map(|t| (&t.table, t.scalar)).collect();
    multi_scalar(b, start, &terms, once)
}

/// Adds up the pairs: the first as it is, each of the others times its short coefficient.
fn fold(b: &mut Builder, parts: &[Part], coefficients: &[Var], offset: OffsetScalar) -> PairVars {
    b.section("offset");
    let start = Offset::new(b, offset);
    let mut l_terms: Vec<Term> = Vec::new();
    let mut l_once: Vec<&Point> = Vec::new();
    let mut r_terms: Vec<Term> = Vec::new();
    let (mut s_l, mut s_r, mut made_of_offset) = (Vec::new(), Vec::new(), Vec::new());
    for (i, part) in parts.iter().enumerate() {
        let short = i.checked_sub(1).map(|k| coefficients[k]);
        let u = short.map_or(Sym::constant(Fr::from(1u64)), short_coefficient);
        match part {
            Part::Carried(pair) => {
                b.section("carried pair: tables");
                let c = short.expect("the first pair is a child's own");
                let planned = Planned::all([&pair.l, &pair.r]);
                l_terms.push(Term { table: Table::of(b, &planned[0]), scalar: Scalar::Short(c) });
                r_terms.push(Term { table: Table::of(b, &planned[1]), scalar: Scalar::Short(c) });
                s_l.push(u.clone() * Sym::var(pair.s_l));
                s_r.push(u * Sym::var(pair.s_r));
            }
            Part::Own(opening) => {
                let scalars = [
                    u.clone() * Sym::var(opening.factors[0]),
                    u.clone() * Sym::var(opening.factors[1]),
                    u.clone() * Sym::var(opening.w_factor),
                    u.clone() * Sym::var(opening.z_prime),
                ];
                let [f1, f2, w, w_prime] = lower(b, scalars.each_ref());
                made_of_offset.extend([Sym::var(f1), Sym::var(f2)]);
                s_r.push(u.clone() * Sym::var(opening.s_r));
                for (set, factor) in opening.sets[..2].iter().zip([f1, f2]) {
                    b.section("own pair: tables");
                    let planned = Planned::all(set.iter().map(|(point, _)| point));
                    let terms = planned.iter().zip(set).map(|(planned, (_, c))| Term {
                        table: Table::of(b, planned),
                        scalar: Scalar::Short(*c),
                    });
                    let terms: Vec<Term> = terms.collect();
                    b.section("own pair: sums over sets");
                    let point = sum_of(b, &start, &terms, &[]);
                    let table = Table::new(b, &point);
                    r_terms.push(Term { table, scalar: Scalar::Long(factor) });
                }
                b.section("own pair: tables");
                let planned = Planned::all(opening.sets[2].iter().map(|(point, _)| point));
                for (planned, (_, c)) in planned.iter().zip(&opening.sets[2]) {
                    let scalar = match short {
                        None => Scalar::Short(*c),
                        Some(_) => {
                            let [long] = lower(b, [&(u.clone() * short_coefficient(*c))]);
                            Scalar::Long(long)
                        }
                    };
                    r_terms.push(Term { table: Table::of(b, planned), scalar });
                }
                let planned = Planned::all([&opening.w, &opening.w_prime]);
                let table = Table::of(b, &planned[0]);
                r_terms.push(Term { table, scalar: Scalar::Long(w) });
                let table = Table::of(b, &planned[1]);
                match short {
                    None => l_once.push(&opening.w_prime),
                    Some(c) => {
                        l_terms.push(Term { table: table.clone(), scalar: Scalar::Short(c) });
                    }
                }
                r_terms.push(Term { table, scalar: Scalar::Long(w_prime) });
            }
        }
    }
    b.section("sum for L");
    let b_coefficient = short_coefficient(offset.var());
    let one = [offset_factor(SHORT_WINDOWS), offset_factor(LONG_WINDOWS)].map(Sym::constant);
    let [short_factor, long_factor] = one;
    let l = match (&l_terms[..], &l_once[..]) {
        ([], [only]) => **only,
        (terms, once) => {
            s_l.push(b_coefficient.clone() * short_factor.clone());
            sum_of(b, &start, terms, once)
        }
    };
    b.section("sum for R");
    s_r.push(b_coefficient * (long_factor + short_factor * sum(made_of_offset)));
    let r = sum_of(b, &start, &r_terms, &[]);
    b.section("folded pair");
    let [s_l, s_r] = lower(b, [&sum(s_l), &sum(s_r)]);
    let [l, r] = [&l, &r].map(|point| {
        let [[x0, x1], [y0, y1]] = [&point.x, &point.y].map(|element| {
            if !gone("gadgets.fold.canonical") {
                element.assert_canonical(b);
            }
            element.halves(b)
        });
        [x0, x1, y0, y1]
    });
    PairCells { l, s_l, r, s_r }.join()
}

#[cfg(test)]
mod tests {
    use ark_ec::{AffineRepr, CurveGroup};
    use rollmill_algebra::G1Affine;
    use rollmill_plonk::check::check;
    use rollmill_plonk::verifier::Pair;

    use super::*;

    /// Attack: the sum uses other points than the public inputs, whose pair is invalid. The replacement satisfies
    /// every pairing.
    #[test]
    fn limbs_of_another_pair_than_the_public_inputs_are_rejected() {
        let g = G1Affine::generator();
        let multiple = |k: u64| (g * Fr::from(k)).into_affine();
        let zero = Fr::from(0u64);
        let fields = |l, r| Pair { l, s_l: zero, r, s_r: zero }.to_fields();
        let (public, good) = (fields(multiple(5), multiple(7)), fields(g, g));
        let half_replaced = std::array::from_fn(|i| if i < 5 { public[i] } else { good[i] });
        for (given, accepted) in [(public, true), (good, false), (half_replaced, false)] {
            let mut b = Builder::new(0, 16);
            let vars = public.map(|v| b.witness(v));
            carried_given(&mut b, &vars, &given);
            let (layout, witness) = b.finish(None).expect("fits");
            assert_eq!(check(&layout, &witness).is_ok(), accepted);
        }
    }

    /// Attacks: a random pair without a point, with one off the curve, and with a coordinate in other halves than its
    /// own, whose coefficients would then be others for the same points.
    #[test]
    fn an_added_pair_has_points_in_their_own_halves() {
        let g = G1Affine::generator();
        let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
        let good = Pair { l: g, s_l: one, r: (g * Fr::from(7u64)).into_affine(), s_r: zero };
        let good = good.to_fields();
        let accepted = |pair: [Fr; PAIR_INPUTS]| {
            let mut b = Builder::new(0, 16);
            Children::default().add_pair(&mut b, &pair);
            let (layout, witness) = b.finish(None).expect("fits");
            check(&layout, &witness).is_ok()
        };
        let changed = |change: &[(usize, Fr)]| {
            let mut words = good;
            for (word, by) in change {
                words[*word] += *by;
            }
            accepted(words)
        };
        assert!(accepted(good) && changed(&[(4, one), (9, one)]), "any scalars");
        assert!(!accepted([zero; PAIR_INPUTS]), "no points");
        for point in [0, 5] {
            for word in point..point + 4 {
                assert!(!changed(&[(word, one)]), "word {word}: off the curve");
            }
            for low in [point, point + 2] {
                let moved = [(low, power_of_two(128)), (low + 1, -one)];
                assert!(!changed(&moved), "words {low} and {}: other halves", low + 1);
            }
        }
    }
}
