//! TxBase: verifies a client proof, applies its effects to the trees, moves value, opens its logs, evaluates its data,
//! and appends the transaction to the block's running hash.
//!
//! The client proof binds the effects by their hash and the anchor by its header's hash. This circuit shows that the
//! anchor is in the archive before the block. The rest updates trees and is the twin of `WorldState::apply_tx`.

mod shape;
mod value;

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::blob::TX_WORDS;
use rollmill_protocol::block::BlockBody;
use rollmill_protocol::header::TxStateLayout;
use rollmill_protocol::public_inputs::{
    ClientInputsLayout, Constants, ConstantsLayout, PairLayout, TxRangeLayout,
};
use rollmill_protocol::state::{BalanceChange, Settlement};
use rollmill_protocol::tree::{ARCHIVE_HEIGHT, NOTE_HEIGHT};
use rollmill_protocol::tx::{REFUND_SLOT, SLOTS, TxEffectsLayout};
use rollmill_protocol::{Circuit, EthAddress, FeePerGas, TxTransition};

use crate::children::{Child, verified};
use crate::circuit::cell_bits;
use crate::gadgets::blob::{Powers, Scalar};
use crate::gadgets::effects::{halves, inputs_of, publish, tx_hash, txs_chain_next};
use crate::gadgets::indexed::{EntryWitness, insert_nullifier};
use crate::gadgets::merkle::{TreeVars, append, assert_member};
use crate::gadgets::uint::range_bits;
use crate::weaken::gone;

/// Everything TxBase knows besides the client proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxBaseWitness {
    pub constants: Constants,
    /// The block's slot.
    pub slot: u64,
    /// The block's prices.
    pub price: FeePerGas,
    /// The point at which the block's data is evaluated.
    pub z: Fr,
    /// The transaction's effects and logs.
    pub body: BlockBody,
    pub transition: TxTransition,
}

/// Constrains the client proof to be one for this deployment, and for effects with this hash, made over an anchor in
/// the archive under `archive_root`.
fn assert_client(
    b: &mut Builder,
    constants: &ConstantsLayout<Var>,
    client: &ClientInputsLayout<Var>,
    hash: Var,
    archive_root: Var,
    w: &TxBaseWitness,
) {
    if !gone("circuits.tx_base.chain_id") {
        b.assert_equal(client.chain_id, constants.chain_id);
    }
    if !gone("circuits.tx_base.version") {
        b.assert_equal(client.version, constants.version);
    }
    // A tail verifies proofs under this root, so that a sender cannot bring keys of its own.
    if !gone("circuits.tx_base.vk_root") {
        b.assert_equal(client.vk_root, constants.vk_root);
    }
    if !gone("circuits.tx_base.protocol_version") {
        b.assert_equal(client.protocol_version, constants.protocol_version);
    }
    if !gone("circuits.tx_base.tx_hash") {
        b.assert_equal(client.tx_hash, hash);
    }
    let anchor = &w.transition.anchor;
    let index = b.witness(Fr::from(anchor.index));
    let hash = client.anchor_header_hash;
    assert_member(b, archive_root, hash, index, &anchor.path, ARCHIVE_HEIGHT);
}

/// The words of the transaction as the blob has them: the words of the logs in place of their hashes.
fn words(tx: &TxEffectsLayout<Var>, logs: Vec<Var>) -> Vec<Var> {
    let effects = tx.to_vec();
    let at = 3 * SLOTS;
    let words = [&effects[..at], &logs, &effects[at + SLOTS..]].concat();
    assert_eq!(words.len(), TX_WORDS, "words of a transaction");
    words
}

/// The entry of the payer's balance.
fn entry(settlement: &Settlement) -> EntryWitness<'_> {
    match settlement {
        Settlement::Refund { .. } => EntryWitness::none(),
        Settlement::Payer { change: BalanceChange::Update(update), .. } => EntryWitness {
            found: true,
            low_leaf: update.leaf,
            low_index: update.index,
            low_path: &update.path,
            new_path: &[],
        },
        Settlement::Payer { change: BalanceChange::Insert(insertion), .. } => EntryWitness {
            found: false,
            low_leaf: insertion.low_leaf,
            low_index: insertion.low_index,
            low_path: &insertion.low_path,
            new_path: &insertion.new_path,
        },
    }
}

