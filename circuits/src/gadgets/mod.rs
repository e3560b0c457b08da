//! Parts that circuits are put together from.

pub mod charge;
pub mod curve;
pub mod effects;
pub mod indexed;
pub mod merkle;
pub mod nonnative;
pub mod straus;
pub mod uint;
pub mod wide;
