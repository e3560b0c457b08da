//! Following L1: execution, restarts, reorganisations, prunes, bad blocks and forgetting. Messages: `messages.rs`.

use std::sync::Arc;
use std::time::Duration;

use rollmill_node_client::wire::BlockRef;
use rollmill_protocol::tree::{IndexedTree, Overlay, StateRead, Tree, append, indexed};
use rollmill_protocol::{BlobFr, BlockBuilder, Commitment, EthAddress, Fr, WorldState, blob};
use rollmill_service::Shutdown;

use super::support::{self, value};
use super::{MemoryL1, Proposer, TestNode, dump, open, settings, sync};
use crate::{Data, L1Event, L1Position, L1Update, NodeError, ProposedBlock, QueryError, follow};

/// Four blocks on L1, the first two proven.
pub(super) fn four_blocks() -> (MemoryL1, Proposer) {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    for ids in [&[0, 1][..], &[2], &[], &[3, 4, 5]] {
        l1.mine(vec![proposer.event(ids)]);
        l1.mine_empty(1);
    }
    l1.mine(vec![L1Event::EpochProven { last_block: 2 }]);
    (l1, proposer)
}

#[test]
fn published_blocks_are_executed_and_both_tips_follow() {
    let (l1, proposer) = four_blocks();
    let test = TestNode::synced(&l1);
    assert_eq!((test.pending(), test.proven()), (4, 2));
    assert_eq!(test.node.tips().pending.header_hash, proposer.header.hash());
    assert_eq!(test.node.tips().l1_block, l1.head().number);

    let block = test.node.block(4).unwrap().unwrap();
    assert_eq!(block.record.header, proposer.header);
    assert_eq!(block.record.commitment, Commitment([0xcc; 48]));
    assert_eq!(
        block.opening().z,
        blob::blob_z(&proposer.header.txs_chain, &block.record.commitment)
    );
    assert_eq!(block.note_start_index(1), proposer.header.state.tx_state.note_count - 16);
    assert_eq!(test.node.block(5).unwrap(), None);
    let by_hash = test.node.block_record(BlockRef::Hash(block.record.header_hash)).unwrap();
    assert_eq!(by_hash.unwrap().header.block_number, 4);
    assert_eq!(test.node.genesis_header(), &support::start().0);
}

/// Goal: the state after every kept block can be read and built on, as a prover node does.
/// Method: replay block 4 with full transactions over the state after block 3.
#[test]
fn any_recent_block_can_be_replayed_over_its_parents_state() {
    let (l1, _) = four_blocks();
    let test = TestNode::synced(&l1);
    for number in 1..=4u64 {
        let block = test.node.block(number).unwrap().unwrap();
        let parent = test.node.block(number - 1).unwrap().unwrap().record.header;
        let state = test.node.state_at(number - 1).unwrap();
        let env = support::env(&parent);
        let mut builder =
            BlockBuilder::new(&parent, Overlay::new(&state), test.node.config(), env).unwrap();
        let first = [0, 2, 0, 3][number as usize - 1];
        for i in 0..block.txs.len() as u64 {
            builder.apply(&support::tx(first + i, parent.hash())).unwrap();
        }
        assert_eq!(builder.finish().unwrap().0.header, block.record.header);
        let header = block.record.header;
        let after = test.node.state_at(number).unwrap();
        let root = append::node(&after, Tree::Notes, Tree::Notes.height(), 0).unwrap();
        assert_eq!(root, header.state.tx_state.note_root);
        WorldState::at(after, &header).unwrap();
    }
    // A key of a later block does not show in an earlier state.
    let spent = value(2, 6);
    let has = |block| {
        let state = test.node.state_at(block).unwrap();
        indexed::contains(&state, IndexedTree::Nullifiers, &spent).unwrap()
    };
    assert_eq!([has(3), has(4)], [false, true]);
    let hash = test.node.tips().pending.header_hash;
    assert_eq!(test.node.state_at(3).unwrap().block_of_header(&hash).unwrap(), None);
}

#[test]
fn a_restart_at_any_point_resumes_and_ends_in_the_same_database() {
    let (l1, _) = four_blocks();
    let whole = TestNode::synced(&l1);
    let mut test = TestNode::new();
    while let Some(update) = l1.step(&test.node.known_positions().unwrap()) {
        test.node.apply(&update).unwrap();
        let tips = test.node.tips();
        test = test.restart();
        assert_eq!(test.node.tips(), tips);
    }
    assert_eq!(dump(&test.node), dump(&whole.node));
}

