//! Number-theoretic transforms on host threads: decimation in time over a bit-reversed copy.
//!
//! Two passes over memory: the first layers on blocks that the second-level cache holds, which gather their values
//! in bit-reversed order, then all other layers at once on a few columns of the blocks. Shifts of a coset and the
//! division by n ride on these passes.
//!
//! Source: Cooley and Tukey 1965, in the usual iterative form. The inverse is the forward transform of the
//! inputs 1..n reversed, so that one set of roots serves both.
//!
//! # Bounds, in multiples of r
//! Inputs and roots are below 1. Between layers numbers are below 4. A product of a root, the first factor, with such a
//! number is below 1.76, and a number to which it is added is first reduced below 2. The last pass reduces below 1.
//! Between the passes the array that becomes the result contains numbers that are not reduced.

use std::sync::OnceLock;

use ark_bn254::FrConfig as R;
use ark_ff::{AdditiveGroup, Field};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::avx2::{Avx2, ntt::Places};
#[cfg(target_arch = "x86_64")]
use super::ifma::ntt::LOG_N_MIN;
use super::recycler::Recycler;
use super::words::{Products, Words, add, element, with_products};
use super::{CpuBuffer, CpuDevice, common_len, shape};
use crate::Fr;
use crate::device::{Basis, Coeff, Column, Coset, DeviceError, Lagrange, Ntt};
use crate::field::{TWO_ADICITY, inverse_of_nonzero, omega, powers};

/// A transform of up to 128 KiB is one block: the second-level cache holds it with its roots.
const LOG_WHOLE: u32 = 12;
/// Values that a task of a longer one takes where it can: 256 KiB.
const TASK: usize = 1 << 13;
/// Neighbouring values that a task takes, of 32 bytes each: whole lines of the cache, and more of them where the
/// task's memory allows, since a page is found once for all.
const COLUMNS_MIN: usize = 2;
const COLUMNS_MAX: usize = 8;
/// How many rows ahead values are fetched into the cache: the distance between rows is too long for the processor
/// to do it by itself.
const AHEAD: usize = 4;
/// The same for roots, of which a step takes six lines.
const ROOTS_AHEAD: usize = 2;

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

/// What a transform does besides the plain sum.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    /// Coefficients to values on `shift · H`.
    Forward { shift: Fr },
    /// Values on `shift · H` to coefficients.
    Inverse { shift_inverse: Fr },
}

/// The lowest `bits` bits of an index in reverse, for an index of no more.
fn reversed(index: usize, bits: u32) -> usize {
    // In two steps, since one by all bits would overflow.
    index.reverse_bits() >> 1 >> (usize::BITS - 1 - bits)
}

#[inline(always)]
fn prefetch<P: Products>(products: P, values: &[Fr]) {
    // Two values to a line.
    values.iter().step_by(2).for_each(|value| products.prefetch(value));
}

/// What the values of one call are multiplied by, on the way in or out.
#[derive(Debug)]
enum Scale {
    None,
    /// The same for all.
    All(Fr),
    Each(Vec<Fr>),
}

impl Scale {
    /// `start · base^i` for each of n values.
    fn powers(start: Fr, base: Fr, n: usize, recycler: &Recycler) -> Self {
        if base == Fr::ONE {
            return if start == Fr::ONE { Self::None } else { Self::All(start) };
        }
        const CHUNK: usize = 1 << 10;
        let mut powers = recycler.take(n);
        powers.par_chunks_mut(CHUNK).enumerate().for_each(|(i, part)| {
            let mut power = start * base.pow([(i * CHUNK) as u64]);
            for slot in part {
                *slot = power;
                power *= base;
            }
        });
        Self::Each(powers)
    }

    fn release(self, recycler: &Recycler) {
        if let Self::Each(powers) = self {
            recycler.release(powers);
        }
    }

    fn of(&self, index: usize) -> Option<&Fr> {
        match self {
            Self::None => None,
            Self::All(factor) => Some(factor),
            Self::Each(factors) => Some(&factors[index]),
        }
    }
}

/// What all transforms of one call share.
#[derive(Debug)]
struct Plan<'a> {
    log_n: u32,
    /// Base-2 logarithm of the values of a block.
    log_block: u32,
    /// Neighbouring values that a task takes.
    columns: usize,
    layers: Vec<&'a [Fr]>,
    is_inverse: bool,
    scale_in: Scale,
    scale_out: Scale,
    /// Does the layers but the first two, if it is there.
    #[cfg(target_arch = "x86_64")]
    avx2: Option<Avx2>,
}

