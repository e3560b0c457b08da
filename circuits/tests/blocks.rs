//! BlockRoot, BlockMerge and EpochRoot: they equal their plain twins, and each rule refuses what
//! breaks it.

use rollmill_algebra::Fr;
use rollmill_circuits::block_merge;
use rollmill_circuits::block_root::{self, BlockRootWitness};
use rollmill_circuits::epoch_root::{self, EpochRootWitness};
use rollmill_circuits::gadgets::effects::publish;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::check;
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::public_inputs::{BlockRangeLayout, EpochRootLayout, TxRangeLayout};
use rollmill_protocol::vk_tree::VK_TREE_HEIGHT;
use rollmill_protocol::{BlockRange, Circuit, Config, Constants, EpochRoot, Pair, TxRange};

use crate::common::mutate::{Free, Mutator};
use crate::common::parts::{lay_block_root as root_over, runs};
use crate::common::{
    BlockCase, chain, config, constants, constants_vars, opened, outcome, pair_vars, rows, small,
    value,
};

/// The runs that BlockRoot gets for this block.
fn ranges(case: &BlockCase) -> Vec<TxRange> {
    runs(case.tx_ranges(constants()))
}

fn root(ranges: &[TxRangeLayout<Fr>], w: &BlockRootWitness) -> Builder {
    let headers = [w.block.parent.layout(), w.block.header.layout()];
    root_over(ranges, w, headers)
}

fn native(case: &BlockCase, chain_before: Fr) -> BlockRange {
    let link = case.block.chain_link(chain_before, &case.opening());
    let (ranges, pair) = (ranges(case), Pair::trivial());
    BlockRange::of_block(&ranges, &case.block, &link, constants(), &config(), &rows(), pair)
        .unwrap()
}

/// Block ranges of consecutive blocks.
fn block_ranges(tx_counts: &[u64]) -> Vec<BlockRange> {
    let mut chain_before = Fr::from(0u64);
    chain(tx_counts)
        .iter()
        .map(|case| {
            let range = native(case, chain_before);
            chain_before = range.chain_end;
            range
        })
        .collect()
}

#[test]
fn block_root_states_what_its_twin_states() {
    for tx_count in 0..=4u64 {
        let case = chain(&[tx_count]).remove(0);
        let ranges = ranges(&case);
        let w = case.block_root_witness(ranges.len(), value(9, 1));
        let layouts: Vec<_> = ranges.iter().map(TxRange::layout).collect();
        let (layout, witness) = root(&layouts, &w).finish(None).unwrap();
        assert_eq!(check(&layout, &witness), Ok(()), "{tx_count} transactions");
        assert_eq!(witness.public, native(&case, value(9, 1)).to_fields());
    }
}

/// The block under test, the second, so that its parent is no genesis, with its ranges and its witness.
fn second(tx_count: u64) -> (BlockCase, Vec<TxRangeLayout<Fr>>, BlockRootWitness) {
    let case = chain(&[1, tx_count]).remove(1);
    let layouts: Vec<_> = ranges(&case).iter().map(TxRange::layout).collect();
    let w = case.block_root_witness(layouts.len(), value(9, 1));
    (case, layouts, w)
}

fn rejected(
    tx_count: u64,
    change: impl Fn(&mut Vec<TxRangeLayout<Fr>>, &mut BlockRootWitness),
) -> bool {
    let (_, mut layouts, mut w) = second(tx_count);
    change(&mut layouts, &mut w);
    outcome(root(&layouts, &w)).is_err()
}

/// Duty 10: every hash and path of the block fits the number; only its range refuses it.
#[test]
fn a_header_with_a_number_beyond_its_range_is_rejected() {
    let (_, _, w) = second(0);
    let start = config().genesis_time;
    for (slot, good) in [((1 << 48) - 1, true), (1 << 48, false)] {
        let mut headers = [w.block.parent.layout(), w.block.header.layout()];
        headers[1].slot = Fr::from(slot);
        headers[1].timestamp = Fr::from(start + 12 * slot);
        assert_eq!(outcome(root_over(&[], &w, headers)).is_ok(), good, "{slot}");
    }
}