#[test]
fn an_update_that_fails_leaves_nothing_behind() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    l1.mine(vec![proposer.event(&[0]), L1Event::EpochProven { last_block: 2 }]);
    let test = TestNode::new();
    let before = dump(&test.node);
    let update = l1.step(&test.node.known_positions().unwrap()).unwrap();
    let error = test.node.apply(&update).unwrap_err();
    assert!(matches!(error, NodeError::Inconsistent { .. }), "{error}");
    assert_eq!(dump(&test.node), before);
    let to = test.node.settings().l1_start;
    let back = L1Update::Extend { to, time: 0, finalized: None, events: vec![] };
    assert!(matches!(test.node.apply(&back), Err(NodeError::Inconsistent { .. })));
    let stranger = L1Position { number: 0, hash: [9; 32] };
    let stranger = L1Update::Rewind { to: stranger };
    assert!(matches!(test.node.apply(&stranger), Err(NodeError::Inconsistent { .. })));
}

/// Goal: after a reorganisation of any depth the node cannot be distinguished from one that never saw
/// the other branch.
#[test]
fn a_rewound_database_is_the_one_of_a_fresh_sync() {
    let (l1, _) = four_blocks();
    for depth in 0..=l1.head().number {
        let mut other = l1.fork(depth);
        // What the proposer had built by then, rebuilt.
        let mut fork = Proposer::new();
        let built = depth.div_ceil(2);
        for ids in [&[0, 1][..], &[2], &[], &[3, 4, 5]].iter().take(built as usize) {
            fork.event(ids);
        }
        // A transaction of both branches if there is space for it, and one of this branch alone.
        other.mine(vec![fork.event(if built < 4 { &[4, 9] } else { &[9] })]);
        other.mine(vec![fork.event(&[]), fork.event(&[11])]);
        let test = TestNode::synced(&l1);
        sync(&test.node, &other);
        let fresh = TestNode::synced(&other);
        assert_eq!(test.node.tips(), fresh.node.tips(), "depth {depth}");
        assert_eq!(dump(&test.node), dump(&fresh.node), "depth {depth}");
        // And back again to the first branch, which is shorter or longer.
        sync(&test.node, &l1);
        let fresh = TestNode::synced(&l1);
        assert_eq!(dump(&test.node), dump(&fresh.node), "back from depth {depth}");
    }
}

/// Goal: an operator sees how often L1 is reorganised, and how deep. Method: by one block, and back.
#[test]
fn reorganisations_are_counted_with_what_they_take_back() {
    let (l1, _) = four_blocks();
    let test = TestNode::synced(&l1);
    let registry = rollmill_service::prometheus::Registry::new();
    test.node.register_metrics(&registry).unwrap();
    let shown = || {
        ["rollmill_node_l1_reorgs_total", "rollmill_node_l1_reorg_blocks_total"].map(|name| {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == name).unwrap();
            family.get_metric()[0].get_counter().get_value().round() as u64
        })
    };
    assert_eq!(shown(), [0, 0]);
    let head = l1.head().number;
    let mut other = l1.fork(head - 1);
    other.mine_empty(3);
    sync(&test.node, &other);
    assert_eq!(shown(), [1, 1]);
    sync(&test.node, &l1);
    assert_eq!(shown(), [2, 1 + 3]);
}

/// Goal: blocks that a prune removed come back when L1 takes the prune back.
#[test]
fn a_prune_is_followed_and_so_is_its_undoing() {
    let (l1, _) = four_blocks();
    let mut pruned = l1.clone();
    let mut proposer = Proposer::new();
    proposer.event(&[0, 1]);
    proposer.event(&[2]);
    // Pruned and built anew inside one L1 block: the low tip shows in no record's pending tip.
    pruned.mine(vec![L1Event::Pruned { proven_tip: 2 }, proposer.event(&[7])]);
    pruned.mine(vec![proposer.event(&[8])]);
    let test = TestNode::synced(&l1);
    sync(&test.node, &pruned);
    assert_eq!((test.pending(), test.proven()), (4, 2));
    assert_eq!(test.node.tips().pending.header_hash, proposer.header.hash());
    let fresh = TestNode::synced(&pruned);
    assert_eq!(dump(&test.node), dump(&fresh.node));

    for (depth, blocks) in [(l1.head().number + 1, 3), (l1.head().number, 4)] {
        let mut undone = pruned.fork(depth);
        undone.mine_empty(3);
        let test = TestNode::synced(&pruned);
        sync(&test.node, &undone);
        assert_eq!(test.pending(), blocks);
        assert_eq!(dump(&test.node), dump(&TestNode::synced(&undone).node));
    }
}

