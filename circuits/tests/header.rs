//! Who forces each field of a header: for every field the smallest and the largest value that a
//! provable block may carry, and whether an honest block can follow it.
//!
//! `docs/book/header.md` is the same table in words; a test holds its rows to the fields.

mod common;

use rollmill_algebra::Fr;
use rollmill_circuits::block_root;
use rollmill_circuits::gadgets::effects::publish;
use rollmill_plonk::builder::Var;
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::builder::{BlockBuilder, BlockEnv, BlockError};
use rollmill_protocol::gas::FeePerGas;
use rollmill_protocol::header::HeaderLayout;
use rollmill_protocol::public_inputs::{BlockRangeLayout, EpochRootLayout};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::{EthAddress, Header, TxRange};

use common::{
    BlockCase, block_root_witness, chain, constants_vars, genesis_chain, outcome, pair_vars, small,
    tx_range, value,
};

/// What a proposer may put into a field of a block that is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// One value, which follows from the rest.
    One,
    /// Anything from the first to the last.
    Range(Fr, Fr),
}

/// What the circuits allow in a block of `txs` transactions after `parent`.
fn may(field: &str, txs: usize, parent: &Header) -> May {
    let top = |bits| power_of_two(bits) - Fr::from(1u64);
    match field {
        // Equal to the constants, which L1 pins.
        "chain_id" | "version" => May::One,
        "block_number" | "last_archive_root" => May::One,
        "slot" => May::Range(Fr::from(parent.slot + 1), top(64)),
        "timestamp" => May::Range(Fr::from(parent.timestamp + 1), top(64)),
        "coinbase" => May::Range(Fr::from(0u64), top(160)),
        // With transactions the same price as in their proofs.
        "fee_per_l2_gas" | "fee_per_da_gas" if txs > 0 => May::One,
        "fee_per_l2_gas" | "fee_per_da_gas" => May::Range(Fr::from(0u64), top(64)),
        "total_fees" | "tx_count" | "txs_chain" => May::One,
        "state.tx_state.note_root"
        | "state.tx_state.note_count"
        | "state.tx_state.nullifier_root"
        | "state.tx_state.nullifier_count"
        | "state.tx_state.public_data_root"
        | "state.tx_state.public_data_count"
        | "state.message_root"
        | "state.message_count" => May::One,
        "in_hash" | "out_hash" => May::One,
        other => panic!("say who forces the header field {other}, here and in docs/book/header.md"),
    }
}

/// Whether a block with field number `field` set to `to` can be proven.
fn is_provable(case: &BlockCase, ranges: &[TxRange], field: usize, to: Fr) -> bool {
    let w = block_root_witness(&case.block, ranges.len(), value(9, 1));
    let mut cells = w.header.layout().into_vec();
    cells[field] = to;
    let header = HeaderLayout::from_slice(&cells).unwrap();
    let mut b = small(BlockRangeLayout::<Var>::CELLS);
    let constants = constants_vars(&mut b);
    let pair = pair_vars(&mut b);
    let ranges: Vec<_> = ranges.iter().map(|r| r.layout().map(|v| b.witness(v))).collect();
    let headers = [w.parent.layout(), header];
    let out = block_root::constrain_over(&mut b, constants, &ranges, pair, &w, headers);
    publish(&mut b, &out.into_vec());
    outcome(b).is_ok()
}

#[test]
fn every_header_field_has_exactly_the_values_that_the_table_allows() {
    let one = Fr::from(1u64);
    for txs in 0..=2usize {
        // The second block, so that its parent is no genesis.
        let case = chain(&[1, txs as u64]).remove(1);
        let ranges: Vec<TxRange> = case.txs.iter().map(|(_, t)| tx_range(t)).collect();
        let honest = case.block.header.layout().into_vec();
        for (i, name) in HeaderLayout::<Fr>::cell_names().iter().enumerate() {
            let provable = |to| is_provable(&case, &ranges, i, to);
            match may(name, txs, &case.block.parent) {
                May::One => {
                    assert!(provable(honest[i]), "{name}, {txs} transactions");
                    for other in [honest[i] + one, honest[i] - one] {
                        assert!(!provable(other), "{name} = {other}, {txs} transactions");
                    }
                }
                May::Range(low, high) => {
                    for good in [low, high] {
                        assert!(provable(good), "{name} = {good}, {txs} transactions");
                    }
                    for bad in [low - one, high + one] {
                        assert!(!provable(bad), "{name} = {bad}, {txs} transactions");
                    }
                }
            }
        }
    }
}

