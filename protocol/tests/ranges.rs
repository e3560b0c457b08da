//! Public inputs, joins of ranges and the plan of an epoch.

use std::sync::LazyLock;

use ark_ec::{AffineRepr, CurveGroup};
use proptest::prelude::*;
use rollmill_algebra::bytes::{fq_to_bytes, fr_to_bytes};
use rollmill_algebra::{Fr, G1Affine};
use rollmill_protocol::block::ChainLinkLayout;
use rollmill_protocol::builder::Block;
use rollmill_protocol::header::HeaderLayout;
use rollmill_protocol::join::JoinError;
use rollmill_protocol::plan::Subject;
use rollmill_protocol::public_inputs::{PairLayout, TxRangeLayout};
use rollmill_protocol::tree::root_from_path;
use rollmill_protocol::vk_tree::{VkLeaf, vk_tree};
use rollmill_protocol::{
    BlobFr, BlockRange, ChainLink, ChargedRows, Circuit, ClientInputs, Commitment, Config,
    Constants, DecodeError, EpochPlan, EpochRoot, EthAddress, Header, Opening, Pair, TxRange,
};

use rollmill_protocol_testing::{FEE, builder, config, constants, start, tx, value};

/// Rows that no two sums of a few proofs share.
static ROWS: LazyLock<ChargedRows> =
    LazyLock::new(|| ChargedRows::new(|circuit| 1 << (4 * circuit.role())));
const COMMITMENT: Commitment = Commitment([0xc4; 48]);

fn pair(i: u64) -> Pair {
    let point = |k: u64| (G1Affine::generator() * Fr::from(k)).into_affine();
    Pair { l: point(2 * i + 1), s_l: value(6, i), r: point(2 * i + 2), s_r: value(7, i) }
}

/// Ranges of `counts[i]` transactions for block `i`, the blocks and their links.
struct Run {
    ranges: Vec<Vec<TxRange>>,
    blocks: Vec<(Block, ChainLink)>,
}

fn run(counts: &[u64]) -> Run {
    let (mut parent, mut store) = start();
    let (mut run, mut chain, mut i) = (Run { ranges: vec![], blocks: vec![] }, Fr::from(0u64), 0);
    for n in counts {
        let mut builder = builder(&parent, store);
        let mut made = Vec::new();
        for _ in 0..*n {
            let (tx, globals) = (tx(i, parent.hash()), builder.globals());
            made.push((i, builder.apply(&tx).unwrap(), tx.body, globals));
            i += 1;
        }
        let (block, next) = builder.finish().unwrap();
        let opening = block.opening(COMMITMENT);
        let link = block.chain_link(chain, &opening);
        let ranges = made.iter().map(|(i, transition, body, globals)| {
            TxRange::of_tx(transition, body, constants(), globals, opening.z, pair(*i))
        });
        run.ranges.push(ranges.collect());
        chain = link.chain();
        parent = block.header.clone();
        store = next;
        run.blocks.push((block, link));
    }
    run
}

fn block_range(run: &Run, i: usize, ranges: &[TxRange]) -> Result<BlockRange, JoinError> {
    let (block, link) = &run.blocks[i];
    root_of(ranges, block, link, i)
}

fn root_of(
    ranges: &[TxRange],
    block: &Block,
    link: &ChainLink,
    i: usize,
) -> Result<BlockRange, JoinError> {
    BlockRange::of_block(ranges, block, link, constants(), &config(), &ROWS, pair(50 + i as u64))
}

/// A config with epochs of this many slots, and constants that name it.
fn with_epochs(slots_per_epoch: u64, range: BlockRange) -> (Config, BlockRange) {
    let config = Config { slots_per_epoch, ..config() };
    let constants = Constants { config_hash: config.hash(), ..range.constants };
    (config, BlockRange { constants, ..range })
}

#[test]
fn layouts_have_the_sizes_the_circuits_are_built_for() {
    assert_eq!(ClientInputs::FIELDS, 16);
    assert_eq!(TxRange::FIELDS, 45);
    assert_eq!(BlockRange::FIELDS, 25);
    assert_eq!(EpochRoot::FIELDS, 24);
}

