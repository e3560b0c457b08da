//! How much a prover may choose: the degrees of freedom of a circuit at one of its witnesses.
//!
//! The count is the dimension of the space of first-order changes of a witness that keep every equation
//! between field elements: unknowns less the rank of the equations' derivatives. A constraint that goes
//! missing leaves a freedom that was not there, whichever cells it joined.
//!
//! - *Unknowns*: each cycle of the permutation over the rows used, each limb cell of a Poseidon2 row, each
//!   public input. Every other limb cell is a small number that a range binds and no first-order change
//!   can move, so it counts as a constant.
//! - *Equations*: the gates of the proof system themselves, evaluated over dual numbers. Those that read a
//!   limb cell as a part of an integer (packs, products, squares, carries) are left out: they bind
//!   integers, see [`super::coverage`]. What a ROM read returns is an unknown of its own.
//!
//! It does not see: ranges; whether an identity of integers is the right one; an equation that is replaced by
//! another; one whose derivative is zero at this witness; a choice among separate solutions.

use rollmill_algebra::Fr;
use rollmill_algebra::field::inverse_of_nonzero;

use super::Cycles;
use super::dual::{Dual, Reads};
use crate::gates::{Cells, Challenges, Constants, Gate, Sink, constraints};
use crate::layout::{FixedRow, Layout, Witness};
use crate::shape::{LIMBS, ROUTED, fixed};

/// The place of an unknown: the first of its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Tied routed cells, the first at (row, column).
    Routed { row: usize, column: usize },
    /// A limb cell of a Poseidon2 row.
    Limb { row: usize, column: usize },
    /// A public input.
    Public(usize),
}

impl Place {
    /// The row of the cell.
    pub fn row(self) -> usize {
        match self {
            Self::Routed { row, .. } | Self::Limb { row, .. } | Self::Public(row) => row,
        }
    }
}

/// What [`of`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freedom {
    pub unknowns: usize,
    pub equations: usize,
    /// Equations that do not follow from others.
    pub rank: usize,
    /// Unknowns that no equation settles once those before them are chosen, in ascending order.
    pub free: Vec<Place>,
    /// Unknowns that occur in no equation between field elements, in ascending order: limbs, and table
    /// entries.
    pub unmentioned: Vec<Place>,
}

/// Why there is nothing to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSatisfied {
    pub row: usize,
    pub gate: Gate,
    pub equation: usize,
}

const WINDOW: usize = 3 * ROUTED + 2 * LIMBS + 1;

fn cells<E: Clone>(
    f: &FixedRow,
    constant: impl Fn(Fr) -> E,
    cell: impl Fn(usize) -> E,
) -> Cells<E> {
    let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
    let of_row = FixedRow { kind: between_elements(f), ..f.clone() }.cells();
    let columns: [E; fixed::COUNT] =
        std::array::from_fn(|k| constant(of_row.get(k).copied().unwrap_or(zero)));
    let limbs = 3 * ROUTED;
    let nothing = || constant(zero);
    Cells {
        w: std::array::from_fn(|r| std::array::from_fn(|k| cell(ROUTED * r + k))),
        l: std::array::from_fn(|r| std::array::from_fn(|k| cell(limbs + LIMBS * r + k))),
        fixed: columns,
        m: nothing(),
        h: [nothing(), nothing()],
        z: [nothing(), nothing()],
        s: [nothing(), nothing()],
        x: nothing(),
        active: constant(one),
        first: nothing(),
        last: nothing(),
        public: cell(WINDOW - 1),
    }
}

/// The wide gate of a row when it is one between field elements: a linear relation without packs.
fn between_elements(f: &FixedRow) -> u64 {
    if Gate::of_kind(f.kind) == Some(Gate::Vector) && f.c[3] == Fr::from(0u64) { f.kind } else { 0 }
}

