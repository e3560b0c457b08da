//! Products in Rust: the twin of the assembly, and the path of every other processor.

use super::{Modulus, Products, Words};

/// Products by the compiler's own code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

impl Products for Portable {
    /// Source: Koç, Acar and Kaliski, "Analyzing and comparing Montgomery multiplication algorithms", 1996,
    /// method CIOS. A round leaves less than `a + p`, so that no carry leaves the fifth word.
    #[inline(always)]
    fn mul<M: Modulus>(self, a: &Words, b: &Words) -> Words {
        let p = M::MODULUS.0;
        let mut t = [0u64; 4];
        for factor in b {
            let (low, mut carry) = a[0].carrying_mul_add(*factor, t[0], 0);
            // M::INV is −1 / p modulo 2^64.
            let multiple = low.wrapping_mul(M::INV);
            let (_, mut reduced) = p[0].carrying_mul_add(multiple, low, 0);
            for i in 1..4 {
                let word;
                (word, carry) = a[i].carrying_mul_add(*factor, t[i], carry);
                (t[i - 1], reduced) = p[i].carrying_mul_add(multiple, word, reduced);
            }
            t[3] = carry + reduced;
        }
        t
    }

    #[inline(always)]
    fn square<M: Modulus>(self, a: &Words) -> Words {
        self.mul::<M>(a, a)
    }
}
