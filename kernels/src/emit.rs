//! The CUDA text of a row program.
//!
//! A kernel is made of the program's steps by three changes that leave every value as it is. Products of a sum share
//! one reduction, up to as many as [`Shape`] says, where no more values live at a time for it. Squares are computed as
//! such. A cell that is read again stays in a register while one is free, and the first to give way is the one whose
//! next read is farthest (Belady 1966). The interpreter in `cuda/rows.cuh` runs the steps as they were.

mod registers;

use std::collections::HashMap;

use self::registers::{Line, Place, place};
use crate::program::{Operand, Operation, Program};

/// Products of limbs in the product of two elements, and in its reduction; and in a square without it.
const PRODUCT: u64 = 64;
const REDUCTION: u64 = 64;
const SQUARE: u64 = 36;
/// What joining products has to save at least.
const WORTHWHILE: u64 = 32;

/// What a generated kernel trades for what. These are numbers to measure: more terms and spare registers save
/// arithmetic and reads, and may cost warps or spilled registers.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Products that share a reduction, at most 4.
    terms: usize,
    /// Elements in registers beyond the values that live at a time.
    spare: usize,
    /// Blocks of a multiprocessor that the compiler has to leave registers for; with 0 it decides.
    blocks: u32,
}

/// For programs of up to [`SHORT`] products, and for longer ones, which are the quotient's. With four terms the quotient
/// has 32,548 products of limbs instead of 34,660, and the compiler spills 1,376 to 1,536 bytes instead of 736 to 1,160.
const SHAPES: [Shape; 2] =
    [Shape { terms: 2, spare: 0, blocks: 0 }, Shape { terms: 2, spare: 0, blocks: 0 }];
const SHORT: usize = 100;

/// Where a step finds a value: what a step makes goes by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Value(usize),
    Constant(u32),
    Cell { column: u32, rotation: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Add,
    Sub,
    Square,
    /// The sum of the products of pairs that are read; true for those that are subtracted.
    Dot(Vec<bool>),
    Output(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    kind: Kind,
    reads: Vec<Source>,
}

impl Step {
    fn is_sum(&self) -> bool {
        matches!(self.kind, Kind::Add | Kind::Sub)
    }

    fn is_product(&self) -> bool {
        matches!(self.kind, Kind::Square | Kind::Dot(_))
    }

    /// The pairs of factors of a product.
    fn factors(&self) -> Vec<Source> {
        match self.kind {
            Kind::Square => [self.reads.clone(), self.reads.clone()].concat(),
            _ => self.reads.clone(),
        }
    }

    /// What it reads, each once.
    fn distinct(&self) -> Vec<Source> {
        let mut distinct = Vec::new();
        for read in &self.reads {
            if !distinct.contains(read) {
                distinct.push(*read);
            }
        }
        distinct
    }

    /// Products of limbs.
    fn cost(&self) -> u64 {
        match &self.kind {
            Kind::Square => SQUARE + REDUCTION,
            Kind::Dot(terms) => terms.len() as u64 * PRODUCT + REDUCTION,
            Kind::Add | Kind::Sub | Kind::Output(_) => 0,
        }
    }
}

/// A product of a sum by the number of its step, and whether it is subtracted.
type Term = (usize, bool);

fn steps_of(program: &Program) -> Vec<Step> {
    // The step that made what a register holds.
    let mut made = vec![0; program.registers as usize];
    let mut steps = Vec::with_capacity(program.instructions.len());
    for instruction in &program.instructions {
        let source = |operand| match operand {
            Operand::Register(index) => Source::Value(made[index as usize]),
            Operand::Constant(index) => Source::Constant(index),
            Operand::Cell { column, rotation } => Source::Cell { column, rotation },
        };
        let (a, b) = (source(instruction.a), source(instruction.b));
        let (kind, reads) = match instruction.operation {
            Operation::Add => (Kind::Add, vec![a, b]),
            Operation::Sub => (Kind::Sub, vec![a, b]),
            Operation::Mul => (Kind::Dot(vec![false]), vec![a, b]),
            Operation::Square => (Kind::Square, vec![a]),
            Operation::Output => (Kind::Output(instruction.target), vec![a]),
        };
        if !matches!(kind, Kind::Output(_)) {
            made[instruction.target as usize] = steps.len();
        }
        steps.push(Step { kind, reads });
    }
    steps
}

fn cost(steps: &[Step]) -> u64 {
    steps.iter().map(Step::cost).sum()
}

fn uses(steps: &[Step]) -> Vec<usize> {
    let mut uses = vec![0; steps.len()];
    for read in steps.iter().flat_map(|step| &step.reads) {
        if let Source::Value(value) = read {
            uses[*value] += 1;
        }
    }
    uses
}

/// The most values that live at a time. What a step makes may take the place of what it reads.
fn most_live(steps: &[Step]) -> usize {
    let mut last = vec![0; steps.len()];
    for (at, step) in steps.iter().enumerate() {
        for read in &step.reads {
            if let Source::Value(value) = read {
                last[*value] = at;
            }
        }
    }
    let (mut live, mut most) = (0usize, 0usize);
    for (at, step) in steps.iter().enumerate() {
        let ends = |read: &Source| matches!(read, Source::Value(value) if last[*value] == at);
        live -= step.distinct().into_iter().filter(ends).count();
        if !matches!(step.kind, Kind::Output(_)) {
            live += 1;
            most = most.max(live);
        }
    }
    most
}

/// The summands of every sum in order. Sums that only another one begins with are part of that.
fn sums(steps: &[Step], uses: &[usize]) -> Vec<Vec<(bool, Source)>> {
    let begins = |step: &Step| match step.reads[0] {
        Source::Value(value) if steps[value].is_sum() && uses[value] == 1 => Some(value),
        _ => None,
    };
    let inner: Vec<usize> = steps.iter().filter(|step| step.is_sum()).filter_map(begins).collect();
    let mut all = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        if !step.is_sum() || inner.contains(&at) {
            continue;
        }
        let (mut summands, mut part) = (Vec::new(), step);
        loop {
            summands.push((part.kind == Kind::Sub, part.reads[1]));
            match begins(part) {
                Some(value) => part = &steps[value],
                None => break,
            }
        }
        summands.push((false, part.reads[0]));
        summands.reverse();
        all.push(summands);
    }
    all
}

