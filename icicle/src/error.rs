//! What can go wrong between the host and ICICLE.

use rollmill_algebra::device::DeviceError;

/// Why an ICICLE device could not be opened, or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IcicleError {
    /// ICICLE was not found or cannot be loaded.
    ///
    /// Do: Install ICICLE 4, or set `ROLLMILL_ICICLE_DIR` to the directory of its libraries.
    #[error("{code}: ICICLE was not found; looked for {library} in {looked}: {reason}; install \
         ICICLE 4, or name the folder of its libraries in ROLLMILL_ICICLE_DIR", code = self.code())]
    NotFound { library: String, looked: String, reason: String },
    /// A library lacks a function: it is another version of ICICLE, or another library.
    ///
    /// Do: Install ICICLE 4.
    #[error("{code}: {library} has no function {symbol}; ICICLE 4 is needed", code = self.code())]
    Symbol { library: String, symbol: String },
    /// ICICLE has no device of this kind, name or number.
    ///
    /// Do: Use a device that the message lists.
    #[error("{code}: there is no ICICLE device `{requested}`; there are: {have}", code = self.code())]
    UnknownDevice { requested: String, have: String },
    /// A call into ICICLE failed.
    ///
    /// Do: Restart the agent. If it recurs, update ICICLE and its driver, or prove on another
    /// device.
    #[error("{code}: {call} on ICICLE device {device} failed: {reason}", code = self.code())]
    Call { call: &'static str, device: String, reason: String },
    /// A result differs from the CPU's. Do not trust this device.
    ///
    /// Do: Update ICICLE, or prove on another device.
    #[error("{code}: ICICLE device {device} computes wrong values: {what}; update ICICLE or prove on \
         another device", code = self.code())]
    Wrong { device: String, what: String },
    /// The device is out of memory.
    ///
    /// Do: Free memory on the device, or lower `--proofs-in-flight` of the agent.
    #[error("{code}: ICICLE device {device} is out of memory: {needed_bytes} B needed, {free_bytes} B free", code = self.code())]
    Memory { device: String, needed_bytes: u64, free_bytes: u64 },
}

rollmill_errors::coded! {
    IcicleError {
        Self::NotFound { .. } => "ICI-001",
        Self::Symbol { .. } => "ICI-002",
        Self::UnknownDevice { .. } => "ICI-003",
        Self::Call { .. } => "ICI-004",
        Self::Wrong { .. } => "ICI-005",
        Self::Memory { .. } => "ICI-006",
    }
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
