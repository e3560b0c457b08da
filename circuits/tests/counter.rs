//! Recursion with real proofs: a counter that merges with itself under one key tree.
//!
//! A leaf counts one; a merge verifies two counters, leaves or merges, and adds them. At every level
//! the proof is verified natively together with the pair it carries. `COUNTER_DEPTH` sets the number of
//! merge levels; each takes one proof of 2^17 rows. A leaf has a size of its own.

use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::circuit::Dimensions;
use rollmill_circuits::gadgets::fold::{ChildSpec, ChildWitness, verify_children};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::check;
use rollmill_plonk::key::{Bases, ProvingKey, setup};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::proof::{COMMITMENTS, EVALUATIONS, Proof};
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::shape::Shape;
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_plonk::verifier::{PAIR_INPUTS, Pair, VerifyError, verify};
use rollmill_protocol::Circuit;
use rollmill_protocol::circuit::Verifier;
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, VkLeaf, vk_tree};

const KIND: TranscriptKind = TranscriptKind::Poseidon2;
const LEAF: Dimensions = Dimensions { log_n: 13, cell_bits: 12 };
const MERGE: Dimensions = Dimensions { log_n: 17, cell_bits: 16 };
const VERSION: u64 = 1;
/// vk_root, count, pair.
const N_PUBLIC: usize = 2 + PAIR_INPUTS;
const PAIR_AT: usize = 2;
/// The toy borrows two places of the key tree.
const ROLES: [Circuit; 2] = [Circuit::TxBase, Circuit::TxMerge];

/// A pair that holds: both sides are the identity.
fn publish(b: &mut Builder, root: Var, count: Var, pair: &[Var]) {
    for (i, var) in [root, count].iter().chain(pair).enumerate() {
        b.set_public(i, *var);
    }
}

fn leaf(root: Fr) -> (Layout, Witness) {
    let mut b = Builder::new(N_PUBLIC, LEAF.cell_bits);
    let root = b.witness(root);
    let count = b.constant_u64(1);
    let pair = Pair::trivial().to_fields().map(|v| b.constant(v));
    publish(&mut b, root, count, &pair);
    b.finish(Some(LEAF.log_n)).expect("fits")
}

fn merge(root: Fr, children: [&ChildWitness; 2]) -> (Layout, Witness) {
    let mut b = Builder::new(N_PUBLIC, MERGE.cell_bits);
    let root = b.witness(root);
    let version = b.constant_u64(VERSION);
    let roles = ROLES.map(|c| c as u32);
    let spec = ChildSpec {
        roles: &roles,
        n_public: N_PUBLIC,
        sizes: &[LEAF, MERGE],
        pair_at: Some(PAIR_AT),
        transcript: Verifier::Circuit.transcript(),
    };
    let (verified, pair) =
        verify_children(&mut b, root, version, &children.map(|child| (spec, child)));
    for child in &verified {
        b.assert_equal(child.public[0], root);
    }
    let count = b.add(verified[0].public[1], verified[1].public[1]);
    publish(&mut b, root, count, &pair);
    b.finish(Some(MERGE.log_n)).expect("fits")
}

struct Prover {
    device: CpuDevice,
    srs: Srs,
    bases: [Bases<CpuDevice>; 2],
    keys: Vec<ProvingKey<CpuDevice>>,
    leaves: Vec<VkLeaf>,
    tree: Vec<Vec<Fr>>,
}

impl Prover {
    fn new() -> Self {
        let device = CpuDevice::default();
        let srs = Srs::development(MERGE.log_n);
        let bases = [LEAF, MERGE].map(|size| {
            let lagrange = srs.lagrange(size.log_n).expect("long enough");
            Bases::new(&device, &srs, &lagrange).expect("registered")
        });
        // Structure does not depend on the witness, so any child will do.
        let nobody = nobody(&srs);
        let layouts = [leaf(Fr::from(0u64)).0, merge(Fr::from(0u64), [&nobody, &nobody]).0];
        println!("merge: {} rows", layouts[1].rows_used);
        let keys: Vec<_> = layouts
            .iter()
            .zip(&bases)
            .map(|(layout, bases)| {
                let columns = layout.fixed_columns();
                let vk = setup(&device, bases, srs.id(), layout.shape, &columns).expect("key");
                ProvingKey::new(&device, vk, &columns).expect("key")
            })
            .collect();
        let leaves: Vec<VkLeaf> = ROLES
            .iter()
            .zip(&keys)
            .map(|(circuit, key)| VkLeaf {
                circuit: *circuit,
                vk_digest: key.vk_digest,
                log_n: key.vk.shape.log_n.into(),
                n_public_inputs: N_PUBLIC as u64,
                charged_rows: 1,
                protocol_version: VERSION,
            })
            .collect();
        let tree = vk_tree(&leaves);
        Self { device, srs, bases, keys, leaves, tree }
    }

