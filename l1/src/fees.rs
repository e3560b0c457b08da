//! What a transaction offers for gas, and how much more its replacement must offer.

use serde::{Deserialize, Serialize};

/// Fees of an EIP-1559 transaction, in wei for one unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    pub max_fee_wei: u128,
    pub max_priority_fee_wei: u128,
}

impl Fees {
    /// Fees that suffice for some blocks after one with this base fee: twice the base fee, which
    /// rises by at most an eighth a block (EIP-1559), and the priority fee.
    pub fn after_base_fee(base_fee_wei: u128, max_priority_fee_wei: u128) -> Self {
        let max_fee_wei = base_fee_wei.saturating_mul(2).saturating_add(max_priority_fee_wei);
        Self { max_fee_wei, max_priority_fee_wei }
    }

    /// The fees of a replacement: the current fees, but at least 10 % above `self` in both parts, or
    /// real nodes reject it as underpriced. (anvil accepts less, so only a unit test checks this rule.)
    pub fn bumped(self, asked: Self) -> Self {
        let max_priority_fee_wei =
            asked.max_priority_fee_wei.max(tenth_more(self.max_priority_fee_wei));
        let max_fee_wei = asked.max_fee_wei.max(tenth_more(self.max_fee_wei));
        Self { max_fee_wei: max_fee_wei.max(max_priority_fee_wei), max_priority_fee_wei }
    }
}

/// The least value that is more than `wei` and at least a tenth more.
fn tenth_more(wei: u128) -> u128 {
    wei.saturating_add(wei.div_ceil(10).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fees(max_fee_wei: u128, max_priority_fee_wei: u128) -> Fees {
        Fees { max_fee_wei, max_priority_fee_wei }
    }

    /// Source of the rule: go-ethereum `core/txpool/legacypool`, `PriceBump: 10`: the new value must
    /// be above the old one and at least `old · 110 / 100`.
    #[test]
    fn a_replacement_is_never_underpriced() {
        for old in [0, 1, 5, 9, 10, 11, 99, 100, 101, 1_000_000_007, u128::from(u64::MAX)] {
            let new = fees(old, old / 2).bumped(fees(0, 0));
            for (new, old) in [(new.max_fee_wei, old), (new.max_priority_fee_wei, old / 2)] {
                assert!(new > old && new * 100 >= old * 110, "{old} to {new}");
                assert!(new <= old + old / 10 + 1, "{old} to {new} is more than the rule asks");
            }
        }
    }

    #[test]
    fn a_replacement_follows_a_market_that_rose_more() {
        assert_eq!(fees(100, 10).bumped(fees(500, 11)), fees(500, 11));
    }

    /// EIP-1559: the base fee of a block is at most 9/8 of its parent's.
    #[test]
    fn an_offer_outlasts_five_full_blocks() {
        let offer = Fees::after_base_fee(1_000_000_000, 7);
        let base_fee = (0..5).fold(1_000_000_000, |fee, _| fee + fee / 8);
        assert!(offer.max_fee_wei - 7 >= base_fee);
        assert_eq!(Fees::after_base_fee(u128::MAX, 7).max_fee_wei, u128::MAX);
    }

    #[test]
    fn the_priority_fee_never_exceeds_the_whole_fee() {
        let new = fees(10, 10).bumped(fees(0, 400));
        assert_eq!(new, fees(400, 400));
    }

    #[test]
    fn fees_at_the_end_of_the_range_do_not_overflow() {
        assert_eq!(fees(u128::MAX, 1).bumped(fees(0, 0)).max_fee_wei, u128::MAX);
    }
}
