//! Gas, fees and how a block's prices follow demand.
//!
//! Each transaction uses the same gas: one private transfer, its proof and its data. A fee is
//! below 2^64 by rule, and sums of fees are kept in 128 bits, so that nothing wraps natively or in
//! a circuit.

use std::cmp::Ordering;

use crate::layout::layout;

/// L2 gas (computation) that a transaction uses.
pub const L2_GAS_PER_TX: u64 = 100_000;
/// DA gas (data) that a transaction uses.
pub const DA_GAS_PER_TX: u64 = 2_000;
/// Most transactions in a block; bounds the bytes that go to L1 in one transaction.
pub const MAX_TXS_PER_BLOCK: usize = 32;
/// Transactions a block aims at; prices move by the distance from here.
pub const TARGET_TXS_PER_BLOCK: usize = 16;
/// Least price a block may name, in smallest units of the fee asset.
pub const MIN_FEE_PER_GAS: u64 = 1;

/// Prices of a block, per unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FeePerGas {
    pub l2: u64,
    pub da: u64,
}

impl FeePerGas {
    /// The least prices an honest block names.
    pub const MIN: Self = Self { l2: MIN_FEE_PER_GAS, da: MIN_FEE_PER_GAS };

    /// The prices an honest proposer names after a block of `tx_count` transactions at these.
    pub fn next(self, tx_count: u64) -> Self {
        // More than a block may hold counts as a full one.
        let tx_count = usize::try_from(tx_count).unwrap_or(usize::MAX);
        Self { l2: next_fee_per_gas(self.l2, tx_count), da: next_fee_per_gas(self.da, tx_count) }
    }
}

layout! {
    /// What a transaction allows. Prices are in smallest units of the fee asset per unit of gas.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct GasSettings as GasSettingsLayout, "gas settings" {
        /// Highest price of L2 gas.
        pub max_fee_per_l2_gas: u64,
        /// Highest price of DA gas.
        pub max_fee_per_da_gas: u64,
        /// Most L2 gas, teardown included.
        pub l2_gas_limit: u64,
        /// Most DA gas, teardown included.
        pub da_gas_limit: u64,
        /// Part of the L2 limit that is kept for teardown.
        pub l2_teardown_gas_limit: u64,
        /// Part of the DA limit that is kept for teardown.
        pub da_teardown_gas_limit: u64,
    }
}

impl GasSettings {
    /// The most this transaction can be charged:
    /// `max_fee_per_l2_gas · l2_gas_limit + max_fee_per_da_gas · da_gas_limit`.
    pub fn max_fee(&self) -> u128 {
        let l2 = u128::from(self.max_fee_per_l2_gas) * u128::from(self.l2_gas_limit);
        let da = u128::from(self.max_fee_per_da_gas) * u128::from(self.da_gas_limit);
        // Each product is at most (2^64 - 1)^2; two of them may pass 2^128.
        l2.saturating_add(da)
    }

    /// The prices at which this transaction costs most: the highest it allows.
    pub fn max_price(&self) -> FeePerGas {
        FeePerGas { l2: self.max_fee_per_l2_gas, da: self.max_fee_per_da_gas }
    }

    /// True when the gas used and the teardown limit fit the limits, for both kinds.
    pub fn covers_use(&self) -> bool {
        covers(L2_GAS_PER_TX, self.l2_teardown_gas_limit, self.l2_gas_limit)
            && covers(DA_GAS_PER_TX, self.da_teardown_gas_limit, self.da_gas_limit)
    }

    /// True when both of the block's prices are within what the transaction allows.
    pub fn allows(&self, price: FeePerGas) -> bool {
        price.l2 <= self.max_fee_per_l2_gas && price.da <= self.max_fee_per_da_gas
    }
}

fn covers(used: u64, teardown: u64, limit: u64) -> bool {
    used.checked_add(teardown).is_some_and(|needed| needed <= limit)
}

