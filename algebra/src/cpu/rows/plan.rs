//! From the graph of a row kernel to steps that each end in at most one reduction.
//!
//! A sum of products needs a single Montgomery reduction, which costs half of a full product, so sums
//! are flattened: a term that only one sum uses is never computed on its own.
//!
//! # Bounds
//! A register contains a number of at most [`Limits::register`] multiples of p, and a sum is at most
//! [`Limits::sum`] of them; a longer one is cut. The plan keeps count, so that nothing at run time does.
//!
//! Only a negative reaches its bound: that of a cell that is zero is p. It is a factor and nothing else. Any other sum
//! starts with a cell, a constant or a product, which are below their bounds, and so is what is stored.

use std::collections::HashMap;

use crate::Fr;
use crate::graph::{Cell, Graph, Node, Operation, slots};

/// What the code that carries out a plan can hold. Bounds are in multiples of p.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Limits {
    /// Bound of a register.
    pub(in crate::cpu) register: u32,
    /// Bound of a cell as it is loaded.
    pub(in crate::cpu) cell: u32,
    /// What a sum may come to before it is reduced.
    pub(in crate::cpu) sum: u32,
    /// Bound of a number that was just reduced; at most that of a register.
    pub(in crate::cpu) reduced: u32,
    /// Most products of one sum.
    pub(in crate::cpu) products: usize,
    /// What the bounds of their first factors may add up to.
    pub(in crate::cpu) first_factors: u32,
    /// A Montgomery reduction takes products that add up to `n · p²` below `reduction + n / radix`.
    pub(in crate::cpu) reduction: u32,
    /// What that reduction divides by, 2^256 or 2^260: in hundredths of p, from below.
    pub(in crate::cpu) radix_hundredths: u32,
}

/// A register, or with the highest bit set a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) struct Operand(u32);

impl Operand {
    const CONSTANT: u32 = 1 << 31;

    /// The number of the register, or that of the constant.
    #[inline(always)]
    pub(in crate::cpu) fn place(self) -> Result<usize, usize> {
        let index = (self.0 & !Self::CONSTANT) as usize;
        if self.0 & Self::CONSTANT == 0 { Ok(index) } else { Err(index) }
    }
}

/// Ranges of [`Plan::products`] and [`Plan::summands`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) struct Range {
    pub(in crate::cpu) start: u32,
    pub(in crate::cpu) end: u32,
}

impl Range {
    #[inline(always)]
    pub(in crate::cpu) fn of<T>(self, all: &[T]) -> &[T] {
        &all[self.start as usize..self.end as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) enum Step {
    /// Loads a cell.
    Load { target: u32, column: u32, rotation: u32 },
    /// `Σ products + Σ plus − Σ minus`, at most `bound`; what keeps it from falling below zero is among `plus`. It is
    /// reduced if its bound is above that of a register.
    Sum { target: u32, products: Range, plus: Range, minus: Range, bound: u32 },
    /// Stores an output.
    Store { output: u32, source: u32 },
}

/// An operand that is the same for all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) enum Constant {
    Value(Fr),
    /// This many times p, for a difference that shall not fall below zero.
    Multiple(u32),
}

/// What to do for each step of rows.
#[derive(Debug)]
pub(in crate::cpu) struct Plan {
    pub(in crate::cpu) steps: Vec<Step>,
    /// At least one factor is a register: a product of two constants is a constant. The first one has the smaller
    /// bound.
    pub(in crate::cpu) products: Vec<(Operand, Operand)>,
    pub(in crate::cpu) summands: Vec<Operand>,
    pub(in crate::cpu) constants: Vec<Constant>,
    pub(in crate::cpu) limits: Limits,
    pub(in crate::cpu) registers: usize,
}

/// A term or its negative.
type Signed = (usize, bool);

/// The operands of a sum, before they have places.
#[derive(Debug, Default)]
struct Parts {
    products: Vec<(usize, usize, bool)>,
    summands: Vec<Signed>,
}

/// A value with a bound in multiples of p.
#[derive(Debug, Clone, Copy)]
struct Bounded {
    operand: Operand,
    bound: u32,
}

/// One addend of a sum, with places for its operands.
#[derive(Debug, Clone, Copy)]
enum Addend {
    Product(Bounded, Bounded),
    Plus(Bounded),
    Minus(Bounded),
}

struct Planner<'a> {
    graph: &'a Graph<Cell>,
    uses: Vec<u32>,
    /// Registers without end here, one for each value.
    plan: Plan,
    known: HashMap<Signed, Bounded>,
}

