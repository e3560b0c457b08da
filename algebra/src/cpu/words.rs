//! Field elements as four 64-bit words, for processors without AVX-512 IFMA.
//!
//! # Numbers
//! A number is in arkworks' Montgomery form (R = 2^256), but need not be below its modulus p. Both moduli of BN254
//! are below `0.1891 · 2^256`, so four words hold every number below 5.28p. The comment of a function states the
//! multiples of p that bound its inputs and outputs; nothing is compared at run time that the bounds settle.
//!
//! A product of numbers below αp and βp is below `(1 + 0.1891 · αβ)p`: below 2p for 2p times 2p and for 4p
//! times p. What leaves a kernel is below p, so arrays and points in memory are elements of arkworks' types.
//!
//! No processor checks the bounds. `Checked` does, which the unit tests run every law on.
//!
//! # Paths
//! The kernels are written once over [`Products`], which [`Portable`] implements in Rust and `Adx` in
//! assembly; both return the same words for the same words. [`Scalar`] says which one a device uses, and
//! `with_products!` chooses once for a run of elements, never for a single product.

#[cfg(target_arch = "x86_64")]
mod adx;
#[cfg(test)]
mod checked;
mod portable;
#[cfg(test)]
mod tests;

use std::hint::select_unpredictable;

use ark_bn254::{FqConfig, FrConfig};
use ark_ff::{BigInt, MontConfig};

#[cfg(target_arch = "x86_64")]
pub(crate) use self::adx::Adx;
#[cfg(test)]
pub(crate) use self::checked::Checked;
pub(crate) use self::portable::Portable;
use super::path::CpuPath;
use crate::field::Element;

/// Asserts a bound in debug builds and in the tests of this crate, which are compiled without debug assertions.
macro_rules! assert_bound {
    ($holds:expr, $otherwise:literal) => {
        if cfg!(any(test, debug_assertions)) {
            assert!($holds, $otherwise);
        }
    };
}
pub(crate) use assert_bound;

/// A number below 2^256, least significant word first.
pub(crate) type Words = [u64; 4];

/// A prime below `0.1891 · 2^256`, whose elements are four words.
pub(crate) trait Modulus: MontConfig<4> {
    /// 1 in Montgomery form: 2^256 modulo p.
    const ONE: Words = Self::R.0;
    /// Whether it is the base field of the curve, for code that is written out for each field.
    const IS_BASE_FIELD: bool;
}

impl Modulus for FqConfig {
    const IS_BASE_FIELD: bool = true;
}

impl Modulus for FrConfig {
    const IS_BASE_FIELD: bool = false;
}

// 2^256 is above 5.28p: the highest word alone shows it, and 0.1891 is above 1 / 5.289.
const _: () = {
    assert!(FqConfig::MODULUS.0[3] == FrConfig::MODULUS.0[3]);
    assert!((FqConfig::MODULUS.0[3] as u128 + 1) * 10_000 < 1891 << 64);
    assert!(((FqConfig::MODULUS.0[3] as u128 + 1) * 528) < 100 << 64);
};

/// `k · p`, below 2^256.
pub(crate) const fn multiple(p: Words, k: usize) -> Words {
    let mut out = [0; 4];
    let mut carry = 0;
    let mut i = 0;
    while i < 4 {
        let product = p[i] as u128 * k as u128 + carry as u128;
        out[i] = product as u64;
        carry = (product >> 64) as u64;
        i += 1;
    }
    assert!(carry == 0);
    out
}

/// Products of numbers, on one processor.
pub(crate) trait Products: Copy + Send + Sync {
    /// `a · b / 2^256` modulo p, below `(1 + 0.1891 · αβ)p` for `a` below αp and `b` below βp. `a` is below 4p, and
    /// `b` any number below 2^256.
    ///
    /// It is `(a · b + m · p) / 2^256` for the one `m` below 2^256 that makes this a whole number, so that every
    /// implementation returns the same words.
    fn mul<M: Modulus>(self, a: &Words, b: &Words) -> Words;

    /// `(a · b + c · d) / 2^256` modulo p for two pairs, with one reduction: below
    /// `(1 + 0.1891 · (αβ + γδ))p`. `a` and `c` come to at most 4p together, and `b` and `d` are any numbers below
    /// 2^256. The same words everywhere, as for [`Self::mul`].
    fn dot<M: Modulus>(self, ab: [&Words; 2], cd: [&Words; 2]) -> Words;

    /// [`Self::dot`] of four pairs: below `(1 + 0.1891 · Σ αβ)p`. The first factors come to at most 4p. They lie beside
    /// each other, and stay there for many sums, so that no pairs have to be gathered for each.
    fn dot_factors<M: Modulus>(self, factors: &[Words; 4], values: [&Words; 4]) -> Words;

    /// [`Self::mul`] of a number below 4p by itself.
    fn square<M: Modulus>(self, a: &Words) -> Words;

