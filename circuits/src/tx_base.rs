//! TxBase: a client proof verifies, its effects are applied to the trees, the fee is charged, and the
//! transaction is appended to the block's running hash.
//!
//! The client proof binds the effects through their hash, and the anchor through its header's hash;
//! here the anchor is shown to be in the archive before the block. The rest is arithmetic of trees,
//! the twin of `WorldState::apply_tx`.

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
use crate::circuit::{cell_bits, n_public};
use crate::gadgets::effects::{
    assert_all_zero, effects, inputs_of, publish, range_gas, tx_hash, txs_chain_next,
};
use crate::gadgets::indexed::{insert_nullifier, open_value, replace_value};
use crate::gadgets::merkle::{TreeVars, append, assert_member};
use crate::gadgets::uint::{assert_at_most, range_u64};

/// Everything TxBase knows besides the client proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxBaseWitness {
    pub constants: Constants,
    /// The block's prices.
    pub price: FeePerGas,
    pub effects: TxEffects,
    pub transition: TxTransition,
}

/// Constrains what the transaction allows against the block's prices; answers the fee, below 2^64.
fn charge(b: &mut Builder, effects: &TxEffectsLayout<Var>, l2_price: Var, da_price: Var) -> Var {
    range_gas(b, effects);
    range_u64(b, l2_price);
    range_u64(b, da_price);
    assert_at_most(b, l2_price, effects.max_fee_per_l2_gas, 64);
    assert_at_most(b, da_price, effects.max_fee_per_da_gas, 64);
    let one = Fr::from(1u64);
    for (used, teardown, limit) in [
        (L2_GAS_PER_TX, effects.l2_teardown_gas_limit, effects.l2_gas_limit),
        (DA_GAS_PER_TX, effects.da_teardown_gas_limit, effects.da_gas_limit),
    ] {
        // limit − teardown − used ≥ 0; all three are below 2^64.
        let left = b.linear(&[(one, limit), (-one, teardown)], -Fr::from(used));
        range_u64(b, left);
    }
    // Below 2^64 · 2^17, so the range check sees the integer.
    let fee = b.linear(
        &[(Fr::from(L2_GAS_PER_TX), l2_price), (Fr::from(DA_GAS_PER_TX), da_price)],
        Fr::from(0u64),
    );
    range_u64(b, fee);
    fee
}

/// Everything but the verification of the client proof, whose public inputs are `client`.
pub fn constrain(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    client: &ClientInputsLayout<Var>,
    pair: PairLayout<Var>,
    w: &TxBaseWitness,
) -> TxRangeLayout<Var> {
    let transition = &w.transition.effects;
    b.section("transaction");
    b.assert_equal(client.chain_id, constants.chain_id);
    b.assert_equal(client.version, constants.version);
    let tx = effects(b, &w.effects);
    let hash = tx_hash(b, &tx);
    b.assert_equal(hash, client.tx_hash);
    // The first nullifier makes the transaction unique; messages wait for the bridge.
    b.inverse(tx.nullifiers[0]);
    assert_all_zero(b, &tx.messages);
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
    range_u64(b, leaf.value);
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
    let mut b = Builder::new(n_public(circuit), cell_bits(circuit));
    let constants = w.constants.layout().map(|v| b.witness(v));
    let (public, pair) = verified(&mut b, circuit, &constants, std::slice::from_ref(child));
    let client = inputs_of(&public[0]);
    let range = constrain(&mut b, constants, &client, pair, w);
    publish(&mut b, &range.into_vec());
    b
}