/// Duty 12: the running hash starts at zero, and the header names where it ends.
#[test]
fn a_run_that_is_not_the_whole_block_is_rejected() {
    let one = Fr::from(1u64);
    for tx_count in 1..=3 {
        assert!(!rejected(tx_count, |_, _| ()));
        assert!(rejected(tx_count, |r, _| r[0].txs_chain_start += one));
        assert!(rejected(tx_count, |r, _| r.last_mut().unwrap().txs_chain_end += one));
        assert!(rejected(tx_count, |r, _| r[0].fees_sum += one));
        assert!(rejected(tx_count, |r, _| r[0].tx_count += one));
        assert!(rejected(tx_count, |r, _| r[0].start.note_count += one));
        assert!(rejected(tx_count, |r, _| r.last_mut().unwrap().end.nullifier_root += one));
        assert!(rejected(tx_count, |r, _| r.iter_mut().for_each(|r| r.constants.version += one)));
    }
    assert!(rejected(2, |r, _| r.swap(0, 1)));
    assert!(rejected(2, |r, _| r[1] = r[0].clone()));
}

/// Goal: no word of a range is idle. Method: change each of all ranges; the block is rejected, or its link is another.
/// Only the power that shifts words behind the last transaction shifts none.
#[test]
fn every_word_of_a_range_is_compared_or_linked() {
    for tx_count in [1, 2] {
        let (_, layouts, w) = second(tx_count);
        let honest = root(&layouts, &w).finish(None).unwrap().1.public;
        for (i, name) in TxRangeLayout::<Fr>::cell_names().iter().enumerate() {
            if name.starts_with("pair.") || name.starts_with("pow_") {
                continue;
            }
            let mut changed = layouts.clone();
            for range in &mut changed {
                let mut cells = range.to_vec();
                cells[i] += Fr::from(1u64);
                *range = TxRangeLayout::from_slice(&cells).unwrap();
            }
            let (layout, witness) = root(&changed, &w).finish(None).unwrap();
            let same = witness.public == honest;
            assert!(check(&layout, &witness).is_err() || !same, "{name}, {tx_count} transactions");
            let is_y = name.starts_with("y_");
            assert_eq!(check(&layout, &witness).is_ok(), is_y, "{name}: only y is linked freely");
        }
    }
}

/// Duty 10, and that a block has one shape of proof.
#[test]
fn an_empty_run_or_a_run_of_two_in_the_circuit_for_one_is_rejected() {
    assert!(rejected(2, |r, _| r[0].tx_count = Fr::from(0u64)));
    assert!(rejected(1, |r, w| {
        r[0].tx_count = Fr::from(2u64);
        w.block.header.tx_count = 2;
    }));
    let more = |left: u64, right: u64| {
        rejected(2, |r, w| {
            (r[0].tx_count, r[1].tx_count) = (Fr::from(left), Fr::from(right));
            w.block.header.tx_count = left + right;
        })
    };
    assert!(!more(16, 16) && more(32, 1) && more(16, 17), "at most 32 transactions");
}

