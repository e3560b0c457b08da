//! What can go wrong between the host and ICICLE.

use rollmill_algebra::device::DeviceError;

/// Why an ICICLE device could not be opened, or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IcicleError {
    /// There is no ICICLE where it was looked for, or it cannot be loaded.
    #[error(
        "ICI-001: ICICLE was not found; looked for {library} in {looked}: {reason}; install \
         ICICLE 4, or name the folder of its libraries in ROLLMILL_ICICLE_DIR"
    )]
    NotFound { library: String, looked: String, reason: String },
    /// A library lacks a function, so it is another version of ICICLE or no ICICLE at all.
    #[error("ICI-002: {library} has no function {symbol}; ICICLE 4 is needed")]
    Symbol { library: String, symbol: String },
    /// ICICLE has no device of this kind, name or number on this machine.
    #[error("ICI-003: there is no ICICLE device `{asked}`; there are: {have}")]
    UnknownDevice { asked: String, have: String },
    /// A call gave an error.
    #[error("ICI-004: {call} on ICICLE device {device} failed: {reason}")]
    Call { call: &'static str, device: String, reason: String },
    /// A result is not the CPU's. Nothing that the device computes is to be trusted.
    #[error(
        "ICI-005: ICICLE device {device} computes wrong values: {what}; update ICICLE or prove on \
         another device"
    )]
    Wrong { device: String, what: String },
    /// The device has no more memory.
    #[error("ICI-006: ICICLE device {device} refused {needed_bytes} B, {free_bytes} B are free")]
    Memory { device: String, needed_bytes: u64, free_bytes: u64 },
}

impl IcicleError {
    /// As the error of an operation of the device traits.
    pub(crate) fn during(self, operation: &'static str, name: &str) -> DeviceError {
        match self {
            Self::Memory { needed_bytes, free_bytes, .. } => {
                DeviceError::Memory { operation, needed_bytes, free_bytes }
            }
            other => DeviceError::Failed {
                device: name.to_owned(),
                reason: format!("{operation}: {other}"),
            },
        }
    }
}
