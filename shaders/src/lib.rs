//! The device traits on a graphics adapter, through wgpu: Vulkan, Metal or DirectX 12.
//!
//! [`WgpuDevice`] runs multi-scalar multiplications, transforms, vector operations and row kernels in WGSL.
//! [`Rows::Host`] leaves row kernels to host threads; [`WgpuDevice::report`] lists where each operation runs. There
//! is no fallback: an operation that the adapter does not support is an error.
//!
//! Launches are cut into dispatches of bounded time, so that no driver takes a slow adapter for one that hangs.
//!
//! The same sources serve adapters with and without 64-bit integers ([`LimbForm`]): only the product
//! of two words differs. Values are in arkworks' in-memory form on both sides, so that uploads and
//! downloads are copies.

mod adapter;
mod buffer;
mod device;
mod error;
mod gpu;
mod kernel;
mod msm;
mod native;
mod ntt;
mod pace;
mod params;
mod pipelines;
mod program;
mod record;
mod rows;
mod source;
mod vector;

pub use crate::adapter::{Adapter, AdapterChoice, LimbForm, Options, Rows, adapters};
pub use crate::buffer::WgpuBuffer;
pub use crate::device::{Field, Place, WgpuDevice};
pub use crate::error::OpenError;
pub use crate::msm::WgpuBases;
pub use crate::pace::Clock;
pub use crate::pipelines::Pipelines;