/// As [`rejected`], for a header that is changed together with everything that hashes it: only a
/// rule about the header can reject it.
#[test]
fn headers_that_do_not_follow_are_rejected() {
    assert!(!rejected(0, |_, w| {
        w.block.header.slot += 1;
        w.block.header.timestamp += 12;
    }));
    assert!(rejected(0, |_, w| w.block.header.slot += 1), "without its time");
    for off in [1, u64::MAX] {
        assert!(rejected(0, |_, w| {
            let time = &mut w.block.header.timestamp;
            *time = time.wrapping_add(off);
        }));
        assert!(rejected(0, |_, w| {
            let price = &mut w.block.header.fee_per_l2_gas;
            *price = price.wrapping_add(off);
        }));
        assert!(rejected(0, |_, w| {
            let price = &mut w.block.header.fee_per_da_gas;
            *price = price.wrapping_add(off);
        }));
    }
    assert!(rejected(0, |_, w| {
        w.block.header.slot = w.block.parent.slot;
        w.block.header.timestamp = w.block.parent.timestamp;
    }));
    assert!(rejected(0, |_, w| w.block.header.block_number += 1));
    assert!(rejected(0, |_, w| w.block.header.chain_id += 1));
    assert!(rejected(0, |_, w| w.block.header.version += 1));
    assert!(rejected(0, |_, w| w.block.header.last_archive_root = value(9, 2)));
    assert!(rejected(0, |_, w| w.block.header.in_hash = Fr::from(1u64)));
    assert!(rejected(0, |_, w| w.block.header.out_root = Fr::from(1u64)));
    assert!(rejected(0, |_, w| w.block.header.state.message_root = value(9, 2)));
    assert!(rejected(0, |_, w| w.block.header.state.message_count += 1));
}

/// Attacks: another word of the parameters, which the constants do not hash to; and both together, which L1 rejects
/// since it has the hash.
#[test]
fn other_parameters_are_rejected() {
    type Change = fn(&mut Config);
    let changes: [Change; 9] = [
        |c| c.genesis_time += 1,
        |c| c.slot_seconds += 1,
        |c| c.slots_per_epoch += 1,
        |c| c.l2_gas_limit -= 1,
        |c| c.l2_gas_target /= 2,
        |c| c.da_gas_limit -= 1,
        |c| c.da_gas_target /= 2,
        |c| c.min_fee_per_gas += 1,
        |c| c.message_subtree_height += 1,
    ];
    for (i, change) in changes.iter().enumerate() {
        assert!(rejected(0, |_, w| change(&mut w.block.config)), "word {i}");
        // With its hash only the height, a literal, and what the block shows of the words is rejected.
        let with_hash = rejected(0, |_, w| {
            change(&mut w.block.config);
            w.block.constants.config_hash = w.block.config.hash();
        });
        let shown = [0, 1, 4, 6, 8].contains(&i);
        assert_eq!(with_hash, shown, "word {i} with its hash");
    }
}

/// Gas of the block at its limits, and beyond by one.
#[test]
fn a_block_beyond_a_limit_of_gas_is_rejected() {
    let header = second(1).0.block.header;
    let limited = |l2: u64, da: u64| {
        rejected(1, |r, w| {
            (w.block.config.l2_gas_limit, w.block.config.da_gas_limit) = (l2, da);
            let hash = w.block.config.hash();
            w.block.constants.config_hash = hash;
            r[0].constants.config_hash = hash;
        })
    };
    let (l2, da) = (header.l2_gas_used, header.da_gas_used);
    assert!(!limited(l2, da));
    assert!(limited(l2 - 1, da) && limited(l2, da - 1));
}

/// Attacks on the messages: left out, added, in another order, at another place, or with a gap that leaves the hash.
#[test]
fn messages_other_than_those_of_l1_are_rejected() {
    let message = value(15, 1);
    assert!(!rejected(0, |_, _| ()));
    assert!(rejected(0, |_, w| w.block.messages.clear()), "left out");
    assert!(rejected(0, |_, w| w.block.messages.push(message)), "added");
    assert!(rejected(0, |_, w| w.block.messages[0] += Fr::from(1u64)), "another");
    assert!(rejected(0, |_, w| w.block.messages.insert(0, Fr::from(0u64))), "after a gap");
    assert!(rejected(0, |_, w| w.block.message_path[0] = message), "at another place");
    assert!(rejected(0, |_, w| w.block.parent.state.message_count += 64));
    // The first block has three messages; in another order they have another hash.
    let case = chain(&[0]).remove(0);
    let mut w = case.block_root_witness(0, value(9, 1));
    assert_eq!(outcome(root(&[], &w)), Ok(()));
    w.block.messages.swap(0, 1);
    assert!(outcome(root(&[], &w)).is_err(), "in another order");
}

