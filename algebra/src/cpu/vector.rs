//! Element-wise work and evaluation on host threads.

use ark_bn254::FrConfig as R;
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;

use super::scan::Scan;
use super::words::{Modulus, Products, Words, add, element, with_products};
use super::{CpuBuffer, CpuDevice, common_len, rows, shape};
#[cfg(target_arch = "x86_64")]
use super::{avx2, ifma};
use crate::Fr;
use crate::device::{Coeff, Column, DeviceBuffer, DeviceError, RowKernel, Vector};
use crate::field::{horner, inverse};
use crate::graph::Graph;

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
        with_products!(self.scalar, products => horner_of(products, coefficients, point))
    }
}

/// [`horner`], four coefficients at a time, whose products share a reduction:
/// `sum · x⁴ + c₃ · x³ + c₂ · x² + c₁ · x + c₀`.
///
/// Bounds, in multiples of r: powers and coefficients are below 1. A sum below 3.2 leaves one below
/// `1 + 0.1891 · (3.2 + 3) + 1`, which is below 3.2 again.
fn horner_of<P: Products>(products: P, coefficients: &[Fr], point: Fr) -> Fr {
    let square = point.square();
    let powers = [point, square, square * point, square.square()].map(|power| power.0.0);
    let (fours, rest) = coefficients.as_chunks::<4>();
    // The highest coefficients come first.
    let step = |sum: Words, c: &Fr| add(&products.mul::<R>(&sum, &powers[0]), &c.0.0);
    let start = rest.iter().rev().fold([0; 4], step);
    let step = |sum: Words, [c0, c1, c2, c3]: &[Fr; 4]| {
        add(&products.dot_factors::<R>(&powers, [&c1.0.0, &c2.0.0, &c3.0.0, &sum]), &c0.0.0)
    };
    let sum = fours.iter().rev().fold(start, step);
    element::<R>(products.less::<R, 1>(&products.less::<R, 2>(&sum)))
}

/// [`crate::field::batch_invert`]. Products are below 2r.
fn invert<P: Products>(products: P, values: &mut [Fr]) {
    let mul = |a: &Words, b: &Words| products.mul::<R>(a, b);
    let mut befores = Vec::with_capacity(values.len());
    let mut product = R::ONE;
    for value in values.iter() {
        befores.push(product);
        if *value != Fr::ZERO {
            product = mul(&product, &value.0.0);
        }
    }
    // A product of numbers that are not zero is not zero.
    let all = element::<R>(products.less::<R, 1>(&product));
    let mut inverse = inverse(&all).unwrap_or_default().0.0;
    for (value, before) in values.iter_mut().zip(&befores).rev() {
        if *value != Fr::ZERO {
            let own = mul(&inverse, before);
            inverse = mul(&inverse, &value.0.0);
            *value = element::<R>(products.less::<R, 1>(&own));
        }
    }
}

