//! Indexed trees: leaves linked in the order of their keys, so that one leaf proves that a key is
//! absent, and an insertion touches two leaves.
//!
//! Source: Tzialla, Kothapalli, Parno and Setty, "Transparency Dictionaries with Succinct Proofs of
//! Correct Operation", <https://eprint.iacr.org/2021/1263>, for the linked leaves.

use ark_ff::Zero;
use rollmill_algebra::{Fr, poseidon2};

use super::append::{path, write_up};
use super::{StateRead, StateWrite, StorageError, Tree};
use crate::domain;

/// One of the indexed trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IndexedTree {
    /// Keys are nullifiers; leaves carry no value.
    Nullifiers,
    /// Keys are slots; leaves carry a value.
    PublicData,
}

impl IndexedTree {
    /// The tree that holds the leaves' hashes.
    pub const fn tree(self) -> Tree {
        match self {
            Self::Nullifiers => Tree::Nullifiers,
            Self::PublicData => Tree::PublicData,
        }
    }
}

/// The contents of a leaf. A leaf with the greatest key has `next_key = 0` and `next_index = 0`.
/// Each tree starts with one leaf of zeros at index 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct IndexedLeaf {
    /// Nullifier or slot.
    pub key: Fr,
    /// Value of the slot; always zero in the nullifier tree, where it is not hashed.
    pub value: Fr,
    /// The next greater key.
    pub next_key: Fr,
    /// Its leaf's index.
    pub next_index: u64,
}

impl IndexedLeaf {
    /// The leaf's hash: `hash(NULLIFIER_LEAF, [key, next_key, next_index])` or
    /// `hash(PUBLIC_DATA_LEAF, [key, value, next_key, next_index])`.
    pub fn hash(&self, tree: IndexedTree) -> Fr {
        let next_index = Fr::from(self.next_index);
        match tree {
            IndexedTree::Nullifiers => {
                poseidon2::hash(domain::NULLIFIER_LEAF, &[self.key, self.next_key, next_index])
            }
            IndexedTree::PublicData => poseidon2::hash(
                domain::PUBLIC_DATA_LEAF,
                &[self.key, self.value, self.next_key, next_index],
            ),
        }
    }

    /// True when `key` lies strictly between this leaf's key and the next one, as integers. So the
    /// tree does not hold it.
    pub fn brackets(&self, key: &Fr) -> bool {
        self.key < *key && (self.next_key.is_zero() || *key < self.next_key)
    }
}

/// The witness of inserting a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedInsertion {
    /// The inserted key.
    pub key: Fr,
    /// The inserted value; zero in the nullifier tree.
    pub value: Fr,
    /// The leaf that brackets the key, before the insertion.
    pub low_leaf: IndexedLeaf,
    /// Its index.
    pub low_index: u64,
    /// Its siblings in the tree before the insertion, lowest first.
    pub low_path: Vec<Fr>,
    /// Index of the new leaf: the count before.
    pub new_index: u64,
    /// Siblings of the new leaf once the low leaf has been changed, lowest first. The leaf in that
    /// place was zero before.
    pub new_path: Vec<Fr>,
    pub root_before: Fr,
    /// Root after the low leaf was changed and before the new one is there.
    pub root_between: Fr,
    pub root_after: Fr,
}

impl IndexedInsertion {
    /// The low leaf as the insertion leaves it: its next is the new leaf.
    pub fn low_leaf_after(&self) -> IndexedLeaf {
        IndexedLeaf { next_key: self.key, next_index: self.new_index, ..self.low_leaf }
    }

    /// The new leaf: it takes over the low leaf's next.
    pub fn new_leaf(&self) -> IndexedLeaf {
        IndexedLeaf {
            key: self.key,
            value: self.value,
            next_key: self.low_leaf.next_key,
            next_index: self.low_leaf.next_index,
        }
    }
}

/// The witness of changing the value of a key that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedUpdate {
    /// The leaf before.
    pub leaf: IndexedLeaf,
    /// Its index.
    pub index: u64,
    /// Its siblings, lowest first; the same before and after.
    pub path: Vec<Fr>,
    /// The value after.
    pub value_after: Fr,
    pub root_before: Fr,
    pub root_after: Fr,
}

