//! Generated: the row programs that `cuda/generated.cuh` has kernels for.

#[rustfmt::skip]
pub(crate) const KNOWN: &[&str] = &[
    "rows_0a703ea8d572d71a",
    "rows_11992e0456fd3d10",
    "rows_35e491645c7877bb",
];