#[test]
fn a_reorganisation_beyond_the_kept_past_starts_anew() {
    let (mut l1, mut proposer) = four_blocks();
    l1.mine(vec![L1Event::EpochProven { last_block: 4 }]);
    l1.mine_empty(70);
    l1.mine(vec![proposer.event(&[6])]);
    let test = TestNode::with(|settings| settings.state_blocks = 1);
    sync(&test.node, &l1);
    assert!(test.node.state_at(1).is_err());
    let mut other = l1.fork(1);
    other.mine_empty(2);
    sync(&test.node, &other);
    assert_eq!((test.pending(), test.proven()), (1, 0));
    assert_eq!(dump(&test.node), dump(&TestNode::synced(&other).node));
}

#[test]
fn old_states_are_forgotten_only_when_proven_for_good() {
    let (mut l1, mut proposer) = four_blocks();
    let test = TestNode::with(|settings| settings.state_blocks = 2);
    l1.mine_empty(1);
    sync(&test.node, &l1);
    let size = dump(&test.node).len();
    // The proof of block 2 is not final: every state is there.
    test.node.state_at(0).unwrap();
    l1.mine_empty(65);
    sync(&test.node, &l1);
    let gone = test.node.state_at(1).unwrap_err();
    assert!(matches!(gone, QueryError::StateGone { block: 1, oldest: 2 }), "{gone}");
    assert!(dump(&test.node).len() < size + 66);
    // Blocks 3 and 4 are unproven, so that 2 stays however far the chain goes.
    l1.mine(vec![proposer.event(&[]), proposer.event(&[]), proposer.event(&[12])]);
    sync(&test.node, &l1);
    assert!(test.node.state_at(1).is_err());
    for number in 2..=7 {
        let header = test.node.block(number).unwrap().unwrap().record.header;
        let state = test.node.state_at(number).unwrap();
        let refs = header.state.tx_state;
        for (tree, expected) in [
            (Tree::Notes, refs.note_root),
            (Tree::Nullifiers, refs.nullifier_root),
            (Tree::PublicData, refs.public_data_root),
        ] {
            let leaf = append::node(&state, tree, 0, 1).unwrap();
            let path = append::path(&state, tree, 0, 1).unwrap();
            let root = rollmill_protocol::tree::root_from_path(&leaf, 1, &path);
            assert_eq!(root, expected, "{tree:?} after {number}");
        }
    }
    assert!(matches!(test.node.state_at(8), Err(QueryError::UnknownBlock { .. })));
}

/// Goal: retention follows what L1 reports as final, however far that is behind, and not a number of
/// blocks of this program's choice.
#[test]
fn states_and_client_proofs_are_kept_until_l1_has_finalized_their_proof() {
    let (l1, mut proposer) = four_blocks();
    let mut l1 = l1.finalizing(500);
    let test = TestNode::with(|settings| settings.state_blocks = 2);
    l1.mine_empty(300);
    sync(&test.node, &l1);
    assert_eq!(test.node.tips().finalized.block_number, 0);
    test.node.state_at(0).unwrap();
    l1.mine_empty(300);
    l1.mine(vec![proposer.event(&[6])]);
    sync(&test.node, &l1);
    let tips = test.node.tips();
    assert_eq!((tips.finalized.block_number, tips.proven.block_number), (2, 2));
    let gone = test.node.state_at(1).unwrap_err();
    assert!(matches!(gone, QueryError::StateGone { block: 1, oldest: 2 }), "{gone}");
    let finalized = test.node.block_record(BlockRef::Finalized).unwrap().unwrap();
    assert_eq!(finalized.header_hash, tips.finalized.header_hash);
    // An L1 that finalizes fast.
    let (l1, _) = four_blocks();
    let test = TestNode::synced(&l1.finalizing(0));
    assert_eq!(test.node.tips().finalized.block_number, 2);
}

