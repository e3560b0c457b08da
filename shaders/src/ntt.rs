//! Number-theoretic transforms on the adapter: a reordering, passes of up to eight layers, and single
//! layers between the buffers of an array that is longer than one.
//!
//! The inverse is the same with the inverse root, then a scaling by `1 / n` and the powers of the
//! shift's inverse.

use std::sync::Arc;

use ark_ff::{AdditiveGroup, Field};
use parking_lot::Mutex;
use rollmill_algebra::Fr;
use rollmill_algebra::device::{
    Basis, Coeff, Column, Coset, DeviceBuffer, DeviceError, Lagrange, Ntt,
};
use rollmill_algebra::field::{TWO_ADICITY, inverse_of_nonzero, omega, powers};

use crate::buffer::{Array, WgpuBuffer};
use crate::device::{WgpuDevice, shape};
use crate::gpu::{Gpu, Region, bytes_of};
use crate::kernel::Kernel;
use crate::params;
use crate::record::Record;

/// Maximum layers of a pass, and log2 of the elements in its workgroup's memory.
const PASS_LOG: u32 = 8;
/// Constants that `ntt.wgsl` uses by these names.
pub(crate) const CONSTANTS: &[(&str, u32)] = &[("SMALL_ROOTS", 1 << (PASS_LOG - 1))];
/// Maximum tables kept; the oldest is dropped first.
const TABLES_MAX: usize = 32;

/// The powers in a table.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Powers {
    /// The root of order 2^log_n or its inverse, with the small roots in front.
    Root { log_n: u32, inverse: bool },
    /// `first · base^i`.
    Scale { log_n: u32, base: Fr, first: Fr },
}

/// Tables on the adapter, computed at their first use.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    made: Mutex<Vec<(Powers, Arc<Region>)>>,
}

impl Tables {
    fn get(
        &self,
        gpu: &Gpu,
        operation: &'static str,
        requested: Powers,
    ) -> Result<Arc<Region>, DeviceError> {
        let mut made = self.made.lock();
        if let Some((_, region)) = made.iter().find(|(powers, _)| *powers == requested) {
            return Ok(Arc::clone(region));
        }
        let region = gpu.upload(operation, &bytes_of(&requested.values()))?;
        if made.len() == TABLES_MAX {
            made.remove(0);
        }
        made.push((requested, Arc::clone(&region)));
        Ok(region)
    }
}

/// Low half of an exponent of `log_n` bits: how two-level tables are split.
fn split(log_n: u32) -> u32 {
    log_n.div_ceil(2)
}

impl Powers {
    fn values(self) -> Vec<Fr> {
        let root_of = |log_n: u32, inverse: bool| {
            let root = omega(log_n);
            if inverse { inverse_of_nonzero(&root) } else { root }
        };
        let (mut values, base, log_n, first) = match self {
            Self::Root { log_n, inverse } => {
                let small = powers(root_of(PASS_LOG, inverse), 1 << (PASS_LOG - 1));
                (small, root_of(log_n, inverse), log_n, Fr::ONE)
            }
            Self::Scale { log_n, base, first } => (Vec::new(), base, log_n, first),
        };
        let split = split(log_n);
        values.extend(powers(base, 1 << split));
        let coarse = powers(base.pow([1u64 << split]), 1 << (log_n - split));
        values.extend(coarse.into_iter().map(|power| power * first));
        values
    }
}

/// What a transform does besides the plain sum.
#[derive(Debug, Clone, Copy)]
enum Direction {
    /// Coefficients to values on `shift · H`.
    Forward { shift: Fr },
    /// Values on `shift · H` to coefficients.
    Inverse { shift_inverse: Fr },
}

