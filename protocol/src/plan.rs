//! The canonical graph of proofs of an epoch.

use crate::circuit::{Circuit, Family};

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

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tx { block, tx } => write!(f, "transaction {tx} of block {block}"),
            Self::Txs { block, first, last } => {
                write!(f, "transactions {first} to {last} of block {block}")
            }
            Self::Block { block } => write!(f, "block {block}"),
            Self::Blocks { first, last } => write!(f, "blocks {first} to {last}"),
            Self::Epoch => f.write_str("the whole range"),
        }
    }
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

/// The canonical graph of proofs: children precede their parent and the root is last.
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
            let circuit = Circuit::variant(Family::BlockRoot, ranges.len())
                .expect("merging leaves at most two runs");
            blocks.push(plan.push(circuit, Subject::Block { block }, ranges));
        }
        let ranges = plan.merge(blocks, Circuit::BlockMerge);
        // None without a block.
        let circuit = Circuit::variant(Family::EpochRoot, ranges.len())?;
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
