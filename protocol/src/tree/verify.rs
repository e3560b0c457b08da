//! Checks of tree witnesses against nothing but roots: the plain twins of what circuits constrain.

use ark_ff::Zero;
use rollmill_algebra::Fr;

use super::append::roots_from_paths;
use super::{
    IndexedInsertion, IndexedLeaf, IndexedTree, IndexedUpdate, SubtreeAppend, Tree, empty_root,
    root_from_path, subtree_root,
};

/// Why a tree witness proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// A Merkle path has the wrong number of siblings.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: a path of {expected} siblings expected, got {got}", code = self.code())]
    PathLength { expected: usize, got: usize },
    /// An index lies beyond the tree, is not aligned, or is not the next free one.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: index {index} is not allowed here", code = self.code())]
    Index { index: u64 },
    /// A leaf and its path do not lead to the root before the update.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: the leaf and its path do not lead to the root before", code = self.code())]
    RootBefore,
    /// The place of a new leaf is not empty.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: the place of the new leaf is not empty", code = self.code())]
    NotEmpty,
    /// The low leaf does not bracket the key.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: the low leaf does not bracket the key", code = self.code())]
    NotBracketed,
    /// The root after the update does not follow from the witness.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: the root after does not follow from the witness", code = self.code())]
    RootAfter,
}

rollmill_errors::coded! {
    WitnessError {
        Self::PathLength { .. } => "PRO-040",
        Self::Index { .. } => "PRO-041",
        Self::RootBefore => "PRO-042",
        Self::NotEmpty => "PRO-043",
        Self::NotBracketed => "PRO-044",
        Self::RootAfter => "PRO-045",
    }
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
        let at = |node: Fr| (node, index, self.path.as_slice());
        let roots = roots_from_paths(&[at(empty_root(top)), at(self.subtree_root)]);
        if roots[0] != self.root_before {
            return Err(WitnessError::NotEmpty);
        }
        if subtree_root(&self.leaves) != self.subtree_root || roots[1] != self.root_after {
            return Err(WitnessError::RootAfter);
        }
        Ok(())
    }
}

impl IndexedInsertion {
    /// Checks the insertion into a tree whose next free index is `count`.
    pub fn verify(&self, tree: IndexedTree, count: u64) -> Result<(), WitnessError> {
        self.check(count, &self.roots(tree)?)
    }

    /// Takes the roots between and after from the leaves and their paths, and checks the rest as
    /// [`Self::verify`] does.
    pub fn complete(&mut self, tree: IndexedTree, count: u64) -> Result<(), WitnessError> {
        let roots = self.roots(tree)?;
        (self.root_between, self.root_after) = (roots.low_after, roots.new);
        self.check(count, &roots)
    }

    fn roots(&self, tree: IndexedTree) -> Result<InsertionRoots, WitnessError> {
        check_path(tree.tree(), 0, self.low_index, &self.low_path)?;
        check_path(tree.tree(), 0, self.new_index, &self.new_path)?;
        let leaves = [self.low_leaf, self.low_leaf_after(), self.new_leaf()];
        let hashes = IndexedLeaf::hash_all(&leaves, tree);
        let low = |leaf: Fr| (leaf, self.low_index, self.low_path.as_slice());
        let new = |leaf: Fr| (leaf, self.new_index, self.new_path.as_slice());
        let nodes = [low(hashes[0]), low(hashes[1]), new(Fr::zero()), new(hashes[2])];
        let roots = roots_from_paths(&nodes);
        Ok(InsertionRoots { low: roots[0], low_after: roots[1], empty: roots[2], new: roots[3] })
    }

    fn check(&self, count: u64, roots: &InsertionRoots) -> Result<(), WitnessError> {
        if self.new_index != count {
            return Err(WitnessError::Index { index: self.new_index });
        }
        if roots.low != self.root_before {
            return Err(WitnessError::RootBefore);
        }
        if !self.low_leaf.brackets(&self.key) {
            return Err(WitnessError::NotBracketed);
        }
        if roots.low_after != self.root_between || roots.empty != self.root_between {
            return Err(WitnessError::NotEmpty);
        }
        if roots.new != self.root_after {
            return Err(WitnessError::RootAfter);
        }
        Ok(())
    }
}

/// Where the leaves of an insertion lead by their paths.
struct InsertionRoots {
    low: Fr,
    low_after: Fr,
    /// From an empty leaf in the place of the new one.
    empty: Fr,
    new: Fr,
}

impl IndexedUpdate {
    /// Checks the update of the leaf with `key`.
    pub fn verify(&self, tree: IndexedTree, key: &Fr) -> Result<(), WitnessError> {
        check_path(tree.tree(), 0, self.index, &self.path)?;
        if self.leaf.key != *key {
            return Err(WitnessError::NotBracketed);
        }
        let hashes = IndexedLeaf::hash_all(&[self.leaf, self.leaf_after()], tree);
        let at = |leaf: Fr| (leaf, self.index, self.path.as_slice());
        let roots = roots_from_paths(&[at(hashes[0]), at(hashes[1])]);
        if roots[0] != self.root_before {
            return Err(WitnessError::RootBefore);
        }
        if roots[1] != self.root_after {
            return Err(WitnessError::RootAfter);
        }
        Ok(())
    }
}
