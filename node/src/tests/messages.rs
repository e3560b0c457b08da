//! Messages from L1: they belong to blocks, follow reorganisations, and are L1's.

use rollmill_protocol::Fr;
use rollmill_protocol::message::first_message_index;
use rollmill_protocol::tree::{Tree, append};

use super::support::{self, value};
use super::{MemoryL1, Proposer, TestNode, dump, sync};
use crate::{L1Event, Message, NodeError};

/// Messages on L1 before and between blocks, with deposits among them.
fn blocks_with_messages() -> (MemoryL1, Proposer) {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    l1.mine(vec![proposer.deposit(support::user(0), 50), proposer.message(value(8, 0))]);
    l1.mine(vec![proposer.event(&[0]), proposer.deposit(support::user(1), 60)]);
    // 64 messages fill a block's number.
    l1.mine((0..66).map(|i| proposer.deposit(support::user(i), 100 + i)).collect());
    l1.mine(vec![proposer.event(&[1])]);
    l1.mine(vec![proposer.event(&[2])]);
    l1.mine(vec![proposer.deposit(support::user(2), 70)]);
    l1.mine(vec![proposer.event(&[])]);
    (l1, proposer)
}

#[test]
fn messages_are_appended_by_their_blocks_and_known_before() {
    let (l1, proposer) = blocks_with_messages();
    let test = TestNode::synced(&l1);
    assert_eq!(test.node.tips().pending.header_hash, proposer.header.hash());
    let mut some = 0;
    for block in 1..=6 {
        let leaves = proposer.inbox.leaves(block);
        assert_eq!(test.node.messages(block).unwrap(), leaves, "block {block}");
        some += usize::from(!leaves.is_empty());
        if block > 4 {
            continue;
        }
        let state = test.node.state_at(4).unwrap();
        let first = first_message_index(block).unwrap();
        for (index, leaf) in (first..).zip(leaves) {
            assert_eq!(append::node(&state, Tree::Messages, 0, index).unwrap(), *leaf);
        }
    }
    assert!(some >= 3, "{some} blocks with messages");
    let test = test.restart();
    assert_eq!(test.node.messages(2).unwrap(), proposer.inbox.leaves(2));
}

/// Goal: messages of a branch that L1 left are gone, and those of the other one are there, whichever blocks were
/// built on both.
#[test]
fn a_reorganisation_that_changes_messages_is_followed() {
    let (l1, _) = blocks_with_messages();
    for depth in 0..l1.head().number {
        let mut other = l1.fork(depth);
        let mut fork = Proposer::new();
        // A fork before everything, with other messages and blocks.
        if depth == 0 {
            other.mine(vec![fork.deposit(support::user(3), 1), fork.event(&[7])]);
            other.mine(vec![fork.event(&[8]), fork.message(value(8, 9))]);
        } else {
            other.mine_empty(2);
        }
        let test = TestNode::synced(&l1);
        sync(&test.node, &other);
        assert_eq!(dump(&test.node), dump(&TestNode::synced(&other).node), "depth {depth}");
        sync(&test.node, &l1);
        assert_eq!(dump(&test.node), dump(&TestNode::synced(&l1).node), "back from {depth}");
    }
}

/// Goal: L1 enforces the messages of a block, so that others are a fault of the source and not of the block.
#[test]
fn messages_that_contradict_a_block_or_each_other_are_a_fault_of_the_source() {
    let mut proposer = Proposer::new();
    let L1Event::MessageSent(first) = proposer.deposit(support::user(0), 5) else { unreachable!() };
    let L1Event::MessageSent(second) = proposer.message(value(8, 0)) else { unreachable!() };
    let blocks = [proposer.event(&[]), proposer.event(&[])];
    let sent = |messages: &[Message]| {
        let events = messages.iter().map(|message| L1Event::MessageSent(*message));
        events.chain(blocks.clone()).collect::<Vec<_>>()
    };
    let other = Message { leaf: value(8, 1), ..second };
    let elsewhere = Message { index: 63, ..first };
    let beyond = Message { index: 128, ..first };
    let absent = Message { leaf: Fr::from(0u64), ..first };
    for wrong in [
        &[first][..],
        &[],
        &[first, other],
        &[second],
        &[first, first],
        &[first, second, second],
        &[elsewhere],
        &[beyond],
        &[absent],
        &[Message { block: 0, index: 0, ..first }],
    ] {
        let mut l1 = MemoryL1::new();
        l1.mine(sent(wrong));
        let test = TestNode::new();
        let before = dump(&test.node);
        let update = l1.step(&test.node.known_positions().unwrap()).unwrap();
        let error = test.node.apply(&update).unwrap_err();
        assert!(matches!(error, NodeError::Inconsistent { .. }), "{wrong:?}: {error}");
        assert_eq!(dump(&test.node), before);
    }
    let mut l1 = MemoryL1::new();
    l1.mine(sent(&[first, second]));
    assert_eq!(TestNode::synced(&l1).pending(), 2);
}
