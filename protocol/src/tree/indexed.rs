//! Indexed trees: leaves linked in the order of their keys, so that one leaf proves that a key is
//! absent, and an insertion touches two leaves.
//!
//! Source: Tzialla, Kothapalli, Parno and Setty, "Transparency Dictionaries with Succinct Proofs of
//! Correct Operation", <https://eprint.iacr.org/2021/1263>, for the linked leaves.

use ark_ff::Zero;
use rollmill_algebra::{Fr, poseidon2};

use super::append::{Climb, write_all, write_one};
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
    /// The tree of the leaves' hashes.
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
        match tree {
            IndexedTree::Nullifiers => {
                poseidon2::hash(domain::NULLIFIER_LEAF, &self.nullifier_inputs())
            }
            IndexedTree::PublicData => {
                poseidon2::hash(domain::PUBLIC_DATA_LEAF, &self.public_data_inputs())
            }
        }
    }

    /// [`Self::hash`] of each of `leaves`.
    pub fn hash_all(leaves: &[Self], tree: IndexedTree) -> Vec<Fr> {
        match tree {
            IndexedTree::Nullifiers => {
                let inputs: Vec<_> = leaves.iter().map(Self::nullifier_inputs).collect();
                poseidon2::hash_all(domain::NULLIFIER_LEAF, &inputs)
            }
            IndexedTree::PublicData => {
                let inputs: Vec<_> = leaves.iter().map(Self::public_data_inputs).collect();
                poseidon2::hash_all(domain::PUBLIC_DATA_LEAF, &inputs)
            }
        }
    }

    fn nullifier_inputs(&self) -> [Fr; 3] {
        [self.key, self.next_key, self.next_index.into()]
    }

    fn public_data_inputs(&self) -> [Fr; 4] {
        [self.key, self.value, self.next_key, self.next_index.into()]
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

/// The value of `key`; `None` if the tree does not contain it.
pub fn value<S: StateRead>(
    store: &S,
    tree: IndexedTree,
    key: &Fr,
) -> Result<Option<Fr>, StorageError> {
    let (_, leaf) = low_leaf(store, tree, key)?;
    Ok((leaf.key == *key).then_some(leaf.value))
}

/// Writes the first leaf of an empty tree, all zeros; returns the root.
pub fn initialize<S: StateWrite>(store: &mut S, tree: IndexedTree) -> Result<Fr, StorageError> {
    Ok(write_leaf(store, tree, 0, IndexedLeaf::default())?.root)
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
    let mut inserted = insert_all(store, tree, root_before, count, &[(key, value)])?;
    inserted.pop().ok_or_else(|| StorageError::corrupt("a key was not inserted"))
}

/// Inserts keys with their values one after another, from index `count` on; no two are equal and the tree
/// holds none of them.
///
/// # Errors
/// As [`insert`]; what was written must be dropped.
pub fn insert_all<S: StateWrite>(
    store: &mut S,
    tree: IndexedTree,
    root_before: Fr,
    count: u64,
    entries: &[(Fr, Fr)],
) -> Result<Vec<IndexedInsertion>, StorageError> {
    let mut insertions = Vec::with_capacity(entries.len());
    let (mut indices, mut leaves) = (Vec::new(), Vec::new());
    for (new_index, (key, value)) in (count..).zip(entries) {
        let (low_index, low) = low_leaf(store, tree, key)?;
        if low.key == *key || new_index >= tree.tree().capacity() {
            return Err(StorageError::corrupt(format!(
                "{tree:?} cannot take a key at {new_index}"
            )));
        }
        let insertion = IndexedInsertion {
            key: *key,
            value: *value,
            low_leaf: low,
            low_index,
            low_path: Vec::new(),
            new_index,
            new_path: Vec::new(),
            root_before,
            root_between: root_before,
            root_after: root_before,
        };
        for (index, leaf) in
            [(low_index, insertion.low_leaf_after()), (new_index, insertion.new_leaf())]
        {
            store.set_indexed_leaf(tree, index, leaf)?;
            indices.push(index);
            leaves.push(leaf);
        }
        insertions.push(insertion);
    }
    let hashes = IndexedLeaf::hash_all(&leaves, tree);
    let nodes: Vec<(u64, Fr)> = indices.into_iter().zip(hashes).collect();
    let mut climbs = write_all(store, tree.tree(), 0, &nodes)?.into_iter();
    let mut root = root_before;
    for insertion in &mut insertions {
        let (Some(low), Some(new)) = (climbs.next(), climbs.next()) else {
            return Err(StorageError::corrupt("a leaf was not written"));
        };
        insertion.root_before = root;
        (insertion.low_path, insertion.root_between) = (low.path, low.root);
        (insertion.new_path, insertion.root_after) = (new.path, new.root);
        root = insertion.root_after;
    }
    Ok(insertions)
}

/// Sets the value of `key`; `None` if the tree does not contain it.
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
    let Climb { path, root: root_after } =
        write_leaf(store, tree, index, IndexedLeaf { value, ..leaf })?;
    Ok(Some(IndexedUpdate { leaf, index, path, value_after: value, root_before, root_after }))
}

