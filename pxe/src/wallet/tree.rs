//! The wallet's own part of the note tree, so that no node learns which notes it spends.
//!
//! The wallet reads the leaves of every block anyway. It keeps the tree's edge after the last block and after the last
//! one that an anchor may name, and the siblings of its unspent notes: at most 37 nodes to the left and 37 to the right
//! of each note's transaction, and 8 leaves, so at most about 9 KB of JSON for a note. Twin: the whole tree.

use std::collections::BTreeSet;

use rollmill_node_client::NodeClient;
use rollmill_protocol::field::{from_hex, serde_fr, serde_frs};
use rollmill_protocol::tree::frontier::{self, NOTE_SUBTREE_HEIGHT};
use rollmill_protocol::tree::{Appended, ArchiveFrontier, Frontier, Mark, root_from_path};
use rollmill_protocol::{Fr, Genesis, Header};
use serde::{Deserialize, Serialize};

use super::spend::ANCHOR_STEP;
use super::{BLOCKS, OwnedNote, Wallet, node_error};
use crate::error::PxeError;
use crate::leaves;

/// The edge of the tree after a block.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edge {
    block: u64,
    count: u64,
    #[serde(with = "serde_frs")]
    nodes: Vec<Fr>,
}

impl Edge {
    fn of(block: u64, frontier: &Frontier) -> Self {
        Self { block, count: frontier.count(), nodes: frontier.nodes().to_vec() }
    }

    fn frontier(&self) -> Option<Frontier> {
        Frontier::of(self.count, self.nodes.clone())
    }
}

/// The leaves of a transaction that made a note, and the nodes to their left.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marked {
    position: u64,
    #[serde(with = "serde_frs")]
    leaves: Vec<Fr>,
    #[serde(with = "serde_frs")]
    left: Vec<Fr>,
}

/// A complete node to the right of a note.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Right {
    level: u8,
    index: u64,
    #[serde(with = "serde_fr")]
    value: Fr,
}

/// What the wallet keeps of the note tree.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoteTree {
    /// After the last block that was read.
    tip: Edge,
    /// After the last block whose number is a multiple of [`ANCHOR_STEP`].
    step: Edge,
    marks: Vec<Marked>,
    nodes: Vec<Right>,
    /// The edge of the archive after the last block that was read, by which the header of the next one is checked.
    #[serde(with = "serde_frs")]
    archive: Vec<Fr>,
}

/// What a block does to the tree.
pub(super) struct Growth {
    block: u64,
    appended: Vec<Appended>,
    after: Frontier,
    archive: ArchiveFrontier,
}

impl NoteTree {
    /// The tree at genesis, whose header has this hash. `notes` are positions of subtrees that have the wallet's notes.
    fn of_genesis(
        genesis: &Genesis,
        header_hash: Fr,
        notes: &BTreeSet<u64>,
    ) -> Result<Self, PxeError> {
        let empty = Edge::of(0, &Frontier::new());
        let (tip, step) = (empty.clone(), empty);
        let mut tree = Self { tip, step, marks: vec![], nodes: vec![], archive: vec![] };
        let (appended, after) = leaves::of_genesis(genesis)?;
        let archive = ArchiveFrontier::genesis(header_hash);
        tree.apply(Growth { block: 0, appended, after, archive }, notes);
        Ok(tree)
    }

    /// What a block does to the tree, once its root is known to be that of the block's header, and the header to follow
    /// the blocks that were read.
    pub(super) fn growth(&self, block: &rollmill_protocol::BlockData) -> Result<Growth, PxeError> {
        let number = block.header.block_number;
        let damaged = || PxeError::NoTree { block: self.tip.block };
        let tip = self.tip.frontier().ok_or_else(damaged)?;
        let (appended, after) = leaves::of_block(&tip, block)?;
        let count = self.tip.block.saturating_add(1);
        let archive = ArchiveFrontier::of(count, self.archive.clone()).ok_or_else(damaged)?;
        let archive = leaves::archived(&archive, &block.header)?;
        Ok(Growth { block: number, appended, after, archive })
    }

