//! Generated: the row programs that `cuda/generated.cuh` has kernels for.

#[rustfmt::skip]
pub(crate) const KNOWN: &[&str] = &[
    "rows_11992e0456fd3d10",
    "rows_3c4d26cf4d810db0",
    "rows_596f6792cb9c55b7",
];
