//! The rules of a header: what follows from the parent, and what from the transactions.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::Header;
use rollmill_protocol::config::ConfigLayout;
use rollmill_protocol::header::HeaderLayout;
use rollmill_protocol::layout::Range;
use rollmill_protocol::public_inputs::TxRangeLayout;
use rollmill_protocol::tree::Tree;

use crate::gadgets::effects::{assert_all_equal, assert_all_zero};
use crate::gadgets::merkle::TreeVars;
use crate::gadgets::messages::Messages;
use crate::gadgets::price::{PriceInputs, next_price};
use crate::gadgets::uint::{SLOT_BITS, assert_at_most, assert_below, range_bits};
use crate::weaken::gone;

/// Cells of a header that another constraint already bounds, and which one.
pub(super) const IN_RANGE: &[(&str, &str)] = &[
    ("chain_id", "that of the constants, which L1 pins"),
    ("version", "that of the constants, which L1 pins"),
    ("block_number", "an index of the archive: `assert_member` and `append`"),
    ("timestamp", "follows from the slot and the parameters"),
    ("fee_per_l2_gas", "follows from the parent, within the bounds of prices"),
    ("fee_per_da_gas", "likewise"),
    ("l2_gas_used", "a sum that TxMerge bounds, at most the limit"),
    ("da_gas_used", "likewise"),
    ("total_fees", "a fee of TxBase, or a sum that TxMerge bounds"),
    ("tx_count", "0, 1, or a sum of the numbers that TxMerge allows"),
    ("state.tx_state.note_count", "that of the parent or of the range: `covers`"),
    ("state.tx_state.nullifier_count", "that of the parent or of the range: `covers`"),
    ("state.tx_state.public_data_count", "that of the parent or of the range: `covers`"),
    ("state.message_count", "an index of the message tree: `append`"),
];

/// Constrains every cell of a header to the range of its type, except [`IN_RANGE`].
pub(super) fn range_header(b: &mut Builder, header: &HeaderLayout<Var>) {
    for (info, var) in Header::cell_infos().iter().zip(header.to_vec()) {
        let Range::Bits(bits) = info.range else { continue };
        if IN_RANGE.iter().any(|(name, _)| *name == info.name) {
            continue;
        }
        let is_gone = match &*info.name {
            "slot" => gone("circuits.block_root.header.slot"),
            _ => gone("circuits.block_root.header.coinbase"),
        };
        if !is_gone {
            range_bits(b, var, bits);
        }
    }
}

/// What a header follows from besides its parent.
pub(super) struct Rules<'a> {
    pub(super) config: ConfigLayout<Var>,
    pub(super) messages: Messages,
    /// Siblings of the block's messages in the message tree.
    pub(super) message_path: &'a [Fr],
}

/// Constrains what a header inherits from its parent.
pub(super) fn follows(
    b: &mut Builder,
    parent: &HeaderLayout<Var>,
    new: &HeaderLayout<Var>,
    rules: &Rules<'_>,
) {
    // Without `..`, so that a new field needs a rule here, or a comment that names its rule. Its range is that of
    // its type (`range_header`).
    let HeaderLayout {
        chain_id: _, // `constrain_over`
        version: _,  // `constrain_over`
        block_number,
        slot,
        timestamp,
        coinbase: _,          // the proposer's choice
        fee_per_l2_gas: _,    // `priced`
        fee_per_da_gas: _,    // `priced`
        l2_gas_used: _,       // `covers`, and its limit in `priced`
        da_gas_used: _,       // likewise
        total_fees: _,        // `covers`
        tx_count: _,          // `covers`
        last_archive_root: _, // `constrain_over`
        state: _,             // `covers` and `appends`
        txs_chain: _,         // `covers`
        in_hash: _,           // `appends`
        out_root: _,          // `covers`
    } = new;
    let (config, one) = (&rules.config, Fr::from(1u64));
    if !gone("circuits.block_root.number") {
        b.linear_into(&[(one, parent.block_number)], one, *block_number);
    }
    if !gone("circuits.block_root.parent_slot") {
        range_bits(b, parent.slot, SLOT_BITS);
    }
    if !gone("circuits.block_root.slot") {
        assert_below(b, parent.slot, *slot, SLOT_BITS);
    }
    // Below 2^64, as a slot has 48 bits, its length 16, and the start 40.
    let zero = Fr::from(0u64);
    let start = b.mul_add(*slot, config.slot_seconds, one, Some(config.genesis_time), zero);
    if !gone("circuits.block_root.timestamp") {
        b.assert_equal(*timestamp, start);
    }

    priced(b, parent, new, config);
    appends(b, parent, new, rules);
}