fn write_leaf<S: StateWrite>(
    store: &mut S,
    tree: IndexedTree,
    index: u64,
    leaf: IndexedLeaf,
) -> Result<Climb, StorageError> {
    store.set_indexed_leaf(tree, index, leaf)?;
    write_one(store, tree.tree(), 0, index, leaf.hash(tree))
}

#[cfg(test)]
mod tests {
    use super::super::append::{node, path, root_from_path, roots_from_paths};
    use super::super::{MemoryStore, Overlay, node_hash};
    use super::*;

    /// The plain twin of [`insert_all`]: a key at a time, a hash at a time.
    fn insert_plainly<S: StateWrite>(
        store: &mut S,
        tree: IndexedTree,
        root_before: Fr,
        count: u64,
        (key, value): (Fr, Fr),
    ) -> IndexedInsertion {
        let write = |store: &mut S, mut index: u64, leaf: IndexedLeaf| {
            store.set_indexed_leaf(tree, index, leaf).unwrap();
            let tree_of_nodes = tree.tree();
            let mut value = leaf.hash(tree);
            store.set_node(tree_of_nodes, 0, index, value).unwrap();
            for level in 0..tree_of_nodes.height() {
                let sibling = node(store, tree_of_nodes, level, index ^ 1).unwrap();
                value = match index & 1 {
                    0 => node_hash(&value, &sibling),
                    _ => node_hash(&sibling, &value),
                };
                index >>= 1;
                store.set_node(tree_of_nodes, level + 1, index, value).unwrap();
            }
            value
        };
        let (low_index, low_leaf) = low_leaf(store, tree, &key).unwrap();
        let mut insertion = IndexedInsertion {
            key,
            value,
            low_leaf,
            low_index,
            low_path: path(store, tree.tree(), 0, low_index).unwrap(),
            new_index: count,
            new_path: Vec::new(),
            root_before,
            root_between: root_before,
            root_after: root_before,
        };
        insertion.root_between = write(store, low_index, insertion.low_leaf_after());
        insertion.new_path = path(store, tree.tree(), 0, count).unwrap();
        insertion.root_after = write(store, count, insertion.new_leaf());
        insertion
    }

    /// Keys whose low leaves are old ones, ones just inserted, and the same one twice.
    #[test]
    fn inserting_many_is_inserting_each() {
        let keys = [50, 10, 70, 60, 65, 62, 5, 6, 90, 1, 80, 85, 84, 83, 2, 3, 40, 41, 30u64];
        for tree in [IndexedTree::Nullifiers, IndexedTree::PublicData] {
            let mut start = MemoryStore::new();
            let mut root = initialize(&mut start, tree).unwrap();
            for (count, key) in [(1, 20u64), (2, 55)] {
                let (key, value) = (Fr::from(key), Fr::from(0u64));
                root = insert(&mut start, tree, root, count, key, value).unwrap().root_after;
            }
            for n in [0, 1, 2, 7, 8, 9, 16, keys.len()] {
                let value = |i: usize| match tree {
                    IndexedTree::Nullifiers => Fr::from(0u64),
                    IndexedTree::PublicData => Fr::from(1000 + i as u64),
                };
                let entries: Vec<(Fr, Fr)> =
                    (0..n).map(|i| (Fr::from(keys[i]), value(i))).collect();
                let mut plain = Overlay::new(start.clone());
                let mut before = root;
                let mut expected = Vec::new();
                for (count, entry) in (3..).zip(&entries) {
                    expected.push(insert_plainly(&mut plain, tree, before, count, *entry));
                    before = expected.last().unwrap().root_after;
                }
                let mut store = Overlay::new(start.clone());
                let got = insert_all(&mut store, tree, root, 3, &entries).unwrap();
                assert_eq!(got, expected, "{n} keys");
                assert_eq!(store.changes(), plain.changes(), "{n} keys");
                for (count, insertion) in (3..).zip(&got) {
                    insertion.verify(tree, count).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_there_is_rejected_among_many() {
        let tree = IndexedTree::Nullifiers;
        let mut store = MemoryStore::new();
        let root = initialize(&mut store, tree).unwrap();
        let entry = |key: u64| (Fr::from(key), Fr::from(0u64));
        for keys in [[1, 2, 1], [0, 1, 2], [1, 2, 2]] {
            let rejected = insert_all(&mut store.clone(), tree, root, 1, &keys.map(entry));
            assert!(rejected.is_err(), "{keys:?}");
        }
        let full = tree.tree().capacity();
        assert!(insert_all(&mut store, tree, root, full - 1, &[1, 2].map(entry)).is_err());
    }

    #[test]
    fn roots_of_many_paths_are_those_of_each() {
        let siblings: Vec<Vec<Fr>> =
            (0..11u64).map(|i| (0..32).map(|j| Fr::from(100 * i + j)).collect()).collect();
        for n in 0..=siblings.len() {
            let nodes: Vec<(Fr, u64, &[Fr])> = siblings[..n]
                .iter()
                .enumerate()
                .map(|(i, path)| (Fr::from(i as u64), 0x9e37_79b9 * i as u64, path.as_slice()))
                .collect();
            let expected: Vec<Fr> = nodes
                .iter()
                .map(|(node, index, path)| root_from_path(node, *index, path))
                .collect();
            assert_eq!(roots_from_paths(&nodes), expected, "{n} paths");
        }
    }
}
