//! Products in Rust: the twin of the assembly, and the path of every other processor.

use super::{Modulus, Products, Words, assert_bound};

/// Products by the compiler's own code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

/// Adds `a · factor` to t. The sum must be below 2^320.
#[inline(always)]
fn add_row(t: &mut [u64; 5], a: &Words, factor: u64) {
    let mut carry = 0;
    for i in 0..4 {
        (t[i], carry) = a[i].carrying_mul_add(factor, t[i], carry);
    }
    let top;
    (t[4], top) = t[4].overflowing_add(carry);
    assert_bound!(!top, "a sum reaches 2^320");
}

/// Adds the multiple of p that makes the lowest word zero, and drops that word.
#[inline(always)]
fn reduce_row<M: Modulus>(t: &mut [u64; 5]) {
    let p = M::MODULUS.0;
    // M::INV is −1 / p modulo 2^64.
    let factor = t[0].wrapping_mul(M::INV);
    let (_, mut carry) = p[0].carrying_mul_add(factor, t[0], 0);
    for i in 1..4 {
        (t[i - 1], carry) = p[i].carrying_mul_add(factor, t[i], carry);
    }
    let top;
    (t[3], top) = t[4].overflowing_add(carry);
    assert_bound!(!top, "a sum reaches 2^320");
    t[4] = 0;
}

/// `Σ a · b / 2^256` over some pairs, with one reduction for each word of the second factors.
#[inline(always)]
fn sum_of_products<M: Modulus, const N: usize>(pairs: [[&Words; 2]; N]) -> Words {
    let mut t = [0; 5];
    for i in 0..4 {
        for [a, b] in pairs {
            add_row(&mut t, a, b[i]);
        }
        reduce_row::<M>(&mut t);
    }
    [t[0], t[1], t[2], t[3]]
}

/// Source: Koç, Acar and Kaliski, "Analyzing and comparing Montgomery multiplication algorithms", 1996, method CIOS.
///
/// Bounds, in multiples of p: a round leaves less than the first factors and 1 together, so less than 5 also where
/// those come to 4, which four words hold. Before it drops a word, it is less than `2^64 · 5`: below 2^320.
impl Products for Portable {
    #[inline(always)]
    fn mul<M: Modulus>(self, a: &Words, b: &Words) -> Words {
        let mut t = [0; 5];
        for word in b {
            add_row(&mut t, a, *word);
            reduce_row::<M>(&mut t);
        }
        [t[0], t[1], t[2], t[3]]
    }

    #[inline(always)]
    fn dot<M: Modulus>(self, ab: [&Words; 2], cd: [&Words; 2]) -> Words {
        sum_of_products::<M, 2>([ab, cd])
    }

    #[inline(always)]
    fn dot_factors<M: Modulus>(self, factors: &[Words; 4], values: [&Words; 4]) -> Words {
        sum_of_products::<M, 4>(std::array::from_fn(|k| [&factors[k], values[k]]))
    }

    #[inline(always)]
    fn square<M: Modulus>(self, a: &Words) -> Words {
        self.mul::<M>(a, a)
    }
}
