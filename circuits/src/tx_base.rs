//! TxBase: verifies a client proof, applies its effects to the trees, charges the fee, and appends the transaction
//! to the block's running hash.
//!
//! The client proof binds the effects by their hash and the anchor by its header's hash. This circuit shows that the
//! anchor is in the archive before the block. The rest updates trees and is the twin of `WorldState::apply_tx`.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::gas::{DA_GAS_PER_TX, FeePerGas, L2_GAS_PER_TX};
use rollmill_protocol::header::TxStateLayout;
use rollmill_protocol::public_inputs::{
    ClientInputsLayout, Constants, ConstantsLayout, PairLayout, TxRangeLayout,
};
use rollmill_protocol::tree::{ARCHIVE_HEIGHT, STATE_HEIGHT};
use rollmill_protocol::tx::TxEffectsLayout;
use rollmill_protocol::{Circuit, TxEffects, TxTransition, domain};

use crate::children::{Child, verified};
use crate::circuit::cell_bits;
use crate::gadgets::effects::{
    assert_all_zero, effects, inputs_of, publish, range_gas, tx_hash, txs_chain_next,
};
use crate::gadgets::indexed::{insert_nullifier, open_value, replace_value};
use crate::gadgets::merkle::{TreeVars, append, assert_member};
use crate::gadgets::uint::{assert_at_most, range_u64};
use crate::weaken::gone;

/// Everything TxBase knows besides the client proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxBaseWitness {
    pub constants: Constants,
    /// The block's prices.
    pub price: FeePerGas,
    pub effects: TxEffects,
    pub transition: TxTransition,
}

/// Constrains the transaction's limits against the block's prices. Returns the fee, below 2^64.
fn charge(b: &mut Builder, effects: &TxEffectsLayout<Var>, l2_price: Var, da_price: Var) -> Var {
    if !gone("circuits.tx_base.gas") {
        range_gas(b, &effects.gas);
    }
    if !gone("circuits.tx_base.price_l2") {
        range_u64(b, l2_price);
    }
    if !gone("circuits.tx_base.price_da") {
        range_u64(b, da_price);
    }
    if !gone("circuits.tx_base.max_fee_l2") {
        assert_at_most(b, l2_price, effects.gas.max_fee_per_l2_gas, 64);
    }
    if !gone("circuits.tx_base.max_fee_da") {
        assert_at_most(b, da_price, effects.gas.max_fee_per_da_gas, 64);
    }
    let one = Fr::from(1u64);
    for (used, teardown, limit) in [
        (L2_GAS_PER_TX, effects.gas.l2_teardown_gas_limit, effects.gas.l2_gas_limit),
        (DA_GAS_PER_TX, effects.gas.da_teardown_gas_limit, effects.gas.da_gas_limit),
    ] {
        // limit − teardown − used ≥ 0; all three are below 2^64.
        let left = b.linear(&[(one, limit), (-one, teardown)], -Fr::from(used));
        if !gone("circuits.tx_base.limit") {
            range_u64(b, left);
        }
    }
    // Below 2^64 · 2^17, so the range check is about the integer.
    let fee = b.linear(
        &[(Fr::from(L2_GAS_PER_TX), l2_price), (Fr::from(DA_GAS_PER_TX), da_price)],
        Fr::from(0u64),
    );
    if !gone("circuits.tx_base.fee") {
        range_u64(b, fee);
    }
    fee
}

