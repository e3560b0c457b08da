//! Element-wise work, scans and evaluations; see `cuda/vector.cuh`.

mod batch;

use ark_ff::AdditiveGroup;
use rollmill_algebra::Fr;
use rollmill_algebra::device::{Coeff, Column, DeviceBuffer, DeviceError, RowKernel, Vector};

use crate::arena::{At, Block};
use crate::device::{CudaBuffer, CudaDevice, ELEMENT, shape};
use crate::launch::Argument::{In, Null, Out, Through, U32, U64};
use crate::launch::Word;
use crate::vector::batch::Polynomial;

/// Elements that a thread walks, as in the kernels.
pub(crate) const CHUNK: usize = 16;
/// Threads of a block that joins neighbours, as in the kernels.
const THREADS: u32 = 256;
/// Elements of such a block.
const SEGMENT: usize = THREADS as usize * CHUNK;

/// What a scan does, as the kernels number it.
#[derive(Debug, Clone, Copy)]
enum Scan {
    Sum = 0,
    Product = 1,
}

impl CudaDevice {
    fn fold(
        &self,
        op: &'static str,
        from: At<'_>,
        n: usize,
        scan: Scan,
    ) -> Result<Block, DeviceError> {
        let segments = n.div_ceil(SEGMENT);
        let out = self.take_scratch(op, segments, ELEMENT)?;
        let arguments = vec![Out(out.start()), In(from), U64(n as u64), U32(scan as u32)];
        let grid = [segments as u32, 1, 1];
        self.launch_grid(op, "vector_fold", grid, THREADS, 0, arguments)?;
        Ok(out)
    }

    fn scan_into(
        &self,
        op: &'static str,
        to: At<'_>,
        from: At<'_>,
        n: usize,
        scan: Scan,
    ) -> Result<(), DeviceError> {
        let segments = n.div_ceil(SEGMENT);
        let mut before = None;
        if segments > 1 {
            let folds = self.fold(op, from, n, scan)?;
            let scanned = self.take_scratch(op, segments, ELEMENT)?;
            self.scan_into(op, scanned.start(), folds.start(), segments, scan)?;
            before = Some(scanned);
        }
        let before = before.as_ref().map_or(Null, |block| In(block.start()));
        let arguments = vec![Out(to), In(from), before, U64(n as u64), U32(scan as u32)];
        let grid = [segments as u32, 1, 1];
        self.launch_grid(op, "vector_scan", grid, THREADS, 0, arguments)
    }

    fn scan(
        &self,
        op: &'static str,
        buffer: &CudaBuffer,
        scan: Scan,
    ) -> Result<CudaBuffer, DeviceError> {
        let out = self.new_buffer(op, buffer.len())?;
        if let (Some(to), Some(from)) = (out.start(), buffer.start()) {
            self.scan_into(op, to, from, buffer.len(), scan)?;
        }
        Ok(out)
    }
}

impl Vector for CudaDevice {
    fn rows<K: RowKernel>(
        &self,
        kernel: &K,
        columns: &[&CudaBuffer],
    ) -> Result<Vec<CudaBuffer>, DeviceError> {
        self.run_rows(kernel, columns)
    }

    fn invert(&self, buffer: &mut CudaBuffer) -> Result<(), DeviceError> {
        self.invert_all(&mut [buffer])
    }

    fn invert_all(&self, buffers: &mut [&mut CudaBuffer]) -> Result<(), DeviceError> {
        for buffer in buffers.iter_mut() {
            self.make_own("invert", buffer)?;
        }
        let values = buffers.iter().filter_map(|buffer| Some((buffer.start()?, buffer.len())));
        self.invert_in_place(&values.collect::<Vec<_>>())
    }

    fn prefix_product(&self, buffer: &CudaBuffer) -> Result<CudaBuffer, DeviceError> {
        self.scan("prefix_product", buffer, Scan::Product)
    }

    fn prefix_sum(&self, buffer: &CudaBuffer) -> Result<CudaBuffer, DeviceError> {
        self.scan("prefix_sum", buffer, Scan::Sum)
    }

    fn evaluate(
        &self,
        columns: &[&Column<CudaBuffer, Coeff>],
        point: Fr,
    ) -> Result<Vec<Fr>, DeviceError> {
        let claims: Vec<_> = columns.iter().map(|column| (*column, point)).collect();
        self.evaluate_all(&claims)
    }

    fn evaluate_all(
        &self,
        claims: &[(&Column<CudaBuffer, Coeff>, Fr)],
    ) -> Result<Vec<Fr>, DeviceError> {
        const OP: &str = "evaluate";
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.take(OP, claims.len(), ELEMENT)?;
        if claims.iter().any(|(column, _)| column.buffer.is_empty()) {
            self.clear(OP, values.start(), claims.len() as u64 * ELEMENT)?;
        }
        let polynomials: Vec<Polynomial<'_>> = claims
            .iter()
            .enumerate()
            .filter_map(|(i, (column, point))| {
                let to = values.start().plus(i as u64 * ELEMENT);
                let (from, n) = (column.buffer.start()?, column.buffer.len());
                Some(Polynomial { from, to, n, point: *point })
            })
            .collect();
        self.evaluate_polynomials(OP, &polynomials)?;
        self.download_elements(OP, values.start(), claims.len())
    }

    fn divide_by_linear(
        &self,
        column: &Column<CudaBuffer, Coeff>,
        point: Fr,
    ) -> Result<Column<CudaBuffer, Coeff>, DeviceError> {
        match self.divide_all(&[(column, point)])?.pop() {
            Some(quotient) => Ok(quotient),
            None => shape("divide_by_linear", "one quotient", "none"),
        }
    }

    fn divide_all(
        &self,
        claims: &[(&Column<CudaBuffer, Coeff>, Fr)],
    ) -> Result<Vec<Column<CudaBuffer, Coeff>>, DeviceError> {
        const OP: &str = "divide_by_linear";
        let out: Vec<CudaBuffer> = claims
            .iter()
            .map(|(column, _)| self.new_buffer(OP, column.buffer.len()))
            .collect::<Result<_, _>>()?;
        let polynomials: Vec<Polynomial<'_>> = claims
            .iter()
            .zip(&out)
            .filter_map(|((column, point), out)| {
                let (from, n) = (column.buffer.start()?, column.buffer.len());
                Some(Polynomial { from, to: out.start()?, n, point: *point })
            })
            .collect();
        self.divide_polynomials(OP, &polynomials)?;
        Ok(out.into_iter().map(Column::new).collect())
    }

    fn linear_combination(&self, terms: &[(&CudaBuffer, Fr)]) -> Result<CudaBuffer, DeviceError> {
        const OP: &str = "linear_combination";
        let Some(n) = terms.iter().map(|(buffer, _)| buffer.len()).max() else {
            return shape(OP, "at least one term", "none");
        };
        let out = self.new_buffer(OP, n)?;
        let Some(to) = out.start() else { return Ok(out) };
        let mut words = Vec::new();
        for (buffer, factor) in terms.iter().filter(|(_, factor)| *factor != Fr::ZERO) {
            words.extend([Word::In(buffer.start()), Word::Number(buffer.len() as u64)]);
            words.extend(factor.0.0.map(Word::Number));
        }
        let count = (words.len() / 6) as u32;
        if words.is_empty() {
            words.push(Word::Number(0));
        }
        let list = self.upload_list(OP, words)?;
        let arguments = vec![Out(to), Through(&list), U32(count), U64(n as u64)];
        self.launch(OP, "vector_combine", 256, n, arguments)?;
        Ok(out)
    }
}
