//! Who is owed what, by the formulas of `docs/book/protocol-2.md` and `docs/book/economics.md`. Nothing here reads
//! L1: the audit compares these figures with what the contracts paid.
//!
//! Amounts are base units of the token unless a name says units, of which one is [`UNIT`] base units.

use rollmill_l1::abi;
use rollmill_l1::alloy::primitives::aliases::U96;
use rollmill_protocol::{ChargedRows, Circuit};

/// Base units of the token in one unit on L2.
pub(crate) const UNIT: u128 = 1_000_000_000;
/// Base units of one AZT.
pub(crate) const AZT: u128 = 1_000_000_000_000_000_000;
/// Parts of a whole in which shares are counted.
const BPS: u128 = 10_000;
/// Part of a slashed stake that its reporter gets: one in so many.
const REPORTER_PART: u128 = 10;

/// What governance sets for a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rates {
    /// For each charged row of an epoch's longest proof.
    pub fee_per_constraint: u64,
    /// For the coinbase of each proven block.
    pub block_reward: u128,
    /// Parts of a block's fees, in ten-thousandths; their sum is 10,000.
    pub proposer_bps: u16,
    pub attester_bps: u16,
    pub prover_bps: u16,
    /// Part of a bond that late proofs of a whole epoch share, in ten-thousandths.
    pub challenge_share_bps: u16,
    /// Members of a committee that is drawn from stakers.
    pub committee_size: u8,
    /// What the first block of an epoch locks.
    pub bond: u128,
    /// Least stake of a validator.
    pub min_stake: u128,
}

impl Rates {
    /// Rates at which every kind of payment occurs, the prover's part of fees too.
    pub(crate) const STANDARD: Self = Self {
        fee_per_constraint: 1_000_000_000_000,
        block_reward: 5 * AZT,
        proposer_bps: 7_000,
        attester_bps: 2_000,
        prover_bps: 1_000,
        challenge_share_bps: 5_000,
        committee_size: 4,
        bond: 1_000 * AZT,
        min_stake: 10_000 * AZT,
    };

    /// The rates as the Registry takes them.
    pub(crate) fn to_l1(self) -> abi::Rates {
        abi::Rates {
            feePerConstraint: self.fee_per_constraint,
            blockReward: U96::saturating_from(self.block_reward),
            proposerBps: self.proposer_bps,
            attesterBps: self.attester_bps,
            proverBps: self.prover_bps,
            challengeShareBps: self.challenge_share_bps,
            committeeSize: self.committee_size,
            bondAmount: U96::saturating_from(self.bond),
            minStake: U96::saturating_from(self.min_stake),
        }
    }

    /// Pay of the prover of an epoch's longest proof, of so many charged rows.
    pub(crate) fn epoch_pay(&self, rows: u64) -> u128 {
        u128::from(self.fee_per_constraint) * u128::from(rows)
    }

    /// Who gets the fees of a block, given in units.
    pub(crate) fn split(&self, units: u128, committee: u128, signers: u128) -> FeeSplit {
        let fees = units * UNIT;
        let prover = fees * u128::from(self.prover_bps) / BPS;
        let each = fees * u128::from(self.attester_bps) / BPS / committee;
        // What divisions leave goes to the coinbase.
        let coinbase = fees - prover - each * committee;
        FeeSplit { coinbase, each, prover, unsigned: each * (committee - signers) }
    }

    /// What a late proof earns of an epoch's bond, if it adds so many of the epoch's blocks.
    pub(crate) fn challenge_share(&self, added: u128, blocks: u128) -> u128 {
        self.bond * u128::from(self.challenge_share_bps) * added / (BPS * blocks)
    }
}

/// The parts of a block's fees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeeSplit {
    pub coinbase: u128,
    /// To each member that signed.
    pub each: u128,
    /// To the prover of the epoch's longest proof.
    pub prover: u128,
    /// The parts of members that did not sign, which stay with Rewards.
    pub unsigned: u128,
}

/// The parts of a slashed stake: the reporter's, and what Rewards gets.
pub(crate) fn slashed(stake: u128) -> (u128, u128) {
    let reporter = stake / REPORTER_PART;
    (reporter, stake - reporter)
}

/// When things happen, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub genesis: u64,
    pub slot_seconds: u64,
    pub slots_per_epoch: u64,
    pub window: u64,
    pub challenge: u64,
    pub grace: u64,
}

impl Times {
    /// Start of a slot.
    pub(crate) fn slot(&self, slot: u64) -> u64 {
        self.genesis + slot * self.slot_seconds
    }

    /// The slot of a time after genesis.
    pub(crate) fn slot_at(&self, second: u64) -> u64 {
        second.saturating_sub(self.genesis) / self.slot_seconds
    }