    /// Adds a block. `notes` are positions of subtrees that have unspent notes, those of the block too; what no path of
    /// them needs is dropped.
    pub(super) fn apply(&mut self, growth: Growth, notes: &BTreeSet<u64>) {
        let Growth { block, appended, after, archive } = growth;
        self.tip = Edge::of(block, &after);
        self.archive = archive.nodes().to_vec();
        if block.is_multiple_of(ANCHOR_STEP) {
            self.step = self.tip.clone();
        }
        self.marks.retain(|marked| notes.contains(&marked.position));
        self.nodes.retain(|node| frontier::is_needed(notes, node.level, node.index));
        let right = frontier::kept(&appended, notes);
        self.nodes.extend(right.map(|node| Right {
            level: node.level,
            index: node.index,
            value: node.value,
        }));
        let own = appended.into_iter().filter(|appended| notes.contains(&appended.position));
        self.marks.extend(own.map(|Appended { position, mark, .. }| Marked {
            position,
            leaves: mark.leaves.to_vec(),
            left: mark.left,
        }));
    }

    /// Siblings of a leaf in the tree after a block, lowest first; `None` for other blocks than the last one and the
    /// last one that an anchor may name.
    fn path(&self, leaf_index: u64, block: u64) -> Option<Vec<Fr>> {
        let edge = [&self.tip, &self.step].into_iter().find(|edge| edge.block == block)?;
        let position = leaf_index >> NOTE_SUBTREE_HEIGHT;
        let marked = self.marks.iter().find(|marked| marked.position == position)?;
        let leaves = marked.leaves.as_slice().try_into().ok()?;
        let mark = Mark { leaves, left: marked.left.clone() };
        edge.frontier()?.path(leaf_index, &mark, |level, index| {
            let is_it = |node: &&Right| (node.level, node.index) == (level, index);
            self.nodes.iter().find(is_it).map(|node| node.value)
        })
    }
}

impl Wallet {
    /// Positions of the subtrees that have notes which are not spent in a block.
    pub(super) fn positions(&self) -> BTreeSet<u64> {
        let unspent = self.state.notes.iter().filter(|note| note.spent_in.is_none());
        unspent.map(|note| note.leaf_index >> NOTE_SUBTREE_HEIGHT).collect()
    }

    /// Starts the tree at genesis, whose notes were read.
    pub(super) fn start_tree(&mut self, genesis: &Genesis) -> Result<(), PxeError> {
        let header_hash = self.genesis_header_hash()?;
        self.state.tree = Some(NoteTree::of_genesis(genesis, header_hash, &self.positions())?);
        Ok(())
    }

    /// Hash of the genesis header, by which the state names its network.
    fn genesis_header_hash(&self) -> Result<Fr, PxeError> {
        from_hex(&self.state.network).map_err(|_| PxeError::state("it names no network"))
    }

    /// Reads the leaves of all blocks again if an earlier release wrote the state, which has no tree.
    pub(super) async fn catch_up_with_tree(&mut self, node: &NodeClient) -> Result<(), PxeError> {
        if self.state.tree.is_some() {
            return Ok(());
        }
        let genesis = node.genesis().await.map_err(node_error)?;
        let notes = self.positions();
        let mut tree = NoteTree::of_genesis(&genesis, self.genesis_header_hash()?, &notes)?;
        let mut next = 1;
        while next < self.state.next_block {
            let count = BLOCKS.min(self.state.next_block - next);
            let blocks = node.block_effects(next, count).await.map_err(node_error)?;
            if blocks.is_empty() {
                return Err(PxeError::Node(format!("it has no block {next} any more")));
            }
            self.check_tip(node).await?;
            for (number, block) in (next..self.state.next_block).zip(&blocks) {
                let growth = tree.growth(&leaves::decoded(number, block)?)?;
                tree.apply(growth, &notes);
                next = number + 1;
            }
        }
        self.state.tree = Some(tree);
        Ok(())
    }

    /// The path of a note under the anchor's note root. No node is asked.
    ///
    /// # Errors
    /// [`PxeError::NoTree`] when the wallet's tree is not that of the anchor.
    pub(super) fn note_path(
        &self,
        own: &OwnedNote,
        leaf: &Fr,
        anchor: &Header,
    ) -> Result<Vec<Fr>, PxeError> {
        let block = anchor.block_number;
        let path = self.state.tree.as_ref().and_then(|tree| tree.path(own.leaf_index, block));
        let root = &anchor.state.tx_state.note_root;
        let path = path.filter(|path| root_from_path(leaf, own.leaf_index, path) == *root);
        path.ok_or(PxeError::NoTree { block })
    }
}
