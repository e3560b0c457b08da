//! What BLAKE2s and BLAKE3 share: words to start from, and the mixing function. About 370 rows for each mixing.

use rollmill_plonk::builder::{Builder, Var};

use super::word::{Word, sum, xor};

/// The words to start from: the first 32 bits of the fractional parts of the square roots of the first 8 primes.
pub(super) const START: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// Rotations of the mixing function of BLAKE2s and BLAKE3.
const ROTATIONS: [usize; 4] = [16, 12, 8, 7];

/// The mixing function of BLAKE2s and BLAKE3 on four words of the state, with two words of the message.
///
/// Source: RFC 7693, section 3.1, with the rotations of section 2.1.
pub(super) fn mix(b: &mut Builder, v: &mut [Word; 16], at: [usize; 4], message: [Var; 2]) {
    let [i, j, k, l] = at;
    for (half, message) in message.into_iter().enumerate() {
        v[i] = sum(b, &[v[i].value, v[j].value, message], 0);
        v[l] = rotated_xor(b, &v[l], &v[i], ROTATIONS[2 * half]);
        v[k] = sum(b, &[v[k].value, v[l].value], 0);
        v[j] = rotated_xor(b, &v[j], &v[k], ROTATIONS[2 * half + 1]);
    }
}

fn rotated_xor(b: &mut Builder, x: &Word, y: &Word, by: usize) -> Word {
    let bits: Vec<Var> = x
        .rotated_right(by)
        .into_iter()
        .zip(y.rotated_right(by))
        .map(|(x, y)| xor(b, x, y))
        .collect();
    Word::join(b, bits)
}

/// The columns and then the diagonals of the state: the places that one round of BLAKE2s or BLAKE3 mixes.
pub(super) const MIXED: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];
