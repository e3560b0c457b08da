//! Round 3: the quotient of all constraints.

use ark_ff::{Field, Zero};
use rollmill_algebra::Fr;
use rollmill_algebra::device::{
    Column, Coset, Device, DeviceError, Expr, Lagrange, Row, RowKernel,
};
use rollmill_algebra::field::{inverse_of_nonzero, powers};

use super::{Blinder, Poly, Probe, ProveError, active, at};
use crate::gates::{CONSTRAINTS, Cells, Challenges, Constants, Fold, constraints};
use crate::key::{ProvingKey, quotient_shifts};
use crate::shape::{BLINDING_ROWS, QUOTIENT_CHUNKS};

/// Every constraint, folded by powers of α.
struct QuotientKernel {
    challenges: Challenges<Fr>,
    cell_bits: u32,
    alpha_powers: Vec<Fr>,
    /// What the identity's values on the subgroup are multiplied by.
    shift: Fr,
}

impl RowKernel for QuotientKernel {
    type Constants<E: Expr> = (Constants<E>, Vec<E>, E);
    fn constants<E: Expr>(&self) -> Self::Constants<E> {
        let powers = self.alpha_powers.iter().map(|p| E::constant(*p)).collect();
        (Constants::new(self.challenges.lift(), self.cell_bits), powers, E::constant(self.shift))
    }
    fn outputs(&self) -> usize {
        1
    }
    fn eval<E: Expr, R: Row<E>>(&self, k: &Self::Constants<E>, row: &R, out: &mut [E]) {
        let cells = Cells {
            w: std::array::from_fn(|r| std::array::from_fn(|i| row.cell(at::W + i, r))),
            l: std::array::from_fn(|r| std::array::from_fn(|i| row.cell(at::L + i, r))),
            fixed: std::array::from_fn(|i| row.cell(at::FIXED + i, 0)),
            m: row.cell(at::M, 0),
            h: std::array::from_fn(|i| row.cell(at::H + i, 0)),
            z: std::array::from_fn(|r| row.cell(at::Z, r)),
            s: std::array::from_fn(|r| row.cell(at::S, r)),
            x: row.cell(at::X, 0) * k.2.clone(),
            active: active(row, at::FIRST),
            first: row.cell(at::FIRST, 0),
            last: row.cell(at::FIRST, BLINDING_ROWS),
            public: row.cell(at::PUBLIC, 0),
        };
        let mut fold = Fold::new(&k.1);
        constraints(&k.0, &cells, &mut fold);
        out[0] = fold.finish();
    }
}