impl Plan {
    pub(in crate::cpu) fn new(graph: &Graph<Cell>, limits: Limits) -> Self {
        let uses = graph.uses_and_outputs();
        let plan = Self {
            steps: Vec::new(),
            products: Vec::new(),
            summands: Vec::new(),
            constants: Vec::new(),
            limits,
            registers: 0,
        };
        let mut planner = Planner { graph, uses, plan, known: HashMap::new() };
        for (output, term) in graph.roots().iter().enumerate() {
            let source = planner.value(*term, false);
            let source = match source.operand.place() {
                Ok(_) => source,
                Err(_) => planner.sum(vec![Addend::Plus(source)]),
            };
            planner
                .plan
                .steps
                .push(Step::Store { output: output as u32, source: source.operand.0 });
        }
        let mut plan = planner.plan;
        plan.share_registers();
        plan
    }

    /// What a step reads and writes, by the numbers of registers.
    fn step(&self, step: &Step) -> slots::Step {
        let mut reads: Vec<u32> = match step {
            Step::Load { .. } => vec![],
            Step::Store { source, .. } => vec![*source],
            Step::Sum { products, plus, minus, .. } => {
                let products = products.of(&self.products).iter().flat_map(|(a, b)| [a, b]);
                let summands = [plus, minus].into_iter().flat_map(|range| range.of(&self.summands));
                let operands = products.chain(summands);
                operands
                    .filter(|operand| operand.place().is_ok())
                    .map(|operand| operand.0)
                    .collect()
            }
        };
        reads.sort_unstable();
        let makes = match step {
            Step::Load { target, .. } | Step::Sum { target, .. } => Some(*target as usize),
            Step::Store { .. } => None,
        };
        slots::Step { reads: reads.into_iter().map(|register| register as usize).collect(), makes }
    }

    /// Gives registers that are no longer read to values that come after.
    fn share_registers(&mut self) {
        let steps: Vec<slots::Step> = self.steps.iter().map(|step| self.step(step)).collect();
        let slots = slots::share(self.registers, &steps);
        let shared: Vec<u32> =
            slots.of.iter().map(|slot| slot.map_or(u32::MAX, |slot| slot as u32)).collect();
        let rename = |register: &mut u32| *register = shared[*register as usize];
        let rename_operand = |operand: &mut Operand| {
            if operand.place().is_ok() {
                operand.0 = shared[operand.0 as usize];
            }
        };
        for step in &mut self.steps {
            match step {
                Step::Load { target, .. } | Step::Sum { target, .. } => rename(target),
                Step::Store { source, .. } => rename(source),
            }
        }
        self.products.iter_mut().for_each(|(a, b)| {
            rename_operand(a);
            rename_operand(b);
        });
        self.summands.iter_mut().for_each(rename_operand);
        self.registers = slots.count;
    }
}

