//! The Poseidon2 transcript inside a circuit; the twin of `rollmill_plonk::transcript`.

use ark_ff::PrimeField;
use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;
use rollmill_plonk::transcript::TRANSCRIPT_DOMAIN;

use super::curve::Point;
use super::nonnative::{Element, assert_at_most};
use crate::weaken::gone;

/// A duplex sponge of rate 3.
#[derive(Debug, Clone)]
pub struct Transcript {
    state: [Var; 4],
    queue: Vec<Var>,
}

impl Transcript {
    /// A transcript of a proof with `n_public` public inputs.
    pub fn new(b: &mut Builder, n_public: usize) -> Self {
        let tag = u128::from(TRANSCRIPT_DOMAIN) | (n_public as u128) << 64;
        Self::with_tag(b, tag)
    }

    /// A sponge whose capacity starts at `tag`.
    pub fn with_tag(b: &mut Builder, tag: u128) -> Self {
        let iv = b.constant(Fr::from(tag));
        let iv = if gone("gadgets.transcript.tag") { b.witness(Fr::from(tag)) } else { iv };
        Self { state: [Builder::ZERO, Builder::ZERO, Builder::ZERO, iv], queue: Vec::new() }
    }

    /// Absorbs field elements.
    pub fn absorb(&mut self, values: &[Var]) {
        self.queue.extend_from_slice(values);
    }

    /// Absorbs points, whose coordinates must be constrained below q.
    pub fn absorb_points(&mut self, b: &mut Builder, points: &[Point]) {
        for point in points {
            let coordinates = point.absorbed(b);
            self.absorb(&coordinates);
        }
    }

    /// Squeezes `count` challenges.
    pub fn squeeze(&mut self, b: &mut Builder, count: usize) -> Vec<Var> {
        let queue = std::mem::take(&mut self.queue);
        self.state = b.absorb(self.state, &queue);
        let mut out = Vec::with_capacity(count);
        while out.len() < count {
            if !out.is_empty() {
                self.state = b.absorb(self.state, &[]);
            }
            out.extend_from_slice(&self.state[..3.min(count - out.len())]);
        }
        out
    }

    /// Squeezes `count` short values, each below 2^128, two from each squeezed element.
    pub fn squeeze_short(&mut self, b: &mut Builder, count: usize) -> Vec<Var> {
        let elements = self.squeeze(b, count.div_ceil(2));
        let mut out: Vec<Var> = elements.into_iter().flat_map(|e| split(b, e)).collect();
        out.truncate(count);
        out
    }

    /// Squeezes `count` short values and then an offset for MSMs. The transcript ends here: all terms of the MSMs must
    /// have been absorbed, or follow from what was absorbed.
    pub fn end_with_offset(mut self, b: &mut Builder, count: usize) -> (Vec<Var>, OffsetScalar) {
        let mut out = self.squeeze_short(b, count + 1);
        let offset = out.pop().expect("one more was drawn");
        let offset = if gone("gadgets.fold.offset") { b.witness(b.value(offset)) } else { offset };
        (out, OffsetScalar(offset))
    }
}

/// The short value b of an offset b·G, which only the end of a transcript returns. A prover that could choose it could
/// cause an addition of equal points, whose slope is not constrained.
#[derive(Debug, Clone, Copy)]
pub struct OffsetScalar(Var);

impl OffsetScalar {
    /// The value b; the offset is `(2b + 1 − 2^128)·G`.
    pub fn var(self) -> Var {
        self.0
    }
}

/// The low 128 bits of a variable and the rest. The halves are those of the canonical integer below r: otherwise the
/// prover could choose between two pairs of halves for a challenge. About 11 rows.
pub fn split(b: &mut Builder, value: Var) -> [Var; 2] {
    let words = b.value(value).into_bigint().0;
    split_as(b, value, words.map(Fr::from), assert_at_most)
}

/// Splits with the limbs that the prover claims; `at_most` constrains their integer.
fn split_as(
    b: &mut Builder,
    value: Var,
    limbs: [Fr; 4],
    at_most: impl FnOnce(&mut Builder, &[Var; 4], [u64; 4]),
) -> [Var; 2] {
    let limbs = limbs.map(|limb| b.witness(limb));
    let limbs = Element::from_limbs(b, limbs);
    if !gone("gadgets.split.range") {
        limbs.range(b);
    }
    let mut max = Fr::MODULUS.0;
    max[0] -= 1;
    if !gone("gadgets.split.canonical") {
        at_most(b, &limbs.limbs, max);
    }
    let halves = limbs.halves(b);
    let terms = [(Fr::from(1u64), halves[0]), (power_of_two(128), halves[1])];
    if !gone("gadgets.split.sum") {
        b.linear_into(&terms, Fr::from(0u64), value);
    }
    halves
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;
    use rollmill_plonk::transcript::halves;

    use super::super::nonnative::at_most_given;
    use super::super::wide::Wide;
    use super::*;

    fn accepted(value: Fr, words: [u64; 4]) -> bool {
        accepted_as(value, words.map(Fr::from), assert_at_most)
    }

    fn accepted_as(
        value: Fr,
        limbs: [Fr; 4],
        at_most: impl FnOnce(&mut Builder, &[Var; 4], [u64; 4]),
    ) -> bool {
        let mut b = Builder::new(0, 16);
        let var = b.witness(value);
        let got = split_as(&mut b, var, limbs, at_most).map(|h| b.value(h));
        let (low, high) = halves(&value);
        let honest = got == [Fr::from(low), Fr::from(high)];
        let (layout, witness) = b.finish(None).expect("fits");
        let accepted = check(&layout, &witness).is_ok();
        assert!(honest || !accepted);
        accepted
    }

    /// Attack: the halves of another element.
    #[test]
    fn a_challenge_split_into_another_ones_halves_is_rejected() {
        let value = Fr::from(u128::MAX) + Fr::from(8u64);
        for other in [value + Fr::from(1u64), -value, Fr::from(0u64), value + power_of_two(128)] {
            assert!(!accepted(value, other.into_bigint().0), "{other}");
        }
    }

    /// Attack: the same element with a limb of more than 64 bits, and so with a low half of more than 128;
    /// every other equation holds.
    #[test]
    fn a_challenge_split_with_a_low_half_of_more_than_128_bits_is_rejected() {
        let value = Fr::from(5u64) + power_of_two(128);
        let words = value.into_bigint().0;
        assert_eq!(words, [5, 0, 1, 0]);
        assert!(accepted(value, words));
        let limbs = [Fr::from(5u64), power_of_two(64), Fr::from(0u64), Fr::from(0u64)];
        assert!(!accepted_as(value, limbs, |b, limbs, max| {
            let rest = Wide::from_words(max).minus(Wide::from_words(words)).words();
            let rest = [rest[0], rest[1], rest[2], rest[3]].map(Fr::from);
            at_most_given(b, limbs, max, rest, Fr::from(1u64));
        }));
    }

    /// Attack: the same element as an integer that is larger by r, which still has four limbs of 64 bits.
    #[test]
    fn a_challenge_split_above_the_modulus_is_rejected() {
        for value in [Fr::from(0u64), Fr::from(7u64), Fr::from(u128::MAX)] {
            let words = value.into_bigint().0;
            assert!(accepted(value, words));
            let higher = Wide::from_words(words).plus(Wide::from_words(Fr::MODULUS.0)).words();
            assert_eq!(higher[4], 0);
            assert!(!accepted(value, [higher[0], higher[1], higher[2], higher[3]]));
        }
        assert!(accepted(-Fr::from(1u64), (-Fr::from(1u64)).into_bigint().0));
    }
}
