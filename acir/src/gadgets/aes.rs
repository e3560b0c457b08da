//! AES-128 in CBC mode: the S-box is a ROM table, the rest is bits. About 8,000 rows for each 16 bytes, and 1,000 once.
//!
//! Source: FIPS 197, and SP 800-38A, section 6.2.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::layout::FixedRow;

use super::range::below;
use super::word::{Word, join, xor, xor_all};

/// Bytes of a block and of the key.
pub(crate) const BLOCK: usize = 16;
const ROUNDS: usize = 10;

/// The bits of a byte, lowest first.
type Bits = Vec<Var>;

/// `2x` in the field of 2^8 elements modulo x^8 + x^4 + x^3 + x + 1.
const fn double(x: u8) -> u8 {
    (x << 1) ^ (if x >> 7 == 1 { 0x1b } else { 0 })
}

const fn times(mut x: u8, mut y: u8) -> u8 {
    let mut product = 0;
    while y > 0 {
        if y & 1 == 1 {
            product ^= x;
        }
        x = double(x);
        y >>= 1;
    }
    product
}

/// The S-box: the inverse, which is the power 254, and an affine map (section 5.1.1).
const fn substitute(x: u8) -> u8 {
    let (mut inverse, mut i) = (1, 0);
    while i < 254 {
        inverse = times(inverse, x);
        i += 1;
    }
    let i = inverse;
    i ^ i.rotate_left(1) ^ i.rotate_left(2) ^ i.rotate_left(3) ^ i.rotate_left(4) ^ 0x63
}

/// The table of the S-box: under each byte the bits of what it becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    name: Var,
}

impl Table {
    /// Lays the table out. One serves a whole circuit.
    pub(crate) fn new(b: &mut Builder) -> Self {
        let name = b.new_table();
        for byte in 0..=u8::MAX {
            let out = substitute(byte);
            let low = std::array::from_fn(|i| b.constant_u64(u64::from(out >> i & 1)));
            let high = std::array::from_fn(|i| b.constant_u64(u64::from(out >> (4 + i) & 1)));
            let address = b.constant_u64(u64::from(byte));
            b.rom_write(name, address, low, high);
        }
        Self { name }
    }

    /// The bits of the S-box of a byte.
    fn substitute(&self, b: &mut Builder, byte: &[Var]) -> Bits {
        let address = join(b, byte);
        let out = below(&b.value(address), 256).map_or(0, |byte| substitute(byte as u8));
        self.substitute_given(
            b,
            address,
            std::array::from_fn(|i| Fr::from(u64::from(out >> i & 1))),
        )
    }

    /// [`Self::substitute`] with bits that the prover chooses. The table has only bits, so they need no other
    /// constraint.
    pub(super) fn substitute_given(&self, b: &mut Builder, address: Var, bits: [Fr; 8]) -> Bits {
        let [low, high] = [[0, 1, 2, 3], [4, 5, 6, 7]].map(|half| half.map(|i| b.witness(bits[i])));
        let row = FixedRow::read([Fr::from(0u64); 8]);
        let number = b.raw_row([address, Builder::ZERO, Builder::ZERO, self.name], &row, [0; 8]);
        b.raw_row(low, &FixedRow::blank(), [0; 8]);
        b.raw_row(high, &FixedRow::blank(), [0; 8]);
        if below(&b.value(address), 256).is_some() {
            b.note_read(number, self.name, address);
        }
        [low, high].concat()
    }
}

/// The ciphertext of whole blocks, from a start of 16 bytes and a key of 16 bytes. All bytes are constrained to 8 bits.
pub(crate) fn encrypt(
    b: &mut Builder,
    table: &Table,
    plaintext: &[Var],
    start: &[Var],
    key: &[Var],
) -> Vec<Var> {
    let mut split = |bytes: &[Var]| -> Vec<Word> {
        bytes.iter().map(|byte| Word::split(b, *byte, 8)).collect()
    };
    let (plaintext, start, key) = (split(plaintext), split(start), split(key));
    let bits =
        |words: &[Word]| -> Vec<Bits> { words.iter().map(|word| word.bits.clone()).collect() };
    let keys = expand(b, table, bits(&key));
    let mut previous = bits(&start);
    let mut out = Vec::new();
    for block in plaintext.chunks(BLOCK) {
        let mixed = add(b, &bits(block), &previous);
        previous = encrypt_block(b, table, mixed, &keys);
        out.extend(previous.iter().map(|bits| join(b, bits)));
    }
    out
}

/// The keys of the rounds (section 5.2), 16 bytes each.
fn expand(b: &mut Builder, table: &Table, key: Vec<Bits>) -> Vec<Vec<Bits>> {
    let mut keys = vec![key];
    let mut constant = 1;
    for round in 0..ROUNDS {
        let last = keys[round].clone();
        let mut word: Vec<Bits> =
            [13, 14, 15, 12].into_iter().map(|i| table.substitute(b, &last[i])).collect();
        for (i, bit) in word[0].iter_mut().enumerate() {
            if constant >> i & 1 == 1 {
                *bit = b.scale(*bit, -Fr::from(1u64), Fr::from(1u64));
            }
        }
        constant = double(constant);
        let mut next = Vec::with_capacity(BLOCK);
        for column in last.chunks(4) {
            word = add(b, column, &word);
            next.extend(word.iter().cloned());
        }
        keys.push(next);
    }
    keys
}

fn encrypt_block(
    b: &mut Builder,
    table: &Table,
    block: Vec<Bits>,
    keys: &[Vec<Bits>],
) -> Vec<Bits> {
    let mut state = add(b, &block, &keys[0]);
    for (round, key) in keys.iter().enumerate().skip(1) {
        let boxed: Vec<Bits> = state.iter().map(|byte| table.substitute(b, byte)).collect();
        // Byte `row + 4 · column` comes from the column `row` places further.
        let moved: Vec<Bits> =
            (0..BLOCK).map(|i| boxed[(i + 4 * (i % 4)) % BLOCK].clone()).collect();
        let mixed = match round {
            ROUNDS => moved,
            _ => moved.chunks(4).flat_map(|column| mix_column(b, column)).collect(),
        };
        state = add(b, &mixed, key);
    }
    state
}

/// Multiplies a column by the matrix of section 5.1.3: `2a + 3c + d + e = a + (a + c + d + e) + 2(a + c)`.
fn mix_column(b: &mut Builder, column: &[Bits]) -> Vec<Bits> {
    let pairs: Vec<Bits> = (0..4).map(|i| xor_all(b, &column[i], &column[(i + 1) % 4])).collect();
    let all = xor_all(b, &pairs[0], &pairs[2]);
    (0..4)
        .map(|i| {
            let doubled = double_bits(b, &pairs[i]);
            let sum = xor_all(b, &column[i], &all);
            xor_all(b, &sum, &doubled)
        })
        .collect()
}

/// [`double`] of a byte.
fn double_bits(b: &mut Builder, byte: &[Var]) -> Bits {
    let top = byte[7];
    (0..8)
        .map(|i| match i {
            0 => top,
            1 | 3 | 4 => xor(b, byte[i - 1], top),
            _ => byte[i - 1],
        })
        .collect()
}

/// XOR byte by byte.
fn add(b: &mut Builder, x: &[Bits], y: &[Bits]) -> Vec<Bits> {
    x.iter().zip(y).map(|(x, y)| xor_all(b, x, y)).collect()
}
