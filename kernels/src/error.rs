//! Errors of CUDA devices.

use rollmill_algebra::device::DeviceError;

/// Why a CUDA device could not be opened, or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no NVIDIA driver on this machine.
    ///
    /// Do: Install the driver, or choose another `--device`.
    #[error("{code}: no NVIDIA driver: {reason}; install the driver, or choose another device", code = self.code())]
    NoDriver { reason: String },
    /// The driver is older than the kernels require.
    ///
    /// Do: Update the NVIDIA driver.
    #[error("{code}: the NVIDIA driver supports CUDA {found}, {needed} is needed; update the driver", code = self.code())]
    DriverTooOld { found: String, needed: String },
    /// There is no CUDA device of this number or UUID.
    ///
    /// Do: Use a device that the message lists; `rollmill-agent devices` prints them.
    #[error("{code}: there is no CUDA device `{requested}`; there are: {have}", code = self.code())]
    UnknownDevice { requested: String, have: String },
    /// The kernels' image differs from the built one, or has no code for this GPU.
    ///
    /// Do: Install the program again, or correct `--cuda-image`.
    #[error("{code}: the kernels could not be loaded: {reason}; install the program again", code = self.code())]
    Image { reason: String },
    /// The GPU is out of memory.
    ///
    /// Do: Free memory on the GPU, or lower `--proofs-in-flight` of the agent.
    #[error("{code}: out of GPU memory: {needed_bytes} B needed, {free_bytes} B free", code = self.code())]
    Memory { needed_bytes: u64, free_bytes: u64 },
    /// The GPU was lost, or a kernel broke its context. Every buffer on it is lost too.
    ///
    /// Do: Restart the agent. If it recurs, read `dmesg` for Xid lines and replace the card.
    #[error("{code}: device {device} was lost: {reason}", code = self.code())]
    Lost { device: String, reason: String },
    /// The GPU returned an impossible result.
    ///
    /// Do: Take the GPU out of service and test its memory.
    #[error("{code}: device {device} returned a wrong result: {reason}; test the memory of the GPU", code = self.code())]
    WrongResult { device: String, reason: String },
    /// A call into the NVIDIA driver failed.
    ///
    /// Do: Restart the agent. If it recurs, update the driver and report it with the log.
    #[error("{code}: {call} on device {device} failed: {reason}", code = self.code())]
    Call { call: &'static str, device: String, reason: String },
}

rollmill_errors::coded! {
    CudaError {
        Self::NoDriver { .. } => "CUD-001",
        Self::DriverTooOld { .. } => "CUD-002",
        Self::UnknownDevice { .. } => "CUD-003",
        Self::Image { .. } => "CUD-004",
        Self::Memory { .. } => "CUD-005",
        Self::Lost { .. } => "CUD-006",
        Self::WrongResult { .. } => "CUD-007",
        Self::Call { .. } => "CUD-008",
    }
}

impl CudaError {
    /// Converts to the error of an operation of the device traits.
    pub(crate) fn during(self, operation: &'static str, device: &str) -> DeviceError {
        match self {
            Self::Memory { needed_bytes, free_bytes } => {
                DeviceError::Memory { operation, needed_bytes, free_bytes }
            }
            Self::Lost { device, reason } => DeviceError::Lost { device, reason },
            other => DeviceError::Failed {
                device: device.to_owned(),
                reason: format!("{operation}: {other}"),
            },
        }
    }
}
