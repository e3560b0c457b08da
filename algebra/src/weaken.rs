//! The switch that leaves one check out of a test build.
//!
//! With the feature `weaken`, the environment variable [`VARIABLE`] names one check, and the code that
//! carries this name behaves as if the check were not written. Without the feature [`gone`] is `false` at
//! compile time. The names are registered in `rollmill_plonk::weaken` and `rollmill_circuits::weaken`.

/// The environment variable that names the check.
pub const VARIABLE: &str = "ROLLMILL_WEAKEN";

/// Whether the check of this name is switched off.
#[cfg(not(feature = "weaken"))]
#[inline(always)]
pub const fn gone(_name: &str) -> bool {
    false
}

#[cfg(feature = "weaken")]
pub use on::{gone, name, set};

#[cfg(feature = "weaken")]
mod on {
    use std::sync::OnceLock;

    use parking_lot::RwLock;

    fn current() -> &'static RwLock<String> {
        static CURRENT: OnceLock<RwLock<String>> = OnceLock::new();
        CURRENT.get_or_init(|| RwLock::new(std::env::var(super::VARIABLE).unwrap_or_default()))
    }

    /// Whether the check of this name is switched off.
    pub fn gone(name: &str) -> bool {
        *current().read() == name
    }

    /// The name of the check that is switched off; empty if all are on.
    pub fn name() -> String {
        current().read().clone()
    }

    /// Switches this one off for the whole process and every other on again; the empty name switches
    /// all on. For a test program that has one test and runs it for many names.
    pub fn set(name: &str) {
        *current().write() = name.to_owned();
    }
}
