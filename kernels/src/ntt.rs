//! Number-theoretic transforms; see `cuda/ntt.cuh`.

mod twin;

use std::sync::Arc;

use ark_ff::Field;
use rollmill_algebra::Fr;
use rollmill_algebra::device::{Basis, Coeff, Column, Coset, DeviceError, Lagrange, Ntt};
use rollmill_algebra::field::{TWO_ADICITY, omega, powers};

use crate::arena::{At, Block, rounded};
use crate::device::{CudaBuffer, CudaDevice, ELEMENT, common_len, shape};
use crate::launch::Argument::{In, Null, Out, Places, U32};

pub use twin::WrongPass;

/// Columns of one launch, as in the kernel.
const BATCH: usize = 16;
/// Elements of temporary memory that a launch may allocate.
const BATCH_ELEMENTS: usize = 1 << 24;
/// The roots of order 2^28 are in two tables of so many bits each, as in the kernel.
const LOG_LOW: u32 = 14;
/// Bits of a transform in one pass, as in the kernel.
const LOG_RADIX: u32 = 8;
/// Bits that a thread transforms in registers, as in the kernel.
const BITS: u32 = 3;
/// Elements in a block's shared memory: 32 KiB.
const LOG_BLOCK: u32 = 10;
/// Tables of factors that are kept: those of about four sizes.
const TABLES_KEPT: usize = 96;
/// They take at most this fraction of the budget.
const TABLES_SHARE: u64 = 8;
/// Cosets of a proof.
const COSETS: u64 = 5;

/// Tables of powers on the device.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Roots of order 2^28 as two tables, and those of the largest radix as one.
    roots: Option<[Arc<Block>; 2]>,
    /// The most recently used is last.
    factors: Vec<(Table, Arc<Block>)>,
}

/// A table of factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    /// At `k + done · r`: `factor · base^r · ω^(k·r)`, where ω has the order `done · R`.
    Twist { log_done: u32, log_radix: u32, base: Fr, factor: Fr },
    /// At `i`: `factor · base^i`.
    Powers { log_n: u32, base: Fr, factor: Fr },
}

impl Table {
    /// Its length.
    fn log_len(self) -> u32 {
        match self {
            Self::Twist { log_done, log_radix, .. } => log_done + log_radix,
            Self::Powers { log_n, .. } => log_n,
        }
    }

    fn bytes(self) -> u64 {
        rounded(ELEMENT << self.log_len())
    }
}

/// What a transform does besides the plain sum.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Forward { shift: Fr },
    Inverse { shift_inverse: Fr },
}

/// One pass of a transform, as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pass {
    log_n: u32,
    /// Bits of the passes before.
    log_done: u32,
    log_radix: u32,
    /// Neighbouring transforms of one block.
    log_tile: u32,
}

/// What a pass multiplies values with, besides the roots, and where it writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Factors {
    /// Value r of those that are joined is multiplied by `factor · base^r`, in one product with its root.
    base: Fr,
    factor: Fr,
    /// Output `i` is multiplied by `factor · base^i`.
    scale: Option<(Fr, Fr)>,
    /// Output `i` is written in the place of `−i`, which makes the inverse transform.
    backwards: bool,
}

impl Factors {
    const NONE: Self = Self { base: Fr::ONE, factor: Fr::ONE, scale: None, backwards: false };

    /// The factors of a pass in one table each: those of inputs and those of outputs.
    fn tables(self, pass: Pass) -> [Option<Table>; 2] {
        let Pass { log_n, log_done, log_radix, .. } = pass;
        let Self { base, factor, scale, .. } = self;
        let has_twist = log_done > 0 || base != Fr::ONE || factor != Fr::ONE;
        let twist = Table::Twist { log_done, log_radix, base, factor };
        let powers = scale.map(|(base, factor)| Table::Powers { log_n, base, factor });
        [has_twist.then_some(twist), powers]
    }
}

/// The passes of a transform, with bits as even as possible.
fn passes(log_n: u32) -> Vec<Pass> {
    let count = log_n.div_ceil(LOG_RADIX).max(1);
    let mut log_done = 0;
    (0..count)
        .map(|i| {
            let log_radix = (log_n + count - 1 - i) / count;
            let log_tile = (LOG_BLOCK - log_radix).min(log_n - log_radix).min(3);
            let pass = Pass { log_n, log_done, log_radix, log_tile };
            log_done += log_radix;
            pass
        })
        .collect()
}

