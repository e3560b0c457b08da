//! The verification-key tree: a leaf for each circuit, under a root that L1 pins.

use rollmill_algebra::{Fr, poseidon2};

use crate::circuit::Circuit;
use crate::domain;
use crate::tree::parents;

/// Height of the verification-key tree.
pub const VK_TREE_HEIGHT: usize = 4;

// Every circuit has a place.
const _: () = assert!(Circuit::ALL.len() <= 1 << VK_TREE_HEIGHT);

/// A leaf of the verification-key tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VkLeaf {
    pub circuit: Circuit,
    pub vk_digest: Fr,
    /// Base-2 logarithm of the number of rows.
    pub log_n: u64,
    /// Number of public inputs.
    pub n_public_inputs: u64,
    /// Rows that a proof is paid for.
    pub charged_rows: u64,
    pub protocol_version: u64,
}

impl VkLeaf {
    /// `hash(VK_LEAF, [role, vk_digest, log_n, n_public_inputs, charged_rows, protocol_version])`.
    pub fn hash(&self) -> Fr {
        poseidon2::hash(
            domain::VK_LEAF,
            &[
                self.circuit.role().into(),
                self.vk_digest,
                self.log_n.into(),
                self.n_public_inputs.into(),
                self.charged_rows.into(),
                self.protocol_version.into(),
            ],
        )
    }
}

/// The verification-key tree: levels from the leaves to the root; absent leaves are zero.
pub fn vk_tree(leaves: &[VkLeaf]) -> Vec<Vec<Fr>> {
    let mut row = vec![Fr::from(0u64); 1 << VK_TREE_HEIGHT];
    for leaf in leaves {
        row[leaf.circuit as usize] = leaf.hash();
    }
    let mut levels = vec![row];
    for level in 0..VK_TREE_HEIGHT {
        levels.push(parents(&levels[level]));
    }
    levels
}
