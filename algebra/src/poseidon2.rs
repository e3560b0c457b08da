//! Poseidon2 over Fr: the permutation of width 4 and a sponge with domain separation.
//!
//! Source: Grassi, Khovratovich, Schofnegger, "Poseidon2", <https://eprint.iacr.org/2023/323>.
//! Instance: t = 4, 8 full and 56 partial rounds, S-box x⁵, with Noir's constants.

mod constants;

use ark_bn254::FrConfig as R;
use ark_ff::AdditiveGroup;

pub use self::constants::{EXTERNAL_RC, INTERNAL_DIAG, INTERNAL_RC};
use crate::Fr;
use crate::cpu::words::{Products, Scalar, Words, add, element, with_products};

/// Number of state elements that take input.
pub const RATE: usize = 3;

/// Applies the permutation in place.
pub fn permute(state: &mut [Fr; 4]) {
    with_products!(Scalar::detect(), products => permute_with(products, state));
}

/// [`permute`]. Cells are below 2r between steps: in an external round a fifth power of one is below 1.6r, and a sum is
/// reduced.
fn permute_with<P: Products>(products: P, state: &mut [Fr; 4]) {
    let mut cells = state.map(|cell| cell.0.0);
    external_linear(products, &mut cells);
    let (first, last) = EXTERNAL_RC.split_at(4);
    for constants in first {
        external_round(products, &mut cells, constants);
    }
    for constant in &INTERNAL_RC {
        internal_round(products, &mut cells, constant);
    }
    for constants in last {
        external_round(products, &mut cells, constants);
    }
    *state = cells.map(|cell| element::<R>(products.less::<R, 1>(&cell)));
}

/// [`permute`] on each of many states, eight at once where the processor can.
pub fn permute_all(states: &mut [[Fr; 4]]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = crate::cpu::ifma::Ifma::detect() {
        return ifma.permute_all(states);
    }
    states.iter_mut().for_each(permute);
}

/// The sponge before it takes any of `len` inputs.
fn sponge(domain: u64, len: usize) -> [Fr; 4] {
    let tag = u128::from(domain) | (len as u128) << 64;
    [Fr::ZERO, Fr::ZERO, Fr::ZERO, Fr::from(tag)]
}

fn absorb(state: &mut [Fr; 4], chunk: &[Fr]) {
    for (cell, input) in state.iter_mut().zip(chunk) {
        *cell += input;
    }
}

/// Hashes `inputs` under a domain tag.
///
/// A sponge of rate 3 whose capacity element starts at `domain + len · 2^64`, so that inputs of
/// different lengths or purposes never share a state. Each chunk of up to three inputs is added to
/// the state, which is then permuted; no input at all still permutes once. The output is the first
/// element.
pub fn hash(domain: u64, inputs: &[Fr]) -> Fr {
    let mut state = sponge(domain, inputs.len());
    for chunk in inputs.chunks(RATE) {
        absorb(&mut state, chunk);
        permute(&mut state);
    }
    if inputs.is_empty() {
        permute(&mut state);
    }
    state[0]
}

/// [`hash`] of each of `inputs`, by batches of permutations.
pub fn hash_all<const N: usize>(domain: u64, inputs: &[[Fr; N]]) -> Vec<Fr> {
    let mut states = vec![sponge(domain, N); inputs.len()];
    for start in (0..N.max(1)).step_by(RATE) {
        for (state, inputs) in states.iter_mut().zip(inputs) {
            absorb(state, &inputs[start..N.min(start + RATE)]);
        }
        permute_all(&mut states);
    }
    states.into_iter().map(|state| state[0]).collect()
}

/// `a + b`, less 2r where it is 2r or more: below 2r for numbers below 2r, and for any that add up to less than 4r.
#[inline(always)]
fn sum<P: Products>(products: P, a: &Words, b: &Words) -> Words {
    products.less::<R, 2>(&add(a, b))
}

/// The four S-boxes side by side. Each of a cell's three products waits for the one before it, those of other cells do
/// not.
#[inline(always)]
fn external_round<P: Products>(products: P, cells: &mut [Words; 4], constants: &[Fr; 4]) {
    let inputs: [Words; 4] = std::array::from_fn(|i| sum(products, &cells[i], &constants[i].0.0));
    let squares = products.mul_each::<R, 4>(&inputs, &inputs);
    let fourths = products.mul_each::<R, 4>(&squares, &squares);
    *cells = products.mul_each::<R, 4>(&fourths, &inputs);
    external_linear(products, cells);
}

