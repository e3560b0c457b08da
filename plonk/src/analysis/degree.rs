//! Degrees of the constraints, computed from the gates as they are written.

use rollmill_algebra::graph::{Expression, Graph, Identity};

use crate::gates::{Cells, Challenges, Constants, Gate, Sink, constraints};

/// The variables of the constraints as polynomials, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Variable {
    Column(usize),
    Challenge(usize),
}

type Constraint = Expression<Variable>;

#[derive(Default)]
struct Collected(Vec<(Gate, Constraint)>);

impl Sink<Constraint> for Collected {
    fn group(&mut self, gate: Gate, selector: &Constraint, terms: &[Constraint]) {
        self.0.extend(terms.iter().map(|term| (gate, selector.clone() * term.clone())));
    }
    fn single(&mut self, gate: Gate, term: Constraint) {
        self.0.push((gate, term));
    }
}

/// The constraints as expressions, selector included, in the order in which [`constraints`] makes them.
fn collect() -> Vec<(Gate, Constraint)> {
    let mut count = 0;
    let mut column = || {
        count += 1;
        Constraint::var(Variable::Column(count))
    };
    let cells = Cells {
        w: std::array::from_fn(|_| std::array::from_fn(|_| column())),
        l: std::array::from_fn(|_| std::array::from_fn(|_| column())),
        fixed: std::array::from_fn(|_| column()),
        m: column(),
        h: std::array::from_fn(|_| column()),
        z: std::array::from_fn(|_| column()),
        s: std::array::from_fn(|_| column()),
        x: column(),
        active: column(),
        first: column(),
        last: column(),
        public: column(),
    };
    let [eta, beta, gamma] =
        std::array::from_fn(|number| Constraint::var(Variable::Challenge(number)));
    let mut collected = Collected::default();
    // The width of limb cells sets the values of constants only, none of which is zero.
    constraints(&Constants::new(Challenges { eta, beta, gamma }, 8), &cells, &mut collected);
    collected.0
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
    let (gates, constraints): (Vec<Gate>, Vec<Constraint>) = collect().into_iter().unzip();
    let degrees = Graph::new(Identity::Value, &constraints).degrees(|variable| match variable {
        Variable::Column(_) => 1,
        Variable::Challenge(_) => 0,
    });
    gates.into_iter().zip(degrees).collect()
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

    /// Goal: powers of α are as many as constraints, and each gate makes as many as it declares, in order.
    #[test]
    fn each_gate_makes_as_many_constraints_as_it_declares() {
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
