//! A finished circuit: its fixed structure ([`Layout`]) and one witness ([`Witness`]).

use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;
use rollmill_algebra::Fr;
use rollmill_algebra::field::{from_u64, omega};

use sha2::{Digest, Sha256};

use crate::builder::{Builder, LimbRow, Origins, Place};
use crate::gates::Gate;
use crate::recycled;
use crate::shape::{
    BLINDING_ROWS, COEFFICIENTS, GUARD_ROWS, LIMBS, ROUTED, Shape, WIRES, column_cosets, fixed,
};
use crate::weaken::{self, gone};

/// Why a circuit cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The circuit has more rows than the requested size.
    ///
    /// Do: Request a larger size, or shrink the circuit.
    #[error("{code}: the circuit needs {needed} rows, 2^{log_n} has {available} usable ones", code = self.code())]
    TooManyRows { needed: usize, log_n: u32, available: usize },
    /// Two rows write the same ROM address, so a prover could read either value.
    ///
    /// Do: Use one address per entry.
    #[error("{code}: rows {first} and {second} write one ROM address; give each entry its own", code = self.code())]
    WrittenTwice { first: u32, second: u32 },
    /// A row reads a ROM entry that no earlier row writes.
    ///
    /// Do: Write the entry before the read.
    #[error("{code}: row {row} reads a ROM entry that was not written before it", code = self.code())]
    UnmatchedRead { row: u32 },
    /// The circuit has a public input that nothing was tied to.
    ///
    /// Do: Call `Builder::set_public` for each input, or start the builder with fewer.
    #[error("{code}: public input {index} of {count} is not set; call set_public({index}, …) before finish", code = self.code())]
    PublicNotSet { index: usize, count: usize },
}

rollmill_errors::coded! {
    LayoutError {
        Self::TooManyRows { .. } => "PLK-001",
        Self::WrittenTwice { .. } => "PLK-002",
        Self::UnmatchedRead { .. } => "PLK-003",
        Self::PublicNotSet { .. } => "PLK-004",
    }
}

/// The fixed cells of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FixedRow {
    /// Coefficients.
    pub c: [Fr; COEFFICIENTS],
    /// Arithmetic gate on.
    pub arith: bool,
    /// Wide gate, see [`crate::gates::Gate::kind`].
    pub kind: u64,
    /// Two external Poseidon2 rounds.
    pub external: bool,
    /// Eight internal Poseidon2 rounds.
    pub internal: bool,
    /// ROM read.
    pub read: bool,
    /// ROM write.
    pub write: bool,
}

impl FixedRow {
    /// The row's cells in the columns before the permutation's, by their index in [`fixed`].
    pub fn cells(&self) -> [Fr; fixed::SIGMA] {
        // All fields are named, so that the compiler asks for the column of a new one.
        let Self { c, arith, kind, external, internal, read, write } = self;
        let mut cells = [Fr::ZERO; fixed::SIGMA];
        cells[fixed::C..fixed::C + COEFFICIENTS].copy_from_slice(c);
        for (column, on) in [
            (fixed::ARITH, arith),
            (fixed::EXTERNAL, external),
            (fixed::INTERNAL, internal),
            (fixed::READ, read),
            (fixed::WRITE, write),
        ] {
            cells[column] = if *on { Fr::ONE } else { Fr::ZERO };
        }
        cells[fixed::KIND] = from_u64(*kind);
        cells
    }
}

impl<'a> IntoIterator for &'a FixedColumns {
    type Item = &'a Vec<Fr>;
    type IntoIter = std::slice::Iter<'a, Vec<Fr>>;

    fn into_iter(self) -> Self::IntoIter {
        self.columns.iter()
    }
}

/// The structure of a circuit, the same for every witness.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Size, public inputs, width of limb cells.
    pub shape: Shape,
    /// Rows that the circuit itself takes, without padding.
    pub rows_used: usize,
    pub(crate) palette: Vec<FixedRow>,
    pub(crate) fixed: Vec<u32>,
    /// Numbers of the variables in the routed cells.
    pub(crate) routed: Vec<[u32; ROUTED]>,
    origins: Origins,
    fingerprint: Fingerprint,
}

