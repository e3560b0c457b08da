//! Element-wise work and scans on the adapter, and row kernels on the host where the options leave them there.
//!
//! A scan splits the array into segments, one thread per segment: the totals of the segments, the scan of
//! the totals by the same method, and the scan of each segment from the total before it. Products, sums and
//! Horner's rule differ in one step only.

use ark_ff::{AdditiveGroup, Field};
use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuBuffer;
use rollmill_algebra::device::{Coeff, Column, DeviceBuffer, DeviceError, RowKernel, Vector};

use crate::adapter::Rows;
use crate::buffer::{Array, WgpuBuffer};
use crate::device::{WgpuDevice, shape};
use crate::gpu::{ELEMENT_BYTES, FEWER_RESULTS};
use crate::kernel::Kernel;
use crate::params;
use crate::record::Record;

/// Elements per segment. Divides the length of every full buffer.
const SEGMENT: usize = 32;
/// Elements that share an inversion, which costs about 380 products.
const INVERSION_SEGMENT: usize = 64;
/// Sources that `combine` reads in one launch.
const SOURCES: usize = 4;

/// What a scan does at each step.
#[derive(Debug, Clone, Copy)]
enum Scan {
    Product,
    Sum,
    /// Horner's rule at a point, from the top.
    Horner(Fr),
}

/// The names and numbers of scans in `vector.wgsl`.
pub(crate) const MODES: &[(&str, u32)] = &[("PRODUCT", PRODUCT), ("SUM", SUM), ("HORNER", HORNER)];
const PRODUCT: u32 = 0;
const SUM: u32 = 1;
const HORNER: u32 = 2;

impl Scan {
    /// The number of the scan, and the point of Horner's rule.
    fn mode(self) -> (u32, Fr) {
        match self {
            Self::Product => (PRODUCT, Fr::ZERO),
            Self::Sum => (SUM, Fr::ZERO),
            Self::Horner(point) => (HORNER, point),
        }
    }

    fn start(self) -> Fr {
        match self {
            Self::Product => Fr::ONE,
            Self::Sum | Self::Horner(_) => Fr::ZERO,
        }
    }

    /// The scan of the segments' totals.
    fn of_totals(self) -> Self {
        match self {
            Self::Horner(point) => Self::Horner(point.pow([SEGMENT as u64])),
            other => other,
        }
    }
}

impl WgpuDevice {
    /// Totals of the segments of `array`.
    fn fold(
        &self,
        record: &mut Record<'_>,
        operation: &'static str,
        array: &Array,
        scan: Scan,
    ) -> Result<Array, DeviceError> {
        let totals = Array::allocate(&self.gpu, operation, array.len.div_ceil(SEGMENT))?;
        for (i, chunk) in array.chunks.iter().enumerate() {
            let (into, at) = self.place_of_totals(i);
            let len = array.len_of(&self.gpu, i);
            let regions = [&totals.chunks[into], chunk];
            let (segment, (mode, point)) = (SEGMENT as u32, scan.mode());
            let first_total = at as u32;
            let params = params::Fold { segment, len: len as u32, mode, first_total, point };
            record.run(Kernel::Fold, len.div_ceil(SEGMENT), &params, &regions);
        }
        Ok(totals)
    }

    /// The buffer, and the place in it, of the first total of a buffer.
    fn place_of_totals(&self, chunk: usize) -> (usize, usize) {
        let first = chunk * (self.gpu.chunk() / SEGMENT);
        (first / self.gpu.chunk(), first % self.gpu.chunk())
    }

    fn scan(
        &self,
        record: &mut Record<'_>,
        operation: &'static str,
        array: &Array,
        scan: Scan,
    ) -> Result<Array, DeviceError> {
        let starts = if array.len <= SEGMENT {
            Array::upload(&self.gpu, operation, &[scan.start()])?
        } else {
            let totals = self.fold(record, operation, array, scan)?;
            self.scan(record, operation, &totals, scan.of_totals())?
        };
        let out = Array::allocate(&self.gpu, operation, array.len)?;
        for (i, (chunk, out)) in array.chunks.iter().zip(&out.chunks).enumerate() {
            let (from, at) = self.place_of_totals(i);
            let len = array.len_of(&self.gpu, i);
            let regions = [out, chunk, &starts.chunks[from]];
            let (segment, (mode, point)) = (SEGMENT as u32, scan.mode());
            let first_start = at as u32;
            let params = params::Spread { segment, len: len as u32, mode, first_start, point };
            record.run(Kernel::Spread, len.div_ceil(SEGMENT), &params, &regions);
        }
        Ok(out)
    }

    fn scanned(
        &self,
        operation: &'static str,
        buffer: &WgpuBuffer,
        scan: Scan,
    ) -> Result<WgpuBuffer, DeviceError> {
        let mut record = Record::new(&self.gpu, operation);
        let out = self.scan(&mut record, operation, buffer.device(&self.gpu)?, scan)?;
        record.submit()?;
        Ok(WgpuBuffer::on_device(out))
    }
}

