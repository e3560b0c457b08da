//! What a user wants a transaction to do, and what it may cost.

use rollmill_node_client::wire::DepositInfo;
use rollmill_protocol::config::SLOT_MAX;
use rollmill_protocol::gas::{self, DA_GAS_PER_TX, FEE_PER_GAS_MAX, GasSettings, L2_GAS_PER_TX};
use rollmill_protocol::{Config, EthAddress, Gas, Header};

use crate::error::PxeError;
use crate::keys::Address;

/// A transaction allows prices up to this multiple of the current ones.
const PRICE_MARGIN: u64 = 4;
/// Whole epochs after the current one in which a transaction may be included, unless the user says
/// otherwise.
pub const EXPIRY_EPOCHS: u64 = 8;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A private payment.
    Transfer { to: Address, amount: u64 },
    /// Value out of notes to an account on L1.
    Withdraw { to: EthAddress, amount: u64 },
    /// A deposit on L1 into this account's public balance, and from there into a note.
    Claim {
        deposit: DepositInfo,
        /// Leave the whole amount in the public balance.
        keep: bool,
    },
}

/// Who pays the fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeePayer {
    /// The notes; what the fee does not use comes back as a note. The transaction names nobody.
    #[default]
    Notes,
    /// The public balance of this account, which the transaction names.
    Account,
}

/// A transaction as a user orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub purpose: Purpose,
    pub fee_payer: FeePayer,
    /// Whole epochs after the current one in which the transaction may be included.
    pub expiry_epochs: u64,
}

impl Order {
    /// A private payment whose fee comes from notes.
    pub const fn transfer(to: Address, amount: u64) -> Self {
        Self::of(Purpose::Transfer { to, amount }, FeePayer::Notes)
    }

    /// A withdrawal to an account on L1 whose fee comes from notes.
    pub const fn withdraw(to: EthAddress, amount: u64) -> Self {
        Self::of(Purpose::Withdraw { to, amount }, FeePayer::Notes)
    }

    /// A claim of a deposit. Its amount goes into a note, except for what the maximum fee needs beyond the
    /// public balance.
    pub const fn claim(deposit: DepositInfo) -> Self {
        Self::of(Purpose::Claim { deposit, keep: false }, FeePayer::Account)
    }

    const fn of(purpose: Purpose, fee_payer: FeePayer) -> Self {
        Self { purpose, fee_payer, expiry_epochs: EXPIRY_EPOCHS }
    }

    /// The order as one text, which differs between any two orders. `spend_pending` is what the wallet was set to.
    pub(super) fn text(&self, spend_pending: bool) -> String {
        let purpose = match self.purpose {
            Purpose::Transfer { to, amount } => format!("transfer {amount} to {to}"),
            Purpose::Withdraw { to, amount } => format!("withdraw {amount} to {to}"),
            Purpose::Claim { deposit, keep } => {
                format!("claim {} of {} keep {keep}", deposit.index, deposit.amount)
            }
        };
        let payer = match self.fee_payer {
            FeePayer::Notes => "notes",
            FeePayer::Account => "account",
        };
        let epochs = self.expiry_epochs;
        format!("{purpose}, fee by {payer}, within {epochs} epochs, pending {spend_pending}")
    }

    /// The order with another payer. The account pays for a claim in any case: only a transaction that
    /// names the account can claim its deposit.
    pub const fn paid_by(self, fee_payer: FeePayer) -> Self {
        let fee_payer = match self.purpose {
            Purpose::Claim { .. } => FeePayer::Account,
            _ => fee_payer,
        };
        Self { fee_payer, ..self }
    }
}

/// What a transaction may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fee {
    /// In a block right after the last one that was read.
    pub now: u64,
    /// The maximum that the transaction allows if prices rise.
    pub max: u64,
}

/// What the order's transaction would do, before it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    pub fee: Fee,
    /// Value that comes back in a note at once, besides what is left of the maximum fee.
    pub change: u64,
    /// Value that moves from the public balance into a note.
    pub notes_in: u64,
    /// The account's public balance, without what transactions that were sent may still take.
    pub balance: u64,
    /// Last slot of a block that may include the transaction.
    pub expiry_slot: u64,
}

/// The terms that a transaction takes from the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) gas: GasSettings,
    pub(crate) fee: Fee,
    pub(crate) expiry_slot: u64,
}