/// Identifies a layout in memory: equal for all witnesses of one circuit, and different for circuits that differ
/// in a row or in the wiring.
///
/// It is SHA-256 of the rows as the builder has them, which takes milliseconds, so that [`crate::prover::prove`]
/// can compare a key with a witness each time. Files contain [`crate::key::layout_digest`] instead, which covers
/// the columns themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// The fixed columns of a layout, `n` values each, in the order of [`fixed`].
#[derive(Debug, Clone)]
pub struct FixedColumns {
    columns: Vec<Vec<Fr>>,
    pub(crate) shape: Shape,
    pub(crate) fingerprint: Fingerprint,
}

impl std::ops::Deref for FixedColumns {
    type Target = [Vec<Fr>];

    fn deref(&self) -> &[Vec<Fr>] {
        &self.columns
    }
}

/// The values of the wire columns and multiplicities, without blinding.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Public inputs, in order.
    pub public: Vec<Fr>,
    /// Twelve columns of `n` values, routed ones first.
    pub wires: Vec<Vec<Fr>>,
    /// Multiplicity column.
    pub m: Vec<Fr>,
    /// The layout that the witness was computed for.
    pub(crate) fingerprint: Fingerprint,
}

impl Witness {
    /// Keeps the memory of the columns for later witnesses of this process. Their values stay in it until they are
    /// overwritten, so this is for witnesses whose proofs hide nothing.
    pub fn recycle(self) {
        recycled::keep(self.wires.into_iter().chain([self.m]));
    }
}

impl Builder {
    /// Ends the circuit: the rows, padded to `2^log_n` (or to the smallest size that fits them).
    ///
    /// # Errors
    /// [`LayoutError`]
    #[track_caller]
    pub fn finish(mut self, log_n: Option<u32>) -> Result<(Layout, Witness), LayoutError> {
        self.end();
        let layout = structure(&mut self, log_n)?;
        let witness = witness(&self, &layout);
        Ok((layout, witness))
    }

    /// The circuit's structure, equal to that of [`Self::finish`], without the cost of the witness.
    ///
    /// # Errors
    /// [`LayoutError`]
    #[track_caller]
    pub fn layout(mut self, log_n: Option<u32>) -> Result<Layout, LayoutError> {
        self.end();
        structure(&mut self, log_n)
    }
}

/// Takes the structure out of a builder, which keeps the values.
fn structure(b: &mut Builder, log_n: Option<u32>) -> Result<Layout, LayoutError> {
    if let Some((first, second)) = b.written_twice
        && !gone("verifier.rom.twice")
    {
        return Err(LayoutError::WrittenTwice { first, second });
    }
    if let Some(&row) = b.unmatched_reads.first()
        && !gone("verifier.rom.unmatched")
    {
        return Err(LayoutError::UnmatchedRead { row });
    }
    let count = b.public.len();
    if let Some(index) = b.public.iter().position(Option::is_none) {
        return Err(LayoutError::PublicNotSet { index, count });
    }
    let rows = b.rows();
    let table = 1usize << b.cell_bits;
    let writes = b.rom.len();
    let needed = (rows + GUARD_ROWS).max(table + writes);
    let least = (needed + BLINDING_ROWS).next_power_of_two().trailing_zeros();
    let log_n = log_n.unwrap_or(least);
    if log_n < least {
        let available = (1usize << log_n).saturating_sub(BLINDING_ROWS);
        return Err(LayoutError::TooManyRows { needed, log_n, available });
    }
    let shape = Shape { log_n, n_public: count as u32, cell_bits: b.cell_bits };
    let palette = std::mem::take(&mut b.palette);
    let fixed = std::mem::take(&mut b.fixed);
    let routed = std::mem::take(&mut b.routed);
    let fingerprint = fingerprint(&shape, &palette, &fixed, &routed);
    let origins = std::mem::take(&mut b.origins);
    Ok(Layout { shape, rows_used: rows, palette, fixed, routed, origins, fingerprint })
}