/// The steps with each group of products joined where the last of them is added. `None` where a sum would begin with
/// what is subtracted.
fn join(steps: &[Step], groups: &[Vec<Term>]) -> Option<Vec<Step>> {
    let mut joined: HashMap<usize, &Vec<Term>> = HashMap::new();
    for group in groups {
        joined.extend(group.iter().map(|(product, _)| (*product, group)));
    }
    let mut out: Vec<Step> = Vec::with_capacity(steps.len());
    // What each value has become; nothing for a sum of which nothing is left yet.
    let mut became: Vec<Option<Source>> = Vec::with_capacity(steps.len());
    let push = |out: &mut Vec<Step>, kind, reads| {
        out.push(Step { kind, reads });
        Some(Source::Value(out.len() - 1))
    };
    for (at, step) in steps.iter().enumerate() {
        let now = |source: Source| match source {
            Source::Value(value) => became[value],
            other => Some(other),
        };
        if joined.contains_key(&at) {
            became.push(None);
            continue;
        }
        let group = match (step.is_sum(), step.reads.get(1)) {
            (true, Some(Source::Value(value))) => joined.get(value).map(|group| (*value, *group)),
            _ => None,
        };
        let value = match group {
            Some((product, group)) => {
                let before = now(step.reads[0]);
                if group.last().is_some_and(|(last, _)| *last != product) {
                    before
                } else {
                    let all_minus = before.is_some() && group.iter().all(|(_, minus)| *minus);
                    let signs = group.iter().map(|(_, minus)| *minus && !all_minus).collect();
                    let factors = group.iter().flat_map(|(product, _)| steps[*product].factors());
                    let factors = factors.map(now).collect::<Option<Vec<_>>>()?;
                    let dot = push(&mut out, Kind::Dot(signs), factors);
                    let kind = if all_minus { Kind::Sub } else { Kind::Add };
                    match (before, dot) {
                        (Some(before), Some(dot)) => push(&mut out, kind, vec![before, dot]),
                        (_, dot) => dot,
                    }
                }
            }
            None if step.is_sum() && now(step.reads[0]).is_none() => {
                if step.kind == Kind::Sub {
                    return None;
                }
                now(step.reads[1])
            }
            None => {
                let reads = step.reads.iter().map(|read| now(*read)).collect::<Option<Vec<_>>>()?;
                push(&mut out, step.kind.clone(), reads)
            }
        };
        became.push(value);
    }
    Some(out)
}

/// Joins products of sums, as many as `terms` at a time, while at most `live` values live at a time.
fn join_products(steps: &[Step], terms: usize, live: usize) -> Vec<Step> {
    let uses = uses(steps);
    let product = |(minus, source): &(bool, Source)| match source {
        Source::Value(value) if uses[*value] == 1 && steps[*value].is_product() => {
            Some((*value, *minus))
        }
        _ => None,
    };
    let mut best = steps.to_vec();
    let mut groups: Vec<Vec<Term>> = Vec::new();
    for sum in sums(steps, &uses) {
        let mut open: Vec<Term> = Vec::new();
        for term in sum.iter().filter_map(product) {
            let mut trial = groups.clone();
            if open.len() > 1 {
                trial.pop();
            }
            open.push(term);
            trial.push(open.clone());
            let joined = (2..=terms).contains(&open.len()).then(|| join(steps, &trial)).flatten();
            match joined {
                Some(joined)
                    if most_live(&joined) <= live && cost(&joined) + WORTHWHILE <= cost(&best) =>
                {
                    (best, groups) = (joined, trial);
                }
                _ => open = vec![term],
            }
        }
    }
    best
}

