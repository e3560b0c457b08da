//! What transactions offer, and their order by it.

use std::cmp::Reverse;

use rollmill_protocol::gas::{self, FeePerGas, Gas, GasSettings};
use rollmill_protocol::message::{claim_nullifier, deposit_leaf};
use rollmill_protocol::{Fr, Tx, TxEffects};

/// What orders waiting transactions: the best is the least. An offer above what the payer has counts as that.
pub(super) type Rank = (Reverse<u128>, u64, Fr);

/// What is checked of a transaction besides its proof, with the results.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) tx: Tx,
    pub(crate) tx_hash: Fr,
    pub(crate) bytes: usize,
    /// The payer's balance at the pending tip; 0 if notes pay.
    pub(crate) balance: u64,
    /// What it publishes.
    pub(crate) nullifiers: Vec<Fr>,
}

impl Candidate {
    pub(crate) fn new(tx: Tx, tx_hash: Fr, bytes: usize, balance: u64) -> Self {
        let nullifiers = nullifiers(tx.effects());
        Self { tx, tx_hash, bytes, balance, nullifiers }
    }

    /// The maximum offer of the payer, as far as it can pay.
    pub(crate) fn offer(&self) -> u128 {
        offer(self.tx.effects(), self.balance)
    }
}

/// Everything that a transaction inserts into the nullifier tree: its own nullifiers, and that of the deposit it
/// claims. Two transactions with one of these in common exclude each other.
pub(super) fn nullifiers(effects: &TxEffects) -> Vec<Fr> {
    let claim = claimed(effects).map(|leaf| claim_nullifier(&leaf));
    effects.present_nullifiers().copied().chain(claim).collect()
}

/// The leaf of the deposit that a transaction claims.
pub(super) fn claimed(effects: &TxEffects) -> Option<Fr> {
    let TxEffects { fee_payer, claim_amount, claim_index, .. } = effects;
    (*claim_amount != 0).then(|| deposit_leaf(fee_payer, *claim_amount, *claim_index))
}

/// What a transaction adds to its payer's funds, and what it takes besides the fee.
fn flows(effects: &TxEffects) -> (u128, u128) {
    let sum = |a: u64, b: u64| u128::from(a) + u128::from(b);
    (sum(effects.claim_amount, effects.notes_out), sum(effects.withdraw_amount, effects.notes_in))
}

/// What is left of `funds` for the fee of a transaction; `None` when they do not cover the rest of it.
pub(super) fn for_fee(effects: &TxEffects, funds: u128) -> Option<u128> {
    let (adds, takes) = flows(effects);
    funds.saturating_add(adds).checked_sub(takes)
}

/// What a transaction offers for the gas that every transaction uses, so that offers compare as prices do: more gas
/// for teardown buys no better place.
pub(super) fn offer(effects: &TxEffects, balance: u64) -> u128 {
    let max = effects.gas.max_price();
    let Gas { l2, da } = Gas::PER_TX;
    let l2 = u128::from(l2) * u128::from(max.l2);
    let da = u128::from(da) * u128::from(max.da);
    (l2 + da).min(for_fee(effects, balance.into()).unwrap_or(0))
}

/// The fee of a transaction at these prices; `None` when nobody can pay it.
pub(super) fn fee(gas: &GasSettings, price: FeePerGas) -> Option<u128> {
    gas::fee(price, gas.used()?).map(u128::from)
}

/// What a transaction costs in the next block, or would at the highest prices it allows if those
/// are lower. More than any balance where it does not fit 64 bits.
fn cost(gas: &GasSettings, price: FeePerGas) -> u128 {
    let max = gas.max_price();
    let price = FeePerGas { l2: price.l2.min(max.l2), da: price.da.min(max.da) };
    fee(gas, price).unwrap_or(u128::MAX >> 64)
}

/// What a transaction needs of its payer's balance; 0 if it brings as much as it takes.
pub(super) fn needed(effects: &TxEffects, price: FeePerGas) -> u128 {
    let (adds, takes) = flows(effects);
    takes.saturating_add(cost(&effects.gas, price)).saturating_sub(adds)
}

/// True if `new` offers at least a tenth more than `old` for both kinds of gas.
pub(super) fn outbids(new: &GasSettings, old: &GasSettings) -> bool {
    let more = |new: u64, old: u64| u128::from(new) * 10 >= u128::from(old) * 11 && new > old;
    more(new.max_fee_per_l2_gas, old.max_fee_per_l2_gas)
        && more(new.max_fee_per_da_gas, old.max_fee_per_da_gas)
}