/// Multiplies by the 4 × 4 matrix M4 of the paper, in 8 additions and 4 doublings (appendix B):
/// rows (5 7 1 3), (4 6 1 1), (1 3 5 7), (1 1 4 6).
#[inline(always)]
fn external_linear<P: Products>(products: P, cells: &mut [Words; 4]) {
    let sum = |a: &Words, b: &Words| sum(products, a, b);
    let double = |a: &Words| sum(a, a);
    let [a, b, c, d] = *cells;
    let ab = sum(&a, &b);
    let cd = sum(&c, &d);
    let b2_cd = sum(&double(&b), &cd);
    let d2_ab = sum(&double(&d), &ab);
    let last = sum(&double(&double(&cd)), &d2_ab);
    let second = sum(&double(&double(&ab)), &b2_cd);
    *cells = [sum(&d2_ab, &second), second, sum(&b2_cd, &last), last];
}

/// An internal round. The products of the S-box wait for each other, so those of the other cells are computed beside
/// them.
///
/// Bounds: a cell is below 2r and a constant below r, so the S-box takes a number below 3r. Its square is below
/// 2.71r, the square of that below 2.39r, and the fifth power below 2.36r. With a cell it is below 4.36r, and the
/// sum of two cells below 4r: once reduced, they add up to less than 4.36r again, and the total is below 2.36r.
/// Products by the diagonal are below 1.45r, so that with the total they are below 3.81r, and then below 2r.
#[inline(always)]
fn internal_round<P: Products>(products: P, cells: &mut [Words; 4], constant: &Fr) {
    let diagonal = INTERNAL_DIAG.each_ref().map(|factor| &factor.0.0);
    let [a, b, c, d] = *cells;
    let input = add(&a, &constant.0.0);
    let [square, scaled_b] = products.mul_two::<R>([&input, &b], [&input, diagonal[1]]);
    let [fourth, scaled_c] = products.mul_two::<R>([&square, &c], [&square, diagonal[2]]);
    let [fifth, scaled_d] = products.mul_two::<R>([&fourth, &d], [&input, diagonal[3]]);
    let scaled_a = products.mul::<R>(&fifth, diagonal[0]);
    let total = sum(products, &sum(products, &fifth, &b), &sum(products, &c, &d));
    *cells = [scaled_a, scaled_b, scaled_c, scaled_d].map(|scaled| sum(products, &scaled, &total));
}

#[cfg(test)]
mod tests {
    use acir::FieldElement;
    use ark_ff::{Field, MontFp, PrimeField, UniformRand};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::cpu::words::{Portable, difference, multiple};

    fn noir(state: &[Fr; 4]) -> Vec<Fr> {
        let inputs: Vec<FieldElement> = state.iter().map(|x| FieldElement::from_repr(*x)).collect();
        let out = bn254_blackbox_solver::poseidon2_permutation(&inputs).unwrap();
        out.into_iter().map(|x| x.into_repr()).collect()
    }