impl Planner<'_> {
    /// A term that is computed only here, so may be part of what uses it.
    fn is_own(&self, term: usize) -> bool {
        matches!(self.graph.nodes()[term], Node::Binary(..)) && self.uses[term] == 1
    }

    fn gather(&self, term: usize, negative: bool, parts: &mut Parts) {
        let Node::Binary(operation, a, b) = self.graph.nodes()[term] else {
            return parts.summands.push((term, negative));
        };
        if operation == Operation::Mul {
            return parts.products.push((a, b, negative));
        }
        for (part, negative) in [(a, negative), (b, negative ^ (operation == Operation::Sub))] {
            if self.is_own(part) {
                self.gather(part, negative, parts);
            } else {
                parts.summands.push((part, negative));
            }
        }
    }

    fn new_register(&mut self) -> u32 {
        self.plan.registers += 1;
        self.plan.registers as u32 - 1
    }

    fn new_constant(&mut self, constant: Constant) -> Operand {
        self.plan.constants.push(constant);
        Operand(Operand::CONSTANT | (self.plan.constants.len() as u32 - 1))
    }

    /// The place of a term or of its negative, computed if it is not yet.
    fn value(&mut self, term: usize, negative: bool) -> Bounded {
        if let Some(known) = self.known.get(&(term, negative)) {
            return *known;
        }
        let value = match self.graph.nodes()[term] {
            Node::Constant(value, _) => {
                let value: Fr = if negative { -value } else { value };
                Bounded { operand: self.new_constant(Constant::Value(value)), bound: 1 }
            }
            Node::Variable(Cell { column, rotation }) if !negative => {
                let target = self.new_register();
                self.plan.steps.push(Step::Load {
                    target,
                    column: column as u32,
                    rotation: rotation as u32,
                });
                Bounded { operand: Operand(target), bound: self.plan.limits.cell }
            }
            _ if negative && !self.is_own(term) => {
                let positive = self.value(term, false);
                self.sum(vec![Addend::Minus(positive)])
            }
            _ => {
                let mut parts = Parts::default();
                self.gather(term, negative, &mut parts);
                self.sum_of(parts)
            }
        };
        self.known.insert((term, negative), value);
        value
    }

    /// Which factor of a negative product to negate: one where it costs nothing.
    fn negate_first(&self, a: usize, b: usize) -> bool {
        let cost = |term: usize| match self.graph.nodes()[term] {
            Node::Constant(..) => 0,
            _ if self.known.contains_key(&(term, true)) => 1,
            _ if self.is_own(term) => 2,
            _ => 3,
        };
        cost(a) <= cost(b)
    }

    fn sum_of(&mut self, parts: Parts) -> Bounded {
        let mut addends = Vec::with_capacity(parts.products.len() + parts.summands.len());
        for (a, b, negative) in parts.products {
            let first = negative && self.negate_first(a, b);
            let a = self.value(a, first);
            let b = self.value(b, negative && !first);
            let (a, b) = if a.bound <= b.bound { (a, b) } else { (b, a) };
            addends.push(Addend::Product(a, b));
        }
        for (term, negative) in parts.summands {
            let is_constant = self.graph.constant(term).is_some();
            let value = self.value(term, negative && is_constant);
            let plus = !negative || is_constant;
            addends.push(if plus { Addend::Plus(value) } else { Addend::Minus(value) });
        }
        self.sum(addends)
    }

    /// Adds up, in several steps where one would grow too large.
    fn sum(&mut self, addends: Vec<Addend>) -> Bounded {
        let mut rest = addends.as_slice();
        let mut carried: Option<Bounded> = None;
        loop {
            let mut taken = 0;
            let limits = self.plan.limits;
            let mut totals =
                Totals { summands: carried.map_or(0, |c| c.bound), ..Totals::default() };
            for addend in rest {
                let next = totals.with(addend);
                if !next.fits(&limits) {
                    break;
                }
                totals = next;
                taken += 1;
            }
            assert!(taken > 0, "one addend fits beside a register");
            let (now, later) = rest.split_at(taken);
            let value = self.step(now, carried, totals);
            if later.is_empty() {
                return value;
            }
            rest = later;
            carried = Some(value);
        }
    }

    fn step(&mut self, addends: &[Addend], carried: Option<Bounded>, totals: Totals) -> Bounded {
        let products = self.plan.products.len();
        let mut plus: Vec<Operand> = carried.iter().map(|value| value.operand).collect();
        let mut minus = Vec::new();
        for addend in addends {
            match addend {
                Addend::Product(a, b) => self.plan.products.push((a.operand, b.operand)),
                Addend::Plus(value) => plus.push(value.operand),
                Addend::Minus(value) => minus.push(value.operand),
            }
        }
        if totals.minus > 0 {
            plus.push(self.new_constant(Constant::Multiple(totals.minus)));
        }
        let start = self.plan.summands.len() as u32;
        let middle = start + plus.len() as u32;
        self.plan.summands.extend(plus);
        self.plan.summands.extend(minus);
        let target = self.new_register();
        let limits = &self.plan.limits;
        let bound = totals.bound(limits);
        let register = if bound > limits.register { limits.reduced } else { bound };
        self.plan.steps.push(Step::Sum {
            target,
            products: Range { start: products as u32, end: self.plan.products.len() as u32 },
            plus: Range { start, end: middle },
            minus: Range { start: middle, end: self.plan.summands.len() as u32 },
            bound,
        });
        Bounded { operand: Operand(target), bound: register }
    }
}

