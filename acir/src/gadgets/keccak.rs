//! The permutation Keccak-f[1600], by bits. About 160,000 rows.
//!
//! Source: FIPS 202, section 3.2.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};

use super::polynomial::integer;
use super::word::{Word, join, xor, xor_all};

const LANE: usize = 64;
const ROUNDS: usize = 24;

/// The round constants, from the shift register of algorithm 5: bit `2^j − 1` of constant `i` is its output `7i + j`.
const ROUND_CONSTANTS: [u64; ROUNDS] = {
    let mut constants = [0; ROUNDS];
    let (mut register, mut i) = (1u8, 0);
    while i < ROUNDS {
        let mut j = 0;
        while j < 7 {
            if register & 1 == 1 {
                constants[i] |= 1 << ((1 << j) - 1);
            }
            // x^8 + x^6 + x^5 + x^4 + 1
            register = (register << 1) ^ (if register >> 7 == 1 { 0x71 } else { 0 });
            j += 1;
        }
        i += 1;
    }
    constants
};

/// The permuted state of 25 lanes, each constrained to 64 bits. Lane `(x, y)` is number `x + 5y`.
pub(crate) fn permute(b: &mut Builder, state: &[Var; 25]) -> [Var; 25] {
    let mut lanes: Vec<Vec<Var>> =
        state.iter().map(|lane| Word::split(b, *lane, LANE).bits).collect();
    for constant in ROUND_CONSTANTS {
        theta(b, &mut lanes);
        let moved = rho_and_pi(&lanes);
        lanes = chi(b, &moved);
        for (i, bit) in lanes[0].iter_mut().enumerate() {
            if constant >> i & 1 == 1 {
                *bit = b.scale(*bit, integer(-1), integer(1));
            }
        }
    }
    std::array::from_fn(|i| join(b, &lanes[i]))
}

/// Adds to each bit the parities of two columns.
fn theta(b: &mut Builder, lanes: &mut [Vec<Var>]) {
    let parities: Vec<Vec<Var>> = (0..5)
        .map(|x| (1..5).fold(lanes[x].clone(), |sum, y| xor_all(b, &sum, &lanes[x + 5 * y])))
        .collect();
    for x in 0..5 {
        let right = rotated_left(&parities[(x + 1) % 5], 1);
        let both = xor_all(b, &parities[(x + 4) % 5], &right);
        for y in 0..5 {
            lanes[x + 5 * y] = xor_all(b, &lanes[x + 5 * y], &both);
        }
    }
}

/// Rotates each lane and moves it: `(x, y)` to `(y, 2x + 3y)`.
fn rho_and_pi(lanes: &[Vec<Var>]) -> Vec<Vec<Var>> {
    let mut moved = lanes.to_vec();
    let (mut x, mut y) = (1, 0);
    for t in 0..24 {
        let lane = rotated_left(&lanes[x + 5 * y], (t + 1) * (t + 2) / 2 % LANE);
        (x, y) = (y, (2 * x + 3 * y) % 5);
        moved[x + 5 * y] = lane;
    }
    moved
}

/// Each bit, flipped where the next in its row is 0 and the one after that is 1.
fn chi(b: &mut Builder, lanes: &[Vec<Var>]) -> Vec<Vec<Var>> {
    (0..25)
        .map(|i| {
            let (x, row) = (i % 5, i - i % 5);
            let [next, after] = [row + (x + 1) % 5, row + (x + 2) % 5];
            (0..LANE)
                .map(|z| {
                    let after = lanes[after][z];
                    let zero = Fr::from(0u64);
                    let flip = b.mul_add(lanes[next][z], after, integer(-1), Some(after), zero);
                    xor(b, lanes[i][z], flip)
                })
                .collect()
        })
        .collect()
}

fn rotated_left(bits: &[Var], by: usize) -> Vec<Var> {
    let mut bits = bits.to_vec();
    bits.rotate_right(by);
    bits
}
