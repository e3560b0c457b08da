//! Why a device could not be opened. What goes wrong later is a
//! [`DeviceError`](rollmill_algebra::device::DeviceError).

/// Why no device was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no graphics adapter that Vulkan, Metal or DirectX 12 can use.
    ///
    /// Do: Install the GPU's Vulkan driver, or Mesa's software adapter (Debian:
    /// `mesa-vulkan-drivers` and `libvulkan1`).
    #[error("{code}: no graphics adapter found; install the card's Vulkan driver, or Mesa's software \
         adapter (Debian: mesa-vulkan-drivers and libvulkan1)", code = self.code())]
    NoAdapter,
    /// No adapter has this index or name.
    ///
    /// Do: Use an adapter that the message lists; `rollmill-agent devices` prints them.
    #[error("{code}: there is no adapter {wanted}; the adapters are {found}", code = self.code())]
    UnknownAdapter { wanted: String, found: String },
    /// 64-bit limbs were requested, but the adapter has no 64-bit integers.
    ///
    /// Do: Request 32-bit limbs.
    #[error("{code}: adapter {adapter} has no 64-bit integers in shaders; ask for 32-bit limbs", code = self.code())]
    NoInt64 { adapter: String },
    /// A limit of the adapter is below what the kernels need.
    ///
    /// Do: Use another adapter.
    #[error("{code}: adapter {adapter}: {limit} is {has}, the kernels need {needed}; use another one", code = self.code())]
    Limits { adapter: String, limit: &'static str, needed: u64, has: u64 },
    /// The driver failed to open the adapter.
    ///
    /// Do: Update the driver, or use another adapter.
    #[error("{code}: adapter {adapter} cannot be opened: {reason}", code = self.code())]
    Refused { adapter: String, reason: String },
    /// An option is invalid.
    ///
    /// Do: Correct the option that the message names.
    #[error("{code}: option {option}: expected {expected}, got {got}", code = self.code())]
    Option { option: &'static str, expected: &'static str, got: String },
}

rollmill_errors::coded! {
    OpenError {
        Self::NoAdapter => "SHD-001",
        Self::UnknownAdapter { .. } => "SHD-002",
        Self::NoInt64 { .. } => "SHD-003",
        Self::Limits { .. } => "SHD-004",
        Self::Refused { .. } => "SHD-005",
        Self::Option { .. } => "SHD-006",
    }
}