/// What addends come to, in multiples of p.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    count: usize,
    first_factors: u32,
    /// In multiples of p².
    products: u32,
    summands: u32,
    /// What is subtracted, and as much is added first.
    minus: u32,
}

impl Totals {
    fn with(self, addend: &Addend) -> Self {
        match addend {
            Addend::Product(a, b) => Self {
                count: self.count + 1,
                first_factors: self.first_factors + a.bound,
                products: self.products + a.bound * b.bound,
                ..self
            },
            Addend::Plus(value) => Self { summands: self.summands + value.bound, ..self },
            Addend::Minus(value) => Self { minus: self.minus + value.bound, ..self },
        }
    }

    fn bound(self, limits: &Limits) -> u32 {
        let reduced = (100 * self.products).div_ceil(limits.radix_hundredths);
        let products = if self.count > 0 { limits.reduction + reduced } else { 0 };
        products + self.summands + self.minus
    }

    fn fits(self, limits: &Limits) -> bool {
        self.bound(limits) <= limits.sum
            && self.count <= limits.products
            && self.first_factors <= limits.first_factors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{numbers, picks};
    use crate::device::{Expr, Row, RowKernel};
    use crate::graph::Expression;

    const SMALL: Limits = crate::cpu::rows::LIMITS;
    #[cfg(target_arch = "x86_64")]
    const LARGE: Limits = crate::cpu::ifma::rows::LIMITS;
    #[cfg(not(target_arch = "x86_64"))]
    const LARGE: Limits = SMALL;
    #[cfg(target_arch = "x86_64")]
    const MIDDLE: Limits = crate::cpu::avx2::rows::LIMITS;
    #[cfg(not(target_arch = "x86_64"))]
    const MIDDLE: Limits = SMALL;

    /// `c·(ab − cd) + a·7 − b + (ab − cd)`, with one sum in two places.
    struct Sample;

    impl RowKernel for Sample {
        type Constants<E: Expr> = E;
        fn constants<E: Expr>(&self) -> E {
            E::constant(Fr::from(7u64))
        }
        fn outputs(&self) -> usize {
            1
        }
        fn eval<E: Expr, R: Row<E>>(&self, seven: &E, row: &R, out: &mut [E]) {
            let [a, b, c, d] = std::array::from_fn(|i| row.cell(i, 0));
            let shared = a.clone() * b.clone() - c.clone() * d;
            out[0] = c * shared.clone() + a * seven.clone() - b + shared;
        }
    }

    /// Products, summands to add and summands to subtract of each sum of a plan.
    fn sums(plan: &Plan) -> Vec<(usize, usize, usize)> {
        let counts = |step: &Step| match step {
            Step::Sum { products, plus, minus, .. } => Some((
                products.of(&plan.products).len(),
                plus.of(&plan.summands).len(),
                minus.of(&plan.summands).len(),
            )),
            _ => None,
        };
        plan.steps.iter().filter_map(counts).collect()
    }

    #[test]
    fn a_sum_of_products_is_one_step() {
        for limits in [SMALL, MIDDLE, LARGE] {
            let plan = Plan::new(&Graph::record(&Sample), limits);
            // The shared sum negates a factor first; the last sum adds a multiple of p before it subtracts b.
            assert_eq!(sums(&plan), [(0, 1, 1), (2, 0, 0), (2, 2, 1)]);
            let loads = plan.steps.iter().filter(|step| matches!(step, Step::Load { .. })).count();
            assert_eq!(loads, 4);
            assert!(plan.registers <= 5, "{} registers", plan.registers);
        }
    }

    #[test]
    fn two_products_of_words_share_a_reduction() {
        let cell = |column| Expression::var(Cell { column, rotation: 0 });
        let product = |a: usize, b: usize| cell(a) * cell(b);
        let five = product(0, 1) + product(1, 2) + product(2, 3) + product(3, 0) + product(0, 2);
        let graph = Graph::new(crate::graph::Identity::Source, &[five]);
        assert_eq!(sums(&Plan::new(&graph, SMALL)), [(2, 0, 0), (2, 1, 0), (1, 1, 0)]);
    }

    /// Carries out a plan on elements, and checks the bounds as it goes: those of registers, of sums and of
    /// differences, from the operands alone.
    fn carry_out(plan: &Plan, cells: &[Fr], outputs: usize) -> Vec<Fr> {
        let limits = &plan.limits;
        let mut registers = vec![(Fr::from(0u64), 0u32); plan.registers];
        let mut out = vec![Fr::from(0u64); outputs];
        let value = |registers: &[(Fr, u32)], operand: &Operand| match operand.place() {
            Ok(register) => registers[register],
            Err(constant) => match plan.constants[constant] {
                Constant::Value(value) => (value, 1),
                Constant::Multiple(k) => (Fr::from(0u64), k),
            },
        };
        for step in &plan.steps {
            match *step {
                Step::Load { target, column, .. } => {
                    registers[target as usize] = (cells[column as usize], limits.cell);
                }
                Step::Sum { target, products, plus, minus, bound } => {
                    let value = |operand| value(&registers, operand);
                    let products = products.of(&plan.products);
                    let pairs: Vec<_> =
                        products.iter().map(|(a, b)| (value(a), value(b))).collect();
                    // What is certain to be added: the other summands may be zero.
                    let least: u32 = plus
                        .of(&plan.summands)
                        .iter()
                        .filter_map(|operand| operand.place().err())
                        .filter_map(|constant| match plan.constants[constant] {
                            Constant::Multiple(k) => Some(k),
                            Constant::Value(_) => None,
                        })
                        .sum();
                    let [plus, minus] = [plus, minus].map(|range| {
                        let all = range.of(&plan.summands).iter().map(value);
                        all.fold((Fr::from(0u64), 0), |sum, x| (sum.0 + x.0, sum.1 + x.1))
                    });
                    let first: u32 = pairs.iter().map(|(a, _)| a.1).sum();
                    let square: u32 = pairs.iter().map(|(a, b)| a.1 * b.1).sum();
                    assert!(pairs.len() <= limits.products && first <= limits.first_factors);
                    assert!(products.iter().all(|(a, b)| a.place().or(b.place()).is_ok()));
                    let reduced = match pairs.len() {
                        0 => 0,
                        _ => limits.reduction + (100 * square).div_ceil(limits.radix_hundredths),
                    };
                    assert!(minus.1 <= least, "a sum may fall below zero");
                    assert!(
                        reduced + plus.1 <= bound && bound <= limits.sum,
                        "a sum exceeds its bound"
                    );
                    let sum = pairs.iter().fold(plus.0 - minus.0, |sum, (a, b)| sum + a.0 * b.0);
                    let bound = if bound > limits.register { limits.reduced } else { bound };
                    registers[target as usize] = (sum, bound);
                }
                Step::Store { output, source } => {
                    out[output as usize] = registers[source as usize].0;
                }
            }
        }
        out
    }

    /// Goal: a plan computes its graph, and no number in it grows past its limit. Method: random graphs, with terms
    /// in several places, long sums, constants alone and outputs that are cells.
    #[test]
    fn a_plan_computes_its_graph_within_the_limits() {
        for seed in 0..300 {
            let mut pick = picks(seed, "plan");
            let cells = numbers(seed, "cells", 4);
            let mut terms: Vec<Expression<Cell>> =
                (0..4).map(|column| Expression::var(Cell { column, rotation: 0 })).collect();
            terms.extend(numbers(seed, "constants", 3).into_iter().map(Expression::constant));
            for _ in 0..pick(60) + 1 {
                // The latest terms more often than others, for deep graphs.
                let [mut a, mut b] = [0; 2].map(|_| pick(terms.len()));
                (a, b) = if pick(2) == 0 { (terms.len() - 1, b) } else { (a, b) };
                let (a, b) = (terms[a].clone(), terms[b].clone());
                terms.push(match pick(4) {
                    0 => a + b,
                    1 => a - b,
                    _ => a * b,
                });
            }
            let roots: Vec<Expression<Cell>> = (0..3)
                .map(|_| terms[pick(terms.len())].clone())
                .chain(terms.last().cloned())
                .collect();
            let graph = Graph::new(crate::graph::Identity::Source, &roots);
            let expected = graph.evaluate(|Cell { column, .. }| cells[column]);
            for limits in [SMALL, MIDDLE, LARGE] {
                let out = carry_out(&Plan::new(&graph, limits), &cells, roots.len());
                assert_eq!(out, expected, "seed {seed}");
            }
        }
    }
}
