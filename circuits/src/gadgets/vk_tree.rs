//! Verification keys inside a circuit: their digest, and their leaf under the key tree's root.
//!
//! A parent accepts a constant set of roles. A role is the leaf's index, so a key has one role only, and a proof of
//! another role opens another leaf.

use rollmill_algebra::{Fr, G1Affine};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::key::{VK_DIGEST_DOMAIN, VerifyingKey};
use rollmill_protocol::domain;
use rollmill_protocol::vk_tree::VK_TREE_HEIGHT;

use super::curve::Point;
use crate::circuit::Dimensions;
use crate::weaken::gone;

/// One value of a constant list, as one bit for each.
#[derive(Debug, Clone)]
pub struct Choice<T> {
    /// `bits[i]` is one when the value is `values[i]`; exactly one is.
    pub bits: Vec<Var>,
    values: Vec<T>,
}

impl<T: Copy + PartialEq> Choice<T> {
    /// Chooses `value`. If the list does not contain it, no witness satisfies the circuit.
    pub fn new(b: &mut Builder, values: &[T], value: T) -> Self {
        let bits: Vec<Fr> = values.iter().map(|v| Fr::from(u64::from(*v == value))).collect();
        Self::given(b, values, &bits)
    }

    /// [`Self::new`] with bits that the prover chooses.
    fn given(b: &mut Builder, values: &[T], bits: &[Fr]) -> Self {
        let one = Fr::from(1u64);
        let bits: Vec<Var> = if values.len() == 1 {
            vec![b.constant(one)]
        } else {
            let mut one_bit = |bit: &Fr| {
                let bit = b.witness(*bit);
                if !gone("gadgets.choice.bit") {
                    b.assert_bool(bit);
                }
                bit
            };
            let bits: Vec<Var> = bits.iter().map(&mut one_bit).collect();
            let terms: Vec<(Fr, Var)> = bits.iter().map(|bit| (one, *bit)).collect();
            let total = b.constant(one);
            if !gone("gadgets.choice.one") {
                b.linear_into(&terms, Fr::from(0u64), total);
            }
            bits
        };
        Self { bits, values: values.to_vec() }
    }

    /// `f` of the chosen value.
    pub fn map(&self, b: &mut Builder, f: impl Fn(T) -> Fr) -> Var {
        if let [value] = self.values[..] {
            return b.constant(f(value));
        }
        let terms: Vec<(Fr, Var)> =
            self.bits.iter().zip(&self.values).map(|(bit, v)| (f(*v), *bit)).collect();
        b.linear(&terms, Fr::from(0u64))
    }

    /// The value that this witness chooses, if it chooses one.
    pub fn chosen(&self, b: &Builder) -> Option<T> {
        let one = Fr::from(1u64);
        let mut chosen =
            self.bits.iter().zip(&self.values).filter(|(bit, _)| b.value(**bit) == one);
        chosen.next().map(|(_, value)| *value)
    }