    /// Cells at the ends of the field among random ones.
    #[test]
    fn every_path_permutes_alike() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let ends = [Fr::ZERO, Fr::from(1u64), -Fr::from(1u64), -Fr::from(2u64)];
        for i in 0..200 {
            let random = std::array::from_fn(|_| Fr::rand(&mut rng));
            let start =
                if i % 2 == 0 { random } else { std::array::from_fn(|k| ends[(i >> k) % 4]) };
            let expected = noir(&start);
            for scalar in Scalar::available() {
                let mut state = start;
                with_products!(scalar, products => permute_with(products, &mut state));
                assert_eq!(state[..], expected, "{scalar:?}");
            }
        }
    }

    /// Goal: a round leaves what the next one takes. Method: cells at the ends of their bound, in all combinations, and
    /// the largest constant, on every path and on the twin that checks each bound.
    #[test]
    fn rounds_keep_residues_and_bounds() {
        let times = |k| multiple(Fr::MODULUS.0, k);
        let below = |k| difference(&times(k), &[1, 0, 0, 0]).0;
        let residue = |number: &Words| element::<R>(Portable.less::<R, 1>(number));
        let ends = [below(2), times(1), below(1), [0; 4]];
        let constant = element::<R>(below(1));
        let fifth = |x: Fr| x.square().square() * x;
        for scalar in Scalar::available() {
            for i in 0..256 {
                let start: [Words; 4] = std::array::from_fn(|k| ends[(i >> (2 * k)) % 4]);
                let cells = start.each_ref().map(residue);
                let mut internal = cells;
                internal[0] = fifth(cells[0] + constant);
                let total: Fr = internal.iter().sum();
                for (cell, factor) in internal.iter_mut().zip(&INTERNAL_DIAG) {
                    *cell = *cell * factor + total;
                }
                let boxes = cells.map(|cell| fifth(cell + constant));
                let matrix = [[5, 7, 1, 3], [4, 6, 1, 1], [1, 3, 5, 7], [1, 1, 4, 6u64]];
                let external = matrix
                    .map(|row| row.iter().zip(&boxes).map(|(w, x)| Fr::from(*w) * x).sum::<Fr>());
                let (mut got_internal, mut got_external) = (start, start);
                with_products!(scalar, products => {
                    internal_round(products, &mut got_internal, &constant);
                    external_round(products, &mut got_external, &[constant; 4]);
                });
                for (got, expected) in [(got_internal, internal), (got_external, external)] {
                    assert!(
                        got.iter().all(|cell| difference(cell, &times(2)).1),
                        "{scalar:?}, {i}"
                    );
                    assert_eq!(got.each_ref().map(residue), expected, "{scalar:?}, {i}");
                }
            }
        }
    }

    /// Source: the cross-check vector of zkhash 0.2.0 for these parameters.
    #[test]
    fn permutation_of_0123_matches_the_published_vector() {
        let mut state = [0u64, 1, 2, 3].map(Fr::from);
        permute(&mut state);
        let expected: [Fr; 4] = [
            MontFp!("0x01bd538c2ee014ed5141b29e9ae240bf8db3fe5b9a38629a9647cf8d76c01737"),
            MontFp!("0x239b62e7db98aa3a2a8f6a0d2fa1709e7a35959aa6c7034814d9daa90cbac662"),
            MontFp!("0x04cbb44c61d928ed06808456bf758cbf0c18d1e15a7b6dbc8245fa7515d5e3cb"),
            MontFp!("0x2e11c5cff2a22c64d01304b778d78f6998eff1ab73163a35603f54794c30847a"),
        ];
        assert_eq!(state, expected);
    }

    #[test]
    fn permutation_agrees_with_noir() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let start: [Fr; 4] = std::array::from_fn(|_| Fr::rand(&mut rng));
            let mut state = start;
            permute(&mut state);
            assert_eq!(noir(&start), state);
        }
    }

    /// Method: the sponge written out by hand over Noir's permutation.
    #[test]
    fn hash_is_the_stated_sponge() {
        let x: Vec<Fr> = (1u64..=4).map(Fr::from).collect();
        let iv = |len: u128| Fr::from(7 + (len << 64));
        let zero = Fr::from(0u64);

        assert_eq!(hash(7, &[]), noir(&[zero, zero, zero, iv(0)])[0]);
        assert_eq!(hash(7, &x[..2]), noir(&[x[0], x[1], zero, iv(2)])[0]);
        assert_eq!(hash(7, &x[..3]), noir(&[x[0], x[1], x[2], iv(3)])[0]);

        let middle = noir(&[x[0], x[1], x[2], iv(4)]);
        let last = noir(&[middle[0] + x[3], middle[1], middle[2], middle[3]]);
        assert_eq!(hash(7, &x), last[0]);
    }

    /// Lengths around the eight lanes of a vector; cells at the ends of the field among random ones.
    #[test]
    fn permuting_many_is_permuting_each() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let ends = [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(u64::MAX), -Fr::from(2u64)];
        for n in (0..=17).chain([31, 64, 67]) {
            let mut states: Vec<[Fr; 4]> = (0..n)
                .map(|i| match i % 3 {
                    0 => std::array::from_fn(|cell| ends[(i / 3 + cell) % ends.len()]),
                    1 => [ends[(i / 3) % ends.len()]; 4],
                    _ => std::array::from_fn(|_| Fr::rand(&mut rng)),
                })
                .collect();
            let mut expected = states.clone();
            expected.iter_mut().for_each(permute);
            permute_all(&mut states);
            assert_eq!(states, expected, "{n} states");
        }
    }

    #[test]
    fn many_permutations_match_noir_and_the_published_vector() {
        let mut states: Vec<[Fr; 4]> =
            (0u64..11).map(|i| [i, i + 1, i + 2, i + 3].map(Fr::from)).collect();
        let expected: Vec<Vec<Fr>> = states.iter().map(noir).collect();
        permute_all(&mut states);
        for (state, expected) in states.iter().zip(expected) {
            assert_eq!(state[..], expected);
        }
        let published =
            MontFp!("0x01bd538c2ee014ed5141b29e9ae240bf8db3fe5b9a38629a9647cf8d76c01737");
        assert_eq!(states[0][0], published);
    }

    #[test]
    fn hashing_many_is_hashing_each() {
        fn check<const N: usize>(rng: &mut ChaCha8Rng) {
            for n in [0, 1, 8, 13] {
                let inputs: Vec<[Fr; N]> =
                    (0..n).map(|_| std::array::from_fn(|_| Fr::rand(rng))).collect();
                let expected: Vec<Fr> = inputs.iter().map(|inputs| hash(5, inputs)).collect();
                assert_eq!(hash_all(5, &inputs), expected, "{n} times {N} inputs");
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        check::<0>(&mut rng);
        check::<1>(&mut rng);
        check::<2>(&mut rng);
        check::<3>(&mut rng);
        check::<4>(&mut rng);
        check::<7>(&mut rng);
    }

    #[test]
    fn hash_separates_domains_and_lengths() {
        let zero = Fr::from(0u64);
        let hashes = [hash(1, &[]), hash(2, &[]), hash(1, &[zero]), hash(1, &[zero, zero])];
        for (i, a) in hashes.iter().enumerate() {
            assert!(hashes[i + 1..].iter().all(|b| a != b));
        }
    }
}
