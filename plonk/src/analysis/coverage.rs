//! Shows that every limb that non-native arithmetic reads as an integer is one of less than 64 bits.
//!
//! An honest prover never leaves a range, so no test of honest witnesses misses one. This reads the layout
//! alone. A limb has a range when it is a constant, a pack of limb cells, a value in a ROM table, or a
//! difference of limbs that have one. Every operand of a product, a square or a carry and every value
//! written into the ROM must have one, between −2^64 and 2^64 (see the book's page on the arithmetization).
//! Quotients and carries are limb cells and have theirs from the range table, which Poseidon2 rows and
//! blinding rows need not satisfy.
//!
//! It does not see ranges of other numbers, widths below 64 bits, canonical forms, or whether an identity is
//! the right one.

use std::collections::{BTreeMap, BTreeSet};

use ark_ff::{BigInteger, PrimeField};
use rollmill_algebra::Fr;

use super::Cycles;
use crate::gates::Gate;
use crate::layout::{FixedRow, Layout};
use crate::shape::{LIMBS, ROUTED};

/// An integer that is not in its range, or cannot be shown to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// A limb that a gate or the ROM reads has no range, or a wider one.
    Limb { row: usize, column: usize },
    /// The limb cells of this row are read as an integer, but no lookup in the range table constrains them.
    Cells { row: usize },
    /// A ROM row whose table or address is not a constant.
    NotConstant { row: usize },
    /// A ROM entry that two rows write: a read may take either.
    WrittenTwice { row: usize },
    /// A read of a table that no row writes.
    NoTable { row: usize },
    /// A linear relation with packs of a form that is not known here.
    Pack { row: usize },
}

/// What [`of`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Limbs that were required to have a range.
    pub limbs: usize,
    pub rom_reads: usize,
    pub rom_writes: usize,
    pub tables: usize,
    /// What is wrong, by kind and row.
    pub gaps: Vec<Gap>,
}

/// Least and greatest value of an integer.
type Interval = (i128, i128);

/// Beyond this nothing is derived: no limb comes near it.
const WIDEST: i128 = 1 << 100;

fn small(value: Fr) -> Option<i128> {
    let of = |value: Fr| {
        let words = value.into_bigint();
        (words.num_bits() <= 100).then(|| i128::from(words.0[0]) | i128::from(words.0[1]) << 64)
    };
    of(value).or_else(|| of(-value).map(|v| -v))
}

struct Ranges<'a> {
    layout: &'a Layout,
    rows: Vec<FixedRow>,
    cycles: Cycles,
    known: Vec<Option<Interval>>,
    /// Value of each cycle that a row fixes.
    constants: BTreeMap<usize, Fr>,
    gaps: BTreeSet<Gap>,
}

/// Checks the range of every limb of a circuit.
pub fn of(layout: &Layout) -> Coverage {
    let rows = (0..layout.rows_used).map(|row| layout.fixed_row(row)).collect();
    let cycles = Cycles::new(layout);
    let mut ranges = Ranges {
        layout,
        rows,
        known: vec![None; cycles.count()],
        cycles,
        constants: BTreeMap::new(),
        gaps: BTreeSet::new(),
    };
    ranges.constants();
    ranges.packs();
    let mut found = Coverage::default();
    let (reads, tables) = ranges.rom(&mut found);
    while ranges.derive() | ranges.read(&reads, &tables) {}
    ranges.require(&mut found);
    found.gaps = ranges.gaps.into_iter().collect();
    found
}

