//! What every movement of the token was for, as a scenario expects it.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_l1::alloy::primitives::Address;
use serde::{Deserialize, Serialize};

/// What an amount is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The first supply.
    Supply,
    /// Minted by governance.
    Mint,
    /// From the first holder to somebody, so that it can play its part.
    Grant,
    /// Into the BondVault.
    BondDeposit,
    /// Into Staking.
    StakeDeposit,
    /// Into the FeePortal, for L2.
    BridgeDeposit,
    /// Out of the FeePortal, by a transaction on L2.
    Withdrawal,
    /// Fees that go from the FeePortal to those who earned them, through Rewards.
    FeesReleased,
    /// The coinbase's part of a block's fees.
    ProposerFees,
    /// A signer's part of a block's fees.
    SignerFees,
    /// The prover's part of a block's fees.
    ProverFees,
    /// The parts of members that did not sign, which stay with Rewards.
    UnsignedFees,
    /// The reward for a proven block.
    BlockReward,
    /// Pay for the longest proof of an epoch.
    ProofPay,
    /// A late prover's share of a bond.
    ChallengeShare,
    /// A bond, or what was never locked, back to its poster.
    BondBack,
    /// What is left of the bond of an epoch that was proven late or not at all.
    BondLost,
    /// A reporter's part of a slashed stake.
    Report,
    /// The rest of it.
    StakeLost,
    /// A stake back to its withdrawer.
    StakeBack,
}

impl Purpose {
    /// Words for the table.
    pub fn text(self) -> &'static str {
        match self {
            Self::Supply => "first supply",
            Self::Mint => "minted by governance",
            Self::Grant => "grant",
            Self::BondDeposit => "bond deposited",
            Self::StakeDeposit => "stake deposited",
            Self::BridgeDeposit => "deposit for L2",
            Self::Withdrawal => "withdrawal from L2",
            Self::FeesReleased => "fees released",
            Self::ProposerFees => "fees, proposer",
            Self::SignerFees => "fees, signer",
            Self::ProverFees => "fees, prover",
            Self::UnsignedFees => "fees, nobody signed for",
            Self::BlockReward => "block reward",
            Self::ProofPay => "longest proof of the epoch",
            Self::ChallengeShare => "share of a bond, late proof",
            Self::BondBack => "bond back",
            Self::BondLost => "bond lost",
            Self::Report => "report of equivocation",
            Self::StakeLost => "stake slashed",
            Self::StakeBack => "stake back",
        }
    }

    /// Whether the table of payments lists it: what a scenario does at its start to set the stage is left out,
    /// and so are fees on their way.
    pub fn is_payment(self) -> bool {
        !matches!(
            self,
            Self::Supply
                | Self::Grant
                | Self::BondDeposit
                | Self::StakeDeposit
                | Self::BridgeDeposit
                | Self::FeesReleased
        )
    }
}

/// A movement of the token. The zero address mints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub from: Address,
    pub to: Address,
    pub amount: u128,
    pub purpose: Purpose,
}

/// All movements that a scenario expects, and the names of those who take part.
#[derive(Debug, Default)]
pub(crate) struct Book {
    names: BTreeMap<Address, String>,
    transfers: Vec<Transfer>,
}

impl Book {
    /// Gives an account or contract a name.
    pub(crate) fn name(&mut self, address: Address, name: impl Into<String>) {
        self.names.insert(address, name.into());
    }

    /// The name of an address, or its digits.
    pub(crate) fn named(&self, address: Address) -> String {
        match self.names.get(&address) {
            Some(name) => name.clone(),
            None if address == Address::ZERO => "new tokens".to_owned(),
            None => address.to_string(),
        }
    }

    /// Expects that `amount` goes from one to the other.
    pub(crate) fn moved(&mut self, from: Address, to: Address, amount: u128, purpose: Purpose) {
        if amount != 0 {
            self.transfers.push(Transfer { from, to, amount, purpose });
        }
    }

    /// What an address must hold now.
    pub(crate) fn balance(&self, of: Address) -> u128 {
        let sum = |mine: fn(&Transfer) -> Address| -> u128 {
            self.transfers.iter().filter(|it| mine(it) == of).map(|it| it.amount).sum()
        };
        // A movement of more than there is shows in the comparison with L1, which has none.
        sum(|it| it.to).saturating_sub(sum(|it| it.from))
    }

    /// Every address that ever held a token.
    pub(crate) fn holders(&self) -> BTreeSet<Address> {
        let ends = self.transfers.iter().flat_map(|it| [it.from, it.to]);
        ends.filter(|address| *address != Address::ZERO).collect()
    }

    /// What must have gone from each to each.
    pub(crate) fn sums(&self) -> BTreeMap<(Address, Address), u128> {
        let mut sums = BTreeMap::new();
        for it in &self.transfers {
            *sums.entry((it.from, it.to)).or_default() += it.amount;
        }
        sums
    }

    /// Payments by payee, purpose and payer, summed.
    pub(crate) fn payments(&self) -> BTreeMap<(String, Purpose, String), u128> {
        let mut sums = BTreeMap::new();
        for it in self.transfers.iter().filter(|it| it.purpose.is_payment()) {
            let key = (self.named(it.to), it.purpose, self.named(it.from));
            *sums.entry(key).or_default() += it.amount;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_and_sums_follow_from_the_movements() {
        let [a, b] = [1, 2].map(Address::with_last_byte);
        let mut book = Book::default();
        book.name(a, "a");
        book.moved(Address::ZERO, a, 10, Purpose::Supply);
        book.moved(a, b, 3, Purpose::ProofPay);
        book.moved(a, b, 1, Purpose::BlockReward);
        book.moved(a, b, 0, Purpose::BondBack);
        assert_eq!((book.balance(a), book.balance(b)), (6, 4));
        assert_eq!(book.sums()[&(a, b)], 4);
        assert_eq!(book.holders().into_iter().collect::<Vec<_>>(), [a, b]);
        let payments: Vec<_> = book.payments().into_iter().collect();
        assert_eq!(payments.len(), 2, "neither the supply nor a movement of nothing");
        assert_eq!(payments[0].0, (b.to_string(), Purpose::BlockReward, "a".to_owned()));
    }
}
