//! The rows charged for a proof, from the leaves of the verification-key tree.
//!
//! A leaf is opened at its role, a constant, under the root that the whole epoch shares and L1 pins. In this way a
//! circuit also counts its own proof, although it cannot contain its own key's digest as a constant.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::public_inputs::ConstantsLayout;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf};
use rollmill_protocol::{Circuit, domain};

use crate::gadgets::merkle::{node_hash, siblings};
use crate::weaken::gone;

/// A leaf of the verification-key tree and its siblings, lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedLeaf {
    pub leaf: VkLeaf,
    pub path: [Fr; VK_TREE_HEIGHT],
}

/// The rows charged for a proof of `circuit`, as the tree under `constants.vk_root` states them.
pub fn charged_rows(
    b: &mut Builder,
    constants: &ConstantsLayout<Var>,
    circuit: Circuit,
    opened: &OpenedLeaf,
) -> Var {
    let role = b.constant_u64(circuit.role());
    let digest = b.witness(opened.leaf.vk_digest);
    let log_n = b.witness(opened.leaf.log_n.into());
    let n_public = b.witness(opened.leaf.n_public_inputs.into());
    let charged = b.witness(opened.leaf.charged_rows.into());
    let transcript = b.constant_u64(circuit.verifier().transcript());
    let version = constants.protocol_version;
    let fields = [role, digest, log_n, n_public, charged, version, transcript];
    let mut node = b.hash(domain::VK_LEAF, &fields);
    let path = siblings(b, &opened.path, VK_TREE_HEIGHT);
    for (level, sibling) in path.into_iter().enumerate() {
        node = match circuit.role() >> level & 1 {
            0 => node_hash(b, node, sibling),
            _ => node_hash(b, sibling, node),
        };
    }
    if !gone("gadgets.charge.root") {
        b.assert_equal(node, constants.vk_root);
    }
    charged
}