    fn root(&self) -> Fr {
        self.tree[VK_TREE_HEIGHT][0]
    }

    /// Proves, verifies with the carried pair, and makes a child of it.
    fn prove(&self, which: usize, (layout, witness): (Layout, Witness)) -> ChildWitness {
        assert_eq!(check(&layout, &witness), Ok(()));
        let key = &self.keys[which];
        let started = std::time::Instant::now();
        let bases = &self.bases[which];
        let proof = prove(&self.device, key, bases, KIND, &witness, Blinding::Off).expect("proves");
        println!("proof in {:?}", started.elapsed());
        let public = witness.public;
        let decide =
            |public: &[Fr]| verify(KIND, &key.vk, &self.srs.tau_g2, public, &proof, Some(PAIR_AT));
        assert_eq!(decide(&public), Ok(()));
        let mut replaced = public.clone();
        replaced[PAIR_AT..].copy_from_slice(&Pair::trivial().to_fields());
        if replaced != public {
            assert_eq!(decide(&replaced), Err(VerifyError::Quotient));
        }
        let leaf = self.leaves[which];
        let index = leaf.circuit.role() as usize;
        let path = std::array::from_fn(|level| self.tree[level][(index >> level) ^ 1]);
        ChildWitness { proof, public, vk: key.vk.clone(), leaf, path }
    }
}

/// A placeholder child.
fn nobody(srs: &Srs) -> ChildWitness {
    let g = srs.powers[0];
    let zero = Fr::from(0u64);
    let mut public = vec![zero; 2];
    public.extend(Pair::trivial().to_fields());
    let Dimensions { log_n, cell_bits } = MERGE;
    let shape = Shape { log_n, n_public: N_PUBLIC as u32, cell_bits };
    ChildWitness {
        proof: Proof::from_parts(&[g; COMMITMENTS + 2], [zero; EVALUATIONS]),
        public,
        vk: rollmill_plonk::key::VerifyingKey { shape, srs_id: zero, fixed: [g; 19] },
        leaf: VkLeaf {
            circuit: ROLES[0],
            vk_digest: zero,
            log_n: log_n.into(),
            n_public_inputs: N_PUBLIC as u64,
            charged_rows: 0,
            protocol_version: VERSION,
        },
        path: [zero; VK_TREE_HEIGHT],
    }
}

#[test]
fn a_counter_that_merges_with_itself_verifies_at_every_level() {
    let depth: u32 = std::env::var("COUNTER_DEPTH").ok().and_then(|d| d.parse().ok()).unwrap_or(1);
    let prover = Prover::new();
    let first = prover.prove(0, leaf(prover.root()));
    let mut last = first.clone();
    for level in 1..=depth {
        // Leaves and merges are both welcome: the right child of an odd level is a leaf.
        let right = if level % 2 == 1 { &first } else { &last };
        let count = last.public[1] + right.public[1];
        last = prover.prove(1, merge(prover.root(), [&last, right]));
        assert_eq!(last.public[1], count, "level {level}");
    }
}

#[test]
fn structure_does_not_depend_on_the_witness() {
    let srs = Srs::development(4);
    let a = nobody(&srs);
    let mut c = a.clone();
    c.public[5] = Fr::from(77u64);
    c.proof.evaluations = std::array::from_fn(|i| Fr::from(i as u64 * 1000 + 3));
    c.proof.wires[3] = srs.powers[3];
    c.vk.fixed[5] = srs.powers[4];
    (c.vk.shape.log_n, c.vk.shape.cell_bits) = (LEAF.log_n, LEAF.cell_bits);
    let (x, _) = merge(Fr::from(0u64), [&a, &a]);
    let (y, _) = merge(Fr::from(5u64), [&c, &a]);
    assert_eq!(x.rows_used, y.rows_used);
    let (cx, cy) = (x.fixed_columns(), y.fixed_columns());
    for (i, (p, q)) in cx.iter().zip(&cy).enumerate() {
        let first = (0..p.len()).find(|r| p[*r] != q[*r]);
        assert_eq!(first, None, "column {i}");
    }
}
