//! Rules of an honest proposer that nothing enforces: a block that breaks one is followed, since L1
//! may prove it, and reported.

use rollmill_protocol::Header;
use serde::Serialize;

/// When slots start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotClock {
    /// Unix second at which slot 0 starts.
    pub genesis_time: u64,
    pub slot_seconds: u64,
}

impl SlotClock {
    /// Unix second at which a slot starts.
    pub fn slot_start(&self, slot: u64) -> u64 {
        self.genesis_time.saturating_add(slot.saturating_mul(self.slot_seconds))
    }

    /// The time an honest block of `slot` names: its slot's start, or the first second after its
    /// parent's time where that is later. `None` after a parent at the end of time, which no block
    /// can follow.
    pub fn timestamp(&self, parent: &Header, slot: u64) -> Option<u64> {
        Some(self.slot_start(slot).max(parent.timestamp.checked_add(1)?))
    }
}

/// A rule that a block breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The time is the slot's start.
    Timestamp,
    /// The price of L2 gas follows from the parent.
    L2Price,
    /// The price of DA gas follows from the parent.
    DaPrice,
}

impl Rule {
    /// All rules, in the order of their figures.
    pub const ALL: [Self; 3] = [Self::Timestamp, Self::L2Price, Self::DaPrice];

    /// The value of the label `rule`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::L2Price => "l2_price",
            Self::DaPrice => "da_price",
        }
    }
}

/// A block that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BrokenRule {
    pub block: u64,
    pub rule: Rule,
    pub expected: u64,
    pub got: u64,
}

/// The rules that the block with `header` breaks after `parent`.
pub fn broken_rules(clock: &SlotClock, parent: &Header, header: &Header) -> Vec<BrokenRule> {
    let price = parent.fee_per_gas().next(parent.tx_count);
    // After the end of time every time is wrong, and no such block is executed.
    let time = clock.timestamp(parent, header.slot).unwrap_or(u64::MAX);
    [
        (Rule::Timestamp, time, header.timestamp),
        (Rule::L2Price, price.l2, header.fee_per_l2_gas),
        (Rule::DaPrice, price.da, header.fee_per_da_gas),
    ]
    .into_iter()
    .filter(|(_, expected, got)| expected != got)
    .map(|(rule, expected, got)| BrokenRule { block: header.block_number, rule, expected, got })
    .collect()
}