impl<'a> Plan<'a> {
    fn new(log_n: u32, direction: Direction, roots: &'a Roots, recycler: &Recycler) -> Self {
        let n = 1 << log_n;
        let powers = |start, base| Scale::powers(start, base, n, recycler);
        let (scale_in, scale_out) = match direction {
            Direction::Forward { shift } => (powers(Fr::ONE, shift), Scale::None),
            Direction::Inverse { shift_inverse } => {
                let n_inverse = inverse_of_nonzero(&Fr::from(n as u64));
                (Scale::None, powers(n_inverse, shift_inverse))
            }
        };
        // Half of the layers of a long transform, so that no pass needs a much larger cache than the other.
        let log_block = if log_n <= LOG_WHOLE { log_n } else { log_n.div_ceil(2) };
        Self {
            log_n,
            log_block,
            columns: (TASK >> log_block).clamp(COLUMNS_MIN, COLUMNS_MAX),
            layers: (0..log_n).map(|k| roots.layer(k)).collect(),
            is_inverse: matches!(direction, Direction::Inverse { .. }),
            scale_in,
            scale_out,
            #[cfg(target_arch = "x86_64")]
            avx2: None,
        }
    }

    /// Transforms `values` into `out`. A block has at least four values where there are as many, and both the blocks
    /// and the values of each are whole multiples of `columns` where there are several blocks.
    fn run<P: Products>(&self, products: P, values: &[Fr], out: &mut [Fr]) {
        if self.log_block == self.log_n {
            for (i, slot) in out.iter_mut().enumerate() {
                *slot = self.input(products, values, reversed(i, self.log_n));
            }
            self.block(products, out);
            return self.finish(products, 0, out);
        }
        // Neighbouring values belong to different blocks, so a task has some blocks.
        let mut tasks: Vec<Vec<&mut [Fr]>> =
            (0..self.blocks() / self.columns).map(|_| Vec::new()).collect();
        let mut blocks: Vec<Option<&mut [Fr]>> =
            out.chunks_exact_mut(1 << self.log_block).map(Some).collect();
        for i in 0..blocks.len() {
            let block = blocks[reversed(i, self.log_n - self.log_block)].take();
            tasks[i / self.columns].extend(block);
        }
        tasks.into_par_iter().enumerate().for_each_init(Vec::new, |buffer, (i, blocks)| {
            self.gather(products, values, i * self.columns, buffer);
            for (from, block) in buffer.chunks_exact_mut(1 << self.log_block).zip(blocks) {
                self.block(products, from);
                block.copy_from_slice(from);
            }
        });

        // Then a task has some neighbouring values of each block. Threads make their tasks as they come to them:
        // all at once would be a slice for every few values.
        let blocks = out.chunks_exact_mut(1 << self.log_block);
        let mut blocks: Vec<_> = blocks.map(|block| block.chunks_exact_mut(self.columns)).collect();
        let tasks = std::iter::from_fn(|| {
            blocks.iter_mut().map(Iterator::next).collect::<Option<Vec<&mut [Fr]>>>()
        });
        tasks.enumerate().par_bridge().for_each_init(Vec::new, |buffer, (i, mut runs)| {
            // Blocks start at equal distances, for which the cache has few lines: a copy has neighbours instead.
            buffer.clear();
            for (k, run) in runs.iter().enumerate() {
                prefetch(products, runs.get(k + AHEAD).map_or(&[], |run| run));
                buffer.extend_from_slice(run);
            }
            let start = i * self.columns;
            self.across(products, start, buffer);
            for (k, (run, from)) in
                runs.iter_mut().zip(buffer.chunks_exact(self.columns)).enumerate()
            {
                run.copy_from_slice(from);
                self.finish(products, (k << self.log_block) + start, run);
            }
        });
    }

    fn blocks(&self) -> usize {
        1 << (self.log_n - self.log_block)
    }

    /// Where the value with index `i` is.
    #[inline(always)]
    fn source(&self, i: usize) -> usize {
        let n = 1 << self.log_n;
        if self.is_inverse { (n - i) & (n - 1) } else { i }
    }