impl Terms {
    /// The terms after the block of `tip`, at `now` in seconds since 1970 if that is later. `config` is
    /// within its bounds.
    ///
    /// # Errors
    /// [`PxeError::Node`] for prices that no block has.
    pub(crate) fn new(
        config: &Config,
        tip: &Header,
        now: u64,
        expiry_epochs: u64,
    ) -> Result<Self, PxeError> {
        let (price, gas) = (config.prices_after(tip), gas_after(config, tip));
        let fee = |price| gas::fee(price, Gas::PER_TX);
        let (Some(current), Some(max)) = (fee(price), fee(gas.max_price())) else {
            return Err(PxeError::Node("its prices are higher than any block's".to_owned()));
        };
        let seconds = now.saturating_sub(config.genesis_time);
        let slot = seconds.checked_div(config.slot_seconds).unwrap_or(0);
        // To the end of an epoch, so that the slot does not mark the moment at which it was created.
        let epoch = config.epoch(slot.max(tip.slot)).saturating_add(expiry_epochs);
        let end = epoch.saturating_add(1).saturating_mul(config.slots_per_epoch);
        let expiry_slot = end.saturating_sub(1).min(SLOT_MAX);
        Ok(Self { gas, fee: Fee { now: current, max }, expiry_slot })
    }
}

/// The gas settings of a transaction after the block of `tip`. They depend on nothing but the prices, so that no
/// transaction differs from another by them.
pub(crate) fn gas_after(config: &Config, tip: &Header) -> GasSettings {
    let price = config.prices_after(tip);
    GasSettings {
        max_fee_per_l2_gas: allowed(price.l2),
        max_fee_per_da_gas: allowed(price.da),
        l2_gas_limit: L2_GAS_PER_TX,
        da_gas_limit: DA_GAS_PER_TX,
        l2_teardown_gas_limit: 0,
        da_teardown_gas_limit: 0,
    }
}

/// The highest price that a transaction allows when the price is this. Only the two highest bits differ
/// from zero, so that transactions at different prices look alike: the price and the value that leaves the
/// notes follow from it.
fn allowed(price: u64) -> u64 {
    let price = price.max(1).saturating_mul(PRICE_MARGIN).min(FEE_PER_GAS_MAX);
    let step = 1 << price.ilog2().saturating_sub(1);
    price.next_multiple_of(step).min(FEE_PER_GAS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    /// Goal: a key that is repeated with any other order is noticed.
    #[test]
    fn the_texts_of_two_orders_differ_in_every_part() {
        let [alice, bob] = [1, 2].map(|name| Keys::from_seed(&[name; 32]).address());
        let (first, second) = (EthAddress([1; 20]), EthAddress([2; 20]));
        let deposit = |index, amount| DepositInfo { index, amount };
        let claim = Order::claim(deposit(1, 11));
        let kept = Purpose::Claim { deposit: deposit(1, 11), keep: true };
        let orders = [
            Order::transfer(alice, 11),
            Order::transfer(bob, 11),
            Order::transfer(alice, 1),
            Order::transfer(alice, 11).paid_by(FeePayer::Account),
            Order { expiry_epochs: 1, ..Order::transfer(alice, 11) },
            Order::withdraw(first, 11),
            Order::withdraw(second, 11),
            Order::withdraw(first, 1),
            claim,
            Order::claim(deposit(11, 1)),
            Order::claim(deposit(1, 1)),
            Order { purpose: kept, ..claim },
        ];
        let texts = orders.iter().flat_map(|order| [order.text(false), order.text(true)]);
        let texts: std::collections::BTreeSet<String> = texts.collect();
        assert_eq!(texts.len(), 2 * orders.len(), "{texts:?}");
    }

    #[test]
    fn an_allowed_price_has_two_bits_and_covers_the_margin() {
        for (price, expected) in [
            (0, 4),
            (1, 4),
            (2, 8),
            (3, 12),
            (5, 24),
            (9, 48),
            (100, 512),
            (129, 768),
            (FEE_PER_GAS_MAX / 4, FEE_PER_GAS_MAX),
            (FEE_PER_GAS_MAX, FEE_PER_GAS_MAX),
            (u64::MAX, FEE_PER_GAS_MAX),
        ] {
            assert_eq!(allowed(price), expected, "price {price}");
        }
        for price in 1..5000 {
            let allowed = allowed(price);
            assert!((4 * price..=6 * price).contains(&allowed), "{price}: {allowed}");
            assert!(allowed.count_ones() <= 2, "{price}: {allowed}");
        }
    }
}