/// Eighths of a product that a transform takes per element, and its passes; `tests/counts.rs` counts them. After its
/// first factor a pass of b bits, at least three, takes 4 b − 7: seven for each later group of three layers, five
/// within three layers, and less for groups of two and of one.
pub(crate) fn eighths(log_n: u32, has_coset: bool) -> (u64, u64) {
    let passes = passes(log_n);
    let within: u32 = passes.iter().map(|pass| (4 * pass.log_radix).saturating_sub(7)).sum();
    let factors = passes.len() as u64 - u64::from(!has_coset);
    (u64::from(within) + 8 * factors, passes.len() as u64)
}

/// The factors of each pass. A pass joins coefficients whose indices differ by multiples of `n / (done · R)`, so
/// that it multiplies with powers of the shift to that power, and all passes together with `shift^i`.
fn factors(passes: &[Pass], direction: Direction) -> Vec<Factors> {
    let mut all = vec![Factors::NONE; passes.len()];
    match direction {
        Direction::Forward { shift } => {
            for (pass, factors) in passes.iter().zip(&mut all) {
                let distance = 1u64 << (pass.log_n - pass.log_done - pass.log_radix);
                factors.base = shift.pow([distance]);
            }
        }
        Direction::Inverse { shift_inverse } => {
            let n = passes.first().map_or(1, |pass| 1u64 << pass.log_n);
            let n_inverse = Fr::from(n).inverse().unwrap_or(Fr::ONE);
            let last = passes.len() - 1;
            all[last].backwards = true;
            if shift_inverse == Fr::ONE {
                // The second pass has products anyway.
                all[last.min(1)].factor = n_inverse;
            } else {
                all[last].scale = Some((shift_inverse, n_inverse));
            }
        }
    }
    all
}

/// Bytes of the tables for the transforms of a proof with columns of `n` elements.
pub(crate) fn table_bytes(n: usize) -> u64 {
    let log_n = n.next_power_of_two().trailing_zeros().min(TWO_ADICITY);
    let set: u64 =
        passes(log_n).iter().map(|pass| rounded(ELEMENT << (pass.log_done + pass.log_radix))).sum();
    let roots = rounded(ELEMENT << (LOG_LOW + 1)) + rounded(ELEMENT << LOG_RADIX);
    // What a table is made of.
    let parts = 2 * rounded(ELEMENT << log_n.div_ceil(2).max(LOG_RADIX));
    // Forward and backward on the subgroup and forward on each coset; back from there, powers of the shift.
    (2 + COSETS) * set + COSETS * rounded(ELEMENT << log_n) + roots + parts
}

impl CudaDevice {
    fn roots(&self, op: &'static str) -> Result<[Arc<Block>; 2], DeviceError> {
        let mut tables = self.card.tables.lock();
        if let Some(roots) = &tables.roots {
            return Ok(roots.clone());
        }
        let low = 1 << LOG_LOW;
        let root = omega(TWO_ADICITY);
        let mut table = powers(root, low);
        table.extend(powers(root.pow([low as u64]), low));
        let small = powers(omega(LOG_RADIX), 1 << LOG_RADIX);
        let roots = [
            Arc::new(self.upload_elements(op, &table)?),
            Arc::new(self.upload_elements(op, &small)?),
        ];
        tables.roots = Some(roots.clone());
        Ok(roots)
    }

    /// A table of factors, kept for the next transform.
    fn factor_table(&self, op: &'static str, table: Table) -> Result<Arc<Block>, DeviceError> {
        let mut tables = self.card.tables.lock();
        if let Some(at) = tables.factors.iter().position(|(held, _)| *held == table) {
            let held = tables.factors.remove(at);
            let block = held.1.clone();
            tables.factors.push(held);
            return Ok(block);
        }
        drop(tables);
        let block = Arc::new(self.new_factor_table(op, table)?);
        let most = self.memory_usage().2 / TABLES_SHARE;
        let mut tables = self.card.tables.lock();
        // Another session may have made it meanwhile.
        if let Some((_, held)) = tables.factors.iter().find(|(held, _)| *held == table) {
            return Ok(held.clone());
        }
        tables.factors.push((table, block.clone()));
        let mut bytes: u64 = tables.factors.iter().map(|(table, _)| table.bytes()).sum();
        while tables.factors.len() > 1 && (tables.factors.len() > TABLES_KEPT || bytes > most) {
            let (oldest, _) = tables.factors.remove(0);
            bytes -= oldest.bytes();
        }
        Ok(block)
    }

