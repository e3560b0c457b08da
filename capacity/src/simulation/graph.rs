//! The jobs of epochs, as the prover node plans them.

use rollmill_broker_client::{PATH_MS_MAX, path_ms};
use rollmill_protocol::circuit::Circuit;
use rollmill_protocol::plan::{EpochPlan, Subject};

use super::{Machine, Setup};

/// No job.
pub(super) const NONE: u32 = u32::MAX;

/// A job, as far as it never changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Place in [`Circuit::ALL`].
    pub(super) work: u8,
    pub(super) epoch: u32,
    /// Of the path to the root, its own proof included; see [`Setup::has_measured_ranks`].
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
            let ranks = ranks(&plan, setup);
            for (node, rank) in plan.nodes.iter().zip(ranks) {
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
                    rank,
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
}

/// The rank of each job of a plan, as its producer sends it. Jobs take what they take on a machine of the cluster.
fn ranks(plan: &EpochPlan, setup: &Setup) -> Vec<u32> {
    let speed = middle(&setup.machines);
    let own: Vec<u32> = match setup.has_measured_ranks {
        true => setup.works.iter().map(|work| path_ms([work.p50 / speed])).collect(),
        false => vec![1; setup.works.len()],
    };
    let mut ranks = vec![0_u32; plan.nodes.len()];
    // A parent comes after its children in the list.
    for (place, node) in plan.nodes.iter().enumerate().rev() {
        let above = node.parent.map_or(0, |parent| ranks[parent]);
        let rank = above.saturating_add(own[usize::from(work_of(node.circuit))]);
        ranks[place] = rank.min(PATH_MS_MAX as u32);
    }
    ranks
}

/// The median speed, of which the medians of a producer are.
fn middle(machines: &[Machine]) -> f64 {
    let mut speeds: Vec<f64> = machines.iter().map(|machine| machine.speed).collect();
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied().unwrap_or(1.0)
}

pub(super) fn work_of(circuit: Circuit) -> u8 {
    Circuit::ALL.iter().position(|other| *other == circuit).unwrap_or_default() as u8
}