/// The circuit without the verification of the client proof, whose public inputs are `client`.
pub fn constrain(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    client: &ClientInputsLayout<Var>,
    pair: PairLayout<Var>,
    w: &TxBaseWitness,
) -> TxRangeLayout<Var> {
    let transition = &w.transition.effects;
    b.section("transaction");
    if !gone("circuits.tx_base.chain_id") {
        b.assert_equal(client.chain_id, constants.chain_id);
    }
    if !gone("circuits.tx_base.version") {
        b.assert_equal(client.version, constants.version);
    }
    let tx = effects(b, &w.effects);
    let hash = tx_hash(b, &tx);
    if !gone("circuits.tx_base.tx_hash") {
        b.assert_equal(hash, client.tx_hash);
    }
    // The first nullifier makes the transaction unique. Messages are reserved for the bridge.
    if !gone("circuits.tx_base.first_nullifier") {
        b.inverse(tx.nullifiers[0]);
    }
    if !gone("circuits.tx_base.messages") {
        assert_all_zero(b, &tx.messages);
    }
    let anchor_archive_root = b.witness(w.transition.anchor.archive_root);
    let anchor_index = b.witness(Fr::from(w.transition.anchor.index));
    let anchor_path = &w.transition.anchor.path;
    assert_member(
        b,
        anchor_archive_root,
        client.anchor_header_hash,
        anchor_index,
        anchor_path,
        ARCHIVE_HEIGHT,
    );

    let start = transition.start.layout().map(|v| b.witness(v));
    b.section("note hashes");
    let notes = TreeVars { root: start.note_root, count: start.note_count };
    let notes = append(b, notes, &tx.note_hashes, &transition.notes.path, STATE_HEIGHT);
    b.section("nullifiers");
    let mut nullifiers = TreeVars { root: start.nullifier_root, count: start.nullifier_count };
    for (nullifier, insertion) in tx.nullifiers.iter().zip(&transition.nullifiers) {
        nullifiers = insert_nullifier(b, nullifiers, *nullifier, insertion.as_ref());
    }
    b.section("fee");
    let fee_per_l2_gas = b.witness(w.price.l2.into());
    let fee_per_da_gas = b.witness(w.price.da.into());
    let fee = charge(b, &tx, fee_per_l2_gas, fee_per_da_gas);
    let slot = b.hash(domain::FEE_BALANCE_SLOT, &[tx.fee_payer]);
    let leaf = open_value(b, start.public_data_root, slot, &transition.fee_payment);
    if !gone("circuits.tx_base.balance_before") {
        range_u64(b, leaf.value);
    }
    let balance = assert_at_most(b, fee, leaf.value, 64);
    let public_data_root = replace_value(b, &leaf, balance);

    let txs_chain_start = b.witness(transition.txs_chain_start);
    let txs_chain_end = txs_chain_next(b, txs_chain_start, hash);
    TxRangeLayout {
        constants,
        anchor_archive_root,
        fee_per_l2_gas,
        fee_per_da_gas,
        end: TxStateLayout {
            note_root: notes.root,
            note_count: notes.count,
            nullifier_root: nullifiers.root,
            nullifier_count: nullifiers.count,
            public_data_root,
            public_data_count: start.public_data_count,
        },
        start,
        txs_chain_start,
        txs_chain_end,
        fees_sum: fee,
        tx_count: b.constant_u64(1),
        pair,
    }
}

/// The circuit, over the client proof `child`.
pub fn build(w: &TxBaseWitness, child: &Child) -> Builder {
    let circuit = Circuit::TxBase;
    let mut b = Builder::new(circuit.n_public(), cell_bits(circuit));
    let constants = w.constants.layout().map(|v| b.witness(v));
    let (public, pair) = verified(&mut b, circuit, &constants, std::slice::from_ref(child));
    let client = inputs_of(&public[0]);
    let range = constrain(&mut b, constants, &client, pair, w);
    publish(&mut b, &range.into_vec());
    b
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;

    use super::*;

    /// Whether the charge passes for these prices and gas fields (in the order of the layout).
    fn passes(prices: [Fr; 2], gas: [Fr; 6]) -> bool {
        let mut b = Builder::new(0, 10);
        let mut fields = vec![Fr::from(0u64); TxEffects::FIELDS - 6];
        fields.extend(gas);
        let effects = TxEffectsLayout::from_slice(&fields).unwrap().map(|v| b.witness(v));
        let [l2, da] = prices.map(|v| b.witness(v));
        charge(&mut b, &effects, l2, da);
        let (layout, witness) = b.finish(None).unwrap();
        check(&layout, &witness).is_ok()
    }

    fn gas() -> [Fr; 6] {
        [10, 10, L2_GAS_PER_TX, DA_GAS_PER_TX, 0, 0].map(Fr::from)
    }

    fn prices(l2: i64, da: i64) -> [Fr; 2] {
        [l2, da].map(Fr::from)
    }

    /// Duty 10: with a negative price, two fees that are not zero would add up to zero.
    #[test]
    fn prices_that_cancel_out_are_rejected() {
        assert!(passes(prices(2, 3), gas()));
        // 100,000 · (−1) + 2,000 · 50 = 0, and the other way around.
        let mut wide = gas();
        wide[1] = Fr::from(50u64);
        assert!(!passes(prices(-1, 50), wide));
        assert!(!passes(prices(1, -50), gas()));
    }

    /// Duty 10: a limit that is met only because the teardown limit is negative.
    #[test]
    fn gas_fields_beyond_64_bits_are_rejected() {
        for field in 0..6 {
            for value in [Fr::from(1u128 << 64), -Fr::from(1u64)] {
                let mut changed = gas();
                changed[field] = value;
                assert!(!passes(prices(2, 3), changed), "field {field}");
            }
        }
        let mut changed = gas();
        changed[2] = Fr::from(5u64);
        changed[4] = Fr::from(5u64) - Fr::from(L2_GAS_PER_TX);
        assert!(!passes(prices(2, 3), changed));
    }

    #[test]
    fn a_fee_beyond_64_bits_is_rejected_whatever_the_balance() {
        let most = u64::MAX / L2_GAS_PER_TX;
        let mut wide = gas();
        wide[0] = Fr::from(u64::MAX);
        assert!(passes([Fr::from(most), Fr::from(0u64)], wide));
        assert!(!passes([Fr::from(most + 1), Fr::from(0u64)], wide));
    }
}