/// An empty block after genesis with this environment, and the store with it.
fn after_genesis(change: impl FnOnce(&mut BlockEnv)) -> (Header, MemoryStore) {
    let (parent, store) = genesis_chain();
    let mut env = BlockEnv {
        slot: parent.slot + 1,
        timestamp: parent.timestamp + 12,
        coinbase: EthAddress([9; 20]),
        price: parent.fee_per_gas().next(parent.tx_count),
    };
    change(&mut env);
    let (block, store) = BlockBuilder::new(&parent, store, env).unwrap().finish().unwrap();
    (block.header, store)
}

/// An honest proposer's next block: the next slot, a time above the parent's, the price by the rule.
fn honest_block(parent: &Header, store: MemoryStore) -> Result<Header, BlockError> {
    let env = BlockEnv {
        slot: parent.slot.saturating_add(1),
        timestamp: parent.timestamp.saturating_add(1),
        coinbase: EthAddress([9; 20]),
        price: parent.fee_per_gas().next(parent.tx_count),
    };
    BlockBuilder::new(parent, store, env)?.finish().map(|(block, _)| block.header)
}

/// Goal: an honest block follows any provable one, but after the two ends that only L1 or nobody
/// keeps a proposer from: the last slot, and the last second.
#[test]
fn an_honest_block_follows_every_extreme_but_the_ends_of_slots_and_of_time() {
    let (genesis, _) = genesis_chain();
    type Change = Box<dyn FnOnce(&mut BlockEnv)>;
    let extremes: [(&str, Change); 8] = [
        ("the first second", Box::new(move |env| env.timestamp = genesis.timestamp + 1)),
        ("the last second but one", Box::new(|env| env.timestamp = u64::MAX - 1)),
        ("the last slot but one", Box::new(|env| env.slot = u64::MAX - 1)),
        ("no coinbase", Box::new(|env| env.coinbase = EthAddress([0; 20]))),
        ("the last coinbase", Box::new(|env| env.coinbase = EthAddress([0xff; 20]))),
        ("prices of nothing", Box::new(|env| env.price = FeePerGas { l2: 0, da: 0 })),
        ("the highest L2 price", Box::new(|env| env.price.l2 = u64::MAX)),
        ("the highest DA price", Box::new(|env| env.price.da = u64::MAX)),
    ];
    for (name, change) in extremes {
        let (parent, store) = after_genesis(change);
        let header = honest_block(&parent, store).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Prices of nothing rise to the least, and the highest fall.
        assert!(header.fee_per_l2_gas >= 1 && header.fee_per_l2_gas < u64::MAX, "{name}");
        assert!(header.fee_per_da_gas >= 1 && header.fee_per_da_gas < u64::MAX, "{name}");
    }
    let (parent, store) = after_genesis(|env| env.timestamp = u64::MAX);
    assert!(matches!(honest_block(&parent, store), Err(BlockError::Timestamp { .. })));
    let (parent, store) = after_genesis(|env| env.slot = u64::MAX);
    assert!(matches!(honest_block(&parent, store), Err(BlockError::Slot { .. })));
}

/// Goal: the page names every field of a header and every public input of an epoch.
#[test]
fn the_page_has_a_row_for_every_field_and_public_input() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/book/header.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (fields, inputs) = page.split_once("## Public inputs").unwrap();
    let has_row = |part: &str, name: &str| {
        let cell = format!("`{name}`");
        let rows = part.lines().filter(|line| line.starts_with('|'));
        rows.filter_map(|line| line.split('|').nth(1)).any(|first| first.contains(&cell))
    };
    for name in HeaderLayout::<Fr>::cell_names() {
        let short = name.rsplit('.').next().unwrap();
        assert!(has_row(fields, short), "header field {name}");
    }
    for name in EpochRootLayout::<Fr>::cell_names() {
        let name = if name.starts_with("pair.") { "pair" } else { &name };
        let short = name.rsplit('.').next().unwrap();
        assert!(has_row(inputs, short), "public input {name}");
    }
}
