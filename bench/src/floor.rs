//! Floors: the least time that any implementation of an operation needs at the ceilings of the device.
//!
//! A floor counts products of field elements and bytes to and from memory, and takes the larger of
//! the two times. Additions, loads of scattered bases and everything else count as free, so that a
//! floor is never reached.

use ark_ff::{BigInteger, PrimeField};
use rollmill_algebra::Fr;

use crate::result::Ceilings;

/// Products of one affine addition when the inversion is shared by many: three for the share, two and
/// a square for slope and coordinates.
const PRODUCTS_PER_ADDITION: f64 = 6.0;
const ELEMENT_BYTES: f64 = 32.0;
const POINT_BYTES: f64 = 64.0;
/// A large last-level cache.
const CACHE_BYTES: f64 = 64e6;

/// Products and bytes.
///
/// A graphics adapter may leave row kernels to the host, and its memory is not measured; so its floors are of products
/// alone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    pub products: f64,
    /// Those of row kernels.
    pub row_products: f64,
    pub bytes: f64,
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.products += other.products;
        self.row_products += other.row_products;
        self.bytes += other.bytes;
    }
}

impl Work {
    /// Seconds at the ceilings.
    pub fn seconds(&self, ceilings: &Ceilings) -> f64 {
        let rows = self.row_products / ceilings.products_per_second;
        match ceilings.adapter_products_per_second {
            Some(adapter) => rows + self.products / adapter,
            None => {
                let products = rows + self.products / ceilings.products_per_second;
                products.max(self.bytes / ceilings.bytes_per_second)
            }
        }
    }
}

/// How many scalars have each number of bits, from 0 for zero to 254.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits([u64; 256]);

impl Bits {
    /// Counts the bits of scalars; a negative one counts as its magnitude, as signed digits see it.
    pub fn of(scalars: &[Fr]) -> Self {
        let mut counts = [0u64; 256];
        for scalar in scalars {
            let bits = scalar.into_bigint().num_bits().min((-*scalar).into_bigint().num_bits());
            counts[bits as usize] += 1;
        }
        Self(counts)
    }

    /// `n` scalars of `bits` bits.
    pub fn uniform(n: u64, bits: usize) -> Self {
        let mut counts = [0u64; 256];
        counts[bits.min(255)] = n;
        Self(counts)
    }
}

/// An MSM by buckets with signed digits of the best width: one addition per digit that may
/// be nonzero, two per bucket in use.
pub fn msm(bits: &Bits) -> Work {
    let nonzero = bits.0[1..].iter().sum::<u64>() as f64;
    let longest = bits.0.iter().rposition(|count| *count > 0).unwrap_or(0);
    let additions = (2..=24usize)
        .map(|width| {
            let windows = |bits: usize| (bits + 1).div_ceil(width) as f64;
            let digits: f64 = bits
                .0
                .iter()
                .enumerate()
                .skip(1)
                .map(|(b, count)| *count as f64 * windows(b))
                .sum();
            let buckets = (1u64 << (width - 1)) as f64;
            digits + 2.0 * windows(longest) * buckets.min(nonzero)
        })
        .fold(f64::INFINITY, f64::min);
    let scalar_bytes: f64 =
        bits.0.iter().enumerate().map(|(b, count)| (*count * b.div_ceil(8) as u64) as f64).sum();
    Work {
        products: additions * PRODUCTS_PER_ADDITION,
        row_products: 0.0,
        bytes: beyond_cache(scalar_bytes + nonzero * POINT_BYTES),
    }
}

/// A transform of `n` elements: half a product per element and level, and one pass over memory where
/// it does not stay in a cache.
pub fn ntt(n: u64) -> Work {
    let levels = f64::from(n.max(1).ilog2());
    Work {
        products: n as f64 / 2.0 * levels,
        row_products: 0.0,
        bytes: beyond_cache(n as f64 * 2.0 * ELEMENT_BYTES),
    }
}

/// Bytes that must go to memory: none where all of it fits into a large cache.
fn beyond_cache(bytes: f64) -> f64 {
    if bytes > CACHE_BYTES { bytes } else { 0.0 }
}

/// `products` products on each of `n` elements of `columns` columns.
pub fn rows(n: u64, columns: usize, outputs: usize, products: u64) -> Work {
    let bytes = n as f64 * (columns + outputs) as f64 * ELEMENT_BYTES;
    Work { products: n as f64 * products as f64, row_products: 0.0, bytes: beyond_cache(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_counts_its_butterflies() {
        assert_eq!(ntt(1024).products, 5120.0);
        assert_eq!(ntt(1).products, 0.0);
    }

    #[test]
    fn the_floor_of_an_msm_grows_with_its_scalars_and_not_with_zeros() {
        let full = msm(&Bits::uniform(1 << 18, 254));
        let small = msm(&Bits::uniform(1 << 18, 16));
        let mut sparse = Bits::uniform(1 << 10, 254);
        sparse.0[0] = 1 << 18;
        let sparse = msm(&sparse);
        assert!(full.products > 10.0 * small.products);
        assert!(full.products > 50.0 * sparse.products);
        // 254 bits at the best width are 16 or more windows of one addition per element.
        assert!(full.products >= 16.0 * 6.0 * f64::from(1 << 18));
    }

    #[test]
    fn bits_are_those_of_the_magnitude() {
        let minus_one = -Fr::from(1u64);
        let bits = Bits::of(&[Fr::from(0u64), Fr::from(1u64), minus_one, Fr::from(65_535u64)]);
        assert_eq!((bits.0[0], bits.0[1], bits.0[16]), (1, 2, 1));
    }

    #[test]
    fn the_slower_of_arithmetic_and_memory_is_the_floor() {
        let ceilings = ceilings(None);
        let work = |bytes| Work { products: 15.0, row_products: 5.0, bytes };
        assert_eq!(work(100.0).seconds(&ceilings), 2.0);
        assert_eq!(work(500.0).seconds(&ceilings), 5.0);
    }

    #[test]
    fn the_floor_of_a_hybrid_is_that_of_its_adapter_and_for_rows_of_the_host() {
        let work = Work { products: 15.0, row_products: 5.0, bytes: 1e9 };
        assert_eq!(work.seconds(&ceilings(Some(30.0))), 1.0);
    }

    fn ceilings(adapter_products_per_second: Option<f64>) -> Ceilings {
        Ceilings {
            products_per_second: 10.0,
            bytes_per_second: 100.0,
            adapter_products_per_second,
            wide_multiply_adds_per_second: None,
        }
    }
}