impl Ranges<'_> {
    fn cycle(&self, row: usize, column: usize) -> Option<usize> {
        self.cycles.at(row, column)
    }

    fn range(&self, row: usize, column: usize) -> Option<Interval> {
        self.known[self.cycle(row, column)?]
    }

    /// Notes a range; true when it is narrower than what was known.
    fn note(&mut self, row: usize, column: usize, (low, high): Interval) -> bool {
        let Some(cycle) = self.cycle(row, column) else { return false };
        let narrower = match self.known[cycle] {
            None => (low, high),
            Some((l, h)) => (low.max(l), high.min(h)),
        };
        let changed = self.known[cycle] != Some(narrower);
        self.known[cycle] = Some(narrower);
        changed
    }

    /// Rows that fix `w_0`. A row of a public input looks the same, but its value is the input's.
    fn constants(&mut self) {
        let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
        for row in self.layout.shape.n_public as usize..self.rows.len() {
            let f = &self.rows[row];
            let fixes = f.arith && f.c[0] == one && f.c[1..7].iter().all(|c| *c == zero);
            if !fixes {
                continue;
            }
            let value = -f.c[7];
            if let Some(cycle) = self.cycle(row, 0) {
                self.constants.insert(cycle, value);
            }
            if let Some(value) = small(value) {
                self.note(row, 0, (value, value));
            }
        }
    }

    /// Requires the limb cells of a row to be looked up in the range table.
    fn cells(&mut self, row: usize) {
        let held = row < self.layout.shape.usable_rows()
            && self.rows.get(row).is_none_or(|f| !f.external && !f.internal);
        if !held {
            self.gaps.insert(Gap::Cells { row });
        }
    }

    fn packs(&mut self) {
        let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
        let most = (1i128 << (4 * self.layout.shape.cell_bits)) - 1;
        for row in 0..self.rows.len() {
            let f = &self.rows[row];
            let limb_cells = f.limb_cells();
            if limb_cells == 0 {
                continue;
            }
            if Gate::of_kind(f.kind) == Some(Gate::Vector) {
                let at = match [f.c[0], f.c[1], f.c[2], f.c[3]] {
                    [a, b, c, d] if (a, b, c, d) == (-one, zero, zero, one) => Some(row),
                    [a, b, c, d] if (a, b, c, d) == (zero, zero, -one, one) => Some(row + 2),
                    _ => None,
                };
                match at {
                    Some(at) => {
                        for k in 0..ROUTED {
                            self.note(at, k, (0, most));
                        }
                    }
                    None => {
                        self.gaps.insert(Gap::Pack { row });
                    }
                }
            }
            self.cells(row);
            if limb_cells > LIMBS {
                self.cells(row + 1);
            }
        }
    }

    /// The rows that read the ROM, each with its table, and the rows that write each table.
    fn rom(&mut self, found: &mut Coverage) -> (Vec<(usize, Fr)>, Tables) {
        let (mut reads, mut tables) = (Vec::new(), Tables::new());
        let mut written = BTreeSet::new();
        for row in 0..self.rows.len() {
            let (read, write) = (self.rows[row].read, self.rows[row].write);
            if read == write {
                continue;
            }
            let constant = |k: usize| self.constants.get(&self.cycle(row, k)?).copied();
            let (table, address) = (constant(3), constant(0));
            let Some(table) = table.filter(|_| read || address.is_some()) else {
                self.gaps.insert(Gap::NotConstant { row });
                continue;
            };
            if read {
                reads.push((row, table));
            } else {
                found.rom_writes += 1;
                tables.entry(table).or_default().push(row);
                if !written.insert((table, address)) {
                    self.gaps.insert(Gap::WrittenTwice { row });
                }
            }
        }
        found.rom_reads = reads.len();
        found.tables = tables.len();
        for (row, table) in &reads {
            if !tables.contains_key(table) {
                self.gaps.insert(Gap::NoTable { row: *row });
            }
        }
        (reads, tables)
    }

    /// Linear relations of three limbs, of which the third follows.
    fn derive(&mut self) -> bool {
        let mut changed = false;
        for row in 0..self.rows.len() {
            let f = &self.rows[row];
            if Gate::of_kind(f.kind) != Some(Gate::Vector) || f.c[3] != Fr::from(0u64) {
                continue;
            }
            let Some([a, b, c]) = small(f.c[0]).zip(small(f.c[1])).zip(small(f.c[2])).map(join)
            else {
                continue;
            };
            if c.abs() != 1 || a.abs() > 1 || b.abs() > 1 {
                continue;
            }
            for k in 0..ROUTED {
                // w(2) = −(a·w(0) + b·w(1)) / c, and c is its own inverse.
                let term = |factor: i128, row| match factor {
                    0 => Some((0, 0)),
                    1 => self.range(row, k),
                    _ => self.range(row, k).map(|(low, high)| (-high, -low)),
                };
                let (Some(x), Some(y)) = (term(-a * c, row), term(-b * c, row + 1)) else {
                    continue;
                };
                let sum = (x.0 + y.0, x.1 + y.1);
                if sum.0.abs().max(sum.1.abs()) < WIDEST {
                    changed |= self.note(row + 2, k, sum);
                }
            }
        }
        changed
    }

    /// What a read returns is what some row of its table wrote.
    fn read(&mut self, reads: &[(usize, Fr)], tables: &Tables) -> bool {
        let mut changed = false;
        let mut unions: BTreeMap<Fr, [Option<Interval>; 2 * ROUTED]> = BTreeMap::new();
        for (table, rows) in tables {
            let union = |i: usize| {
                let of = |row: &usize| self.range(row + 1 + i / ROUTED, i % ROUTED);
                let all: Option<Vec<Interval>> = rows.iter().map(of).collect();
                all?.into_iter().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
            };
            unions.insert(*table, std::array::from_fn(union));
        }
        for (row, table) in reads {
            let Some(values) = unions.get(table) else { continue };
            for (i, range) in values.iter().enumerate() {
                if let Some(range) = range {
                    changed |= self.note(row + 1 + i / ROUTED, i % ROUTED, *range);
                }
            }
        }
        changed
    }

    fn require(&mut self, found: &mut Coverage) {
        for row in 0..self.rows.len() {
            let f = &self.rows[row];
            // A row that writes the ROM writes limbs.
            let needs = match f.write && !f.read {
                true => [false, true, true],
                false => f.limb_rows(),
            };
            for ahead in (0..3).filter(|ahead| needs[*ahead]) {
                for column in 0..ROUTED {
                    found.limbs += 1;
                    let limit = 1i128 << 64;
                    let good = |(low, high): Interval| low > -limit && high < limit;
                    if !self.range(row + ahead, column).is_some_and(good) {
                        self.gaps.insert(Gap::Limb { row: row + ahead, column });
                    }
                }
            }
        }
    }
}