    /// The value with index `i`, with its factor.
    #[inline(always)]
    fn input<P: Products>(&self, products: P, values: &[Fr], i: usize) -> Fr {
        let from = self.source(i);
        let Some(factor) = self.scale_in.of(from) else { return values[from] };
        let product = products.mul::<R>(&factor.0.0, &values[from].0.0);
        element::<R>(products.less::<R, 1>(&product))
    }

    /// The inputs of some blocks in bit-reversed order: those whose values start at `start`, `start + 1`, …
    fn gather<P: Products>(&self, products: P, values: &[Fr], start: usize, buffer: &mut Vec<Fr>) {
        let block_len = 1 << self.log_block;
        buffer.resize(self.columns * block_len, Fr::ZERO);
        for i in 0..block_len {
            let row = i * self.blocks() + start;
            let ahead = (i + AHEAD).min(block_len - 1) * self.blocks() + start;
            for column in (0..self.columns).step_by(2) {
                products.prefetch(&values[self.source(ahead + column)]);
            }
            let to = reversed(i, self.log_block);
            for column in 0..self.columns {
                buffer[column * block_len + to] = self.input(products, values, row + column);
            }
        }
    }

    /// The layers of a block.
    fn block<P: Products>(&self, products: P, block: &mut [Fr]) {
        first_layers(products, block, &self.layers);
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2
            && self.log_block > 2
        {
            let layers = &self.layers[2..self.log_block as usize];
            return avx2.layers(block, 1, layers, Places::BLOCK);
        }
        let mut k = 2;
        while k + 1 < self.log_block as usize {
            let (half, [first, second]) = (1 << k, [self.layers[k], self.layers[k + 1]]);
            for part in block.chunks_exact_mut(4 * half) {
                two_layers(products, part, 0, first, second.split_at(half));
            }
            k += 2;
        }
        if k < self.log_block as usize {
            for part in block.chunks_exact_mut(2 << k) {
                let (low, high) = part.split_at_mut(1 << k);
                butterflies(products, low, high, self.layers[k]);
            }
        }
    }

    /// The other layers, across blocks, on the columns from `start` on.
    fn across<P: Products>(&self, products: P, start: usize, buffer: &mut [Fr]) {
        let roots = |k: usize, row: usize| {
            &self.layers[self.log_block as usize + k][(row << self.log_block) + start..]
                [..self.columns]
        };
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2
            && self.columns.is_multiple_of(4)
        {
            let vectors = self.columns / 4;
            let places = Places { vectors, shift: self.log_block, start };
            return avx2.layers(buffer, vectors, &self.layers[self.log_block as usize..], places);
        }
        let layers = (self.log_n - self.log_block) as usize;
        let mut k = 0;
        while k + 1 < layers {
            let rows = 1 << k;
            for part in buffer.chunks_exact_mut(4 * rows * self.columns) {
                for row in 0..rows {
                    let ahead = (row + ROOTS_AHEAD).min(rows - 1);
                    prefetch(products, roots(k, ahead));
                    prefetch(products, roots(k + 1, ahead));
                    prefetch(products, roots(k + 1, ahead + rows));
                    let second = (roots(k + 1, row), roots(k + 1, row + rows));
                    two_layers(products, part, row * self.columns, roots(k, row), second);
                }
            }
            k += 2;
        }
        if k < layers {
            let rows = 1 << k;
            for part in buffer.chunks_exact_mut(2 * rows * self.columns) {
                let (low, high) = part.split_at_mut(rows * self.columns);
                let runs =
                    low.chunks_exact_mut(self.columns).zip(high.chunks_exact_mut(self.columns));
                for (row, (low, high)) in runs.enumerate() {
                    butterflies(products, low, high, roots(k, row));
                }
            }
        }
    }

    /// Multiplies by what results are multiplied by, and reduces below 1. `start` is the first one's index.
    fn finish<P: Products>(&self, products: P, start: usize, out: &mut [Fr]) {
        for (i, value) in out.iter_mut().enumerate() {
            let number = match self.scale_out.of(start + i) {
                None => products.less::<R, 2>(&value.0.0),
                Some(factor) => products.mul::<R>(&factor.0.0, &value.0.0),
            };
            *value = element::<R>(products.less::<R, 1>(&number));
        }
    }
}

/// `(a + t, a − t)` for a below 4 and t below 2.
#[inline(always)]
fn butterfly<P: Products>(products: P, a: &Words, t: &Words) -> [Words; 2] {
    let a = products.less::<R, 2>(a);
    [add(&a, t), products.sub::<R, 2>(&a, t)]
}

