//! Arrays that may be on the host, on the adapter, or on both.

use std::sync::{Arc, OnceLock};

use rollmill_algebra::cpu::CpuBuffer;
use rollmill_algebra::device::{DeviceBuffer, DeviceError, Memory};
use rollmill_algebra::{CpuDevice, Fr};

use crate::gpu::{ELEMENT_BYTES, Gpu, Region, bytes_of};
use crate::kernel::Kernel;
use crate::params;
use crate::record::Record;

/// Field elements of a [`WgpuDevice`](crate::WgpuDevice). Never written to once made, so copies share;
/// the form that an operation needs is created at its first use and kept.
#[derive(Debug, Clone)]
pub struct WgpuBuffer {
    contents: Arc<Contents>,
}

#[derive(Debug)]
struct Contents {
    len: usize,
    /// What was uploaded as small values.
    small: Option<Vec<u16>>,
    host: OnceLock<CpuBuffer>,
    device: OnceLock<Array>,
}

impl DeviceBuffer for WgpuBuffer {
    fn len(&self) -> usize {
        self.contents.len
    }
}

/// Field elements on the adapter, in buffers that are full but for the last.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) len: usize,
    pub(crate) chunks: Vec<Arc<Region>>,
}

impl Array {
    /// Allocates `len` elements of unspecified value.
    pub(crate) fn allocate(
        gpu: &Gpu,
        operation: &'static str,
        len: usize,
    ) -> Result<Self, DeviceError> {
        let chunks = (0..len.div_ceil(gpu.chunk()))
            .map(|i| (len - i * gpu.chunk()).min(gpu.chunk()) as u64)
            .map(|elements| gpu.allocate(operation, ELEMENT_BYTES * elements))
            .collect::<Result<_, _>>()?;
        Ok(Self { len, chunks })
    }

    /// Number of elements in a chunk.
    pub(crate) fn len_of(&self, gpu: &Gpu, chunk: usize) -> usize {
        (self.len - chunk * gpu.chunk()).min(gpu.chunk())
    }

    pub(crate) fn upload(
        gpu: &Gpu,
        operation: &'static str,
        values: &[Fr],
    ) -> Result<Self, DeviceError> {
        let chunks = values
            .chunks(gpu.chunk())
            .map(|values| gpu.upload(operation, &bytes_of(values)))
            .collect::<Result<_, _>>()?;
        Ok(Self { len: values.len(), chunks })
    }

    /// Small values go over two in a word and are widened there.
    fn upload_small(gpu: &Gpu, values: &[u16]) -> Result<Self, DeviceError> {
        const OPERATION: &str = "upload_u16";
        let array = Self::allocate(gpu, OPERATION, values.len())?;
        let mut record = Record::new(gpu, OPERATION);
        for (values, chunk) in values.chunks(gpu.chunk()).zip(&array.chunks) {
            let mut bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            let packed = gpu.upload(OPERATION, &bytes)?;
            record.run(Kernel::Widen, values.len(), &params::Widen {}, &[chunk, &packed]);
        }
        record.submit()?;
        Ok(array)
    }

    /// A copy with the elements from `start` on replaced by `values`; those past the end are appended.
    pub(crate) fn written(
        &self,
        gpu: &Gpu,
        start: usize,
        values: &[Fr],
    ) -> Result<Self, DeviceError> {
        const OPERATION: &str = "write";
        let end = start + values.len();
        let copy = Self::allocate(gpu, OPERATION, self.len.max(end))?;
        let mut record = Record::new(gpu, OPERATION);
        for (i, (from, to)) in self.chunks.iter().zip(&copy.chunks).enumerate() {
            record.copy(from, to, ELEMENT_BYTES * self.len_of(gpu, i) as u64);
        }
        record.submit()?;
        // A write is done after what was submitted before it, and before what will be.
        let mut at = start;
        while at < end {
            let (chunk, within) = (at / gpu.chunk(), at % gpu.chunk());
            let count = (end - at).min(gpu.chunk() - within);
            let bytes = bytes_of(&values[at - start..at - start + count]);
            let to = &copy.chunks[chunk].buffer;
            gpu.queue().write_buffer(to, ELEMENT_BYTES * within as u64, &bytes);
            at += count;
        }
        gpu.check(OPERATION)?;
        Ok(copy)
    }

    pub(crate) fn download(&self, gpu: &Gpu) -> Result<Vec<Fr>, DeviceError> {
        gpu.count_download(self.len);
        let mut out = Vec::with_capacity(self.len);
        for (i, chunk) in self.chunks.iter().enumerate() {
            let bytes = ELEMENT_BYTES * self.len_of(gpu, i) as u64;
            for bytes in gpu.read("download", &[(chunk, bytes)])? {
                gpu.elements(&bytes, &mut out)?;
            }
        }
        Ok(out)
    }
}

impl WgpuBuffer {
    pub(crate) fn on_host(values: CpuBuffer) -> Self {
        Self::with_contents(values.len(), None, Some(values), None)
    }

    pub(crate) fn small(values: &[u16], on_host: CpuBuffer) -> Self {
        Self::with_contents(values.len(), Some(values.to_vec()), Some(on_host), None)
    }

    pub(crate) fn on_device(array: Array) -> Self {
        Self::with_contents(array.len, None, None, Some(array))
    }

    fn with_contents(
        len: usize,
        small: Option<Vec<u16>>,
        host: Option<CpuBuffer>,
        device: Option<Array>,
    ) -> Self {
        let cell = |value: Option<CpuBuffer>| value.map_or_else(OnceLock::new, OnceLock::from);
        let device = device.map_or_else(OnceLock::new, OnceLock::from);
        Self { contents: Arc::new(Contents { len, small, host: cell(host), device }) }
    }

    /// The elements on the adapter.
    pub(crate) fn device(&self, gpu: &Gpu) -> Result<&Array, DeviceError> {
        if let Some(array) = self.contents.device.get() {
            return Ok(array);
        }
        let array = match (&self.contents.small, self.contents.host.get()) {
            (Some(small), _) => Array::upload_small(gpu, small)?,
            (None, Some(host)) => Array::upload(gpu, "upload", host.as_slice())?,
            (None, None) => return Err(gpu.failed("a buffer is empty")),
        };
        // Another thread may have been first; both arrays are equal.
        Ok(self.contents.device.get_or_init(|| array))
    }

    /// The elements on the adapter, if they are nowhere else.
    pub(crate) fn only_on_adapter(&self) -> Option<&Array> {
        match self.contents.host.get() {
            Some(_) => None,
            None => self.contents.device.get(),
        }
    }

    /// The elements on the host.
    pub(crate) fn host(&self, gpu: &Gpu, cpu: &CpuDevice) -> Result<&CpuBuffer, DeviceError> {
        if let Some(values) = self.contents.host.get() {
            return Ok(values);
        }
        let values = match self.contents.device.get() {
            Some(array) => cpu.upload(&array.download(gpu)?)?,
            None => return Err(gpu.failed("a buffer is empty")),
        };
        Ok(self.contents.host.get_or_init(|| values))
    }

    /// An upper bound of the bits of all elements, if it is known without reading them.
    pub(crate) fn bits_max(&self) -> Option<u32> {
        let small = self.contents.small.as_ref()?;
        Some(16 - small.iter().fold(0, |all, value| all | value).leading_zeros())
    }
}
