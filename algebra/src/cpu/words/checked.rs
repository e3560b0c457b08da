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

impl Products for Checked {
    fn mul<M: Modulus>(self, a: &Words, b: &Words) -> Words {
        assert!(is_below::<M>(a, 4), "a first factor is 4p or more");
        Portable.mul::<M>(a, b)
    }

    fn dot<M: Modulus>(self, [a, b]: [&Words; 2], [c, d]: [&Words; 2]) -> Words {
        let (left, borrow) = difference(&multiple(M::MODULUS.0, 4), a);
        assert!(!borrow && difference(c, &left).1, "the first factors come to 4p or more");
        Portable.dot::<M>([a, b], [c, d])
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
        assert!(is_below::<M>(a, 5), "a number to be reduced is 5p or more");
        Portable.less::<M, K>(a)
    }

    fn negated_if<M: Modulus>(self, negative: bool, a: &Words) -> Words {
        assert!(is_at_most::<M>(a, 1), "a number to be negated is above p");
        Portable.negated_if::<M>(negative, a)
    }
}
