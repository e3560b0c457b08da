//! Why a device could not be opened. What goes wrong later is a
//! [`DeviceError`](rollmill_algebra::device::DeviceError).

/// Why no device was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The machine has no adapter that Vulkan, Metal or DirectX 12 can reach.
    #[error(
        "SHD-001: no graphics adapter found; install the card's Vulkan driver, or Mesa's software \
         adapter (Debian: mesa-vulkan-drivers and libvulkan1)"
    )]
    NoAdapter,
    /// No adapter has the index or the name asked for.
    #[error("SHD-002: there is no adapter {wanted}; the adapters are {found}")]
    UnknownAdapter { wanted: String, found: String },
    /// 64-bit limbs were asked for and the adapter has no 64-bit integers.
    #[error("SHD-003: adapter {adapter} has no 64-bit integers in shaders; ask for 32-bit limbs")]
    NoInt64 { adapter: String },
    /// A limit of the adapter is below what the kernels need.
    #[error(
        "SHD-004: adapter {adapter}: {limit} is {has}, the kernels need {needed}; use another one"
    )]
    Limits { adapter: String, limit: &'static str, needed: u64, has: u64 },
    /// The driver refused to open the adapter.
    #[error("SHD-005: adapter {adapter} cannot be opened: {reason}")]
    Refused { adapter: String, reason: String },
    /// An option makes no sense.
    #[error("SHD-006: option {option}: expected {expected}, got {got}")]
    Option { option: &'static str, expected: &'static str, got: String },
}
