//! Programs: artifacts as files, and their sizes.

use std::fmt;
use std::path::Path;

use rollmill_acir::artifact::{Artifact, Function, Limits};
use rollmill_acir::lower::{Options, lower};
use serde::Serialize;

use crate::NoirError;
use crate::files::read;

/// Reads a function of an artifact.
///
/// # Errors
/// [`NoirError::Read`], [`NoirError::TooLarge`] and [`NoirError::Artifact`]
pub fn load(path: &Path, function: &str) -> Result<Function, NoirError> {
    let limits = Limits::default();
    let artifact = Artifact::parse(&read(path, limits.file_bytes)?, &limits)?;
    Ok(artifact.function(function)?.clone())
}

/// Widths of limb cells that [`fitting`] tries, in bits.
const WIDTHS: [u32; 3] = [12, 10, 8];

/// `options` with the width of limb cells under which a function's circuit is padded to the fewest rows; of equal ones
/// the largest of 12, 10 and 8 bits. A circuit is never shorter than the table of its cells, so narrower ones make
/// circuits of few rows smaller.
///
/// # Errors
/// [`NoirError::Artifact`], [`NoirError::Lower`] and [`NoirError::Layout`]
pub fn fitting(function: &Function, options: &Options) -> Result<Options, NoirError> {
    let padded = |cell_bits: u32| -> Result<u32, NoirError> {
        let options = Options { cell_bits, ..*options };
        Ok(lower(function.circuit()?, None, &options)?.builder.layout(None)?.shape.log_n)
    };
    let [first, narrower @ ..] = WIDTHS;
    let mut best = (padded(first)?, first);
    for cell_bits in narrower {
        // Where the table is not what makes the circuit long, narrower cells only take more rows.
        if best.0 > best.1 + 1 {
            break;
        }
        let log_n = padded(cell_bits)?;
        if log_n < best.0 {
            best = (log_n, cell_bits);
        }
    }
    Ok(Options { cell_bits: best.1, ..*options })
}

/// The size of a program's circuit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gates {
    /// Name of the function.
    pub function: String,
    /// Rows by kind of opcode, most rows first.
    pub families: Vec<Family>,
    /// What the rows of the circuit are more than those of all kinds: every circuit has some of no kind. Less than 0
    /// where opcodes of different kinds share rows, which count for each of them.
    pub other_rows: i64,
    /// Rows of the circuit, without padding.
    pub rows: usize,
    /// Base-2 logarithm of the rows with padding.
    pub log_n: u32,
    /// Public inputs: public parameters, return values, digests of the databus.
    pub public_inputs: u32,
    /// Bits of a limb cell.
    pub cell_bits: u32,
}

/// What the opcodes of one kind take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Family {
    /// The kind.
    pub opcode: String,
    /// How many there are.
    pub opcodes: usize,
    /// Their rows.
    pub rows: usize,
}

/// Counts the rows of a function.
///
/// # Errors
/// [`NoirError::Artifact`], [`NoirError::Lower`] and [`NoirError::Layout`]
pub fn gates(function: &Function, options: &Options) -> Result<Gates, NoirError> {
    let lowered = lower(function.circuit()?, None, options)?;
    let costs = lowered.costs.into_iter();
    let mut families: Vec<Family> = costs
        .map(|(opcode, cost)| Family { opcode, opcodes: cost.opcodes, rows: cost.rows })
        .collect();
    // Stable, so that equal ones stay in the order of their names.
    families.sort_by_key(|family| std::cmp::Reverse(family.rows));
    let counted: usize = families.iter().map(|family| family.rows).sum();
    let layout = lowered.builder.layout(None)?;
    Ok(Gates {
        function: function.name.clone(),
        families,
        // Circuits have at most 2^25 rows.
        other_rows: layout.rows_used as i64 - counted as i64,
        rows: layout.rows_used,
        log_n: layout.shape.log_n,
        public_inputs: layout.shape.n_public,
        cell_bits: layout.shape.cell_bits,
    })
}

impl fmt::Display for Gates {
    /// A table for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>10} {:>10}", "opcode", "opcodes", "rows")?;
        for Family { opcode, opcodes, rows } in &self.families {
            writeln!(f, "{opcode:<24} {opcodes:>10} {rows:>10}")?;
        }
        let Self { function, other_rows, rows, log_n, public_inputs, cell_bits, .. } = self;
        let other = if *other_rows < 0 { "shared rows" } else { "rows of every circuit" };
        writeln!(f, "{other:<24} {:>10} {other_rows:>10}", "")?;
        writeln!(
            f,
            "{function}: {rows} rows, padded to 2^{log_n}; {public_inputs} public inputs, \
             limb cells of {cell_bits} bits"
        )
    }
}
