//! A node whose disk is full.

use std::sync::Arc;
use std::time::Duration;

use rollmill_service::{Shutdown, one_line};
use rollmill_service_testing::SmallDisk;

use super::follow::four_blocks;
use super::{TestNode, dump, open, settings, sync};
use crate::{NodeError, follow};

/// Enough for the database of some blocks.
const DISK: u64 = 16 << 20;
/// More blocks than the file of the database has space for inside.
const BLOCKS: u64 = 400;

/// Goal: a node on a full disk ends with an error that names its database and says what to do, keeps what it committed,
/// and goes on once there is space.
#[tokio::test]
async fn a_node_on_a_full_disk_says_which_and_goes_on_with_space() {
    let name = "tests::disk::a_node_on_a_full_disk_says_which_and_goes_on_with_space";
    let Some(disk) = SmallDisk::of_test(name, DISK) else { return };
    let (mut l1, mut proposer) = four_blocks();
    let node = open(settings(disk.path())).unwrap();
    sync(&node, &l1);
    assert_eq!(node.tips().pending.block_number, 4);

    disk.fill(&[]);
    let mut ids = 100..;
    let failed = loop {
        let txs: Vec<u64> = ids.by_ref().take(3).collect();
        assert!(txs[0] < 100 + 3 * BLOCKS, "the disk is not full");
        l1.mine(vec![proposer.event(&txs)]);
        let update = l1.step(&node.known_positions().unwrap()).unwrap();
        if let Err(error) = node.apply(&update) {
            break error;
        }
    };
    let line = one_line(&failed);
    let file = disk.path().join("node.redb").display().to_string();
    assert!(line.starts_with("NODE-004: ") && line.contains(&file), "{line}");
    assert!(line.contains("check the disk's space"), "{line}");
    let kept = node.tips().pending.block_number;
    // The process ends with such an error, too.
    let followed =
        follow(Arc::clone(&node), l1.clone(), Duration::from_millis(1), Shutdown::new()).await;
    assert!(matches!(followed, Err(NodeError::Database { .. })), "{followed:?}");
    drop(node);

    disk.free(&[]);
    let node = open(settings(disk.path())).unwrap();
    // The last block may have been committed before the pool's part of the update failed.
    let opened = node.tips().pending.block_number;
    assert!(opened == kept || opened == kept + 1, "{opened} after {kept}");
    sync(&node, &l1);
    assert_eq!(node.tips().pending.header_hash, proposer.header.hash());
    assert_eq!(dump(&node), dump(&TestNode::synced(&l1).node));
}
