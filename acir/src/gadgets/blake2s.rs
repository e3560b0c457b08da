//! BLAKE2s with a digest of 32 bytes and without a key, by bits. About 30,000 rows for each 64 bytes.
//!
//! Source: RFC 7693.

use rollmill_plonk::builder::{Builder, Var};

use super::blake::{MIXED, START, mix};
use super::word::{Word, from_bytes, to_bytes, xor_all};

/// Which word of the message each round mixes, in order (section 2.7).
const ORDER: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// Bytes of a block.
const BLOCK: usize = 64;

/// The digest of bytes, each constrained to 8 bits.
pub(crate) fn hash(b: &mut Builder, message: &[Var]) -> Vec<Var> {
    let bytes: Vec<Word> = message.iter().map(|byte| Word::split(b, *byte, 8)).collect();
    let mut state: Vec<Word> = START.iter().map(|word| Word::constant(b, *word)).collect();
    // Parameters: a digest of 32 bytes, no key, fan-out and depth 1.
    state[0] = Word::constant(b, START[0] ^ 0x0101_0020);
    let zero = Word { value: Builder::ZERO, bits: vec![Builder::ZERO; 8] };
    let blocks = bytes.len().div_ceil(BLOCK).max(1);
    for number in 0..blocks {
        let taken = &bytes[number * BLOCK..bytes.len().min((number + 1) * BLOCK)];
        let words: [Var; 16] = std::array::from_fn(|i| {
            let bytes: Vec<Word> =
                (4 * i..4 * i + 4).map(|at| taken.get(at).unwrap_or(&zero).clone()).collect();
            from_bytes(b, &bytes).value
        });
        let count = (number * BLOCK + taken.len()) as u64;
        state = compress(b, &state, &words, count, number + 1 == blocks);
    }
    to_bytes(b, &state)
}

/// The state after a block: `count` bytes of the message came so far, `last` says that no more follow (section 3.2).
fn compress(
    b: &mut Builder,
    state: &[Word],
    words: &[Var; 16],
    count: u64,
    last: bool,
) -> Vec<Word> {
    let mut v: [Word; 16] = std::array::from_fn(|i| match i {
        0..8 => state[i].clone(),
        12 => Word::constant(b, START[4] ^ count as u32),
        13 => Word::constant(b, START[5] ^ (count >> 32) as u32),
        14 if last => Word::constant(b, !START[6]),
        _ => Word::constant(b, START[i - 8]),
    });
    for order in ORDER {
        for (at, message) in MIXED.into_iter().zip(order.chunks(2)) {
            mix(b, &mut v, at, [words[message[0]], words[message[1]]]);
        }
    }
    (0..8)
        .map(|i| {
            let half = xor_all(b, &state[i].bits, &v[i].bits);
            let bits = xor_all(b, &half, &v[i + 8].bits);
            Word::join(b, bits)
        })
        .collect()
}