/// Constrains prices to follow from the parent's prices and use, and use to its limits.
fn priced(
    b: &mut Builder,
    parent: &HeaderLayout<Var>,
    new: &HeaderLayout<Var>,
    config: &ConfigLayout<Var>,
) {
    b.section("prices");
    let least = config.min_fee_per_gas;
    let (target, used) = (config.l2_gas_target, parent.l2_gas_used);
    let inputs = PriceInputs { parent: parent.fee_per_l2_gas, used, target, least };
    let price = next_price(b, inputs);
    if !gone("circuits.block_root.price_l2") {
        b.assert_equal(new.fee_per_l2_gas, price);
    }
    let (target, used) = (config.da_gas_target, parent.da_gas_used);
    let inputs = PriceInputs { parent: parent.fee_per_da_gas, used, target, least };
    let price = next_price(b, inputs);
    if !gone("circuits.block_root.price_da") {
        b.assert_equal(new.fee_per_da_gas, price);
    }
    // Use is below 2^64 by the proofs below this one.
    if !gone("circuits.block_root.gas_l2") {
        assert_at_most(b, new.l2_gas_used, config.l2_gas_limit, 64);
    }
    if !gone("circuits.block_root.gas_da") {
        assert_at_most(b, new.da_gas_used, config.da_gas_limit, 64);
    }
}

/// Constrains the message tree to be the parent's with the block's messages appended.
fn appends(
    b: &mut Builder,
    parent: &HeaderLayout<Var>,
    new: &HeaderLayout<Var>,
    rules: &Rules<'_>,
) {
    b.section("messages appended");
    let before = TreeVars { root: parent.state.message_root, count: parent.state.message_count };
    let height = Tree::Messages.height();
    let after = rules.messages.append(b, before, rules.message_path, height);
    if !gone("circuits.block_root.in_hash") {
        b.assert_equal(new.in_hash, rules.messages.in_hash);
    }
    if !gone("circuits.block_root.message_root") {
        b.assert_equal(new.state.message_root, after.root);
    }
    if !gone("circuits.block_root.message_count") {
        b.assert_equal(new.state.message_count, after.count);
    }
}