/// The quotient by `X^n − 1`, split into chunks of `n` coefficients, and blinded.
///
/// Evaluated coset by coset: on the coset `g_j·H` the polynomial `X^n` is the constant `g_j^n`, so the
/// values there determine `T_j = Σ_i (g_j^n)^i t_i`, and as many cosets as chunks determine the chunks.
///
/// Blinding hides the chunks from each other: `t_i += (b_i + c_i X) X^n`, `t_{i+1} −= b_i + c_i X`. Of the
/// five chunks ten values are seen: each at ζ, and each at τ in its commitment. Two of them follow from
/// the rest, since `Σ X^{ni} t_i` is the quotient, whose values a verifier knows; eight values hide eight.
pub(super) fn quotient<D: Device, P: Probe<D> + ?Sized>(
    device: &D,
    key: &ProvingKey<D>,
    polys: &[&Poly<D>],
    challenges: Challenges<Fr>,
    alpha: Fr,
    blinder: &mut Blinder,
    probe: &mut P,
) -> Result<Vec<Poly<D>>, ProveError> {
    let shape = key.vk.shape;
    let n = shape.n();
    let alpha_powers = powers(alpha, CONSTRAINTS);
    let shifts = quotient_shifts(shape.log_n);
    let mut parts: Vec<D::Buffer> = Vec::with_capacity(QUOTIENT_CHUNKS);
    for (coset, shift) in shifts.into_iter().enumerate() {
        let fixed = key.on_coset(device, coset)?;
        let own = device.to_coset(polys, shift)?;
        // The witness' columns, the key's, and the public inputs' last.
        let (public, own) = own.split_last().expect("the public inputs are a column");
        let columns: Vec<&D::Buffer> = own
            .iter()
            .chain(fixed.iter())
            .map(|column| &column.buffer)
            .chain([&key.identity.buffer, &public.buffer])
            .collect();
        let kernel = QuotientKernel {
            challenges,
            cell_bits: shape.cell_bits,
            alpha_powers: alpha_powers.clone(),
            shift,
        };
        let values = device.rows(&kernel, &columns)?;
        let values: Vec<Column<D::Buffer, Coset>> = values.into_iter().map(Column::new).collect();
        let coefficients = device.from_coset(&values.iter().collect::<Vec<_>>(), shift)?;
        parts.extend(coefficients.into_iter().map(|column| column.buffer));
    }
    let nodes = shifts.map(|s| s.pow([n as u64]));
    // The vanishing polynomial is the constant node − 1 on a coset.
    let vanishing = nodes.map(|node| inverse_of_nonzero(&(node - Fr::ONE)));
    let mut chunks = Vec::with_capacity(QUOTIENT_CHUNKS);
    let mut carried = vec![Fr::zero()];
    for (i, row) in inverse_vandermonde(nodes).into_iter().enumerate() {
        let borrowed = device.upload(&carried.iter().map(|v| -*v).collect::<Vec<_>>())?;
        let weights = row.into_iter().zip(vanishing).map(|(v, inverse)| v * inverse);
        let terms: Vec<_> = parts.iter().zip(weights).chain([(&borrowed, Fr::ONE)]).collect();
        let mut chunk = device.linear_combination(&terms)?;
        if i + 1 < QUOTIENT_CHUNKS {
            carried = blinder.border(i, probe);
            device.write(&mut chunk, n, &carried)?;
        }
        chunks.push(Column::new(chunk));
    }
    Ok(chunks)
}

/// The column of public inputs. Only they travel: the zeros after them are made on the device, as those that a shorter
/// term of a sum is padded with.
pub(super) fn public_values<D: Device>(
    device: &D,
    public: &[Fr],
    polys: &[Poly<D>],
) -> Result<Column<D::Buffer, Lagrange>, DeviceError> {
    let values = device.upload(public)?;
    let long = polys.first().map(|poly| (&poly.buffer, Fr::zero()));
    let short = (!public.is_empty()).then_some((&values, Fr::ONE));
    let terms: Vec<_> = long.into_iter().chain(short).collect();
    Ok(Column::new(device.linear_combination(&terms)?))
}

/// Row `i` has the weights that map the values `T(node_j)` to coefficient `i` of T.
fn inverse_vandermonde(nodes: [Fr; QUOTIENT_CHUNKS]) -> [[Fr; QUOTIENT_CHUNKS]; QUOTIENT_CHUNKS] {
    let mut out = [[Fr::zero(); QUOTIENT_CHUNKS]; QUOTIENT_CHUNKS];
    for (j, node) in nodes.iter().enumerate() {
        // Coefficients of Π_{k≠j} (X − node_k) / (node_j − node_k).
        let mut poly = vec![Fr::ONE];
        let mut scale = Fr::ONE;
        for (k, other) in nodes.iter().enumerate() {
            if k == j {
                continue;
            }
            scale *= *node - other;
            let mut next = vec![Fr::zero(); poly.len() + 1];
            for (i, c) in poly.iter().enumerate() {
                next[i + 1] += c;
                next[i] -= *c * other;
            }
            poly = next;
        }
        let scale = inverse_of_nonzero(&scale);
        for (i, c) in poly.into_iter().enumerate() {
            out[i][j] = c * scale;
        }
    }
    out
}
