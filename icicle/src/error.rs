//! What can go wrong between the host and ICICLE.

use rollmill_algebra::device::DeviceError;

/// Why an ICICLE device could not be opened, or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IcicleError {
    /// ICICLE was not found or cannot be loaded.
    ///
    /// Do: Install ICICLE 4, or set `ROLLMILL_ICICLE_DIR` to the directory of its libraries.
    #[error(
        "ICI-001: ICICLE was not found; looked for {library} in {looked}: {reason}; install \
         ICICLE 4, or name the folder of its libraries in ROLLMILL_ICICLE_DIR"
    )]
    NotFound { library: String, looked: String, reason: String },
    /// A library lacks a function: it is another version of ICICLE, or another library.
    ///
    /// Do: Install ICICLE 4.
    #[error("ICI-002: {library} has no function {symbol}; ICICLE 4 is needed")]
    Symbol { library: String, symbol: String },
    /// ICICLE has no device of this kind, name or number.
    ///
    /// Do: Use a device that the message lists.
    #[error("ICI-003: there is no ICICLE device `{requested}`; there are: {have}")]
    UnknownDevice { requested: String, have: String },
    /// A call into ICICLE failed.
    ///
    /// Do: Restart the agent. If it recurs, update ICICLE and its driver, or prove on another
    /// device.
    #[error("ICI-004: {call} on ICICLE device {device} failed: {reason}")]
    Call { call: &'static str, device: String, reason: String },
    /// A result differs from the CPU's. Do not trust this device.
    ///
    /// Do: Update ICICLE, or prove on another device.
    #[error(
        "ICI-005: ICICLE device {device} computes wrong values: {what}; update ICICLE or prove on \
         another device"
    )]
    Wrong { device: String, what: String },
    /// The device is out of memory.
    ///
    /// Do: Free memory on the device, or lower `--proofs-in-flight` of the agent.
    #[error(
        "ICI-006: ICICLE device {device} is out of memory: {needed_bytes} B needed, {free_bytes} B free"
    )]
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
