//! What a transaction offers for gas, and how much more its replacement must offer.

use serde::{Deserialize, Serialize};

/// Fees of an EIP-1559 transaction, in wei for one unit of gas, and of an EIP-4844 transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    pub max_fee_wei: u128,
    pub max_priority_fee_wei: u128,
    /// In wei for one unit of blob gas; `None` for a transaction without a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_blob_fee_wei: Option<u128>,
}

impl Fees {
    /// Fees that suffice for some blocks after one with this base fee: twice the base fee, which
    /// rises by at most an eighth a block (EIP-1559), and the priority fee.
    pub fn after_base_fee(base_fee_wei: u128, max_priority_fee_wei: u128) -> Self {
        let max_fee_wei = base_fee_wei.saturating_mul(2).saturating_add(max_priority_fee_wei);
        Self { max_fee_wei, max_priority_fee_wei, max_blob_fee_wei: None }
    }

    /// These fees for a transaction with a blob, after a block with this base fee for blobs. As for other gas, twice
    /// the base fee suffices for some blocks: it too rises by at most an eighth a block (EIP-4844). It is never 0.
    pub fn after_blob_base_fee(self, blob_base_fee_wei: u128) -> Self {
        Self { max_blob_fee_wei: Some(blob_base_fee_wei.max(1).saturating_mul(2)), ..self }
    }

    /// The fees of a replacement: the current fees, but at least 10 % above `self` in both parts, or
    /// real nodes reject it as underpriced. If `self` has a blob, each of the three fees is at least twice as high.
    /// (anvil accepts less, so only tests without it check these rules.)
    ///
    /// The replacement has a blob if `asked` has.
    pub fn bumped(self, asked: Self) -> Self {
        let raised = if self.max_blob_fee_wei.is_some() { twice } else { tenth_more };
        let max_priority_fee_wei =
            asked.max_priority_fee_wei.max(raised(self.max_priority_fee_wei));
        let max_fee_wei = asked.max_fee_wei.max(raised(self.max_fee_wei)).max(max_priority_fee_wei);
        let max_blob_fee_wei =
            asked.max_blob_fee_wei.map(|fee| fee.max(self.max_blob_fee_wei.map_or(0, raised)));
        Self { max_fee_wei, max_priority_fee_wei, max_blob_fee_wei }
    }
}

/// The least value that is more than `wei` and at least twice as much.
fn twice(wei: u128) -> u128 {
    wei.saturating_mul(2).max(1)
}

/// The least value that is more than `wei` and at least a tenth more.
fn tenth_more(wei: u128) -> u128 {
    wei.saturating_add(wei.div_ceil(10).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fees(max_fee_wei: u128, max_priority_fee_wei: u128) -> Fees {
        Fees { max_fee_wei, max_priority_fee_wei, max_blob_fee_wei: None }
    }

    fn with_blob(fees: Fees, max_blob_fee_wei: u128) -> Fees {
        Fees { max_blob_fee_wei: Some(max_blob_fee_wei), ..fees }
    }

    /// Source of the rule: go-ethereum `core/txpool/blobpool`, `PriceBump: 100`: each of the three values must be
    /// above the old one and at least twice as much.
    #[test]
    fn a_replacement_of_a_blob_is_never_underpriced_in_any_of_three_fees() {
        for old in [0, 1, 2, 7, 1_000_000_007, u128::from(u64::MAX)] {
            let before = with_blob(fees(old, old / 2), old / 3);
            let after = before.bumped(with_blob(fees(0, 0), 0));
            let blob = after.max_blob_fee_wei.unwrap();
            let parts =
                [(after.max_fee_wei, old), (after.max_priority_fee_wei, old / 2), (blob, old / 3)];
            for (new, old) in parts {
                assert!(new > old && new >= 2 * old, "{old} to {new}");
                assert!(new <= 2 * old + 1, "{old} to {new} is more than the rule asks");
            }
        }
        let market = with_blob(fees(900, 80), 70);
        assert_eq!(with_blob(fees(10, 1), 1).bumped(market), market);
    }

    #[test]
    fn the_kind_of_a_replacement_is_that_of_the_offer() {
        // No pool accepts this one; the sender sends it once the blob is gone from the pools.
        assert_eq!(with_blob(fees(10, 1), 5).bumped(fees(0, 0)), fees(20, 2));
        let plain = fees(10, 1).bumped(with_blob(fees(0, 0), 6));
        assert_eq!(plain, with_blob(fees(11, 2), 6));
        assert_eq!(fees(1, 1).after_blob_base_fee(0).max_blob_fee_wei, Some(2));
        assert_eq!(fees(1, 1).after_blob_base_fee(9), with_blob(fees(1, 1), 18));
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