/// The functions that the kernels of all programs call.
pub(crate) const FUNCTIONS: &str = "\
// One copy for all products: hundreds of them would not fit into an instruction cache.
RM_NOINLINE Fr row_mul(Fr a, Fr b) { return mul(a, b); }
RM_NOINLINE Fr row_sqr(Fr a) { return sqr(a); }
RM_NOINLINE Fr row_difference(Fr a, Fr b, Fr c, Fr d) { return mul_sub(a, b, c, d); }
RM_NOINLINE Fr row_dot2(Fr a, Fr b, Fr c, Fr d) {
  const Fr x[2] = {a, c}, y[2] = {b, d};
  return dot(x, y);
}
RM_NOINLINE Fr row_dot3(Fr a, Fr b, Fr c, Fr d, Fr e, Fr f) {
  const Fr x[3] = {a, c, e}, y[3] = {b, d, f};
  return dot(x, y);
}
RM_NOINLINE Fr row_dot4(Fr a, Fr b, Fr c, Fr d, Fr e, Fr f, Fr g, Fr h) {
  const Fr x[4] = {a, c, e, g}, y[4] = {b, d, f, h};
  return dot(x, y);
}

// Rotations are few, but more than the rows of the smallest columns.
RM_DEV u64 row_at(u64 row, u64 rotation, u64 n) {
  u64 at = row + rotation;
  while (at >= n) at -= n;
  return at;
}
";

fn text_of(place: Place) -> String {
    match place {
        Place::Register(index) => format!("r{index}"),
        Place::Constant(index) => format!("constants[{index}]"),
        Place::Cell { column, rotation } => format!("columns[{column}][at{rotation}]"),
    }
}

/// The cells among places, as rotation and column.
fn cells_of(places: &[Place]) -> Vec<(u32, u32)> {
    let cell = |place: &Place| match *place {
        Place::Cell { column, rotation } => Some((rotation, column)),
        Place::Register(_) | Place::Constant(_) => None,
    };
    places.iter().filter_map(cell).collect()
}

fn call_of(kind: &Kind, reads: &[Place]) -> String {
    let mut arguments: Vec<String> = reads.iter().map(|place| text_of(*place)).collect();
    let function = match kind {
        Kind::Add => "add".to_owned(),
        Kind::Sub => "sub".to_owned(),
        Kind::Square => "row_sqr".to_owned(),
        Kind::Output(_) => String::new(),
        Kind::Dot(signs) => match signs.as_slice() {
            [false] => "row_mul".to_owned(),
            [false, true] => "row_difference".to_owned(),
            [true, false] => {
                arguments.rotate_left(2);
                "row_difference".to_owned()
            }
            signs => {
                for (term, _) in signs.iter().enumerate().filter(|(_, minus)| **minus) {
                    arguments[2 * term] = format!("neg({})", arguments[2 * term]);
                }
                format!("row_dot{}", signs.len())
            }
        },
    };
    format!("{function}({})", arguments.join(", "))
}

impl Program {
    /// The lines of its kernel, its cost in products of limbs, and the shape.
    fn lines(&self) -> (Vec<Line>, u64, Shape) {
        let steps = steps_of(self);
        let products = steps.iter().filter(|step| step.is_product()).count();
        let shape = SHAPES[usize::from(products > SHORT)];
        let live = most_live(&steps);
        let steps = join_products(&steps, shape.terms, live);
        let cost = cost(&steps);
        (place(&steps, live + shape.spare), cost, shape)
    }