/// Attacks on the data: another commitment than the one of z, z of the prover's choice, and data without transactions.
#[test]
fn data_at_another_point_or_of_another_commitment_is_rejected() {
    let one = Fr::from(1u64);
    for tx_count in 1..=2 {
        for byte in [0, 11, 12, 23, 24, 47] {
            assert!(rejected(tx_count, |_, w| w.block.commitment.0[byte] ^= 1), "byte {byte}");
        }
        assert!(rejected(tx_count, |r, _| r.iter_mut().for_each(|r| r.z += one)));
        // y of another transaction leaves the block provable, but gives it another link than L1's.
        let (case, layouts, w) = second(tx_count);
        let mut other = layouts.clone();
        other[0].y = value_of_another(&case);
        let (layout, witness) = root(&other, &w).finish(None).unwrap();
        assert_eq!(check(&layout, &witness), Ok(()));
        let end = BlockRangeLayout::<Fr>::indices().chain_end;
        assert_ne!(witness.public[end], native(&case, value(9, 1)).chain_end);
    }
    // Without transactions the words of the data are zero, whatever the witness has.
    let (_, _, mut w) = second(0);
    let honest = root(&[], &w).finish(None).unwrap().1.public;
    w.block.commitment.0[5] = 1;
    let (layout, witness) = root(&[], &w).finish(None).unwrap();
    assert_eq!((check(&layout, &witness), witness.public), (Ok(()), honest));
}

fn value_of_another(case: &BlockCase) -> rollmill_protocol::blob::HalvesLayout<Fr> {
    let mut y = case.tx_range(0, constants()).layout().y;
    y.lo = Fr::from(5u64);
    y
}

/// Shifted limbs: a half of y beyond its 128 bits runs into the part of the commitment behind it.
#[test]
fn a_half_of_y_beyond_128_bits_is_rejected() {
    let top = power_of_two(128);
    assert!(!rejected(1, |r, _| r[0].y.lo = top - Fr::from(1u64)));
    assert!(rejected(1, |r, _| r[0].y.lo = top));
    assert!(!rejected(1, |r, _| r[0].y.hi = top - Fr::from(1u64)));
    assert!(rejected(1, |r, _| r[0].y.hi = top));
    assert!(rejected(1, |r, _| r[0].y.hi = -Fr::from(1u64)));
}

/// An empty block binds its prover as TxBase does it for the others.
#[test]
fn a_prover_beyond_160_bits_is_rejected() {
    let (_, _, w) = second(0);
    for (prover, good) in [(power_of_two(160) - Fr::from(1u64), true), (power_of_two(160), false)] {
        let mut b = small(BlockRangeLayout::<Var>::CELLS);
        let mut constants = w.block.constants.layout();
        constants.prover_id = prover;
        let constants = constants.map(|v| b.witness(v));
        let pair = pair_vars(&mut b);
        let out = block_root::constrain(&mut b, constants, &[], pair, &w);
        publish(&mut b, &out.into_vec());
        assert_eq!(outcome(b).is_ok(), good, "{prover}");
    }
}

#[test]
fn a_block_without_transactions_keeps_the_state_and_takes_no_fee() {
    assert!(rejected(0, |_, w| w.block.header.state.tx_state.note_root = value(9, 2)));
    assert!(rejected(0, |_, w| w.block.header.state.tx_state.public_data_count += 1));
    assert!(rejected(0, |_, w| w.block.header.total_fees = 1));
    assert!(rejected(0, |_, w| w.block.header.l2_gas_used = 1));
    assert!(rejected(0, |_, w| w.block.header.da_gas_used = 1));
    assert!(rejected(0, |_, w| w.block.header.tx_count = 1));
    assert!(rejected(0, |_, w| w.block.header.txs_chain = value(9, 2)));
}

