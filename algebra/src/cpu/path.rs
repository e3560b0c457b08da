//! The paths of the CPU device: which code computes.

use std::fmt;

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::ifma::Ifma;
#[cfg(target_arch = "x86_64")]
use super::words::Adx;

/// The code that a [`super::CpuDevice`] computes with. All paths return the same bytes.
///
/// Other paths than the fastest are for tests and benchmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CpuPath {
    /// Products of 64-bit words in Rust, on every processor. The twin of the others.
    Portable,
    /// Products of 64-bit words with `mulx`, `adcx` and `adox`, on x86-64 with BMI2 and ADX.
    Adx,
    /// As [`Self::Adx`], with row kernels, transforms and additions of points four at a time, on x86-64 with
    /// AVX2 too.
    Avx2,
    /// Eight elements at a time, on x86-64 with AVX-512 IFMA.
    Ifma,
}

impl CpuPath {
    /// Every path, the slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Adx, Self::Avx2, Self::Ifma];

    /// Whether a device takes this path by itself where it is the fastest. `Avx2` has not been measured on enough
    /// processors.
    pub const fn is_automatic(self) -> bool {
        !matches!(self, Self::Avx2)
    }

    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Adx => Adx::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Adx::detect().is_some() && Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma => Ifma::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Adx | Self::Avx2 | Self::Ifma => false,
        }
    }

    /// Its name in that of a device: `portable`, `adx`, `avx2` or `ifma`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Adx => "adx",
            Self::Avx2 => "avx2",
            Self::Ifma => "ifma",
        }
    }
}

impl fmt::Display for CpuPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
