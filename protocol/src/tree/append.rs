//! Append-only trees: paths, roots from paths, and the append of an aligned subtree.

use std::collections::BTreeMap;

use rollmill_algebra::{Fr, poseidon2};

use super::{StateRead, StateWrite, StorageError, Tree, empty_root, node_hash, parents};
use crate::domain;

/// The node at a place, empty when it was never written.
pub fn node<S: StateRead>(
    store: &S,
    tree: Tree,
    level: usize,
    index: u64,
) -> Result<Fr, StorageError> {
    Ok(store.node(tree, level, index)?.unwrap_or_else(|| empty_root(level)))
}

/// Siblings from the node at (`level`, `index`) up to the root, lowest first:
/// `height − level` of them.
pub fn path<S: StateRead>(
    store: &S,
    tree: Tree,
    level: usize,
    index: u64,
) -> Result<Vec<Fr>, StorageError> {
    (level..tree.height()).map(|l| node(store, tree, l, (index >> (l - level)) ^ 1)).collect()
}

/// The root that `node`, the `index`th of its level, has with these siblings.
pub fn root_from_path(node: &Fr, index: u64, path: &[Fr]) -> Fr {
    path.iter().enumerate().fold(*node, |below, (level, sibling)| {
        let [left, right] = pair(below, side(index, level), *sibling);
        node_hash(&left, &right)
    })
}

/// The roots of several nodes with these indices and siblings, as [`root_from_path`] gives them one by
/// one: level by level, so that hashes are made in batches.
///
/// # Panics
/// When the paths differ in length.
pub fn roots_from_paths(nodes: &[(Fr, u64, &[Fr])]) -> Vec<Fr> {
    let mut row: Vec<Fr> = nodes.iter().map(|(node, ..)| *node).collect();
    let height = nodes.first().map_or(0, |(.., path)| path.len());
    assert!(nodes.iter().all(|(.., path)| path.len() == height), "paths of one length");
    for level in 0..height {
        let pairs: Vec<[Fr; 2]> = row
            .iter()
            .zip(nodes)
            .map(|(below, (_, index, path))| pair(*below, side(*index, level), path[level]))
            .collect();
        row = poseidon2::hash_all(domain::NODE, &pairs);
    }
    row
}

/// 0 when the path from this index goes up from a left child at `level`, 1 from a right one. A path from
/// outside may be longer than an index has bits.
fn side(index: u64, level: usize) -> u64 {
    u32::try_from(level).ok().and_then(|level| index.checked_shr(level)).unwrap_or(0) & 1
}

/// A node and its sibling, left one first.
fn pair(node: Fr, side: u64, sibling: Fr) -> [Fr; 2] {
    if side == 0 { [node, sibling] } else { [sibling, node] }
}

/// What a change of one node met and led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Climb {
    /// Siblings from the node up, lowest first, as they were when it was written.
    pub path: Vec<Fr>,
    /// The root after.
    pub root: Fr,
}

/// Writes nodes of one level, one after another, with everything above them.
///
/// At a level, what each change met beside it and left behind is known once the level below is, so
/// the hashes of a level are made in one batch, though every root but the last is overwritten.
pub fn write_all<S: StateWrite>(
    store: &mut S,
    tree: Tree,
    level: usize,
    nodes: &[(u64, Fr)],
) -> Result<Vec<Climb>, StorageError> {
    let mut row = nodes.to_vec();
    let mut paths = vec![Vec::with_capacity(tree.height() - level); nodes.len()];
    for l in level..tree.height() {
        let mut written = BTreeMap::new();
        let mut pairs = Vec::with_capacity(row.len());
        for ((index, value), path) in row.iter().zip(&mut paths) {
            written.insert(*index, *value);
            let sibling = match written.get(&(index ^ 1)) {
                Some(sibling) => *sibling,
                None => node(store, tree, l, index ^ 1)?,
            };
            path.push(sibling);
            pairs.push(pair(*value, index & 1, sibling));
        }
        for (index, value) in written {
            store.set_node(tree, l, index, value)?;
        }
        let parents = poseidon2::hash_all(domain::NODE, &pairs);
        for ((index, value), parent) in row.iter_mut().zip(parents) {
            (*index, *value) = (*index >> 1, parent);
        }
    }
    if let Some((index, root)) = row.last() {
        store.set_node(tree, tree.height(), *index, *root)?;
    }
    Ok(paths.into_iter().zip(row).map(|(path, (_, root))| Climb { path, root }).collect())
}

/// Writes one node with everything above it.
pub fn write_one<S: StateWrite>(
    store: &mut S,
    tree: Tree,
    level: usize,
    index: u64,
    value: Fr,
) -> Result<Climb, StorageError> {
    let mut climbs = write_all(store, tree, level, &[(index, value)])?;
    climbs.pop().ok_or_else(|| StorageError::corrupt("a node was not written"))
}

/// The witness of appending an aligned subtree in place of an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtreeAppend {
    /// Index of the first leaf, a multiple of the number of leaves.
    pub start_index: u64,
    /// The leaves, a power of two of them, absent ones zero.
    pub leaves: Vec<Fr>,
    /// Root of the subtree.
    pub subtree_root: Fr,
    /// Siblings from the subtree's root upwards, lowest first. The node in that place was
    /// `empty_root(log leaves)` before and is `subtree_root` after.
    pub path: Vec<Fr>,
    pub root_before: Fr,
    pub root_after: Fr,
}

/// Appends `leaves` as an aligned subtree at `start_index`.
///
/// # Errors
/// [`StorageError`] also when the length is no power of two, the start not aligned to it, or beyond
/// the tree: callers check capacity first, so that these are states no honest run leaves behind.
pub fn append_subtree<S: StateWrite>(
    store: &mut S,
    tree: Tree,
    root_before: Fr,
    start_index: u64,
    leaves: &[Fr],
) -> Result<SubtreeAppend, StorageError> {
    let n = leaves.len() as u64;
    let fits = start_index.checked_add(n).is_some_and(|end| end <= tree.capacity());
    if !n.is_power_of_two() || !start_index.is_multiple_of(n) || !fits {
        return Err(StorageError::corrupt(format!(
            "{n} leaves cannot be appended at {start_index} of {tree:?}"
        )));
    }
    let top = n.trailing_zeros() as usize;
    let mut row = leaves.to_vec();
    for level in 0..top {
        let empty = empty_root(level);
        for (i, value) in row.iter().enumerate() {
            // What was never written is empty.
            if *value != empty {
                store.set_node(tree, level, (start_index >> level) + i as u64, *value)?;
            }
        }
        row = parents(&row);
    }
    let subtree_root = row[0];
    let Climb { path, root: root_after } =
        write_one(store, tree, top, start_index >> top, subtree_root)?;
    Ok(SubtreeAppend {
        start_index,
        leaves: leaves.to_vec(),
        subtree_root,
        path,
        root_before,
        root_after,
    })
}