#[test]
fn an_epoch_of_blocks_with_0_1_and_3_transactions_joins_to_what_l1_expects() {
    let run = run(&[3, 0, 1]);
    let left = run.ranges[0][0].join(&run.ranges[0][1], pair(20)).unwrap();
    assert_eq!((left.tx_count, left.fees_sum), (2, 2 * u128::from(FEE)));
    let first = block_range(&run, 0, &[left, run.ranges[0][2]]).unwrap();
    let second = block_range(&run, 1, &[]).unwrap();
    let third = block_range(&run, 2, &run.ranges[2]).unwrap();
    let merged = first.join(&second, &ROWS, pair(30)).unwrap();
    let root = EpochRoot::of_ranges(&[merged, third], &config(), &ROWS, pair(40)).unwrap();

    assert_eq!(root.prev_archive_root, run.blocks[0].0.archive.append.root_before);
    assert_eq!(root.end_archive_root, run.blocks[2].0.archive.append.root_after);
    assert_eq!((root.first_block, root.last_block), (1, 3));
    assert_eq!(root.epoch, 0);
    assert_eq!(root.chain_start, Fr::from(0u64));
    assert_eq!(root.chain_end, run.blocks[2].1.chain());
    assert_eq!(Some(root.num_constraints), ROWS.epoch(&[3, 0, 1]));
    assert_eq!(EpochRoot::from_fields(&root.to_fields()).unwrap(), root);
    assert_eq!(BlockRange::from_fields(&merged.to_fields()).unwrap(), merged);
    assert_eq!(TxRange::from_fields(&left.to_fields()).unwrap(), left);

    // With three slots per epoch, slots 1, 2 and 3 would be in two epochs.
    let (short, merged_short) = with_epochs(3, merged);
    let (_, third_short) = with_epochs(3, third);
    let rejected = EpochRoot::of_ranges(&[merged_short, third_short], &short, &ROWS, pair(40));
    assert_eq!(rejected, Err(JoinError::Epoch { first: 1, last: 3, slots_per_epoch: 3 }));
    let (none, third_none) = with_epochs(0, third);
    assert!(EpochRoot::of_ranges(&[third_none], &none, &ROWS, pair(40)).is_err());
    let rejected = EpochRoot::of_ranges(&[third], &short, &ROWS, pair(40));
    assert_eq!(rejected, Err(JoinError::Config));
    let rejected = EpochRoot::of_ranges(&[], &config(), &ROWS, pair(40)).unwrap_err();
    assert_eq!(rejected, JoinError::Children { circuit: "epoch_root", got: 0 });
    let rejected = EpochRoot::of_ranges(&[merged], &config(), &ROWS, pair(40)).unwrap_err();
    assert_eq!(rejected, JoinError::Single { what: "blocks", got: 2 });
    // A single block is enough.
    let single = EpochRoot::of_ranges(&[third], &config(), &ROWS, pair(40)).unwrap();
    assert_eq!(single.num_constraints, third.num_constraints + ROWS.of(Circuit::EpochRoot1));
}

/// Goal: the tree over a block's transactions has one shape, whoever proves it, and a block ends at 32.
#[test]
fn only_a_power_of_two_stands_on_the_left_and_nothing_larger_on_the_right() {
    let run = run(&[2]);
    let [a, b] = [run.ranges[0][0], run.ranges[0][1]];
    for left in 0..=40 {
        for right in 0..=40 {
            let joined =
                TxRange { tx_count: left, ..a }.join(&TxRange { tx_count: right, ..b }, pair(1));
            let allowed = [1, 2, 4, 8, 16].contains(&left) && (1..=left).contains(&right);
            assert_eq!(joined.is_ok(), allowed, "{left} and {right}");
            if allowed {
                assert!(joined.unwrap().tx_count <= 32);
            } else if left != 0 && right != 0 {
                assert_eq!(joined, Err(JoinError::Shape { left, right }));
            }
        }
    }
}

