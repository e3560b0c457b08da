//! State as of any recent block, and what a block writes.

use std::sync::Arc;

use redb::{ReadableTable, Table};
use rollmill_protocol::Fr;
use rollmill_protocol::tree::{
    IndexedLeaf, IndexedTree, StateChanges, StateRead, StorageError, Tree,
};

use super::{Bytes, Snapshot, Tables, Writer, fr_at, get, key, last, u64_at, word};
use crate::error::NodeError;

/// State after a block, inside the transaction it was opened in.
#[derive(Debug)]
pub(crate) struct StateView<'a, T> {
    tables: &'a Tables<T>,
    block: u64,
}

/// State after a block, as of the commit at which it was asked for. Later commits do not change it.
#[derive(Debug, Clone)]
pub struct StateAt {
    tables: Arc<Snapshot>,
    block: u64,
}

impl<'a, T> StateView<'a, T> {
    pub(crate) fn new(tables: &'a Tables<T>, block: u64) -> Self {
        Self { tables, block }
    }
}

impl StateAt {
    pub(crate) fn new(tables: Arc<Snapshot>, block: u64) -> Self {
        Self { tables, block }
    }

    /// The block after which this is the state.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// The block that inserted a key into an indexed tree, up to this state.
    pub(crate) fn inserted_in(
        &self,
        tree: IndexedTree,
        key: &Fr,
    ) -> Result<Option<u64>, NodeError> {
        let record = get(&self.tables.keys, &key_key(tree, key))?;
        let block = record.map(|record| u64_at(&record, 8)).transpose()?;
        Ok(block.filter(|block| *block <= self.block))
    }
}

fn tree_id(tree: IndexedTree) -> u8 {
    tree.tree().id()
}

fn node_key(tree: Tree, level: usize, index: u64, block: u64) -> Vec<u8> {
    // A level is at most 40.
    key(&[&[tree.id(), level as u8], &index.to_be_bytes(), &block.to_be_bytes()])
}

fn leaf_key(tree: IndexedTree, index: u64, block: u64) -> Vec<u8> {
    key(&[&[tree_id(tree)], &index.to_be_bytes(), &block.to_be_bytes()])
}

fn key_key(tree: IndexedTree, value: &Fr) -> Vec<u8> {
    key(&[&[tree_id(tree)], &word(value)])
}

fn leaf_bytes(leaf: &IndexedLeaf) -> Vec<u8> {
    key(&[
        &word(&leaf.key),
        &word(&leaf.value),
        &word(&leaf.next_key),
        &leaf.next_index.to_be_bytes(),
    ])
}

fn leaf_from_bytes(bytes: &[u8]) -> Result<IndexedLeaf, NodeError> {
    Ok(IndexedLeaf {
        key: fr_at(bytes, 0)?,
        value: fr_at(bytes, 32)?,
        next_key: fr_at(bytes, 64)?,
        next_index: u64_at(bytes, 96)?,
    })
}

fn storage(error: NodeError) -> StorageError {
    StorageError::of(error)
}

impl<T: ReadableTable<Bytes, Bytes>> StateRead for StateView<'_, T> {
    fn node(&self, tree: Tree, level: usize, index: u64) -> Result<Option<Fr>, StorageError> {
        let (from, to) =
            (node_key(tree, level, index, 0), node_key(tree, level, index, self.block));
        let found = last(&self.tables.nodes, &from, &to).map_err(storage)?;
        found.map(|(_, value)| fr_at(&value, 0).map_err(storage)).transpose()
    }

    fn indexed_leaf(
        &self,
        tree: IndexedTree,
        index: u64,
    ) -> Result<Option<IndexedLeaf>, StorageError> {
        let (from, to) = (leaf_key(tree, index, 0), leaf_key(tree, index, self.block));
        let found = last(&self.tables.leaves, &from, &to).map_err(storage)?;
        found.map(|(_, value)| leaf_from_bytes(&value).map_err(storage)).transpose()
    }

    fn low_leaf(&self, tree: IndexedTree, value: &Fr) -> Result<Option<u64>, StorageError> {
        let find = || -> Result<Option<u64>, NodeError> {
            let (from, to) = (vec![tree_id(tree)], key_key(tree, value));
            let range = self.tables.keys.range::<&[u8]>(&from[..]..=&to[..])?;
            // Keys of later blocks are passed over; there are few, since only recent states are read.
            for entry in range.rev() {
                let (_, record) = entry?;
                if u64_at(record.value(), 8)? <= self.block {
                    return u64_at(record.value(), 0).map(Some);
                }
            }
            Ok(None)
        };
        find().map_err(storage)
    }

    fn block_of_header(&self, header_hash: &Fr) -> Result<Option<u64>, StorageError> {
        let find = || -> Result<Option<u64>, NodeError> {
            let record = get(&self.tables.headers, &word(header_hash))?;
            let block = record.map(|record| u64_at(&record, 0)).transpose()?;
            Ok(block.filter(|block| *block <= self.block))
        };
        find().map_err(storage)
    }
}

impl StateRead for StateAt {
    fn node(&self, tree: Tree, level: usize, index: u64) -> Result<Option<Fr>, StorageError> {
        StateView::new(&*self.tables, self.block).node(tree, level, index)
    }
    fn indexed_leaf(
        &self,
        tree: IndexedTree,
        index: u64,
    ) -> Result<Option<IndexedLeaf>, StorageError> {
        StateView::new(&*self.tables, self.block).indexed_leaf(tree, index)
    }
    fn low_leaf(&self, tree: IndexedTree, key: &Fr) -> Result<Option<u64>, StorageError> {
        StateView::new(&*self.tables, self.block).low_leaf(tree, key)
    }
    fn block_of_header(&self, header_hash: &Fr) -> Result<Option<u64>, StorageError> {
        StateView::new(&*self.tables, self.block).block_of_header(header_hash)
    }
}