/// A layer on pairs of one number of each half, two at a time, since their products do not wait for each other.
#[inline(always)]
fn butterflies<P: Products>(products: P, low: &mut [Fr], high: &mut [Fr], roots: &[Fr]) {
    let (lows, last_low) = low.as_chunks_mut::<2>();
    let (highs, last_high) = high.as_chunks_mut::<2>();
    let (root_twos, last_root) = roots.as_chunks::<2>();
    for ((a, b), root) in lows.iter_mut().zip(highs).zip(root_twos) {
        let values = [&b[0].0.0, &b[1].0.0];
        let two = products.mul_two::<R>([&root[0].0.0, &root[1].0.0], values);
        [a[0].0.0, b[0].0.0] = butterfly(products, &a[0].0.0, &two[0]);
        [a[1].0.0, b[1].0.0] = butterfly(products, &a[1].0.0, &two[1]);
    }
    for ((a, b), root) in last_low.iter_mut().zip(last_high).zip(last_root) {
        let product = products.mul::<R>(&root.0.0, &b.0.0);
        [a.0.0, b.0.0] = butterfly(products, &a.0.0, &product);
    }
}

/// Two layers in one pass over the quarters of `part`: a run of each from `at` on, as long as `first`. These are
/// the roots of the first layer, and of the second layer's lower and upper half.
#[inline(always)]
fn two_layers<P: Products>(
    products: P,
    part: &mut [Fr],
    at: usize,
    first: &[Fr],
    second: (&[Fr], &[Fr]),
) {
    let (low, high) = part.split_at_mut(part.len() / 2);
    let (q0, q1) = low.split_at_mut(low.len() / 2);
    let (q2, q3) = high.split_at_mut(high.len() / 2);
    let run = at..at + first.len();
    let [q0, q1, q2, q3] = [q0, q1, q2, q3].map(|quarter| &mut quarter[run.clone()]);
    let (second_low, second_high) = (&second.0[..first.len()], &second.1[..first.len()]);
    for (j, root) in first.iter().enumerate() {
        let roots = [&root.0.0, &root.0.0];
        let [b, d] = products.mul_two::<R>(roots, [&q1[j].0.0, &q3[j].0.0]);
        let [a, b] = butterfly(products, &q0[j].0.0, &b);
        let [c, d] = butterfly(products, &q2[j].0.0, &d);
        let roots = [&second_low[j].0.0, &second_high[j].0.0];
        let [c, d] = products.mul_two::<R>(roots, [&c, &d]);
        [q0[j].0.0, q2[j].0.0] = butterfly(products, &a, &c);
        [q1[j].0.0, q3[j].0.0] = butterfly(products, &b, &d);
    }
}

/// Layers 0 and 1 of numbers below 1, whose roots are 1 but for one. Leaves numbers below 4; layer 0 alone, of two
/// values, leaves numbers below 2.
fn first_layers<P: Products>(products: P, values: &mut [Fr], layers: &[&[Fr]]) {
    let Some(&[_, quarter_turn]) = layers.get(1).copied() else {
        if let [a, b] = values {
            [a.0.0, b.0.0] = [add(&a.0.0, &b.0.0), products.sub::<R, 1>(&a.0.0, &b.0.0)];
        }
        return;
    };
    for [a, b, c, d] in values.as_chunks_mut().0 {
        let [w, x] = [add(&a.0.0, &b.0.0), products.sub::<R, 1>(&a.0.0, &b.0.0)];
        let [y, z] = [add(&c.0.0, &d.0.0), products.sub::<R, 1>(&c.0.0, &d.0.0)];
        let z = products.mul::<R>(&quarter_turn.0.0, &z);
        // All four are below 2.
        [a.0.0, c.0.0] = [add(&w, &y), products.sub::<R, 2>(&w, &y)];
        [b.0.0, d.0.0] = [add(&x, &z), products.sub::<R, 2>(&x, &z)];
    }
}

/// Whether so few columns are transformed faster on words, where all threads share a column, than by vectors, where
/// each column is a thread's: words take about four times as long in all. Only for columns of several blocks.
#[cfg(any(test, target_arch = "x86_64"))]
fn is_shared_on_words(columns: usize, threads: usize) -> bool {
    4 * columns < threads
}