    /// The program as a CUDA kernel with parameters (columns, outputs, constants, n).
    pub(crate) fn to_cuda(&self) -> String {
        let (lines, cost, shape) = self.lines();
        let (mut cells, mut registers, mut body) = (Vec::new(), 0usize, String::new());
        for line in &lines {
            let (text, mut read) = match line {
                Line::Load { register, column, rotation } => {
                    registers = registers.max(register + 1);
                    let cell = Place::Cell { column: *column, rotation: *rotation };
                    (format!("r{register} = {}", text_of(cell)), vec![(*rotation, *column)])
                }
                Line::Compute { register, kind, reads } => {
                    registers = registers.max(register + 1);
                    (format!("r{register} = {}", call_of(kind, reads)), cells_of(reads))
                }
                Line::Output { output, from } => {
                    (format!("outputs[{output}][row] = {}", text_of(*from)), cells_of(&[*from]))
                }
            };
            body += &format!("  {text};\n");
            // A line that names a cell twice reads it once.
            read.sort_unstable();
            read.dedup();
            cells.extend(read);
        }
        let loads = cells.len();
        cells.sort_unstable();
        cells.dedup();
        let bounds = match shape.blocks {
            0 => "RM_KERNEL(128)".to_owned(),
            blocks => format!("RM_KERNEL_BLOCKS(128, {blocks})"),
        };
        let mut text = format!(
            "// {cost} products of limbs, {loads} reads of {} cells, {registers} registers of an element.\n\
             {bounds} {}(const Fr* const* columns, Fr* const* outputs, const Fr* constants, u64 n) {{\n  \
             const u64 row = global_index();\n  if (row >= n) return;\n",
            cells.len(),
            self.name
        );
        let mut rotations: Vec<u32> = cells.into_iter().map(|(rotation, _)| rotation).collect();
        rotations.dedup();
        for rotation in rotations {
            text += &format!("  const u64 at{rotation} = row_at(row, {rotation}, n);\n");
        }
        if registers > 0 {
            let names: Vec<String> = (0..registers).map(|i| format!("r{i}")).collect();
            text += &format!("  Fr {};\n", names.join(", "));
        }
        text + &body + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::AdditiveGroup;
    use rollmill_algebra::Fr;
    use rollmill_algebra::conformance::{Random, numbers};

    use super::*;
    use crate::program::Programs;

    fn compute(kind: &Kind, reads: &[Fr]) -> Fr {
        match kind {
            Kind::Add => reads[0] + reads[1],
            Kind::Sub => reads[0] - reads[1],
            Kind::Square => reads[0] * reads[0],
            Kind::Dot(signs) => {
                signs.iter().zip(reads.chunks(2)).fold(Fr::ZERO, |sum, (minus, pair)| {
                    let product = pair[0] * pair[1];
                    if *minus { sum - product } else { sum + product }
                })
            }
            Kind::Output(_) => reads[0],
        }
    }

    /// Goal: a kernel's lines compute what the program's kernel does, whatever it trades. Method: random kernels; the
    /// lines are carried out on registers that are empty at first and as few as the values fit in.
    #[test]
    fn lines_have_the_values_of_their_kernel() {
        let mut joined = 0;
        for seed in 0..24 {
            let random = Random { seed, shape: seed as u32, steps: 10 + 5 * seed as usize };
            let cells = numbers(seed, "cells", 12);
            let (program, constants) = Programs::default().record(&random).unwrap();
            let plain = steps_of(&program);
            let live = most_live(&plain);
            assert!(live <= program.registers as usize, "seed {seed}");
            for (terms, spare) in [(1, 0), (2, 0), (3, 1), (4, 0), (4, 3), (4, 100)] {
                let steps = join_products(&plain, terms, live);
                assert!(most_live(&steps) <= live && cost(&steps) <= cost(&plain), "seed {seed}");
                joined += usize::from(cost(&steps) < cost(&plain));
                let mut registers = vec![None; live + spare];
                let mut outputs = vec![None; program.outputs];
                for line in place(&steps, live + spare) {
                    let cell = |column: u32, rotation: u32| cells[(4 * rotation + column) as usize];
                    let value = |place: &Place| match *place {
                        Place::Register(index) => registers[index].expect("a value"),
                        Place::Constant(index) => constants[index as usize],
                        Place::Cell { column, rotation } => cell(column, rotation),
                    };
                    match line {
                        Line::Load { register, column, rotation } => {
                            registers[register] = Some(cell(column, rotation));
                        }
                        Line::Compute { register, kind, reads } => {
                            let reads: Vec<Fr> = reads.iter().map(value).collect();
                            registers[register] = Some(compute(&kind, &reads));
                        }
                        Line::Output { output, from } => {
                            outputs[output as usize] = Some(value(&from));
                        }
                    }
                }
                let expected = random.over(&cells).map(Some);
                assert_eq!(outputs, expected, "seed {seed}, {terms} terms, {spare} spare");
            }
        }
        assert!(joined > 20, "only {joined} programs had products to join");
    }

    #[test]
    fn products_with_signs_are_written_so_that_one_reduction_is_enough() {
        let places: Vec<Place> = (0..6).map(Place::Register).collect();
        let text = |signs: &[bool]| call_of(&Kind::Dot(signs.to_vec()), &places[..2 * signs.len()]);
        assert_eq!(text(&[false]), "row_mul(r0, r1)");
        assert_eq!(text(&[false, false]), "row_dot2(r0, r1, r2, r3)");
        assert_eq!(text(&[false, true]), "row_difference(r0, r1, r2, r3)");
        assert_eq!(text(&[true, false]), "row_difference(r2, r3, r0, r1)");
        assert_eq!(text(&[false, true, true]), "row_dot3(r0, r1, neg(r2), r3, neg(r4), r5)");
    }
}
