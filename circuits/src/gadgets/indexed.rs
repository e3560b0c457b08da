//! Indexed trees: insert a new key, and set the value of a key, new or not. The twins of
//! `IndexedInsertion::verify` and `IndexedUpdate::verify` of `rollmill_protocol::tree`.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::domain;
use rollmill_protocol::tree::{IndexedInsertion, IndexedLeaf, Tree};

use crate::gadgets::merkle::{Place, TreeVars, place, root, siblings};
use crate::gadgets::uint::{Halves, assert_equal_if, assert_halves_below, canonical_halves, not};
use crate::weaken::gone;

const NULLIFIERS: usize = Tree::Nullifiers.height();
const PUBLIC_DATA: usize = Tree::PublicData.height();

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
    let low_place = place(b, low_index, NULLIFIERS);
    let low_path = siblings(b, low_path, NULLIFIERS);
    let low_before = nullifier_leaf(b, low_key, next_key, next_index);
    let before = root(b, low_before, &low_place, &low_path);
    if !gone("gadgets.insert.low_leaf") {
        assert_equal_if(b, present, before, tree.root);
    }
    let low_after = nullifier_leaf(b, low_key, key, new_index);
    let between = root(b, low_after, &low_place, &low_path);

    let new_place = place(b, new_index, NULLIFIERS);
    let new_path = siblings(b, new_path, NULLIFIERS);
    let with_empty = root(b, Builder::ZERO, &new_place, &new_path);
    if !gone("gadgets.insert.empty") {
        assert_equal_if(b, present, with_empty, between);
    }
    let new_leaf = nullifier_leaf(b, key, next_key, next_index);
    let after = root(b, new_leaf, &new_place, &new_path);

    TreeVars { root: b.select(present, after, tree.root), count: b.add(tree.count, present) }
}

/// How an entry of the public data tree is found or added.
#[derive(Debug, Clone, Copy)]
pub struct EntryWitness<'a> {
    /// Whether the tree has the key. Then the low leaf is its own.
    pub found: bool,
    /// The leaf with the greatest key at or below the entry's, before the change.
    pub low_leaf: IndexedLeaf,
    pub low_index: u64,
    pub low_path: &'a [Fr],
    /// Siblings of the new leaf, after the low leaf's change; arbitrary if the key was found.
    pub new_path: &'a [Fr],
}

impl EntryWitness<'_> {
    /// For a key that is not wanted.
    pub fn none() -> Self {
        let low_leaf = IndexedLeaf::default();
        Self { found: false, low_leaf, low_index: 0, low_path: &[], new_path: &[] }
    }
}

/// A key's entry in the public data tree before a change; see [`OpenEntry::set`].
#[derive(Debug, Clone)]
pub struct OpenEntry {
    /// The value before; zero if the tree does not have the key.
    pub value: Var,
    tree: TreeVars,
    key: Var,
    /// Whether the entry is of interest at all.
    wanted: Var,
    /// Whether the tree has the key, and whether it gets it now; at most one of them, and only if wanted.
    found: Var,
    added: Var,
    low: LeafVars,
    low_place: Place,
    low_path: Vec<Var>,
    new_path: Vec<Var>,
}

/// A leaf of the public data tree.
#[derive(Debug, Clone, Copy)]
struct LeafVars {
    key: Var,
    value: Var,
    next_key: Var,
    next_index: Var,
}

impl LeafVars {
    fn hash(self, b: &mut Builder) -> Var {
        b.hash(domain::PUBLIC_DATA_LEAF, &[self.key, self.value, self.next_key, self.next_index])
    }
}

impl OpenEntry {
    /// Opens the entry of `key` if the bit `wanted` is set, or shows that the tree does not have the key.
    pub fn new(
        b: &mut Builder,
        tree: TreeVars,
        key: Var,
        wanted: Var,
        witness: EntryWitness<'_>,
    ) -> Self {
        let EntryWitness { found, low_leaf, low_index, low_path, new_path } = witness;
        let found = b.witness(Fr::from(u64::from(found)));
        if !gone("gadgets.entry.found") {
            b.assert_bool(found);
        }
        let added = b.sub(wanted, found);
        if !gone("gadgets.entry.added") {
            b.assert_bool(added);
        }
        let low = LeafVars {
            key: b.witness(low_leaf.key),
            value: b.witness(low_leaf.value),
            next_key: b.witness(low_leaf.next_key),
            next_index: b.witness(Fr::from(low_leaf.next_index)),
        };
        if !gone("gadgets.entry.own") {
            assert_equal_if(b, found, low.key, key);
        }
        // Zeros, which count as absent, where there is nothing to add.
        let [below, at, above] = [low.key, key, low.next_key].map(|k| b.mul(added, k));
        let absent = not(b, added);
        assert_bracketed(b, below, at, above, absent);

        let low_index = b.witness(Fr::from(low_index));
        let low_place = place(b, low_index, PUBLIC_DATA);
        let low_path = siblings(b, low_path, PUBLIC_DATA);
        let hash = low.hash(b);
        let before = root(b, hash, &low_place, &low_path);
        if !gone("gadgets.entry.low_leaf") {
            assert_equal_if(b, wanted, before, tree.root);
        }
        let new_path = siblings(b, new_path, PUBLIC_DATA);
        let value = b.mul(found, low.value);
        Self { value, tree, key, wanted, found, added, low, low_place, low_path, new_path }
    }

    /// The tree with the entry's value replaced, or with a new leaf of this value at index `tree.count`. The tree
    /// as it was if the entry is not wanted.
    pub fn set(&self, b: &mut Builder, value: Var) -> TreeVars {
        let (low, tree) = (self.low, self.tree);
        let new_index = b.mul(self.added, tree.count);
        let changed = LeafVars {
            key: low.key,
            value: b.select(self.found, value, low.value),
            next_key: b.select(self.added, self.key, low.next_key),
            next_index: b.select(self.added, new_index, low.next_index),
        };
        let hash = changed.hash(b);
        let between = root(b, hash, &self.low_place, &self.low_path);

        let new_place = place(b, new_index, PUBLIC_DATA);
        let with_empty = root(b, Builder::ZERO, &new_place, &self.new_path);
        if !gone("gadgets.entry.empty") {
            assert_equal_if(b, self.added, with_empty, between);
        }
        let new = LeafVars { key: self.key, value, ..low };
        let hash = new.hash(b);
        let after = root(b, hash, &new_place, &self.new_path);
        let after = b.select(self.added, after, between);
        let root = b.select(self.wanted, after, tree.root);
        TreeVars { root, count: b.add(tree.count, self.added) }
    }
}
