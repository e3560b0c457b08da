//! Indexed trees: insert a new key, and update the value of an existing one. The twins of
//! `IndexedInsertion::verify` and `IndexedUpdate::verify` of `rollmill_protocol::tree`.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::domain;
use rollmill_protocol::tree::{IndexedInsertion, IndexedLeaf, IndexedUpdate, STATE_HEIGHT};

use crate::gadgets::merkle::{TreeVars, place, root, siblings};
use crate::gadgets::uint::{Halves, assert_equal_if, assert_halves_below, canonical_halves, not};
use crate::weaken::gone;

/// `hash(NULLIFIER_LEAF, [key, next_key, next_index])`.
fn nullifier_leaf(b: &mut Builder, key: Var, next_key: Var, next_index: Var) -> Var {
    b.hash(domain::NULLIFIER_LEAF, &[key, next_key, next_index])
}

/// Constrains `low < key`, and `key < next` unless `next` is zero, all three as canonical integers.
/// With `absent` set, `key` counts as 1 in the first comparison, so that zeros pass.
fn assert_bracketed(b: &mut Builder, low: Var, key: Var, next: Var, absent: Var) {
    let low = canonical_halves(b, low);
    let halves = canonical_halves(b, key);
    let raised = Halves { lo: b.add(halves.lo, absent), hi: halves.hi };
    if !gone("gadgets.bracket.low") {
        assert_halves_below(b, low, raised);
    }
    let next_halves = canonical_halves(b, next);
    let is_last = b.is_zero(next);
    // Above the greatest key the bound exceeds every field element.
    let top = b.constant(power_of_two(128) - Fr::from(1u64));
    let bound = Halves {
        lo: b.select(is_last, top, next_halves.lo),
        hi: b.select(is_last, top, next_halves.hi),
    };
    if !gone("gadgets.bracket.next") {
        assert_halves_below(b, halves, bound);
    }
}

/// Inserts `key` into the nullifier tree, or does nothing when `key` is zero.
///
/// The new leaf goes to index `tree.count`, which must be below the capacity and empty. The low leaf must bracket the
/// key, so a key that the tree already contains is rejected. The key counts as absent exactly if it is zero: the
/// prover has no choice.
///
/// Without a witness the rows are laid out over zeros, which satisfy them for an absent key. About 2,200 rows.
pub fn insert_nullifier(
    b: &mut Builder,
    tree: TreeVars,
    key: Var,
    witness: Option<&IndexedInsertion>,
) -> TreeVars {
    let low = witness.map(|w| w.low_leaf).unwrap_or_default();
    let (low_index, low_path, new_path) = match witness {
        Some(w) => (w.low_index, w.low_path.as_slice(), w.new_path.as_slice()),
        None => (0, [].as_slice(), [].as_slice()),
    };
    let absent = b.is_zero(key);
    let present = not(b, absent);

    let low_key = b.witness(low.key);
    let next_key = b.witness(low.next_key);
    let next_index = b.witness(Fr::from(low.next_index));
    assert_bracketed(b, low_key, key, next_key, absent);

    // A full tree must not reject an absent key, so its index counts as zero.
    let new_index = b.mul(present, tree.count);
    let low_index = b.witness(Fr::from(low_index));
    let low_place = place(b, low_index, STATE_HEIGHT);
    let low_path = siblings(b, low_path, STATE_HEIGHT);
    let low_before = nullifier_leaf(b, low_key, next_key, next_index);
    let before = root(b, low_before, &low_place, &low_path);
    if !gone("gadgets.insert.low_leaf") {
        assert_equal_if(b, present, before, tree.root);
    }
    let low_after = nullifier_leaf(b, low_key, key, new_index);
    let between = root(b, low_after, &low_place, &low_path);

    let new_place = place(b, new_index, STATE_HEIGHT);
    let new_path = siblings(b, new_path, STATE_HEIGHT);
    let with_empty = root(b, Builder::ZERO, &new_place, &new_path);
    if !gone("gadgets.insert.empty") {
        assert_equal_if(b, present, with_empty, between);
    }
    let new_leaf = nullifier_leaf(b, key, next_key, next_index);
    let after = root(b, new_leaf, &new_place, &new_path);

    TreeVars { root: b.select(present, after, tree.root), count: b.add(tree.count, present) }
}

/// The old value of a key's leaf in the public data tree; see [`replace_value`].
#[derive(Debug, Clone)]
pub struct OpenLeaf {
    /// The value before.
    pub value: Var,
    key: Var,
    next_key: Var,
    next_index: Var,
    place: crate::gadgets::merkle::Place,
    path: Vec<Var>,
}

fn public_data_leaf(b: &mut Builder, leaf: &OpenLeaf, value: Var) -> Var {
    b.hash(domain::PUBLIC_DATA_LEAF, &[leaf.key, value, leaf.next_key, leaf.next_index])
}

/// Opens the leaf of `key` in the public data tree under `tree_root`.
pub fn open_value(b: &mut Builder, tree_root: Var, key: Var, witness: &IndexedUpdate) -> OpenLeaf {
    let IndexedLeaf { value, next_key, next_index, .. } = witness.leaf;
    let index = b.witness(Fr::from(witness.index));
    let leaf = OpenLeaf {
        value: b.witness(value),
        key,
        next_key: b.witness(next_key),
        next_index: b.witness(Fr::from(next_index)),
        place: place(b, index, STATE_HEIGHT),
        path: siblings(b, &witness.path, STATE_HEIGHT),
    };
    let hash = public_data_leaf(b, &leaf, leaf.value);
    let computed = root(b, hash, &leaf.place, &leaf.path);
    if !gone("gadgets.open.root") {
        b.assert_equal(computed, tree_root);
    }
    leaf
}

/// The root of the public data tree with the opened leaf's value replaced.
pub fn replace_value(b: &mut Builder, leaf: &OpenLeaf, value: Var) -> Var {
    let hash = public_data_leaf(b, leaf, value);
    root(b, hash, &leaf.place, &leaf.path)
}
