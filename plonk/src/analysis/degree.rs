//! Degrees of the constraints, computed from the gates as they are written.

use std::ops::{Add, Mul, Sub};

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;

use crate::gates::{Cells, Challenges, Constants, Gate, Sink, constraints};

/// Degree in the columns of the circuit, each of which counts 1; challenges and constants count 0. No terms
/// cancel, so that it bounds the degree from above.
#[derive(Debug, Clone, Copy)]
struct Degree(u32);

impl Add for Degree {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }
}

impl Sub for Degree {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }
}

impl Mul for Degree {
    type Output = Self;
    // The degree of a product is the sum of its factors' degrees.
    #[expect(clippy::suspicious_arithmetic_impl)]
    fn mul(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Expr for Degree {
    fn constant(_: Fr) -> Self {
        Self(0)
    }
}

#[derive(Default)]
struct Degrees(Vec<(Gate, u32)>);

impl Sink<Degree> for Degrees {
    fn group(&mut self, gate: Gate, selector: &Degree, terms: &[Degree]) {
        self.0.extend(terms.iter().map(|term| (gate, (*selector * *term).0)));
    }
    fn single(&mut self, gate: Gate, term: Degree) {
        self.0.push((gate, term.0));
    }
}

/// Every constraint by its gate, with its degree, selector included, in the order in which
/// [`constraints`] makes them.
///
/// ```
/// use rollmill_plonk::analysis::degree::degrees;
/// use rollmill_plonk::shape::QUOTIENT_CHUNKS;
///
/// let highest = degrees().into_iter().map(|(_, degree)| degree).max();
/// // A constraint of degree d leaves a quotient of degree below (d − 1)·n.
/// assert_eq!(highest, Some(QUOTIENT_CHUNKS as u32 + 1));
/// ```
pub fn degrees() -> Vec<(Gate, u32)> {
    let column = Degree(1);
    let cells = Cells {
        w: [[column; _]; _],
        l: [[column; _]; _],
        fixed: [column; _],
        m: column,
        h: [column; _],
        z: [column; _],
        s: [column; _],
        x: column,
        active: column,
        first: column,
        last: column,
        public: column,
    };
    let challenge = Degree(0);
    let challenges = Challenges { eta: challenge, beta: challenge, gamma: challenge };
    let mut degrees = Degrees::default();
    constraints(&Constants::new(challenges, 0), &cells, &mut degrees);
    degrees.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::CONSTRAINTS;
    use crate::shape::QUOTIENT_CHUNKS;

    /// Goal: a gate of a higher degree than the quotient has chunks for is named, and not found by proofs that
    /// do not verify.
    #[test]
    fn no_constraint_exceeds_the_degree_that_the_quotient_has_chunks_for() {
        let most = QUOTIENT_CHUNKS as u32 + 1;
        let degrees = degrees();
        for (gate, degree) in &degrees {
            assert!(*degree <= most, "{}: degree {degree}, at most {most}", gate.name());
        }
        assert!(degrees.iter().any(|(_, degree)| *degree == most), "a chunk is not needed");
    }

    /// Goal: powers of α are as many as constraints, and each gate makes as many as it says, in order.
    #[test]
    fn each_gate_makes_as_many_constraints_as_it_says() {
        let made: Vec<Gate> = degrees().into_iter().map(|(gate, _)| gate).collect();
        let said = Gate::ALL.into_iter().flat_map(|gate| vec![gate; gate.equations()]);
        assert_eq!(made, said.collect::<Vec<_>>());
        assert_eq!(made.len(), CONSTRAINTS);
    }

    /// Goal: the table of the book is true.
    #[test]
    fn the_page_states_the_degrees_of_the_gates() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/book/arithmetization.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, rest) = page.split_once("## Gates and their degrees").unwrap();
        let mut stated = 0;
        for row in rest.lines().take_while(|line| !line.starts_with("##")) {
            let gates: &[Gate] =
                match row.strip_prefix("| ").and_then(|row| row.split([':', ' ', ',']).next()) {
                    Some("arithmetic") => &[Gate::Arithmetic],
                    Some("vector") => &[Gate::Vector],
                    Some("product") => &[Gate::Product, Gate::Square],
                    Some("carry") => &[Gate::Carry],
                    Some("Poseidon2") if row.contains("entry") => &[Gate::PoseidonEntry],
                    Some("Poseidon2") => &[Gate::PoseidonExternal, Gate::PoseidonInternal],
                    Some("helper") => &[Gate::RangeHelper],
                    Some("bus") => &[Gate::Bus],
                    Some("permutation") => &[Gate::Permutation],
                    _ => continue,
                };
            let degree: u32 = row.rsplit('|').nth(1).unwrap().trim().parse().unwrap();
            for gate in gates {
                let highest =
                    degrees().into_iter().filter(|(of, _)| of == gate).map(|(_, d)| d).max();
                assert_eq!(highest, Some(degree), "{row}");
                stated += 1;
            }
        }
        // The start and the end of a running column are the rest.
        assert_eq!(stated, Gate::ALL.len() - 4);
    }
}