    fn new_factor_table(&self, op: &'static str, table: Table) -> Result<Block, DeviceError> {
        let [roots, _] = self.roots(op)?;
        let log_n = table.log_len();
        let (log_low, starts, steps) = match table {
            Table::Twist { log_done, log_radix, base, factor } => {
                (log_done, None, (base, factor, log_radix))
            }
            Table::Powers { base, factor, .. } => {
                let log_low = log_n / 2;
                let step = base.pow([1u64 << log_low]);
                (log_low, Some(powers(base, 1 << log_low)), (step, factor, log_n - log_low))
            }
        };
        let has_roots = starts.is_none();
        let starts = starts.map(|starts| self.upload_elements(op, &starts)).transpose()?;
        let (step, factor, log_steps) = steps;
        let steps: Vec<Fr> =
            powers(step, 1 << log_steps).into_iter().map(|power| power * factor).collect();
        let steps = self.upload_elements(op, &steps)?;
        let out = self.take(op, 1 << log_n, ELEMENT)?;
        let arguments = vec![
            Out(out.start()),
            starts.as_ref().map_or(Null, |block| In(block.start())),
            In(steps.start()),
            if has_roots { In(roots.start()) } else { Null },
            U32(log_low),
            U32(log_n),
        ];
        self.launch(op, "ntt_table", 256, 1 << log_n, arguments)?;
        Ok(out)
    }

    fn transform(
        &self,
        op: &'static str,
        columns: &[&CudaBuffer],
        log_n: u32,
        direction: Direction,
    ) -> Result<Vec<CudaBuffer>, DeviceError> {
        let n = 1usize << log_n;
        let outputs: Vec<CudaBuffer> =
            columns.iter().map(|_| self.new_buffer(op, n)).collect::<Result<_, _>>()?;
        let passes = passes(log_n);
        let between: Vec<Block> = if passes.len() > 1 {
            columns.iter().map(|_| self.take(op, n, ELEMENT)).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        let factors = factors(&passes, direction);
        let mut sources: Vec<At<'_>> = columns.iter().filter_map(|column| column.start()).collect();
        for (i, (pass, factors)) in passes.iter().zip(factors).enumerate() {
            let targets: Vec<At<'_>> = if (passes.len() - 1 - i).is_multiple_of(2) {
                outputs.iter().filter_map(CudaBuffer::start).collect()
            } else {
                between.iter().map(Block::start).collect()
            };
            self.run_pass(op, *pass, factors, &sources, &targets)?;
            sources = targets;
        }
        Ok(outputs)
    }