/// Keys a block wrote, without their block numbers: what undoing and forgetting need.
#[derive(Debug, Default)]
struct Touched {
    nodes: Vec<Vec<u8>>,
    leaves: Vec<Vec<u8>>,
    /// Keys of indexed trees that the block inserted.
    keys: Vec<Vec<u8>>,
}

/// Bytes of a node key, a leaf key and an inserted key, without block numbers.
const TOUCHED_BYTES: [usize; 3] = [10, 9, 33];

impl Touched {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for list in [&self.nodes, &self.leaves, &self.keys] {
            out.extend((list.len() as u64).to_be_bytes());
            out.extend(list.iter().flatten());
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, NodeError> {
        let mut left = bytes;
        let mut list = |width: usize| -> Result<Vec<Vec<u8>>, NodeError> {
            let n = usize::try_from(u64_at(left, 0)?).unwrap_or(usize::MAX);
            let end = n.checked_mul(width).and_then(|size| size.checked_add(8));
            let body = end.and_then(|end| left.get(8..end));
            let body = body.ok_or_else(|| NodeError::corrupt("an undo record is too short"))?;
            left = &left[8 + body.len()..];
            Ok(body.chunks_exact(width).map(<[u8]>::to_vec).collect())
        };
        let [nodes, leaves, keys] = TOUCHED_BYTES;
        Ok(Self { nodes: list(nodes)?, leaves: list(leaves)?, keys: list(keys)? })
    }
}

/// Removes version `block` of each of `keys`.
fn remove_versions(
    table: &mut Table<'_, Bytes, Bytes>,
    keys: &[Vec<u8>],
    block: u64,
) -> Result<(), NodeError> {
    for prefix in keys {
        table.remove(key(&[prefix, &block.to_be_bytes()]).as_slice())?;
    }
    Ok(())
}

/// Removes the version before `block` of each of `keys`. Older ones went with earlier blocks.
fn remove_version_before(
    table: &mut Table<'_, Bytes, Bytes>,
    keys: &[Vec<u8>],
    block: u64,
) -> Result<(), NodeError> {
    let Some(before) = block.checked_sub(1) else { return Ok(()) };
    for prefix in keys {
        let from = key(&[prefix, &0u64.to_be_bytes()]);
        let to = key(&[prefix, &before.to_be_bytes()]);
        if let Some((old, _)) = last(table, &from, &to)? {
            table.remove(old.as_slice())?;
        }
    }
    Ok(())
}

impl Writer<'_> {
    /// Writes what a block changed, and what it takes to undo it.
    pub(crate) fn write_state(
        &mut self,
        block: u64,
        changes: &StateChanges,
    ) -> Result<(), NodeError> {
        let mut touched = Touched::default();
        for ((tree, level, index), value) in &changes.nodes {
            let full = node_key(*tree, *level, *index, block);
            self.nodes.insert(full.as_slice(), word(value).as_slice())?;
            touched.nodes.push(full[..full.len() - 8].to_vec());
        }
        for ((tree, index), leaf) in &changes.leaves {
            let full = leaf_key(*tree, *index, block);
            self.leaves.insert(full.as_slice(), leaf_bytes(leaf).as_slice())?;
            touched.leaves.push(full[..full.len() - 8].to_vec());
            let listed = key_key(*tree, &leaf.key);
            if self.keys.get(listed.as_slice())?.is_none() {
                let record = key(&[&index.to_be_bytes(), &block.to_be_bytes()]);
                self.keys.insert(listed.as_slice(), record.as_slice())?;
                touched.keys.push(listed);
            }
        }
        for (hash, number) in &changes.headers {
            self.headers.insert(word(hash).as_slice(), number.to_be_bytes().as_slice())?;
        }
        self.undo.insert(block.to_be_bytes().as_slice(), touched.to_bytes().as_slice())?;
        Ok(())
    }

    fn touched(&self, block: u64) -> Result<Touched, NodeError> {
        let bytes = get(&self.undo, &block.to_be_bytes())?;
        let bytes =
            bytes.ok_or_else(|| NodeError::corrupt(format!("block {block} has no undo record")))?;
        Touched::from_bytes(&bytes)
    }

    /// Takes back what the newest block wrote.
    pub(crate) fn undo_state(&mut self, block: u64, header_hash: &Fr) -> Result<(), NodeError> {
        let touched = self.touched(block)?;
        remove_versions(&mut self.nodes, &touched.nodes, block)?;
        remove_versions(&mut self.leaves, &touched.leaves, block)?;
        for listed in &touched.keys {
            self.keys.remove(listed.as_slice())?;
        }
        self.headers.remove(word(header_hash).as_slice())?;
        self.undo.remove(block.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// Forgets the states before `block`, which becomes the oldest that can be read.
    pub(crate) fn forget_state_before(&mut self, block: u64) -> Result<(), NodeError> {
        let touched = self.touched(block)?;
        remove_version_before(&mut self.nodes, &touched.nodes, block)?;
        remove_version_before(&mut self.leaves, &touched.leaves, block)?;
        self.undo.remove(block.to_be_bytes().as_slice())?;
        Ok(())
    }
}
