//! Merkle paths and appends; the twins of `rollmill_protocol::tree::append`.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::domain;
use rollmill_protocol::tree::empty_root;

use crate::gadgets::uint::to_bits;
use crate::weaken::gone;

/// A node of a tree, by its index: one bit for each level above it, lowest first. The index is constrained to be below
/// `2^levels`, so the node exists.
#[derive(Debug, Clone)]
pub struct Place {
    bits: Vec<Var>,
}

/// The place with this index, `levels` below the root.
pub fn place(b: &mut Builder, index: Var, levels: usize) -> Place {
    Place { bits: to_bits(b, index, levels) }
}

/// Siblings as variables, exactly `levels` of them. A path that is too short is filled with zeros and does not lead to
/// the root.
pub fn siblings(b: &mut Builder, path: &[Fr], levels: usize) -> Vec<Var> {
    (0..levels).map(|i| b.witness(path.get(i).copied().unwrap_or_default())).collect()
}

/// `hash(NODE, [left, right])`.
pub fn node_hash(b: &mut Builder, left: Var, right: Var) -> Var {
    b.hash(domain::NODE, &[left, right])
}

/// The root above `node` at `place`. One permutation and two rows per level.
pub fn root(b: &mut Builder, node: Var, place: &Place, siblings: &[Var]) -> Var {
    let one = Fr::from(1u64);
    let mut below = node;
    for (bit, sibling) in place.bits.iter().zip(siblings) {
        // A set bit puts the node on the right.
        let left = b.select(*bit, *sibling, below);
        let right = b.witness(b.value(below) + b.value(*sibling) - b.value(left));
        let mut c = [Fr::from(0u64); 8];
        c[..4].copy_from_slice(&[one, one, -one, -one]);
        if !gone("gadgets.path.swap") {
            b.arith_row([Some(below), Some(*sibling), Some(right), Some(left)], c, None);
        }
        below = node_hash(b, left, right);
    }
    below
}

/// Constrains `leaf` to be the leaf with this index under `root`.
pub fn assert_member(
    b: &mut Builder,
    expected: Var,
    leaf: Var,
    index: Var,
    path: &[Fr],
    levels: usize,
) {
    let at = place(b, index, levels);
    let path = siblings(b, path, levels);
    let computed = root(b, leaf, &at, &path);
    if !gone("gadgets.member.root") {
        b.assert_equal(computed, expected);
    }
}

/// An append-only tree: its root and next free index.
#[derive(Debug, Clone, Copy)]
pub struct TreeVars {
    pub root: Var,
    pub count: Var,
}

/// Appends `leaves` as an aligned subtree at index `tree.count`, in place of an empty one.
///
/// The count must be a multiple of the number of leaves (a power of two), and below the capacity
/// `2^height`: a full tree is rejected.
pub fn append(
    b: &mut Builder,
    tree: TreeVars,
    leaves: &[Var],
    path: &[Fr],
    height: usize,
) -> TreeVars {
    assert!(leaves.len().is_power_of_two(), "an aligned subtree has a power of two leaves");
    let top = leaves.len().trailing_zeros();
    let levels = height - top as usize;
    // count = 2^top · index with index < 2^levels. Both are at most 2^height, far below r, so this is an equation of
    // integers.
    let index = if top == 0 {
        tree.count
    } else {
        let whole = ark_ff::PrimeField::into_bigint(b.value(tree.count)).0[0];
        let index = b.witness(Fr::from(whole >> top));
        if !gone("gadgets.append.aligned") {
            b.linear_into(&[(power_of_two(top), index)], Fr::from(0u64), tree.count);
        }
        index
    };
    let at = place(b, index, levels);
    let path = siblings(b, path, levels);
    let empty = b.constant(empty_root(top as usize));
    let before = root(b, empty, &at, &path);
    if !gone("gadgets.append.empty") {
        b.assert_equal(before, tree.root);
    }
    let mut row = leaves.to_vec();
    while row.len() > 1 {
        row = row.chunks(2).map(|pair| node_hash(b, pair[0], pair[1])).collect();
    }
    let after = root(b, row[0], &at, &path);
    let count = b.scale(tree.count, Fr::from(1u64), Fr::from(leaves.len() as u64));
    TreeVars { root: after, count }
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;
    use rollmill_plonk::check::check;

    use super::*;
    use crate::gadgets::uint::bits_given;

    /// Attack: any leaf under any node, by an index "bit" that is neither 0 nor 1. With the node's
    /// children (l, r) and a leaf n, the sibling l + r − n and the bit (l − n) / (l + r − 2n) make
    /// the selected left child l, and the right one r.
    #[test]
    fn a_leaf_under_a_bit_that_is_none_is_rejected() {
        let f = |v: u64| Fr::from(v);
        let [l, r] = [f(1000), f(2000)];
        let lay_out = |leaf: Fr, sibling: Fr, bit: Fr| {
            let mut b = Builder::new(0, 10);
            let index = b.witness(bit);
            let at = Place { bits: bits_given(&mut b, index, &[bit]) };
            let (leaf, sibling) = (b.witness(leaf), b.witness(sibling));
            let computed = root(&mut b, leaf, &at, &[sibling]);
            let expected = b.witness(rollmill_protocol::tree::node_hash(&l, &r));
            b.assert_equal(computed, expected);
            let (layout, witness) = b.finish(None).expect("fits");
            check(&layout, &witness).is_ok()
        };
        assert!(lay_out(l, r, f(0)) && lay_out(r, l, f(1)));
        assert!(!lay_out(r, l, f(0)));
        let n = f(77);
        let bit = (l - n) * (l + r - n - n).inverse().expect("not zero");
        assert!(!lay_out(n, l + r - n, bit));
    }
}