/// The fee of one transaction; `None` when it does not fit 64 bits, which no balance can pay.
pub fn fee(price: FeePerGas) -> Option<u64> {
    let l2 = u128::from(L2_GAS_PER_TX) * u128::from(price.l2);
    let da = u128::from(DA_GAS_PER_TX) * u128::from(price.da);
    u64::try_from(l2 + da).ok()
}

/// The price a proposer names after a parent block of `tx_count` transactions: up by at most an
/// eighth when the parent was full, down by an eighth when it was empty, and by at least 1 either
/// way, so that a price above [`MIN_FEE_PER_GAS`] falls as long as blocks stay below the target.
///
/// Source: the rule of EIP-1559, with transactions in place of gas since all use the same. EIP-1559
/// itself rounds a fall down to nothing below 8; prices here start at 1.
pub fn next_fee_per_gas(parent_price: u64, tx_count: usize) -> u64 {
    let target = TARGET_TXS_PER_BLOCK as u128;
    let used = tx_count.min(MAX_TXS_PER_BLOCK) as u128;
    let price = u128::from(parent_price);
    let change = price * used.abs_diff(target) / target / 8;
    let next = match used.cmp(&target) {
        Ordering::Greater => price + change.max(1),
        Ordering::Equal => price,
        Ordering::Less => price.saturating_sub(change.max(1)),
    };
    // The highest price stays where it is.
    u64::try_from(next).unwrap_or(u64::MAX).max(MIN_FEE_PER_GAS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_beyond_64_bits_is_none() {
        assert_eq!(fee(FeePerGas { l2: 2, da: 3 }), Some(206_000));
        assert_eq!(fee(FeePerGas { l2: u64::MAX, da: 0 }), None);
        assert_eq!(fee(FeePerGas { l2: 0, da: u64::MAX }), None);
    }

    #[test]
    fn limits_must_hold_use_and_teardown_without_wrapping() {
        let fits = GasSettings {
            l2_gas_limit: L2_GAS_PER_TX + 5,
            l2_teardown_gas_limit: 5,
            da_gas_limit: DA_GAS_PER_TX,
            ..GasSettings::default()
        };
        assert!(fits.covers_use());
        assert!(!GasSettings { l2_teardown_gas_limit: 6, ..fits }.covers_use());
        assert!(!GasSettings { da_gas_limit: DA_GAS_PER_TX - 1, ..fits }.covers_use());
        assert!(!GasSettings { l2_teardown_gas_limit: u64::MAX, ..fits }.covers_use());
    }

    #[test]
    fn prices_rise_after_full_blocks_and_fall_after_empty_ones() {
        assert_eq!(next_fee_per_gas(800, MAX_TXS_PER_BLOCK), 900);
        assert_eq!(next_fee_per_gas(800, TARGET_TXS_PER_BLOCK), 800);
        assert_eq!(next_fee_per_gas(800, 0), 700);
        assert_eq!(next_fee_per_gas(1, 0), MIN_FEE_PER_GAS);
        assert_eq!(next_fee_per_gas(1, MAX_TXS_PER_BLOCK), 2);
        assert_eq!(next_fee_per_gas(u64::MAX, MAX_TXS_PER_BLOCK), u64::MAX);
    }

    /// Goal: no price is stuck: empty blocks bring the highest down to the least, by an eighth each.
    #[test]
    fn empty_blocks_bring_any_price_down_to_the_least() {
        let mut price = u64::MAX;
        let mut blocks = 0;
        while price > MIN_FEE_PER_GAS {
            let next = next_fee_per_gas(price, 0);
            assert!(next < price, "{price} is stuck");
            price = next;
            blocks += 1;
        }
        assert_eq!(blocks, 328);
        assert_eq!(next_fee_per_gas(5, 15), 4);
    }

    #[test]
    fn the_most_a_transaction_can_be_charged_does_not_wrap() {
        let all = GasSettings {
            max_fee_per_l2_gas: u64::MAX,
            max_fee_per_da_gas: u64::MAX,
            l2_gas_limit: u64::MAX,
            da_gas_limit: u64::MAX,
            ..GasSettings::default()
        };
        assert_eq!(all.max_fee(), u128::MAX);
    }
}