/// Collects the terms of gates that are switched on, arguments left out.
struct Collect<E> {
    terms: Vec<(Gate, usize, E)>,
    off: fn(&E) -> bool,
}

impl<E: Clone> Sink<E> for Collect<E> {
    fn group(&mut self, gate: Gate, selector: &E, terms: &[E]) {
        if gate.is_argument() || (self.off)(selector) {
            return;
        }
        let numbered = terms.iter().enumerate();
        self.terms.extend(numbered.map(|(i, term)| (gate, i, term.clone())));
    }
    fn single(&mut self, gate: Gate, term: E) {
        if !gate.is_argument() {
            self.terms.push((gate, 0, term));
        }
    }
}

fn constants<E: rollmill_algebra::device::Expr>(cell_bits: u32) -> Constants<E> {
    let zero = Fr::from(0u64);
    Constants::new(Challenges { eta: zero, beta: zero, gamma: zero }.lift(), cell_bits)
}

/// Numbers the unknowns: cycles, limb cells, public inputs.
struct Unknowns {
    cycles: Cycles,
    /// Rows whose limb cells are unknowns, in ascending order.
    limbs: Vec<usize>,
    first_public: usize,
    count: usize,
}

impl Unknowns {
    fn new(layout: &Layout) -> Self {
        let cycles = Cycles::new(layout);
        let mut count = cycles.count();
        let mut limbs = Vec::new();
        for row in 0..layout.rows_used {
            let f = layout.fixed_row(row);
            if f.external || f.internal {
                limbs.push(row);
                count += LIMBS;
            }
        }
        let first_public = count;
        count += layout.shape.n_public as usize;
        Self { cycles, limbs, first_public, count }
    }

    fn place(&self, number: usize) -> Place {
        if let Some(cell) = self.cycles.first.get(number) {
            return Place::Routed { row: cell / ROUTED, column: cell % ROUTED };
        }
        if number >= self.first_public {
            return Place::Public(number - self.first_public);
        }
        let of_limbs = number - self.cycles.count();
        let row = self.limbs[of_limbs / LIMBS];
        Place::Limb { row, column: of_limbs % LIMBS }
    }

    /// The unknown in cell `k` of the window that starts at `row`.
    fn at(&self, row: usize, k: usize, n_public: usize) -> Option<usize> {
        let limbs = 3 * ROUTED;
        match k {
            _ if k < limbs => self.cycles.at(row + k / ROUTED, k % ROUTED),
            _ if k < WINDOW - 1 => {
                let k = k - limbs;
                let at = self.limbs.binary_search(&(row + k / LIMBS)).ok()?;
                Some(self.cycles.count() + LIMBS * at + k % LIMBS)
            }
            _ => (row < n_public).then_some(self.first_public + row),
        }
    }
}

