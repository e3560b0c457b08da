//! Parts that circuits are put together from.

pub mod blob;
pub mod charge;
pub mod config;
pub mod curve;
pub mod effects;
pub mod fold;
pub mod indexed;
pub mod merkle;
pub mod messages;
pub mod nonnative;
pub mod price;
pub mod shape;
mod slopes;
pub mod straus;
pub mod symbolic;
pub mod transcript;
pub mod uint;
pub mod verifier;
pub mod vk_tree;
pub mod wide;
