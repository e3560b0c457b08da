//! Element-wise work, scans and evaluations; see `cuda/vector.cuh`.

use ark_ff::{AdditiveGroup, Field};
use rollmill_algebra::Fr;
use rollmill_algebra::device::{Coeff, Column, DeviceBuffer, DeviceError, RowKernel, Vector};

use crate::arena::{At, Block};
use crate::device::{CudaBuffer, CudaDevice, ELEMENT, shape};
use crate::launch::Argument::{Element, In, Null, Out, Through, U32, U64};
use crate::launch::Word;

/// Elements that a thread walks, as in the kernels.
pub(crate) const CHUNK: usize = 16;
/// Up to here each element is inverted by itself.
const INVERT_EACH: usize = 1024;

/// What a scan does, as the kernels number it.
#[derive(Debug, Clone, Copy)]
enum Scan {
    Sum = 0,
    Product = 1,
    ProductSkipZero = 2,
}

impl CudaDevice {
    fn fold(
        &self,
        op: &'static str,
        from: At<'_>,
        n: usize,
        scan: Scan,
    ) -> Result<Block, DeviceError> {
        let folds = n.div_ceil(CHUNK);
        let out = self.take(op, folds, ELEMENT)?;
        let arguments = vec![Out(out.start()), In(from), U64(n as u64), U32(scan as u32)];
        self.launch(op, "vector_fold", 256, folds, arguments)?;
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
        let mut before = None;
        if n > CHUNK {
            let folds = self.fold(op, from, n, scan)?;
            let scanned = self.take(op, n.div_ceil(CHUNK), ELEMENT)?;
            self.scan_into(op, scanned.start(), folds.start(), n.div_ceil(CHUNK), scan)?;
            before = Some(scanned);
        }
        let before = before.as_ref().map_or(Null, |block| In(block.start()));
        let arguments = vec![Out(to), In(from), before, U64(n as u64), U32(scan as u32)];
        self.launch(op, "vector_scan", 256, n.div_ceil(CHUNK), arguments)
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

    fn invert_at(&self, values: At<'_>, n: usize) -> Result<(), DeviceError> {
        const OP: &str = "invert";
        if n <= INVERT_EACH {
            let arguments = vec![Out(values), U64(n as u64)];
            return self.launch(OP, "vector_invert_each", 128, n, arguments);
        }
        let folds = self.fold(OP, values, n, Scan::ProductSkipZero)?;
        self.invert_at(folds.start(), n.div_ceil(CHUNK))?;
        let arguments = vec![Out(values), In(folds.start()), U64(n as u64)];
        self.launch(OP, "vector_invert_chunks", 128, n.div_ceil(CHUNK), arguments)
    }

    /// Values at `point` of the chunks of a polynomial, into `to`.
    fn horner(
        &self,
        op: &'static str,
        to: At<'_>,
        from: At<'_>,
        n: usize,
        point: Fr,
    ) -> Result<(), DeviceError> {
        let arguments = vec![Out(to), In(from), U64(n as u64), Element(point)];
        self.launch(op, "vector_horner", 256, n.div_ceil(CHUNK), arguments)
    }

    fn evaluate_into(
        &self,
        to: At<'_>,
        from: At<'_>,
        n: usize,
        point: Fr,
    ) -> Result<(), DeviceError> {
        const OP: &str = "evaluate";
        if n <= CHUNK {
            return self.horner(OP, to, from, n, point);
        }
        let values = self.take(OP, n.div_ceil(CHUNK), ELEMENT)?;
        self.horner(OP, values.start(), from, n, point)?;
        self.evaluate_into(to, values.start(), n.div_ceil(CHUNK), point.pow([CHUNK as u64]))
    }

    fn divide_into(
        &self,
        to: At<'_>,
        from: At<'_>,
        n: usize,
        point: Fr,
    ) -> Result<(), DeviceError> {
        const OP: &str = "divide_by_linear";
        let mut carries = None;
        if n > CHUNK {
            let chunks = n.div_ceil(CHUNK);
            let values = self.take(OP, chunks, ELEMENT)?;
            self.horner(OP, values.start(), from, n, point)?;
            let quotient = self.take(OP, chunks, ELEMENT)?;
            let power = point.pow([CHUNK as u64]);
            self.divide_into(quotient.start(), values.start(), chunks, power)?;
            carries = Some(quotient);
        }
        let carries = carries.as_ref().map_or(Null, |block: &Block| In(block.start()));
        let arguments = vec![Out(to), In(from), carries, U64(n as u64), Element(point)];
        self.launch(OP, "vector_divide", 256, n.div_ceil(CHUNK), arguments)
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
        self.make_own("invert", buffer)?;
        match buffer.start() {
            Some(values) => self.invert_at(values, buffer.len()),
            None => Ok(()),
        }
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
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.take("evaluate", columns.len(), ELEMENT)?;
        // Where a polynomial has no coefficients.
        let bytes = columns.len() as u64 * ELEMENT;
        self.clear("evaluate", values.start(), bytes)?;
        for (i, column) in columns.iter().enumerate() {
            let buffer = &column.buffer;
            if let Some(from) = buffer.start() {
                let to = values.start().plus(i as u64 * ELEMENT);
                self.evaluate_into(to, from, buffer.len(), point)?;
            }
        }
        self.download_elements("evaluate", values.start(), columns.len())
    }

    fn divide_by_linear(
        &self,
        column: &Column<CudaBuffer, Coeff>,
        point: Fr,
    ) -> Result<Column<CudaBuffer, Coeff>, DeviceError> {
        let buffer = &column.buffer;
        let out = self.new_buffer("divide_by_linear", buffer.len())?;
        if let (Some(to), Some(from)) = (out.start(), buffer.start()) {
            self.divide_into(to, from, buffer.len(), point)?;
        }
        Ok(Column::new(out))
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