/// Counts the degrees of freedom of a circuit at a witness.
///
/// # Errors
/// An equation that the witness does not satisfy.
pub fn of(layout: &Layout, witness: &Witness) -> Result<Freedom, NotSatisfied> {
    let unknowns = Unknowns::new(layout);
    let n_public = witness.public.len();
    // Which cells the equations of each kind of row read.
    let reading = constants::<Reads>(layout.shape.cell_bits);
    let reads: Vec<u64> = layout
        .palette
        .iter()
        .map(|f| {
            let lift = |value: Fr| <Reads as rollmill_algebra::device::Expr>::constant(value);
            let mut sink = Collect { terms: Vec::new(), off: |s: &Reads| s.zero };
            constraints(&reading, &cells(f, lift, Reads::cell), &mut sink);
            sink.terms.iter().fold(0, |all, (.., term)| all | term.cells)
        })
        .collect();
    let constants = constants::<Dual>(layout.shape.cell_bits);
    let mut system = System::new(unknowns.count, unknowns.first_public, unknowns.cycles.count());
    for row in 0..layout.rows_used {
        let id = layout.fixed[row] as usize;
        let mut reads = reads[id];
        if row >= n_public {
            reads &= !(1 << (WINDOW - 1));
        }
        if reads == 0 {
            continue;
        }
        let lift = |value: Fr| Dual { value, gradient: Vec::new() };
        let cell = |k: usize| {
            let limbs = 3 * ROUTED;
            let value = match k {
                _ if k < limbs => witness.wires[k % ROUTED][row + k / ROUTED],
                _ if k < WINDOW - 1 => {
                    let k = k - limbs;
                    witness.wires[ROUTED + k % LIMBS][row + k / LIMBS]
                }
                _ => witness.public.get(row).copied().unwrap_or_default(),
            };
            match unknowns.at(row, k, n_public).filter(|_| reads >> k & 1 == 1) {
                Some(number) => Dual::unknown(value, number as u32),
                None => lift(value),
            }
        };
        let mut sink = Collect {
            terms: Vec::new(),
            off: |s: &Dual| s.value == Fr::from(0u64) && s.gradient.is_empty(),
        };
        constraints(&constants, &cells(&layout.palette[id], lift, cell), &mut sink);
        for (gate, equation, term) in sink.terms {
            if term.value != Fr::from(0u64) {
                return Err(NotSatisfied { row, gate, equation });
            }
            system.take(&term.gradient);
        }
    }
    let places = |which: &dyn Fn(usize) -> bool| -> Vec<Place> {
        (0..unknowns.count).filter(|i| which(*i)).map(|i| unknowns.place(i)).collect()
    };
    Ok(Freedom {
        unknowns: unknowns.count,
        equations: system.equations,
        rank: system.rank,
        free: places(&|i| system.mentioned[i] && system.solved[i].is_none()),
        unmentioned: places(&|i| !system.mentioned[i]),
    })
}

/// Linear equations, solved one by one as they come.
struct System {
    equations: usize,
    rank: usize,
    mentioned: Vec<bool>,
    /// What a solved unknown is, in unknowns that were not solved when it was last read.
    solved: Vec<Option<Vec<(u32, Fr)>>>,
    first_public: usize,
    cycles: usize,
    sum: Vec<Fr>,
    touched: Vec<u32>,
}

impl System {
    fn new(unknowns: usize, first_public: usize, cycles: usize) -> Self {
        Self {
            equations: 0,
            rank: 0,
            mentioned: vec![false; unknowns],
            solved: vec![None; unknowns],
            first_public,
            cycles,
            sum: vec![Fr::from(0u64); unknowns],
            touched: Vec::new(),
        }
    }

    fn scatter(&mut self, terms: &[(u32, Fr)], factor: Fr) {
        for (number, value) in terms {
            let slot = &mut self.sum[*number as usize];
            if *slot == Fr::from(0u64) {
                self.touched.push(*number);
            }
            *slot += *value * factor;
        }
    }

    /// Empties the sum; an unknown that was touched twice is there once.
    fn gather(&mut self) -> Vec<(u32, Fr)> {
        let mut touched = std::mem::take(&mut self.touched);
        let mut out = Vec::with_capacity(touched.len());
        for number in touched.drain(..) {
            let value = std::mem::take(&mut self.sum[number as usize]);
            if value != Fr::from(0u64) {
                out.push((number, value));
            }
        }
        self.touched = touched;
        out
    }

    /// Terms with every solved unknown replaced by what it is.
    fn reduced(&mut self, terms: &[(u32, Fr)]) -> Vec<(u32, Fr)> {
        for (number, _) in terms {
            self.refresh(*number);
        }
        for (number, factor) in terms {
            match self.solved[*number as usize].take() {
                Some(row) => {
                    self.scatter(&row, *factor);
                    self.solved[*number as usize] = Some(row);
                }
                None => self.scatter(&[(*number, *factor)], Fr::from(1u64)),
            }
        }
        self.gather()
    }