#[test]
fn gaps_swaps_repeats_and_empty_ranges_do_not_join() {
    let run = run(&[3]);
    let [a, b, c] = [run.ranges[0][0], run.ranges[0][1], run.ranges[0][2]];
    assert!(a.join(&b, pair(1)).is_ok());
    assert_eq!(a.join(&c, pair(1)), Err(JoinError::Gap { what: "state" }));
    assert_eq!(b.join(&a, pair(1)), Err(JoinError::Gap { what: "state" }));
    assert_eq!(a.join(&a, pair(1)), Err(JoinError::Gap { what: "state" }));
    let empty = TxRange { tx_count: 0, ..b };
    assert_eq!(a.join(&empty, pair(1)), Err(JoinError::Empty));
    assert_eq!(empty.join(&c, pair(1)), Err(JoinError::Empty));
    let unchained = TxRange { txs_chain_start: value(1, 1), ..b };
    assert_eq!(a.join(&unchained, pair(1)), Err(JoinError::Gap { what: "txs_chain" }));
    let full = TxRange { fees_sum: u128::MAX, ..b };
    assert_eq!(a.join(&full, pair(1)), Err(JoinError::Overflow { what: "fees_sum" }));
    let full = TxRange { l2_gas_used: u64::MAX, ..b };
    assert_eq!(a.join(&full, pair(1)), Err(JoinError::Overflow { what: "l2_gas_used" }));
    let full = TxRange { da_gas_used: u64::MAX, ..b };
    assert_eq!(a.join(&full, pair(1)), Err(JoinError::Overflow { what: "da_gas_used" }));
}

#[test]
fn ranges_with_other_constants_do_not_join() {
    let run = run(&[2, 1]);
    let [a, b] = [run.ranges[0][0], run.ranges[0][1]];
    let others = [
        Constants { chain_id: 1, ..b.constants },
        Constants { version: 2, ..b.constants },
        Constants { vk_root: value(1, 1), ..b.constants },
        Constants { protocol_version: 1, ..b.constants },
        Constants { config_hash: value(1, 1), ..b.constants },
        Constants { prover_id: EthAddress([1; 20]), ..b.constants },
    ];
    for constants in others {
        let rejected = a.join(&TxRange { constants, ..b }, pair(1));
        assert_eq!(rejected, Err(JoinError::Constants { what: "constants" }));
    }
    for other in [
        TxRange { anchor_archive_root: value(1, 1), ..b },
        TxRange { message_root: value(1, 1), ..b },
        TxRange { slot: 9, ..b },
        TxRange { z: value(1, 1), ..b },
        TxRange { fee_per_l2_gas: 9, ..b },
        TxRange { fee_per_da_gas: 9, ..b },
    ] {
        assert!(matches!(a.join(&other, pair(1)), Err(JoinError::Constants { .. })));
    }
    let first = block_range(&run, 0, &run.ranges[0]).unwrap();
    let second = block_range(&run, 1, &run.ranges[1]).unwrap();
    assert!(first.join(&second, &ROWS, pair(1)).is_ok());
    let constants = Constants { prover_id: EthAddress([1; 20]), ..second.constants };
    let rejected = first.join(&BlockRange { constants, ..second }, &ROWS, pair(1));
    assert_eq!(rejected, Err(JoinError::Constants { what: "constants" }));
}

