//! BlockMerge: joins two adjacent ranges of blocks.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::Circuit;
use rollmill_protocol::public_inputs::{BlockRangeLayout, Constants, ConstantsLayout, PairLayout};

use crate::children::{Child, verified};
use crate::circuit::cell_bits;
use crate::gadgets::charge::{OpenedLeaf, charged_rows};
use crate::gadgets::effects::{assert_all_equal, inputs_of, publish};
use crate::gadgets::uint::{assert_at_most, assert_below, range_u64};
use crate::weaken::gone;

/// Everything BlockMerge knows besides its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMergeWitness {
    pub constants: Constants,
    /// This circuit's own leaf.
    pub charge: OpenedLeaf,
}

/// Constrains a range of blocks not to be empty. BlockRoot keeps block numbers below 2^32.
pub fn assert_not_empty(b: &mut Builder, range: &BlockRangeLayout<Var>) {
    if !gone("circuits.join.not_empty") {
        assert_at_most(b, range.first_block, range.last_block, 64);
    }
}

/// Joins `left` and `right`, which the proof of `circuit` verifies; the twin of `BlockRange::join`.
///
/// Constants, and with them the prover, must be equal. Archive, block number and chain of the right range must start where the left
/// one ends, and its slots must come later. The rows charged are those of both ranges and of this proof, below 2^64.
pub fn join(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    circuit: Circuit,
    charge: &OpenedLeaf,
    [left, right]: [&BlockRangeLayout<Var>; 2],
    pair: PairLayout<Var>,
) -> BlockRangeLayout<Var> {
    b.section("join");
    for child in [left, right] {
        if !gone("circuits.join.constants") {
            assert_all_equal(b, &child.constants.to_vec(), &constants.to_vec());
        }
        assert_not_empty(b, child);
    }
    if !gone("circuits.join.archive") {
        b.assert_equal(left.end_archive_root, right.prev_archive_root);
    }
    if !gone("circuits.join.number") {
        b.linear_into(&[(Fr::from(1u64), left.last_block)], Fr::from(1u64), right.first_block);
    }
    if !gone("circuits.join.chain") {
        b.assert_equal(left.chain_end, right.chain_start);
    }
    if !gone("circuits.join.slot") {
        assert_below(b, left.last_slot, right.first_slot, 64);
    }
    let own = charged_rows(b, &constants, circuit, charge);
    let one = Fr::from(1u64);
    let terms = [(one, left.num_constraints), (one, right.num_constraints), (one, own)];
    let num_constraints = b.linear(&terms, Fr::from(0u64));
    if !gone("circuits.join.charge") {
        range_u64(b, num_constraints);
    }
    BlockRangeLayout {
        constants,
        prev_archive_root: left.prev_archive_root,
        end_archive_root: right.end_archive_root,
        first_block: left.first_block,
        last_block: right.last_block,
        first_slot: left.first_slot,
        last_slot: right.last_slot,
        chain_start: left.chain_start,
        chain_end: right.chain_end,
        num_constraints,
        pair,
    }
}

/// The circuit.
pub fn build(w: &BlockMergeWitness, children: &[Child; 2]) -> Builder {
    let circuit = Circuit::BlockMerge;
    let mut b = Builder::new(circuit.n_public(), cell_bits(circuit));
    let constants = w.constants.layout().map(|v| b.witness(v));
    let (public, pair) = verified(&mut b, circuit, &constants, children);
    let (left, right) = (inputs_of(&public[0]), inputs_of(&public[1]));
    let range = join(&mut b, constants, circuit, &w.charge, [&left, &right], pair);
    publish(&mut b, &range.into_vec());
    b
}
