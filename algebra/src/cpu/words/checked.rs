//! Products that check what their callers promise.

use super::{Modulus, Portable, Products, Words, difference, multiple};

/// [`Portable`], which panics where an input is beyond the bounds of [`Products`]. Numbers cannot say by which multiple
/// of p they are bounded, so only inputs that exceed a bound show it: the laws of devices have those at the ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked;

/// Whether `a` is below `k · p`.
fn is_below<M: Modulus>(a: &Words, k: usize) -> bool {
    difference(a, &multiple(M::MODULUS.0, k)).1
}

/// Whether `a` is at most `k · p`.
fn is_at_most<M: Modulus>(a: &Words, k: usize) -> bool {
    !difference(&multiple(M::MODULUS.0, k), a).1
}

/// Panics if the first factors come to more than 4p together.
fn check_first_factors<M: Modulus, const N: usize>(pairs: [[&Words; 2]; N]) {
    let mut left = multiple(M::MODULUS.0, 4);
    for [a, _] in pairs {
        let borrow;
        (left, borrow) = difference(&left, a);
        assert!(!borrow, "the first factors come to more than 4p");
    }
}

impl Products for Checked {
    fn mul<M: Modulus>(self, a: &Words, b: &Words) -> Words {
        assert!(is_below::<M>(a, 4), "a first factor is 4p or more");
        Portable.mul::<M>(a, b)
    }

    fn dot<M: Modulus>(self, ab: [&Words; 2], cd: [&Words; 2]) -> Words {
        check_first_factors::<M, 2>([ab, cd]);
        Portable.dot::<M>(ab, cd)
    }

    fn dot_factors<M: Modulus>(self, factors: &[Words; 4], values: [&Words; 4]) -> Words {
        check_first_factors::<M, 4>(std::array::from_fn(|k| [&factors[k], values[k]]));
        Portable.dot_factors::<M>(factors, values)
    }

    fn square<M: Modulus>(self, a: &Words) -> Words {
        self.mul::<M>(a, a)
    }

    fn sub<M: Modulus, const K: usize>(self, a: &Words, b: &Words) -> Words {
        assert!(is_below::<M>(a, 5 - K), "a minuend and the multiple of p come to 5p or more");
        assert!(is_at_most::<M>(b, K), "a subtrahend is above the multiple of p");
        Portable.sub::<M, K>(a, b)
    }

    fn less<M: Modulus, const K: usize>(self, a: &Words) -> Words {
        assert!(is_at_most::<M>(a, 5), "a number to be reduced is above 5p");
        Portable.less::<M, K>(a)
    }

    fn negated_if<M: Modulus>(self, negative: bool, a: &Words) -> Words {
        assert!(is_at_most::<M>(a, 1), "a number to be negated is above p");
        Portable.negated_if::<M>(negative, a)
    }
}