/// Hashes a layout with its variables and its kinds of rows numbered in the order of their first use, so that
/// variables without a cell do not count.
fn fingerprint(
    shape: &Shape,
    palette: &[FixedRow],
    fixed: &[u32],
    routed: &[[u32; ROUTED]],
) -> Fingerprint {
    let mut hasher = Sha256::new();
    for number in [shape.log_n, shape.n_public, shape.cell_bits] {
        hasher.update(number.to_le_bytes());
    }
    hasher.update((fixed.len() as u64).to_le_bytes());
    let variables = routed.iter().flatten().max().map_or(0, |most| *most as usize + 1);
    let mut variables = Renumbered::new(variables);
    // `Builder::ZERO` comes first: padding is tied to it.
    variables.number(0);
    let mut kinds = Renumbered::new(palette.len());
    let mut part = Vec::with_capacity(ROWS_PER_PART * (ROUTED + 1) * 4);
    for (ids, vars) in fixed.chunks(ROWS_PER_PART).zip(routed.chunks(ROWS_PER_PART)) {
        part.clear();
        for (id, vars) in ids.iter().zip(vars) {
            let (kind, is_new) = kinds.number(*id);
            // The number first, so that it says whether the cells of a new kind follow.
            part.extend_from_slice(&kind.to_le_bytes());
            if is_new {
                let cells = palette[*id as usize].cells();
                let limbs = cells.iter().flat_map(|cell| cell.0.0);
                part.extend(limbs.flat_map(u64::to_le_bytes));
            }
            for var in vars {
                part.extend_from_slice(&variables.number(*var).0.to_le_bytes());
            }
        }
        hasher.update(&part);
    }
    Fingerprint(hasher.finalize().into())
}

/// Rows that are hashed at a time: few enough for the cache.
const ROWS_PER_PART: usize = 1024;

/// Numbers in the order of their first use.
struct Renumbered {
    new: Vec<u32>,
    used: u32,
}

impl Renumbered {
    fn new(count: usize) -> Self {
        Self { new: vec![u32::MAX; count.max(1)], used: 0 }
    }

    /// The new number, and whether this is its first use.
    fn number(&mut self, old: u32) -> (u32, bool) {
        let slot = &mut self.new[old as usize];
        if *slot != u32::MAX {
            return (*slot, false);
        }
        *slot = self.used;
        self.used += 1;
        (*slot, true)
    }
}

/// The values in an empty column, and zeros up to `n`.
fn column(mut column: Vec<Fr>, n: usize, values: impl Iterator<Item = Fr>) -> Vec<Fr> {
    column.extend(values);
    column.resize(n, Fr::ZERO);
    column
}

fn witness(b: &Builder, layout: &Layout) -> Witness {
    let n = layout.shape.n();
    let usable = layout.shape.usable_rows();
    // Column by column, so that each is written once, from the first row to the last.
    let routed = |k: usize| {
        let values = layout.routed.iter().map(|vars| b.values[vars[k] as usize]);
        (column(recycled::take(n), n, values), Vec::new())
    };
    let limbs = |k: usize| {
        let mut counts = vec![0u32; 1 << b.cell_bits];
        let values = b.limbs.iter().map(|limbs| match limbs {
            LimbRow::Small(cells) => {
                counts[usize::from(cells[k])] += u32::from(!gone(weaken::LIMB[k]));
                from_u64(cells[k].into())
            }
            LimbRow::Full(index) => b.full_limbs[*index as usize][k],
        });
        (column(recycled::take(n), n, values), counts)
    };
    let columns: Vec<(Vec<Fr>, Vec<u32>)> = (0..WIRES)
        .into_par_iter()
        .map(|k| if k < ROUTED { routed(k) } else { limbs(k - ROUTED) })
        .collect();
    let mut counts = vec![0u32; 1 << b.cell_bits];
    // Rows past the circuit's own have zeros in every limb cell, which are looked up as well.
    let counted = (0..LIMBS).filter(|k| !gone(weaken::LIMB[*k])).count();
    counts[0] += ((usable - layout.rows_used) * counted) as u32;
    let mut wires = Vec::with_capacity(WIRES);
    for (column, of_column) in columns {
        wires.push(column);
        counts.iter_mut().zip(of_column).for_each(|(count, more)| *count += more);
    }
    let mut m = column(recycled::take(n), n, std::iter::empty());
    let mut next = 0usize;
    for (row, reads) in m.iter_mut().enumerate().take(usable) {
        if layout.is_write(row) {
            continue;
        }
        let Some(&count) = counts.get(next) else { break };
        *reads = from_u64(count.into());
        next += 1;
    }
    for entry in b.rom.values() {
        m[entry.row as usize] = from_u64(entry.reads.into());
    }
    let public = layout.routed[..b.public.len()].iter().map(|vars| b.values[vars[0] as usize]);
    Witness { public: public.collect(), wires, m, fingerprint: layout.fingerprint }
}

