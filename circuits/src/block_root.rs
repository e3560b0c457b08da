//! BlockRoot: ranges of transactions make up a whole block. Three circuits, for 0, 1 and 2 ranges.
//!
//! The circuit opens the parent's header from the archive, so the block starts in the parent's state, and appends
//! the new header to the archive. It computes the block's link to L1's chain, which binds the proof to the hash of
//! the data that L1 stored. The data itself is not read here.
//!
//! The number of ranges follows from the number of transactions: none for 0, a TxBase for 1, two for 2 or more. So
//! the rows charged depend on the block and not on how it was proven.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::builder::Block;
use rollmill_protocol::circuit::Family;
use rollmill_protocol::gas::MAX_TXS_PER_BLOCK;
use rollmill_protocol::header::{HeaderLayout, StateRefsLayout};
use rollmill_protocol::layout::Range;
use rollmill_protocol::public_inputs::{
    BlockRangeLayout, Constants, ConstantsLayout, PairLayout, TxRangeLayout,
};
use rollmill_protocol::tree::ARCHIVE_HEIGHT;
use rollmill_protocol::{Circuit, EthAddress, Header, block::ChainLinkLayout, domain};

use crate::children::{Child, verified};
use crate::circuit::cell_bits;
use crate::gadgets::charge::{OpenedLeaf, charged_rows};
use crate::gadgets::effects::{assert_all_equal, assert_all_zero, header_hash, inputs_of, publish};
use crate::gadgets::merkle::{TreeVars, append, assert_member};
use crate::gadgets::uint::{assert_at_most, assert_below, range_bits, range_u64};
use crate::tx_merge::join;
use crate::weaken::gone;

/// What BlockRoot knows besides its children and the keys: the part of its witness that a job carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInput {
    pub constants: Constants,
    pub prover_id: EthAddress,
    pub parent: Header,
    pub header: Header,
    /// Siblings of the parent's header in the archive before the block, lowest first.
    pub parent_path: Vec<Fr>,
    /// Siblings of the new header's leaf in that archive.
    pub append_path: Vec<Fr>,
    /// L1's chain before the block.
    pub chain_prev: Fr,
    /// Hash of the block's data, as L1 stored it.
    pub data_hash: Fr,
}

