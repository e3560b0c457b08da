//! BlockRoot: ranges of transactions make up a whole block. Three circuits, for 0, 1 and 2 ranges.
//!
//! The circuit opens the parent's header from the archive, so the block starts in the parent's state, and appends
//! the new header to the archive. Everything in the header but the coinbase follows from the parent, the deployment's
//! parameters, the transactions and L1. The circuit computes the block's link to L1's chain, which binds the proof to
//! what L1 stored: times, prices, messages, and the value of the data's polynomial at the point z.
//!
//! The number of ranges follows from the number of transactions: none for 0, a TxBase for 1, two for 2 or more. So
//! the rows charged depend on the block and not on how it was proven.

mod header;
mod link;

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::blob::Commitment;
use rollmill_protocol::builder::Block;
use rollmill_protocol::circuit::Family;
use rollmill_protocol::header::HeaderLayout;
use rollmill_protocol::public_inputs::{
    BlockRangeLayout, Constants, ConstantsLayout, PairLayout, TxRangeLayout,
};
use rollmill_protocol::tree::ARCHIVE_HEIGHT;
use rollmill_protocol::{Circuit, Config, EthAddress, Header};

use crate::children::{Child, verified};
use crate::circuit::cell_bits;
use crate::gadgets::charge::{OpenedLeaf, charged_rows};
use crate::gadgets::config::open_config;
use crate::gadgets::effects::{assert_all_equal, header_hash, inputs_of, publish};
use crate::gadgets::merkle::{TreeVars, append, assert_member};
use crate::gadgets::messages::Messages;
use crate::gadgets::uint::{range_bits, range_u64};
use crate::tx_merge::join;
use crate::weaken::gone;
use header::{Rules, covers, follows, range_header};

/// What BlockRoot knows besides its children and the keys: the part of its witness that a job carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInput {
    pub constants: Constants,
    /// The parameters whose hash the constants have.
    pub config: Config,
    pub parent: Header,
    pub header: Header,
    /// The block's messages from L1, in order.
    pub messages: Vec<Fr>,
    /// Siblings of the messages' subtree in the message tree before the block, lowest first.
    pub message_path: Vec<Fr>,
    /// Siblings of the parent's header in the archive before the block, lowest first.
    pub parent_path: Vec<Fr>,
    /// Siblings of the new header's leaf in that archive.
    pub append_path: Vec<Fr>,
    /// L1's chain before the block.
    pub chain_before: Fr,
    /// The commitment to the block's data; zeros without transactions.
    pub commitment: Commitment,
}

impl BlockInput {
    /// The input for a block with this commitment to its data.
    pub fn new(
        constants: Constants,
        config: Config,
        block: &Block,
        commitment: Commitment,
        chain_before: Fr,
    ) -> Self {
        Self {
            constants,
            config,
            parent: block.parent.clone(),
            header: block.header.clone(),
            messages: block.message_leaves().copied().collect(),
            message_path: block.messages.path.clone(),
            parent_path: block.archive.parent_path.clone(),
            append_path: block.archive.append.path.clone(),
            chain_before,
            commitment,
        }
    }
}

/// Everything BlockRoot knows besides its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRootWitness {
    pub block: BlockInput,
    /// The circuit has a cell of its own for it, which it compares with the header's.
    pub archive_root_before: Fr,
    /// Leaves of TxBase, TxMerge and of this circuit.
    pub charges: [OpenedLeaf; 3],
}

impl BlockRootWitness {
    /// The witness for a job's input, with the leaves of the key tree.
    pub fn new(block: BlockInput, charges: [OpenedLeaf; 3]) -> Self {
        Self { archive_root_before: block.header.last_archive_root, block, charges }
    }
}

/// The circuit for a number of ranges.
///
/// # Panics
/// If no circuit takes so many; callers check the number when they read or merge ranges.
pub fn variant(ranges: usize) -> Circuit {
    Circuit::variant(Family::BlockRoot, ranges).expect("a block root takes at most two ranges")
}

/// The circuit without the verification of its children, whose public inputs are `ranges` (0 to 2).
pub fn constrain(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    ranges: &[TxRangeLayout<Var>],
    pair: PairLayout<Var>,
    w: &BlockRootWitness,
) -> BlockRangeLayout<Var> {
    let headers = [w.block.parent.layout(), w.block.header.layout()];
    constrain_over(b, constants, ranges, pair, w, headers)
}

