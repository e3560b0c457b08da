//! The circuits by name, and the canonical graph of proofs of an epoch.

use rollmill_algebra::{Fr, poseidon2};

use crate::domain;
use crate::tree::parents;

/// Makes the enum of the circuits, the list of all and their names of one table.
macro_rules! circuits {
    ($($(#[$doc:meta])* $circuit:ident $name:literal,)+) => {
        /// A circuit, which is also a type of job and a place in the verification-key tree.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Circuit {
            $($(#[$doc])* $circuit,)+
        }

        impl Circuit {
            /// Every circuit; a circuit's place here is its role and its index in the key tree.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$circuit),+];

            /// The name, which is also the job type.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$circuit => $name,)+
                }
            }
        }
    };
}

circuits! {
    Client "client",
    TxBase "tx_base",
    TxMerge "tx_merge",
    /// A block without transactions.
    BlockRoot0 "block_root_0",
    /// A block of one range.
    BlockRoot1 "block_root_1",
    /// A block of two ranges.
    BlockRoot2 "block_root_2",
    BlockMerge "block_merge",
    /// An epoch of one range.
    EpochRoot1 "epoch_root_1",
    /// An epoch of two ranges.
    EpochRoot2 "epoch_root_2",
}

impl Circuit {
    /// The circuit of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|circuit| circuit.name() == name)
    }

    /// Index in the key tree, and the role in its leaf.
    pub fn role(self) -> u64 {
        self as u64
    }

    /// Number of proofs a proof of this circuit verifies.
    pub const fn child_count(self) -> usize {
        match self {
            Self::Client | Self::BlockRoot0 => 0,
            Self::TxBase | Self::BlockRoot1 | Self::EpochRoot1 => 1,
            Self::TxMerge | Self::BlockRoot2 | Self::BlockMerge | Self::EpochRoot2 => 2,
        }
    }

    /// Circuits whose proofs this circuit accepts, the same for each of its children.
    ///
    /// BlockRoot of one range takes a TxBase only, and EpochRoot of one range a BlockRoot only: two or more
    /// are proven by the variant for two, so that the rows charged do not depend on a choice.
    pub const fn accepts(self) -> &'static [Self] {
        use Circuit::*;
        match self {
            Client | BlockRoot0 => &[],
            TxBase => &[Client],
            BlockRoot1 => &[TxBase],
            TxMerge | BlockRoot2 => &[TxBase, TxMerge],
            EpochRoot1 => &[BlockRoot0, BlockRoot1, BlockRoot2],
            BlockMerge | EpochRoot2 => &[BlockRoot0, BlockRoot1, BlockRoot2, BlockMerge],
        }
    }
}

impl std::fmt::Display for Circuit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Height of the verification-key tree.
pub const VK_TREE_HEIGHT: usize = 4;

/// A leaf of the verification-key tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VkLeaf {
    pub circuit: Circuit,
    pub vk_digest: Fr,
    /// Base-2 logarithm of the number of rows.
    pub log_n: u64,
    /// Number of public inputs.
    pub n_public_inputs: u64,
    /// Rows that a proof is paid for.
    pub charged_rows: u64,
    pub protocol_version: u64,
}

impl VkLeaf {
    /// `hash(VK_LEAF, [role, vk_digest, log_n, n_public_inputs, charged_rows, protocol_version])`.
    pub fn hash(&self) -> Fr {
        poseidon2::hash(
            domain::VK_LEAF,
            &[
                self.circuit.role().into(),
                self.vk_digest,
                self.log_n.into(),
                self.n_public_inputs.into(),
                self.charged_rows.into(),
                self.protocol_version.into(),
            ],
        )
    }
}

/// The verification-key tree: levels from the leaves to the root; absent leaves are zero.
pub fn vk_tree(leaves: &[VkLeaf]) -> Vec<Vec<Fr>> {
    let mut row = vec![Fr::from(0u64); 1 << VK_TREE_HEIGHT];
    for leaf in leaves {
        row[leaf.circuit as usize] = leaf.hash();
    }
    let mut levels = vec![row];
    for level in 0..VK_TREE_HEIGHT {
        levels.push(parents(&levels[level]));
    }
    levels
}

/// Rows that a proof of each circuit is paid for, as in its key leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChargedRows {
    pub tx_base: u64,
    pub tx_merge: u64,
    /// By number of children.
    pub block_root: [u64; 3],
    pub block_merge: u64,
    /// By number of children less one.
    pub epoch_root: [u64; 2],
}

impl ChargedRows {
    /// Rows charged up to the BlockRoot of a block with this many transactions: every TxBase, the
    /// merges that leave at most two ranges, and BlockRoot. `None` on overflow.
    pub fn block(&self, tx_count: u64) -> Option<u64> {
        let root = self.block_root[usize::try_from(tx_count.min(2)).ok()?];
        let merges = self.tx_merge.checked_mul(tx_count.saturating_sub(2))?;
        self.tx_base.checked_mul(tx_count)?.checked_add(merges)?.checked_add(root)
    }