    /// Two products that do not wait for each other, `a[k] · b[k]`: the words of [`Self::mul`], within its bounds. A
    /// processor that computes both at once needs less time than for one after the other.
    #[inline(always)]
    fn mul_two<M: Modulus>(self, a: [&Words; 2], b: [&Words; 2]) -> [Words; 2] {
        [self.mul::<M>(a[0], b[0]), self.mul::<M>(a[1], b[1])]
    }

    /// [`Self::mul`] of each of `a` by that of `b`, two at a time.
    #[inline(always)]
    fn mul_each<M: Modulus, const N: usize>(self, a: &[Words; N], b: &[Words; N]) -> [Words; N] {
        let mut out = [[0; 4]; N];
        let (twos, rest) = out.as_chunks_mut::<2>();
        for (k, two) in twos.iter_mut().enumerate() {
            let at = 2 * k;
            *two = self.mul_two::<M>([&a[at], &a[at + 1]], [&b[at], &b[at + 1]]);
        }
        if let [last] = rest {
            *last = self.mul::<M>(&a[N - 1], &b[N - 1]);
        }
        out
    }

    /// `a + K·p − b`, for `b` of at most K·p. The bound of `a` and K add up to at most 5, and so the result is below
    /// that sum.
    #[inline(always)]
    fn sub<M: Modulus, const K: usize>(self, a: &Words, b: &Words) -> Words {
        let (out, borrow) = difference(&add(a, &multiple(M::MODULUS.0, K)), b);
        assert_bound!(!borrow, "a difference falls below zero");
        out
    }

    /// `a`, less K·p where it is K·p or more: below `max(K, α − K)` for `a` below αp, and at most that for `a` of at
    /// most αp. α and K are at most 5.
    #[inline(always)]
    fn less<M: Modulus, const K: usize>(self, a: &Words) -> Words {
        let (out, borrow) = difference(a, &multiple(M::MODULUS.0, K));
        // A branch would be guessed wrong as often as the bound is exceeded.
        std::array::from_fn(|i| select_unpredictable(borrow, a[i], out[i]))
    }

    /// `p − a` where `negative`, else `a`, for `a` of at most p. At most p: the negative of 0 is p.
    #[inline(always)]
    fn negated_if<M: Modulus>(self, negative: bool, a: &Words) -> Words {
        let (minus, borrow) = difference(&M::MODULUS.0, a);
        assert_bound!(!borrow, "a number to be negated is above p");
        std::array::from_fn(|i| select_unpredictable(negative, minus[i], a[i]))
    }

    /// Asks for the line of the cache in which `place` starts. Changes no result.
    fn prefetch<T>(self, place: &T) {
        let _ = place;
    }
}

/// Which code computes on words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scalar {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Adx(Adx),
    /// The twin that checks the bounds.
    #[cfg(test)]
    Checked(Checked),
}

impl Scalar {
    /// The fastest that the processor has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(adx) = Adx::detect() {
            return Self::Adx(adx);
        }
        Self::Portable(Portable)
    }

    /// The name of this code.
    pub(super) fn path(self) -> CpuPath {
        match self {
            Self::Portable(_) => CpuPath::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::Adx(_) => CpuPath::Adx,
            #[cfg(test)]
            Self::Checked(_) => CpuPath::Portable,
        }
    }

    /// All that the processor has, the checked one among them.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
        let mut all = vec![Self::Portable(Portable), Self::Checked(Checked)];
        #[cfg(target_arch = "x86_64")]
        all.extend(Adx::detect().map(Self::Adx));
        all
    }
}

/// Evaluates an expression with the [`Products`] of a [`Scalar`], compiled for each.
macro_rules! with_products {
    ($scalar:expr, $products:ident => $body:expr) => {
        match $scalar {
            $crate::cpu::words::Scalar::Portable($products) => $body,
            #[cfg(target_arch = "x86_64")]
            $crate::cpu::words::Scalar::Adx($products) => $body,
            #[cfg(test)]
            $crate::cpu::words::Scalar::Checked($products) => $body,
        }
    };
}
pub(crate) use with_products;

/// `a + b`, which must be below 2^256.
#[inline(always)]
pub(crate) fn add(a: &Words, b: &Words) -> Words {
    let mut out = [0; 4];
    let mut carry = false;
    for i in 0..4 {
        (out[i], carry) = a[i].carrying_add(b[i], carry);
    }
    assert_bound!(!carry, "a sum reaches 2^256");
    out
}

/// `a − b` modulo 2^256, and whether it is negative.
#[inline(always)]
pub(crate) fn difference(a: &Words, b: &Words) -> (Words, bool) {
    let mut out = [0; 4];
    let mut borrow = false;
    for i in 0..4 {
        (out[i], borrow) = a[i].borrowing_sub(b[i], borrow);
    }
    (out, borrow)
}

/// The element that a number below p is.
#[inline(always)]
pub(crate) fn element<M: Modulus>(words: Words) -> Element<M> {
    assert_bound!(difference(&words, &M::MODULUS.0).1, "an element is not reduced");
    Element::<M>::new_unchecked(BigInt::new(words))
}
