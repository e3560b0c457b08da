//! The device: which operation runs where.

use rollmill_algebra::device::{DeviceBuffer, DeviceError, Memory, check_start};
use rollmill_algebra::{CpuDevice, Fr};

use crate::adapter::{Adapter, LimbForm, Options, Rows};
use crate::buffer::WgpuBuffer;
use crate::error::OpenError;
use crate::gpu::{ELEMENT_BYTES, FEWER_RESULTS, Gpu, limbs_of};
use crate::kernel::Kernel;
use crate::ntt::Tables;
use crate::params::{self, Params};
use crate::pipelines::Pipelines;
use crate::program::Programs;
use crate::record::Record;

/// Where an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In shaders on the adapter.
    Adapter,
    /// On host threads.
    Host,
}

/// A field whose product can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The scalar field.
    Fr,
    /// The base field.
    Fq,
}

/// A graphics adapter, and host threads for row kernels where the options say so.
#[derive(Debug)]
pub struct WgpuDevice {
    pub(crate) gpu: Gpu,
    pub(crate) cpu: CpuDevice,
    pub(crate) tables: Tables,
    pub(crate) rows: Rows,
    pub(crate) programs: Programs,
}

impl WgpuDevice {
    /// Opens an adapter.
    ///
    /// # Errors
    /// When there is no adapter, not the requested one, or one without the required limits; nothing else is tried.
    ///
    /// # Panics
    /// If the system cannot start host threads.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let gpu = Gpu::open(options)?;
        let cpu = CpuDevice::new(options.host_threads);
        let (tables, programs) = (Tables::default(), Programs::default());
        Ok(Self { gpu, cpu, tables, rows: options.rows, programs })
    }

    /// The adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.gpu.adapter
    }

    /// The form of limbs in the shaders.
    pub fn limbs(&self) -> LimbForm {
        self.gpu.limbs()
    }

    /// Where and how row kernels run.
    pub fn row_kernels(&self) -> Rows {
        self.rows
    }

    /// The status of the file of compiled pipelines when the device was opened.
    pub fn pipelines(&self) -> &Pipelines {
        &self.gpu.kept_pipelines
    }

    /// Bytes of the adapter's memory that are allocated now.
    pub fn used_bytes(&self) -> u64 {
        self.gpu.used_bytes()
    }

    /// Field elements of the arrays that were copied from the adapter so far. A proof copies none, unless row kernels
    /// run on the host.
    pub fn downloaded_elements(&self) -> u64 {
        self.gpu.downloaded_elements()
    }

    /// The entry points of the kernels that ran so far, and how many workgroups a dispatch of each has at most. The
    /// number follows from the time that its dispatches take.
    pub fn dispatch_groups(&self) -> Vec<(&'static str, u32)> {
        self.gpu.dispatch_groups()
    }

    /// Each operation of the device traits and where it runs. Arrays are copied when an operation
    /// needs them on the other side.
    pub fn report(&self) -> [(&'static str, Place); 9] {
        use Place::{Adapter, Host};
        let rows = if self.rows == Rows::Host { Host } else { Adapter };
        [
            ("commit", Adapter),
            ("transforms", Adapter),
            ("invert", Adapter),
            ("prefix_product", Adapter),
            ("prefix_sum", Adapter),
            ("evaluate", Adapter),
            ("divide_by_linear", Adapter),
            ("linear_combination", Adapter),
            ("rows", rows),
        ]
    }

    /// Waits until everything queued is done.
    ///
    /// # Errors
    /// When the device was lost or failed in the meantime.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.gpu.poll("synchronize", wgpu::PollType::wait_indefinitely())
    }

    /// Releases the adapter. Every later operation fails as lost.
    pub fn close(&self) {
        self.gpu.destroy();
    }

    /// `left[i] · right[i]^rounds` by the shaders' field product, for tests and measurements. Elements
    /// are Montgomery forms of either field, below its modulus; lengths are equal.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the lengths differ or exceed one buffer.
    pub fn field_products(
        &self,
        field: Field,
        left: &[[u64; 4]],
        right: &[[u64; 4]],
        rounds: u32,
    ) -> Result<Vec<[u64; 4]>, DeviceError> {
        let kernel = match field {
            Field::Fr => Kernel::ProductFr,
            Field::Fq => Kernel::ProductFq,
        };
        let params = params::Product { rounds };
        self.field_kernel("field_products", kernel, left, right, &params, left.len())
    }

    /// `left[i] + right[i]` and `left[i] − right[i]`, alternating, as [`Self::field_products`].
    ///
    /// # Errors
    /// As there.
    pub fn field_sums(
        &self,
        field: Field,
        left: &[[u64; 4]],
        right: &[[u64; 4]],
    ) -> Result<Vec<[u64; 4]>, DeviceError> {
        let kernel = match field {
            Field::Fr => Kernel::SumsFr,
            Field::Fq => Kernel::SumsFq,
        };
        self.field_kernel("field_sums", kernel, left, right, &params::Sums {}, 2 * left.len())
    }

    fn field_kernel<P: Params>(
        &self,
        operation: &'static str,
        kernel: Kernel,
        left: &[[u64; 4]],
        right: &[[u64; 4]],
        params: &P,
        outputs: usize,
    ) -> Result<Vec<[u64; 4]>, DeviceError> {
        let gpu = &self.gpu;
        if left.len() != right.len() || outputs > gpu.chunk() {
            return shape(
                operation,
                format!("equal lengths, at most {} results", gpu.chunk()),
                format!("lengths {} and {}", left.len(), right.len()),
            );
        }
        let bytes = |values: &[[u64; 4]]| -> Vec<u8> {
            values.iter().flatten().flat_map(|limb| limb.to_le_bytes()).collect()
        };
        let sources = [gpu.upload(operation, &bytes(left))?, gpu.upload(operation, &bytes(right))?];
        let out = gpu.allocate(operation, ELEMENT_BYTES * outputs as u64)?;
        let mut record = Record::new(gpu, operation);
        record.run(kernel, left.len(), params, &[&sources[0], &sources[1], &out]);
        record.submit()?;
        let mut read = gpu.read(operation, &[(&out, ELEMENT_BYTES * outputs as u64)])?;
        let bytes = read.pop().ok_or_else(|| gpu.failed(FEWER_RESULTS))?;
        Ok(bytes.chunks_exact(32).map(|bytes| limbs_of(bytes).0).collect())
    }
}

