//! Poseidon2's permutation on eight states at a time.
//!
//! # Bounds, in multiples of p
//! Cells are in this module's form. Every input of a round is below 5: a reduced number is below `1 +
//! 2^−39`, and a cell that an internal round does not reduce is a product, a sum that was reduced and a
//! round constant. Then
//!
//! - a square of a number below 5 is below `2 + 25 / 84`, its square below 2.1, and their product with
//!   the number below 2.2: the S-box returns less than 3;
//! - rows of the external matrix sum to at most 16, so its outputs and a constant stay below 49;
//! - the four cells of an internal round sum to less than 3 + 3 · 5 = 18;
//! - `d·x + sum + constant` is below `(2 + 5 / 84) + (1 + 2^−39) + 1`, which is below 5.
//!
//! All are far below 84, where numbers no longer fit.
#![allow(unsafe_code)]
// Loops over limbs and cells walk several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{__m512i, _mm512_add_epi64, _mm512_setzero_si512};
use std::sync::LazyLock;

use ark_ff::Field;

use super::Ifma;
use super::field::{
    Eight, Factor, LANES, R, canonical, carry, carry_and_reduce, factor, join_limbs, load_run,
    product_limbs, products_here, raw_fr, reduce, splat, split, split_limbs_times_16, square_limbs,
    store_run,
};
use crate::Fr;
use crate::poseidon2::{EXTERNAL_RC, INTERNAL_DIAG, INTERNAL_RC, permute};

/// Words of a state.
const STATE_WORDS: usize = 16;

type State = [Fr; 4];

struct Constants {
    /// Of the rounds before the internal ones and those after.
    external: [[Factor; 4]; 8],
    internal: [Factor; 56],
    diagonal: [Factor; 4],
}

static CONSTANTS: LazyLock<Constants> = LazyLock::new(|| {
    let form = |value: &Fr| factor(*value, raw_fr);
    Constants {
        external: EXTERNAL_RC.each_ref().map(|round| round.each_ref().map(form)),
        internal: INTERNAL_RC.each_ref().map(form),
        diagonal: INTERNAL_DIAG.each_ref().map(form),
    }
});

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn plus(a: [__m512i; 5], b: [__m512i; 5]) -> [__m512i; 5] {
    let mut sum = a;
    for i in 0..5 {
        sum[i] = _mm512_add_epi64(a[i], b[i]);
    }
    sum
}

/// `x⁵`.
///
/// # Safety
/// The processor has AVX-512 IFMA; inlined into functions that have the target feature.
#[inline(always)]
unsafe fn fifth_powers<const N: usize>(x: &[Eight; N]) -> [Eight; N] {
    // SAFETY: as the caller promises.
    unsafe {
        let mut power = *x;
        for _ in 0..2 {
            let squares = square_limbs::<R, N>(&power);
            for k in 0..N {
                power[k] = carry(squares[k]);
            }
        }
        products_here::<R, N>(&power, x)
    }
}

/// The external matrix, as [`crate::poseidon2`] has it, then the next round's constants; reduced.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn external_linear(state: &[Eight; 4], constants: &[Factor; 4]) -> [Eight; 4] {
    let double = |x: [__m512i; 5]| plus(x, x);
    let [a, b, c, d] = state.map(|cell| cell.0);
    let (ab, cd) = (plus(a, b), plus(c, d));
    let b2_cd = plus(double(b), cd);
    let d2_ab = plus(double(d), ab);
    let last = plus(double(double(cd)), d2_ab);
    let second = plus(double(double(ab)), b2_cd);
    let cells = [plus(d2_ab, second), second, plus(b2_cd, last), last];
    let mut out = *state;
    for i in 0..4 {
        out[i] = carry_and_reduce::<R>(plus(cells[i], splat(&constants[i]).0));
    }
    out
}

/// An external round whose constants were added before, and the next round's.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn external_round(state: &[Eight; 4], next: &[Factor; 4]) -> [Eight; 4] {
    let [a, b, c, d] = *state;
    // SAFETY: this function has the target feature.
    let ([a, b], [c, d]) = unsafe { (fifth_powers(&[a, b]), fifth_powers(&[c, d])) };
    external_linear(&[a, b, c, d], next)
}

