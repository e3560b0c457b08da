//! Who forces each field of a header: for every field the smallest and the largest value that a
//! provable block may carry, and whether an honest block can follow it.
//!
//! The table is that of `docs/book/header.md`: the test reads the values that the page calls provable.

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

/// The cells of each row of a table of the page, without those of its head.
fn rows(part: &str) -> Vec<Vec<&str>> {
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.split('|').map(str::trim).skip(1).collect()).collect()
}

/// The page's parts: fields of a header, public inputs.
fn page() -> (String, String) {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/book/header.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (fields, inputs) = page.split_once("## Public inputs").unwrap();
    (fields.to_owned(), inputs.to_owned())
}

/// The row that names a cell, by the last part of its path.
fn row_of<'a>(rows: &'a [Vec<&'a str>], cell: &str) -> &'a [&'a str] {
    let name = format!("`{}`", cell.rsplit('.').next().unwrap());
    let row = rows.iter().find(|row| row[0].split(", ").any(|first| first == name));
    row.unwrap_or_else(|| panic!("say in docs/book/header.md who enforces {cell}"))
}

/// What the page says of a field in a block of `txs` transactions after a parent in which it is `parent`:
/// `one`, `one, zero`, or `LOW to 2^BITS − 1`, after which text may follow a semicolon.
fn may(values: &str, txs: usize, parent: Fr) -> May {
    let values = values.split(';').next().unwrap();
    let range = match values.strip_prefix("in a block without transactions ") {
        Some(_) if txs > 0 => return May::One,
        Some(range) => range,
        None if matches!(values, "one" | "one, zero") => return May::One,
        None => values,
    };
    let ends = range.split_once(" to ").and_then(|(low, high)| {
        let low = match low {
            "0" => Fr::from(0u64),
            "parent's + 1" => parent + Fr::from(1u64),
            _ => return None,
        };
        let bits: u32 = high.strip_prefix("2^")?.strip_suffix(" − 1")?.parse().ok()?;
        Some(May::Range(low, power_of_two(bits) - Fr::from(1u64)))
    });
    ends.unwrap_or_else(|| panic!("docs/book/header.md: {values:?} is no list of provable values"))
}

/// Whether a block with field number `field` set to `to` can be proven.
fn is_provable(case: &BlockCase, ranges: &[TxRange], field: usize, to: Fr) -> bool {
    let w = block_root_witness(&case.block, ranges.len(), value(9, 1));
    let mut cells = w.block.header.layout().into_vec();
    cells[field] = to;
    let header = HeaderLayout::from_slice(&cells).unwrap();
    let mut b = small(BlockRangeLayout::<Var>::CELLS);
    let constants = constants_vars(&mut b);
    let pair = pair_vars(&mut b);
    let ranges: Vec<_> = ranges.iter().map(|r| r.layout().map(|v| b.witness(v))).collect();
    let headers = [w.block.parent.layout(), header];
    let out = block_root::constrain_over(&mut b, constants, &ranges, pair, &w, headers);
    publish(&mut b, &out.into_vec());
    outcome(b).is_ok()
}

#[test]
fn every_header_field_has_exactly_the_values_that_the_table_allows() {
    let one = Fr::from(1u64);
    let (fields, _) = page();
    let rows = rows(&fields);
    for txs in 0..=2usize {
        // The second block, so that its parent is no genesis.
        let case = chain(&[1, txs as u64]).remove(1);
        let ranges: Vec<TxRange> = case.txs.iter().map(|(_, t)| tx_range(t)).collect();
        let honest = case.block.header.layout().into_vec();
        let parent = case.block.parent.layout().into_vec();
        for (i, name) in HeaderLayout::<Fr>::cell_names().iter().enumerate() {
            let provable = |to| is_provable(&case, &ranges, i, to);
            match may(row_of(&rows, name)[2], txs, parent[i]) {
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
    let (fields, inputs) = page();
    let (fields, inputs) = (rows(&fields), rows(&inputs));
    for name in HeaderLayout::<Fr>::cell_names() {
        row_of(&fields, &name);
    }
    for name in EpochRootLayout::<Fr>::cell_names() {
        row_of(&inputs, if name.starts_with("pair.") { "pair" } else { &name });
    }
}
