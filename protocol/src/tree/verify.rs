//! Checks of tree witnesses against nothing but roots: the plain twins of what circuits constrain.

use ark_ff::Zero;
use rollmill_algebra::Fr;

use super::{
    IndexedInsertion, IndexedLeaf, IndexedTree, IndexedUpdate, SubtreeAppend, Tree, empty_root,
    node_hash, root_from_path,
};

/// Why a tree witness proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// A path has the wrong number of siblings.
    #[error("PRO-040: a path of {expected} siblings expected, got {got}")]
    PathLength { expected: usize, got: usize },
    /// An index lies beyond the tree, is not aligned, or is not the count.
    #[error("PRO-041: index {index} is not allowed here")]
    Index { index: u64 },
    /// A leaf and its path do not give the root before.
    #[error("PRO-042: the leaf and its path do not lead to the root before")]
    RootBefore,
    /// The place of a new leaf is not empty.
    #[error("PRO-043: the place of the new leaf is not empty")]
    NotEmpty,
    /// The low leaf does not lie around the key.
    #[error("PRO-044: the low leaf does not bracket the key")]
    NotBracketed,
    /// The root after is another one.
    #[error("PRO-045: the root after does not follow from the witness")]
    RootAfter,
}

fn check_path(tree: Tree, level: usize, index: u64, path: &[Fr]) -> Result<(), WitnessError> {
    let expected = tree.height() - level;
    if path.len() != expected {
        return Err(WitnessError::PathLength { expected, got: path.len() });
    }
    if index >> expected != 0 {
        return Err(WitnessError::Index { index });
    }
    Ok(())
}

/// Checks that `leaf` is the `index`th leaf under `root`.
pub fn membership(
    tree: Tree,
    root: &Fr,
    leaf: &Fr,
    index: u64,
    path: &[Fr],
) -> Result<(), WitnessError> {
    check_path(tree, 0, index, path)?;
    if root_from_path(leaf, index, path) == *root { Ok(()) } else { Err(WitnessError::RootBefore) }
}

impl SubtreeAppend {
    /// Checks the append into a tree whose next free index is `count`.
    pub fn verify(&self, tree: Tree, count: u64) -> Result<(), WitnessError> {
        let n = self.leaves.len() as u64;
        if !n.is_power_of_two() || self.start_index != count || !count.is_multiple_of(n) {
            return Err(WitnessError::Index { index: self.start_index });
        }
        let top = n.trailing_zeros() as usize;
        let index = self.start_index >> top;
        check_path(tree, top, index, &self.path)?;
        if root_from_path(&empty_root(top), index, &self.path) != self.root_before {
            return Err(WitnessError::NotEmpty);
        }
        let mut row = self.leaves.clone();
        while row.len() > 1 {
            row = row.as_chunks::<2>().0.iter().map(|[l, r]| node_hash(l, r)).collect();
        }
        if row[0] != self.subtree_root
            || root_from_path(&row[0], index, &self.path) != self.root_after
        {
            return Err(WitnessError::RootAfter);
        }
        Ok(())
    }
}

impl IndexedInsertion {
    /// Checks the insertion into a tree whose next free index is `count`.
    pub fn verify(&self, tree: IndexedTree, count: u64) -> Result<(), WitnessError> {
        check_path(tree.tree(), 0, self.low_index, &self.low_path)?;
        check_path(tree.tree(), 0, self.new_index, &self.new_path)?;
        if self.new_index != count {
            return Err(WitnessError::Index { index: self.new_index });
        }
        let at_low =
            |leaf: &IndexedLeaf| root_from_path(&leaf.hash(tree), self.low_index, &self.low_path);
        if at_low(&self.low_leaf) != self.root_before {
            return Err(WitnessError::RootBefore);
        }
        if !self.low_leaf.brackets(&self.key) {
            return Err(WitnessError::NotBracketed);
        }
        let at_new = |leaf: &Fr| root_from_path(leaf, self.new_index, &self.new_path);
        if at_low(&self.low_leaf_after()) != self.root_between
            || at_new(&Fr::zero()) != self.root_between
        {
            return Err(WitnessError::NotEmpty);
        }
        if at_new(&self.new_leaf().hash(tree)) != self.root_after {
            return Err(WitnessError::RootAfter);
        }
        Ok(())
    }
}

impl IndexedUpdate {
    /// Checks the update of the leaf with `key`.
    pub fn verify(&self, tree: IndexedTree, key: &Fr) -> Result<(), WitnessError> {
        check_path(tree.tree(), 0, self.index, &self.path)?;
        if self.leaf.key != *key {
            return Err(WitnessError::NotBracketed);
        }
        let at = |leaf: &IndexedLeaf| root_from_path(&leaf.hash(tree), self.index, &self.path);
        if at(&self.leaf) != self.root_before {
            return Err(WitnessError::RootBefore);
        }
        if at(&self.leaf_after()) != self.root_after {
            return Err(WitnessError::RootAfter);
        }
        Ok(())
    }
}