    /// One pass over a batch of columns.
    fn run_pass(
        &self,
        op: &'static str,
        pass: Pass,
        factors: Factors,
        from: &[At<'_>],
        to: &[At<'_>],
    ) -> Result<(), DeviceError> {
        let Pass { log_n, log_done, log_radix, log_tile } = pass;
        let [_, roots] = self.roots(op)?;
        let [twist, scale] = factors.tables(pass);
        let table =
            |table: Option<Table>| table.map(|table| self.factor_table(op, table)).transpose();
        let (twist, scale) = (table(twist)?, table(scale)?);
        let mut places: Vec<_> = from.iter().map(|at| In(*at)).collect();
        places.resize(BATCH, Null);
        places.extend(to.iter().map(|at| Out(*at)));
        places.resize(2 * BATCH, Null);
        let count = from.len() as u32;
        let arguments = vec![
            Places(places),
            U32(count),
            U32(log_n),
            U32(log_done),
            U32(log_radix),
            U32(log_tile),
            In(roots.start()),
            twist.as_ref().map_or(Null, |block| In(block.start())),
            scale.as_ref().map_or(Null, |block| In(block.start())),
            U32(u32::from(factors.backwards)),
        ];
        let log_block = log_radix + log_tile;
        let grid = [count << (log_n - log_block), 1, 1];
        let shared = (ELEMENT as u32) << log_block;
        self.launch_grid(
            op,
            "ntt_pass",
            grid,
            1 << log_block.saturating_sub(BITS),
            shared,
            arguments,
        )
    }

    fn transform_all<S: Basis, T: Basis>(
        &self,
        op: &'static str,
        columns: &[&Column<CudaBuffer, S>],
        direction: Direction,
    ) -> Result<Vec<Column<CudaBuffer, T>>, DeviceError> {
        let n = common_len(op, columns.iter().map(|column| &column.buffer))?;
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        if !n.is_power_of_two() || n.trailing_zeros() > TWO_ADICITY {
            return shape(op, "a power of two up to 2^28", n.to_string());
        }
        let buffers: Vec<&CudaBuffer> = columns.iter().map(|column| &column.buffer).collect();
        let mut out = Vec::with_capacity(columns.len());
        for batch in buffers.chunks((BATCH_ELEMENTS / n).clamp(1, BATCH)) {
            let values = self.transform(op, batch, n.trailing_zeros(), direction)?;
            out.extend(values.into_iter().map(Column::new));
        }
        Ok(out)
    }
}

impl Ntt for CudaDevice {
    fn to_lagrange(
        &self,
        columns: &[&Column<CudaBuffer, Coeff>],
    ) -> Result<Vec<Column<CudaBuffer, Lagrange>>, DeviceError> {
        self.transform_all("to_lagrange", columns, Direction::Forward { shift: Fr::ONE })
    }

    fn to_coeff(
        &self,
        columns: &[&Column<CudaBuffer, Lagrange>],
    ) -> Result<Vec<Column<CudaBuffer, Coeff>>, DeviceError> {
        self.transform_all("to_coeff", columns, Direction::Inverse { shift_inverse: Fr::ONE })
    }

    fn to_coset(
        &self,
        columns: &[&Column<CudaBuffer, Coeff>],
        shift: Fr,
    ) -> Result<Vec<Column<CudaBuffer, Coset>>, DeviceError> {
        if shift == Fr::from(0u64) {
            return shape("to_coset", "a shift that is not zero", "0");
        }
        self.transform_all("to_coset", columns, Direction::Forward { shift })
    }

    fn from_coset(
        &self,
        columns: &[&Column<CudaBuffer, Coset>],
        shift: Fr,
    ) -> Result<Vec<Column<CudaBuffer, Coeff>>, DeviceError> {
        let Some(shift_inverse) = shift.inverse() else {
            return shape("from_coset", "a shift that is not zero", "0");
        };
        self.transform_all("from_coset", columns, Direction::Inverse { shift_inverse })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_cover_every_size_and_fit_a_block() {
        for log_n in 0..=TWO_ADICITY {
            let passes = passes(log_n);
            assert_eq!(passes.iter().map(|pass| pass.log_radix).sum::<u32>(), log_n);
            for (i, pass) in passes.iter().enumerate() {
                let before: u32 = passes[..i].iter().map(|pass| pass.log_radix).sum();
                assert_eq!(pass.log_done, before);
                assert!(pass.log_radix <= LOG_RADIX, "{log_n}: {passes:?}");
                assert!(pass.log_radix + pass.log_tile <= LOG_BLOCK.min(log_n), "{passes:?}");
                // A thread's values are of one column.
                assert!(pass.log_radix >= BITS || passes.len() == 1, "{passes:?}");
            }
        }
    }

    /// Those that `docs/book/kernels.md` states, which `tests/counts.rs` counts for some sizes.
    #[test]
    fn products_of_a_transform_are_those_that_are_stated() {
        for (log_n, eighths_on_h) in [(8, 25), (12, 42), (17, 63), (20, 75), (22, 83), (24, 91)] {
            assert_eq!(eighths(log_n, false).0, eighths_on_h, "2^{log_n}");
            assert_eq!(eighths(log_n, true).0, eighths_on_h + 8, "2^{log_n}");
        }
        assert_eq!(eighths(17, false).1, 3);
    }

    /// Index i of a coefficient has a digit for each pass, and the passes' powers of the shift make `shift^i`.
    #[test]
    fn the_passes_multiply_with_every_power_of_the_shift_once() {
        let shift = Fr::from(7u64);
        for log_n in [0u32, 1, 5, 8, 9, 13, 17, 24] {
            let passes = passes(log_n);
            let factors = factors(&passes, Direction::Forward { shift });
            for i in [0u64, 1, 2, 77, 12_345, (1 << log_n) - 1].map(|i| i % (1 << log_n)) {
                let product: Fr = passes
                    .iter()
                    .zip(&factors)
                    .map(|(pass, factors)| {
                        let below = log_n - pass.log_done - pass.log_radix;
                        factors.base.pow([i >> below & ((1 << pass.log_radix) - 1)])
                    })
                    .product();
                assert_eq!(product, shift.pow([i]), "2^{log_n}, {i}");
            }
        }
    }

    #[test]
    fn no_pass_has_two_factors_where_one_would_do() {
        let n_inverse = |log_n: u32| Fr::from(1u64 << log_n).inverse().unwrap();
        for log_n in [3u32, 8, 9, 17, 22] {
            let passes = passes(log_n);
            let back = factors(&passes, Direction::Inverse { shift_inverse: Fr::ONE });
            assert!(back.iter().all(|factors| factors.scale.is_none()), "2^{log_n}");
            let all: Fr = back.iter().map(|factors| factors.factor).product();
            assert_eq!(all, n_inverse(log_n));
            // The first pass of several has none.
            let first =
                factors(&passes, Direction::Forward { shift: Fr::ONE })[0].tables(passes[0]);
            assert_eq!(first, [None, None]);
            assert_eq!(back[0].tables(passes[0])[0].is_some(), passes.len() == 1);
        }
    }
}