/// [`constrain`] with any values for parent and header, as a prover can choose them.
pub fn constrain_over(
    b: &mut Builder,
    constants: ConstantsLayout<Var>,
    ranges: &[TxRangeLayout<Var>],
    pair: PairLayout<Var>,
    w: &BlockRootWitness,
    [parent, header]: [HeaderLayout<Fr>; 2],
) -> BlockRangeLayout<Var> {
    let range = match ranges {
        [] => None,
        [range] => {
            if !gone("circuits.block_root.constants") {
                assert_all_equal(b, &range.constants.to_vec(), &constants.to_vec());
            }
            if !gone("circuits.block_root.one_tx") {
                b.assert_constant(range.tx_count, Fr::from(1u64));
            }
            Some(range.clone())
        }
        [left, right, ..] => Some(join(b, constants.clone(), left, right, pair.clone())),
    };

    b.section("header");
    let parent = parent.map(|v| b.witness(v));
    let new = header.map(|v| b.witness(v));
    for h in [&parent, &new] {
        if !gone("circuits.block_root.chain_id") {
            b.assert_equal(h.chain_id, constants.chain_id);
        }
        if !gone("circuits.block_root.version") {
            b.assert_equal(h.version, constants.version);
        }
    }
    range_header(b, &new);
    covers(b, range.as_ref(), &parent, &new);
    let config = open_config(b, &constants, &w.block.config);
    b.section("messages");
    let messages = Messages::open(b, &w.block.messages);
    b.section("rules");
    let rules = Rules { config, messages, message_path: &w.block.message_path };
    follows(b, &parent, &new, &rules);

    b.section("archive");
    let parent_hash = header_hash(b, &parent);
    let new_hash = header_hash(b, &new);
    let before = b.witness(w.archive_root_before);
    if !gone("circuits.block_root.last_archive") {
        b.assert_equal(new.last_archive_root, before);
    }
    let (number, path) = (parent.block_number, &w.block.parent_path);
    if !gone("circuits.block_root.parent") {
        assert_member(b, before, parent_hash, number, path, ARCHIVE_HEIGHT);
    }
    let archive = TreeVars { root: before, count: new.block_number };
    let after = append(b, archive, &[new_hash], &w.block.append_path, ARCHIVE_HEIGHT).root;

    b.section("chain");
    let chain_start = b.witness(w.block.chain_before);
    let data = link::data(b, range.as_ref(), &new, &w.block.commitment);
    let chain_end = link::chain_after(b, chain_start, &new, new_hash, after, data);
    let num_constraints = charge(b, &constants, ranges.len(), new.tx_count, &w.charges);
    // TxBase does it where there are transactions.
    if ranges.is_empty() && !gone("circuits.block_root.prover") {
        range_bits(b, constants.prover_id, EthAddress::BITS);
    }
    BlockRangeLayout {
        constants,
        prev_archive_root: before,
        end_archive_root: after,
        first_block: new.block_number,
        last_block: new.block_number,
        first_slot: new.slot,
        last_slot: new.slot,
        chain_start,
        chain_end,
        num_constraints,
        pair,
    }
}

/// Rows charged for the block: a TxBase for each transaction, the merges down to two ranges, and this proof.
/// The twin of `ChargedRows::block`.
fn charge(
    b: &mut Builder,
    constants: &ConstantsLayout<Var>,
    ranges: usize,
    tx_count: Var,
    charges: &[OpenedLeaf; 3],
) -> Var {
    let [base, merge, own] = charges;
    let one = Fr::from(1u64);
    let own = charged_rows(b, constants, variant(ranges), own);
    let mut sum = own;
    if ranges > 0 {
        let base = charged_rows(b, constants, Circuit::TxBase, base);
        sum = b.mul_add(tx_count, base, one, Some(sum), Fr::from(0u64));
    }
    if ranges == 2 {
        let merge = charged_rows(b, constants, Circuit::TxMerge, merge);
        // Two nonempty ranges have at least two transactions, so this is not negative.
        let merges = b.scale(tx_count, one, -Fr::from(2u64));
        sum = b.mul_add(merges, merge, one, Some(sum), Fr::from(0u64));
    }
    if !gone("circuits.block_root.charge") {
        range_u64(b, sum);
    }
    sum
}

/// The circuit for as many ranges as there are children, 0 to 2.
pub fn build(w: &BlockRootWitness, children: &[Child]) -> Builder {
    let circuit = variant(children.len());
    let mut b = Builder::new(circuit.n_public(), cell_bits(circuit));
    let constants = w.block.constants.layout().map(|v| b.witness(v));
    let (public, pair) = verified(&mut b, circuit, &constants, children);
    let ranges: Vec<_> = public.iter().map(|public| inputs_of(public)).collect();
    let range = constrain(&mut b, constants, &ranges, pair, w);
    publish(&mut b, &range.into_vec());
    b
}
