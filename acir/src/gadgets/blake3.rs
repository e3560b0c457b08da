//! BLAKE3 with a digest of 32 bytes and without a key, by bits. About 21,000 rows for each 64 bytes, and as many for
//! each 1,024 bytes but the first.
//!
//! Source: the specification of BLAKE3, <https://github.com/BLAKE3-team/BLAKE3-specs>, section 2.

use rollmill_plonk::builder::{Builder, Var};

use super::blake::{MIXED, START, mix};
use super::word::{Word, from_bytes, to_bytes, xor_all};

/// Where the words of the message go between two rounds.
const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const ROUNDS: usize = 7;
/// Bytes of a block and of a chunk.
const BLOCK: usize = 64;
const CHUNK: usize = 1024;

const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const PARENT: u32 = 4;
const ROOT: u32 = 8;

/// A compression that has yet to be computed, since only its place in the tree decides whether it is the root's.
struct Node {
    state: Vec<Word>,
    words: [Var; 16],
    counter: u64,
    bytes: usize,
    flags: u32,
}

impl Node {
    /// The chaining value, or the digest where `flags` has [`ROOT`].
    fn compress(&self, b: &mut Builder, flags: u32) -> Vec<Word> {
        let flags = self.flags | flags;
        let mut v: [Word; 16] = std::array::from_fn(|i| match i {
            0..8 => self.state[i].clone(),
            12 => Word::constant(b, self.counter as u32),
            13 => Word::constant(b, (self.counter >> 32) as u32),
            14 => Word::constant(b, self.bytes as u32),
            15 => Word::constant(b, flags),
            _ => Word::constant(b, START[i - 8]),
        });
        let mut words = self.words;
        for _ in 0..ROUNDS {
            for (at, message) in MIXED.into_iter().zip(words.chunks(2)) {
                mix(b, &mut v, at, [message[0], message[1]]);
            }
            words = PERMUTATION.map(|from| words[from]);
        }
        (0..8)
            .map(|i| {
                let bits = xor_all(b, &v[i].bits, &v[i + 8].bits);
                Word::join(b, bits)
            })
            .collect()
    }
}

/// The digest of bytes, each constrained to 8 bits.
pub(crate) fn hash(b: &mut Builder, message: &[Var]) -> Vec<Var> {
    let bytes: Vec<Word> = message.iter().map(|byte| Word::split(b, *byte, 8)).collect();
    let empty: &[Word] = &[];
    let chunks: Vec<&[Word]> = match bytes.is_empty() {
        true => vec![empty],
        false => bytes.chunks(CHUNK).collect(),
    };
    let root = tree(b, &chunks, 0);
    let digest = root.compress(b, ROOT);
    to_bytes(b, &digest)
}

/// The root of chunks, of which the first has this number. The left subtree has as many chunks as a power of two that
/// leaves at least one for the right (section 2.1).
fn tree(b: &mut Builder, chunks: &[&[Word]], first: u64) -> Node {
    if let [chunk] = chunks {
        return of_chunk(b, chunk, first);
    }
    let left = chunks.len().next_power_of_two() / 2;
    let children = [(&chunks[..left], first), (&chunks[left..], first + left as u64)];
    let mut words = Vec::with_capacity(16);
    for (chunks, first) in children {
        let child = tree(b, chunks, first);
        words.extend(child.compress(b, 0).into_iter().map(|word| word.value));
    }
    let state = START.iter().map(|word| Word::constant(b, *word)).collect();
    let words = std::array::from_fn(|i| words[i]);
    Node { state, words, counter: 0, bytes: BLOCK, flags: PARENT }
}

/// The last block of a chunk, after those before it.
fn of_chunk(b: &mut Builder, chunk: &[Word], number: u64) -> Node {
    let zero = Word { value: Builder::ZERO, bits: vec![Builder::ZERO; 8] };
    let mut state: Vec<Word> = START.iter().map(|word| Word::constant(b, *word)).collect();
    let blocks = chunk.len().div_ceil(BLOCK).max(1);
    let mut at = 0;
    loop {
        let taken = &chunk[at * BLOCK..chunk.len().min((at + 1) * BLOCK)];
        let words = std::array::from_fn(|i| {
            let bytes: Vec<Word> =
                (4 * i..4 * i + 4).map(|at| taken.get(at).unwrap_or(&zero).clone()).collect();
            from_bytes(b, &bytes).value
        });
        let mut flags = if at == 0 { CHUNK_START } else { 0 };
        at += 1;
        if at == blocks {
            flags |= CHUNK_END;
        }
        let node = Node { state, words, counter: number, bytes: taken.len(), flags };
        if at == blocks {
            return node;
        }
        state = node.compress(b, 0);
    }
}
