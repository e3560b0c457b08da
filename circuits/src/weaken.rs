//! Names of the constraints of gadgets and circuits that a test build can leave out.
//!
//! `gone("gadgets.bits.one")` where a constraint is made, and the name in this list: see
//! [`rollmill_plonk::weaken`]. `cargo xtask tidy` compares the list with the code, and
//! `cargo xtask mutants --set gadgets` requires that a test notices each.

use rollmill_plonk::weaken::Switch;
pub use rollmill_plonk::weaken::gone;

/// Every switch of this crate.
pub const SWITCHES: &[Switch] = &[];
