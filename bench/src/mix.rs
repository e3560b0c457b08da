//! The circuit that the bench proves, defined once for every prover that is measured on it.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};

/// What the circuit starts from; public.
pub(crate) const START: u64 = 3;
/// Separates the circuit's hashes from any others.
pub(crate) const HASH_DOMAIN: u64 = 9;

/// A builder of a prover's circuit.
pub(crate) trait Mix {
    /// A cell of the circuit with a value.
    type Cell: Copy;
    /// The sponge over the value twice: one permutation of Poseidon2.
    fn hash(&mut self, x: Self::Cell) -> Self::Cell;
    /// x times its own low bits, which are checked to be that few.
    fn times_low(&mut self, x: Self::Cell, bits: u32) -> Self::Cell;
}

/// Hashes, range checks and products in the mix of a recursive verifier, to fill `2^log_n` rows of our
/// own. Returns the last value, which the circuit makes public.
pub(crate) fn lay<M: Mix>(mix: &mut M, start: M::Cell, log_n: u32) -> M::Cell {
    // A range check takes four cells.
    let bits = 4 * cell_bits(log_n);
    let mut x = start;
    for i in 0..(1usize << log_n) / 4 {
        if i % 8 == 0 {
            x = mix.hash(x);
        }
        x = mix.times_low(x, bits);
    }
    x
}

/// Width of a limb cell.
pub(crate) fn cell_bits(log_n: u32) -> u32 {
    16.min(log_n - 1)
}

/// The low bits of a value.
pub(crate) fn low_bits(value: &Fr, bits: u32) -> Fr {
    let (low, _) = rollmill_plonk::transcript::halves(value);
    Fr::from(low as u64 & (u64::MAX >> (64 - bits)))
}

impl Mix for Builder {
    type Cell = Var;
    fn hash(&mut self, x: Var) -> Var {
        Builder::hash(self, HASH_DOMAIN, &[x, x])
    }
    fn times_low(&mut self, x: Var, bits: u32) -> Var {
        let low = low_bits(&self.value(x), bits);
        let low = self.witness(low);
        self.range(low, bits);
        self.mul(x, low)
    }
}