/// Duty 9: the parent is the archive's last leaf, and the header is appended right after it.
#[test]
fn a_parent_that_is_not_the_last_header_is_rejected() {
    let cases = chain(&[0, 0]);
    let w = cases[1].block_root_witness(0, value(9, 1));
    assert_eq!(outcome(root(&[], &w)), Ok(()));
    // Genesis as the parent of block 2's header, renumbered: the place of block 1 is taken.
    let mut skipped = w.clone();
    skipped.block.parent = cases[0].block.parent.clone();
    skipped.block.parent_path = {
        let mut path = w.block.parent_path.clone();
        path[0] = cases[0].block.header_hash;
        path
    };
    skipped.block.header.block_number = 1;
    skipped.block.append_path = w.block.parent_path.clone();
    assert!(outcome(root(&[], &skipped)).is_err());
    for change in [0, 1, 2, 3] {
        let mut w = w.clone();
        match change {
            0 => w.block.parent_path[0] += Fr::from(1u64),
            1 => w.block.append_path[2] += Fr::from(1u64),
            2 => w.archive_root_before = value(9, 3),
            _ => w.block.parent.slot -= 1,
        }
        assert!(outcome(root(&[], &w)).is_err(), "{change}");
    }
}

/// Duty 7: the rows of a proof are those in the key tree, at the place of its role.
#[test]
fn charged_rows_that_are_not_in_the_key_tree_are_rejected() {
    for leaf in 0..3 {
        assert!(rejected(2, |_, w| w.charges[leaf].leaf.charged_rows += 1));
        assert!(rejected(2, |_, w| w.charges[leaf] = opened(Circuit::BlockMerge)));
    }
    assert!(rejected(2, |_, w| w.block.constants.vk_root = value(9, 3)));
    assert!(rejected(2, |_, w| w.block.constants.protocol_version += 1));
}

#[test]
fn every_changed_cell_of_every_block_root_is_rejected() {
    for tx_count in 0..=2u64 {
        let case = chain(&[tx_count]).remove(0);
        let ranges = ranges(&case);
        let w = case.block_root_witness(ranges.len(), value(9, 1));
        let layouts: Vec<_> = ranges.iter().map(TxRange::layout).collect();
        let (layout, witness) = root(&layouts, &w).finish(None).unwrap();
        println!("BlockRoot{tx_count} without the verifier: {} rows", layout.rows_used);
        let free = Mutator::new(layout, witness).run(1);
        // Absent messages.
        assert_eq!(free.get(&Free::InverseOfZero), Some(&61));
    }
}

fn merged(children: [&BlockRangeLayout<Fr>; 2]) -> Builder {
    let mut b = small(BlockRangeLayout::<Var>::CELLS);
    let constants = constants_vars(&mut b);
    let pair = pair_vars(&mut b);
    let [left, right] = children.map(|child| child.clone().map(|v| b.witness(v)));
    let (circuit, charge) = (Circuit::BlockMerge, opened(Circuit::BlockMerge));
    let out = block_merge::join(&mut b, constants, circuit, &charge, [&left, &right], pair);
    publish(&mut b, &out.into_vec());
    b
}

fn epoch(children: &[BlockRangeLayout<Fr>], slots_per_epoch: u64) -> Builder {
    let mut b = small(EpochRootLayout::<Var>::CELLS);
    let config = Config { slots_per_epoch, ..config() };
    let constants = Constants { config_hash: config.hash(), ..constants() };
    // Ranges of a deployment with this number of slots; other changes stay.
    let children = children.iter().cloned().map(|mut child| {
        if child.constants.config_hash == crate::common::config().hash() {
            child.constants.config_hash = constants.config_hash;
        }
        child
    });
    let children: Vec<_> = children.map(|child| child.map(|v| b.witness(v))).collect();
    let constants_vars = constants.layout().map(|v| b.witness(v));
    let pair = pair_vars(&mut b);
    let w =
        EpochRootWitness { constants, config, charge: opened(epoch_root::variant(children.len())) };
    let out = epoch_root::constrain(&mut b, constants_vars, &children, pair, &w);
    publish(&mut b, &out.into_vec());
    b
}

