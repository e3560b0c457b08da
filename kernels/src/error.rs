//! What can go wrong between the host and a card.

use rollmill_algebra::device::DeviceError;

/// Why a CUDA device could not be opened, or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no NVIDIA driver on this machine.
    #[error("CUD-001: no NVIDIA driver: {reason}; install the driver, or choose another device")]
    NoDriver { reason: String },
    /// The driver is older than the kernels need.
    #[error(
        "CUD-002: the NVIDIA driver supports CUDA {found}, {needed} is needed; update the driver"
    )]
    DriverTooOld { found: String, needed: String },
    /// No such device.
    #[error("CUD-003: there is no CUDA device `{asked}`; there are: {have}")]
    UnknownDevice { asked: String, have: String },
    /// The kernels' image is not what was built, or holds no code for this card.
    #[error("CUD-004: the kernels could not be loaded: {reason}; install the program again")]
    Image { reason: String },
    /// The card has no more memory.
    #[error("CUD-005: the card refused {needed_bytes} B, {free_bytes} B are free")]
    Memory { needed_bytes: u64, free_bytes: u64 },
    /// The card is gone, or a kernel broke its context. Every buffer on it is gone too.
    #[error("CUD-006: device {device} was lost: {reason}")]
    Lost { device: String, reason: String },
    /// The card gave something that cannot be right.
    #[error("CUD-007: device {device} gave a wrong result: {reason}; test the card's memory")]
    WrongResult { device: String, reason: String },
    /// Any other refusal by the driver.
    #[error("CUD-008: {call} on device {device} failed: {reason}")]
    Call { call: &'static str, device: String, reason: String },
}

impl CudaError {
    /// As the error of an operation of the device traits.
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