/// Constrains the range (or its absence) to cover the whole block.
pub(super) fn covers(
    b: &mut Builder,
    range: Option<&TxRangeLayout<Var>>,
    parent: &HeaderLayout<Var>,
    new: &HeaderLayout<Var>,
) {
    let (start, end) = (parent.state.tx_state.to_vec(), new.state.tx_state.to_vec());
    let Some(range) = range else {
        if !gone("circuits.block_root.empty.state") {
            assert_all_equal(b, &start, &end);
        }
        if !gone("circuits.block_root.empty.zero") {
            let HeaderLayout { l2_gas_used, da_gas_used, total_fees, tx_count, .. } = new;
            let numbers = [*l2_gas_used, *da_gas_used, *total_fees, *tx_count];
            assert_all_zero(b, &numbers);
            assert_all_zero(b, &[new.txs_chain, new.out_root]);
        }
        return;
    };
    // Without `..`, so that a new field of a range must be compared with the block here.
    let TxRangeLayout {
        constants: _, // `constrain_over`, or `join`
        anchor_archive_root,
        message_root,
        slot,
        fee_per_l2_gas,
        fee_per_da_gas,
        start: range_start,
        end: range_end,
        txs_chain_start,
        txs_chain_end,
        fees_sum,
        tx_count,
        l2_gas_used,
        da_gas_used,
        z: _,   // the link
        y: _,   // the link
        pow: _, // no words follow
        out_root,
        pair: _, // folded in `verified`
    } = range;
    if !gone("circuits.block_root.start") {
        assert_all_equal(b, &range_start.to_vec(), &start);
    }
    if !gone("circuits.block_root.end") {
        assert_all_equal(b, &range_end.to_vec(), &end);
    }
    if !gone("circuits.block_root.chain_start") {
        b.assert_constant(*txs_chain_start, Fr::from(0u64));
    }
    let before = [(*anchor_archive_root, new.last_archive_root)];
    let of_parent = [(*message_root, parent.state.message_root)];
    let of_block = [
        (*slot, new.slot),
        (*fee_per_l2_gas, new.fee_per_l2_gas),
        (*fee_per_da_gas, new.fee_per_da_gas),
    ];
    let results = [
        (*txs_chain_end, new.txs_chain),
        (*fees_sum, new.total_fees),
        (*tx_count, new.tx_count),
        (*l2_gas_used, new.l2_gas_used),
        (*da_gas_used, new.da_gas_used),
        (*out_root, new.out_root),
    ];
    for (of_range, of_header) in before.into_iter().chain(of_parent).chain(of_block).chain(results)
    {
        assert_all_equal(b, &[of_range], &[of_header]);
    }
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;
    use rollmill_plonk::gates::power_of_two;
    use rollmill_protocol::Config;
    use rollmill_protocol::header::StateRefsLayout;
    use rollmill_protocol::tree::{empty_root, root_from_path};

    use super::*;

    fn holds(lay_out: impl Fn(&mut Builder)) -> bool {
        let mut b = Builder::new(0, 10);
        lay_out(&mut b);
        let (layout, witness) = b.finish(None).unwrap();
        check(&layout, &witness).is_ok()
    }

    fn row() -> HeaderLayout<Fr> {
        HeaderLayout::from_slice(&[Fr::from(0u64); Header::FIELDS]).unwrap()
    }

    /// Duty 10: numbers of a header are in their ranges, whatever the header's type allows outside.
    #[test]
    fn numbers_of_a_header_beyond_their_ranges_are_rejected() {
        let mut ranged = 0;
        for (i, info) in Header::cell_infos().into_iter().enumerate() {
            let Range::Bits(bits) = info.range else { continue };
            if IN_RANGE.iter().any(|(name, _)| *name == info.name) {
                continue;
            }
            ranged += 1;
            let limit = power_of_two(bits);
            for (value, good) in [(limit - Fr::from(1u64), true), (limit, false)] {
                let mut cells = row().into_vec();
                cells[i] = value;
                let ok = holds(|b| {
                    let vars: Vec<Var> = cells.iter().map(|v| b.witness(*v)).collect();
                    range_header(b, &HeaderLayout::from_slice(&vars).unwrap());
                });
                assert_eq!(ok, good, "{}: {value}", info.name);
            }
        }
        assert_eq!(ranged, 2, "slot and coinbase");
    }

    /// Goal: no exception is left behind when its field goes or gets another type.
    #[test]
    fn every_exception_is_a_number_of_the_header() {
        let infos = Header::cell_infos();
        for (name, _) in IN_RANGE {
            let info = infos.iter().find(|info| info.name == *name);
            let is_number = info.is_some_and(|info| info.range != Range::Field);
            assert!(is_number, "{name} is no number of the header");
        }
    }

    /// A parent's slot just below zero would let any slot follow.
    #[test]
    fn a_parent_with_a_slot_beyond_its_range_is_rejected() {
        let follows_parent = |parent_slot: Fr| {
            let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
            let parent = HeaderLayout { slot: parent_slot, ..row() };
            let mut new = row();
            (new.block_number, new.slot, new.timestamp) = (one, Fr::from(3u64), Fr::from(3u64));
            (new.fee_per_l2_gas, new.fee_per_da_gas) = (one, one);
            let path: Vec<Fr> = (6..Tree::Messages.height()).map(empty_root).collect();
            let root = root_from_path(&empty_root(6), 0, &path);
            let parent = HeaderLayout {
                state: StateRefsLayout { message_root: root, ..parent.state.clone() },
                ..parent
            };
            (new.state.message_root, new.state.message_count) = (root, Fr::from(64u64));
            holds(|b| {
                let parent = parent.clone().map(|v| b.witness(v));
                let new = new.clone().map(|v| b.witness(v));
                let config = config().layout().map(|v| b.witness(v));
                let messages = Messages::open(b, &[zero; 0]);
                follows(b, &parent, &new, &Rules { config, messages, message_path: &path });
            })
        };
        let f = |value: u64| Fr::from(value);
        assert!(follows_parent(f(0)) && follows_parent(f(2)));
        assert!(!follows_parent(f(3)) && !follows_parent(f(4)));
        assert!(!follows_parent(-f(1)));
    }

    /// Slots of a second, from 0.
    fn config() -> Config {
        Config {
            genesis_time: 0,
            slot_seconds: 1,
            slots_per_epoch: 32,
            l2_gas_limit: 3_200_000,
            l2_gas_target: 1_600_000,
            da_gas_limit: 64_000,
            da_gas_target: 32_000,
            min_fee_per_gas: 1,
            message_subtree_height: 6,
        }
    }
}
