//! Append-only trees: paths, roots from paths, and the append of an aligned subtree.

use rollmill_algebra::Fr;

use super::{StateRead, StateWrite, StorageError, Tree, empty_root, node_hash};

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
    path.iter().enumerate().fold(*node, |below, (i, sibling)| {
        // A path from outside may be longer than an index has bits.
        let side = u32::try_from(i).ok().and_then(|i| index.checked_shr(i)).unwrap_or(0) & 1;
        if side == 0 { node_hash(&below, sibling) } else { node_hash(sibling, &below) }
    })
}

/// Writes one node and everything above it; answers the root.
pub fn write_up<S: StateWrite>(
    store: &mut S,
    tree: Tree,
    level: usize,
    mut index: u64,
    mut value: Fr,
) -> Result<Fr, StorageError> {
    store.set_node(tree, level, index, value)?;
    for l in level..tree.height() {
        let sibling = node(store, tree, l, index ^ 1)?;
        value =
            if index & 1 == 0 { node_hash(&value, &sibling) } else { node_hash(&sibling, &value) };
        index >>= 1;
        store.set_node(tree, l + 1, index, value)?;
    }
    Ok(value)
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
        for (i, value) in row.iter().enumerate() {
            store.set_node(tree, level, (start_index >> level) + i as u64, *value)?;
        }
        row = row.as_chunks::<2>().0.iter().map(|[l, r]| node_hash(l, r)).collect();
    }
    let subtree_root = row[0];
    let path = path(store, tree, top, start_index >> top)?;
    let root_after = write_up(store, tree, top, start_index >> top, subtree_root)?;
    Ok(SubtreeAppend {
        start_index,
        leaves: leaves.to_vec(),
        subtree_root,
        path,
        root_before,
        root_after,
    })
}
