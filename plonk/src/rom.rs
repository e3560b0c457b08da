//! ROM entries of a circuit under construction.

use crate::builder::{Builder, Var};
use crate::layout::FixedRow;

/// Where a ROM entry was written and how often it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RomEntry {
    pub(crate) row: u32,
    pub(crate) reads: u32,
}

impl Builder {
    /// Writes ROM entry (table, address): eight values, which are the two rows that follow the address.
    /// `table` and `address` must be constants or constrained elsewhere. Three rows.
    #[track_caller]
    pub fn rom_write(&mut self, table: Var, address: Var, first: [Var; 4], second: [Var; 4]) {
        let row =
            self.raw_row([address, Self::ZERO, Self::ZERO, table], &FixedRow::write(), [0; 8]);
        self.raw_row(first, &FixedRow::blank(), [0; 8]);
        self.raw_row(second, &FixedRow::blank(), [0; 8]);
        self.note_write(row, table, address);
    }

    /// Declares that the row `row`, which has the write selector on, writes (table, address).
    #[track_caller]
    pub fn note_write(&mut self, row: usize, table: Var, address: Var) {
        let key = (self.value(table), self.value(address));
        let entry = RomEntry { row: row as u32, reads: 0 };
        if let Some(before) = self.rom.insert(key, entry) {
            self.written_twice.get_or_insert((before.row, entry.row));
        }
    }

    /// Counts a read of (table, address) by the row `row`, which has the read selector on.
    #[track_caller]
    pub fn note_read(&mut self, row: usize, table: Var, address: Var) {
        let key = (self.value(table), self.value(address));
        match self.rom.get_mut(&key) {
            Some(entry) => entry.reads += 1,
            None => self.unmatched_reads.push(row as u32),
        }
    }
}
