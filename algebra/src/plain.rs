//! The obvious, slow way to do what devices do fast: the twins that [`crate::conformance`] compares
//! them with. Each follows its definition and nothing else.

use ark_ff::{AdditiveGroup, Field};

use crate::device::{Row, RowKernel};
use crate::field::horner;
use crate::{Fr, G1Affine, G1Projective, omega};

/// `Σ scalars[i] · bases[i]`, by double-and-add.
pub fn msm(bases: &[G1Affine], scalars: &[Fr]) -> G1Affine {
    let terms = bases.iter().zip(scalars).map(|(base, scalar)| *base * scalar);
    terms.fold(G1Projective::ZERO, |sum, term| sum + term).into()
}

/// Values on `shift · H` of the polynomial with these coefficients, whose number is a power of two.
pub fn dft(coefficients: &[Fr], shift: Fr) -> Vec<Fr> {
    let root = omega(coefficients.len().trailing_zeros());
    let points = std::iter::successors(Some(shift), |point| Some(*point * root));
    points.take(coefficients.len()).map(|point| horner(coefficients, point)).collect()
}

/// `out[i] = Π values[j]` over `j < i`.
pub fn prefix_product(values: &[Fr]) -> Vec<Fr> {
    (0..values.len()).map(|i| values[..i].iter().fold(Fr::ONE, |all, value| all * value)).collect()
}

/// `out[i] = Σ values[j]` over `j < i`.
pub fn prefix_sum(values: &[Fr]) -> Vec<Fr> {
    (0..values.len()).map(|i| values[..i].iter().fold(Fr::ZERO, |all, value| all + value)).collect()
}

/// Inverses; zero stays zero.
pub fn invert(values: &[Fr]) -> Vec<Fr> {
    values.iter().map(|value| value.inverse().unwrap_or(Fr::ZERO)).collect()
}

/// The product of two polynomials, by the school method. Length `a + b − 1`, or none.
pub fn multiply(a: &[Fr], b: &[Fr]) -> Vec<Fr> {
    if a.is_empty() || b.is_empty() {
        return Vec::new();
    }
    let mut out = vec![Fr::ZERO; a.len() + b.len() - 1];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            out[i + j] += *x * y;
        }
    }
    out
}

/// One row of columns in host memory.
#[derive(Debug)]
struct PlainRow<'a> {
    columns: &'a [Vec<Fr>],
    row: usize,
}

impl Row<Fr> for PlainRow<'_> {
    fn cell(&self, column: usize, rotation: usize) -> Fr {
        let column = &self.columns[column];
        column[(self.row + rotation) % column.len()]
    }
}

/// Runs a kernel on every row; `columns` has at least one column, and all have one length.
pub fn rows<K: RowKernel>(kernel: &K, columns: &[Vec<Fr>]) -> Vec<Vec<Fr>> {
    let n = columns[0].len();
    let constants = kernel.constants::<Fr>();
    let mut outputs = vec![Vec::with_capacity(n); kernel.outputs()];
    for row in 0..n {
        let mut out = vec![Fr::ZERO; outputs.len()];
        kernel.eval(&constants, &PlainRow { columns, row }, &mut out);
        for (column, value) in outputs.iter_mut().zip(out) {
            column.push(value);
        }
    }
    outputs
}
