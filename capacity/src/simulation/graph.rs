//! The jobs of epochs, as the prover node plans them.

use rollmill_protocol::circuit::Circuit;
use rollmill_protocol::plan::{EpochPlan, Subject};

use super::Setup;

/// No job.
pub(super) const NONE: u32 = u32::MAX;

/// A job, as far as it never changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Place in [`Circuit::ALL`].
    pub(super) work: u8,
    pub(super) epoch: u32,
    /// Proofs on the path to the root, its own included: what the prover node sends.
    pub(super) rank: u32,
    /// [`NONE`] for the root.
    pub(super) parent: u32,
    pub(super) children: u8,
    /// When the block with its inputs lands; for a job with children the time is theirs.
    pub(super) lands: f64,
}

/// All jobs of all epochs.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// The root of each epoch.
    pub(super) roots: Vec<u32>,
}

impl Graph {
    pub(super) fn new(setup: &Setup) -> Self {
        let mut graph = Self::default();
        for (epoch, load) in setup.epochs.iter().enumerate() {
            let counts: Vec<usize> = load.blocks.iter().map(|block| block.txs).collect();
            // An epoch without a block has no proof, and no root below.
            let Some(plan) = EpochPlan::new(&counts) else {
                graph.roots.push(NONE);
                continue;
            };
            let base = u32::try_from(graph.nodes.len()).unwrap_or(NONE);
            for node in &plan.nodes {
                let block = match node.subject {
                    Subject::Tx { block, .. }
                    | Subject::Txs { block, .. }
                    | Subject::Block { block } => block,
                    Subject::Blocks { last, .. } => last,
                    Subject::Epoch => load.blocks.len() - 1,
                };
                graph.nodes.push(Node {
                    work: work_of(node.circuit),
                    epoch: epoch as u32,
                    rank: node.steps_to_root as u32,
                    parent: node.parent.map_or(NONE, |parent| base + parent as u32),
                    children: node.children.len() as u8,
                    lands: load.blocks[block].lands,
                });
            }
            graph.roots.push(base + plan.root() as u32);
        }
        graph
    }

    /// When each epoch's root is ready on as many agents as there are jobs, in seconds of the simulation: the longest path,
    /// with `seconds` per circuit. The children of a job come before it in the list.
    pub(super) fn critical(&self, seconds: impl Fn(u8) -> f64) -> Vec<f64> {
        let mut ready: Vec<f64> = self.nodes.iter().map(|node| node.lands).collect();
        for (place, node) in self.nodes.iter().enumerate() {
            ready[place] += seconds(node.work);
            if node.parent != NONE {
                let parent = node.parent as usize;
                ready[parent] = ready[parent].max(ready[place]);
            }
        }
        self.roots.iter().map(|root| ready.get(*root as usize).copied().unwrap_or(0.0)).collect()
    }

    /// The longest path to the root in seconds for each rank, by which an epoch's remaining path is estimated: the most
    /// that any job of that rank still has before it, its own time included.
    pub(super) fn paths(&self, epoch: u32, seconds: impl Fn(u8) -> f64) -> Vec<f64> {
        let mut path = vec![0.0; self.nodes.len()];
        let mut of_rank: Vec<f64> = vec![0.0];
        for (place, node) in self.nodes.iter().enumerate().rev() {
            if node.epoch != epoch {
                continue;
            }
            let above = path.get(node.parent as usize).copied().unwrap_or(0.0);
            path[place] = above + seconds(node.work);
            let rank = node.rank as usize;
            if of_rank.len() <= rank {
                of_rank.resize(rank + 1, 0.0);
            }
            of_rank[rank] = of_rank[rank].max(path[place]);
        }
        of_rank
    }
}

pub(super) fn work_of(circuit: Circuit) -> u8 {
    Circuit::ALL.iter().position(|other| *other == circuit).unwrap_or_default() as u8
}