/// Every way in which a block on L1 can be wrong, with the code of its rejection.
fn bad_blocks(good: &ProposedBlock) -> Vec<(ProposedBlock, &'static str)> {
    let one = Fr::from(1u64);
    let Data::Blob(bytes) = &good.data else { panic!("a block with transactions") };
    let with = |data: Data| ProposedBlock { data, ..good.clone() };
    let words = blob::decode_words(bytes).unwrap();
    // Coefficients that are other words, and as the source returns them: with the right hash.
    let changed = |at: usize, to: Fr| {
        let mut words = words.clone();
        words[at] = to;
        with(Data::Blob(blob::encode_words(&words).unwrap()))
    };
    let mut cut = bytes.clone();
    cut.pop();
    // The constant polynomial q − 1 of BLS12-381: canonical there, and above r.
    let mut q_less_1 =
        hex::decode("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000").unwrap();
    q_less_1 = q_less_1.repeat(blob::BLOB_WORDS);
    let spent = {
        // Built on genesis, where transaction 0 is not there yet.
        let L1Event::BlockProposed(block) = Proposer::new().event(&[0]) else { unreachable!() };
        ProposedBlock { block_number: 2, slot: good.slot, ..block }
    };
    let empty = ProposedBlock { tx_count: 0, data: Data::None, ..good.clone() };
    vec![
        (ProposedBlock { block_number: 3, ..good.clone() }, "NODE-030"),
        (with(Data::Missing), "NODE-036: data missing"),
        (with(Data::None), "NODE-033: the number of transactions"),
        (with(Data::Blob(cut)), "NODE-032: the data is not a block: "),
        (with(Data::Blob(vec![])), "NODE-032"),
        // An element that is not below q.
        (with(Data::Blob(vec![0xff; blob::BLOB_BYTES])), "NODE-032"),
        (with(Data::Blob(q_less_1)), "NODE-032"),
        // Behind the last transaction, and a log without a tag.
        (changed(blob::TX_WORDS, one), "NODE-032"),
        (changed(24 + 2 * 5, one), "NODE-032"),
        // Another nullifier: another transaction.
        (changed(0, value(7, 7)), "NODE-033: the header hash"),
        // An absent first nullifier.
        (changed(0, Fr::from(0u64)), "NODE-032"),
        (ProposedBlock { tx_count: 33, ..good.clone() }, "NODE-032"),
        (ProposedBlock { tx_count: 2, ..good.clone() }, "NODE-032"),
        (empty, "NODE-033: the sum of fees"),
        (ProposedBlock { header_hash: one, ..good.clone() }, "NODE-033: the header hash"),
        (ProposedBlock { slot: 77, ..good.clone() }, "NODE-033: the header hash"),
        (ProposedBlock { slot: 1, ..good.clone() }, "NODE-034"),
        (
            ProposedBlock { coinbase: EthAddress([1; 20]), ..good.clone() },
            "NODE-033: the header hash",
        ),
        (ProposedBlock { total_fees: 1, ..good.clone() }, "NODE-033: the sum of fees"),
        (ProposedBlock { out_root: one, ..good.clone() }, "NODE-033: the root of messages to L1"),
        (spent, "NODE-034"),
        (ProposedBlock { archive_root: one, ..good.clone() }, "NODE-033: the archive root"),
        (ProposedBlock { z: one, ..good.clone() }, "NODE-033: the point of the blob's opening"),
        (
            ProposedBlock { y: BlobFr::from(1u64), ..good.clone() },
            "NODE-033: the value of the blob's opening",
        ),
        // The point depends on the commitment.
        (
            ProposedBlock { commitment: Commitment([1; 48]), ..good.clone() },
            "NODE-033: the point of the blob's opening",
        ),
        (ProposedBlock { chain: one, ..good.clone() }, "NODE-033: the chain"),
    ]
}

/// Goal: prices and times are rules: a block whose proposer stated others has another header.
#[test]
fn a_block_at_other_prices_is_rejected() {
    let mut genesis = support::genesis();
    genesis.config.min_fee_per_gas = 3;
    let mut l1 = MemoryL1::new();
    l1.mine(vec![Proposer::of(&genesis).event(&[])]);
    let test = TestNode::synced(&l1);
    assert_eq!(test.pending(), 0);
    assert!(test.node.tips().rejected.unwrap().reason.starts_with("NODE-033: the header hash"));
}

