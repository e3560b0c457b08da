//! Stores in memory: one that is a whole state, and one that lies over another store and keeps what
//! was written, for speculative blocks.

use std::collections::{BTreeMap, HashMap};

use rollmill_algebra::Fr;

use super::{IndexedLeaf, IndexedTree, StateRead, StateWrite, StorageError, Tree};

/// The writes of a block, in a fixed order, ready for one database commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateChanges {
    /// Nodes by (tree, level, index), with their new value.
    pub nodes: BTreeMap<(Tree, usize, u64), Fr>,
    /// Leaves of indexed trees by (tree, index), with their new contents.
    pub leaves: BTreeMap<(IndexedTree, u64), IndexedLeaf>,
    /// Block numbers by header hash.
    pub headers: BTreeMap<Fr, u64>,
}

/// A whole state in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    nodes: HashMap<(Tree, usize, u64), Fr>,
    leaves: HashMap<(IndexedTree, u64), IndexedLeaf>,
    keys: BTreeMap<(IndexedTree, Fr), u64>,
    headers: HashMap<Fr, u64>,
}

impl MemoryStore {
    /// A store in which nothing was written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes what a block changed.
    pub fn commit(&mut self, changes: &StateChanges) {
        self.nodes.extend(changes.nodes.iter().map(|(key, value)| (*key, *value)));
        for ((tree, index), leaf) in &changes.leaves {
            self.leaves.insert((*tree, *index), *leaf);
            self.keys.insert((*tree, leaf.key), *index);
        }
        self.headers.extend(changes.headers.iter().map(|(hash, block)| (*hash, *block)));
    }
}

fn low_of(
    keys: &BTreeMap<(IndexedTree, Fr), u64>,
    tree: IndexedTree,
    key: &Fr,
) -> Option<(Fr, u64)> {
    let ((found, low), index) = keys.range(..=(tree, *key)).next_back()?;
    (*found == tree).then_some((*low, *index))
}

impl StateRead for MemoryStore {
    fn node(&self, tree: Tree, level: usize, index: u64) -> Result<Option<Fr>, StorageError> {
        Ok(self.nodes.get(&(tree, level, index)).copied())
    }
    fn indexed_leaf(
        &self,
        tree: IndexedTree,
        index: u64,
    ) -> Result<Option<IndexedLeaf>, StorageError> {
        Ok(self.leaves.get(&(tree, index)).copied())
    }
    fn low_leaf(&self, tree: IndexedTree, key: &Fr) -> Result<Option<u64>, StorageError> {
        Ok(low_of(&self.keys, tree, key).map(|(_, index)| index))
    }
    fn block_of_header(&self, header_hash: &Fr) -> Result<Option<u64>, StorageError> {
        Ok(self.headers.get(header_hash).copied())
    }
}

impl StateWrite for MemoryStore {
    fn set_node(
        &mut self,
        tree: Tree,
        level: usize,
        index: u64,
        value: Fr,
    ) -> Result<(), StorageError> {
        self.nodes.insert((tree, level, index), value);
        Ok(())
    }
    fn set_indexed_leaf(
        &mut self,
        tree: IndexedTree,
        index: u64,
        leaf: IndexedLeaf,
    ) -> Result<(), StorageError> {
        self.leaves.insert((tree, index), leaf);
        self.keys.insert((tree, leaf.key), index);
        Ok(())
    }
    fn set_block_of_header(&mut self, header_hash: Fr, block: u64) -> Result<(), StorageError> {
        self.headers.insert(header_hash, block);
        Ok(())
    }
}

/// A store over another one: reads fall through, writes stay here. Dropping it forgets them.
#[derive(Debug, Clone)]
pub struct Overlay<S> {
    base: S,
    changes: StateChanges,
    keys: BTreeMap<(IndexedTree, Fr), u64>,
}

impl<S: StateRead> Overlay<S> {
    /// Lies over `base`, with nothing written.
    pub fn new(base: S) -> Self {
        Self { base, changes: StateChanges::default(), keys: BTreeMap::new() }
    }

    /// What was written.
    pub fn changes(&self) -> &StateChanges {
        &self.changes
    }

    /// What was written, and the store below.
    pub fn into_parts(self) -> (S, StateChanges) {
        (self.base, self.changes)
    }
}

impl<S: StateRead> StateRead for Overlay<S> {
    fn node(&self, tree: Tree, level: usize, index: u64) -> Result<Option<Fr>, StorageError> {
        match self.changes.nodes.get(&(tree, level, index)) {
            Some(value) => Ok(Some(*value)),
            None => self.base.node(tree, level, index),
        }
    }
    fn indexed_leaf(
        &self,
        tree: IndexedTree,
        index: u64,
    ) -> Result<Option<IndexedLeaf>, StorageError> {
        match self.changes.leaves.get(&(tree, index)) {
            Some(leaf) => Ok(Some(*leaf)),
            None => self.base.indexed_leaf(tree, index),
        }
    }
    fn low_leaf(&self, tree: IndexedTree, key: &Fr) -> Result<Option<u64>, StorageError> {
        let here = low_of(&self.keys, tree, key);
        let Some(below) = self.base.low_leaf(tree, key)? else {
            return Ok(here.map(|(_, index)| index));
        };
        let Some((low, index)) = here else {
            return Ok(Some(below));
        };
        // A leaf's key never changes, so the base's contents serve even where they were rewritten.
        let base_leaf = self.base.indexed_leaf(tree, below)?;
        let base_key = base_leaf.map(|leaf| leaf.key);
        Ok(Some(if base_key.is_none_or(|base_key| base_key < low) { index } else { below }))
    }
    fn block_of_header(&self, header_hash: &Fr) -> Result<Option<u64>, StorageError> {
        match self.changes.headers.get(header_hash) {
            Some(block) => Ok(Some(*block)),
            None => self.base.block_of_header(header_hash),
        }
    }
}

impl<S: StateRead> StateWrite for Overlay<S> {
    fn set_node(
        &mut self,
        tree: Tree,
        level: usize,
        index: u64,
        value: Fr,
    ) -> Result<(), StorageError> {
        self.changes.nodes.insert((tree, level, index), value);
        Ok(())
    }
    fn set_indexed_leaf(
        &mut self,
        tree: IndexedTree,
        index: u64,
        leaf: IndexedLeaf,
    ) -> Result<(), StorageError> {
        self.changes.leaves.insert((tree, index), leaf);
        self.keys.insert((tree, leaf.key), index);
        Ok(())
    }
    fn set_block_of_header(&mut self, header_hash: Fr, block: u64) -> Result<(), StorageError> {
        self.changes.headers.insert(header_hash, block);
        Ok(())
    }
}
