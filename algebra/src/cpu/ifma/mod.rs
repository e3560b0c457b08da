//! Field and curve work on eight lanes at once, with AVX-512 IFMA: products of 52-bit limbs.
//!
//! These files alone may use `unsafe`. Each function that needs the instructions states it in a
//! `target_feature` attribute, and is reached only through an [`Ifma`], which exists only where the
//! processor has them.
//!
//! # Numbers
//! A lane has five limbs of 52 bits, least significant first, so numbers below 2^260. Both moduli
//! of BN254 are above 2^253.5, so a lane fits up to 84 times the modulus p, and most sums need no
//! reduction. The comment of a function states the multiples of p that bound its inputs and outputs. Products
//! are Montgomery's with R = 2^260; a number in arkworks' form (R = 2^256) times one in this form is
//! again in arkworks' form, so a transform converts its roots and never its data.
#![allow(unsafe_code)]

pub(in crate::cpu) mod curve;
mod field;
mod invert;
pub(in crate::cpu) mod ntt;
mod poseidon2;
pub(in crate::cpu) mod rows;
mod scalars;
pub(in crate::cpu) mod scan;
mod sums;
mod vector;

/// Proof that the processor has the instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ifma(());

impl Ifma {
    /// Asks the processor.
    pub(crate) fn detect() -> Option<Self> {
        let has = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512ifma");
        has.then_some(Self(()))
    }
}
