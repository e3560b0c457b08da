//! Version numbers that must agree before two parties talk.

use rollmill_algebra::Fr;
use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};

use crate::config::Config;
use crate::field::{self, EthAddress};

/// Version of the rules in this crate and of the circuits that prove them. A constant in every
/// range's public inputs and in every leaf of the verification-key tree.
pub const PROTOCOL_VERSION: u64 = 2;

/// Version byte at the front of transaction and block encodings.
pub const ENCODING_VERSION: u8 = 2;

/// What names one deployment and the circuits it accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionIds {
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Number of the rollup deployment; text in JSON, since it is mostly above 2^53.
    #[serde(with = "crate::field::serde_u64_text")]
    pub rollup_version: u64,
    /// [`PROTOCOL_VERSION`] of the software.
    pub protocol_version: u64,
    /// Root of the verification-key tree.
    #[serde(with = "crate::field::serde_fr")]
    pub vk_root: Fr,
}

/// The number of the deployment at an address of L1: the first eight bytes of
/// `keccak256(abi.encode(uint256 chainId, address rollup, bytes32 vkRoot, bytes32 configHash))`.
pub fn rollup_version(chain_id: u64, rollup: EthAddress, vk_root: &Fr, config: &Config) -> u64 {
    let mut hasher = Keccak256::new();
    for word in [Fr::from(chain_id), rollup.to_field(), *vk_root, config.hash()] {
        hasher.update(field::to_bytes(&word));
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
