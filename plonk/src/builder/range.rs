//! Range checks: four variables share two rows.

use ark_ff::PrimeField;
use rollmill_algebra::Fr;

use super::{Builder, Origin, Var};
use crate::layout::FixedRow;
use crate::weaken::gone;

impl Builder {
    /// Constrains `0 ≤ a < 2^bits`, for `bits` up to four limb cells. The check is laid out later,
    /// four at a time.
    ///
    /// # Panics
    /// If `bits` is more than that, or `a` belongs to another builder.
    #[track_caller]
    pub fn range(&mut self, a: Var, bits: u32) {
        let slot = 4 * self.cell_bits;
        assert!(
            bits <= slot,
            "a range check covers at most {slot} bits (four cells of {}), got {bits}",
            self.cell_bits
        );
        self.number_of(a);
        let origin = self.origin();
        if !gone("gadgets.range.pack") {
            self.pack_queue.push((a, origin));
        }
        if bits < slot && !gone("gadgets.range.narrow") {
            // a < 2^slot and a · 2^(slot − bits) < 2^slot; neither product wraps modulo r.
            let scaled = self.scale(a, crate::gates::power_of_two(slot - bits), Fr::from(0u64));
            self.pack_queue.push((scaled, origin));
        }
        while self.pack_queue.len() >= 4 {
            let rest = self.pack_queue.split_off(4);
            let four = std::mem::replace(&mut self.pack_queue, rest);
            self.pack_rows([four[0], four[1], four[2], four[3]]);
        }
    }

    /// Two rows that constrain four variables to four limb cells each.
    #[track_caller]
    pub(super) fn pack_rows(&mut self, queued: [(Var, Origin); 4]) {
        let (vars, origins) = (queued.map(|q| q.0), queued.map(|q| q.1));
        let cells = vars.map(|v| self.cells_of(self.value(v)));
        let first = std::array::from_fn(|i| cells[i / 4][i % 4]);
        let second = std::array::from_fn(|i| cells[2 + i / 4][i % 4]);
        let row = self.raw_row(vars, &FixedRow::pack(), first);
        self.origins.set_cells(row, origins);
        self.filler_row(second);
    }

    /// The lowest four limb cells of a value.
    pub fn cells_of(&self, value: Fr) -> [u16; 4] {
        let bits = value.into_bigint().0;
        let mask = (1u64 << self.cell_bits) - 1;
        std::array::from_fn(|i| {
            let shift = self.cell_bits * i as u32;
            ((bits[0] >> shift) & mask) as u16
        })
    }
}
