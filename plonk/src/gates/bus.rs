//! Bus: the step of the running sum of lookups (logUp, eprint 2022/1530).
//!
//! Range cells and ROM reads are on one side, the range table and ROM writes with their multiplicities on the
//! other: `s' − s = h_0 + h_1 + read / (β + F) − write · m / (β + F) − (1 − write) · m / (β + T)`, with the
//! denominators cleared.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Expr;

use super::{Cells, Constants, Fraction, Switched, View, dot, range_helper};
use crate::builder::Coefficients;
use crate::layout::FixedRow;
use crate::shape::{HELPERS, ROUTED, fixed};
use crate::weaken::{self, gone};

pub(super) const EQUATIONS: usize = 1;

/// Fingerprint of the ROM tuple of a row: (address in `w_0(0)`, table in `w_3(0)`, the eight values of
/// the next two rows). The last power of η is a tag that keeps tuples apart from range values.
fn fingerprint<E: Expr>(k: &Constants<E>, w: &[[E; ROUTED]; 3]) -> E {
    let e = &k.eta_powers;
    let zero = || E::constant(Fr::from(0u64));
    let part = |name: &str, part: E| if gone(name) { zero() } else { part };
    let value = |row: usize| -> [E; ROUTED] {
        std::array::from_fn(|i| part(weaken::VALUE[ROUTED * (row - 1) + i], w[row][i].clone()))
    };
    part("gates.part.fingerprint.table", w[0][3].clone())
        + part("gates.part.fingerprint.address", w[0][0].clone()) * e[1].clone()
        + dot(&value(1), &e[2..6])
        + dot(&value(2), &e[6..10])
        + part("gates.part.fingerprint.tag", e[10].clone())
}

/// The ROM's and the table's side of a row.
pub(super) fn fraction<E: Expr>(k: &Constants<E>, x: &Cells<E>) -> Fraction<E> {
    let beta = &k.challenges.beta;
    let (read, write) = (x.fixed[fixed::READ].clone(), x.fixed[fixed::WRITE].clone());
    let rom_gone = gone("gates.part.bus.rom");
    let of_rom = |term: E| if rom_gone { E::constant(Fr::from(0u64)) } else { term };
    let reads = read.clone() * (k.one.clone() - write.clone());
    let writes = write * (k.one.clone() - read);
    let rom = fingerprint(k, &x.w) + beta.clone();
    let table = x.fixed[fixed::TABLE].clone() + beta.clone();
    Fraction {
        numerator: (of_rom(reads) - of_rom(writes.clone() * x.m.clone())) * table.clone()
            - (k.one.clone() - writes) * x.m.clone() * rom.clone(),
        denominator: rom * table,
    }
}

/// What a row adds to the lookup bus: the two helpers' range cells, and the ROM and table side.
pub fn bus_fractions<E: Expr>(k: &Constants<E>, x: &Cells<E>) -> [Fraction<E>; HELPERS + 1] {
    let [first, second] = range_helper::fractions(k, x);
    [first, second, fraction(k, x)]
}

pub(super) fn constraints<E: Expr>(v: &View<'_, E>) -> Switched<E, EQUATIONS> {
    let x = v.x;
    let Fraction { numerator, denominator } = fraction(v.k, x);
    let step = x.s[1].clone() - x.s[0].clone() - x.h[0].clone() - x.h[1].clone();
    Switched { selector: x.active.clone(), terms: [step * denominator - numerator] }
}

impl FixedRow {
    /// A row that writes the ROM.
    pub fn write() -> Self {
        Self { write: true, ..Self::default() }
    }
    /// A row that reads the ROM and has arithmetic coefficients `c`.
    pub fn read(c: Coefficients) -> Self {
        Self { read: true, arith: true, c, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;

    use super::super::vectors::{self, Vector};
    use super::*;
    use crate::gates::Gate;

    #[test]
    fn vectors() {
        let mut x = vectors::random(10);
        let challenges = vectors::challenges();
        let over = |v: Fr| (v + challenges.beta).inverse().expect("not zero");
        let values = [x.w[1], x.w[2]].concat();
        let tuple = [&[x.w[0][3], x.w[0][0]], &values[..], &[Fr::from(1u64)]].concat();
        // Horner: the first part has η^0.
        let fingerprint =
            tuple.iter().rev().fold(Fr::from(0u64), |sum, v| sum * challenges.eta + v);
        let one = Fr::from(1u64);
        let (read, write) = (x.fixed[fixed::READ], x.fixed[fixed::WRITE]);
        let (reads, writes) = (read * (one - write), write * (one - read));
        let rom = (reads - writes * x.m) * over(fingerprint);
        let table = (one - writes) * x.m * over(x.fixed[fixed::TABLE]);
        x.s[1] = x.s[0] + x.h[0] + x.h[1] + rom - table;
        let reads = "w0(0) w3(0) w(1) w(2) s(0) s(1) h0 h1 m read write table";
        Vector { gate: Gate::Bus, holds: x, reads }.check();
    }
}
