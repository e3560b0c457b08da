//! Verifies children's proofs inside a circuit, and returns their public inputs to the circuit's own part.

use ark_ec::AffineRepr;
use rollmill_algebra::{Fr, G1Affine};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::{COMMITMENTS, EVALUATIONS, Proof};
use rollmill_plonk::shape::{Shape, fixed};
use rollmill_protocol::circuit::Verifier;
use rollmill_protocol::public_inputs::{ConstantsLayout, PairLayout};
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf};
use rollmill_protocol::{Circuit, Pair};

use crate::circuit::{Dimensions, cell_bits, dimensions, log_n};
use crate::gadgets::charge::OpenedLeaf;
use crate::gadgets::effects::inputs_of;
use crate::gadgets::fold::{ChildSpec, ChildWitness, verify_children};

/// A proof that a circuit verifies, with its key and the key's place in the tree.
pub type Child = ChildWitness;

impl ChildWitness {
    /// A placeholder child, to lay a circuit out. Its proof is not valid.
    pub fn dummy(parent: Circuit) -> Self {
        let circuit = *parent.accepts().first().expect("a circuit with children");
        let g = G1Affine::generator();
        let zero = Fr::from(0u64);
        let mut public = vec![zero; circuit.n_public()];
        public.splice(circuit.pair_at().., Pair::trivial().to_fields());
        let shape = Shape {
            log_n: log_n(circuit),
            n_public: circuit.n_public() as u32,
            cell_bits: cell_bits(circuit),
        };
        let OpenedLeaf { leaf, path } = OpenedLeaf::dummy(circuit);
        Self {
            public,
            proof: Proof::from_parts(&[g; COMMITMENTS + 2], [zero; EVALUATIONS]),
            vk: VerifyingKey { shape, srs_id: zero, fixed: [g; fixed::COUNT] },
            leaf,
            path,
        }
    }
}

impl ChildWitness {
    /// As many placeholder children as `parent` verifies.
    pub fn dummies(parent: Circuit) -> Vec<Self> {
        (0..parent.child_count()).map(|_| Self::dummy(parent)).collect()
    }
}

impl OpenedLeaf {
    /// A placeholder leaf, to lay a circuit out.
    pub fn dummy(circuit: Circuit) -> Self {
        let zero = Fr::from(0u64);
        let leaf = VkLeaf {
            circuit,
            vk_digest: zero,
            log_n: log_n(circuit).into(),
            n_public_inputs: circuit.n_public() as u64,
            charged_rows: 0,
            protocol_version: 0,
        };
        Self { leaf, path: [zero; VK_TREE_HEIGHT] }
    }
}

/// Verifies the children of `parent`; returns their public inputs and the pair that all of them, and
/// the pairs they carry, fold into. Without children the pair is the trivial one.
pub fn verified(
    b: &mut Builder,
    parent: Circuit,
    constants: &ConstantsLayout<Var>,
    children: &[Child],
) -> (Vec<Vec<Var>>, PairLayout<Var>) {
    let Some(first) = parent.accepts().first().copied() else {
        return (Vec::new(), PairLayout::of(&Pair::trivial()).map(|v| b.constant(v)));
    };
    let roles: Vec<u32> = parent.accepts().iter().map(|circuit| *circuit as u32).collect();
    let mut sizes: Vec<Dimensions> =
        parent.accepts().iter().map(|circuit| dimensions(*circuit)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    // Circuits that one parent accepts differ in size and width of cells only.
    let spec = ChildSpec {
        roles: &roles,
        n_public: first.n_public(),
        sizes: &sizes,
        pair_at: Some(first.pair_at()),
        transcript: Verifier::Circuit.transcript(),
    };
    let specs: Vec<_> = children.iter().map(|child| (spec, child)).collect();
    let (root, version) = (constants.vk_root, constants.protocol_version);
    let (verified, pair) = verify_children(b, root, version, &specs);
    let public = verified.into_iter().map(|child| child.public).collect();
    (public, inputs_of(&pair))
}
