//! Who forces each field of a header: for every field the values that a provable block may carry, and whether an
//! honest block can follow it. Only the coinbase is free, and a slot above the parent's with its time.
//!
//! The pages are `docs/book/protocol-2.md` and `docs/book/fields.md`: a test requires them to name every field, effect
//! and public input.

use rollmill_algebra::Fr;
use rollmill_circuits::block_root;
use rollmill_circuits::gadgets::effects::publish;
use rollmill_plonk::builder::Var;
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::builder::{BlockBuilder, BlockEnv, BlockError};
use rollmill_protocol::config::SLOT_MAX;
use rollmill_protocol::gas::FEE_PER_GAS_MAX;
use rollmill_protocol::header::HeaderLayout;
use rollmill_protocol::public_inputs::{
    BlockRangeLayout, ClientInputsLayout, EpochRootLayout, TxRangeLayout,
};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::tx::TxEffectsLayout;
use rollmill_protocol::{EthAddress, Header, TxRange};

use crate::common::{
    BlockCase, chain, config, constants, constants_vars, genesis, genesis_chain, outcome,
    pair_vars, value, wide,
};

/// Whether a block with this header can be proven after its parent.
fn is_provable(case: &BlockCase, ranges: &[TxRange], header: HeaderLayout<Fr>) -> bool {
    let w = case.block_root_witness(ranges.len(), value(9, 1));
    let mut b = wide(BlockRangeLayout::<Var>::CELLS);
    let constants = constants_vars(&mut b);
    let pair = pair_vars(&mut b);
    let ranges: Vec<_> = ranges.iter().map(|r| r.layout().map(|v| b.witness(v))).collect();
    let headers = [w.block.parent.layout(), header];
    let out = block_root::constrain_over(&mut b, constants, &ranges, pair, &w, headers);
    publish(&mut b, &out.into_vec());
    outcome(b).is_ok()
}

/// The second block with this number of transactions, so that its parent is no genesis.
fn second(txs: u64) -> (BlockCase, Vec<TxRange>) {
    let case = chain(&[1, txs]).remove(1);
    let ranges = case.tx_ranges(constants());
    (case, ranges)
}

#[test]
fn every_header_field_but_the_coinbase_has_one_value() {
    let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
    for txs in 0..=2 {
        let (case, ranges) = second(txs);
        let honest = case.block.header.layout().into_vec();
        for (i, info) in Header::cell_infos().iter().enumerate() {
            let provable = |to| {
                let mut cells = honest.clone();
                cells[i] = to;
                is_provable(&case, &ranges, HeaderLayout::from_slice(&cells).unwrap())
            };
            assert!(provable(honest[i]), "{}, {txs} transactions", info.name);
            if info.name == "coinbase" {
                let limit = power_of_two(EthAddress::BITS);
                assert!(provable(zero) && provable(limit - one));
                assert!(!provable(limit) && !provable(-one));
                continue;
            }
            let ends = [zero, power_of_two(64) - one, -one];
            for other in [honest[i] + one, honest[i] - one].into_iter().chain(ends) {
                if other != honest[i] {
                    let name = &info.name;
                    assert!(!provable(other), "{name} = {other}, {txs} transactions");
                }
            }
        }
    }
}

/// The first slot after the parent's and the last there is, each with its time.
#[test]
fn a_slot_above_the_parents_has_its_time() {
    let (case, _) = second(0);
    let provable = |slot: u64| {
        let mut header = case.block.header.layout();
        header.slot = slot.into();
        header.timestamp = (config().genesis_time + 12 * slot).into();
        is_provable(&case, &[], header)
    };
    let parent = case.block.parent.slot;
    assert!(provable(parent + 1) && provable(SLOT_MAX));
    assert!(!provable(parent) && !provable(parent - 1) && !provable(SLOT_MAX + 1));
}

/// An empty block of this slot after a parent.
fn empty_block(
    parent: &Header,
    store: MemoryStore,
    slot: u64,
) -> Result<(BlockCase, MemoryStore), BlockError> {
    let env = BlockEnv { slot, coinbase: EthAddress([9; 20]), messages: Vec::new() };
    let (block, store) = BlockBuilder::new(parent, store, &config(), env)?.finish()?;
    Ok((BlockCase { block, commitment: Default::default(), txs: Vec::new() }, store))
}

/// Goal: an honest block follows genesis whatever prices it has, and is provable; the rule brings them into their
/// bounds. The last slot is the end of a deployment.
#[test]
fn an_honest_block_follows_every_genesis_and_every_slot_but_the_last() {
    for price in [0, 1, FEE_PER_GAS_MAX, FEE_PER_GAS_MAX + 1, u64::MAX] {
        let mut genesis = genesis();
        (genesis.fee_per_l2_gas, genesis.fee_per_da_gas) = (price, price);
        let built = genesis.build(MemoryStore::new()).unwrap();
        let (case, _) = empty_block(&built.header, built.state.store, 1).unwrap();
        let header = &case.block.header;
        for price in [header.fee_per_l2_gas, header.fee_per_da_gas] {
            assert!((1..=FEE_PER_GAS_MAX).contains(&price), "{price}");
        }
        assert!(is_provable(&case, &[], header.layout()), "genesis prices {price}");
    }
    let (parent, store) = genesis_chain();
    let (case, store) = empty_block(&parent, store, SLOT_MAX - 1).unwrap();
    assert!(is_provable(&case, &[], case.block.header.layout()));
    let (case, store) = empty_block(&case.block.header, store, SLOT_MAX).unwrap();
    assert!(is_provable(&case, &[], case.block.header.layout()));
    assert!(empty_block(&case.block.header, store, SLOT_MAX + 1).is_err());
}

/// Goal: both pages name every field of a header, every effect and every public input. The one that names the tests
/// has them in back quotes.
#[test]
fn the_page_names_every_field_effect_and_public_input() {
    for (page, quote) in [("protocol-2.md", ""), ("fields.md", "`")] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/book").join(page);
        let text = std::fs::read_to_string(path).unwrap();
        let section = |title: &str| {
            let (_, rest) = text.split_once(&format!("\n## {title}\n")).unwrap();
            rest.split("\n## ").next().unwrap().to_owned()
        };
        let names = |text: &str, cells: Vec<String>, what: &str| {
            for cell in cells {
                // Arrays and halves are named once, and nested rows by their own names.
                let mut parts = cell.split('.').filter(|part| part.parse::<usize>().is_err());
                let name = match cell.starts_with("pair.") {
                    true => "pair",
                    false => parts.next_back().unwrap(),
                };
                let is_state = cell.contains("tx_state.");
                let in_prose =
                    is_state && text.contains("note, nullifier and public data roots and counts");
                let is_named = in_prose || text.contains(&format!("{quote}{name}{quote}"));
                assert!(is_named, "{page}, {what}: say who enforces {cell}");
            }
        };
        names(&section("Header"), HeaderLayout::<Fr>::cell_names(), "Header");
        names(&section("Effects"), TxEffectsLayout::<Fr>::cell_names(), "Effects");
        let inputs = section("Public inputs");
        let without_state = |cells: Vec<String>| {
            let is_state = |name: &str| name.starts_with("start.") || name.starts_with("end.");
            cells.into_iter().filter(|name| !is_state(name)).collect()
        };
        for cells in [
            ClientInputsLayout::<Fr>::cell_names(),
            TxRangeLayout::<Fr>::cell_names(),
            BlockRangeLayout::<Fr>::cell_names(),
            EpochRootLayout::<Fr>::cell_names(),
        ] {
            names(&inputs, without_state(cells), "Public inputs");
        }
    }
}