    /// Brings the stored row of a solved unknown up to date.
    fn refresh(&mut self, number: u32) {
        let stale = |this: &Self, row: &[(u32, Fr)]| {
            row.iter().any(|(other, _)| this.solved[*other as usize].is_some())
        };
        let Some(row) = self.solved[number as usize].take() else { return };
        let row = if stale(self, &row) { self.reduced(&row) } else { row };
        self.solved[number as usize] = Some(row);
    }

    /// Limb cells go first, then cycles, the latest first; public inputs go last.
    fn priority(&self, number: u32) -> (u8, u32) {
        let n = number as usize;
        let class = if n >= self.first_public { 0 } else { 1 + u8::from(n >= self.cycles) };
        (class, number)
    }

    fn take(&mut self, gradient: &[(u32, Fr)]) {
        if gradient.is_empty() {
            return;
        }
        self.equations += 1;
        for (number, _) in gradient {
            self.mentioned[*number as usize] = true;
        }
        let mut row = self.reduced(gradient);
        let pivot = row.iter().enumerate().max_by_key(|(_, (number, _))| self.priority(*number));
        let Some((at, _)) = pivot else { return };
        let (pivot, factor) = row.swap_remove(at);
        let scale = -inverse_of_nonzero(&factor);
        for (_, value) in &mut row {
            *value *= scale;
        }
        self.solved[pivot as usize] = Some(row);
        self.rank += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;

    fn counted(lay_out: impl Fn(&mut Builder)) -> Freedom {
        let mut b = Builder::new(0, 4);
        lay_out(&mut b);
        let (layout, witness) = b.finish(None).unwrap();
        of(&layout, &witness).unwrap()
    }

    fn free(lay_out: impl Fn(&mut Builder)) -> usize {
        counted(lay_out).free.len()
    }

    fn f(value: u64) -> Fr {
        Fr::from(value)
    }

    #[test]
    fn every_equation_takes_one_freedom_away_until_none_is_left() {
        let nothing = free(|_| ());
        let product = |b: &mut Builder| {
            let (x, y) = (b.witness(f(3)), b.witness(f(5)));
            (x, b.mul(x, y))
        };
        assert_eq!(
            free(|b| {
                product(b);
            }),
            nothing + 2
        );
        let once = |b: &mut Builder| {
            let (x, xy) = product(b);
            b.assert_constant(x, f(3));
            xy
        };
        assert_eq!(
            free(|b| {
                once(b);
            }),
            nothing + 1
        );
        let twice = |b: &mut Builder| {
            let xy = once(b);
            b.assert_constant(xy, f(15));
        };
        assert_eq!(free(twice), nothing);
        // One that follows from the others counts as an equation and not into the rank.
        let counts = counted(|b| {
            let xy = once(b);
            b.assert_constant(xy, f(15));
            b.assert_constant(xy, f(15));
        });
        assert_eq!(counts.free.len(), nothing);
        assert_eq!(counts.rank + 1, counts.equations);
    }

    #[test]
    fn a_bit_is_not_free_and_a_hash_is_as_free_as_what_it_is_of() {
        let nothing = free(|_| ());
        assert_eq!(
            free(|b| {
                b.bit(true);
            }),
            nothing
        );
        let hash = |n: u64| {
            free(|b| {
                let inputs: Vec<_> = (0..n).map(|i| b.witness(f(i + 9))).collect();
                b.hash(7, &inputs);
            })
        };
        let base = hash(0);
        assert_eq!(hash(2), base + 2);
        assert_eq!(hash(5), base + 5);
    }

    #[test]
    fn a_witness_that_fails_is_named() {
        let mut b = Builder::new(0, 4);
        let x = b.witness(f(3));
        b.assert_constant(x, f(4));
        let (layout, witness) = b.finish(None).unwrap();
        let got = of(&layout, &witness).unwrap_err();
        assert_eq!(got.gate, Gate::Arithmetic);
    }
}
