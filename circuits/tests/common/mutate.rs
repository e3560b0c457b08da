//! Changes one cell, or all cells of one variable, and looks only at the rows that see it. What
//! `plonk::check` does for a whole witness, this does in microseconds for one change.

use std::collections::{BTreeSet, HashMap};

use ark_ff::PrimeField;
use rollmill_algebra::{Fr, omega};
use rollmill_plonk::gates::{Cells, Challenges, Constants, Gate, Sink, constraints};
use rollmill_plonk::layout::{FixedRow, Layout, Witness};
use rollmill_plonk::shape::{LIMBS, ROUTED, column_cosets, fixed};

struct AnyNonZero(bool);

impl Sink<Fr> for AnyNonZero {
    fn group(&mut self, gate: Gate, selector: &Fr, terms: &[Fr]) {
        if *selector != Fr::from(0u64) && !gate.is_argument() {
            self.0 |= terms.iter().any(|t| *t != Fr::from(0u64));
        }
    }
    fn single(&mut self, gate: Gate, term: Fr) {
        if !gate.is_argument() {
            self.0 |= term != Fr::from(0u64);
        }
    }
}

/// A cell that may change alone, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Free {
    /// The inverse that `is_zero` asks of zero: any value serves.
    InverseOfZero,
    /// A limb cell that no pack reads: it may hold any number of its range.
    UnreadLimb,
}

pub struct Mutator {
    layout: Layout,
    witness: Witness,
    rows: Vec<FixedRow>,
    constants: Constants<Fr>,
    /// Class of each routed cell (row, column), and the members of each class.
    class_of: Vec<u32>,
    classes: Vec<Vec<u32>>,
    rom: Rom,
}

/// Table, address and values of a ROM entry.
type Entry = [Fr; 10];

/// How often each entry is written and read.
#[derive(Default)]
struct Rom {
    written: HashMap<Entry, i64>,
    read: HashMap<Entry, i64>,
}

/// A class with more cells than this is a constant: gates hold it, and it is not looked for in the ROM.
const CONSTANT_CELLS: usize = 2_000;

/// Constants of the gates where challenges play no part.
pub fn gate_constants(cell_bits: u32) -> Constants<Fr> {
    let zero = Fr::from(0u64);
    Constants::new(Challenges { eta: zero, beta: zero, gamma: zero }, cell_bits)
}

