//! Runs row kernels; see `cuda/rows.cuh`.

use rollmill_algebra::device::{DeviceError, RowKernel};

use crate::device::{CudaBuffer, CudaDevice, ELEMENT, common_len, shape};
use crate::emit::FUNCTIONS;
use crate::generated::KNOWN;
use crate::launch::Argument::{In, Out, Through, U32, U64};
use crate::launch::Word;
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
        let Some((program, constants)) = self.card.programs.record(kernel) else {
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

        let constants = self.upload_elements(OP, &constants)?;
        let inputs = columns.iter().map(|column| Word::In(column.start()));
        let inputs = self.upload_list(OP, inputs.collect())?;
        let targets = outputs.iter().map(|column| Word::Out(column.start()));
        let targets = self.upload_list(OP, targets.collect())?;
        let mut arguments = vec![Through(&inputs), Through(&targets), In(constants.start())];
        let name = program.name.as_str();
        self.record_program(&program);
        if !self.card.options.interpret_rows && KNOWN.contains(&name) {
            arguments.push(U64(n as u64));
            self.launch(OP, name, THREADS, n, arguments)?;
            return Ok(outputs);
        }

        let blocks = n.div_ceil(THREADS as usize);
        let blocks = blocks.min(BLOCKS_EACH * self.card.driver.multiprocessors() as usize);
        let threads = blocks * THREADS as usize;
        let registers =
            self.take_scratch(OP, threads * program.registers.max(1) as usize, ELEMENT)?;
        let words = program.instructions.iter().flat_map(|step| {
            let first = u64::from(step.target) << 32 | step.operation as u64;
            [first, u64::from(step.b.encode()) << 32 | u64::from(step.a.encode())]
        });
        let code = self.upload_list(OP, words.map(Word::Number).collect())?;
        arguments.extend([
            Through(&code),
            U32(program.instructions.len() as u32),
            Out(registers.start()),
            U64(n as u64),
        ]);
        self.launch_grid(OP, "rows_run", [blocks as u32, 1, 1], THREADS, 0, arguments)?;
        Ok(outputs)
    }

    fn record_program(&self, program: &Program) {
        if self.card.options.record_rows {
            let mut recorded = self.card.recorded.lock();
            recorded.entry(program.name.clone()).or_insert_with(|| program.to_cuda());
        }
    }

    /// The kernels for all row programs that ran so far, as the two generated files hold them:
    /// `cuda/generated.cuh` and `src/generated.rs`. Empty unless the options ask for recording.
    pub fn generated_rows(&self) -> (String, String) {
        let recorded = self.card.recorded.lock();
        let mut cuda = format!(
            "// Generated from the row programs of the prover; the tests hold it to them. The\n\
             // interpreter in rows.cuh is the twin of every kernel here.\n#pragma once\n\n\
             #include \"vector.cuh\"\n\n{FUNCTIONS}"
        );
        recorded.values().for_each(|text| cuda += &format!("\n{text}"));
        let mut rust = String::from(
            "//! Generated: the row programs that `cuda/generated.cuh` has kernels for.\n\n\
             #[rustfmt::skip]\npub(crate) const KNOWN: &[&str] = &[\n",
        );
        recorded.keys().for_each(|name| rust += &format!("    \"{name}\",\n"));
        cuda += "\n#if !defined(__CUDACC__) && !defined(__CUDACC_RTC__)\n";
        recorded.keys().for_each(|name| cuda += &format!("RM_REGISTER({name})\n"));
        cuda += "#endif\n";
        (cuda, rust + "];\n")
    }
}