impl Memory for WgpuDevice {
    type Buffer = WgpuBuffer;

    fn name(&self) -> String {
        let adapter = format!("wgpu({}, {})", self.gpu.adapter.name, self.gpu.limbs().name());
        match self.rows {
            Rows::Host => format!("hybrid({adapter}+{})", self.cpu.name()),
            Rows::Interpreted | Rows::Generated => adapter,
        }
    }

    fn memory_bytes(&self) -> Option<u64> {
        self.gpu.memory_bytes_max
    }

    /// Half of the memory is left to proofs.
    fn keep(&self, _: &[&WgpuBuffer]) -> bool {
        self.gpu.memory_bytes_max.is_none_or(|most| self.gpu.used_bytes() <= most / 2)
    }

    fn upload(&self, values: &[Fr]) -> Result<WgpuBuffer, DeviceError> {
        self.gpu.check("upload")?;
        Ok(WgpuBuffer::on_host(self.cpu.upload(values)?))
    }

    fn upload_u16(&self, values: &[u16]) -> Result<WgpuBuffer, DeviceError> {
        self.gpu.check("upload_u16")?;
        Ok(WgpuBuffer::small(values, self.cpu.upload_u16(values)?))
    }

    fn download(&self, buffer: &WgpuBuffer) -> Result<Vec<Fr>, DeviceError> {
        self.gpu.check("download")?;
        self.cpu.download(buffer.host(&self.gpu, &self.cpu)?)
    }

    fn write(
        &self,
        buffer: &mut WgpuBuffer,
        start: usize,
        values: &[Fr],
    ) -> Result<(), DeviceError> {
        self.gpu.check("write")?;
        check_start(start, buffer.len())?;
        match buffer.only_on_adapter() {
            Some(array) => {
                let written = array.written(&self.gpu, start, values)?;
                *buffer = WgpuBuffer::on_device(written);
            }
            None => {
                let mut all = buffer.host(&self.gpu, &self.cpu)?.clone();
                self.cpu.write(&mut all, start, values)?;
                *buffer = WgpuBuffer::on_host(all);
            }
        }
        Ok(())
    }
}

pub(crate) fn shape<T>(
    operation: &'static str,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Result<T, DeviceError> {
    Err(DeviceError::Shape { operation, expected: expected.into(), got: got.into() })
}