/// The circuit without the verification of the client proof, whose public inputs are `client`.
pub fn constrain(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    client: &ClientInputsLayout<Var>,
    pair: PairLayout<Var>,
    w: &TxBaseWitness,
) -> TxRangeLayout<Var> {
    constrain_over(b, constants, client, pair, w, w.body.effects.layout())
}

/// [`constrain`] with any values for the effects, as a prover can choose them.
pub fn constrain_over(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    client: &ClientInputsLayout<Var>,
    pair: PairLayout<Var>,
    w: &TxBaseWitness,
    effects: TxEffectsLayout<Fr>,
) -> TxRangeLayout<Var> {
    let transition = &w.transition.effects;
    b.section("transaction");
    if !gone("circuits.tx_base.prover") {
        range_bits(b, constants.prover_id, EthAddress::BITS);
    }
    let tx = effects.map(|value| b.witness(value));
    let hash = tx_hash(b, &tx);
    let anchor_archive_root = b.witness(w.transition.anchor.archive_root);
    assert_client(b, &constants, client, hash, anchor_archive_root, w);
    let slot = b.witness(Fr::from(w.slot));
    shape::in_time(b, slot, tx.expiry_slot);
    b.section("shape and logs");
    let absent = shape::constrain(b, &tx);
    let logs = shape::open_logs(b, &tx, &absent.logs, &w.body.logs);

    b.section("value");
    let [fee_per_l2_gas, fee_per_da_gas] =
        [w.price.l2, w.price.da].map(|price| b.witness(price.into()));
    let charge = value::charge(b, &tx, fee_per_l2_gas, fee_per_da_gas);
    let message_root = b.witness(transition.message_root);
    let claim = transition.claim.as_ref();
    let path = claim.map_or([].as_slice(), |claim| &claim.path);
    let claimed = value::claim(b, &tx, &absent, message_root, path);
    let start = transition.start.layout().map(|v| b.witness(v));
    let balances = TreeVars { root: start.public_data_root, count: start.public_data_count };
    let entry = entry(&transition.settlement);
    let (balances, last_note) = value::settle(b, &tx, &absent, charge.fee, balances, entry);
    let out_root = value::out_node(b, &tx, &absent);

    b.section("note hashes");
    let notes = TreeVars { root: start.note_root, count: start.note_count };
    let mut leaves = tx.note_hashes;
    leaves[REFUND_SLOT] = last_note;
    let notes = append(b, notes, &leaves, &transition.notes.path, NOTE_HEIGHT);
    b.section("nullifiers");
    let mut nullifiers = TreeVars { root: start.nullifier_root, count: start.nullifier_count };
    for (nullifier, insertion) in tx.nullifiers.iter().zip(&transition.nullifiers) {
        nullifiers = insert_nullifier(b, nullifiers, *nullifier, insertion.as_ref());
    }
    let insertion = claim.map(|claim| &claim.insertion);
    nullifiers = insert_nullifier(b, nullifiers, claimed, insertion);

    b.section("data");
    let z = b.witness(w.z);
    let powers = Powers::new(b, z);
    let words: Vec<Scalar> =
        words(&tx, logs).into_iter().map(|word| Scalar::of_word(b, word)).collect();
    let (y, pow) = (powers.evaluate(b, &words), powers.power(b, TX_WORDS as u32));
    let txs_chain_start = b.witness(transition.txs_chain_start);
    TxRangeLayout {
        constants,
        anchor_archive_root,
        message_root,
        slot,
        fee_per_l2_gas,
        fee_per_da_gas,
        end: TxStateLayout {
            note_root: notes.root,
            note_count: notes.count,
            nullifier_root: nullifiers.root,
            nullifier_count: nullifiers.count,
            public_data_root: balances.root,
            public_data_count: balances.count,
        },
        start,
        txs_chain_start,
        txs_chain_end: txs_chain_next(b, txs_chain_start, hash),
        fees_sum: charge.fee,
        tx_count: b.constant_u64(1),
        l2_gas_used: charge.l2_gas,
        da_gas_used: charge.da_gas,
        z,
        y: halves(b, &y),
        pow: halves(b, &pow),
        out_root,
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
