//! Runs row kernels; see `cuda/rows.cuh`.

use rollmill_algebra::device::{DeviceError, RowKernel};

use crate::arena::Block;
use crate::device::{CudaBuffer, CudaDevice, ELEMENT, common_len, shape};
use crate::driver::Argument::{Pointer, U32, U64};
use crate::program::Program;

const OP: &str = "rows";
const THREADS: u32 = 128;
/// Blocks for each multiprocessor: enough to hide the latency of memory, few enough that the
/// programs' registers, which are kept in memory, stay small.
const BLOCKS_EACH: usize = 8;

impl CudaDevice {
    pub(crate) fn run_rows<K: RowKernel>(
        &self,
        kernel: &K,
        columns: &[&CudaBuffer],
    ) -> Result<Vec<CudaBuffer>, DeviceError> {
        let n = common_len(OP, columns.iter().copied())?;
        let Some(program) = Program::record(kernel) else {
            return shape(OP, "columns below 2^16 and rotations below 2^14", "more");
        };
        if program.columns > columns.len() {
            let expected = format!("at least {} columns", program.columns);
            return shape(OP, expected, columns.len().to_string());
        }
        let outputs: Vec<CudaBuffer> =
            (0..program.outputs).map(|_| self.new_buffer(OP, n)).collect::<Result<_, _>>()?;
        if n == 0 || outputs.is_empty() {
            return Ok(outputs);
        }

        let blocks = n.div_ceil(THREADS as usize);
        let blocks = blocks.min(BLOCKS_EACH * self.driver.multiprocessors() as usize);
        let threads = blocks * THREADS as usize;
        let registers = self.take(OP, threads * program.registers.max(1) as usize, ELEMENT)?;
        let words: Vec<u64> = program
            .instructions
            .iter()
            .flat_map(|step| {
                let first = u64::from(step.target) << 32 | step.operation as u64;
                [first, u64::from(step.b.encode()) << 32 | u64::from(step.a.encode())]
            })
            .collect();
        let code = self.upload_words(OP, &words)?;
        let constants = self.upload_elements(OP, &program.constants)?;
        let inputs = self.pointers(columns.iter().copied())?;
        let targets = self.pointers(&outputs)?;
        let arguments = vec![
            Pointer(inputs.pointer()),
            Pointer(targets.pointer()),
            Pointer(constants.pointer()),
            Pointer(code.pointer()),
            U32(program.instructions.len() as u32),
            Pointer(registers.pointer()),
            U64(n as u64),
        ];
        self.launch_grid(OP, "rows_run", [blocks as u32, 1, 1], THREADS, 0, arguments)?;
        Ok(outputs)
    }

    fn pointers<'a>(
        &self,
        buffers: impl IntoIterator<Item = &'a CudaBuffer>,
    ) -> Result<Block, DeviceError> {
        let words: Vec<u64> = buffers.into_iter().map(CudaBuffer::pointer).collect();
        self.upload_words(OP, &words)
    }
}