#[test]
fn block_ranges_join_only_in_order_and_without_gaps() {
    let run = run(&[1, 1, 1]);
    let ranges: Vec<BlockRange> =
        (0..3).map(|i| block_range(&run, i, &run.ranges[i]).unwrap()).collect();
    for (left, right) in [(0, 2), (1, 0), (0, 0), (2, 1)] {
        assert!(ranges[left].join(&ranges[right], &ROWS, pair(1)).is_err(), "{left} {right}");
    }
    let (a, b) = (ranges[0], ranges[1]);
    for (what, other) in [
        ("archive", BlockRange { prev_archive_root: value(1, 1), ..b }),
        ("block number", BlockRange { first_block: 3, last_block: 3, ..b }),
        ("chain", BlockRange { chain_start: value(1, 1), ..b }),
        ("slot", BlockRange { first_slot: a.last_slot, ..b }),
    ] {
        assert_eq!(a.join(&other, &ROWS, pair(1)), Err(JoinError::Gap { what }));
    }
    let empty = BlockRange { first_block: 2, last_block: 1, ..b };
    assert_eq!(a.join(&empty, &ROWS, pair(1)), Err(JoinError::Empty));
    let rejected = a.join(&BlockRange { num_constraints: u64::MAX, ..b }, &ROWS, pair(1));
    assert_eq!(rejected, Err(JoinError::Overflow { what: "num_constraints" }));
}

#[test]
fn a_block_root_accepts_only_the_whole_block() {
    let run = run(&[3]);
    let [a, b, c] = [run.ranges[0][0], run.ranges[0][1], run.ranges[0][2]];
    let ab = a.join(&b, pair(1)).unwrap();
    assert!(block_range(&run, 0, &[ab, c]).is_ok());
    for ranges in [&[][..], &[a], &[ab], &[a, b], &[b, c], &[c, ab], &[a, b, c]] {
        assert!(block_range(&run, 0, ranges).is_err());
    }
    let rejected = block_range(&run, 0, &[ab]);
    assert_eq!(rejected, Err(JoinError::Single { what: "transactions", got: 2 }));
    let forged = TxRange { fees_sum: ab.fees_sum + 1, ..ab };
    let rejected = block_range(&run, 0, &[forged, c]);
    assert_eq!(rejected, Err(JoinError::Header { what: "total_fees" }));
    let elsewhere = |range: TxRange| TxRange { anchor_archive_root: value(1, 1), ..range };
    let rejected = block_range(&run, 0, &[elsewhere(ab), elsewhere(c)]);
    assert_eq!(rejected, Err(JoinError::Header { what: "anchor_archive_root" }));
    // Each of these is the same in both runs, or their sum.
    let one = BlobFr::from(1u64);
    for (what, forged) in [
        ("message_root", [ab, c].map(|range| TxRange { message_root: value(1, 1), ..range })),
        ("slot", [ab, c].map(|range| TxRange { slot: 9, ..range })),
        ("fee_per_l2_gas", [ab, c].map(|range| TxRange { fee_per_l2_gas: 9, ..range })),
        ("l2_gas_used", [ab, TxRange { l2_gas_used: 1, ..c }]),
        ("da_gas_used", [ab, TxRange { da_gas_used: 1, ..c }]),
        ("out_root", [ab, TxRange { out_root: value(1, 1), ..c }]),
    ] {
        assert_eq!(block_range(&run, 0, &forged), Err(JoinError::Header { what }));
    }
    for (what, forged) in [
        ("y", [ab, TxRange { y: c.y + one, ..c }]),
        ("y", [TxRange { pow: ab.pow + one, ..ab }, c]),
        ("z", [ab, c].map(|range| TxRange { z: value(1, 1), ..range })),
    ] {
        assert_eq!(block_range(&run, 0, &forged), Err(JoinError::Link { what }));
    }
}

/// Goal: BlockRoot's twin holds every word of a header and every part of a link to something. Method: change
/// each in a block whose hashes are made anew.
#[test]
fn a_header_or_a_link_that_is_off_by_one_in_any_field_is_no_block() {
    for count in [0, 1] {
        let run = run(&[count]);
        let (block, link) = &run.blocks[0];
        let ranges = &run.ranges[0];
        root_of(ranges, block, link, 0).unwrap();
        for (i, name) in HeaderLayout::<Fr>::cell_names().into_iter().enumerate() {
            let mut fields = block.header.to_fields();
            fields[i] += Fr::from(1u64);
            let mut other = block.clone();
            other.header = Header::from_fields(&fields).unwrap();
            other.header_hash = other.header.hash();
            other.end = other.header.state;
            let append = &mut other.archive.append;
            append.leaves = vec![other.header_hash];
            append.subtree_root = other.header_hash;
            append.root_after =
                root_from_path(&other.header_hash, append.start_index, &append.path);
            let opening = Opening { commitment: link.commitment, z: link.z, y: link.y };
            let link = other.chain_link(link.chain_before, &opening);
            let free = name == "coinbase";
            assert_eq!(root_of(ranges, &other, &link, 0).is_ok(), free, "{name}");
        }
        for (i, name) in ChainLinkLayout::<Fr>::cell_names().into_iter().enumerate() {
            let mut fields = link.to_fields();
            fields[i] += Fr::from(1u64);
            let link = ChainLink::from_fields(&fields).unwrap();
            let free = name == "chain_before";
            assert_eq!(root_of(ranges, block, &link, 0).is_ok(), free, "{name}");
        }
    }
}

