//! The compression function of SHA-256, by bits. About 32,000 rows.
//!
//! Source: FIPS 180-4, sections 4.1.2, 4.2.2 and 6.2.2.

use rollmill_plonk::builder::{Builder, Var};

use super::word::{Word, sum, xor_all, xor_value};

/// Constants of the rounds: the first 32 bits of the fractional parts of the cube roots of the first 64 primes.
const K: [u32; 64] = {
    let mut k = [0; 64];
    let (mut i, mut candidate) = (0, 2u128);
    while i < 64 {
        let mut divisor = 2;
        while divisor * divisor <= candidate && candidate % divisor != 0 {
            divisor += 1;
        }
        if divisor * divisor > candidate {
            // The cube root of p · 2^96 is that of p, times 2^32. The primes are below 2^9, so the root is below 2^35.
            let (mut root, mut bit) = (0u128, 1u128 << 35);
            while bit > 0 {
                let next = root + bit;
                if next * next * next <= candidate << 96 {
                    root = next;
                }
                bit >>= 1;
            }
            k[i] = root as u32;
            i += 1;
        }
        candidate += 1;
    }
    k
};

/// The state after a block of 16 words, each constrained to 32 bits, as the state is.
pub(crate) fn compress(b: &mut Builder, block: &[Var; 16], state: &[Var; 8]) -> [Var; 8] {
    let schedule = schedule(b, block);
    let start: Vec<Word> = state.iter().map(|word| Word::split(b, *word, 32)).collect();
    let mut words = start.clone();
    // b XOR c of a round is a XOR b of the round before.
    let mut differs = xor_all(b, &words[1].bits, &words[2].bits);
    for (t, message) in schedule.iter().enumerate() {
        let [a, e] = [&words[0], &words[4]];
        let s1 = sigma(b, e, [6, 11, 25]);
        let choice = select_all(b, &e.bits, &words[5].bits, &words[6].bits);
        let choice = Word::join(b, choice).value;
        let s0 = sigma(b, a, [2, 13, 22]);
        // Where b and c agree, the majority is theirs, else a has it.
        let majority = select_all(b, &differs, &a.bits, &words[1].bits);
        let majority = Word::join(b, majority).value;
        differs = xor_all(b, &a.bits, &words[1].bits);
        let first = [words[7].value, s1, choice, message.value];
        let mut to_a = first.to_vec();
        to_a.extend([s0, majority]);
        let mut to_e = first.to_vec();
        to_e.push(words[3].value);
        let (next_a, next_e) = (sum(b, &to_a, K[t]), sum(b, &to_e, K[t]));
        words.rotate_right(1);
        words[0] = next_a;
        words[4] = next_e;
    }
    std::array::from_fn(|i| sum(b, &[start[i].value, words[i].value], 0).value)
}

/// The 64 words of the message schedule.
fn schedule(b: &mut Builder, block: &[Var; 16]) -> Vec<Word> {
    let mut words: Vec<Word> = block.iter().map(|word| Word::split(b, *word, 32)).collect();
    for t in 16..64 {
        let s0 = small_sigma(b, &words[t - 15], [7, 18], 3);
        let s1 = small_sigma(b, &words[t - 2], [17, 19], 10);
        let next = sum(b, &[words[t - 16].value, s0, words[t - 7].value, s1], 0);
        words.push(next);
    }
    words
}

/// The value of the XOR of three rotations.
fn sigma(b: &mut Builder, word: &Word, [first, second, third]: [usize; 3]) -> Var {
    let two = xor_all(b, &word.rotated_right(first), &word.rotated_right(second));
    xor_value(b, &two, &word.rotated_right(third))
}

/// The value of the XOR of two rotations and a shift.
fn small_sigma(b: &mut Builder, word: &Word, [first, second]: [usize; 2], shift: usize) -> Var {
    let two = xor_all(b, &word.rotated_right(first), &word.rotated_right(second));
    let shifted: Vec<Var> =
        (0..32).map(|i| word.bits.get(i + shift).copied().unwrap_or(Builder::ZERO)).collect();
    xor_value(b, &two, &shifted)
}

/// Bit by bit, that of `x` where the choice is 1, and that of `y` where it is 0.
fn select_all(b: &mut Builder, choice: &[Var], x: &[Var], y: &[Var]) -> Vec<Var> {
    choice.iter().zip(x).zip(y).map(|((c, x), y)| b.select(*c, *x, *y)).collect()
}