#[test]
fn block_merge_and_epoch_root_state_what_their_twins_state() {
    let blocks = block_ranges(&[1, 0, 2]);
    let layouts: Vec<_> = blocks.iter().map(BlockRange::layout).collect();
    let (layout, witness) = merged([&layouts[0], &layouts[1]]).finish(None).unwrap();
    assert_eq!(check(&layout, &witness), Ok(()));
    let joined = blocks[0].join(&blocks[1], &rows(), Pair::trivial()).unwrap();
    assert_eq!(witness.public, joined.to_fields());

    for ranges in [vec![joined, blocks[2]], vec![blocks[1]]] {
        let layouts: Vec<_> = ranges.iter().map(BlockRange::layout).collect();
        let (layout, witness) = epoch(&layouts, 32).finish(None).unwrap();
        assert_eq!(check(&layout, &witness), Ok(()));
        let native = EpochRoot::of_ranges(&ranges, &config(), &rows(), Pair::trivial()).unwrap();
        assert_eq!(witness.public, native.to_fields());
    }
    assert_eq!(
        EpochRoot::of_ranges(&[joined, blocks[2]], &config(), &rows(), Pair::trivial())
            .unwrap()
            .num_constraints,
        rows().epoch(&[1, 0, 2]).unwrap()
    );
}

fn join_rejected(change: impl Fn(&mut BlockRangeLayout<Fr>, &mut BlockRangeLayout<Fr>)) -> bool {
    let blocks = block_ranges(&[0, 1]);
    let (mut left, mut right) = (blocks[0].layout(), blocks[1].layout());
    change(&mut left, &mut right);
    let in_merge = outcome(merged([&left, &right])).is_err();
    let in_root = outcome(epoch(&[left, right], 32)).is_err();
    assert_eq!(in_merge, in_root, "BlockMerge and EpochRoot join by one rule");
    in_merge
}

/// Duty 8: gaps, overlaps, swapped and repeated children, another chain, version or prover.
#[test]
fn runs_of_blocks_that_do_not_join_are_rejected() {
    let one = Fr::from(1u64);
    assert!(!join_rejected(|_, _| ()));
    assert!(join_rejected(std::mem::swap), "swapped");
    assert!(join_rejected(|l, r| *r = l.clone()), "repeated");
    assert!(join_rejected(|_, r| r.first_block += one), "gap");
    assert!(join_rejected(|l, _| l.last_block += one), "overlap");
    assert!(join_rejected(|_, r| r.prev_archive_root += one));
    assert!(join_rejected(|l, _| l.end_archive_root += one));
    assert!(join_rejected(|_, r| r.chain_start += one));
    assert!(join_rejected(|l, _| l.chain_end += one));
    assert!(join_rejected(|_, r| r.constants.prover_id += one), "another prover");
    assert!(join_rejected(|_, r| r.constants.config_hash += one), "other parameters");
    assert!(join_rejected(|_, r| r.constants.chain_id += one), "another chain");
    assert!(join_rejected(|_, r| r.constants.version += one), "another version");
    assert!(join_rejected(|_, r| r.constants.vk_root += one), "another key tree");
    assert!(join_rejected(|_, r| r.constants.protocol_version += one));
    assert!(join_rejected(|l, r| {
        l.constants.version += one;
        r.constants.version += one;
    }));
    assert!(join_rejected(|l, r| r.first_slot = l.last_slot), "no later slot");
}

/// Duty 10.
#[test]
fn empty_runs_and_counts_that_wrap_are_rejected() {
    let one = Fr::from(1u64);
    assert!(join_rejected(|l, _| l.first_block = l.last_block + one));
    assert!(join_rejected(|_, r| r.last_block = r.first_block - one));
    assert!(join_rejected(|l, _| l.num_constraints = Fr::from(u64::MAX)));
    assert!(join_rejected(|l, _| l.num_constraints = -Fr::from(1_000_000u64)));
    assert!(join_rejected(|l, r| {
        l.num_constraints = power_of_two(64) - one;
        r.num_constraints = one;
    }));
}