    /// The only value of the list, if it has just one.
    pub fn single(&self) -> Option<T> {
        match self.values[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The values.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

/// A verification key as variables.
#[derive(Debug, Clone)]
pub struct KeyVars {
    /// Commitments to the fixed columns.
    pub fixed: Vec<Point>,
    /// The size under which proofs are verified.
    pub size: Choice<Dimensions>,
    /// Base-2 logarithm of the number of rows, as the digest and the leaf contain it.
    pub log_n: Var,
    /// The key's digest, computed here from its parts.
    pub digest: Var,
}

impl KeyVars {
    /// A key of one of these sizes, and exactly this number of public inputs.
    pub fn new(b: &mut Builder, vk: &VerifyingKey, sizes: &[Dimensions], n_public: usize) -> Self {
        let size = Dimensions { log_n: vk.shape.log_n, cell_bits: vk.shape.cell_bits };
        Self::given(b, vk, sizes, n_public, size)
    }

    /// [`Self::new`] with a size that the prover chooses. Its number of rows and its width of cells are words of the
    /// digest, which the leaf binds, so only the key's own size leads to the leaf.
    fn given(
        b: &mut Builder,
        vk: &VerifyingKey,
        sizes: &[Dimensions],
        n_public: usize,
        chosen: Dimensions,
    ) -> Self {
        let size = Choice::new(b, sizes, chosen);
        let fixed: Vec<Point> = vk.fixed.iter().map(|p: &G1Affine| Point::fresh(b, p)).collect();
        let is_gone = gone("gadgets.key.size");
        let log_n = match is_gone {
            true => b.witness(vk.shape.log_n.into()),
            false => size.map(b, |size| size.log_n.into()),
        };
        let n_public = b.constant_u64(n_public as u64);
        let cell_bits = match is_gone {
            true => b.witness(vk.shape.cell_bits.into()),
            false => size.map(b, |size| size.cell_bits.into()),
        };
        let mut inputs = vec![log_n, n_public, cell_bits, b.witness(vk.srs_id)];
        for point in &fixed {
            inputs.extend(point.absorbed(b));
        }
        let digest = b.hash(VK_DIGEST_DOMAIN, &inputs);
        Self { fixed, size, log_n, digest }
    }
}

/// The fields of a leaf besides the key.
#[derive(Debug, Clone, Copy)]
pub struct LeafVars {
    pub n_public: usize,
    pub charged_rows: Var,
    pub protocol_version: Var,
    /// Of the proofs under the key, a constant: no circuit takes a key for proofs that L1 verifies.
    pub transcript: u64,
}

/// Constrains the key to be the leaf of the chosen role under `vk_root`.
pub fn assert_leaf(
    b: &mut Builder,
    vk_root: Var,
    role: &Choice<u32>,
    key: &KeyVars,
    leaf: LeafVars,
    path: &[Fr; VK_TREE_HEIGHT],
) {
    let fields = [
        role.map(b, Fr::from),
        key.digest,
        key.log_n,
        b.constant_u64(leaf.n_public as u64),
        leaf.charged_rows,
        leaf.protocol_version,
        b.constant_u64(leaf.transcript),
    ];
    let mut node = b.hash(domain::VK_LEAF, &fields);
    for (level, sibling) in path.iter().enumerate() {
        let sibling = b.witness(*sibling);
        let bit = |role: u32| role >> level & 1;
        let (left, right) = match role.single() {
            Some(role) if bit(role) == 0 => (node, sibling),
            Some(_) => (sibling, node),
            None => {
                // A sum of bits of which one is set: zero or one.
                let on_right = role.map(b, |role| Fr::from(bit(role)));
                let left = b.select(on_right, sibling, node);
                let one = Fr::from(1u64);
                let right = b.linear(&[(one, node), (one, sibling), (-one, left)], Fr::from(0u64));
                (left, right)
            }
        };
        node = b.hash(domain::NODE, &[left, right]);
    }
    if !gone("gadgets.key.root") {
        b.assert_equal(node, vk_root);
    }
}

#[cfg(test)]
mod tests {
    use ark_ec::AffineRepr;
    use rollmill_plonk::check::check;
    use rollmill_plonk::shape::{Shape, fixed};
    use rollmill_protocol::Circuit;
    use rollmill_protocol::tree::root_from_path;
    use rollmill_protocol::vk_tree::VkLeaf;

    use super::*;

    const SMALL: Dimensions = Dimensions { log_n: 13, cell_bits: 12 };
    const LARGE: Dimensions = Dimensions { log_n: 17, cell_bits: 16 };

    fn path() -> [Fr; VK_TREE_HEIGHT] {
        std::array::from_fn(|i| Fr::from(500 + i as u64))
    }

    /// Attacks: no number, two numbers (roles 3 and 4 would open leaf 7), or "bits" that only add up
    /// to one.
    #[test]
    fn a_choice_of_other_than_one_is_rejected() {
        let accepted = |bits: [i64; 3]| {
            let mut b = Builder::new(0, 10);
            let choice = Choice::given(&mut b, &[3u32, 4, 5], &bits.map(Fr::from));
            let chosen = choice.map(&mut b, Fr::from);
            let sum: i64 = bits.iter().zip([3, 4, 5]).map(|(bit, value)| bit * value).sum();
            assert_eq!(b.value(chosen), Fr::from(sum));
            let (layout, witness) = b.finish(None).expect("fits");
            check(&layout, &witness).is_ok()
        };
        for good in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
            assert!(accepted(good));
        }
        for bad in [[0, 0, 0], [1, 1, 0], [1, 1, 1], [2, -1, 0], [-1, 1, 1]] {
            assert!(!accepted(bad), "{bad:?}");
        }
    }

    /// Attack: the key of a circuit for L1 at a place that a parent accepts. Its proofs have another transcript, and
    /// nobody has shown that one is as hard to forge as the other. A leaf also names each of its other words.
    #[test]
    fn a_leaf_with_another_word_is_rejected() {
        const ROLE: u32 = 2;
        // Role, digest, size, public inputs, rows, version, transcript.
        let leaf = [2, 77, 17, 45, 1000, 2, 0].map(Fr::from);
        let path = path();
        let accepted = |leaf: [Fr; 7], at: u64| {
            let node = rollmill_algebra::poseidon2::hash(domain::VK_LEAF, &leaf);
            let root = root_from_path(&node, at, &path);
            let mut b = Builder::new(0, 10);
            let root = b.witness(root);
            let role = Choice::new(&mut b, &[ROLE], ROLE);
            let size = Choice::new(&mut b, &[LARGE], LARGE);
            let (log_n, digest) = (b.constant_u64(LARGE.log_n.into()), b.constant_u64(77));
            let key = KeyVars { fixed: Vec::new(), size, log_n, digest };
            let (charged_rows, protocol_version) = (b.constant_u64(1000), b.constant_u64(2));
            let leaf = LeafVars { n_public: 45, charged_rows, protocol_version, transcript: 0 };
            assert_leaf(&mut b, root, &role, &key, leaf, &path);
            let (layout, witness) = b.finish(None).expect("fits");
            check(&layout, &witness).is_ok()
        };
        assert!(accepted(leaf, ROLE.into()));
        assert!(!accepted(leaf, 3), "the place of another role");
        for word in 0..leaf.len() {
            let mut other = leaf;
            other[word] += Fr::from(1u64);
            assert!(!accepted(other, ROLE.into()), "word {word}");
        }
    }

    /// Attack: a key under another size than its own. Domain, cosets, Lagrange polynomials and packs would be those of
    /// that size, for which a prover can make up a proof.
    #[test]
    fn a_key_under_another_size_than_its_own_is_rejected() {
        const N_PUBLIC: usize = 45;
        let path = path();
        let accepted = |own: Dimensions, chosen: Dimensions| {
            let Dimensions { log_n, cell_bits } = own;
            let shape = Shape { log_n, n_public: N_PUBLIC as u32, cell_bits };
            let fixed = [G1Affine::generator(); fixed::COUNT];
            let vk = VerifyingKey { shape, srs_id: Fr::from(3u64), fixed };
            let circuit = Circuit::TxMerge;
            let leaf = VkLeaf {
                circuit,
                vk_digest: vk.digest(),
                log_n: log_n.into(),
                n_public_inputs: N_PUBLIC as u64,
                charged_rows: 1000,
                protocol_version: 2,
            };
            let mut b = Builder::new(0, 16);
            let root = b.witness(root_from_path(&leaf.hash(), circuit.role(), &path));
            let role = Choice::new(&mut b, &[circuit as u32], circuit as u32);
            let key = KeyVars::given(&mut b, &vk, &[SMALL, LARGE], N_PUBLIC, chosen);
            let (charged_rows, protocol_version) = (b.constant_u64(1000), b.constant_u64(2));
            let leaf =
                LeafVars { n_public: N_PUBLIC, charged_rows, protocol_version, transcript: 0 };
            assert_leaf(&mut b, root, &role, &key, leaf, &path);
            let (layout, witness) = b.finish(None).expect("fits");
            check(&layout, &witness).is_ok()
        };
        assert!(accepted(SMALL, SMALL) && accepted(LARGE, LARGE));
        assert!(!accepted(SMALL, LARGE), "a small key under the large size");
        assert!(!accepted(LARGE, SMALL), "a large key under the small size");
        // Rows of the one and cells of the other are no size, though a leaf has it.
        let mixed = Dimensions { log_n: LARGE.log_n, cell_bits: SMALL.cell_bits };
        for chosen in [mixed, SMALL, LARGE] {
            assert!(!accepted(mixed, chosen), "{chosen:?}");
        }
    }
}
