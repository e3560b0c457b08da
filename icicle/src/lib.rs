//! The device traits on a device of ICICLE 4: a card through one of its backends, or its own CPU code.
//!
//! [`IcicleDevice`] passes multi-scalar multiplications and transforms to ICICLE's C library, which is
//! loaded on first use, and does everything else on host threads. Nothing falls back: what
//! ICICLE rejects or computes wrong is an error.
//!
//! Where the libraries are searched for: in [`Options::folder`], else in the folder that the
//! environment names as `ROLLMILL_ICICLE_DIR`, else where the system's loader searches. Only one of
//! these, so that a wrong folder is noticed. Backends are taken from `backend/` below that folder if
//! there is one, else from where ICICLE itself searches (`ICICLE_BACKEND_INSTALL_DIR`,
//! `/opt/icicle/lib/backend`).
//!
//! Source of the interface: the headers of ICICLE v4.0.0, <https://github.com/ingonyama-zk/icicle>.

mod device;
mod error;
mod library;
mod msm;
mod ntt;

pub use crate::device::{IcicleDevice, Options, Place, devices};
pub use crate::error::IcicleError;
pub use crate::library::DeviceId;
pub use crate::msm::IcicleBases;