/// Duty 8: another epoch. Blocks 1 and 2 have slots 2 and 4.
#[test]
fn a_run_that_leaves_its_epoch_is_rejected() {
    let blocks = block_ranges(&[0, 0]);
    let both: Vec<_> = blocks.iter().map(BlockRange::layout).collect();
    for (slots, good) in
        [(5, true), (4, false), (3, false), (1, false), (0, false), (u64::MAX, true)]
    {
        assert_eq!(outcome(epoch(&both, slots)).is_ok(), good, "{slots} slots an epoch");
    }
    assert_eq!(outcome(epoch(&both[1..], 4)), Ok(()));
    assert!(outcome(epoch(&both[1..], 0)).is_err());
    let mut wide = both[1].clone();
    wide.first_slot = -Fr::from(1u64);
    assert!(outcome(epoch(&[wide], 4)).is_err());
}

/// As for two runs: constants, the bridge's hash and the count of rows.
#[test]
fn a_single_run_that_breaks_a_rule_is_rejected() {
    let one = Fr::from(1u64);
    let rejected = |change: &dyn Fn(&mut BlockRangeLayout<Fr>)| {
        let mut range = block_ranges(&[1])[0].layout();
        change(&mut range);
        outcome(epoch(&[range], 32)).is_err()
    };
    assert!(!rejected(&|_| ()));
    assert!(rejected(&|r| r.constants.chain_id += one));
    assert!(rejected(&|r| r.constants.version += one));
    assert!(rejected(&|r| r.constants.vk_root += one));
    assert!(rejected(&|r| r.constants.protocol_version += one));
    assert!(rejected(&|r| r.constants.prover_id += one));
    assert!(rejected(&|r| r.constants.config_hash += one));
    assert!(rejected(&|r| r.num_constraints = Fr::from(u64::MAX)));
    assert!(rejected(&|r| r.first_block = r.last_block + one));
}

/// Duty 10: rows charged that do not fit 64 bits, out of a key tree that says so.
#[test]
fn rows_of_a_block_that_do_not_fit_64_bits_are_rejected() {
    for (charged, good) in [(u64::MAX / 4, true), (u64::MAX, false)] {
        let is_rejected = rejected(2, |r, w| {
            let mut leaves = crate::common::leaves();
            leaves[Circuit::TxBase as usize].charged_rows = charged;
            let tree = rollmill_protocol::vk_tree::vk_tree(&leaves);
            w.block.constants.vk_root = tree[VK_TREE_HEIGHT][0];
            r.iter_mut().for_each(|r| r.constants.vk_root = tree[VK_TREE_HEIGHT][0]);
            for opened in &mut w.charges {
                let index = opened.leaf.circuit as usize;
                opened.leaf = leaves[index];
                opened.path = std::array::from_fn(|level| tree[level][(index >> level) ^ 1]);
            }
        });
        assert_eq!(is_rejected, !good, "{charged}");
    }
}

/// Two blocks under the root for one run would be paid differently from two runs.
#[test]
fn two_blocks_in_the_epoch_root_for_one_are_rejected() {
    let blocks = block_ranges(&[0, 0]);
    let joined = blocks[0].join(&blocks[1], &rows(), Pair::trivial()).unwrap();
    assert!(outcome(epoch(&[joined.layout()], 32)).is_err());
}

#[test]
fn every_changed_cell_of_block_merge_and_epoch_root_is_rejected() {
    let blocks = block_ranges(&[0, 1]);
    let layouts: Vec<_> = blocks.iter().map(BlockRange::layout).collect();
    for b in [merged([&layouts[0], &layouts[1]]), epoch(&layouts, 32), epoch(&layouts[..1], 32)] {
        let (layout, witness) = b.finish(None).unwrap();
        let free = Mutator::new(layout, witness).run(1);
        assert_eq!(free.get(&Free::InverseOfZero), None);
    }
}
