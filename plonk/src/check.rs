//! Tells whether a witness satisfies a circuit, and if not, where it fails first.
//!
//! This is the slow, plain reading of the arithmetization: every gate on every row, every tie of the
//! permutation, every lookup. The prover does not need it; people who write circuits do.

use std::collections::HashSet;
use std::fmt;

use ark_ff::PrimeField;
use rollmill_algebra::Fr;

use crate::builder::Place;
use crate::gates::{Cells, Challenges, Constants, Gate, Sink, constraints};
use crate::layout::{FixedRow, Layout, Witness};
use crate::shape::{LIMBS, ROUTED, fixed};

/// The first thing that is wrong with a witness. Each names the row, the line of the circuit's code that laid it
/// out, and the section.
///
/// The message has no value of the witness, so that it can go to a log or over a wire. Its `Debug` form has the
/// routed cells of the row, for whoever writes the circuit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A gate's equation does not hold.
    ///
    /// Do: Correct the witness: the message names the row, the value's `Debug` form its cells.
    #[error("{code}: gate {gate:?}, equation {equation}, is not satisfied at row {row}", code = self.code())]
    Gate { gate: Gate, equation: usize, row: Place, cells: Box<RoutedCells> },
    /// Two cells that must be equal differ.
    ///
    /// Do: Correct the witness: the message names the cell.
    #[error("{code}: cell (row {row}, column {column}) differs from a cell it is tied to", code = self.code())]
    Tie { row: Place, column: usize },
    /// A limb cell is outside the range table.
    ///
    /// Do: Correct the witness, or split the value into limbs that fit.
    #[error("{code}: limb cell (row {row}, column {column}) is not below 2^{bits}", code = self.code())]
    Range { row: Place, column: usize, bits: u32 },
    /// A ROM read matches no written entry.
    ///
    /// Do: Correct the witness, or write the entry.
    #[error("{code}: the ROM read at row {row} matches no written entry", code = self.code())]
    Rom { row: Place },
}

rollmill_errors::coded! {
    Violation {
        Self::Gate { .. } => "PLK-010",
        Self::Tie { .. } => "PLK-011",
        Self::Range { .. } => "PLK-012",
        Self::Rom { .. } => "PLK-013",
    }
}

/// Routed cells of a row: values of the witness, which may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RoutedCells(pub [Fr; ROUTED]);

impl fmt::Debug for RoutedCells {
    /// Writes each cell as the integer of least size that is congruent to it, so that −1 is short.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let integer = |cell: &Fr| {
            let negative = -*cell;
            match negative.into_bigint() < cell.into_bigint() {
                true => format!("-{negative}"),
                false => cell.to_string(),
            }
        };
        write!(f, "[{}]", self.0.each_ref().map(integer).join(", "))
    }
}

#[derive(Default)]
struct FirstNonZero {
    found: Option<(Gate, usize)>,
}

impl Sink<Fr> for FirstNonZero {
    fn group(&mut self, gate: Gate, selector: &Fr, terms: &[Fr]) {
        if self.found.is_some() || *selector == Fr::from(0u64) || gate.is_argument() {
            return;
        }
        if let Some(equation) = terms.iter().position(|t| *t != Fr::from(0u64)) {
            self.found = Some((gate, equation));
        }
    }
    fn single(&mut self, gate: Gate, term: Fr) {
        if self.found.is_none() && term != Fr::from(0u64) && !gate.is_argument() {
            self.found = Some((gate, 0));
        }
    }
}

/// Checks a witness against a circuit.
///
/// # Errors
/// The first violation, by row for ranges and gates, then ties and ROM reads.
pub fn check(layout: &Layout, witness: &Witness) -> Result<(), Violation> {
    let zero = Fr::from(0u64);
    let challenges = Challenges { eta: zero, beta: zero, gamma: zero };
    let constants = Constants::new(challenges, layout.shape.cell_bits);
    let usable = layout.shape.usable_rows();
    let wire = |column: usize, row: usize| witness.wires[column][row];
    for row in 0..usable {
        let f = layout.fixed_row(row);
        let limb = |column: usize| wire(ROUTED + column, row);
        if !f.external && !f.internal {
            for column in 0..LIMBS {
                let cell = limb(column).into_bigint();
                if cell.0[0] >> layout.shape.cell_bits != 0 || cell.0[1..] != [0, 0, 0] {
                    let row = layout.place(row, None);
                    return Err(Violation::Range { row, column, bits: layout.shape.cell_bits });
                }
            }
        }
        // Every constraint of a row without switches is zero times something; most rows are such.
        if row >= witness.public.len() && f == FixedRow::default() {
            continue;
        }
        let mut columns = [zero; fixed::COUNT];
        columns[..fixed::SIGMA].copy_from_slice(&f.cells());
        let at = |r: usize| (row + r).min(layout.shape.n() - 1);
        let cells = Cells {
            w: std::array::from_fn(|r| std::array::from_fn(|k| wire(k, at(r)))),
            l: std::array::from_fn(|r| std::array::from_fn(|k| wire(ROUTED + k, at(r)))),
            fixed: columns,
            m: zero,
            h: [zero; 2],
            z: [zero; 2],
            s: [zero; 2],
            x: zero,
            active: Fr::from(1u64),
            first: zero,
            last: zero,
            public: witness.public.get(row).copied().unwrap_or(zero),
        };
        let mut sink = FirstNonZero::default();
        constraints(&constants, &cells, &mut sink);
        if let Some((gate, equation)) = sink.found {
            let row = layout.place_of_gate(row, gate, equation);
            return Err(Violation::Gate {
                gate,
                equation,
                row,
                cells: Box::new(RoutedCells(cells.w[0])),
            });
        }
    }
    check_ties(layout, witness)?;
    check_rom(layout, witness)
}

fn check_ties(layout: &Layout, witness: &Witness) -> Result<(), Violation> {
    let count = layout.routed.iter().flatten().max().map_or(1, |most| *most as usize + 1);
    let mut seen: Vec<Option<Fr>> = vec![None; count];
    let blank = [0; ROUTED];
    for row in 0..layout.shape.usable_rows() {
        let vars = layout.routed.get(row).unwrap_or(&blank);
        for (column, var) in vars.iter().enumerate() {
            let value = witness.wires[column][row];
            if *seen[*var as usize].get_or_insert(value) != value {
                return Err(Violation::Tie { row: layout.place(row, Some(column)), column });
            }
        }
    }
    Ok(())
}

fn check_rom(layout: &Layout, witness: &Witness) -> Result<(), Violation> {
    let tuple = |row: usize| -> [Fr; 10] {
        let w = |k: usize, r: usize| witness.wires[k][row + r];
        std::array::from_fn(|i| match i {
            0 => w(3, 0),
            1 => w(0, 0),
            i if i < 6 => w(i - 2, 1),
            i => w(i - 6, 2),
        })
    };
    let mut written = HashSet::new();
    let mut reads = Vec::new();
    for row in 0..layout.rows_used {
        let f = layout.fixed_row(row);
        match (f.read, f.write) {
            (false, true) => {
                written.insert(tuple(row));
            }
            (true, false) => reads.push(row),
            _ => {}
        }
    }
    match reads.into_iter().find(|&row| !written.contains(&tuple(row))) {
        Some(row) => Err(Violation::Rom { row: layout.place(row, None) }),
        None => Ok(()),
    }
}
