//! The money of one deployment as a scenario expects it: bonds, stakes, what is owed, what backs L2.
//!
//! A scenario says what happened (an epoch is settled, a bond is lost); amounts follow from [`Rates`]. No contract is
//! asked. The audit compares every figure here with L1.

use std::collections::BTreeMap;

use rollmill_l1::alloy::primitives::Address;

use super::book::{Book, Purpose};
use super::money::{Rates, UNIT, slashed};

/// An account in the BondVault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BondAccount {
    pub free: u128,
    pub locked: u128,
    /// Part of `free` that is shares of others' bonds.
    pub shares: u128,
}

/// A change of a bond, as the BondVault reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BondChange {
    Locked { epoch: u64, poster: Address, amount: u128 },
    Returned { epoch: u64, poster: Address, amount: u128 },
    Shared { epoch: u64, poster: Address, to: Address, amount: u128 },
    Lost { epoch: u64, poster: Address, amount: u128 },
}

/// What Rewards owes an account, by purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    /// Parts of fees, which are always there.
    pub fees: BTreeMap<Purpose, u128>,
    /// Pay for proofs and blocks, which there may be no funds for.
    pub pay: BTreeMap<Purpose, u128>,
}

impl Owed {
    pub(crate) fn total(&self) -> u128 {
        self.fees.values().chain(self.pay.values()).sum()
    }
}

/// What is known of a block whose fees are claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimedBlock {
    pub coinbase: Address,
    /// Fees in units.
    pub units: u128,
    /// The committee in order, and who of it signed.
    pub committee: Vec<(Address, bool)>,
}

/// The expected money of one deployment.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub rates: Rates,
    pub vault: Address,
    pub rewards: Address,
    pub portal: Address,
    /// The contract with the stakes, if committees are drawn.
    pub staking: Option<Address>,
    pub bonds: BTreeMap<Address, BondAccount>,
    pub changes: Vec<BondChange>,
    /// Poster and rest of each locked bond.
    locked: BTreeMap<u64, (Address, u128)>,
    pub owed: BTreeMap<Address, Owed>,
    pub stakes: BTreeMap<Address, u128>,
    /// Units on L2 that the FeePortal must back.
    pub backing: u128,
}

impl Ledger {
    pub(crate) fn new(rates: Rates, vault: Address, rewards: Address, portal: Address) -> Self {
        Self {
            rates,
            vault,
            rewards,
            portal,
            staking: None,
            bonds: BTreeMap::new(),
            changes: Vec::new(),
            locked: BTreeMap::new(),
            owed: BTreeMap::new(),
            stakes: BTreeMap::new(),
            backing: 0,
        }
    }

    // ------------------------------------------------------------ bonds

    pub(crate) fn bond_deposited(
        &mut self,
        book: &mut Book,
        by: Address,
        of: Address,
        amount: u128,
    ) {
        book.moved(by, self.vault, amount, Purpose::BondDeposit);
        self.bonds.entry(of).or_default().free += amount;
    }

    /// The first block of an epoch locks its proposer's bond.
    pub(crate) fn bond_locked(&mut self, epoch: u64, poster: Address) {
        let amount = self.rates.bond;
        let account = self.bonds.entry(poster).or_default();
        account.free = account.free.saturating_sub(amount);
        account.locked += amount;
        self.locked.insert(epoch, (poster, amount));
        self.changes.push(BondChange::Locked { epoch, poster, amount });
    }

    fn unlock(&mut self, epoch: u64) -> (Address, u128) {
        let (poster, rest) = self.locked.remove(&epoch).unwrap_or_default();
        let account = self.bonds.entry(poster).or_default();
        account.locked = account.locked.saturating_sub(rest);
        (poster, rest)
    }

    /// The epoch was proven in time, or is dropped with one before it.
    pub(crate) fn bond_returned(&mut self, epoch: u64) {
        let (poster, amount) = self.unlock(epoch);
        self.bonds.entry(poster).or_default().free += amount;
        self.changes.push(BondChange::Returned { epoch, poster, amount });
    }

    /// A late proof added some of the epoch's blocks.
    pub(crate) fn bond_shared(&mut self, epoch: u64, to: Address, added: u128, blocks: u128) {
        let amount = self.rates.challenge_share(added, blocks);
        let (poster, rest) = self.unlock(epoch);
        self.bonds.entry(poster).or_default().locked += rest.saturating_sub(amount);
        self.locked.insert(epoch, (poster, rest.saturating_sub(amount)));
        let account = self.bonds.entry(to).or_default();
        account.free += amount;
        account.shares += amount;
        self.changes.push(BondChange::Shared { epoch, poster, to, amount });
    }