/// Whether some gate's equation does not hold at `row`, whose fixed cells are `f`.
pub fn gate_fails(constants: &Constants<Fr>, f: &FixedRow, witness: &Witness, row: usize) -> bool {
    let zero = Fr::from(0u64);
    let mut columns = [zero; fixed::COUNT];
    columns[..fixed::SIGMA].copy_from_slice(&f.cells());
    let wire = |column: usize, r: usize| witness.wires[column][row + r];
    let cells = Cells {
        w: std::array::from_fn(|r| std::array::from_fn(|k| wire(k, r))),
        l: std::array::from_fn(|r| std::array::from_fn(|k| wire(ROUTED + k, r))),
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
    let mut sink = AnyNonZero(false);
    constraints(constants, &cells, &mut sink);
    sink.0
}

impl Mutator {
    pub fn new(layout: Layout, witness: Witness) -> Self {
        let n = layout.shape.n();
        let generator = omega(layout.shape.log_n);
        let cosets = column_cosets();
        let mut names = HashMap::with_capacity(4 * n);
        let mut power = Fr::from(1u64);
        for row in 0..n {
            for (column, coset) in cosets.iter().enumerate() {
                names.insert(*coset * power, (ROUTED * row + column) as u32);
            }
            power *= generator;
        }
        let sigma = layout.sigma();
        let mut class_of = vec![u32::MAX; ROUTED * n];
        let mut classes = Vec::new();
        for cell in 0..ROUTED * layout.rows_used {
            if class_of[cell] != u32::MAX {
                continue;
            }
            let mut members = Vec::new();
            let mut at = cell;
            while class_of[at] == u32::MAX {
                class_of[at] = classes.len() as u32;
                members.push(at as u32);
                at = names[&sigma[at % ROUTED][at / ROUTED]] as usize;
            }
            classes.push(members);
        }
        let mut this = Self {
            rows: (0..layout.rows_used + 3).map(|row| layout.fixed_row(row)).collect(),
            constants: gate_constants(layout.shape.cell_bits),
            layout,
            witness,
            class_of,
            classes,
            rom: Rom::default(),
        };
        for row in 0..this.rows.len() {
            let entry = this.entry(row);
            let rom = &mut this.rom;
            for (on, table) in
                [(this.rows[row].write, &mut rom.written), (this.rows[row].read, &mut rom.read)]
            {
                if on {
                    *table.entry(entry).or_insert(0) += 1;
                }
            }
        }
        this
    }

    /// The ROM entry that stands at `row`, if one does.
    fn entry(&self, row: usize) -> Entry {
        let w = |k: usize, r: usize| self.witness.wires[k][row + r];
        std::array::from_fn(|i| match i {
            0 => w(3, 0),
            1 => w(0, 0),
            i if i < 6 => w(i - 2, 1),
            i => w(i - 6, 2),
        })
    }

    /// Rows of the ROM that see one of `rows`, with their entries.
    fn entries_near(&self, rows: impl Iterator<Item = usize>) -> Vec<(usize, Entry)> {
        let near: BTreeSet<usize> = rows
            .flat_map(|row| row.saturating_sub(2)..=row)
            .filter(|row| self.rows.get(*row).is_some_and(|f| f.read || f.write))
            .collect();
        near.into_iter().map(|row| (row, self.entry(row))).collect()
    }

    /// True when, with these rows of the ROM changed from what they were, some read finds no entry.
    fn rom_is_violated(&self, before: &[(usize, Entry)]) -> bool {
        let mut change: HashMap<Entry, [i64; 2]> = HashMap::new();
        for (row, was) in before {
            let column = usize::from(self.rows[*row].read);
            change.entry(*was).or_default()[column] -= 1;
            change.entry(self.entry(*row)).or_default()[column] += 1;
        }
        let count = |table: &HashMap<Entry, i64>, entry| table.get(entry).copied().unwrap_or(0);
        change.iter().any(|(entry, [written, read])| {
            count(&self.rom.read, entry) + read > 0 && count(&self.rom.written, entry) + written < 1
        })
    }

    pub fn variables(&self) -> usize {
        self.classes.len()
    }

    pub fn rows(&self) -> usize {
        self.layout.rows_used
    }

    fn violated(&self, row: usize) -> bool {
        match self.rows.get(row) {
            Some(f) => gate_fails(&self.constants, f, &self.witness, row),
            None => false,
        }
    }

    fn violated_near(&self, row: usize, reach: usize) -> bool {
        (0..=reach.min(row)).any(|back| self.violated(row - back))
    }

    /// Adds `delta` to every cell of variable `i`; true when some gate then fails.
    pub fn variable_is_bound(&mut self, i: usize, delta: Fr) -> bool {
        let members = self.classes[i].clone();
        let shift = |this: &mut Self, by: Fr| {
            for cell in &members {
                let (row, column) = (*cell as usize / ROUTED, *cell as usize % ROUTED);
                this.witness.wires[column][row] += by;
            }
        };
        let rows = members.iter().map(|cell| *cell as usize / ROUTED);
        let rom = match members.len() > CONSTANT_CELLS {
            true => Vec::new(),
            false => self.entries_near(rows.clone()),
        };
        shift(self, delta);
        let bound =
            rows.clone().any(|row| self.violated_near(row, 2)) || self.rom_is_violated(&rom);
        shift(self, -delta);
        bound
    }

    /// The reason why variable `i` may change, if it is one of the known ones.
    fn variable_reason(&self, i: usize) -> Option<Free> {
        let [cell] = self.classes[i][..] else { return None };
        let (row, column) = (cell as usize / ROUTED, cell as usize % ROUTED);
        let one = Fr::from(1u64);
        let c = self.rows[row].c;
        let is_zero_row = c[2] == one && c[4] == one && c[7] == -one && self.rows[row].arith;
        let argument_is_zero = self.witness.wires[0][row] == Fr::from(0u64);
        (is_zero_row && column == 1 && argument_is_zero).then_some(Free::InverseOfZero)
    }

    /// Adds `delta` to one routed cell alone; true when a tie or a gate then fails.
    pub fn routed_cell_is_bound(&mut self, row: usize, column: usize, delta: Fr) -> bool {
        let class = &self.classes[self.class_of[ROUTED * row + column] as usize];
        if class.len() > 1 {
            return true;
        }
        let rom = self.entries_near(std::iter::once(row));
        self.witness.wires[column][row] += delta;
        let bound = self.violated_near(row, 2) || self.rom_is_violated(&rom);
        self.witness.wires[column][row] -= delta;
        bound
    }

    /// Changes one limb cell within its range; true when a gate then fails.
    pub fn limb_cell_is_bound(&mut self, row: usize, column: usize) -> bool {
        let cell = self.witness.wires[ROUTED + column][row];
        let changed = match self.rows[row].external || self.rows[row].internal {
            true => cell + Fr::from(1u64),
            false => Fr::from(cell.into_bigint().0[0] ^ 1),
        };
        self.witness.wires[ROUTED + column][row] = changed;
        let bound = self.violated_near(row, 1);
        self.witness.wires[ROUTED + column][row] = cell;
        bound
    }

    /// Whether a gate reads this limb cell. A pack, a product or a square reads those of its row and of
    /// the next; a carry all of them but the last.
    fn limb_is_read(&self, row: usize, column: usize) -> bool {
        let reads = |row: usize| self.rows[row].limb_cells();
        let before = row.checked_sub(1).map_or(0, reads);
        self.rows[row].external
            || self.rows[row].internal
            || column < reads(row).max(before.saturating_sub(LIMBS))
    }

    /// Tries every `step`-th variable, routed cell and limb cell. Panics on a free one without a known
    /// reason; returns how many free ones each reason explains.
    pub fn run(&mut self, step: usize) -> HashMap<Free, usize> {
        self.run_from(0, step)
    }

    /// [`Self::run`] from variable and cell `start` on.
    pub fn run_from(&mut self, start: usize, step: usize) -> HashMap<Free, usize> {
        let mut free = HashMap::new();
        let delta = Fr::from(3u64);
        for i in (start..self.variables()).step_by(step) {
            if !self.variable_is_bound(i, delta) {
                let cell = self.classes[i][0] as usize;
                let (row, column) = (cell / ROUTED, cell % ROUTED);
                let reason = self.variable_reason(i).unwrap_or_else(|| {
                    panic!("variable at row {row}, column {column} is free: {:?}", self.rows[row])
                });
                *free.entry(reason).or_insert(0) += 1;
            }
        }
        for cell in (start..ROUTED * self.rows()).step_by(step) {
            let (row, column) = (cell / ROUTED, cell % ROUTED);
            if !self.routed_cell_is_bound(row, column, delta) {
                let class = self.class_of[cell] as usize;
                assert!(self.variable_reason(class).is_some(), "routed ({row}, {column}) is free");
            }
        }
        for cell in (start..LIMBS * self.rows()).step_by(step) {
            let (row, column) = (cell / LIMBS, cell % LIMBS);
            if !self.limb_cell_is_bound(row, column) {
                assert!(!self.limb_is_read(row, column), "limb ({row}, {column}) is free");
                *free.entry(Free::UnreadLimb).or_insert(0) += 1;
            }
        }
        free
    }
}