#[test]
fn public_inputs_out_of_range_are_rejected() {
    let run = run(&[1]);
    let range = run.ranges[0][0];
    let names = TxRangeLayout::<Fr>::cell_names();
    let big = -Fr::from(1u64);
    // The order of BLS12-381's scalar field in halves, and one less.
    let order = BlobFr::from(0u64) - BlobFr::from(1u64);
    let most = TxRange { y: order, pow: order, ..range };
    let fields = most.to_fields();
    assert_eq!(TxRange::from_fields(&fields), Ok(most));
    for name in ["y_lo", "pow_lo"] {
        let at = names.iter().position(|cell| cell == name).unwrap();
        let mut fields = fields.clone();
        fields[at] += Fr::from(1u64);
        let rejected = TxRange::from_fields(&fields).unwrap_err();
        assert!(matches!(rejected, DecodeError::NotCanonical { .. }), "{name}: {rejected}");
    }
    for (i, name) in names.iter().enumerate() {
        let mut fields = range.to_fields();
        fields[i] = big;
        let roots = ["root", "txs_chain", "pair.s_", "config_hash"];
        let free = name == "z" || roots.iter().any(|part| name.contains(part));
        assert_eq!(TxRange::from_fields(&fields).is_ok(), free, "{name}");
    }
    assert!(TxRange::from_fields(&range.to_fields()[1..]).is_err());
    let read = |fields: &[Fr]| PairLayout::from_slice(fields).expect("ten cells").pair();
    // Infinity, a point off the curve, and a coordinate above the modulus.
    for change in [[(0, 0), (1, 0), (2, 0), (3, 0)].as_slice(), &[(0, 5)]] {
        let mut fields = pair(1).to_fields();
        for (i, x) in change {
            fields[*i] = Fr::from(*x as u64);
        }
        assert!(read(&fields).is_err());
    }
    let mut fields = pair(1).to_fields();
    fields[1] = Fr::from(u128::MAX);
    assert!(read(&fields).unwrap_err().to_string().starts_with("PRO-003: pair.l"));
    fields[6] = -Fr::from(1u64);
    fields[..5].copy_from_slice(&pair(1).to_fields()[..5]);
    assert!(read(&fields).unwrap_err().to_string().starts_with("PRO-004: pair.r"));
    assert_eq!(read(&Pair::trivial().to_fields()), Ok(Pair::trivial()));
}

/// Circuits read a pair's cells by name, everything else by position.
#[test]
fn the_names_of_a_pairs_cells_stand_in_the_order_of_its_encoding() {
    let pair = pair(1);
    let PairLayout { l, s_l, r, s_r } = PairLayout::of(&pair);
    assert_eq!((s_l, s_r), (pair.s_l, pair.s_r));
    for (cells, point) in [(l, pair.l), (r, pair.r)] {
        for (lo, hi, coordinate) in
            [(cells.x_lo, cells.x_hi, point.x), (cells.y_lo, cells.y_hi, point.y)]
        {
            let bytes = fq_to_bytes(&coordinate);
            assert_eq!(fr_to_bytes(&hi)[16..], bytes[..16]);
            assert_eq!(fr_to_bytes(&lo)[16..], bytes[16..]);
        }
    }
}

