//! Number-theoretic transforms; see `cuda/ntt.cuh`.

mod twin;

use std::sync::Arc;

use ark_ff::Field;
use rollmill_algebra::Fr;
use rollmill_algebra::device::{Basis, Coeff, Column, Coset, DeviceError, Lagrange, Ntt};
use rollmill_algebra::field::{TWO_ADICITY, omega, powers};

use crate::arena::{At, Block};
use crate::device::{CudaBuffer, CudaDevice, ELEMENT, common_len, shape};
use crate::launch::Argument::{In, Null, Out, Places, U32};

pub use twin::WrongPass;

/// Columns of one launch, as in the kernel.
const BATCH: usize = 16;
/// Elements of temporary memory that a launch may allocate.
const BATCH_ELEMENTS: usize = 1 << 24;
/// A table of powers has its low part up to here.
const LOG_LOW: u32 = 14;
/// Bits of a transform in one pass.
const LOG_RADIX: u32 = 8;
/// Elements in a block's shared memory: 32 KiB.
const LOG_BLOCK: u32 = 10;
/// Tables of powers that are kept.
const SCALES_KEPT: usize = 32;

/// Tables of powers on the device.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    roots: Option<Arc<Block>>,
    /// By base, factor and size; the most recently used is last.
    scales: Vec<((Fr, Fr, u32), Arc<Block>)>,
}

/// What a transform does besides the plain sum.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Forward { shift: Fr },
    Inverse { shift_inverse: Fr },
}

/// `base^i` for `i` below `low`, then `factor · base^(i · low)` for `i` below `high`.
fn two_tables(base: Fr, factor: Fr, low: usize, high: usize) -> Vec<Fr> {
    let mut table = powers(base, low);
    let step = base.pow([low as u64]);
    table.extend(powers(step, high).into_iter().map(|power| power * factor));
    table
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

impl CudaDevice {
    fn roots(&self, op: &'static str) -> Result<Arc<Block>, DeviceError> {
        let mut tables = self.card.tables.lock();
        if let Some(roots) = &tables.roots {
            return Ok(roots.clone());
        }
        let low = 1 << LOG_LOW;
        let table = two_tables(omega(TWO_ADICITY), Fr::ONE, low, low);
        let roots = Arc::new(self.upload_elements(op, &table)?);
        tables.roots = Some(roots.clone());
        Ok(roots)
    }

    fn scale(
        &self,
        op: &'static str,
        base: Fr,
        factor: Fr,
        log_n: u32,
    ) -> Result<Arc<Block>, DeviceError> {
        let key = (base, factor, log_n);
        let mut tables = self.card.tables.lock();
        if let Some(at) = tables.scales.iter().position(|(held, _)| *held == key) {
            let held = tables.scales.remove(at);
            let block = held.1.clone();
            tables.scales.push(held);
            return Ok(block);
        }
        let low = log_n.min(LOG_LOW);
        let table = two_tables(base, factor, 1 << low, 1 << (log_n - low));
        let block = Arc::new(self.upload_elements(op, &table)?);
        if tables.scales.len() >= SCALES_KEPT {
            tables.scales.remove(0);
        }
        tables.scales.push((key, block.clone()));
        Ok(block)
    }

    fn transform(
        &self,
        op: &'static str,
        columns: &[&CudaBuffer],
        log_n: u32,
        direction: Direction,
    ) -> Result<Vec<CudaBuffer>, DeviceError> {
        let n = 1usize << log_n;
        let (scale_in, scale_out) = match direction {
            Direction::Forward { shift } if shift == Fr::ONE => (None, None),
            Direction::Forward { shift } => (Some(self.scale(op, shift, Fr::ONE, log_n)?), None),
            Direction::Inverse { shift_inverse } => {
                let n_inverse = Fr::from(n as u64).inverse().unwrap_or(Fr::ONE);
                (None, Some(self.scale(op, shift_inverse, n_inverse, log_n)?))
            }
        };
        let outputs: Vec<CudaBuffer> =
            columns.iter().map(|_| self.new_buffer(op, n)).collect::<Result<_, _>>()?;
        let passes = passes(log_n);
        let between: Vec<Block> = if passes.len() > 1 {
            columns.iter().map(|_| self.take(op, n, ELEMENT)).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };

        let mut sources: Vec<At<'_>> = columns.iter().filter_map(|column| column.start()).collect();
        for (i, pass) in passes.iter().enumerate() {
            let last = i + 1 == passes.len();
            let targets: Vec<At<'_>> = if (passes.len() - 1 - i).is_multiple_of(2) {
                outputs.iter().filter_map(CudaBuffer::start).collect()
            } else {
                between.iter().map(Block::start).collect()
            };
            let scales =
                [scale_in.as_ref().filter(|_| i == 0), scale_out.as_ref().filter(|_| last)];
            let scales = scales.map(|block| block.map(|block| block.start()));
            self.run_pass(op, *pass, &sources, &targets, scales)?;
            sources = targets;
        }
        Ok(outputs)
    }

    /// One pass over a batch of columns. `scales` are tables of the powers that inputs and outputs are multiplied
    /// with; the second makes the inverse transform.
    fn run_pass(
        &self,
        op: &'static str,
        pass: Pass,
        from: &[At<'_>],
        to: &[At<'_>],
        [scale_in, scale_out]: [Option<At<'_>>; 2],
    ) -> Result<(), DeviceError> {
        let Pass { log_n, log_done, log_radix, log_tile } = pass;
        let roots = self.roots(op)?;
        let mut places: Vec<_> = from.iter().map(|at| In(*at)).collect();
        places.resize(BATCH, Null);
        places.extend(to.iter().map(|at| Out(*at)));
        places.resize(2 * BATCH, Null);
        let arguments = vec![
            Places(places),
            U32(log_n),
            U32(log_done),
            U32(log_radix),
            U32(log_tile),
            In(roots.start()),
            scale_in.map_or(Null, In),
            scale_out.map_or(Null, In),
            U32(1 << log_n.min(LOG_LOW)),
        ];
        let grid = [1 << (log_n - log_radix - log_tile), from.len() as u32, 1];
        let shared = (ELEMENT as u32) << (log_radix + log_tile);
        let threads = (1u32 << (log_radix + log_tile) >> 1).clamp(32, 256);
        self.launch_grid(op, "ntt_pass", grid, threads, shared, arguments)
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
            }
        }
    }
}
