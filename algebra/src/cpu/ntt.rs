//! Number-theoretic transforms on host threads: decimation in time over a bit-reversed copy.
//!
//! Source: Cooley and Tukey 1965, in the usual iterative form. The inverse is the forward transform
//! with the outputs 1..n reversed, so that one set of roots serves both.

use std::sync::OnceLock;

use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::ifma::ntt::LOG_N_MIN;
use super::{CpuBuffer, CpuDevice, common_len, shape};
use crate::Fr;
use crate::device::{Basis, Coeff, Column, Coset, DeviceError, Lagrange, Ntt};
use crate::field::{TWO_ADICITY, omega, powers};

/// Elements that a thread transforms by itself, layer after layer: 128 KiB, which fit the second-level
/// cache.
const LOG_BLOCK: u32 = 12;

/// Roots of unity, computed at their first use. Layer `k` holds `ω^i` for `i < 2^k` and `ω` of order
/// `2^(k + 1)`; it serves transforms of all sizes.
#[derive(Debug)]
pub(super) struct Roots {
    layers: Vec<OnceLock<Vec<Fr>>>,
}

impl Roots {
    pub(super) fn new() -> Self {
        Self { layers: (0..TWO_ADICITY).map(|_| OnceLock::new()).collect() }
    }

    fn layer(&self, k: u32) -> &[Fr] {
        self.layers[k as usize].get_or_init(|| powers(omega(k + 1), 1 << k))
    }
}

/// Adds and subtracts `root · high` for each pair of a butterfly.
#[inline]
fn butterflies(low: &mut [Fr], high: &mut [Fr], roots: &[Fr]) {
    for ((a, b), root) in low.iter_mut().zip(high).zip(roots) {
        let product = *b * root;
        *b = *a - product;
        *a += product;
    }
}

/// The layers `from..to` on `values`, one thread.
fn layers_in_place(values: &mut [Fr], roots: &Roots, from: u32, to: u32) {
    for k in from..to {
        let layer = roots.layer(k);
        if k == 0 {
            for pair in values.chunks_exact_mut(2) {
                (pair[0], pair[1]) = (pair[0] + pair[1], pair[0] - pair[1]);
            }
            continue;
        }
        for block in values.chunks_exact_mut(2 << k) {
            let (low, high) = block.split_at_mut(1 << k);
            butterflies(low, high, layer);
        }
    }
}

/// The transform of values that are already in bit-reversed order.
fn transform(values: &mut [Fr], log_n: u32, roots: &Roots) {
    let block = log_n.min(LOG_BLOCK);
    for k in 0..log_n {
        // Made before the threads need them, so that none waits for another.
        roots.layer(k);
    }
    values.par_chunks_exact_mut(1 << block).for_each(|part| layers_in_place(part, roots, 0, block));
    for k in block..log_n {
        let layer = roots.layer(k);
        values.par_chunks_exact_mut(2 << k).for_each(|part| {
            let (low, high) = part.split_at_mut(1 << k);
            let chunk_len = 1 << (LOG_BLOCK - 1);
            low.par_chunks_mut(chunk_len)
                .zip(high.par_chunks_mut(chunk_len))
                .zip(layer.par_chunks(chunk_len))
                .for_each(|((low, high), roots)| butterflies(low, high, roots));
        });
    }
}

/// What a transform does besides the plain sum.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    /// Coefficients to values on `shift · H`.
    Forward { shift: Fr },
    /// Values on `shift · H` to coefficients.
    Inverse { shift_inverse: Fr },
}

