//! TxMerge: joins two adjacent ranges of transactions.

use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::Circuit;
use rollmill_protocol::public_inputs::{Constants, ConstantsLayout, PairLayout, TxRangeLayout};

use crate::children::{Child, verified};
use crate::circuit::cell_bits;
use crate::gadgets::effects::{assert_all_equal, inputs_of, publish};
use crate::gadgets::uint::checked_add;
use crate::weaken::gone;

/// Joins `left` and `right`; the twin of `TxRange::join`. The result has the pair `pair`.
///
/// Both must have these `constants`, and the same anchor archive and prices. The right range must start in the state
/// and running hash where the left one ends, and neither can be empty. The sums are constrained below 2^128 and
/// 2^64. Those of the children are by their own proofs, so no sum wraps.
pub fn join(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    left: &TxRangeLayout<Var>,
    right: &TxRangeLayout<Var>,
    pair: PairLayout<Var>,
) -> TxRangeLayout<Var> {
    b.section("join");
    for child in [left, right] {
        if !gone("circuits.tx_merge.constants") {
            assert_all_equal(b, &child.constants.to_vec(), &constants.to_vec());
        }
        if !gone("circuits.tx_merge.not_empty") {
            b.inverse(child.tx_count);
        }
    }
    if !gone("circuits.tx_merge.anchor") {
        b.assert_equal(left.anchor_archive_root, right.anchor_archive_root);
    }
    if !gone("circuits.tx_merge.price_l2") {
        b.assert_equal(left.fee_per_l2_gas, right.fee_per_l2_gas);
    }
    if !gone("circuits.tx_merge.price_da") {
        b.assert_equal(left.fee_per_da_gas, right.fee_per_da_gas);
    }
    if !gone("circuits.tx_merge.state") {
        assert_all_equal(b, &left.end.to_vec(), &right.start.to_vec());
    }
    if !gone("circuits.tx_merge.chain") {
        b.assert_equal(left.txs_chain_end, right.txs_chain_start);
    }
    TxRangeLayout {
        constants,
        anchor_archive_root: left.anchor_archive_root,
        fee_per_l2_gas: left.fee_per_l2_gas,
        fee_per_da_gas: left.fee_per_da_gas,
        start: left.start.clone(),
        end: right.end.clone(),
        txs_chain_start: left.txs_chain_start,
        txs_chain_end: right.txs_chain_end,
        fees_sum: checked_add(b, left.fees_sum, right.fees_sum, 128),
        tx_count: checked_add(b, left.tx_count, right.tx_count, 64),
        pair,
    }
}

/// The circuit.
pub fn build(constants: &Constants, children: &[Child; 2]) -> Builder {
    let circuit = Circuit::TxMerge;
    let mut b = Builder::new(circuit.n_public(), cell_bits(circuit));
    let constants = constants.layout().map(|v| b.witness(v));
    let (public, pair) = verified(&mut b, circuit, &constants, children);
    let (left, right) = (inputs_of(&public[0]), inputs_of(&public[1]));
    let range = join(&mut b, constants, &left, &right, pair);
    publish(&mut b, &range.into_vec());
    b
}