/// `part[i] = Σ factor · values[start + i]`; values past an end count as zero. Four terms share a reduction, and then two.
///
/// A sum on the way is below 2r, to which up to four products of elements add less than 1.76r.
fn combine<P: Products>(products: P, terms: &[(&[Fr], Fr)], start: usize, part: &mut [Fr]) {
    let plus = |slot: &mut Fr, product: Words| {
        slot.0.0 = products.less::<R, 2>(&add(&slot.0.0, &product));
    };
    let add_one = |part: &mut [Fr], values: &[Fr], factor: &Words| {
        for (slot, value) in part.iter_mut().zip(values) {
            plus(slot, products.mul::<R>(factor, &value.0.0));
        }
    };
    part.fill(Fr::ZERO);
    let (fours, rest) = terms.as_chunks::<4>();
    for four in fours {
        let factors = four.each_ref().map(|(_, factor)| factor.0.0);
        let columns = four.each_ref().map(|(values, _)| values.get(start..).unwrap_or(&[]));
        let common = columns.iter().map(|column| column.len()).fold(part.len(), usize::min);
        let (head, tail) = part.split_at_mut(common);
        let [a, b, c, d] = columns.map(|column| &column[..common]);
        for ((((slot, a), b), c), d) in head.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            plus(slot, products.dot_factors::<R>(&factors, [&a.0.0, &b.0.0, &c.0.0, &d.0.0]));
        }
        // Where some columns have ended, each of the others by itself.
        for (column, factor) in columns.iter().zip(&factors) {
            add_one(tail, &column[common..], factor);
        }
    }
    for pair in rest.chunks(2) {
        let rest = |i: usize| pair[i].0.get(start..).unwrap_or(&[]);
        if pair.len() == 1 {
            add_one(part, rest(0), &pair[0].1.0.0);
            continue;
        }
        let (a, b) = (rest(0), rest(1));
        let both = a.len().min(b.len()).min(part.len());
        let (head, tail) = part.split_at_mut(both);
        for ((slot, a), b) in head.iter_mut().zip(a).zip(b) {
            let pairs = [[&pair[0].1.0.0, &a.0.0], [&pair[1].1.0.0, &b.0.0]];
            plus(slot, products.dot::<R>(pairs[0], pairs[1]));
        }
        add_one(tail, &a[both..], &pair[0].1.0.0);
        add_one(tail, &b[both..], &pair[1].1.0.0);
    }
    for value in part {
        *value = element::<R>(products.less::<R, 1>(&value.0.0));
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
                let rows = ifma::rows::Rows::new(ifma, &Graph::record(kernel));
                let chunk_len = chunk_len.next_multiple_of(ifma::rows::ROWS);
                chunks_of(&mut outputs, n, chunk_len)
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(i, mut parts)| rows.run(&columns, i * chunk_len, &mut parts));
                return;
            }
            let chunk_len = chunk_len.next_multiple_of(rows::ROWS);
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = self.avx2 {
                let rows = avx2::rows::Rows::new(avx2, &Graph::record(kernel));
                chunks_of(&mut outputs, n, chunk_len)
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(i, mut parts)| rows.run(&columns, i * chunk_len, &mut parts));
                return;
            }
            let rows = rows::Rows::new(&Graph::record(kernel));
            let chunks = chunks_of(&mut outputs, n, chunk_len).into_par_iter().enumerate();
            chunks.for_each(|(i, mut parts)| {
                rows.run(self.scalar, &columns, i * chunk_len, &mut parts);
            });
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
                with_products!(self.scalar, products => invert(products, part));
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
                with_products!(self.scalar, products => {
                    combine(products, &terms, i * chunk_len, part);
                });
            });
        });
        Ok(self.buffer(sum))
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::PrimeField;

    use super::*;
    use crate::conformance::numbers;
    use crate::cpu::words::{Scalar, difference};

    /// The element whose words are the largest.
    fn largest() -> Fr {
        element::<R>(difference(&Fr::MODULUS.0, &[1, 0, 0, 0]).0)
    }

    /// Goal: lengths that are no multiple of four, and sums at their bound. Method: all lengths up to three fours, of
    /// random numbers and of the largest, on every path and on the twin that checks each bound.
    #[test]
    fn four_coefficients_at_a_time_are_those_one_by_one() {
        for n in 0..=12 {
            let points = [Fr::ZERO, Fr::ONE, -Fr::ONE, largest(), numbers(1, "point", 1)[0]];
            for (values, point) in [numbers(n as u64, "coefficients", n), vec![largest(); n]]
                .iter()
                .flat_map(|values| points.map(|point| (values, point)))
            {
                for scalar in Scalar::available() {
                    let got =
                        with_products!(scalar, products => horner_of(products, values, point));
                    assert_eq!(got, horner(values, point), "{scalar:?}, {n} coefficients");
                }
            }
        }
    }

    /// Goal: every number of terms in the last group, and columns that end inside and outside a part. Method: up to
    /// nine terms of lengths that differ, with the largest numbers among them.
    #[test]
    fn terms_that_share_a_reduction_are_those_one_by_one() {
        for count in 1..=9usize {
            let columns: Vec<Vec<Fr>> = (0..count)
                .map(|k| match k % 3 {
                    0 => vec![largest(); 40],
                    1 => numbers(k as u64, "column", 40),
                    _ => numbers(k as u64, "short column", 5 * k),
                })
                .collect();
            let mut factors = numbers(count as u64, "factors", count);
            factors[count / 2] = largest();
            let terms: Vec<(&[Fr], Fr)> =
                columns.iter().map(Vec::as_slice).zip(factors.iter().copied()).collect();
            for start in [0, 7, 38] {
                for scalar in Scalar::available() {
                    let mut part = vec![largest(); 40 - start];
                    with_products!(scalar, products => combine(products, &terms, start, &mut part));
                    for (i, got) in part.iter().enumerate() {
                        let of = |(values, factor): &(&[Fr], Fr)| {
                            values.get(start + i).map_or(Fr::ZERO, |value| *value * factor)
                        };
                        let expected: Fr = terms.iter().map(of).sum();
                        assert_eq!(*got, expected, "{scalar:?}, {count} terms, {start} + {i}");
                    }
                }
            }
        }
    }
}
