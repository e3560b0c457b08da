//! Registers for the values and cells of a row kernel.

use std::collections::HashMap;

use super::{Kind, Source, Step};

/// Where an operand of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Register(usize),
    Constant(u32),
    Cell { column: u32, rotation: u32 },
}

/// A line of a kernel. Registers hold elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Load { register: usize, column: u32, rotation: u32 },
    Compute { register: usize, kind: Kind, reads: Vec<Place> },
    Output { output: u32, from: Place },
}

/// Registers for the values of steps, and for cells while some are free.
struct Registers {
    /// At which steps each value and cell is read.
    reads: HashMap<Source, Vec<usize>>,
    holds: Vec<Option<Source>>,
    most: usize,
}

impl Registers {
    /// The first step after the first `from` that reads it.
    fn next_read(&self, source: Source, from: usize) -> Option<usize> {
        let reads = self.reads.get(&source)?;
        reads.get(reads.partition_point(|at| *at < from)).copied()
    }

    fn of(&self, source: Source) -> Option<usize> {
        self.holds.iter().position(|held| *held == Some(source))
    }

    /// A register that is free, or that of the cell which is read last, which must be after step `after`.
    fn take(&mut self, from: usize, after: usize) -> Option<usize> {
        if let Some(free) = self.holds.iter().position(Option::is_none) {
            return Some(free);
        }
        if self.holds.len() < self.most {
            self.holds.push(None);
            return Some(self.holds.len() - 1);
        }
        let mut best: Option<(usize, usize)> = None;
        for (register, held) in self.holds.iter().enumerate() {
            let Some(cell @ Source::Cell { .. }) = *held else { continue };
            let Some(next) = self.next_read(cell, from) else { continue };
            if next >= after && best.is_none_or(|(other, _)| next > other) {
                best = Some((next, register));
            }
        }
        best.map(|(_, register)| register)
    }
}

/// The lines of steps with `most` registers, which are enough for their values.
pub(super) fn place(steps: &[Step], most: usize) -> Vec<Line> {
    let mut reads: HashMap<Source, Vec<usize>> = HashMap::new();
    for (at, step) in steps.iter().enumerate() {
        step.distinct().into_iter().for_each(|read| reads.entry(read).or_default().push(at));
    }
    let mut registers = Registers { reads, holds: Vec::new(), most };
    let mut lines = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let mut places = HashMap::new();
        for source in step.distinct() {
            let place = match source {
                Source::Constant(index) => Place::Constant(index),
                Source::Cell { column, rotation } if registers.of(source).is_none() => {
                    let again = registers.next_read(source, at + 1);
                    let register = again.and_then(|again| registers.take(at, again + 1));
                    match register {
                        Some(register) => {
                            registers.holds[register] = Some(source);
                            lines.push(Line::Load { register, column, rotation });
                            Place::Register(register)
                        }
                        None => Place::Cell { column, rotation },
                    }
                }
                // Values are held until they are read for the last time.
                _ => Place::Register(registers.of(source).unwrap_or_default()),
            };
            places.insert(source, place);
        }
        for source in step.distinct() {
            if let (Some(register), None) =
                (registers.of(source), registers.next_read(source, at + 1))
            {
                registers.holds[register] = None;
            }
        }
        let reads: Vec<Place> = step.reads.iter().map(|read| places[read]).collect();
        if let Kind::Output(output) = step.kind {
            lines.push(Line::Output { output, from: reads[0] });
            continue;
        }
        let register = registers.take(at + 1, 0).unwrap_or_default();
        let value = Source::Value(at);
        registers.holds[register] = registers.reads.contains_key(&value).then_some(value);
        lines.push(Line::Compute { register, kind: step.kind.clone(), reads });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Source = Source::Cell { column: 0, rotation: 0 };
    const B: Source = Source::Cell { column: 1, rotation: 0 };

    fn loads(lines: &[Line]) -> usize {
        let is_cell = |place: &&Place| matches!(place, Place::Cell { .. });
        let of_line = |line: &Line| match line {
            Line::Load { .. } => 1,
            Line::Compute { reads, .. } => reads.iter().filter(is_cell).count(),
            Line::Output { from, .. } => usize::from(is_cell(&from)),
        };
        lines.iter().map(of_line).sum()
    }

    #[test]
    fn a_cell_stays_in_a_register_while_one_is_free() {
        let step = |kind, reads| Step { kind, reads };
        let steps = [
            step(Kind::Add, vec![A, B]),
            step(Kind::Square, vec![Source::Value(0)]),
            step(Kind::Sub, vec![Source::Value(1), A]),
            step(Kind::Output(0), vec![Source::Value(2)]),
        ];
        assert_eq!(loads(&place(&steps, 1)), 3);
        let [cell, other] = [0, 1].map(Place::Register);
        let b = Place::Cell { column: 1, rotation: 0 };
        let compute = |register, kind, reads| Line::Compute { register, kind, reads };
        let expected = [
            Line::Load { register: 0, column: 0, rotation: 0 },
            compute(1, Kind::Add, vec![cell, b]),
            compute(1, Kind::Square, vec![other]),
            compute(0, Kind::Sub, vec![other, cell]),
            Line::Output { output: 0, from: cell },
        ];
        assert_eq!(place(&steps, 2), expected);
    }

    #[test]
    fn the_cell_whose_next_read_is_farthest_gives_way() {
        let step = |kind, reads| Step { kind, reads };
        let value = Source::Value;
        // With two registers, one is the running sum's: it takes that of A, which is read after B.
        let steps = [
            step(Kind::Add, vec![A, B]),
            step(Kind::Add, vec![value(0), B]),
            step(Kind::Add, vec![value(1), A]),
            step(Kind::Output(0), vec![value(2)]),
        ];
        let lines = place(&steps, 2);
        assert_eq!(loads(&lines), 3, "{lines:?}");
        let again = Place::Cell { column: 0, rotation: 0 };
        assert!(matches!(&lines[4], Line::Compute { reads, .. } if reads[1] == again), "{lines:?}");
    }
}