/// An internal round whose constant was added before, and what the next round adds.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn internal_round(state: &[Eight; 4], diagonal: &[Factor; 4], next: &[Factor; 4]) -> [Eight; 4] {
    let d = [splat(&diagonal[0]), splat(&diagonal[1]), splat(&diagonal[2]), splat(&diagonal[3])];
    let x = state[0];
    // SAFETY: this function has the target feature.
    let limbs = unsafe {
        // The S-box' products wait for each other; those of the other cells fill the time.
        let [square, first] = product_limbs::<R, 2>(&[x, state[1]], &[x, d[1]]);
        let square = carry(square);
        let [fourth, second] = product_limbs::<R, 2>(&[square, state[2]], &[square, d[2]]);
        let [fifth, third] = product_limbs::<R, 2>(&[carry(fourth), state[3]], &[x, d[3]]);
        let fifth = carry(fifth);
        let [zeroth] = product_limbs::<R, 1>(&[fifth], &[d[0]]);
        let mut sum = fifth.0;
        for cell in &state[1..] {
            sum = plus(sum, cell.0);
        }
        let sum = carry_and_reduce::<R>(sum).0;
        [zeroth, first, second, third].map(|product| plus(product, sum))
    };
    let mut out = *state;
    for i in 0..4 {
        out[i] = carry(plus(limbs[i], splat(&next[i]).0));
    }
    out
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn permute_eight(states: &mut [State; LANES], constants: &Constants) {
    let Constants { external, internal, diagonal } = constants;
    let mut state = [Eight([_mm512_setzero_si512(); 5]); 4];
    for (i, cell) in state.iter_mut().enumerate() {
        // SAFETY: each of the eight states is four elements of four words.
        let words = unsafe { load_run(states.as_ptr().cast::<u64>().add(4 * i), STATE_WORDS) };
        *cell = reduce::<R>(split_limbs_times_16(words));
    }
    const NONE: Factor = [0; 5];
    let first_of = |constant: &Factor| [*constant, NONE, NONE, NONE];
    state = external_linear(&state, &external[0]);
    for next in &external[1..4] {
        state = external_round(&state, next);
    }
    state = external_round(&state, &first_of(&internal[0]));
    for next in &internal[1..] {
        state = internal_round(&state, diagonal, &first_of(next));
    }
    state = internal_round(&state, diagonal, &external[4]);
    for next in &external[5..] {
        state = external_round(&state, next);
    }
    state = external_round(&state, &[NONE; 4]);
    // Multiplying by 2^256 modulo r brings arkworks' form back.
    let back = splat(&split(raw_fr(Fr::ONE)));
    // SAFETY: this function has the target feature.
    let cells = unsafe { products_here::<R, 4>(&state, &[back; 4]) };
    for (i, cell) in cells.into_iter().enumerate() {
        let words = join_limbs(canonical::<R>(cell));
        // SAFETY: as above.
        unsafe { store_run(words, states.as_mut_ptr().cast::<u64>().add(4 * i), STATE_WORDS) };
    }
}

impl Ifma {
    /// [`permute`] on each state.
    pub(crate) fn permute_all(self, states: &mut [State]) {
        let constants = &*CONSTANTS;
        let (eights, rest) = states.as_chunks_mut();
        for states in eights {
            // SAFETY: the processor has the instructions, as `self` proves.
            unsafe { permute_eight(states, constants) };
        }
        // Eight at once take less time than two one by one.
        if let [] | [_] = rest {
            return rest.iter_mut().for_each(permute);
        }
        let mut last = [State::default(); LANES];
        last[..rest.len()].copy_from_slice(rest);
        // SAFETY: as above.
        unsafe { permute_eight(&mut last, constants) };
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::field::tests::{Number, below, lane, minus_one, number, pack, samples};
    use super::super::field::{EightMemory, Modulus, multiple};
    use super::*;

    /// What enters a round, in multiples of p.
    const ENTERS: u64 = 5;

    type Memory = [EightMemory; 4];

    #[derive(Debug, Clone, Copy)]
    enum Round {
        External,
        Internal,
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn apply(round: Round, state: &Memory, next: &[Factor; 4]) -> Memory {
        let state = [state[0].load(), state[1].load(), state[2].load(), state[3].load()];
        let out = match round {
            Round::External => external_round(&state, next),
            Round::Internal => internal_round(&state, &CONSTANTS.diagonal, next),
        };
        out.map(|cell| EightMemory::from_eight(cell))
    }

    fn expected(round: Round, mut state: State, next: &State) -> State {
        let fifth = |x: &mut Fr| *x = x.square().square() * *x;
        match round {
            Round::External => {
                state.iter_mut().for_each(fifth);
                let matrix = [[5, 7, 1, 3], [4, 6, 1, 1], [1, 3, 5, 7], [1, 1, 4, 6u64]];
                state = matrix.map(|row| {
                    row.iter().zip(&state).map(|(weight, cell)| Fr::from(*weight) * cell).sum()
                });
            }
            Round::Internal => {
                fifth(&mut state[0]);
                let sum: Fr = state.iter().sum();
                state = std::array::from_fn(|i| state[i] * INTERNAL_DIAG[i] + sum);
            }
        }
        std::array::from_fn(|i| state[i] + next[i])
    }

    /// Method: numbers just below 5p and other multiples of p, in all four cells, with the largest
    /// constants there are; results against field elements and against the bound they enter with again.
    #[test]
    fn rounds_keep_residues_and_bounds() {
        if Ifma::detect().is_none() {
            println!("no AVX-512 IFMA here: nothing to compare");
            return;
        }
        let form = |value: Fr| factor(value, raw_fr);
        // This module's form of a residue is 2^260 times it.
        let radix_inverse = Fr::from(2u64).pow([260]).inverse().expect("not zero");
        let numbers = samples::<R>(ENTERS);
        let most = vec![number::<R>(minus_one(multiple(R::P, ENTERS))); LANES];
        let mut eights: Vec<&[Number<Fr>]> = numbers.chunks_exact(LANES).collect();
        eights.push(&most);
        // The form of the first is p − 1.
        let next = [-radix_inverse, -Fr::ONE, Fr::ONE, -radix_inverse];
        for round in [Round::External, Round::Internal] {
            for start in 0..eights.len() {
                for step in [0, 1, 3] {
                    let cells: [&[Number<Fr>]; 4] =
                        std::array::from_fn(|i| eights[(start + i * step) % eights.len()]);
                    // SAFETY: the instructions were found above.
                    let out = unsafe { apply(round, &cells.map(pack), &next.map(form)) };
                    for l in 0..LANES {
                        let state = cells.map(|cell| cell[l].residue * radix_inverse);
                        let expected = expected(round, state, &next);
                        for (cell, expected) in out.iter().zip(expected) {
                            let out = lane(cell, l);
                            let residue = number::<R>(out).residue * radix_inverse;
                            assert_eq!(residue, expected, "{round:?} of {state:?}");
                            assert!(below(out, multiple(R::P, ENTERS)), "{round:?}: {out:?}");
                        }
                    }
                }
            }
        }
    }
}
