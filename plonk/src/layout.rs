//! A finished circuit: its fixed structure ([`Layout`]) and one witness ([`Witness`]).

use ark_ff::Field;
use rollmill_algebra::{Fr, field::omega};

use crate::builder::{Builder, LimbRow, Var};
use crate::shape::{
    BLINDING_ROWS, COEFFICIENTS, GUARD_ROWS, LIMBS, ROUTED, Shape, WIRES, column_cosets, fixed,
};

/// Why a circuit cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// More rows than the asked size has.
    #[error("PLK-001: the circuit needs {needed} rows, 2^{log_n} has {available} usable ones")]
    TooManyRows { needed: usize, log_n: u32, available: usize },
}

/// The fixed cells of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FixedRow {
    /// Coefficients.
    pub c: [Fr; COEFFICIENTS],
    /// Arithmetic gate on.
    pub arith: bool,
    /// Wide gate, see [`crate::shape::kind`].
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

/// The structure of a circuit, the same for every witness.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Size, public inputs, width of limb cells.
    pub shape: Shape,
    /// Rows that the circuit itself takes, without padding.
    pub rows_used: usize,
    pub(crate) palette: Vec<FixedRow>,
    pub(crate) fixed: Vec<u32>,
    pub(crate) routed: Vec<[Var; ROUTED]>,
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
}

pub(crate) fn finish(b: Builder, log_n: Option<u32>) -> Result<(Layout, Witness), LayoutError> {
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
    let shape = Shape { log_n, n_public: b.n_public, cell_bits: b.cell_bits };
    let layout = Layout {
        shape,
        rows_used: rows,
        palette: b.palette.clone(),
        fixed: b.fixed.clone(),
        routed: b.routed.clone(),
    };
    let witness = witness(&b, &layout);
    Ok((layout, witness))
}

fn witness(b: &Builder, layout: &Layout) -> Witness {
    let n = layout.shape.n();
    let usable = layout.shape.usable_rows();
    let mut wires = vec![vec![Fr::from(0u64); n]; WIRES];
    let mut counts = vec![0u32; 1 << b.cell_bits];
    // Rows past the circuit's own hold zeros in every limb cell, and are looked up as well.
    counts[0] += ((usable - b.rows()) * LIMBS) as u32;
    for (row, vars) in b.routed.iter().enumerate() {
        for (k, var) in vars.iter().enumerate() {
            wires[k][row] = b.value(*var);
        }
        match b.limbs[row] {
            LimbRow::Small(cells) => {
                for (k, cell) in cells.into_iter().enumerate() {
                    if cell != 0 {
                        wires[ROUTED + k][row] = Fr::from(cell);
                    }
                    counts[usize::from(cell)] += 1;
                }
            }
            LimbRow::Full(index) => {
                for (k, cell) in b.full_limbs[index as usize].iter().enumerate() {
                    wires[ROUTED + k][row] = *cell;
                }
            }
        }
    }
    let mut m = vec![Fr::from(0u64); n];
    let mut next = 0usize;
    for (row, reads) in m.iter_mut().enumerate().take(usable) {
        if layout.is_write(row) {
            continue;
        }
        let Some(&count) = counts.get(next) else { break };
        *reads = Fr::from(count);
        next += 1;
    }
    for entry in b.rom.values() {
        m[entry.row as usize] = Fr::from(entry.reads);
    }
    let public = (0..b.n_public as usize).map(|i| b.value(b.routed[i][0])).collect();
    Witness { public, wires, m }
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

    /// The fixed cells of a row.
    pub fn fixed_row(&self, row: usize) -> FixedRow {
        self.fixed.get(row).map(|&id| self.palette[id as usize].clone()).unwrap_or_default()
    }

    /// The fixed columns of `n` values each, in the order of [`fixed`].
    ///
    /// On the blinding rows every fixed cell but the permutation's is zero. No column is zero on all
    /// rows, since every circuit holds at least one Poseidon2 permutation and one pack (see
    /// [`Builder::finish`]); so no commitment in a key is the identity.
    pub fn fixed_columns(&self) -> Vec<Vec<Fr>> {
        let n = self.shape.n();
        let usable = self.shape.usable_rows();
        let one = Fr::from(1u64);
        let mut columns = vec![vec![Fr::from(0u64); n]; fixed::COUNT];
        for (row, &id) in self.fixed.iter().enumerate() {
            let f = &self.palette[id as usize];
            for (i, c) in f.c.iter().enumerate() {
                columns[fixed::C + i][row] = *c;
            }
            let flags = [
                (fixed::ARITH, f.arith),
                (fixed::EXTERNAL, f.external),
                (fixed::INTERNAL, f.internal),
                (fixed::READ, f.read),
                (fixed::WRITE, f.write),
            ];
            for (column, on) in flags {
                if on {
                    columns[column][row] = one;
                }
            }
            columns[fixed::KIND][row] = Fr::from(f.kind);
        }
        let free_rows = (0..usable).filter(|row| !self.is_write(*row));
        for (value, row) in (0..1u64 << self.shape.cell_bits).zip(free_rows) {
            columns[fixed::TABLE][row] = Fr::from(value);
        }
        for (i, sigma) in self.sigma().into_iter().enumerate() {
            columns[fixed::SIGMA + i] = sigma;
        }
        columns
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
        // first[v], last[v]: the ends of the chain of cells that hold v so far, cell = 4 · row + column.
        let n_vars = self.routed.iter().flatten().map(|v| v.0).max().unwrap_or(0) as usize + 1;
        let mut first = vec![u64::MAX; n_vars];
        let mut last = vec![u64::MAX; n_vars];
        let mut sigma = vec![vec![Fr::from(0u64); n]; ROUTED];
        let zero = [Builder::ZERO; ROUTED];
        for row in 0..usable {
            let vars = self.routed.get(row).unwrap_or(&zero);
            for (column, var) in vars.iter().enumerate() {
                let cell = 4 * row as u64 + column as u64;
                let v = var.0 as usize;
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
