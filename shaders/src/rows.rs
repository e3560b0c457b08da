//! Row kernels on the adapter: see `rows.wgsl` and [`crate::program`].
//!
//! Shaders read few arrays, so the cells of some rows at a time are copied into one, column after column, with those
//! that a rotation reaches past the last row.

use std::sync::Arc;

use rollmill_algebra::device::{DeviceBuffer, DeviceError, RowKernel};

use crate::adapter::Rows;
use crate::buffer::{Array, WgpuBuffer};
use crate::device::{WgpuDevice, shape};
use crate::gpu::{ELEMENT_BYTES, Gpu, Region, bytes_of};
use crate::params;
use crate::program::Program;
use crate::record::Record;

const OPERATION: &str = "rows";
/// Maximum bytes of each array that one group of rows needs: of cells, of registers, of outputs.
const SCRATCH_BYTES: u64 = 1 << 26;

impl WgpuDevice {
    pub(crate) fn rows_on_adapter<K: RowKernel>(
        &self,
        kernel: &K,
        columns: &[&WgpuBuffer],
    ) -> Result<Vec<WgpuBuffer>, DeviceError> {
        let gpu = &self.gpu;
        let n = columns.first().map_or(0, |column| column.len());
        if let Some(other) = columns.iter().map(|column| column.len()).find(|len| *len != n) {
            return shape(OPERATION, format!("columns of length {n}"), other.to_string());
        }
        let Some((program, constants)) = self.programs.record(kernel, gpu.groups_max()) else {
            return shape(OPERATION, "columns below 2^16 and rotations below 2^14", "more");
        };
        if let Some(column) = program.columns.iter().find(|column| **column >= columns.len()) {
            let expected = format!("at least {} columns", column + 1);
            return shape(OPERATION, expected, columns.len().to_string());
        }
        let outputs: Vec<Array> = (0..program.outputs)
            .map(|_| Array::allocate(gpu, OPERATION, n))
            .collect::<Result<_, _>>()?;
        if n > 0 && !outputs.is_empty() {
            let inputs: Vec<&Array> = program
                .columns
                .iter()
                .map(|column| columns[*column].device(gpu))
                .collect::<Result<_, _>>()?;
            let constants = upload(gpu, &bytes_of(&constants))?;
            self.run_program(&program, &constants, &inputs, &outputs)?;
        }
        Ok(outputs.into_iter().map(WgpuBuffer::on_device).collect())
    }

    /// Runs a program on all rows of `inputs`, the columns that it reads, of which `outputs` has as many.
    fn run_program(
        &self,
        program: &Arc<Program>,
        constants: &Arc<Region>,
        inputs: &[&Array],
        outputs: &[Array],
    ) -> Result<(), DeviceError> {
        let gpu = &self.gpu;
        let n = outputs.first().map_or(0, |output| output.len);
        let len = group(gpu, program)?.min(n);
        let (code, instructions) = match self.rows {
            Rows::Generated => (upload(gpu, &[])?, 0),
            Rows::Host | Rows::Interpreted => {
                let code = program.code();
                (upload(gpu, bytemuck::cast_slice(&code))?, code.len() as u32 / 4)
            }
        };
        let elements = |count: usize| gpu.allocate(OPERATION, ELEMENT_BYTES * count as u64);
        let stride = len + program.rotation;
        let cells = elements(stride * inputs.len())?;
        let registers = elements(len * program.registers)?;
        let out = elements(len * outputs.len())?;
        let mut record = Record::new(gpu, OPERATION);
        for start in (0..n).step_by(len) {
            let count = len.min(n - start);
            for (i, input) in inputs.iter().enumerate() {
                gather(
                    &mut record,
                    gpu,
                    input,
                    start,
                    count + program.rotation,
                    (&cells, i * stride),
                );
            }
            let params = params::RowProgram { stride: stride as u32, instructions };
            let regions = [&out, &registers, &cells, constants, &code];
            record.run_program(program, self.rows, count, &params, regions)?;
            for (i, output) in outputs.iter().enumerate() {
                scatter(&mut record, gpu, (&out, i * count), output, start, count);
            }
        }
        record.submit()
    }
}

/// Memory with a copy of `bytes`, which may be none: a binding needs memory in any case.
fn upload(gpu: &Gpu, bytes: &[u8]) -> Result<Arc<Region>, DeviceError> {
    match bytes {
        [] => gpu.allocate(OPERATION, ELEMENT_BYTES),
        bytes => gpu.upload(OPERATION, bytes),
    }
}

/// Rows that run together: as many as the adapter binds, and no more than a buffer has.
fn group(gpu: &Gpu, program: &Program) -> Result<usize, DeviceError> {
    let widest = program.columns.len().max(program.registers).max(program.outputs).max(1);
    let elements = SCRATCH_BYTES.min(gpu.binding_bytes_max) / ELEMENT_BYTES;
    match (elements as usize / widest).checked_sub(program.rotation) {
        None | Some(0) => {
            let expected = format!("at most {elements} cells of a row and of those it reaches");
            shape(OPERATION, expected, (widest * (program.rotation + 1)).to_string())
        }
        Some(rows) => Ok(rows.min(gpu.chunk())),
    }
}

/// Copies the cells of `count` rows from row `start` on, wrapping around.
fn gather(
    record: &mut Record<'_>,
    gpu: &Gpu,
    column: &Array,
    start: usize,
    count: usize,
    (to, at): (&Arc<Region>, usize),
) {
    let mut done = 0;
    while done < count {
        let row = (start + done) % column.len;
        let (chunk, within) = (row / gpu.chunk(), row % gpu.chunk());
        let run = (count - done).min(column.len_of(gpu, chunk) - within);
        record.copy_elements((&column.chunks[chunk], within), (to, at + done), run);
        done += run;
    }
}

/// Copies the results of `count` rows to a column, from row `start` on.
fn scatter(
    record: &mut Record<'_>,
    gpu: &Gpu,
    (from, at): (&Arc<Region>, usize),
    column: &Array,
    start: usize,
    count: usize,
) {
    let mut done = 0;
    while done < count {
        let (chunk, within) = ((start + done) / gpu.chunk(), (start + done) % gpu.chunk());
        let run = (count - done).min(column.len_of(gpu, chunk) - within);
        record.copy_elements((from, at + done), (&column.chunks[chunk], within), run);
        done += run;
    }
}