impl Layout {
    fn is_write(&self, row: usize) -> bool {
        match self.fixed.get(row) {
            Some(&id) => {
                let fixed = &self.palette[id as usize];
                fixed.write && !fixed.read
            }
            None => false,
        }
    }

    /// The fixed cells of a row. Rows past the circuit's own are blank.
    pub fn fixed_row(&self, row: usize) -> FixedRow {
        self.fixed.get(row).map(|&id| self.palette[id as usize].clone()).unwrap_or_default()
    }

    /// The layout's identity, for comparisons in memory.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Where a row was laid out. `column` is the routed cell in question, if there is one.
    pub fn place(&self, row: usize, column: Option<usize>) -> Place {
        self.origins.place(row, column)
    }

    /// Where the row was laid out whose gate breaks at this equation.
    pub(crate) fn place_of_gate(&self, row: usize, gate: Gate, equation: usize) -> Place {
        self.origins.place_of_gate(row, gate, equation)
    }

    /// The fixed columns of `n` values each, in the order of [`fixed`].
    ///
    /// On the blinding rows every fixed cell but the permutation's is zero. No column is zero on all
    /// rows, since every circuit contains at least one Poseidon2 permutation and one pack (see
    /// [`Builder::finish`]); so no commitment in a key is the identity.
    pub fn fixed_columns(&self) -> FixedColumns {
        let n = self.shape.n();
        let usable = self.shape.usable_rows();
        let table = || {
            let mut values = vec![Fr::ZERO; n];
            let free_rows = (0..usable).filter(|row| !self.is_write(*row));
            for (value, row) in (0..1u64 << self.shape.cell_bits).zip(free_rows) {
                values[row] = from_u64(value);
            }
            values
        };
        // A circuit has few kinds of rows.
        let palette: Vec<[Fr; fixed::SIGMA]> = self.palette.iter().map(FixedRow::cells).collect();
        let cells = |k: usize| {
            column(Vec::with_capacity(n), n, self.fixed.iter().map(|id| palette[*id as usize][k]))
        };
        let (mut columns, sigma) = rayon::join(
            || (0..fixed::SIGMA).into_par_iter().map(cells).collect::<Vec<_>>(),
            || self.sigma(),
        );
        columns.extend(sigma);
        columns.push(table());
        FixedColumns { columns, shape: self.shape, fingerprint: self.fingerprint }
    }

    /// Permutation columns: the name of the next cell in each cell's cycle.
    pub fn sigma(&self) -> Vec<Vec<Fr>> {
        let n = self.shape.n();
        let usable = self.shape.usable_rows();
        let cosets = column_cosets();
        let generator = omega(self.shape.log_n);
        let mut powers = Vec::with_capacity(n);
        let mut power = Fr::ONE;
        for _ in 0..n {
            powers.push(power);
            power *= generator;
        }
        let name = |cell: u64| cosets[(cell % 4) as usize] * powers[(cell / 4) as usize];
        // first[v], last[v]: the ends of the chain of cells with value v so far, cell = 4 · row + column.
        let n_vars = self.routed.iter().flatten().max().map_or(1, |most| *most as usize + 1);
        let mut first = vec![u64::MAX; n_vars];
        let mut last = vec![u64::MAX; n_vars];
        let mut sigma = vec![vec![Fr::from(0u64); n]; ROUTED];
        let zero = [0; ROUTED];
        for row in 0..usable {
            let vars = self.routed.get(row).unwrap_or(&zero);
            for (column, var) in vars.iter().enumerate() {
                let cell = 4 * row as u64 + column as u64;
                let v = *var as usize;
                if last[v] == u64::MAX {
                    first[v] = cell;
                } else {
                    let previous = last[v];
                    sigma[(previous % 4) as usize][(previous / 4) as usize] = name(cell);
                }
                last[v] = cell;
            }
        }
        for (v, &cell) in last.iter().enumerate() {
            if cell != u64::MAX {
                sigma[(cell % 4) as usize][(cell / 4) as usize] = name(first[v]);
            }
        }
        for row in usable..n {
            for (column, values) in sigma.iter_mut().enumerate() {
                values[row] = name(4 * row as u64 + column as u64);
            }
        }
        sigma
    }
}