#[test]
fn a_bad_block_is_rejected_reported_and_left_behind_once_pruned() {
    let mut proposer = Proposer::new();
    let first = proposer.event(&[0]);
    let L1Event::BlockProposed(good) = proposer.event(&[1]) else { unreachable!() };
    for (bad, code) in bad_blocks(&good) {
        let mut l1 = MemoryL1::new();
        l1.mine(vec![first.clone()]);
        l1.mine(vec![L1Event::BlockProposed(bad)]);
        let before_bad = l1.clone();
        l1.mine(vec![L1Event::BlockProposed(good.clone())]);
        let test = TestNode::synced(&l1);
        let tips = test.node.tips();
        assert_eq!(tips.pending.block_number, 1, "{code}");
        let rejected = tips.rejected.unwrap();
        assert_eq!(rejected.l1_block, 2);
        assert!(rejected.reason.starts_with(code), "{} is not {code}", rejected.reason);

        // It is still reported after a restart, and gone once L1 pruned it.
        let test = test.restart();
        assert_eq!(test.node.tips().rejected, Some(rejected));
        l1.mine(vec![L1Event::Pruned { proven_tip: 1 }, L1Event::BlockProposed(good.clone())]);
        sync(&test.node, &l1);
        assert_eq!((test.pending(), test.node.tips().rejected), (2, None));

        // A reorganisation that removes it does the same.
        let test = TestNode::synced(&before_bad);
        assert!(test.node.tips().rejected.is_some());
        let mut other = before_bad.fork(1);
        other.mine(vec![L1Event::BlockProposed(good.clone())]);
        sync(&test.node, &other);
        assert_eq!((test.pending(), test.node.tips().rejected), (2, None));
    }
}

/// Goal: a prune lets the node pass a block whose data is missing. When L1 takes the prune back, the node is not
/// stuck behind the block, and follows it if its data is there now.
#[test]
fn a_block_whose_data_is_missing_is_passed_with_its_prune_and_followed_when_the_prune_is_taken_back()
 {
    let mut proposer = Proposer::new();
    let first = proposer.event(&[0]);
    let L1Event::BlockProposed(whole) = proposer.event(&[1]) else { unreachable!() };
    let third = proposer.event(&[2]);
    let missing = ProposedBlock { data: Data::Missing, ..whole.clone() };
    let mut without = MemoryL1::new();
    without.mine(vec![first.clone()]);
    without.mine_empty(1);
    let mut found = without.clone();
    without.mine(vec![L1Event::BlockProposed(missing)]);
    found.mine(vec![L1Event::BlockProposed(whole)]);
    for l1 in [&mut without, &mut found] {
        l1.mine(vec![third.clone()]);
        l1.mine_empty(2);
    }
    let before_prune = without.head().number;
    without.mine(vec![L1Event::Pruned { proven_tip: 1 }]);
    let test = TestNode::synced(&without);
    assert_eq!((test.pending(), test.node.tips().rejected), (1, None));
    let mut rebuilt = Proposer::new();
    rebuilt.event(&[0]);
    let mut continued = without.clone();
    continued.mine(vec![rebuilt.event(&[5])]);
    sync(&test.node, &continued);
    assert_eq!(test.node.tips().pending.header_hash, rebuilt.header.hash());

    // The prune is gone: the blocks before it are as they were, and their data is there.
    let mut other = found.fork(before_prune);
    other.branch = 9;
    other.mine_empty(3);
    sync(&test.node, &other);
    assert_eq!(test.pending(), 3);
    assert_eq!(dump(&test.node), dump(&TestNode::synced(&other).node));
}

/// Goal: the blocks that this node executed stay valid, and it does not follow a block that it rejects.
#[test]
fn a_proof_of_a_rejected_block_moves_no_tip_beyond_what_was_executed() {
    let (mut l1, mut proposer) = (MemoryL1::new(), Proposer::new());
    l1.mine(vec![proposer.event(&[0])]);
    let L1Event::BlockProposed(good) = proposer.event(&[1]) else { unreachable!() };
    l1.mine(vec![L1Event::BlockProposed(ProposedBlock { slot: 9, ..good })]);
    l1.mine(vec![L1Event::EpochProven { last_block: 2 }]);
    let test = TestNode::synced(&l1);
    assert_eq!((test.pending(), test.proven()), (1, 1));
    assert!(test.node.tips().rejected.is_some());
}

#[test]
fn a_data_directory_of_another_deployment_is_rejected() {
    let (l1, _) = four_blocks();
    let test = TestNode::synced(&l1);
    let mut other = test.node.settings().clone();
    let TestNode { node, dir } = test;
    // Open in this process, so no other may open it.
    let error = open(settings(dir.path())).unwrap_err();
    assert!(matches!(error, NodeError::InUse { .. }), "{error}");
    drop(node);
    other.genesis.config.genesis_time += 1;
    let error = open(other).unwrap_err();
    assert!(matches!(error, NodeError::OtherDeployment { .. }), "{error}");
    let mut other = settings(dir.path());
    other.l1_start.hash = [1; 32];
    let error = open(other).unwrap_err();
    assert!(matches!(error, NodeError::OtherDeployment { .. }), "{error}");
    assert_eq!(open(settings(dir.path())).unwrap().tips().pending.block_number, 4);
}

