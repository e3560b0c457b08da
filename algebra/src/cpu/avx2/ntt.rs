//! Layers of transforms on four numbers at a time. Twin: [`crate::cpu::ntt`], on words, which cuts a transform into
//! passes and does its first two layers.
#![allow(unsafe_code)]
// Closures in adapters would be compiled without the instructions.
#![allow(clippy::needless_range_loop)]

use ark_bn254::FrConfig as R;
use ark_ff::BigInt;

use super::Avx2;
use super::field::{
    Four, LANES, Literals, SUM_MAX, biased, carry, import, joined, load, minus, multiple, plus,
    reduce, splat, sum_of_products,
};
use crate::Fr;

/// Bound of the numbers on words between layers, in multiples of r.
const ENTERS: u32 = 4;
/// Multiples of p that make 2^261, from below.
const RADIX: u32 = 169;

/// Where the roots of a layer are. Vector `v` of its lower half takes the four from
/// `((v / vectors) << shift) + start + 4 · (v % vectors)` on.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Places {
    /// Vectors of neighbours.
    pub(in crate::cpu) vectors: usize,
    pub(in crate::cpu) shift: u32,
    pub(in crate::cpu) start: usize,
}

impl Places {
    /// Of the layers of a block, whose numbers are all neighbours.
    pub(in crate::cpu) const BLOCK: Self =
        Self { vectors: 1, shift: LANES.trailing_zeros(), start: 0 };

    fn of(self, vector: usize) -> usize {
        let (row, column) = (vector / self.vectors, vector % self.vectors);
        (row << self.shift) + self.start + LANES * column
    }
}

impl Avx2 {
    /// Layers on numbers below 4r, which leave numbers below 2r. The first one joins numbers at a distance of
    /// `half · 4`, and each after it at twice the distance of the one before.
    pub(in crate::cpu) fn layers(
        self,
        values: &mut [Fr],
        half: usize,
        layers: &[&[Fr]],
        places: Places,
    ) {
        let Avx2(()) = self;
        // SAFETY: the processor has the instructions, as the `Avx2` proves.
        unsafe { run(values, half, layers, places) };
    }
}

/// Bounds, in multiples of r. A root times 2^5 is below 32, so its product with a number below β is below
/// `1 + 32 · β / 169`, of which K is the next whole number; the layer leaves numbers below β + K. After the fourteen
/// layers of the longest pass that is 128. Numbers are normal between layers.
#[target_feature(enable = "avx2")]
fn run(values: &mut [Fr], mut half: usize, layers: &[&[Fr]], places: Places) {
    let (fours, rest) = values.as_chunks_mut::<LANES>();
    assert!(rest.is_empty(), "whole vectors");
    let mut vectors: Vec<Four> = Vec::with_capacity(fours.len());
    for [a, b, c, d] in fours.iter() {
        vectors.push(load([&a.0.0, &b.0.0, &c.0.0, &d.0.0]));
    }
    let mut bound = ENTERS;
    for roots in layers {
        let more = 1 + (32 * bound).div_ceil(RADIX);
        bound += more;
        assert!(bound <= SUM_MAX, "numbers stay below 160r");
        let difference = Four(biased(splat(&multiple::<R>(more)).0));
        for part in vectors.chunks_exact_mut(2 * half) {
            let (low, high) = part.split_at_mut(half);
            for v in 0..half {
                let at = places.of(v);
                let root = import([
                    &roots[at].0.0,
                    &roots[at + 1].0.0,
                    &roots[at + 2].0.0,
                    &roots[at + 3].0.0,
                ]);
                butterfly::<R>(&mut low[v], &mut high[v], &root, &difference);
            }
        }
        half *= 2;
    }
    for (four, vector) in fours.iter_mut().zip(&vectors) {
        let words = joined(&reduce::<R>(*vector));
        for lane in 0..LANES {
            // Not reduced, as between the layers on words.
            four[lane].0 = BigInt::new(words[lane]);
        }
    }
}

/// `(a + root · b, a − root · b)`. The last argument is the multiple of p that is added before the subtraction, with
/// limbs that stay above zero.
#[inline]
#[target_feature(enable = "avx2")]
fn butterfly<M: Literals>(a: &mut Four, b: &mut Four, root: &Four, difference: &Four) {
    let product = carry(sum_of_products::<M, 1>([[root, &*b]]));
    let mut less = difference.0;
    plus(&mut less, a);
    minus(&mut less, &product);
    *b = carry(less);
    let mut sum = product.0;
    plus(&mut sum, a);
    *a = carry(sum);
}

#[cfg(test)]
mod tests {
    use ark_ff::PrimeField;

    use super::*;
    use crate::cpu::words::{Words, difference, multiple as times};

    /// The element that a number below 5r is.
    fn residue(words: &Words) -> Fr {
        let mut number = BigInt::new(*words);
        while number >= Fr::MODULUS {
            ark_ff::BigInteger::sub_with_borrow(&mut number, &Fr::MODULUS);
        }
        Fr::new_unchecked(number)
    }

    /// Goal: numbers at their bound stay within those of the passes. Method: fourteen layers, as many as a pass can
    /// have, on numbers just below 4r and with the largest root, against the same steps on elements.
    #[test]
    fn layers_keep_residues_and_bounds_from_the_largest_numbers_on() {
        let Some(avx2) = Avx2::detect() else {
            eprintln!("not run: this processor has no AVX2");
            return;
        };
        let most = difference(&times(Fr::MODULUS.0, 4), &[1, 0, 0, 0]).0;
        let root = Fr::new_unchecked(BigInt::new(difference(&Fr::MODULUS.0, &[1, 0, 0, 0]).0));
        for layers in [1usize, 2, 7, 14] {
            let n = LANES << layers;
            let roots: Vec<Vec<Fr>> = (0..layers).map(|k| vec![root; LANES << k]).collect();
            let roots: Vec<&[Fr]> = roots.iter().map(Vec::as_slice).collect();
            let mut values = vec![Fr::new_unchecked(BigInt::new(most)); n];
            // Zeros too, so that differences are as low as they come.
            values.iter_mut().step_by(3).for_each(|value| *value = Fr::from(0u64));
            let mut expected: Vec<Fr> = values.iter().map(|value| residue(&value.0.0)).collect();
            for k in 0..layers {
                for part in expected.chunks_exact_mut(2 * (LANES << k)) {
                    let (low, high) = part.split_at_mut(LANES << k);
                    for (a, b) in low.iter_mut().zip(high) {
                        let product = root * *b;
                        (*a, *b) = (*a + product, *a - product);
                    }
                }
            }
            avx2.layers(&mut values, 1, &roots, Places::BLOCK);
            let bound = times(Fr::MODULUS.0, 2);
            for (got, expected) in values.iter().zip(&expected) {
                assert!(difference(&got.0.0, &bound).1, "{layers} layers: 2r or more");
                assert_eq!(residue(&got.0.0), *expected, "{layers} layers");
            }
        }
    }
}