impl IndexedUpdate {
    /// The leaf after.
    pub fn leaf_after(&self) -> IndexedLeaf {
        IndexedLeaf { value: self.value_after, ..self.leaf }
    }
}

/// The leaf with the greatest key at or below `key`, with its index.
pub fn low_leaf<S: StateRead>(
    store: &S,
    tree: IndexedTree,
    key: &Fr,
) -> Result<(u64, IndexedLeaf), StorageError> {
    let missing = || StorageError::corrupt(format!("{tree:?} has no leaf at or below a key"));
    let index = store.low_leaf(tree, key)?.ok_or_else(missing)?;
    let leaf = store.indexed_leaf(tree, index)?.ok_or_else(missing)?;
    if leaf.key == *key || leaf.brackets(key) {
        Ok((index, leaf))
    } else {
        Err(StorageError::corrupt(format!("{tree:?}: leaf {index} does not bracket a key")))
    }
}

/// True when the tree holds `key`.
pub fn contains<S: StateRead>(
    store: &S,
    tree: IndexedTree,
    key: &Fr,
) -> Result<bool, StorageError> {
    Ok(low_leaf(store, tree, key)?.1.key == *key)
}

/// The value of `key`; `None` when the tree does not hold it.
pub fn value<S: StateRead>(
    store: &S,
    tree: IndexedTree,
    key: &Fr,
) -> Result<Option<Fr>, StorageError> {
    let (_, leaf) = low_leaf(store, tree, key)?;
    Ok((leaf.key == *key).then_some(leaf.value))
}

/// Writes the first leaf of an empty tree, all zeros; answers the root.
pub fn initialize<S: StateWrite>(store: &mut S, tree: IndexedTree) -> Result<Fr, StorageError> {
    write_leaf(store, tree, 0, IndexedLeaf::default())
}

/// Inserts `key`, which the tree must not hold, at index `count`.
///
/// # Errors
/// [`StorageError`] also when the key is there or the tree is full: callers check both first.
pub fn insert<S: StateWrite>(
    store: &mut S,
    tree: IndexedTree,
    root_before: Fr,
    count: u64,
    key: Fr,
    value: Fr,
) -> Result<IndexedInsertion, StorageError> {
    let (low_index, low) = low_leaf(store, tree, &key)?;
    if low.key == key || count >= tree.tree().capacity() {
        return Err(StorageError::corrupt(format!("{tree:?} cannot take a key at {count}")));
    }
    let mut insertion = IndexedInsertion {
        key,
        value,
        low_leaf: low,
        low_index,
        low_path: path(store, tree.tree(), 0, low_index)?,
        new_index: count,
        new_path: Vec::new(),
        root_before,
        root_between: root_before,
        root_after: root_before,
    };
    insertion.root_between = write_leaf(store, tree, low_index, insertion.low_leaf_after())?;
    insertion.new_path = path(store, tree.tree(), 0, count)?;
    insertion.root_after = write_leaf(store, tree, count, insertion.new_leaf())?;
    Ok(insertion)
}

/// Sets the value of `key`; `None` when the tree does not hold it.
pub fn update<S: StateWrite>(
    store: &mut S,
    tree: IndexedTree,
    root_before: Fr,
    key: &Fr,
    value: Fr,
) -> Result<Option<IndexedUpdate>, StorageError> {
    let (index, leaf) = low_leaf(store, tree, key)?;
    if leaf.key != *key {
        return Ok(None);
    }
    let path = path(store, tree.tree(), 0, index)?;
    let root_after = write_leaf(store, tree, index, IndexedLeaf { value, ..leaf })?;
    Ok(Some(IndexedUpdate { leaf, index, path, value_after: value, root_before, root_after }))
}

fn write_leaf<S: StateWrite>(
    store: &mut S,
    tree: IndexedTree,
    index: u64,
    leaf: IndexedLeaf,
) -> Result<Fr, StorageError> {
    store.set_indexed_leaf(tree, index, leaf)?;
    write_up(store, tree.tree(), 0, index, leaf.hash(tree))
}