#[test]
fn a_database_of_protocol_1_is_rejected_with_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.redb");
    let store = crate::store::Store::open(&path).unwrap();
    store.write(|tables| tables.set_meta("schema", &1u64.to_be_bytes())).unwrap();
    drop(store);
    let error = open(settings(dir.path())).unwrap_err().to_string();
    assert!(error.starts_with("NODE-003: ") && error.contains("protocol 1"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("node.redb"), vec![7; 9000]).unwrap();
    let error = open(settings(dir.path())).unwrap_err();
    assert!(error.to_string().starts_with("NODE-001"), "{error}");
}

/// Goal: a full disk is one line that says what to do, at the start and in the middle of the work,
/// and what was committed before is there when there is space again.
///
/// Method: the test runs itself under a limit on file sizes, as `ulimit -f` sets it, with the signal
/// ignored that would come with the error.
#[test]
fn a_full_disk_is_an_error_with_advice_and_loses_nothing() {
    const DIR: &str = "ROLLMILL_TEST_FULL_DISK";
    if let Some(dir) = std::env::var_os(DIR) {
        return on_a_full_disk(std::path::Path::new(&dir));
    }
    let limited = |dir: &std::path::Path, bytes: u64| {
        let output = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh"])
            // In units of 512 bytes, as POSIX has it.
            .arg((bytes / 512).to_string())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("tests::follow::a_full_disk_is_an_error_with_advice_and_loses_nothing")
            .env(DIR, dir)
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
        let line = shown.lines().find_map(|line| line.split_once("refused: ").map(|(_, l)| l));
        line.unwrap_or_else(|| panic!("the child was not refused: {shown}")).to_owned()
    };
    let empty = tempfile::tempdir().unwrap();
    let line = limited(empty.path(), 4096);
    assert!(line.starts_with("NODE-001: ") && line.contains("the disk's space"), "{line}");

    let (l1, _) = four_blocks();
    let TestNode { node, dir } = TestNode::synced(&l1);
    drop(node);
    let size = std::fs::metadata(dir.path().join("node.redb")).unwrap().len();
    let line = limited(dir.path(), size);
    assert!(line.starts_with("NODE-004: ") && line.contains("the disk's space"), "{line}");
    assert_eq!(open(settings(dir.path())).unwrap().tips().pending.block_number, 4);
}

/// Writes until the limit is reached, and prints the error.
fn on_a_full_disk(dir: &std::path::Path) {
    let error = (|| {
        drop(open(settings(dir))?);
        let store = crate::store::Store::open(&dir.join("node.redb"))?;
        // More than the database's file can hold without growing.
        (0..64).try_for_each(|_| store.write(|tables| tables.set_meta("ballast", &[7; 1 << 20])))
    })()
    .unwrap_err();
    println!("refused: {}", rollmill_service::one_line(&error));
}

#[tokio::test]
async fn the_loop_follows_until_shutdown() {
    let (l1, _) = four_blocks();
    let test = TestNode::new();
    let shutdown = Shutdown::new();
    let mut tips = test.node.watch_tips();
    let node = Arc::clone(&test.node);
    let task = tokio::spawn(follow(node, l1, Duration::from_millis(1), shutdown.clone()));
    tips.wait_for(|tips| tips.proven.block_number == 2).await.unwrap();
    shutdown.start();
    task.await.unwrap().unwrap();
    assert_eq!(test.pending(), 4);
}

/// Goal: no block of L1 fills a log or the output of a failed test with its blob.
#[test]
fn debug_output_of_a_block_is_short() {
    let L1Event::BlockProposed(block) = Proposer::new().event(&[0, 1, 2]) else { unreachable!() };
    let Data::Blob(bytes) = block.data.clone() else { unreachable!() };
    let data = [Data::Blob(bytes), Data::None, Data::Missing].map(|data| format!("{data:?}"));
    assert!(data[0].contains("131072 bytes, SHA-256 0x"), "{data:?}");
    assert!(data.iter().all(|text| text.len() < 100), "{data:?}");
    for shown in [format!("{block:?}"), format!("{:?}", L1Event::BlockProposed(block.clone()))] {
        assert!(shown.len() < 1_500, "{} bytes: {shown}", shown.len());
    }
}