/// Rows that write each table.
type Tables = BTreeMap<Fr, Vec<usize>>;

fn join(((a, b), c): ((i128, i128), i128)) -> [i128; 3] {
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{Builder, Var};

    const NO_LIMBS: [u16; 8] = [0; 8];

    fn element(b: &mut Builder) -> [Var; 4] {
        [(); 4].map(|()| b.witness(Fr::from(3u64)))
    }

    /// Rows of a square of `x` less `y`, whose limb cells play no part here.
    fn square(b: &mut Builder, x: [Var; 4], y: [Var; 4]) {
        b.raw_row(x, &FixedRow::square(), NO_LIMBS);
        b.raw_row(y, &FixedRow::blank(), NO_LIMBS);
        b.raw_row([Builder::ZERO; 4], &FixedRow::blank(), NO_LIMBS);
    }

    fn pack(b: &mut Builder, x: [Var; 4]) {
        b.raw_row(x, &FixedRow::pack(), NO_LIMBS);
        b.raw_row([Builder::ZERO; 4], &FixedRow::blank(), NO_LIMBS);
    }

    fn difference(b: &mut Builder, x: [Var; 4], y: [Var; 4], z: [Var; 4]) {
        b.raw_row(x, &FixedRow::vector([1, -1, -1, 0]), NO_LIMBS);
        b.raw_row(y, &FixedRow::blank(), NO_LIMBS);
        b.raw_row(z, &FixedRow::blank(), NO_LIMBS);
    }

    fn gaps(lay_out: impl Fn(&mut Builder)) -> Vec<Gap> {
        gaps_with_public(|b| {
            lay_out(b);
            Builder::ZERO
        })
    }

    /// Of a circuit whose one public input is what `lay_out` returns.
    fn gaps_with_public(lay_out: impl Fn(&mut Builder) -> Var) -> Vec<Gap> {
        let mut b = Builder::new(1, 16);
        let public = lay_out(&mut b);
        b.set_public(0, public);
        of(&b.layout(None).unwrap()).gaps
    }

    #[test]
    fn a_limb_without_a_range_is_named() {
        assert_eq!(
            gaps(|b| {
                let x = element(b);
                pack(b, x);
                square(b, x, x)
            }),
            []
        );
        let missing = gaps(|b| {
            let (x, y) = (element(b), element(b));
            pack(b, x);
            square(b, x, y)
        });
        assert_eq!(missing.len(), 4);
        assert!(missing.iter().all(|gap| matches!(gap, Gap::Limb { row: 5, .. })), "{missing:?}");
    }

    #[test]
    fn a_difference_has_a_range_and_a_difference_of_differences_too_wide_a_one() {
        let lay = |twice: bool| {
            gaps(move |b| {
                let (x, y, z, t) = (element(b), element(b), element(b), element(b));
                pack(b, x);
                pack(b, y);
                difference(b, x, y, z);
                difference(b, y, z, t);
                square(b, x, if twice { t } else { z });
            })
        };
        assert_eq!(lay(false), []);
        assert_eq!(lay(true).len(), 4);
    }

    #[test]
    fn a_public_input_is_no_constant_and_a_limb_cell_of_a_permutation_has_no_range() {
        let public = gaps_with_public(|b| {
            let x = b.witness(Fr::from(5u64));
            square(b, [x; 4], [Builder::ZERO; 4]);
            x
        });
        assert_eq!(public.len(), 4);
        let constant = gaps(|b| {
            let x = b.constant_u64(5);
            square(b, [x; 4], [Builder::ZERO; 4]);
        });
        assert_eq!(constant, []);
        let cells = gaps(|b| {
            b.raw_row([Builder::ZERO; 4], &FixedRow::pack(), NO_LIMBS);
            b.raw_row([Builder::ZERO; 4], &FixedRow::external([Fr::from(0u64); 8]), NO_LIMBS);
            b.raw_row([Builder::ZERO; 4], &FixedRow::blank(), NO_LIMBS);
        });
        assert_eq!(cells, [Gap::Cells { row: 3 }]);
    }

    #[test]
    fn what_a_read_returns_has_the_range_of_what_was_written() {
        let lay = |written: bool, table_of_read: u64, times: usize| {
            gaps(move |b| {
                let (x, y) = (element(b), element(b));
                if written {
                    pack(b, x);
                }
                let (table, address) = (b.constant_u64(1), b.constant_u64(4));
                let other = b.constant_u64(table_of_read);
                for _ in 0..times {
                    let row = [address, Builder::ZERO, Builder::ZERO, table];
                    b.raw_row(row, &FixedRow::write(), NO_LIMBS);
                    b.raw_row(x, &FixedRow::blank(), NO_LIMBS);
                    b.raw_row(x, &FixedRow::blank(), NO_LIMBS);
                }
                let read = FixedRow::read([Fr::from(0u64); 8]);
                b.raw_row([address, Builder::ZERO, Builder::ZERO, other], &read, NO_LIMBS);
                b.raw_row(y, &FixedRow::blank(), NO_LIMBS);
                b.raw_row(y, &FixedRow::blank(), NO_LIMBS);
                square(b, y, y);
            })
        };
        assert_eq!(lay(true, 1, 1), []);
        // Eight values that were written and eight that are read from them.
        assert_eq!(lay(false, 1, 1).len(), 16);
        assert!(matches!(lay(true, 1, 2)[..], [Gap::WrittenTwice { .. }]));
        assert!(lay(true, 2, 1).iter().any(|gap| matches!(gap, Gap::NoTable { .. })));
    }
}
