//! Looks at a finished circuit for constraints that are not there.
//!
//! A test that changes one cell finds a cell that no constraint reads. It does not find a relation among several
//! cells that was lost, a range that an honest prover never leaves, or a copy that went missing. These
//! analyses do, for every circuit alike: [`freedom`] counts what a prover may choose, [`coverage`] shows that
//! every limb of non-native arithmetic has a range. Both read the circuit as the keys contain it: cells are
//! tied by the permutation columns, not by the variables of the builder. [`degree`] reads the gates only.

use std::collections::HashMap;

use rollmill_algebra::Fr;
use rollmill_algebra::field::omega;

use crate::layout::Layout;
use crate::shape::{ROUTED, column_cosets};

pub mod coverage;
pub mod degree;
mod dual;
pub mod freedom;

/// The cycles of the permutation over the rows that the circuit uses.
#[derive(Debug)]
pub(crate) struct Cycles {
    /// Cycle of each routed cell, the cell of column k at row j being number `4·j + k`.
    of: Vec<u32>,
    /// First cell of each cycle, in ascending order.
    pub(crate) first: Vec<usize>,
}

impl Cycles {
    /// Follows the permutation columns from cell to cell.
    pub(crate) fn new(layout: &Layout) -> Self {
        let n = layout.shape.n();
        let (generator, cosets) = (omega(layout.shape.log_n), column_cosets());
        let mut names = HashMap::with_capacity(ROUTED * n);
        let mut power = Fr::from(1u64);
        for row in 0..n {
            for (column, coset) in cosets.iter().enumerate() {
                names.insert(*coset * power, ROUTED * row + column);
            }
            power *= generator;
        }
        let sigma = layout.sigma();
        let mut this = Self { of: vec![u32::MAX; ROUTED * n], first: Vec::new() };
        for cell in 0..ROUTED * layout.rows_used {
            let mut at = cell;
            while this.of[at] == u32::MAX {
                this.of[at] = this.first.len() as u32;
                // A name that no cell has ends the cycle: a column that is no permutation ties nothing.
                let Some(next) = names.get(&sigma[at % ROUTED][at / ROUTED]) else { break };
                at = *next;
            }
            if this.of[cell] as usize == this.first.len() {
                this.first.push(cell);
            }
        }
        this
    }

    pub(crate) fn count(&self) -> usize {
        self.first.len()
    }

    /// Cycle of a routed cell; none for one that only rows past the circuit's own share.
    pub(crate) fn at(&self, row: usize, column: usize) -> Option<usize> {
        let cycle = *self.of.get(ROUTED * row + column)?;
        (cycle != u32::MAX).then_some(cycle as usize)
    }
}
