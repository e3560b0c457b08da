//! Test vectors of the gates: a row on which a gate holds, and the cells that it binds there.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::Fr;

use super::{Cells, Challenges, Constants, Gate, MODULUS_LIMBS, Sink, constraints, power_of_two};
use crate::builder::Coefficients;
use crate::layout::FixedRow;
use crate::shape::{COEFFICIENTS, fixed};

pub(super) const CELL_BITS: u32 = 16;

fn numbers(seed: u64) -> impl FnMut() -> Fr {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    move || ark_ff::UniformRand::rand(&mut rng)
}

pub(super) fn challenges() -> Challenges<Fr> {
    let mut next = numbers(100);
    Challenges { eta: next(), beta: next(), gamma: next() }
}

/// A row of random cells, which satisfies no gate.
pub(super) fn random(seed: u64) -> Cells<Fr> {
    let mut next = numbers(seed);
    Cells {
        w: std::array::from_fn(|_| std::array::from_fn(|_| next())),
        l: std::array::from_fn(|_| std::array::from_fn(|_| next())),
        fixed: std::array::from_fn(|_| next()),
        m: next(),
        h: std::array::from_fn(|_| next()),
        z: std::array::from_fn(|_| next()),
        s: std::array::from_fn(|_| next()),
        x: next(),
        active: next(),
        first: next(),
        last: next(),
        public: next(),
    }
}

/// Puts the fixed cells of a row in place of the random ones.
pub(super) fn set(x: &mut Cells<Fr>, row: &FixedRow) {
    x.fixed[..fixed::SIGMA].copy_from_slice(&row.cells());
}

pub(super) fn coefficients(x: &Cells<Fr>) -> Coefficients {
    std::array::from_fn(|i| x.fixed[fixed::C + i])
}

/// The sixteen limb cells of this row and the next, four at a time.
pub(super) fn packs(x: &Cells<Fr>) -> [Fr; 4] {
    let cells: Vec<Fr> = x.l.into_iter().flatten().collect();
    std::array::from_fn(|i| {
        (0..4).map(|j| power_of_two(CELL_BITS * j as u32) * cells[4 * i + j]).sum()
    })
}

/// The groups of `a · b − q · M` with the quotient in the limb cells.
pub(super) fn groups(x: &Cells<Fr>, a: &[Fr; 4], b: &[Fr; 4]) -> [Fr; 4] {
    let mut q = packs(x);
    q[3] -= power_of_two(63);
    let m = MODULUS_LIMBS.map(Fr::from);
    let position = |k: usize| -> Fr {
        let pairs = (0..4).flat_map(|i| (0..4).map(move |j| (i, j))).filter(|(i, j)| i + j == k);
        pairs.map(|(i, j)| a[i] * b[j] - q[i] * m[j]).sum()
    };
    let value = |v: [Fr; 4]| (0..4).map(|i| power_of_two(64 * i as u32) * v[i]).sum::<Fr>();
    let two64 = power_of_two(64);
    [
        position(0) + two64 * position(1),
        position(2) + two64 * position(3),
        position(4),
        value(*a) * value(*b) - value(q) * value(m),
    ]
}

/// A row on which a gate holds, and the cells none of which can change alone.
pub(super) struct Vector {
    pub(super) gate: Gate,
    pub(super) holds: Cells<Fr>,
    /// Their names; `w(0)` are all routed cells of the row, `l(1)` all limb cells of the next.
    pub(super) reads: &'static str,
}

struct OfGate(Gate, Vec<Fr>);

impl Sink<Fr> for OfGate {
    fn group(&mut self, gate: Gate, selector: &Fr, terms: &[Fr]) {
        if gate == self.0 {
            self.1.extend(terms.iter().map(|term| *selector * term));
        }
    }
    fn single(&mut self, gate: Gate, term: Fr) {
        if gate == self.0 {
            self.1.push(term);
        }
    }
}

impl Vector {
    fn values(&self, x: &Cells<Fr>) -> Vec<Fr> {
        let mut values = OfGate(self.gate, Vec::new());
        constraints(&Constants::new(challenges(), CELL_BITS), x, &mut values);
        values.1
    }

    /// The gate holds, each of its equations fails on another row, and exactly the named cells are bound.
    pub(super) fn check(&self) {
        let zero = Fr::from(0u64);
        let gate = self.gate.name();
        assert_eq!(self.values(&self.holds), vec![zero; self.gate.equations()], "{gate} holds");
        let mut other = random(50);
        other.fixed = self.holds.fixed;
        for (i, value) in self.values(&other).into_iter().enumerate() {
            assert_ne!(value, zero, "{gate}: equation {i} is not empty");
        }
        let mut bound = BTreeSet::new();
        for (i, (name, _)) in cells(&mut self.holds.clone()).into_iter().enumerate() {
            let mut changed = self.holds.clone();
            *cells(&mut changed)[i].1 += Fr::from(1u64);
            if self.values(&changed).iter().any(|value| *value != zero) {
                bound.insert(name);
            }
        }
        let mut named = BTreeSet::new();
        for name in self.reads.split_whitespace() {
            match name.split_once('(') {
                Some(("w", rest)) => named.extend((0..4).map(|k| format!("w{k}({rest}"))),
                Some(("l", rest)) => named.extend((0..8).map(|k| format!("l{k}({rest}"))),
                _ => _ = named.insert(name.to_owned()),
            }
        }
        assert_eq!(bound, named, "{gate}: the cells that it binds");
    }
}

/// Every cell with its name.
fn cells(x: &mut Cells<Fr>) -> Vec<(String, &mut Fr)> {
    let Cells { w, l, fixed, m, h, z, s, x, active, first, last, public } = x;
    let mut all = Vec::new();
    for (letter, rows) in [
        ("w", w.iter_mut().map(|row| row.as_mut_slice()).collect::<Vec<_>>()),
        ("l", l.iter_mut().map(|row| row.as_mut_slice()).collect()),
    ] {
        for (r, row) in rows.into_iter().enumerate() {
            all.extend(
                row.iter_mut().enumerate().map(|(k, cell)| (format!("{letter}{k}({r})"), cell)),
            );
        }
    }
    for (i, cell) in fixed.iter_mut().enumerate() {
        let name = match i {
            fixed::ARITH => "arith".into(),
            fixed::KIND => "kind".into(),
            fixed::EXTERNAL => "external".into(),
            fixed::INTERNAL => "internal".into(),
            fixed::READ => "read".into(),
            fixed::WRITE => "write".into(),
            fixed::TABLE => "table".into(),
            c if c < fixed::C + COEFFICIENTS => format!("c{}", c - fixed::C),
            sigma => format!("sigma{}", sigma - fixed::SIGMA),
        };
        all.push((name, cell));
    }
    all.extend(h.iter_mut().enumerate().map(|(i, cell)| (format!("h{i}"), cell)));
    all.extend(z.iter_mut().enumerate().map(|(r, cell)| (format!("z({r})"), cell)));
    all.extend(s.iter_mut().enumerate().map(|(r, cell)| (format!("s({r})"), cell)));
    for (name, cell) in [
        ("m", m),
        ("x", x),
        ("active", active),
        ("first", first),
        ("last", last),
        ("public", public),
    ] {
        all.push((name.to_owned(), cell));
    }
    all
}
