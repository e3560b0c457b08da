//! TxMerge: joins two adjacent ranges of transactions.

use ark_ff::PrimeField;
use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::Circuit;
use rollmill_protocol::blob::HalvesLayout;
use rollmill_protocol::gas::MAX_TXS_PER_BLOCK;
use rollmill_protocol::public_inputs::{Constants, ConstantsLayout, PairLayout, TxRangeLayout};

use crate::children::{Child, verified};
use crate::circuit::cell_bits;
use crate::gadgets::blob::Scalar;
use crate::gadgets::effects::{assert_all_equal, halves, inputs_of, publish};
use crate::gadgets::merkle::node_hash;
use crate::gadgets::uint::{assert_at_most, checked_add, range_bits};
use crate::gadgets::vk_tree::Choice;
use crate::weaken::gone;

/// Numbers of transactions that a left range may have. With a right range of no more the tree over n transactions has
/// one shape: the largest power of two below n on the left, and the rest on the right. A block has at most twice the
/// last one.
const LEFT_COUNTS: [u64; 5] = [1, 2, 4, 8, 16];
const _: () = assert!(2 * LEFT_COUNTS[4] as usize == MAX_TXS_PER_BLOCK);

/// Joins `left` and `right`; the twin of `TxRange::join`. The result has the pair `pair`.
///
/// Both must have these `constants`, and the same words of their block. The right range must start in the state
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
    }
    same_block(b, left, right);
    if !gone("circuits.tx_merge.state") {
        assert_all_equal(b, &left.end.to_vec(), &right.start.to_vec());
    }
    if !gone("circuits.tx_merge.chain") {
        b.assert_equal(left.txs_chain_end, right.txs_chain_start);
    }
    shape(b, left.tx_count, right.tx_count);
    let [y, pow] = join_evaluations(b, left, right);
    TxRangeLayout {
        constants,
        anchor_archive_root: left.anchor_archive_root,
        message_root: left.message_root,
        slot: left.slot,
        fee_per_l2_gas: left.fee_per_l2_gas,
        fee_per_da_gas: left.fee_per_da_gas,
        start: left.start.clone(),
        end: right.end.clone(),
        txs_chain_start: left.txs_chain_start,
        txs_chain_end: right.txs_chain_end,
        fees_sum: checked_add(b, left.fees_sum, right.fees_sum, 128),
        tx_count: b.add(left.tx_count, right.tx_count),
        l2_gas_used: checked_add(b, left.l2_gas_used, right.l2_gas_used, 64),
        da_gas_used: checked_add(b, left.da_gas_used, right.da_gas_used, 64),
        z: left.z,
        y,
        pow,
        out_root: node_hash(b, left.out_root, right.out_root),
        pair,
    }
}

/// Constrains what all ranges of a block have in common.
fn same_block(b: &mut Builder, left: &TxRangeLayout<Var>, right: &TxRangeLayout<Var>) {
    if !gone("circuits.tx_merge.anchor") {
        b.assert_equal(left.anchor_archive_root, right.anchor_archive_root);
    }
    if !gone("circuits.tx_merge.messages") {
        b.assert_equal(left.message_root, right.message_root);
    }
    if !gone("circuits.tx_merge.slot") {
        b.assert_equal(left.slot, right.slot);
    }
    if !gone("circuits.tx_merge.price_l2") {
        b.assert_equal(left.fee_per_l2_gas, right.fee_per_l2_gas);
    }
    if !gone("circuits.tx_merge.price_da") {
        b.assert_equal(left.fee_per_da_gas, right.fee_per_da_gas);
    }
    if !gone("circuits.tx_merge.z") {
        b.assert_equal(left.z, right.z);
    }
}

/// Constrains the numbers of transactions to those of the one shape of a tree.
fn shape(b: &mut Builder, left: Var, right: Var) {
    let whole = b.value(left).into_bigint().0[0];
    shape_given(b, left, right, whole);
}

/// [`shape`] with the left number as the prover claims it.
fn shape_given(b: &mut Builder, left: Var, right: Var, claimed: u64) {
    let choice = Choice::new(b, &LEFT_COUNTS, claimed);
    let chosen = choice.map(b, Fr::from);
    if !gone("circuits.tx_merge.left") {
        b.assert_equal(chosen, left);
    }
    // From 1 to the left number, which is small: both differences are below 2^5.
    let one = Fr::from(1u64);
    let beyond_one = b.scale(right, one, -one);
    if !gone("circuits.tx_merge.not_empty") {
        range_bits(b, beyond_one, 5);
    }
    if !gone("circuits.tx_merge.right") {
        assert_at_most(b, right, left, 5);
    }
}

/// The halves of y and z^words of both ranges together: the right words stand after the left ones.
fn join_evaluations(
    b: &mut Builder,
    left: &TxRangeLayout<Var>,
    right: &TxRangeLayout<Var>,
) -> [HalvesLayout<Var>; 2] {
    let [y_left, pow_left] = evaluation(b, left);
    let [y_right, pow_right] = evaluation(b, right);
    let y = pow_left.times_plus(b, &y_right, &y_left);
    let pow = pow_left.times(b, &pow_right);
    [y, pow].map(|value| halves(b, &value))
}

fn evaluation(b: &mut Builder, range: &TxRangeLayout<Var>) -> [Scalar; 2] {
    [&range.y, &range.pow].map(|half| Scalar::of_halves(b, [half.lo, half.hi]))
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

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;

    use super::*;

    /// Attack: a left number that is no power of two, claimed to be one.
    #[test]
    fn a_left_number_other_than_the_claimed_one_is_rejected() {
        let accepted = |left: u64, right: u64, claimed: u64| {
            let mut b = Builder::new(0, 10);
            let (left, right) = (b.witness(Fr::from(left)), b.witness(Fr::from(right)));
            shape_given(&mut b, left, right, claimed);
            let (layout, witness) = b.finish(None).expect("fits");
            check(&layout, &witness).is_ok()
        };
        assert!(accepted(4, 3, 4));
        assert!(!accepted(3, 3, 4) && !accepted(3, 3, 2) && !accepted(3, 3, 3));
    }
}