#[test]
fn the_plan_of_five_and_three_transactions_is_the_canonical_one() {
    let plan = EpochPlan::new(&[5, 0, 3]).unwrap();
    let subjects: Vec<(Circuit, Subject)> = plan
        .nodes
        .iter()
        .filter(|node| node.circuit != Circuit::TxBase)
        .map(|node| (node.circuit, node.subject))
        .collect();
    let txs = |block, first, last| Subject::Txs { block, first, last };
    assert_eq!(
        subjects,
        [
            (Circuit::TxMerge, txs(0, 0, 1)),
            (Circuit::TxMerge, txs(0, 2, 3)),
            (Circuit::TxMerge, txs(0, 0, 3)),
            (Circuit::BlockRoot2, Subject::Block { block: 0 }),
            (Circuit::BlockRoot0, Subject::Block { block: 1 }),
            (Circuit::TxMerge, txs(2, 0, 1)),
            (Circuit::BlockRoot2, Subject::Block { block: 2 }),
            (Circuit::BlockMerge, Subject::Blocks { first: 0, last: 1 }),
            (Circuit::EpochRoot2, Subject::Epoch),
        ]
    );
    assert_eq!(EpochPlan::new(&[]), None);
    assert_eq!(EpochPlan::new(&[1]).unwrap().nodes.last().unwrap().circuit, Circuit::EpochRoot1);
}

#[test]
fn key_tree_paths_lead_to_its_root() {
    let leaf = |circuit| VkLeaf {
        circuit,
        vk_digest: value(1, circuit as u64),
        log_n: 17,
        n_public_inputs: circuit.n_public() as u64,
        charged_rows: 1000,
        protocol_version: 2,
    };
    let leaves: Vec<VkLeaf> = Circuit::ALL.into_iter().map(leaf).collect();
    let levels = vk_tree(&leaves);
    assert_eq!(levels.last().unwrap().len(), 1);
    for leaf in leaves {
        let index = leaf.circuit.role();
        let path: Vec<Fr> =
            (0..5).map(|level| levels[level][(index as usize >> level) ^ 1]).collect();
        assert_eq!(root_from_path(&leaf.hash(), index, &path), levels[5][0]);
    }
}

proptest! {
    #[test]
    fn every_plan_is_a_tree_whose_charge_is_the_formula(
        counts in proptest::collection::vec(0usize..33, 1..9)
    ) {
        let plan = EpochPlan::new(&counts).unwrap();
        for (i, node) in plan.nodes.iter().enumerate() {
            prop_assert_eq!(node.parent.is_none(), i == plan.root());
            for child in &node.children {
                prop_assert!(*child < i);
                prop_assert_eq!(plan.nodes[*child].parent, Some(i));
                prop_assert!(node.circuit.accepts().contains(&plan.nodes[*child].circuit));
                prop_assert_eq!(plan.nodes[*child].steps_to_root, node.steps_to_root + 1);
            }
            // The child of a TxBase is a client proof, which is no job.
            let clients = usize::from(node.circuit.accepts().contains(&Circuit::Client));
            prop_assert_eq!(node.children.len() + clients, node.circuit.child_count());
        }
        // Runs have the one shape that a join accepts.
        let size = |subject| match subject {
            Subject::Tx { .. } => 1,
            Subject::Txs { first, last, .. } => last - first + 1,
            _ => 0,
        };
        for node in &plan.nodes {
            if let [left, right] = node.children[..] {
                let (left, right) = (size(plan.nodes[left].subject), size(plan.nodes[right].subject));
                prop_assert_eq!(left == 0, right == 0);
                if left > 0 {
                    prop_assert_eq!(left, rollmill_protocol::message::out_split(left + right));
                }
            }
        }
        let charged: u64 = plan.nodes.iter().map(|node| ROWS.of(node.circuit)).sum();
        let counts: Vec<u64> = counts.into_iter().map(|n| n as u64).collect();
        prop_assert_eq!(ROWS.epoch(&counts), Some(charged));
    }
}
