//! The fixed shape of every circuit: its columns and their indices.
//!
//! One shape serves all circuits, so that one verifier (native, in a circuit, in Solidity) reads
//! any of their proofs. `docs/book/arithmetization.md` argues for the numbers.

use rollmill_algebra::Fr;

/// Routed columns: their cells take part in the permutation.
pub const ROUTED: usize = 4;
/// Limb columns: unrouted, each cell looked up in the range table except on Poseidon2 rows.
pub const LIMBS: usize = 8;
/// Wire columns, routed ones first.
pub const WIRES: usize = ROUTED + LIMBS;
/// Rotations at which routed columns are opened: this row and the two after it.
pub const ROUTED_ROTATIONS: usize = 3;
/// Rotations at which limb columns, the permutation product and the bus sum are opened.
pub const NEXT_ROTATIONS: usize = 2;
/// Coefficient columns.
pub const COEFFICIENTS: usize = 8;
/// Helper columns of the lookup bus, four limb cells each.
pub const HELPERS: usize = 2;
/// Chunks of degree below `n` (plus one blinding term) that the quotient is split into: the highest degree of a
/// constraint, selector included, minus one.
///
/// A literal, since it is the length of arrays, and the degrees cannot be computed in a constant: the gates are
/// generic functions over [`rollmill_algebra::device::Expr`], and a constant cannot call methods of traits.
/// [`crate::analysis::degree::degrees`] computes them, and its test names the gate that exceeds this number, or
/// fails if a chunk is not needed.
pub const QUOTIENT_CHUNKS: usize = 5;
/// Rows at the end of the domain that contain only randomness. The first of them ends the permutation
/// product and the bus sum; every column keeps at least five random cells, one more than the
/// commitment and the three openings of a routed column reveal.
pub const BLINDING_ROWS: usize = 6;
/// Rows before the blinding rows that stay empty, so that no gate reaches into the blinding.
pub const GUARD_ROWS: usize = 2;

/// Index of each fixed column.
pub mod fixed {
    /// First of the eight coefficient columns.
    pub const C: usize = 0;
    /// One where the arithmetic gate is on.
    pub const ARITH: usize = 8;
    /// Which wide gate is on: 0 none, else its [`crate::gates::Gate::kind`].
    pub const KIND: usize = 9;
    /// One on a row of two external Poseidon2 rounds.
    pub const EXTERNAL: usize = 10;
    /// One on a row of eight internal Poseidon2 rounds.
    pub const INTERNAL: usize = 11;
    /// One where the row reads the ROM; with [`WRITE`], the row is a Poseidon2 entry layer instead.
    pub const READ: usize = 12;
    /// One where the row writes the ROM.
    pub const WRITE: usize = 13;
    /// First of the four permutation columns.
    pub const SIGMA: usize = 14;
    /// Range table.
    pub const TABLE: usize = 18;
    /// How many fixed columns there are.
    pub const COUNT: usize = 19;
    /// The first of those that the lookup bus and the permutation read: the rest are of gates alone.
    pub const ARGUMENTS: usize = EXTERNAL;
}

/// Generator of the multiplicative group of Fr; its powers generate disjoint cosets of any subgroup of
/// two-power order.
pub const GENERATOR: u64 = 5;

/// Coset representatives `k_i` of the permutation argument: column `i` names its cell at row `j` by
/// `k_i · ω^j`.
pub fn column_cosets() -> [Fr; ROUTED] {
    [Fr::from(1u64), Fr::from(5u64), Fr::from(25u64), Fr::from(125u64)]
}

/// What distinguishes one circuit's arithmetization from another's, besides its fixed columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// Base-2 logarithm of the number of rows.
    pub log_n: u32,
    /// Number of public inputs, which are in the first rows of column 0.
    pub n_public: u32,
    /// Bits of a limb cell: the range table contains `0 .. 2^cell_bits`.
    pub cell_bits: u32,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { log_n, n_public, cell_bits } = self;
        write!(f, "2^{log_n} rows, {n_public} public inputs and limb cells of {cell_bits} bits")
    }
}

impl Shape {
    /// Number of rows.
    pub fn n(&self) -> usize {
        1 << self.log_n
    }
    /// First blinding row.
    pub fn usable_rows(&self) -> usize {
        self.n() - BLINDING_ROWS
    }
}
