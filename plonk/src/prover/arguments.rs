//! Round 2: the permutation product and the lookup bus.

use ark_ff::Zero;
use rollmill_algebra::Fr;
use rollmill_algebra::device::{Column, Device, Expr, Row, RowKernel};

use super::{Blinder, Probe, ProveError, Values, active, at};
use crate::gates::{Cells, Challenges, Constants, Fraction, bus_fractions, permutation_fraction};
use crate::key::ProvingKey;
use crate::schedule::{Group, ROUNDS};
use crate::shape::{HELPERS, ROUTED, column_cosets, fixed};

/// Numerators and denominators of the permutation product and of the bus.
struct ArgumentKernel {
    challenges: Challenges<Fr>,
    cell_bits: u32,
}

impl RowKernel for ArgumentKernel {
    type Constants<E: Expr> = (Constants<E>, [E; ROUTED]);
    fn constants<E: Expr>(&self) -> Self::Constants<E> {
        let names = column_cosets().map(|k| E::constant(k * self.challenges.beta));
        (Constants::new(self.challenges.lift(), self.cell_bits), names)
    }
    fn outputs(&self) -> usize {
        2 * (HELPERS + 2)
    }
    fn eval<E: Expr, R: Row<E>>(&self, k: &Self::Constants<E>, row: &R, out: &mut [E]) {
        let (k, names) = k;
        // The order of columns here: those of round 1, fixed, first, identity.
        const FIXED: usize = ROUNDS[0].points();
        const FIRST: usize = FIXED + fixed::COUNT;
        let zero = E::constant(Fr::zero());
        let w: [[E; ROUTED]; 3] =
            std::array::from_fn(|r| std::array::from_fn(|i| row.cell(at::W + i, r)));
        let x = row.cell(FIRST + 1, 0);
        let names: [E; ROUTED] = std::array::from_fn(|i| x.clone() * names[i].clone());
        let Challenges { beta, gamma, .. } = &k.challenges;
        let sigma = |i: usize| row.cell(FIXED + fixed::SIGMA + i, 0);
        let next: [E; ROUTED] = std::array::from_fn(|i| sigma(i) * beta.clone());
        let one = E::constant(Fr::from(1u64));
        let starts = Fraction { numerator: one.clone(), denominator: one };
        let product = permutation_fraction(gamma, &w[0], &names, &next, starts);
        let cells = Cells {
            w,
            l: [
                std::array::from_fn(|i| row.cell(at::L + i, 0)),
                std::array::from_fn(|_| zero.clone()),
            ],
            fixed: std::array::from_fn(|i| row.cell(FIXED + i, 0)),
            m: row.cell(at::M, 0),
            h: [zero.clone(), zero.clone()],
            z: [zero.clone(), zero.clone()],
            s: [zero.clone(), zero.clone()],
            x: zero.clone(),
            active: active(row, FIRST),
            first: zero.clone(),
            last: zero.clone(),
            public: zero,
        };
        out[0] = product.numerator;
        out[1] = product.denominator;
        for (i, fraction) in bus_fractions(k, &cells).into_iter().enumerate() {
            out[2 + 2 * i] = fraction.numerator;
            out[3 + 2 * i] = fraction.denominator;
        }
    }
}

/// Multiplies pairs of columns.
struct ProductKernel;

impl RowKernel for ProductKernel {
    type Constants<E: Expr> = ();
    fn constants<E: Expr>(&self) {}
    fn outputs(&self) -> usize {
        HELPERS + 2
    }
    fn eval<E: Expr, R: Row<E>>(&self, _: &(), row: &R, out: &mut [E]) {
        let ratio: Vec<E> =
            (0..HELPERS + 2).map(|i| row.cell(2 * i, 0) * row.cell(2 * i + 1, 0)).collect();
        let step = ratio[1].clone() + ratio[2].clone() + ratio[3].clone();
        out[0] = ratio[0].clone();
        out[1] = ratio[1].clone();
        out[2] = ratio[2].clone();
        out[3] = step;
    }
}

/// z, the helpers and s, in the order in which they are sent, blinded.
pub(super) fn arguments<D: Device, P: Probe<D> + ?Sized>(
    device: &D,
    key: &ProvingKey<D>,
    wires: &[Values<D>],
    challenges: Challenges<Fr>,
    blinder: &mut Blinder,
    probe: &mut P,
) -> Result<Vec<Values<D>>, ProveError> {
    // The kernel has all fixed columns but reads none of the gates': any column does in their places.
    let gates = std::iter::repeat_n(&key.identity, fixed::ARGUMENTS);
    let columns: Vec<&D::Buffer> = wires
        .iter()
        .chain(gates)
        .chain(&key.fixed_values)
        .chain([&key.first.0, &key.identity])
        .map(|c| &c.buffer)
        .collect();
    let kernel = ArgumentKernel { challenges, cell_bits: key.vk.shape.cell_bits };
    let mut fractions = device.rows(&kernel, &columns)?;
    let mut denominators: Vec<&mut D::Buffer> = fractions.iter_mut().skip(1).step_by(2).collect();
    device.invert_all(&mut denominators)?;
    let mut ratios = device.rows(&ProductKernel, &fractions.iter().collect::<Vec<_>>())?;
    drop(fractions);
    let z = device.prefix_product(&ratios[0])?;
    let s = device.prefix_sum(&ratios[3])?;
    let (n, usable) = (key.vk.shape.n(), key.vk.shape.usable_rows());
    // z and s end on the first blinding row with the values the verifier asks for; the helpers have no
    // constraint there.
    let (second, first) = (ratios.swap_remove(2), ratios.swap_remove(1));
    let mut columns = [z, first, second, s];
    probe.arguments(device, &mut columns)?;
    let [z, first, second, s] = columns;
    let mut columns = [
        (Group::Product.point(), z, usable + 1),
        (Group::Helpers.point(), first, usable),
        (Group::Helpers.point() + 1, second, usable),
        (Group::Sum.point(), s, usable + 1),
    ];
    columns.sort_by_key(|(point, ..)| *point);
    let mut out = Vec::with_capacity(columns.len());
    for (point, mut buffer, from) in columns {
        device.write(&mut buffer, from, &blinder.draw(point, n - from, probe))?;
        out.push(Column::new(buffer));
    }
    Ok(out)
}
