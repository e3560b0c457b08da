//! Generated: the row programs that `cuda/generated.cuh` has kernels for.

#[rustfmt::skip]
pub(crate) const KNOWN: &[&str] = &[
    "rows_11992e0456fd3d10",
    "rows_684087f4ee79209b",
    "rows_c7ea850013f3fa4a",
];
