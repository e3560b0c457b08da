//! The kinds of rows there are, by the fixed cells that switch their gates on.

use std::hash::Hasher;

use rollmill_algebra::Fr;

use crate::builder::Coefficients;
use crate::layout::FixedRow;
use crate::shape::kind;

/// Hashes fixed rows. Every row of a circuit is looked up and no stranger chooses them, so it need only be
/// fast.
#[derive(Debug, Default)]
pub(crate) struct RowHasher(u64);

impl Hasher for RowHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // An odd constant with as many ones as zeros, as in Fibonacci hashing: 2^64 / φ.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

impl FixedRow {
    /// A row with no gate.
    pub fn blank() -> Self {
        Self::default()
    }
    /// A row whose four cells are packs of its own and the next row's limb cells.
    pub fn pack() -> Self {
        Self::vector([-1, 0, 0, 1])
    }
    /// A linear relation `c_0 w(0) + c_1 w(1) + c_2 w(2) + c_3 p = 0`, column by column.
    pub fn vector(c: [i64; 4]) -> Self {
        let mut row = Self { kind: kind::VEC, ..Self::default() };
        for (slot, value) in row.c.iter_mut().zip(c) {
            *slot = signed(value);
        }
        row
    }
    /// First half of a non-native product.
    pub fn product() -> Self {
        Self { kind: kind::MUL, ..Self::default() }
    }
    /// First half of a non-native square.
    pub fn square() -> Self {
        Self { kind: kind::SQR, ..Self::default() }
    }
    /// Second half: `first` and `second` scale the two element rows that follow, given as limbs.
    pub fn carry(first: i64, second: i64) -> Self {
        let two64 = crate::gates::power_of_two(64);
        let (a, b) = (signed(first), signed(second));
        let c = [a, a * two64, a, a * two64, b, b * two64, b, b * two64];
        Self { kind: kind::CARRY, c, ..Self::default() }
    }
    /// A row that writes the ROM.
    pub fn write() -> Self {
        Self { write: true, ..Self::default() }
    }
    /// A row that reads the ROM and has arithmetic coefficients `c`.
    pub fn read(c: Coefficients) -> Self {
        Self { read: true, arith: true, c, ..Self::default() }
    }
    /// The entry layer of a Poseidon2 permutation: `w(2) = M_E (w(0) + w(1))`.
    pub fn poseidon_entry() -> Self {
        Self { read: true, write: true, ..Self::default() }
    }
    /// Two external rounds of Poseidon2; S-box outputs stand in the limb cells, which hold full elements.
    pub fn external(c: Coefficients) -> Self {
        Self { external: true, c, ..Self::default() }
    }
    /// Eight internal rounds of Poseidon2; S-box outputs stand in the limb cells, which hold full elements.
    pub fn internal(c: Coefficients) -> Self {
        Self { internal: true, c, ..Self::default() }
    }
}

fn signed(value: i64) -> Fr {
    let abs = Fr::from(value.unsigned_abs());
    if value < 0 { -abs } else { abs }
}
