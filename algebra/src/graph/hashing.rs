//! A quick hash for the maps of a graph. Their keys follow from the formulas of this program, so that nobody can choose
//! keys that collide, which is what the standard library's slower hash protects from.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// An odd number whose bits look random: the fraction of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A map with keys that are made of nodes.
pub type NodeMap<K, V> = HashMap<K, V, BuildHasherDefault<NodeHasher>>;

/// Folds each word in by one wide product, so that every bit of it reaches both ends of the hash.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeHasher(u64);

impl Hasher for NodeHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0.rotate_left(23) ^ word) * u128::from(FACTOR);
        self.0 = ((product >> 64) as u64 ^ product as u64).wrapping_add(FACTOR);
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hash};

    use super::*;

    fn hash(value: impl Hash) -> u64 {
        BuildHasherDefault::<NodeHasher>::default().hash_one(value)
    }

    /// A map takes the place from the low bits and a tag from the high ones. Method: addresses, which are multiples of
    /// a power of two, and small numbers in pairs.
    #[test]
    fn keys_as_graphs_have_them_are_spread_in_low_and_high_bits() {
        let addresses: Vec<u64> = (0..4096u64).map(|i| hash(0x7f00_0000_0000 + 64 * i)).collect();
        let pairs: Vec<u64> = (0..4096usize).map(|i| hash((1u8, i / 64, i % 64))).collect();
        for hashes in [addresses, pairs] {
            assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), 4096, "no two are equal");
            for shift in [0, 57] {
                let mut counts = [0u32; 128];
                hashes.iter().for_each(|hash| counts[(hash >> shift & 127) as usize] += 1);
                // 32 in each on average.
                assert!(counts.iter().all(|count| (4..=96).contains(count)), "{shift}: {counts:?}");
            }
        }
    }
}
