//! What transactions offer, and their order by it.

use std::cmp::Reverse;

use rollmill_protocol::gas::{self, DA_GAS_PER_TX, FeePerGas, GasSettings, L2_GAS_PER_TX};
use rollmill_protocol::{Fr, Tx};

/// What orders waiting transactions: the best is the least. All use the same gas, so that the
/// maximum fee less the present fee orders them as the maximum fee does. An offer above the payer's
/// balance counts as its balance.
pub(super) type Rank = (Reverse<u128>, u64, Fr);

/// What is checked of a transaction besides its proof, with the results.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) tx: Tx,
    pub(crate) tx_hash: Fr,
    pub(crate) bytes: usize,
    /// The payer's balance at the pending tip.
    pub(crate) balance: u64,
}

impl Candidate {
    /// The maximum offer of the payer, as far as it can pay.
    pub(crate) fn offer(&self) -> u128 {
        offer(&self.tx.effects.gas, self.balance)
    }
}

pub(super) fn offer(gas: &GasSettings, balance: u64) -> u128 {
    let max = gas.max_price();
    let l2 = u128::from(L2_GAS_PER_TX) * u128::from(max.l2);
    let da = u128::from(DA_GAS_PER_TX) * u128::from(max.da);
    (l2 + da).min(u128::from(balance))
}

/// What a transaction costs in the next block, or would at the highest prices it allows if those
/// are lower. More than any balance where it does not fit 64 bits.
pub(super) fn cost(gas: &GasSettings, price: FeePerGas) -> u128 {
    let max = gas.max_price();
    let price = FeePerGas { l2: price.l2.min(max.l2), da: price.da.min(max.da) };
    gas::fee(price).map_or(u128::MAX >> 64, u128::from)
}

/// True if `new` offers at least a tenth more than `old` for both kinds of gas.
pub(super) fn outbids(new: &GasSettings, old: &GasSettings) -> bool {
    let more = |new: u64, old: u64| u128::from(new) * 10 >= u128::from(old) * 11 && new > old;
    more(new.max_fee_per_l2_gas, old.max_fee_per_l2_gas)
        && more(new.max_fee_per_da_gas, old.max_fee_per_da_gas)
}
