//! The order of a row program's terms, chosen so that few values are live at a time.
//!
//! Products compute the operand that needs more registers first (Sethi and Ullman 1970). Sums are reordered:
//! nested sums that nothing else uses are flattened, and the next summand is always the one that leaves the
//! fewest live values, which is the one that ends the lives of values that several terms share.

use std::collections::HashMap;

use super::{Cell, Graph, Node, Operation};

/// A value: a term by its number, or a part of a sum by a number above all terms'.
pub type Value = usize;

/// A step of a row program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `target = a operation b`.
    Compute { target: Value, operation: Operation, a: Value, b: Value },
    /// An output is ready.
    Output { index: usize, value: Value },
}

#[derive(Debug, Clone, Copy)]
struct Summand {
    minus: bool,
    term: usize,
}

struct Schedule<'a> {
    graph: &'a Graph<Cell>,
    /// The summands of a term, with nested sums flattened. Empty for cells and constants.
    parts: Vec<Vec<Summand>>,
    /// Registers that the term takes to compute.
    needs: Vec<usize>,
    /// Remaining uses.
    left: Vec<usize>,
    done: Vec<bool>,
    steps: Vec<Step>,
    next: Value,
}

/// The steps that compute the roots of a graph, and how many values they have.
pub fn schedule(graph: &Graph<Cell>) -> (Vec<Step>, usize) {
    let mut schedule = Schedule::new(graph);
    for (index, root) in graph.roots().iter().enumerate() {
        schedule.evaluate(*root);
        schedule.left[*root] -= 1;
        schedule.steps.push(Step::Output { index, value: *root });
    }
    (schedule.steps, schedule.next)
}

impl<'a> Schedule<'a> {
    fn new(graph: &'a Graph<Cell>) -> Self {
        let (nodes, uses) = (graph.nodes(), graph.uses_and_outputs());
        let mut parts: Vec<Vec<Summand>> = Vec::with_capacity(nodes.len());
        let mut needs = Vec::with_capacity(nodes.len());
        for node in nodes {
            let of = match *node {
                Node::Binary(Operation::Mul, a, b) => {
                    [a, b].map(|term| Summand { minus: false, term }).to_vec()
                }
                Node::Binary(operation, a, b) => {
                    let mut all = Vec::new();
                    for (term, minus) in [(a, false), (b, operation == Operation::Sub)] {
                        let inner = matches!(
                            nodes[term],
                            Node::Binary(Operation::Add | Operation::Sub, ..)
                        );
                        if inner && uses[term] == 1 {
                            let parts = parts[term].iter();
                            all.extend(parts.map(|x| Summand { minus: x.minus != minus, ..*x }));
                        } else {
                            all.push(Summand { minus, term });
                        }
                    }
                    all
                }
                _ => Vec::new(),
            };
            let mut registers: Vec<usize> = of.iter().map(|part| needs[part.term]).collect();
            registers.sort_unstable_by(|a, b| b.cmp(a));
            let most = registers.iter().enumerate().map(|(i, need)| need + i.min(1)).max();
            needs.push(most.map_or(0, |most| most.max(1)));
            parts.push(of);
        }
        let mut left = vec![0; nodes.len()];
        graph.roots().iter().for_each(|root| left[*root] += 1);
        for id in (0..nodes.len()).rev() {
            if left[id] > 0 {
                parts[id].iter().for_each(|part| left[part.term] += 1);
            }
        }
        let (done, steps, next) = (vec![false; nodes.len()], Vec::new(), nodes.len());
        Self { graph, parts, needs, left, done, steps, next }
    }

    fn evaluate(&mut self, id: usize) {
        let Node::Binary(operation, a, b) = self.graph.nodes()[id] else { return };
        if self.done[id] {
            return;
        }
        if operation == Operation::Mul {
            let (first, second) = if self.needs[a] >= self.needs[b] { (a, b) } else { (b, a) };
            self.evaluate(first);
            self.evaluate(second);
            self.compute(id, operation, a, b);
        } else {
            self.sum(id);
        }
        self.done[id] = true;
    }

    fn sum(&mut self, id: usize) {
        let mut rest = self.parts[id].clone();
        let mut sum: Option<Value> = None;
        while !rest.is_empty() {
            let Summand { minus, term } = rest.remove(self.next_of(&rest, sum.is_none()));
            self.evaluate(term);
            let Some(before) = sum else {
                sum = Some(term);
                continue;
            };
            let target = if rest.is_empty() { id } else { self.next };
            self.next += usize::from(target == self.next);
            let operation = if minus { Operation::Sub } else { Operation::Add };
            self.compute(target, operation, before, term);
            sum = Some(target);
        }
    }

    fn compute(&mut self, target: Value, operation: Operation, a: Value, b: Value) {
        for value in [a, b] {
            if let Some(left) = self.left.get_mut(value) {
                *left -= 1;
            }
        }
        self.steps.push(Step::Compute { target, operation, a, b });
    }

    /// Which summand to compute next; the first one is added, not subtracted.
    fn next_of(&self, rest: &[Summand], is_first: bool) -> usize {
        let mut best = None;
        for (at, part) in rest.iter().enumerate().filter(|(_, part)| !(is_first && part.minus)) {
            let rank = (self.gain(part.term), self.needs[part.term]);
            if best.is_none_or(|(_, other)| rank > other) {
                best = Some((at, rank));
            }
        }
        best.map_or(0, |(at, _)| at)
    }

    /// How many values computing a term for its last use frees, less those it leaves for others.
    fn gain(&self, id: usize) -> isize {
        if self.parts[id].is_empty() {
            return 0;
        }
        if self.done[id] {
            return isize::from(self.left[id] == 1);
        }
        let mut used: HashMap<usize, usize> = HashMap::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            for part in self.parts[id].iter().filter(|part| !self.parts[part.term].is_empty()) {
                let times = used.entry(part.term).or_default();
                *times += 1;
                if *times == 1 && !self.done[part.term] {
                    open.push(part.term);
                }
            }
        }
        let own = isize::from(self.left[id] > 1);
        let others: isize = used
            .into_iter()
            .map(|(id, times)| match (self.done[id], self.left[id] > times) {
                (true, false) => 1,
                (false, true) => -1,
                _ => 0,
            })
            .sum();
        others - own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Expression, Identity};

    #[test]
    fn a_sum_takes_first_what_ends_the_lives_of_shared_values() {
        let [a, b, c, d] =
            std::array::from_fn(|column| Expression::var(Cell { column, rotation: 0 }));
        let (x, y) = (a.clone() * b.clone(), c.clone() * d.clone());
        let sum = ((a * c - y.clone()) + b * d) + x.clone();
        let graph = Graph::new(Identity::Source, [&sum, &(x * y)]);
        let (steps, values) = schedule(&graph);
        // Two parts of the sum are no nodes; the last is.
        assert_eq!(values, graph.nodes().len() + 2);
        let order: Vec<Value> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Compute { target, .. } => Some(*target),
                Step::Output { .. } => None,
            })
            .collect();
        // a·c and b·d, which have no other use, come before y and x, which stay.
        let [ac, y, bd, x] = [2, 4, 7, 9];
        assert_eq!(order, [ac, bd, 12, y, 13, x, 10, 11]);
        let last = Step::Output { index: 1, value: 11 };
        assert_eq!(steps.last(), Some(&last));
    }
}
