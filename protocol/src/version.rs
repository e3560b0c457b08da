//! Version numbers that must agree before two parties talk.

use rollmill_algebra::Fr;
use serde::{Deserialize, Serialize};

/// Version of the rules in this crate and of the circuits that prove them. A constant in every
/// range's public inputs and in every leaf of the verification-key tree.
pub const PROTOCOL_VERSION: u64 = 1;

/// Version byte at the front of transaction and block encodings.
pub const ENCODING_VERSION: u8 = 1;

/// What names one deployment and the circuits it accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionIds {
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Number of the rollup deployment on that chain.
    pub rollup_version: u64,
    /// [`PROTOCOL_VERSION`] of the software.
    pub protocol_version: u64,
    /// Root of the verification-key tree.
    #[serde(with = "crate::field::serde_fr")]
    pub vk_root: Fr,
}
