//! Parts that circuits are put together from.

pub mod charge;
pub mod effects;
pub mod indexed;
pub mod merkle;
pub mod uint;