    pub(crate) fn epoch_seconds(&self) -> u64 {
        self.slots_per_epoch * self.slot_seconds
    }

    /// The first second after an epoch.
    pub(crate) fn end(&self, epoch: u64) -> u64 {
        self.genesis + (epoch + 1) * self.epoch_seconds()
    }

    /// The last second in which a proof returns the epoch's bond.
    pub(crate) fn window_end(&self, epoch: u64) -> u64 {
        self.end(epoch) + self.window
    }

    /// The last second in which a proof is accepted.
    pub(crate) fn challenge_end(&self, epoch: u64) -> u64 {
        self.window_end(epoch) + self.challenge
    }
}

/// Rows that proofs are paid for, about those of the present circuits; a deployment takes them from its key
/// tree.
pub(crate) fn charged_rows() -> ChargedRows {
    ChargedRows::new(|circuit| match circuit {
        Circuit::Client => 2_200,
        Circuit::TxBase => 94_000,
        Circuit::TxMerge => 115_200,
        Circuit::BlockRoot0 => 6_000,
        Circuit::BlockRoot1 => 62_000,
        Circuit::BlockRoot2 => 118_600,
        Circuit::BlockMerge => 114_600,
        Circuit::EpochRoot1 => 60_000,
        Circuit::EpochRoot2 => 115_100,
        Circuit::PrivateInit => 62_000,
        Circuit::PrivateInner => 118_000,
        Circuit::PrivateTail => 90_000,
        Circuit::PrivateInit2 => 116_000,
    })
}

/// An amount in AZT, with the decimals that it has.
pub(crate) fn azt(amount: u128) -> String {
    let (whole, rest) = (amount / AZT, amount % AZT);
    if rest == 0 {
        return whole.to_string();
    }
    let decimals = format!("{rest:018}");
    format!("{whole}.{}", decimals.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates::STANDARD;

    /// Computed by hand: 1,000 units, four members, three signatures.
    #[test]
    fn fees_are_split_to_the_last_base_unit() {
        let split = RATES.split(1_000, 4, 3);
        let fees = 1_000 * UNIT;
        assert_eq!(
            split,
            FeeSplit {
                coinbase: 700 * UNIT,
                each: 50 * UNIT,
                prover: 100 * UNIT,
                unsigned: 50 * UNIT
            }
        );
        assert_eq!(split.coinbase + 4 * split.each + split.prover, fees);
        // Seven members: a fifth of 10^9 is 7 * 28,571,428 and 4.
        let split = RATES.split(1, 7, 7);
        assert_eq!((split.each, split.coinbase), (28_571_428, 700_000_004));
    }

    /// 1,000 AZT, half of it for three blocks: shares of two and one are 333.3… and 166.6….
    #[test]
    fn shares_of_late_proofs_never_pass_the_part_that_they_may_have() {
        let (two, one) = (RATES.challenge_share(2, 3), RATES.challenge_share(1, 3));
        assert_eq!((two, one), (333_333_333_333_333_333_333, 166_666_666_666_666_666_666));
        assert_eq!(500 * AZT - two - one, 1);
        assert_eq!(slashed(10_000 * AZT), (1_000 * AZT, 9_000 * AZT));
        assert_eq!(slashed(19), (1, 18));
    }

    #[test]
    fn deadlines_count_from_the_end_of_the_epoch() {
        let (slot_seconds, slots_per_epoch) = (600, 4);
        let times = Times {
            genesis: 1_000,
            slot_seconds,
            slots_per_epoch,
            window: 50,
            challenge: 7,
            grace: 3,
        };
        assert_eq!((times.slot(3), times.slot_at(3_399), times.slot_at(3_400)), (2_800, 3, 4));
        assert_eq!(
            (times.end(1), times.window_end(1), times.challenge_end(1)),
            (5_800, 5_850, 5_857)
        );
    }

    /// Two blocks of two transactions: 4 TxBase, 2 BlockRoot2 and EpochRoot2.
    #[test]
    fn pay_counts_the_rows_of_every_proof() {
        let rows = charged_rows().epoch(&[2, 2]).unwrap();
        assert_eq!(rows, 4 * 94_000 + 2 * 118_600 + 115_100);
        assert_eq!(RATES.epoch_pay(rows), 728_300 * 1_000_000_000_000);
    }

    #[test]
    fn amounts_are_shown_with_the_decimals_that_they_have() {
        assert_eq!(azt(0), "0");
        assert_eq!(azt(12 * AZT), "12");
        assert_eq!(azt(AZT / 2 + 1), "0.500000000000000001");
        assert_eq!(azt(3 * AZT + AZT / 4), "3.25");
    }
}
