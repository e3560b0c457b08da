//! The kernel's circuits: their places in the key tree, what they state, and whose proofs they verify.
//!
//! The network does not verify them yet, so they are no [`crate::Circuit`] and the key tree has zeros in their places.

use rollmill_algebra::pair::Pair;
use rollmill_algebra::{Fr, poseidon2};

use crate::ClientInputs;
use crate::circuit::Verifier;
use crate::domain;
use crate::layout::{Encode, layout};
use crate::tree::parents;
use crate::vk_tree::{VK_TREE_HEIGHT, VkLeaf, VkLeafLayout, vk_tree};

layout! {
    /// What a proof of init or inner states.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct KernelInputs as KernelInputsLayout, "kernel inputs" {
        /// Digest of the state after the call.
        pub state: Fr,
        /// Root of the verification-key tree.
        pub vk_root: Fr,
        /// Version of the rules that the circuits enforce.
        pub protocol_version: u64,
        /// What is still owed for the proofs below.
        pub pair: Pair,
    }
}

/// A circuit of the private kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrivateCircuit {
    /// Takes the first call.
    Init,
    /// Takes a nested call.
    Inner,
    /// Ends the transaction.
    Tail,
}

impl PrivateCircuit {
    /// Every circuit of the kernel.
    pub const ALL: [Self; 3] = [Self::Init, Self::Inner, Self::Tail];

    /// Index in the key tree, and the role in its leaf.
    pub const fn role(self) -> u32 {
        match self {
            Self::Init => 9,
            Self::Inner => 10,
            Self::Tail => 11,
        }
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "private_init",
            Self::Inner => "private_inner",
            Self::Tail => "private_tail",
        }
    }

    /// Number of public inputs.
    pub const fn n_public(self) -> usize {
        match self {
            Self::Init | Self::Inner => KernelInputs::FIELDS,
            Self::Tail => ClientInputs::FIELDS,
        }
    }

    /// Where in the public inputs the carried pair starts, if the statement has one.
    pub const fn pair_at(self) -> Option<usize> {
        match self {
            Self::Init | Self::Inner => <KernelInputs as Encode>::PAIR_AT,
            Self::Tail => <ClientInputs as Encode>::PAIR_AT,
        }
    }

    /// Circuits of the kernel whose proofs it accepts, one of them. Init and inner verify a function's proof besides.
    pub const fn accepts(self) -> &'static [Self] {
        match self {
            Self::Init => &[],
            Self::Inner | Self::Tail => &[Self::Init, Self::Inner],
        }
    }

    /// The leaf of the key tree: `hash(VK_LEAF, layout)`. Nobody is paid for proofs of users, so it charges no rows.
    pub fn leaf(self, vk_digest: Fr, log_n: u64, protocol_version: u64) -> Fr {
        let layout = VkLeafLayout {
            role: self.role().into(),
            digest: vk_digest,
            log_n: log_n.into(),
            n_public_inputs: (self.n_public() as u64).into(),
            charged_rows: Fr::from(0u64),
            protocol_version: protocol_version.into(),
            transcript: Verifier::Circuit.transcript().into(),
        };
        poseidon2::hash(domain::VK_LEAF, &layout.into_vec())
    }
}

/// The verification-key tree with the leaves of init, inner and tail in their places; levels from the leaves to the
/// root. The network's own tree has zeros there.
pub fn vk_tree_with_kernel(
    leaves: &[VkLeaf],
    kernel: [Fr; PrivateCircuit::ALL.len()],
) -> Vec<Vec<Fr>> {
    let mut levels = vk_tree(leaves);
    for (circuit, leaf) in PrivateCircuit::ALL.into_iter().zip(kernel) {
        levels[0][circuit.role() as usize] = leaf;
    }
    for level in 0..VK_TREE_HEIGHT {
        levels[level + 1] = parents(&levels[level]);
    }
    levels
}

impl std::fmt::Display for PrivateCircuit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Circuit;
    use crate::tree::root_from_path;

    /// Goal: the kernel's places are free, within the tree, and those that the specification reserves.
    #[test]
    fn the_kernel_has_the_roles_that_no_circuit_has() {
        let reserved = [(9, "private_init"), (10, "private_inner"), (11, "private_tail")];
        for (circuit, (role, name)) in PrivateCircuit::ALL.into_iter().zip(reserved) {
            assert_eq!((circuit.role(), circuit.name()), (role, name));
            assert_eq!(circuit.to_string(), name);
            assert!(role as usize >= Circuit::ALL.len());
            assert!((role as usize) < 1 << VK_TREE_HEIGHT);
        }
    }

    /// Goal: a parent that accepts several circuits finds the same words in the same places, and the tail states what
    /// the built-in client states.
    #[test]
    fn circuits_that_one_parent_accepts_state_the_same_words() {
        for parent in PrivateCircuit::ALL {
            let shape = |child: &PrivateCircuit| (child.n_public(), child.pair_at());
            let mut shapes: Vec<_> = parent.accepts().iter().map(shape).collect();
            shapes.dedup();
            assert!(shapes.len() <= 1, "{parent}");
        }
        let (tail, client) = (PrivateCircuit::Tail, Circuit::Client);
        assert_eq!(tail.n_public(), client.n_public());
        assert_eq!(tail.pair_at(), Some(client.pair_at()));
        assert_eq!(PrivateCircuit::Inner.pair_at(), Some(3));
        assert_eq!(PrivateCircuit::Inner.n_public(), 13);
    }

    /// Goal: the kernel's leaves are where its roles say, and without them the tree is the network's.
    #[test]
    fn the_key_tree_takes_the_leaves_of_the_kernel() {
        let network = VkLeaf {
            circuit: Circuit::TxBase,
            vk_digest: Fr::from(3u64),
            log_n: 17,
            n_public_inputs: 45,
            charged_rows: 9,
            protocol_version: 2,
        };
        let none = [Fr::from(0u64); 3];
        assert_eq!(vk_tree_with_kernel(&[network], none), vk_tree(&[network]));
        let leaves = PrivateCircuit::ALL.map(|circuit| circuit.leaf(Fr::from(7u64), 17, 2));
        let levels = vk_tree_with_kernel(&[network], leaves);
        assert_ne!(levels[VK_TREE_HEIGHT], vk_tree(&[network])[VK_TREE_HEIGHT]);
        let places = PrivateCircuit::ALL.into_iter().map(|circuit| u64::from(circuit.role()));
        for (leaf, at) in leaves.into_iter().zip(places).chain([(network.hash(), 1)]) {
            let place = at as usize;
            let path: [Fr; VK_TREE_HEIGHT] =
                std::array::from_fn(|level| levels[level][(place >> level) ^ 1]);
            assert_eq!(root_from_path(&leaf, at, &path), levels[VK_TREE_HEIGHT][0]);
        }
    }

    /// Goal: a leaf of one role is that of no other, nor of another key, size or version.
    #[test]
    fn leaves_differ_by_each_of_their_words() {
        let digest = Fr::from(7u64);
        let leaf = PrivateCircuit::Init.leaf(digest, 17, 2);
        let others = [
            PrivateCircuit::Inner.leaf(digest, 17, 2),
            PrivateCircuit::Init.leaf(digest + digest, 17, 2),
            PrivateCircuit::Init.leaf(digest, 16, 2),
            PrivateCircuit::Init.leaf(digest, 17, 3),
        ];
        assert!(others.iter().all(|other| *other != leaf));
    }
}