impl Vector for WgpuDevice {
    fn rows<K: RowKernel>(
        &self,
        kernel: &K,
        columns: &[&WgpuBuffer],
    ) -> Result<Vec<WgpuBuffer>, DeviceError> {
        self.gpu.check("rows")?;
        if self.rows != Rows::Host {
            return self.rows_on_adapter(kernel, columns);
        }
        let columns: Vec<&CpuBuffer> = columns
            .iter()
            .map(|column| column.host(&self.gpu, &self.cpu))
            .collect::<Result<_, _>>()?;
        let out = self.cpu.rows(kernel, &columns)?;
        Ok(out.into_iter().map(WgpuBuffer::on_host).collect())
    }

    fn invert(&self, buffer: &mut WgpuBuffer) -> Result<(), DeviceError> {
        const OPERATION: &str = "invert";
        let array = buffer.device(&self.gpu)?;
        let out = Array::allocate(&self.gpu, OPERATION, array.len)?;
        let mut record = Record::new(&self.gpu, OPERATION);
        for (i, (chunk, out)) in array.chunks.iter().zip(&out.chunks).enumerate() {
            let len = array.len_of(&self.gpu, i);
            let params = params::Invert { len: len as u32 };
            record.run(Kernel::Invert, len.div_ceil(INVERSION_SEGMENT), &params, &[out, chunk]);
        }
        record.submit()?;
        *buffer = WgpuBuffer::on_device(out);
        Ok(())
    }

    fn prefix_product(&self, buffer: &WgpuBuffer) -> Result<WgpuBuffer, DeviceError> {
        self.scanned("prefix_product", buffer, Scan::Product)
    }

    fn prefix_sum(&self, buffer: &WgpuBuffer) -> Result<WgpuBuffer, DeviceError> {
        self.scanned("prefix_sum", buffer, Scan::Sum)
    }

    fn evaluate(
        &self,
        columns: &[&Column<WgpuBuffer, Coeff>],
        point: Fr,
    ) -> Result<Vec<Fr>, DeviceError> {
        const OPERATION: &str = "evaluate";
        let mut record = Record::new(&self.gpu, OPERATION);
        let mut values = Vec::new();
        for column in columns.iter().filter(|column| !column.buffer.is_empty()) {
            let mut scan = Scan::Horner(point);
            let array = column.buffer.device(&self.gpu)?;
            let mut totals = self.fold(&mut record, OPERATION, array, scan)?;
            while totals.len > 1 {
                scan = scan.of_totals();
                totals = self.fold(&mut record, OPERATION, &totals, scan)?;
            }
            values.push(totals);
        }
        record.submit()?;
        let requested: Vec<_> =
            values.iter().map(|value| (&*value.chunks[0], ELEMENT_BYTES)).collect();
        let mut read = Vec::with_capacity(requested.len());
        for bytes in self.gpu.read(OPERATION, &requested)? {
            self.gpu.elements(&bytes, &mut read)?;
        }
        let mut read = read.into_iter();
        let value = |column: &&Column<WgpuBuffer, Coeff>| match column.buffer.is_empty() {
            true => Ok(Fr::ZERO),
            false => read.next().ok_or_else(|| self.gpu.failed(FEWER_RESULTS)),
        };
        columns.iter().map(value).collect()
    }

    /// The scan of Horner's rule from the top, which is synthetic division.
    fn divide_by_linear(
        &self,
        column: &Column<WgpuBuffer, Coeff>,
        point: Fr,
    ) -> Result<Column<WgpuBuffer, Coeff>, DeviceError> {
        self.scanned("divide_by_linear", &column.buffer, Scan::Horner(point)).map(Column::new)
    }

    fn linear_combination(&self, terms: &[(&WgpuBuffer, Fr)]) -> Result<WgpuBuffer, DeviceError> {
        const OPERATION: &str = "linear_combination";
        let Some(len) = terms.iter().map(|(buffer, _)| buffer.len()).max() else {
            return shape(OPERATION, "at least one term", "none");
        };
        let gpu = &self.gpu;
        let arrays: Vec<(&Array, Fr)> = terms
            .iter()
            .map(|(buffer, factor)| Ok((buffer.device(gpu)?, *factor)))
            .collect::<Result<_, DeviceError>>()?;
        let [nothing, _] = gpu.fillers()?;
        let out = Array::allocate(gpu, OPERATION, len)?;
        let mut record = Record::new(gpu, OPERATION);
        for (i, into) in out.chunks.iter().enumerate() {
            for (round, arrays) in arrays.chunks(SOURCES).enumerate() {
                let (sources, accumulate) = (arrays.len() as u32, round > 0);
                let (len, factor) = ([0; SOURCES], [Fr::ZERO; SOURCES]);
                let mut params = params::Combine { sources, accumulate, len, factor };
                let mut regions = vec![into];
                for (k, (array, factor)) in arrays.iter().enumerate() {
                    let chunk = array.chunks.get(i);
                    let chunk_len = chunk.map_or(0, |_| array.len_of(gpu, i));
                    (params.len[k], params.factor[k]) = (chunk_len as u32, *factor);
                    regions.push(chunk.unwrap_or(nothing));
                }
                regions.resize(1 + SOURCES, nothing);
                record.run(Kernel::Combine, out.len_of(gpu, i), &params, &regions);
            }
        }
        record.submit()?;
        Ok(WgpuBuffer::on_device(out))
    }
}
