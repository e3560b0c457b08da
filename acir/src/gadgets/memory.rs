//! Arrays that are read and written at addresses which the witness decides.
//!
//! An array that is only read is a ROM table: one entry for each cell under its address. Entries exist only at
//! addresses within the array, so the lookup is the check of the bounds.
//!
//! An array that is also written is a table of what happened. Entry `t` is what the array's cell `address` contained
//! from time `t` on: initial cells have the times `0 .. length`, and access number `k` has the time `length + k`.
//! Each entry also names the access that follows it at its address, in `next`. Access `k`, at its time `now`, reads
//! an earlier entry of its address whose `next` is `now`, and so takes the value of that entry. Why the value is the
//! newest:
//!
//! 1. Table names and times are constants, and each time is written once. So an entry is one row, and its `next` is
//!    one value. Two accesses have different times, so no entry is taken twice.
//! 2. Before access `k`, each address within the array has exactly one entry that is written and not taken, and no
//!    other address has one. This is so before the first access. An access takes an entry of its own address that is
//!    written before (`then < now`, a range check) and not taken (1): it is the one, and its time is that of the last
//!    access there. The access then writes an entry of this address.
//!
//! So an access outside the bounds has no entry to take, and none needs another check.

use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::uint::range_bits;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::layout::FixedRow;

use super::range::below;

/// An access to an array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) write: bool,
    pub(crate) address: Var,
    /// What is read or written.
    pub(crate) value: Var,
}

const ZEROS: [Var; 4] = [Builder::ZERO; 4];

/// Constrains the accesses to an array with these initial cells.
pub(crate) fn memory(b: &mut Builder, cells: &[Var], accesses: &[Access]) {
    if accesses.iter().any(|access| access.write) {
        let history = History::of(b, cells, accesses);
        ram_given(b, cells, accesses, &history);
    } else if !accesses.is_empty() {
        rom(b, cells, accesses);
    }
}

fn rom(b: &mut Builder, cells: &[Var], accesses: &[Access]) {
    let table = b.new_table();
    for (i, cell) in cells.iter().enumerate() {
        let address = b.constant_u64(i as u64);
        b.rom_write(table, address, [*cell, Builder::ZERO, Builder::ZERO, Builder::ZERO], ZEROS);
    }
    for access in accesses {
        let first = [access.value, Builder::ZERO, Builder::ZERO, Builder::ZERO];
        let row = FixedRow::read([Fr::from(0u64); 8]);
        read(b, table, access.address, Builder::ZERO, &row, first, cells.len());
    }
}

/// Three rows that read an entry of four values; `beside` is in `w_1` of the first, whose arithmetic is `row`'s.
fn read(
    b: &mut Builder,
    table: Var,
    address: Var,
    beside: Var,
    row: &FixedRow,
    values: [Var; 4],
    entries: usize,
) {
    let number = b.raw_row([address, beside, Builder::ZERO, table], row, [0; 8]);
    b.raw_row(values, &FixedRow::blank(), [0; 8]);
    b.raw_row(ZEROS, &FixedRow::blank(), [0; 8]);
    // A read of no entry is a witness that the circuit rejects, not a mistake of the layout.
    if below(&b.value(address), entries).is_some() {
        b.note_read(number, table, address);
    }
}

/// What the prover adds to an array that is written.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// Of each entry, the time of the access that takes it; 0 for none.
    pub(super) next: Vec<Fr>,
    /// Of each access, the time and the value of the entry that it takes.
    pub(super) taken: Vec<(Fr, Fr)>,
}

impl History {
    /// The honest one. Where an address is out of bounds, there is none, and the first entry stands in.
    pub(super) fn of(b: &Builder, cells: &[Var], accesses: &[Access]) -> Self {
        let mut newest: Vec<(usize, Fr)> =
            cells.iter().enumerate().map(|(time, cell)| (time, b.value(*cell))).collect();
        let mut next = vec![Fr::from(0u64); cells.len() + accesses.len()];
        let mut taken = Vec::with_capacity(accesses.len());
        for (k, access) in accesses.iter().enumerate() {
            let now = cells.len() + k;
            match below(&b.value(access.address), cells.len()) {
                Some(at) => {
                    let (then, value) = newest[at];
                    next[then] = Fr::from(now as u64);
                    taken.push((Fr::from(then as u64), value));
                    newest[at] = (now, b.value(access.value));
                }
                None => taken.push((Fr::from(0u64), Fr::from(0u64))),
            }
        }
        Self { next, taken }
    }
}

/// An array that is written, with a history that the prover chooses.
pub(super) fn ram_given(b: &mut Builder, cells: &[Var], accesses: &[Access], history: &History) {
    let table = b.new_table();
    let entries = cells.len() + accesses.len();
    // All entries come first: a read is laid out after what it reads.
    for (time, next) in history.next.iter().enumerate() {
        let now = b.constant_u64(time as u64);
        let (address, value) = match time.checked_sub(cells.len()) {
            None => (now, cells[time]),
            Some(k) => (accesses[k].address, accesses[k].value),
        };
        let next = b.witness(*next);
        b.rom_write(table, now, [address, value, next, Builder::ZERO], ZEROS);
    }
    // A gap is below the number of entries where the witness is honest. With whole slots the check takes fewer rows,
    // and as both times are below 2^64, it says as much.
    let bits = (4 * b.cell_bits()).max(usize::BITS - entries.leading_zeros()).min(64);
    let one = Fr::from(1u64);
    for (k, access) in accesses.iter().enumerate() {
        let time = cells.len() + k;
        let (then, value) = history.taken[k];
        let then = b.witness(then);
        // A read leaves the value as it is.
        let value = if access.write { b.witness(value) } else { access.value };
        // then + gap + 1 − now = 0, in the row that reads.
        let last = Fr::from(time as u64) - one;
        let gap = b.witness(last - b.value(then));
        let now = b.constant_u64(time as u64);
        let mut c = [Fr::from(0u64); 8];
        (c[0], c[1], c[7]) = (one, one, -last);
        let values = [access.address, value, now, Builder::ZERO];
        read(b, table, then, gap, &FixedRow::read(c), values, entries);
        range_bits(b, gap, bits);
    }
}
