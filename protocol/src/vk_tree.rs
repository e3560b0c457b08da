//! The verification-key tree: a leaf for each circuit, under a root that L1 pins.

use rollmill_algebra::{Fr, poseidon2};

use crate::circuit::Circuit;
use crate::domain;
use crate::layout::layout;
use crate::tree::parents;

/// Height of the verification-key tree.
pub const VK_TREE_HEIGHT: usize = 5;

// Every circuit has a place.
const _: () = assert!(Circuit::ALL.len() <= 1 << VK_TREE_HEIGHT);

layout! {
    /// What a leaf of the verification-key tree hashes, in order.
    pub struct VkLeafLayout<T> {
        pub role: T,
        pub digest: T,
        pub log_n: T,
        pub n_public_inputs: T,
        pub charged_rows: T,
        pub protocol_version: T,
        pub transcript: T,
    }
}

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
    /// The words of its hash. The transcript follows from what verifies the circuit's proofs.
    pub fn layout(&self) -> VkLeafLayout<Fr> {
        VkLeafLayout {
            role: self.circuit.role().into(),
            digest: self.vk_digest,
            log_n: self.log_n.into(),
            n_public_inputs: self.n_public_inputs.into(),
            charged_rows: self.charged_rows.into(),
            protocol_version: self.protocol_version.into(),
            transcript: self.circuit.verifier().transcript().into(),
        }
    }

    /// `hash(VK_LEAF, layout)`.
    pub fn hash(&self) -> Fr {
        poseidon2::hash(domain::VK_LEAF, &self.layout().into_vec())
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

/// Siblings of a circuit's leaf in the levels of [`vk_tree`], from the leaf up.
pub fn vk_path(levels: &[Vec<Fr>], circuit: Circuit) -> [Fr; VK_TREE_HEIGHT] {
    let index = circuit as usize;
    std::array::from_fn(|level| levels[level][(index >> level) ^ 1])
}