    /// The epoch was proven late or not at all.
    pub(crate) fn bond_lost(&mut self, epoch: u64) {
        let (poster, amount) = self.unlock(epoch);
        self.bonds.entry(self.rewards).or_default().free += amount;
        self.changes.push(BondChange::Lost { epoch, poster, amount });
    }

    /// An account takes its free part; returns how much.
    pub(crate) fn bond_withdrawn(&mut self, book: &mut Book, who: Address) -> u128 {
        let account = self.bonds.entry(who).or_default();
        let (free, shares) = (account.free, account.shares);
        (account.free, account.shares) = (0, 0);
        book.moved(self.vault, who, shares, Purpose::ChallengeShare);
        book.moved(self.vault, who, free.saturating_sub(shares), Purpose::BondBack);
        free
    }

    /// Lost bonds go to Rewards.
    pub(crate) fn collected(&mut self, book: &mut Book) -> u128 {
        let account = self.bonds.entry(self.rewards).or_default();
        let amount = std::mem::take(&mut account.free);
        book.moved(self.vault, self.rewards, amount, Purpose::BondLost);
        amount
    }

    // ------------------------------------------------------------ pay

    /// An epoch is settled, and this was its longest proof.
    pub(crate) fn epoch_paid(&mut self, prover: Address, rows: u64) -> u128 {
        let amount = self.rates.epoch_pay(rows);
        let owed = self.owed.entry(prover).or_default();
        *owed.pay.entry(Purpose::ProofPay).or_default() += amount;
        amount
    }

    /// Blocks of a settled epoch are claimed; `prover` made its longest proof.
    pub(crate) fn claimed_blocks(
        &mut self,
        book: &mut Book,
        blocks: &[ClaimedBlock],
        prover: Address,
    ) {
        for block in blocks {
            let signers = block.committee.iter().filter(|(_, signed)| *signed);
            let split = self.rates.split(
                block.units,
                block.committee.len() as u128,
                signers.clone().count() as u128,
            );
            let mut fee = |who: Address, purpose, amount| {
                if amount != 0 {
                    *self.owed.entry(who).or_default().fees.entry(purpose).or_default() += amount;
                }
            };
            fee(block.coinbase, Purpose::ProposerFees, split.coinbase);
            fee(prover, Purpose::ProverFees, split.prover);
            for (member, _) in signers {
                fee(*member, Purpose::SignerFees, split.each);
            }
            let pay = &mut self.owed.entry(block.coinbase).or_default().pay;
            *pay.entry(Purpose::BlockReward).or_default() += self.rates.block_reward;
            let released = block.units * UNIT;
            book.moved(self.portal, self.rewards, split.unsigned, Purpose::UnsignedFees);
            let earned = released - split.unsigned;
            book.moved(self.portal, self.rewards, earned, Purpose::FeesReleased);
            self.backing = self.backing.saturating_sub(block.units);
        }
    }

    pub(crate) fn fees_owed(&self) -> u128 {
        self.owed.values().flat_map(|owed| owed.fees.values()).sum()
    }

    pub(crate) fn total_owed(&self) -> u128 {
        self.owed.values().map(Owed::total).sum()
    }

    /// An account is paid its fees, and of its pay what there is besides everybody's fees. Returns how much.
    pub(crate) fn claimed(&mut self, book: &mut Book, who: Address) -> u128 {
        let mut free = book.balance(self.rewards).saturating_sub(self.fees_owed());
        let owed = self.owed.entry(who).or_default();
        let fees: u128 = owed.fees.values().sum();
        for (purpose, amount) in std::mem::take(&mut owed.fees) {
            book.moved(self.rewards, who, amount, purpose);
        }
        let mut paid = fees;
        for (purpose, amount) in &mut owed.pay {
            let part = free.min(*amount);
            book.moved(self.rewards, who, part, *purpose);
            free -= part;
            *amount -= part;
            paid += part;
        }
        owed.pay.retain(|_, amount| *amount != 0);
        paid
    }

    // ------------------------------------------------------------ bridge and stakes

