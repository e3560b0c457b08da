//! The state's Merkle trees over any storage.
//!
//! A tree is its nodes in a store plus a root and a count that live in headers. Nodes that were
//! never written are those of the empty tree, so a store holds only what was touched.

pub mod append;
pub mod archive;
pub mod frontier;
pub mod indexed;
pub mod store;
pub mod verify;

use std::sync::OnceLock;

use ark_ff::Zero;
use rollmill_algebra::{Fr, poseidon2};

use crate::domain;
use crate::message::MESSAGE_SUBTREE_HEIGHT;

pub use append::{SubtreeAppend, root_from_path};
pub use archive::ArchiveFrontier;
pub use frontier::{Appended, Frontier, Mark};
pub use indexed::{IndexedInsertion, IndexedLeaf, IndexedTree, IndexedUpdate};
pub use store::{MemoryStore, Overlay, StateChanges};
pub use verify::WitnessError;

/// Height of the note-hash tree.
pub const NOTE_HEIGHT: usize = 40;
/// Height of the nullifier tree.
pub const NULLIFIER_HEIGHT: usize = 40;
/// Height of the public data tree.
pub const PUBLIC_DATA_HEIGHT: usize = 32;
/// Height of the tree of messages from L1.
pub const MESSAGE_HEIGHT: usize = 38;
/// Height of the archive.
pub const ARCHIVE_HEIGHT: usize = 32;
/// Height of the highest tree.
pub const HEIGHT_MAX: usize = 40;

// As many blocks can append their messages as the archive has places.
const _: () = assert!(MESSAGE_HEIGHT - MESSAGE_SUBTREE_HEIGHT == ARCHIVE_HEIGHT);

/// One of the state's trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tree {
    Notes,
    Nullifiers,
    PublicData,
    Messages,
    Archive,
}

impl Tree {
    /// Every tree.
    pub const ALL: [Self; 5] =
        [Self::Notes, Self::Nullifiers, Self::PublicData, Self::Messages, Self::Archive];

    /// Levels between a leaf and the root.
    pub const fn height(self) -> usize {
        match self {
            Self::Notes => NOTE_HEIGHT,
            Self::Nullifiers => NULLIFIER_HEIGHT,
            Self::PublicData => PUBLIC_DATA_HEIGHT,
            Self::Messages => MESSAGE_HEIGHT,
            Self::Archive => ARCHIVE_HEIGHT,
        }
    }

    /// Number of leaves the tree can hold.
    pub const fn capacity(self) -> u64 {
        1 << self.height()
    }

    /// Stable number for storage keys.
    pub const fn id(self) -> u8 {
        match self {
            Self::Notes => 0,
            Self::Nullifiers => 1,
            Self::PublicData => 2,
            Self::Messages => 3,
            Self::Archive => 4,
        }
    }
}

/// The state storage failed, or returned an impossible value.
///
/// Do: Check the disk of the node's data directory. The text after the code names the cause.
#[derive(Debug, thiserror::Error)]
#[error("{code}: state storage: {reason}", code = self.code())]
pub struct StorageError {
    /// What happened, for the log.
    pub reason: String,
    /// The store's error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

rollmill_errors::coded! {
    StorageError {
        Self { .. } => "PRO-090",
    }
}

impl StorageError {
    /// An error of the store itself.
    pub fn of(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self {
            reason: rollmill_errors::uncoded(&source.to_string()),
            source: Some(Box::new(source)),
        }
    }

    /// Contents that contradict each other.
    pub fn corrupt(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), source: None }
    }
}

/// Read access to a state at one point of its history.
pub trait StateRead {
    /// The node at `level` (0 is the leaves) and `index`; `None` when it was never written.
    fn node(&self, tree: Tree, level: usize, index: u64) -> Result<Option<Fr>, StorageError>;

    /// The contents of an indexed tree's leaf.
    fn indexed_leaf(
        &self,
        tree: IndexedTree,
        index: u64,
    ) -> Result<Option<IndexedLeaf>, StorageError>;

    /// Index of the leaf with the greatest key at or below `key`.
    fn low_leaf(&self, tree: IndexedTree, key: &Fr) -> Result<Option<u64>, StorageError>;

    /// The number of the block whose header has this hash.
    fn block_of_header(&self, header_hash: &Fr) -> Result<Option<u64>, StorageError>;
}

/// Write access to the newest state.
pub trait StateWrite: StateRead {
    /// Sets a node.
    fn set_node(
        &mut self,
        tree: Tree,
        level: usize,
        index: u64,
        value: Fr,
    ) -> Result<(), StorageError>;

    /// Sets a leaf of an indexed tree and lists its key for [`StateRead::low_leaf`].
    fn set_indexed_leaf(
        &mut self,
        tree: IndexedTree,
        index: u64,
        leaf: IndexedLeaf,
    ) -> Result<(), StorageError>;

    /// Remembers which block a header belongs to.
    fn set_block_of_header(&mut self, header_hash: Fr, block: u64) -> Result<(), StorageError>;
}

impl<S: StateRead + ?Sized> StateRead for &S {
    fn node(&self, tree: Tree, level: usize, index: u64) -> Result<Option<Fr>, StorageError> {
        (**self).node(tree, level, index)
    }
    fn indexed_leaf(
        &self,
        tree: IndexedTree,
        index: u64,
    ) -> Result<Option<IndexedLeaf>, StorageError> {
        (**self).indexed_leaf(tree, index)
    }
    fn low_leaf(&self, tree: IndexedTree, key: &Fr) -> Result<Option<u64>, StorageError> {
        (**self).low_leaf(tree, key)
    }
    fn block_of_header(&self, header_hash: &Fr) -> Result<Option<u64>, StorageError> {
        (**self).block_of_header(header_hash)
    }
}

/// `hash(NODE, [left, right])`.
pub fn node_hash(left: &Fr, right: &Fr) -> Fr {
    poseidon2::hash(domain::NODE, &[*left, *right])
}

/// The level above a row of nodes, of which there are an even number: [`node_hash`] of each pair.
pub fn parents(row: &[Fr]) -> Vec<Fr> {
    poseidon2::hash_all(domain::NODE, row.as_chunks::<2>().0)
}

/// Root of the subtree with these leaves, a power of two of them.
///
/// # Panics
/// When there are none.
pub fn subtree_root(leaves: &[Fr]) -> Fr {
    let mut row = leaves.to_vec();
    while row.len() > 1 {
        row = parents(&row);
    }
    row[0]
}

/// Root of an empty subtree with `2^level` leaves; an empty leaf is zero.
///
/// # Panics
/// When `level` is above [`HEIGHT_MAX`].
pub fn empty_root(level: usize) -> Fr {
    static ROOTS: OnceLock<Vec<Fr>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        std::iter::successors(Some(Fr::zero()), |below| Some(node_hash(below, below)))
            .take(HEIGHT_MAX + 1)
            .collect()
    })[level]
}
