//! Element-wise work and evaluation on host threads.

use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::ifma::rows::{ROWS, Rows};
use super::scan::Scan;
use super::{CpuBuffer, CpuDevice, common_len, shape};
use crate::Fr;
use crate::device::{Coeff, Column, DeviceBuffer, DeviceError, Row, RowKernel, Vector};
use crate::field::{batch_invert, horner};
#[cfg(target_arch = "x86_64")]
use crate::graph::Graph;

/// One row of host columns, all of length `n`.
#[derive(Debug)]
struct HostRow<'a> {
    columns: &'a [&'a [Fr]],
    row: usize,
    n: usize,
}

impl Row<Fr> for HostRow<'_> {
    #[inline(always)]
    fn cell(&self, column: usize, rotation: usize) -> Fr {
        let mut index = self.row + rotation;
        if index >= self.n {
            index %= self.n;
        }
        self.columns[column][index]
    }
}

/// Cuts several equally long columns into the same chunks, so that threads write to them in parallel.
fn chunks_of(columns: &mut [Vec<Fr>], n: usize, chunk_len: usize) -> Vec<Vec<&mut [Fr]>> {
    let mut chunks: Vec<Vec<&mut [Fr]>> = (0..n.div_ceil(chunk_len)).map(|_| Vec::new()).collect();
    for column in columns {
        for (slot, part) in chunks.iter_mut().zip(column.chunks_mut(chunk_len)) {
            slot.push(part);
        }
    }
    chunks
}

impl CpuDevice {
    fn horner(&self, coefficients: &[Fr], point: Fr) -> Fr {
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = self.ifma {
            return ifma.horner(coefficients, point);
        }
        horner(coefficients, point)
    }
}

impl Vector for CpuDevice {
    fn rows<K: RowKernel>(
        &self,
        kernel: &K,
        columns: &[&CpuBuffer],
    ) -> Result<Vec<CpuBuffer>, DeviceError> {
        let n = common_len("rows", columns.iter().copied())?;
        let chunk_len = self.chunk_len(n);
        let mut outputs: Vec<Vec<Fr>> =
            (0..kernel.outputs()).map(|_| self.recycler.take(n)).collect();
        self.pool.install(|| {
            let columns: Vec<&[Fr]> = columns.iter().map(|column| column.as_slice()).collect();
            #[cfg(target_arch = "x86_64")]
            if let Some(ifma) = self.ifma {
                let rows = Rows::new(ifma, &Graph::record(kernel));
                let chunk_len = chunk_len.next_multiple_of(ROWS);
                chunks_of(&mut outputs, n, chunk_len)
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(i, mut parts)| rows.run(&columns, i * chunk_len, &mut parts));
                return;
            }
            let constants = kernel.constants::<Fr>();
            chunks_of(&mut outputs, n, chunk_len).into_par_iter().enumerate().for_each(
                |(i, mut parts)| {
                    let mut out = vec![Fr::ZERO; parts.len()];
                    let len = parts.first().map_or(0, |part| part.len());
                    for offset in 0..len {
                        let row = HostRow { columns: &columns, row: i * chunk_len + offset, n };
                        kernel.eval(&constants, &row, &mut out);
                        for (part, value) in parts.iter_mut().zip(&out) {
                            part[offset] = *value;
                        }
                    }
                },
            );
        });
        Ok(outputs.into_iter().map(|output| self.buffer(output)).collect())
    }

    fn invert(&self, buffer: &mut CpuBuffer) -> Result<(), DeviceError> {
        let chunk_len = self.chunk_len(buffer.len());
        let values = self.make_mut(buffer);
        self.pool.install(|| {
            values.par_chunks_mut(chunk_len).for_each(|part| {
                #[cfg(target_arch = "x86_64")]
                if let Some(ifma) = self.ifma {
                    return ifma.invert(part);
                }
                batch_invert(part);
            });
        });
        Ok(())
    }

    fn prefix_product(&self, buffer: &CpuBuffer) -> Result<CpuBuffer, DeviceError> {
        Ok(self.buffer(self.scan(buffer.as_slice(), Scan::Products)))
    }

    fn prefix_sum(&self, buffer: &CpuBuffer) -> Result<CpuBuffer, DeviceError> {
        Ok(self.buffer(self.scan(buffer.as_slice(), Scan::Sums)))
    }

    fn evaluate(
        &self,
        columns: &[&Column<CpuBuffer, Coeff>],
        point: Fr,
    ) -> Result<Vec<Fr>, DeviceError> {
        Ok(self.pool.install(|| {
            columns
                .par_iter()
                .map(|column| {
                    let coefficients = column.buffer.as_slice();
                    let chunk_len = self.chunk_len(coefficients.len());
                    let values: Vec<Fr> = coefficients
                        .par_chunks(chunk_len)
                        .map(|part| self.horner(part, point))
                        .collect();
                    horner(&values, point.pow([chunk_len as u64]))
                })
                .collect()
        }))
    }

    /// Synthetic division from the top: `q[i − 1] = c[i] + point · q[i]`.
    fn divide_by_linear(
        &self,
        column: &Column<CpuBuffer, Coeff>,
        point: Fr,
    ) -> Result<Column<CpuBuffer, Coeff>, DeviceError> {
        let quotient = self.scan(column.buffer.as_slice(), Scan::Quotient { point });
        Ok(Column::new(self.buffer(quotient)))
    }

    fn linear_combination(&self, terms: &[(&CpuBuffer, Fr)]) -> Result<CpuBuffer, DeviceError> {
        let Some(n) = terms.iter().map(|(buffer, _)| buffer.len()).max() else {
            return shape("linear_combination", "at least one term", "none");
        };
        let chunk_len = self.chunk_len(n);
        let mut sum = self.recycler.take(n);
        self.pool.install(|| {
            let terms: Vec<(&[Fr], Fr)> =
                terms.iter().map(|(buffer, factor)| (buffer.as_slice(), *factor)).collect();
            sum.par_chunks_mut(chunk_len).enumerate().for_each(|(i, part)| {
                #[cfg(target_arch = "x86_64")]
                if let Some(ifma) = self.ifma {
                    return ifma.combine(&terms, i * chunk_len, part);
                }
                part.fill(Fr::ZERO);
                for (values, factor) in &terms {
                    let rest = values.get(i * chunk_len..).unwrap_or(&[]);
                    for (slot, value) in part.iter_mut().zip(rest) {
                        *slot += *value * factor;
                    }
                }
            });
        });
        Ok(self.buffer(sum))
    }
}
