//! Blocks on L1 whose data no source has for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollmill_service::Shutdown;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::follow::four_blocks;
use super::{MemoryL1, TestNode};
use crate::{L1Event, L1Events, L1Position, L1SourceError, L1Update, Node, follow};

/// An L1 that withholds the data of some blocks for a number of attempts each.
struct Withheld {
    l1: MemoryL1,
    /// Attempts without data that are left, by block.
    left: BTreeMap<u64, u32>,
    node: Arc<Node>,
    /// What the node reported as missing at each attempt, and whether the source had nothing newer at the one before.
    seen: UnboundedSender<(Option<u64>, bool)>,
    is_at_head: bool,
}

impl L1Events for Withheld {
    async fn next(&mut self, known: &[L1Position]) -> Result<Option<L1Update>, L1SourceError> {
        let _ = self.seen.send((self.node.data_missing(), self.is_at_head));
        let next = self.l1.step(known);
        self.is_at_head = next.is_none();
        let Some(L1Update::Extend { events, .. }) = &next else { return Ok(next) };
        for (_, event) in events {
            let L1Event::BlockProposed(block) = event else { continue };
            let Some(left) = self.left.get_mut(&block.block_number).filter(|left| **left > 0)
            else {
                continue;
            };
            *left -= 1;
            let (block, reason) = (block.block_number, "no source is configured".to_owned());
            return Err(L1SourceError::DataMissing { block, versioned_hash: [1; 32], reason });
        }
        Ok(next)
    }
}

/// Goal: a block whose data is missing holds the node before it, visibly, and is no rejected block; it is followed once
/// a source has the data. Until the node is at L1's head again it reports a block as missing, so that nobody builds on a
/// tip that is behind. Method: the data of blocks 2 and 3 is missing at two attempts each, and what the node reports is
/// read before every attempt.
#[tokio::test]
async fn a_block_whose_data_is_missing_is_waited_for() {
    let (l1, _) = four_blocks();
    let test = TestNode::new();
    let registry = rollmill_service::prometheus::Registry::new();
    test.node.register_metrics(&registry).unwrap();
    let shown = || {
        let families = registry.gather();
        let name = "rollmill_node_data_missing_block";
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].get_gauge().get_value() as u64
    };
    let (seen, mut attempts) = unbounded_channel();
    let (node, left) = (Arc::clone(&test.node), BTreeMap::from([(2, 2), (3, 2)]));
    let source = Withheld { l1, left, node: Arc::clone(&node), seen, is_at_head: false };
    let shutdown = Shutdown::new();
    let task = tokio::spawn(follow(node, source, Duration::from_millis(1), shutdown.clone()));
    let mut reported = Vec::new();
    loop {
        let (missing, was_at_head) = attempts.recv().await.unwrap();
        if was_at_head {
            assert_eq!(missing, None);
            break;
        }
        reported.push(missing);
    }
    shutdown.start();
    task.await.unwrap().unwrap();
    reported.dedup();
    assert_eq!(reported, [None, Some(2), Some(3)]);
    assert_eq!((test.pending(), test.proven(), shown()), (4, 2, 0));
    assert_eq!(test.node.tips().rejected, None);
}

/// Goal: what holds the node is shown for as long as it does.
#[tokio::test]
async fn the_block_that_is_waited_for_is_shown() {
    let (l1, _) = four_blocks();
    let test = TestNode::new();
    let (seen, mut attempts) = unbounded_channel();
    let (node, left) = (Arc::clone(&test.node), BTreeMap::from([(2, u32::MAX)]));
    let source = Withheld { l1, left, node: Arc::clone(&node), seen, is_at_head: false };
    let shutdown = Shutdown::new();
    let task = tokio::spawn(follow(node, source, Duration::from_millis(1), shutdown.clone()));
    while attempts.recv().await.unwrap().0.is_none() {}
    assert_eq!((test.pending(), test.node.data_missing()), (1, Some(2)));
    shutdown.start();
    task.await.unwrap().unwrap();
}