impl WgpuDevice {
    fn transform(
        &self,
        record: &mut Record<'_>,
        operation: &'static str,
        source: &Array,
        direction: Direction,
    ) -> Result<Array, DeviceError> {
        let gpu = &self.gpu;
        let log_n = source.len.ilog2();
        let chunk_log = log_n.min(gpu.chunk_log);
        let table = |powers| self.tables.get(gpu, operation, powers);
        let inverse = matches!(direction, Direction::Inverse { .. });
        let roots = table(Powers::Root { log_n, inverse })?;
        let before = match direction {
            Direction::Forward { shift } if shift != Fr::ONE => {
                Some(table(Powers::Scale { log_n, base: shift, first: Fr::ONE })?)
            }
            _ => None,
        };

        let out = Array::allocate(gpu, operation, source.len)?;
        let chunks = out.chunks.len();
        for (to, into) in out.chunks.iter().enumerate() {
            for (from, chunk) in source.chunks.iter().enumerate() {
                let params = params::Reorder {
                    log_n,
                    log_buffer: chunk_log,
                    to: to as u32,
                    from: from as u32,
                    scaled: before.is_some(),
                    split: split(log_n),
                };
                let regions = [into, before.as_ref().unwrap_or(&roots), chunk];
                record.run(Kernel::Reorder, (1 << chunk_log) / chunks, &params, &regions);
            }
        }
        // As few passes as possible, as even as possible.
        let passes = chunk_log.div_ceil(PASS_LOG);
        let mut first = 0;
        for pass in 0..passes {
            let bits = (chunk_log - first).div_ceil(passes - pass);
            for into in &out.chunks {
                let params = params::PassLayers { log_n, split: split(log_n), first, bits };
                let elements = 1usize << chunk_log;
                let groups = elements.div_ceil(1 << PASS_LOG);
                let regions = [into, &roots];
                record.run_groups(Kernel::PassLayers, elements, groups, &params, &regions);
            }
            first += bits;
        }
        let [nothing, _] = gpu.fillers()?;
        for layer in chunk_log..log_n {
            // Buffers whose numbers differ in one bit meet.
            let distance = 1usize << (layer - chunk_log);
            for low in (0..chunks).filter(|chunk| chunk & distance == 0) {
                let place = (low & (distance - 1)) << chunk_log;
                let place = place as u32;
                let params = params::Across { log_n, split: split(log_n), layer, place };
                let (a, b) = (&out.chunks[low], &out.chunks[low + distance]);
                record.run(Kernel::Across, 1 << chunk_log, &params, &[a, &roots, nothing, b]);
            }
        }
        if let Direction::Inverse { shift_inverse } = direction {
            let first = inverse_of_nonzero(&Fr::from(source.len as u64));
            let scale = table(Powers::Scale { log_n, base: shift_inverse, first })?;
            for (i, into) in out.chunks.iter().enumerate() {
                let start = (i << chunk_log) as u32;
                let params = params::Scale { split: split(log_n), start };
                record.run(Kernel::Scale, 1 << chunk_log, &params, &[into, &scale]);
            }
        }
        Ok(out)
    }

    fn transform_all<S: Basis, T: Basis>(
        &self,
        operation: &'static str,
        columns: &[&Column<WgpuBuffer, S>],
        direction: Direction,
    ) -> Result<Vec<Column<WgpuBuffer, T>>, DeviceError> {
        let Some(n) = columns.first().map(|column| column.buffer.len()) else {
            return Ok(Vec::new());
        };
        if let Some(other) = columns.iter().map(|column| column.buffer.len()).find(|len| *len != n)
        {
            return shape(operation, format!("columns of length {n}"), other.to_string());
        }
        if !n.is_power_of_two() || n.trailing_zeros() > TWO_ADICITY {
            return shape(operation, "a power of two up to 2^28", n.to_string());
        }
        let mut record = Record::new(&self.gpu, operation);
        let mut out = Vec::with_capacity(columns.len());
        for column in columns {
            let source = column.buffer.device(&self.gpu)?;
            let values = self.transform(&mut record, operation, source, direction)?;
            out.push(Column::new(WgpuBuffer::on_device(values)));
        }
        record.submit()?;
        Ok(out)
    }
}

impl Ntt for WgpuDevice {
    fn to_lagrange(
        &self,
        columns: &[&Column<WgpuBuffer, Coeff>],
    ) -> Result<Vec<Column<WgpuBuffer, Lagrange>>, DeviceError> {
        self.transform_all("to_lagrange", columns, Direction::Forward { shift: Fr::ONE })
    }

    fn to_coeff(
        &self,
        columns: &[&Column<WgpuBuffer, Lagrange>],
    ) -> Result<Vec<Column<WgpuBuffer, Coeff>>, DeviceError> {
        self.transform_all("to_coeff", columns, Direction::Inverse { shift_inverse: Fr::ONE })
    }

    fn to_coset(
        &self,
        columns: &[&Column<WgpuBuffer, Coeff>],
        shift: Fr,
    ) -> Result<Vec<Column<WgpuBuffer, Coset>>, DeviceError> {
        if shift == Fr::ZERO {
            return shape("to_coset", "a shift that is not zero", "0");
        }
        self.transform_all("to_coset", columns, Direction::Forward { shift })
    }

    fn from_coset(
        &self,
        columns: &[&Column<WgpuBuffer, Coset>],
        shift: Fr,
    ) -> Result<Vec<Column<WgpuBuffer, Coeff>>, DeviceError> {
        let Some(shift_inverse) = shift.inverse() else {
            return shape("from_coset", "a shift that is not zero", "0");
        };
        self.transform_all("from_coset", columns, Direction::Inverse { shift_inverse })
    }
}