    pub(crate) fn deposited(&mut self, book: &mut Book, by: Address, units: u128) {
        book.moved(by, self.portal, units * UNIT, Purpose::BridgeDeposit);
        self.backing += units;
    }

    pub(crate) fn withdrawn(&mut self, book: &mut Book, to: Address, units: u128) {
        book.moved(self.portal, to, units * UNIT, Purpose::Withdrawal);
        self.backing = self.backing.saturating_sub(units);
    }

    pub(crate) fn staked(&mut self, book: &mut Book, by: Address, attester: Address, amount: u128) {
        book.moved(by, self.staking.unwrap_or_default(), amount, Purpose::StakeDeposit);
        self.stakes.insert(attester, amount);
    }

    /// A stake is slashed; returns the reporter's part.
    pub(crate) fn slashed(
        &mut self,
        book: &mut Book,
        attester: Address,
        reporter: Address,
    ) -> u128 {
        let staking = self.staking.unwrap_or_default();
        let stake = self.stakes.insert(attester, 0).unwrap_or_default();
        let (part, rest) = slashed(stake);
        book.moved(staking, reporter, part, Purpose::Report);
        book.moved(staking, self.rewards, rest, Purpose::StakeLost);
        part
    }

    pub(crate) fn stake_back(&mut self, book: &mut Book, attester: Address, to: Address) {
        let stake = self.stakes.insert(attester, 0).unwrap_or_default();
        book.moved(self.staking.unwrap_or_default(), to, stake, Purpose::StakeBack);
    }
}

#[cfg(test)]
mod tests {
    use super::super::money::AZT;
    use super::*;

    const POSTER: Address = Address::with_last_byte(1);
    const OTHER: Address = Address::with_last_byte(2);
    const HOLDER: Address = Address::with_last_byte(3);

    fn ledger() -> (Ledger, Book) {
        let [vault, rewards, portal] = [11, 12, 13].map(Address::with_last_byte);
        let mut book = Book::default();
        book.moved(Address::ZERO, HOLDER, 1_000_000 * AZT, Purpose::Supply);
        (Ledger::new(Rates::STANDARD, vault, rewards, portal), book)
    }

    /// Goal: whatever happens to a bond, it is in one place.
    #[test]
    fn a_bond_is_returned_or_shared_and_lost_and_never_both() {
        let (mut money, mut book) = ledger();
        money.bond_deposited(&mut book, HOLDER, POSTER, 3_000 * AZT);
        for epoch in 0..3 {
            money.bond_locked(epoch, POSTER);
        }
        assert_eq!(money.bonds[&POSTER].locked, 3_000 * AZT);
        money.bond_returned(0);
        money.bond_shared(1, OTHER, 1, 2);
        money.bond_lost(1);
        money.bond_lost(2);
        assert_eq!(money.bonds[&POSTER], BondAccount { free: 1_000 * AZT, ..Default::default() });
        assert_eq!(money.bonds[&OTHER].free, 250 * AZT);
        assert_eq!(money.bonds[&money.rewards].free, 1_750 * AZT);
        assert_eq!(money.bond_withdrawn(&mut book, OTHER), 250 * AZT);
        assert_eq!(money.collected(&mut book), 1_750 * AZT);
        assert_eq!(book.balance(money.vault), 1_000 * AZT);
    }

    /// Goal: pay without funds waits, and fees do not.
    #[test]
    fn an_empty_treasury_delays_pay_and_no_fees() {
        let (mut money, mut book) = ledger();
        money.deposited(&mut book, HOLDER, 1_000);
        let committee = vec![(POSTER, true), (OTHER, false)];
        let block = ClaimedBlock { coinbase: POSTER, units: 1_000, committee };
        money.claimed_blocks(&mut book, &[block], OTHER);
        money.epoch_paid(OTHER, 10);
        // 10 % of the fees are the prover's; 10 % are the part of the member that did not sign.
        assert_eq!(money.fees_owed(), 900 * UNIT);
        assert_eq!(
            money.claimed(&mut book, OTHER),
            200 * UNIT,
            "its fees, and what nobody signed for"
        );
        assert_eq!(money.owed[&OTHER].total(), 10 * 1_000_000_000_000 - 100 * UNIT);
        assert_eq!(money.claimed(&mut book, POSTER), 800 * UNIT);
        assert_eq!(book.balance(money.rewards), 0);
        assert_eq!(money.backing, 0);
    }
}
