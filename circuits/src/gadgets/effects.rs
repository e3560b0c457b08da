//! A transaction's effects and a block's header as rows of variables, and their hashes.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::blob::HalvesLayout;
use rollmill_protocol::domain;
use rollmill_protocol::header::{Header, HeaderLayout};
use rollmill_protocol::layout::Cells;
use rollmill_protocol::tx::TxEffectsLayout;

use crate::gadgets::blob::Scalar;
use crate::weaken::gone;

/// `hash(TX, fields)`.
pub fn tx_hash(b: &mut Builder, effects: &TxEffectsLayout<Var>) -> Var {
    b.hash(domain::TX, &effects.to_vec())
}

/// `hash(TXS_CHAIN, [prev, tx_hash])`.
pub fn txs_chain_next(b: &mut Builder, prev: Var, tx_hash: Var) -> Var {
    b.hash(domain::TXS_CHAIN, &[prev, tx_hash])
}

/// The fields of a header as new variables.
pub fn header(b: &mut Builder, header: &Header) -> HeaderLayout<Var> {
    header.layout().map(|value| b.witness(value))
}

/// `hash(HEADER, fields)`.
pub fn header_hash(b: &mut Builder, header: &HeaderLayout<Var>) -> Var {
    b.hash(domain::HEADER, &header.to_vec())
}

/// Constrains each pair of variables to be equal.
pub fn assert_all_equal(b: &mut Builder, left: &[Var], right: &[Var]) {
    debug_assert_eq!(left.len(), right.len());
    for (l, r) in left.iter().zip(right) {
        if !gone("gadgets.all_equal") {
            b.assert_equal(*l, *r);
        }
    }
}

/// Constrains variables to be zero.
pub fn assert_all_zero(b: &mut Builder, vars: &[Var]) {
    for var in vars {
        if !gone("gadgets.all_zero") {
            b.assert_constant(*var, Fr::from(0u64));
        }
    }
}

/// Makes these variables the public inputs, in order.
pub fn publish(b: &mut Builder, inputs: &[Var]) {
    for (i, var) in inputs.iter().enumerate() {
        b.set_public(i, *var);
    }
}

/// A child's public inputs by name. The verifier has laid out exactly as many as the layout has.
pub fn inputs_of<L: Cells<Var>>(public: &[Var]) -> L {
    assert_eq!(public.len(), L::LEN, "public inputs of a child");
    L::take(&mut public.iter().copied()).expect("as many cells as the layout has")
}

/// A blob's value in its halves.
pub fn halves(b: &mut Builder, value: &Scalar) -> HalvesLayout<Var> {
    let [lo, hi] = value.halves(b);
    HalvesLayout { lo, hi }
}