impl BlockInput {
    /// The input for a block.
    pub fn new(constants: Constants, prover_id: EthAddress, block: &Block, chain_prev: Fr) -> Self {
        Self {
            constants,
            prover_id,
            parent: block.parent.clone(),
            header: block.header.clone(),
            parent_path: block.archive.parent_path.clone(),
            append_path: block.archive.append.path.clone(),
            chain_prev,
            data_hash: block.data().data_hash(),
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

/// Cells of a header that another constraint already bounds, and which one.
const IN_RANGE: &[(&str, &str)] = &[
    ("chain_id", "that of the constants, which L1 pins"),
    ("version", "that of the constants, which L1 pins"),
    ("block_number", "an index of the archive: `assert_member` and `append`"),
    ("tx_count", "at most `MAX_TXS_PER_BLOCK`, in `constrain_over`"),
    ("state.tx_state.note_count", "that of the parent or of the range: `covers`"),
    ("state.tx_state.nullifier_count", "that of the parent or of the range: `covers`"),
    ("state.tx_state.public_data_count", "that of the parent or of the range: `covers`"),
    ("state.message_count", "that of the parent: `follows`"),
];

/// Constrains every cell of a header to the range of its type, except [`IN_RANGE`]. Narrow ranges first.
fn range_header(b: &mut Builder, header: &HeaderLayout<Var>) {
    let mut cells: Vec<(u32, Var)> = Header::cell_infos()
        .iter()
        .zip(header.to_vec())
        .filter(|(info, _)| IN_RANGE.iter().all(|(name, _)| *name != info.name))
        .filter_map(|(info, var)| match info.range {
            Range::Field => None,
            Range::Bits(bits) => Some((bits, var)),
        })
        .collect();
    cells.sort_by_key(|(bits, _)| *bits);
    for (bits, var) in cells {
        let is_gone = match bits {
            u64::BITS => gone("circuits.block_root.header.u64"),
            u128::BITS => gone("circuits.block_root.header.fees"),
            _ => gone("circuits.block_root.header.coinbase"),
        };
        if !is_gone {
            range_bits(b, var, bits);
        }
    }
}

/// Constrains what a header inherits from its parent.
fn follows(b: &mut Builder, parent: &HeaderLayout<Var>, new: &HeaderLayout<Var>) {
    // Without `..`, so that a new field needs a rule here, or a comment that names its rule. Its range is that of
    // its type (`range_header`).
    let HeaderLayout {
        chain_id: _, // `constrain_over`
        version: _,  // `constrain_over`
        block_number,
        slot,
        timestamp,
        coinbase: _,          // the proposer's choice
        fee_per_l2_gas: _,    // `covers`; free in a block without transactions
        fee_per_da_gas: _,    // likewise
        total_fees: _,        // `covers`
        tx_count: _,          // `covers`
        last_archive_root: _, // `constrain_over`
        state: StateRefsLayout { tx_state: _, message_root, message_count }, // `covers`
        txs_chain: _,         // `covers`
        in_hash,
        out_hash,
    } = new;
    let one = Fr::from(1u64);
    if !gone("circuits.block_root.number") {
        b.linear_into(&[(one, parent.block_number)], one, *block_number);
    }
    if !gone("circuits.block_root.parent_slot") {
        range_u64(b, parent.slot);
    }
    if !gone("circuits.block_root.parent_timestamp") {
        range_u64(b, parent.timestamp);
    }
    if !gone("circuits.block_root.slot") {
        assert_below(b, parent.slot, *slot, 64);
    }
    if !gone("circuits.block_root.timestamp") {
        assert_below(b, parent.timestamp, *timestamp, 64);
    }
    // Messages and their hashes are reserved for the bridge.
    if !gone("circuits.block_root.message_root") {
        b.assert_equal(parent.state.message_root, *message_root);
    }
    if !gone("circuits.block_root.message_count") {
        b.assert_equal(parent.state.message_count, *message_count);
    }
    if !gone("circuits.block_root.messages") {
        assert_all_zero(b, &[*in_hash, *out_hash]);
    }
}

/// Constrains the range (or its absence) to cover the whole block.
fn covers(
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
            assert_all_zero(b, &[new.txs_chain, new.total_fees, new.tx_count]);
        }
        return;
    };
    // Without `..`, so that a new field of a range must be compared with the block here.
    let TxRangeLayout {
        constants: _, // `constrain_over`, or `join`
        anchor_archive_root,
        fee_per_l2_gas,
        fee_per_da_gas,
        start: range_start,
        end: range_end,
        txs_chain_start,
        txs_chain_end,
        fees_sum,
        tx_count,
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
    assert_all_equal(
        b,
        &[
            *anchor_archive_root,
            *fee_per_l2_gas,
            *fee_per_da_gas,
            *txs_chain_end,
            *fees_sum,
            *tx_count,
        ],
        &[
            new.last_archive_root,
            new.fee_per_l2_gas,
            new.fee_per_da_gas,
            new.txs_chain,
            new.total_fees,
            new.tx_count,
        ],
    );
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
    follows(b, &parent, &new);
    covers(b, range.as_ref(), &parent, &new);
    // `range_header` leaves the number of transactions to this constraint.
    let most = b.constant_u64(MAX_TXS_PER_BLOCK as u64);
    if !gone("circuits.block_root.most_txs") {
        assert_at_most(b, new.tx_count, most, 8);
    }

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
    let chain_start = b.witness(w.block.chain_prev);
    let link = ChainLinkLayout {
        chain_prev: chain_start,
        header_hash: new_hash,
        data_hash: b.witness(w.block.data_hash),
        archive_root: after,
        slot: new.slot,
        coinbase: new.coinbase,
        total_fees: new.total_fees,
    };
    let chain_end = b.hash(domain::CHAIN, &link.into_vec());
    let num_constraints = charge(b, &constants, ranges.len(), new.tx_count, &w.charges);
    let prover_id = prover(b, w.block.prover_id.to_field());
    BlockRangeLayout {
        constants,
        prover_id,
        prev_archive_root: before,
        end_archive_root: after,
        first_block: new.block_number,
        last_block: new.block_number,
        first_slot: new.slot,
        last_slot: new.slot,
        chain_start,
        chain_end,
        out_hash: new.out_hash,
        num_constraints,
        pair,
    }
}

/// The prover's L1 address, of 160 bits.
fn prover(b: &mut Builder, address: Fr) -> Var {
    let prover_id = b.witness(address);
    if !gone("circuits.block_root.prover") {
        range_bits(b, prover_id, EthAddress::BITS);
    }
    prover_id
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

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;
    use rollmill_plonk::gates::power_of_two;

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
        assert!(ranged >= 6, "{ranged}");
        assert!(holds(|b| {
            prover(b, power_of_two(160) - Fr::from(1u64));
        }));
        assert!(!holds(|b| {
            prover(b, power_of_two(160));
        }));
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

    /// A parent's slot or time just below zero would let any number follow.
    #[test]
    fn a_parent_with_numbers_beyond_64_bits_is_rejected() {
        let follows_parent = |change: fn(&mut HeaderLayout<Fr>)| {
            let mut parent = row();
            change(&mut parent);
            let mut new = row();
            new.block_number = Fr::from(1u64);
            (new.slot, new.timestamp) = (Fr::from(3u64), Fr::from(3u64));
            holds(|b| {
                let parent = parent.clone().map(|v| b.witness(v));
                let new = new.clone().map(|v| b.witness(v));
                follows(b, &parent, &new);
            })
        };
        assert!(follows_parent(|_| ()));
        assert!(!follows_parent(|parent| parent.slot = -Fr::from(1u64)));
        assert!(!follows_parent(|parent| parent.timestamp = -Fr::from(1u64)));
    }
}
