//! How a client behaves.

use std::time::Duration;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a request is repeated while its answers are [`crate::Answer::Transient`]. Zero: never.
    pub patience: Duration,
    /// How long one answer may take, beyond the wait that a long poll asks for.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { patience: Duration::from_secs(20), timeout: Duration::from_secs(30) }
    }
}
