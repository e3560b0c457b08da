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
use crate::weaken::gone;

/// One number of a constant list, as one bit for each.
#[derive(Debug, Clone)]
pub struct Choice {
    /// `bits[i]` is one when the number is `values[i]`; exactly one is.
    pub bits: Vec<Var>,
    values: Vec<u32>,
}

impl Choice {
    /// Chooses `value`. If the list does not contain it, no witness satisfies the circuit.
    pub fn new(b: &mut Builder, values: &[u32], value: u64) -> Self {
        let bits: Vec<Fr> =
            values.iter().map(|v| Fr::from(u64::from(u64::from(*v) == value))).collect();
        Self::given(b, values, &bits)
    }

    /// [`Self::new`] with bits that the prover chooses.
    fn given(b: &mut Builder, values: &[u32], bits: &[Fr]) -> Self {
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

    /// `f` of the chosen number.
    pub fn map(&self, b: &mut Builder, f: impl Fn(u32) -> Fr) -> Var {
        if let [value] = self.values[..] {
            return b.constant(f(value));
        }
        let terms: Vec<(Fr, Var)> =
            self.bits.iter().zip(&self.values).map(|(bit, v)| (f(*v), *bit)).collect();
        b.linear(&terms, Fr::from(0u64))
    }

    /// The number that this witness chooses, if it chooses one.
    pub fn chosen(&self, b: &Builder) -> Option<u32> {
        let one = Fr::from(1u64);
        let mut chosen =
            self.bits.iter().zip(&self.values).filter(|(bit, _)| b.value(**bit) == one);
        chosen.next().map(|(_, value)| *value)
    }

    /// The only number of the list, if it has just one.
    pub fn single(&self) -> Option<u32> {
        match self.values[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The numbers.
    pub fn values(&self) -> &[u32] {
        &self.values
    }
}

/// A verification key as variables.
#[derive(Debug, Clone)]
pub struct KeyVars {
    /// Commitments to the fixed columns.
    pub fixed: Vec<Point>,
    /// Base-2 logarithm of the number of rows.
    pub log_n: Choice,
    /// The key's digest, computed here from its parts.
    pub digest: Var,
}

impl KeyVars {
    /// A key with one of these sizes, and exactly this number of public inputs and this width of limb cells.
    pub fn new(
        b: &mut Builder,
        vk: &VerifyingKey,
        log_ns: &[u32],
        n_public: usize,
        cell_bits: u32,
    ) -> Self {
        let log_n = Choice::new(b, log_ns, vk.shape.log_n.into());
        let fixed: Vec<Point> = vk.fixed.iter().map(|p: &G1Affine| Point::fresh(b, p)).collect();
        let mut inputs = vec![
            log_n.map(b, Fr::from),
            b.constant_u64(n_public as u64),
            b.constant_u64(cell_bits.into()),
            b.witness(vk.srs_id),
        ];
        for point in &fixed {
            inputs.extend(point.absorbed(b));
        }
        let digest = b.hash(VK_DIGEST_DOMAIN, &inputs);
        Self { fixed, log_n, digest }
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
    role: &Choice,
    key: &KeyVars,
    leaf: LeafVars,
    path: &[Fr; VK_TREE_HEIGHT],
) {
    let fields = [
        role.map(b, Fr::from),
        key.digest,
        key.log_n.map(b, Fr::from),
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
    use rollmill_plonk::check::check;

    use super::*;

    /// Attacks: no number, two numbers (roles 3 and 4 would open leaf 7), or "bits" that only add up
    /// to one.
    #[test]
    fn a_choice_of_other_than_one_is_rejected() {
        let accepted = |bits: [i64; 3]| {
            let mut b = Builder::new(0, 10);
            let choice = Choice::given(&mut b, &[3, 4, 5], &bits.map(Fr::from));
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
        let path: [Fr; VK_TREE_HEIGHT] = std::array::from_fn(|i| Fr::from(500 + i as u64));
        let accepted = |leaf: [Fr; 7], at: u64| {
            let node = rollmill_algebra::poseidon2::hash(domain::VK_LEAF, &leaf);
            let root = rollmill_protocol::tree::root_from_path(&node, at, &path);
            let mut b = Builder::new(0, 10);
            let root = b.witness(root);
            let role = Choice::new(&mut b, &[ROLE], ROLE.into());
            let log_n = Choice::new(&mut b, &[17], 17);
            let key = KeyVars { fixed: Vec::new(), log_n, digest: b.constant_u64(77) };
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
}
