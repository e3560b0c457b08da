//! Field work on four lanes at once with AVX2, for processors that have no AVX-512 IFMA: products of 29-bit limbs.
//!
//! All files but this one may use `unsafe`. Each function that needs the instructions states it in a
//! `target_feature` attribute, and is reached only through an [`Avx2`], which exists only where the processor has them.
//!
//! # Why
//! A processor multiplies two words of 64 bits in a cycle, or eight pairs of 32 bits in vectors, on units that the
//! words leave idle. A product of nine limbs is 81 of those for four lanes at once and its reduction 90 more, so
//! that four products with one reduction are 13 cycles each where words take 21; and a sum of two numbers is nine
//! additions for four lanes, without carries.
//!
//! # Numbers
//! A lane has nine limbs of 29 bits, least significant first, so numbers below 2^261. Both moduli are below
//! `0.1891 · 2^256`, so that is 169 times the modulus p. A number is *normal* if each limb is below 2^29. The
//! comment of a function states the multiples of p that bound its inputs and outputs. Products are Montgomery's with
//! R = 2^261: an element in arkworks' form (R = 2^256), shifted left by five bits, is in this one.
//! Twins: row kernels, transforms and additions of points on words.

pub(in crate::cpu) mod curve;
mod field;
pub(in crate::cpu) mod ntt;
pub(in crate::cpu) mod rows;

/// Proof that the processor has the instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// Asks the processor.
    pub(crate) fn detect() -> Option<Self> {
        std::arch::is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}
