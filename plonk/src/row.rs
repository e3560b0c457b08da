//! Rows without a gate, and how fixed rows are looked up. The files of the gates make the others.

use std::hash::Hasher;

use crate::layout::FixedRow;

/// Hashes fixed rows. Every row of a circuit is looked up and no attacker chooses them, so it need only be
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
}