impl CpuDevice {
    /// Transforms columns of one length in the same way.
    fn transform(&self, columns: &[&[Fr]], direction: Direction) -> Vec<Vec<Fr>> {
        let n = columns.first().map_or(1, |column| column.len());
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = self.ifma
            && n >= 1 << LOG_N_MIN
            && (n <= 1 << LOG_WHOLE || !is_shared_on_words(columns.len(), self.threads()))
        {
            let transform = |values: &&[Fr]| {
                let mut out = self.recycler.take(n);
                let mut between = self.recycler.take(n);
                ifma.transform(values, direction, &self.pass_roots, &mut between, &mut out);
                self.recycler.release(between);
                out
            };
            return columns.par_iter().map(transform).collect();
        }
        let plan = Plan::new(n.trailing_zeros(), direction, &self.roots, &self.recycler);
        #[cfg(target_arch = "x86_64")]
        let plan = Plan { avx2: self.avx2, ..plan };
        let transform = |values: &&[Fr]| {
            let mut out = self.recycler.take(n);
            with_products!(self.scalar, products => plan.run(products, values, &mut out));
            out
        };
        let out = columns.par_iter().map(transform).collect();
        plan.scale_in.release(&self.recycler);
        plan.scale_out.release(&self.recycler);
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
            let columns: Vec<&[Fr]> =
                columns.par_iter().map(|column| column.buffer.as_slice()).collect();
            let out = self.transform(&columns, direction);
            out.into_iter().map(|values| Column::new(self.buffer(values))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::numbers;
    use crate::cpu::words::Scalar;
    use crate::plain;

    /// Goal: long transforms are right however they are cut, which their lengths decide. Method: short ones, cut in
    /// every way, on random values and on those that take every number to its bound.
    #[test]
    fn every_cut_of_a_transform_is_the_transform() {
        let (roots, recycler) = (Roots::new(), Recycler::default());
        let shift = Fr::from(7u64);
        let shift_inverse = inverse_of_nonzero(&shift);
        for log_n in 4..=8 {
            let n = 1 << log_n;
            for values in [numbers(u64::from(log_n), "cuts", n), vec![-Fr::ONE; n]] {
                let expected = plain::dft(&values, shift);
                for (log_block, columns) in cuts(log_n) {
                    for scalar in Scalar::available() {
                        let case = format!("{scalar:?}, {log_block} of {log_n}, {columns} columns");
                        let run = |direction, values: &[Fr]| {
                            let mut plan = Plan::new(log_n, direction, &roots, &recycler);
                            (plan.log_block, plan.columns) = (log_block, columns);
                            let mut out = vec![-Fr::ONE; n];
                            with_products!(scalar, products => plan.run(products, values, &mut out));
                            out
                        };
                        let out = run(Direction::Forward { shift }, &values);
                        assert!(out == expected, "forward: {case}");
                        let back = run(Direction::Inverse { shift_inverse }, &out);
                        assert!(back == values, "inverse: {case}");
                    }
                    #[cfg(target_arch = "x86_64")]
                    if let Some(avx2) = Avx2::detect() {
                        let plan =
                            Plan::new(log_n, Direction::Forward { shift }, &roots, &recycler);
                        let plan = Plan { log_block, columns, avx2: Some(avx2), ..plan };
                        let mut out = vec![-Fr::ONE; n];
                        plan.run(crate::cpu::words::Portable, &values, &mut out);
                        assert!(out == expected, "four lanes: {log_block} of {log_n}, {columns}");
                    }
                }
            }
        }
    }

    /// Otherwise a transform of a single column leaves all threads but one idle, or many columns take the slow way.
    #[test]
    fn few_columns_are_shared_where_that_is_faster() {
        for (columns, threads, expected) in [
            (1, 1, false),
            (1, 4, false),
            (1, 5, true),
            (7, 32, true),
            (8, 32, false),
            (18, 16, false),
        ] {
            assert_eq!(is_shared_on_words(columns, threads), expected, "{columns} on {threads}");
        }
    }

    /// Values of a block, as a power of two, and columns.
    fn cuts(log_n: u32) -> Vec<(u32, usize)> {
        let whole = (log_n, COLUMNS_MIN);
        let split = (2..log_n)
            .flat_map(|log_block| [2, 4, 8].into_iter().map(move |columns| (log_block, columns)));
        let fits = |&(log_block, columns): &(u32, usize)| {
            let (values, blocks) = (1usize << log_block, 1usize << (log_n - log_block));
            columns <= values && columns <= blocks
        };
        split.filter(fits).chain([whole]).collect()
    }
}