/// Transforms `values` into `out`, of the same length.
fn run(values: &[Fr], direction: Direction, roots: &Roots, out: &mut [Fr]) {
    let n = values.len();
    let log_n = n.trailing_zeros();
    let chunk_len = (1 << LOG_BLOCK).min(n);
    let reversed =
        |i: usize| if log_n == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - log_n) };

    match direction {
        Direction::Forward { shift } if shift != Fr::ONE => {
            let scaled: Vec<Fr> = values
                .par_chunks(chunk_len)
                .enumerate()
                .flat_map_iter(|(i, part)| {
                    let mut power = shift.pow([(i * chunk_len) as u64]);
                    part.iter().map(move |value| {
                        let scaled = *value * power;
                        power *= shift;
                        scaled
                    })
                })
                .collect();
            out.par_iter_mut().enumerate().for_each(|(i, slot)| *slot = scaled[reversed(i)]);
            transform(out, log_n, roots);
        }
        Direction::Forward { .. } => {
            out.par_iter_mut().enumerate().for_each(|(i, slot)| *slot = values[reversed(i)]);
            transform(out, log_n, roots);
        }
        Direction::Inverse { shift_inverse } => {
            out.par_iter_mut().enumerate().for_each(|(i, slot)| *slot = values[reversed(i)]);
            transform(out, log_n, roots);
            out[1..].reverse();
            let n_inverse = Fr::from(n as u64).inverse().expect("a power of two is invertible");
            out.par_chunks_mut(chunk_len).enumerate().for_each(|(i, part)| {
                if shift_inverse == Fr::ONE {
                    part.iter_mut().for_each(|value| *value *= n_inverse);
                } else {
                    let mut power = n_inverse * shift_inverse.pow([(i * chunk_len) as u64]);
                    for value in part {
                        *value *= power;
                        power *= shift_inverse;
                    }
                }
            });
        }
    }
}

impl CpuDevice {
    fn transform(&self, values: &[Fr], direction: Direction) -> Vec<Fr> {
        let mut out = self.recycler.take(values.len());
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = self.ifma
            && values.len() >= 1 << LOG_N_MIN
        {
            let mut between = self.recycler.take(values.len());
            ifma.transform(values, direction, &self.pass_roots, &mut between, &mut out);
            self.recycler.release(between);
            return out;
        }
        run(values, direction, &self.roots, &mut out);
        out
    }

    fn transform_all<S: Basis, T: Basis>(
        &self,
        operation: &'static str,
        columns: &[&Column<CpuBuffer, S>],
        direction: Direction,
    ) -> Result<Vec<Column<CpuBuffer, T>>, DeviceError> {
        let n = common_len(operation, columns.iter().map(|column| &column.buffer))?;
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        if !n.is_power_of_two() || n.trailing_zeros() > TWO_ADICITY {
            return shape(operation, "a power of two up to 2^28", n.to_string());
        }
        Ok(self.pool.install(|| {
            columns
                .par_iter()
                .map(|column| self.transform(column.buffer.as_slice(), direction))
                .map(|values| Column::new(self.buffer(values)))
                .collect()
        }))
    }
}

impl Ntt for CpuDevice {
    fn to_lagrange(
        &self,
        columns: &[&Column<CpuBuffer, Coeff>],
    ) -> Result<Vec<Column<CpuBuffer, Lagrange>>, DeviceError> {
        self.transform_all("to_lagrange", columns, Direction::Forward { shift: Fr::ONE })
    }

    fn to_coeff(
        &self,
        columns: &[&Column<CpuBuffer, Lagrange>],
    ) -> Result<Vec<Column<CpuBuffer, Coeff>>, DeviceError> {
        self.transform_all("to_coeff", columns, Direction::Inverse { shift_inverse: Fr::ONE })
    }

    fn to_coset(
        &self,
        columns: &[&Column<CpuBuffer, Coeff>],
        shift: Fr,
    ) -> Result<Vec<Column<CpuBuffer, Coset>>, DeviceError> {
        if shift == Fr::ZERO {
            return shape("to_coset", "a shift that is not zero", "0");
        }
        self.transform_all("to_coset", columns, Direction::Forward { shift })
    }

    fn from_coset(
        &self,
        columns: &[&Column<CpuBuffer, Coset>],
        shift: Fr,
    ) -> Result<Vec<Column<CpuBuffer, Coeff>>, DeviceError> {
        let Some(shift_inverse) = shift.inverse() else {
            return shape("from_coset", "a shift that is not zero", "0");
        };
        self.transform_all("from_coset", columns, Direction::Inverse { shift_inverse })
    }
}
