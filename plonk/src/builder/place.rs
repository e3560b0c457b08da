//! Which call of the circuit's code laid out a row, so that an error about the row can name it.

use std::fmt;
use std::panic::Location;

use crate::gates::Gate;
use crate::shape::ROUTED;

/// The call that laid out a row, and the section that was open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Number of the section, from 1; 0 before the first.
    pub(crate) section: u32,
    pub(crate) at: &'static Location<'static>,
}

/// The origin of each row of a circuit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    rows: Vec<Origin>,
    /// Rows that serve several calls, such as range checks, with the origin of each cell; by row.
    cells: Vec<(usize, [Origin; ROUTED])>,
    /// Names of the sections, in order; empty until the circuit is finished.
    pub(crate) sections: Vec<String>,
}

impl Origins {
    pub(crate) fn push(&mut self, origin: Origin) {
        self.rows.push(origin);
    }

    pub(crate) fn set(&mut self, row: usize, origin: Origin) {
        self.rows[row] = origin;
    }

    /// Sets the origin of each routed cell of the last row.
    pub(crate) fn set_cells(&mut self, row: usize, origins: [Origin; ROUTED]) {
        self.rows[row] = origins[0];
        if origins != [origins[0]; ROUTED] {
            self.cells.push((row, origins));
        }
    }

    /// Where a row comes from. `cell` is the routed cell in question, if there is one.
    pub(crate) fn place(&self, row: usize, cell: Option<usize>) -> Place {
        let several = self.cells.binary_search_by_key(&row, |(row, _)| *row).ok();
        let origin = match (several, cell) {
            (Some(at), Some(cell)) => self.cells[at].1.get(cell).copied(),
            _ => self.rows.get(row).copied(),
        };
        let section = |origin: Origin| self.sections.get(origin.section.checked_sub(1)? as usize);
        Place {
            row,
            section: origin.and_then(section).cloned(),
            at: origin.map(|origin| origin.at),
        }
    }

    /// [`Self::place`] of a row whose gate breaks at this equation. An equation of the vector gate is about one
    /// cell.
    pub(crate) fn place_of_gate(&self, row: usize, gate: Gate, equation: usize) -> Place {
        self.place(row, (gate == Gate::Vector).then_some(equation))
    }
}

/// A row of a circuit, and the call of the circuit's code that laid it out.
///
/// Displayed as `17, laid out at src/main.rs:30:7 in section "balances"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The row's number, from 0.
    pub row: usize,
    /// The section that was open ([`super::Builder::section`]), if one was.
    pub section: Option<String>,
    /// The line that called the builder; `None` for padding.
    pub at: Option<&'static Location<'static>>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, section, at } = self;
        match at {
            Some(at) => write!(f, "{row}, laid out at {at}")?,
            None => write!(f, "{row}, which is padding")?,
        }
        match section {
            Some(section) => write!(f, " in section {section:?}"),
            None => Ok(()),
        }
    }
}