    /// Rows charged in an epoch proof of blocks with these numbers of transactions; `None` when
    /// there is no block, or on overflow.
    pub fn epoch(&self, tx_counts: &[u64]) -> Option<u64> {
        let blocks = tx_counts.iter().try_fold(0u64, |sum, n| sum.checked_add(self.block(*n)?))?;
        let root = self.epoch_root.get(tx_counts.len().min(2).checked_sub(1)?)?;
        let merges = (tx_counts.len() as u64).saturating_sub(2);
        self.block_merge.checked_mul(merges)?.checked_add(blocks)?.checked_add(*root)
    }
}

/// What a proof of the plan is about. Blocks and transactions are counted from 0 within the epoch
/// range and within the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One transaction.
    Tx { block: usize, tx: usize },
    /// Transactions `first..=last` of a block.
    Txs { block: usize, first: usize, last: usize },
    /// One block.
    Block { block: usize },
    /// Blocks `first..=last`.
    Blocks { first: usize, last: usize },
    /// The whole range.
    Epoch,
}

/// One proof of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanNode {
    pub circuit: Circuit,
    pub subject: Subject,
    /// Indices of the children in [`EpochPlan::nodes`], left first; all below this node's.
    pub children: Vec<usize>,
    /// Index of the parent; `None` for the root.
    pub parent: Option<usize>,
    /// Number of proofs on the way from here to the root, the root's included: the rank.
    pub steps_to_root: usize,
}

/// The canonical graph of proofs: children stand before their parent and the root is last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochPlan {
    pub nodes: Vec<PlanNode>,
}

impl EpochPlan {
    /// The plan for blocks with these numbers of transactions; `None` when there is no block.
    ///
    /// While more than two ranges remain, neighbours are merged pairwise from the left and an odd
    /// one passes up; then the root takes the one or two that are left.
    pub fn new(tx_counts: &[usize]) -> Option<Self> {
        let mut plan = Self { nodes: Vec::new() };
        let mut blocks = Vec::with_capacity(tx_counts.len());
        for (block, n) in tx_counts.iter().enumerate() {
            let bases = (0..*n)
                .map(|tx| plan.push(Circuit::TxBase, Subject::Tx { block, tx }, vec![]))
                .collect();
            let ranges = plan.merge(bases, Circuit::TxMerge);
            let circuit =
                [Circuit::BlockRoot0, Circuit::BlockRoot1, Circuit::BlockRoot2][ranges.len()];
            blocks.push(plan.push(circuit, Subject::Block { block }, ranges));
        }
        let ranges = plan.merge(blocks, Circuit::BlockMerge);
        let circuit =
            *[Circuit::EpochRoot1, Circuit::EpochRoot2].get(ranges.len().checked_sub(1)?)?;
        plan.push(circuit, Subject::Epoch, ranges);
        for i in (0..plan.nodes.len()).rev() {
            let steps = plan.nodes[i].parent.map_or(0, |parent| plan.nodes[parent].steps_to_root);
            plan.nodes[i].steps_to_root = steps + 1;
        }
        Some(plan)
    }

    /// Index of the root.
    pub fn root(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Number of proofs of a circuit.
    pub fn count(&self, circuit: Circuit) -> usize {
        self.nodes.iter().filter(|node| node.circuit == circuit).count()
    }

    fn push(&mut self, circuit: Circuit, subject: Subject, children: Vec<usize>) -> usize {
        let index = self.nodes.len();
        for child in &children {
            self.nodes[*child].parent = Some(index);
        }
        self.nodes.push(PlanNode { circuit, subject, children, parent: None, steps_to_root: 0 });
        index
    }

    /// Merges neighbours until at most two are left.
    fn merge(&mut self, mut row: Vec<usize>, circuit: Circuit) -> Vec<usize> {
        while row.len() > 2 {
            row = row
                .chunks(2)
                .map(|pair| match *pair {
                    [left, right] => {
                        let subject = spanning(self.nodes[left].subject, self.nodes[right].subject);
                        self.push(circuit, subject, vec![left, right])
                    }
                    _ => pair[0],
                })
                .collect();
        }
        row
    }
}

/// The subject from the start of `left` to the end of `right`.
fn spanning(left: Subject, right: Subject) -> Subject {
    let bounds = |subject| match subject {
        Subject::Tx { block, tx } => (Some(block), tx, tx),
        Subject::Txs { block, first, last } => (Some(block), first, last),
        Subject::Block { block } => (None, block, block),
        Subject::Blocks { first, last } => (None, first, last),
        Subject::Epoch => (None, 0, 0),
    };
    let ((block, first, _), (_, _, last)) = (bounds(left), bounds(right));
    match block {
        Some(block) => Subject::Txs { block, first, last },
        None => Subject::Blocks { first, last },
    }
}
