//! EpochRoot: a range of blocks lies inside one epoch. Two circuits, for 1 and 2 ranges. Their proofs use the Keccak
//! transcript and are verified on L1.

use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::circuit::Family;
use rollmill_protocol::public_inputs::{
    BlockRangeLayout, Constants, ConstantsLayout, EpochRootLayout, PairLayout,
};
use rollmill_protocol::{Circuit, Config};

use crate::block_merge::{assert_not_empty, join};
use crate::children::{Child, verified};
use crate::circuit::cell_bits;
use crate::gadgets::charge::{OpenedLeaf, charged_rows};
use crate::gadgets::config::open_config;
use crate::gadgets::effects::{assert_all_equal, inputs_of, publish};
use crate::gadgets::uint::{divide, range_u64};
use crate::weaken::gone;

/// Everything EpochRoot knows besides its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRootWitness {
    pub constants: Constants,
    /// The deployment's parameters, of which the number of slots in an epoch is used.
    pub config: Config,
    /// This circuit's own leaf.
    pub charge: OpenedLeaf,
}

/// The circuit for a number of ranges.
///
/// # Panics
/// If no circuit takes so many; callers check the number when they read or merge ranges.
pub fn variant(ranges: usize) -> Circuit {
    Circuit::variant(Family::EpochRoot, ranges).expect("an epoch root takes one or two ranges")
}

/// A single range is the whole: constrains its constants and adds this proof's rows.
fn alone(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    charge: &OpenedLeaf,
    range: &BlockRangeLayout<Var>,
    pair: PairLayout<Var>,
) -> BlockRangeLayout<Var> {
    if !gone("circuits.epoch_root.constants") {
        assert_all_equal(b, &range.constants.to_vec(), &constants.to_vec());
    }
    // One range is one block. Two or more blocks are proven as two ranges, so that the rows charged do not
    // depend on a choice.
    if !gone("circuits.epoch_root.one_block") {
        b.assert_equal(range.first_block, range.last_block);
    }
    if !gone("circuits.epoch_root.not_empty") {
        assert_not_empty(b, range);
    }
    let own = charged_rows(b, &constants, Circuit::EpochRoot1, charge);
    let num_constraints = b.add(range.num_constraints, own);
    if !gone("circuits.epoch_root.charge") {
        range_u64(b, num_constraints);
    }
    BlockRangeLayout { constants, num_constraints, pair, ..range.clone() }
}

/// The circuit without the verification of its children, whose public inputs are `ranges` (1 or 2). The twin of
/// `EpochRoot::of_ranges`.
pub fn constrain(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    ranges: &[BlockRangeLayout<Var>],
    pair: PairLayout<Var>,
    w: &EpochRootWitness,
) -> EpochRootLayout<Var> {
    let whole = match ranges {
        [left, right] => join(b, constants, Circuit::EpochRoot2, &w.charge, [left, right], pair),
        [range] => alone(b, constants, &w.charge, range, pair),
        _ => panic!("an epoch root has one or two children by its layout, not {}", ranges.len()),
    };
    b.section("epoch");
    let slots_per_epoch = open_config(b, &whole.constants, &w.config).slots_per_epoch;
    let (epoch, _) = divide(b, whole.first_slot, slots_per_epoch, 64);
    let (last_epoch, _) = divide(b, whole.last_slot, slots_per_epoch, 64);
    if !gone("circuits.epoch_root.one_epoch") {
        b.assert_equal(epoch, last_epoch);
    }
    // Without `..`, so that a new field of a block range must be stated or checked here.
    let BlockRangeLayout {
        constants,
        prev_archive_root,
        end_archive_root,
        first_block,
        last_block,
        first_slot: _, // divided above
        last_slot: _,  // divided above
        chain_start,
        chain_end,
        num_constraints,
        pair,
    } = whole;
    EpochRootLayout {
        constants,
        prev_archive_root,
        end_archive_root,
        first_block,
        last_block,
        epoch,
        chain_start,
        chain_end,
        num_constraints,
        pair,
    }
}

/// The circuit for as many ranges as there are children, 1 or 2.
pub fn build(w: &EpochRootWitness, children: &[Child]) -> Builder {
    let circuit = variant(children.len());
    let mut b = Builder::new(circuit.n_public(), cell_bits(circuit));
    let constants = w.constants.layout().map(|v| b.witness(v));
    let (public, pair) = verified(&mut b, circuit, &constants, children);
    let ranges: Vec<_> = public.iter().map(|public| inputs_of(public)).collect();
    let root = constrain(&mut b, constants, &ranges, pair, w);
    publish(&mut b, &root.into_vec());
    b
}
