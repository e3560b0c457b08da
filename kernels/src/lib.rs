//! The device that runs on NVIDIA cards, and the emulator that runs the same kernels without one.
//!
//! [`CudaDevice`] implements every trait of [`rollmill_algebra::device`]. Its kernels are CUDA C++ in
//! `cuda/`; it launches them through a small driver with two implementations: the real one, loaded at
//! run time so that nothing of CUDA is needed to build or to start, and an emulated one that runs the
//! kernels, compiled by a host compiler, on fibers.

mod arena;
mod cards;
mod copying;
mod cuda;
mod declared;
mod device;
mod driver;
mod emit;
mod emulated;
mod error;
mod generated;
mod launch;
mod model;
mod msm;
mod ntt;
mod order;
mod passes;
mod plan;
mod program;
mod rates;
mod replay;
mod rows;
mod sessions;
mod sizes;
#[cfg(test)]
mod twins;
mod vector;
mod watch;

/// The kernels, compiled for the architectures that `kernels.json` lists and, for later cards, as PTX.
/// Written by `cargo xtask gen --cuda`.
pub static COMPILED: &[u8] = include_bytes!("../kernels.fatbin");

pub use cards::cards;
pub use device::{CudaBuffer, CudaDevice, CudaOptions};
pub use emulated::{Emulation, Fault, compile_emulated_driver, compile_emulator};
pub use error::CudaError;
pub use model::card_model;
pub use msm::CudaBases;
pub use ntt::WrongPass;
pub use rates::Rates;
pub use replay::Replay;
pub use watch::Calls;
