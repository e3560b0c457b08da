//! Gas, fees and how a block's prices follow use.
//!
//! A transaction uses a constant of each kind (one private transfer, its proof and its data) and what it
//! prepays for teardown. A fee is below 2^64 by rule, and sums of fees are kept in 128 bits, so that
//! nothing wraps natively or in a circuit.

use std::cmp::Ordering;

use crate::layout::layout;

/// L2 gas (computation) that every transaction uses.
pub const L2_GAS_PER_TX: u64 = 100_000;
/// DA gas (data) that every transaction uses.
pub const DA_GAS_PER_TX: u64 = 2_000;
/// Most transactions in a block.
pub const MAX_TXS_PER_BLOCK: usize = 32;
/// The highest price of a unit of gas.
pub const FEE_PER_GAS_MAX: u64 = 1 << 40;

/// Prices of a block, per unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FeePerGas {
    pub l2: u64,
    pub da: u64,
}

/// An amount of gas of both kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Gas {
    pub l2: u64,
    pub da: u64,
}

impl Gas {
    /// What every transaction uses, without teardown.
    pub const PER_TX: Self = Self { l2: L2_GAS_PER_TX, da: DA_GAS_PER_TX };

    /// The sum; `None` when one of the kinds does not fit 64 bits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self { l2: self.l2.checked_add(other.l2)?, da: self.da.checked_add(other.da)? })
    }

    /// The rest; `None` when `other` has more of one of the kinds.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(Self { l2: self.l2.checked_sub(other.l2)?, da: self.da.checked_sub(other.da)? })
    }
}

layout! {
    /// What a transaction allows and prepays. Prices are in units per unit of gas.
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
        /// L2 gas for teardown: charged and counted as used, whatever happens.
        pub l2_teardown_gas_limit: u64,
        /// DA gas for teardown: charged and counted as used, whatever happens.
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

    /// What the transaction uses, and is charged for; `None` when that is above one of its limits.
    pub fn used(&self) -> Option<Gas> {
        let teardown = Gas { l2: self.l2_teardown_gas_limit, da: self.da_teardown_gas_limit };
        let limit = Gas { l2: self.l2_gas_limit, da: self.da_gas_limit };
        let used = Gas::PER_TX.checked_add(teardown)?;
        limit.checked_sub(used).map(|_| used)
    }

    /// True when both of the block's prices are within what the transaction allows.
    pub fn allows(&self, price: FeePerGas) -> bool {
        price.l2 <= self.max_fee_per_l2_gas && price.da <= self.max_fee_per_da_gas
    }
}

/// The fee for this gas; `None` when it does not fit 64 bits, which nobody can pay.
pub fn fee(price: FeePerGas, used: Gas) -> Option<u64> {
    let l2 = u128::from(used.l2) * u128::from(price.l2);
    let da = u128::from(used.da) * u128::from(price.da);
    u64::try_from(l2.checked_add(da)?).ok()
}

/// The price after a block that used so much gas at `price`: up by at most an eighth of it for each time
/// that use passes the target, down by at most an eighth when there was none, by at least 1 either way
/// while use is off its target, and then into `min` to [`FEE_PER_GAS_MAX`].
///
/// Source: the rule of EIP-1559, with gas of one kind in place of a block's gas. EIP-1559 itself rounds a
/// fall down to nothing below 8; prices here start at 1. `target` is not 0 in any [`crate::Config`]; 0
/// counts as 1.
pub fn next_fee_per_gas(price: u64, used: u64, target: u64, min: u64) -> u64 {
    let target = target.max(1);
    let change = u128::from(price) * u128::from(used.abs_diff(target)) / (8 * u128::from(target));
    let change = change.max(1);
    let price = u128::from(price);
    let next = match used.cmp(&target) {
        // Below 2^64 + 2^125.
        Ordering::Greater => price + change,
        Ordering::Equal => price,
        Ordering::Less => price.saturating_sub(change),
    };
    u64::try_from(next).unwrap_or(u64::MAX).max(min).min(FEE_PER_GAS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_beyond_64_bits_is_none() {
        let used = Gas::PER_TX;
        assert_eq!(fee(FeePerGas { l2: 2, da: 3 }, used), Some(206_000));
        assert_eq!(fee(FeePerGas { l2: u64::MAX, da: 0 }, used), None);
        assert_eq!(fee(FeePerGas { l2: 0, da: u64::MAX }, used), None);
        let all = Gas { l2: u64::MAX, da: u64::MAX };
        assert_eq!(fee(FeePerGas { l2: u64::MAX, da: u64::MAX }, all), None);
        assert_eq!(fee(FeePerGas { l2: 1, da: 0 }, all), Some(u64::MAX));
        assert_eq!(fee(FeePerGas { l2: 1, da: 1 }, Gas { da: 1, ..all }), None);
    }

    #[test]
    fn limits_must_hold_use_and_teardown_without_wrapping() {
        let fits = GasSettings {
            l2_gas_limit: L2_GAS_PER_TX + 5,
            l2_teardown_gas_limit: 5,
            da_gas_limit: DA_GAS_PER_TX,
            ..GasSettings::default()
        };
        assert_eq!(fits.used(), Some(Gas { l2: L2_GAS_PER_TX + 5, da: DA_GAS_PER_TX }));
        assert_eq!(GasSettings { l2_teardown_gas_limit: 6, ..fits }.used(), None);
        assert_eq!(GasSettings { da_gas_limit: DA_GAS_PER_TX - 1, ..fits }.used(), None);
        assert_eq!(GasSettings { da_teardown_gas_limit: 1, ..fits }.used(), None);
        assert_eq!(GasSettings { l2_teardown_gas_limit: u64::MAX, ..fits }.used(), None);
    }

    /// Goal: no price is stuck: empty blocks bring the highest down to the least, by an eighth each.
    #[test]
    fn empty_blocks_bring_any_price_down_to_the_least() {
        let mut price = FEE_PER_GAS_MAX;
        let mut blocks = 0;
        while price > 1 {
            let next = next_fee_per_gas(price, 0, 1_600_000, 1);
            assert!(next < price, "{price} is stuck");
            price = next;
            blocks += 1;
        }
        assert!(blocks < 250, "{blocks} blocks");
        assert_eq!(next_fee_per_gas(5, 15, 16, 1), 4);
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
