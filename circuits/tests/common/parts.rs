//! The circuits' own parts: over the public inputs of their children, without the verification of proofs.

use rollmill_algebra::Fr;
use rollmill_circuits::block_root::{self, BlockRootWitness};
use rollmill_circuits::gadgets::effects::publish;
use rollmill_circuits::tx_base::{self, TxBaseWitness};
use rollmill_circuits::tx_merge;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::header::HeaderLayout;
use rollmill_protocol::public_inputs::{BlockRangeLayout, TxRangeLayout};
use rollmill_protocol::{ClientInputs, Constants, Pair, TxRange};

use super::{pair_vars, small, wide};

pub fn lay_tx_base(w: &TxBaseWitness, client: ClientInputs) -> Builder {
    let mut b = wide(TxRangeLayout::<Var>::CELLS);
    let constants = w.constants.layout().map(|v| b.witness(v));
    let client = client.layout().map(|v| b.witness(v));
    let pair = pair_vars(&mut b);
    let range = tx_base::constrain(&mut b, constants, &client, pair, w);
    publish(&mut b, &range.into_vec());
    b
}

pub fn lay_tx_merge(
    constants: Constants,
    left: &TxRangeLayout<Fr>,
    right: &TxRangeLayout<Fr>,
) -> Builder {
    let mut b = wide(TxRangeLayout::<Var>::CELLS);
    let constants = constants.layout().map(|v| b.witness(v));
    let pair = pair_vars(&mut b);
    let left = left.clone().map(|v| b.witness(v));
    let right = right.clone().map(|v| b.witness(v));
    let joined = tx_merge::join(&mut b, constants, &left, &right, pair);
    publish(&mut b, &joined.into_vec());
    b
}

/// BlockRoot with any values for parent and header.
pub fn lay_block_root(
    ranges: &[TxRangeLayout<Fr>],
    w: &BlockRootWitness,
    headers: [HeaderLayout<Fr>; 2],
) -> Builder {
    // Only the join of two ranges needs the wide cells.
    let cells = BlockRangeLayout::<Var>::CELLS;
    let mut b = if ranges.len() == 2 { wide(cells) } else { small(cells) };
    let constants = w.block.constants.layout().map(|v| b.witness(v));
    let pair = pair_vars(&mut b);
    let ranges: Vec<_> = ranges.iter().map(|range| range.clone().map(|v| b.witness(v))).collect();
    let out = block_root::constrain_over(&mut b, constants, &ranges, pair, w, headers);
    publish(&mut b, &out.into_vec());
    b
}

/// The ranges that BlockRoot gets, joined as the plan joins them. `join` makes one of two.
pub fn joined(
    mut row: Vec<TxRange>,
    mut join: impl FnMut(&TxRange, &TxRange) -> TxRange,
) -> Vec<TxRange> {
    while row.len() > 2 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => join(left, right),
                _ => pair[0],
            })
            .collect();
    }
    row
}

/// [`joined`] by the native rules.
pub fn runs(row: Vec<TxRange>) -> Vec<TxRange> {
    joined(row, |left, right| left.join(right, Pair::trivial()).unwrap())
}
