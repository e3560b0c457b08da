//! The account that pays for a process's transactions on L1: what it owns, what gas costs, and whether that is enough.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollmill_l1::alloy::primitives::{Address, U256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::{L1Client, L1Error};
use rollmill_service::prometheus::core::{Collector, Desc};
use rollmill_service::prometheus::proto::MetricFamily;
use rollmill_service::prometheus::{self, Registry};
use rollmill_service::{Again, Conditions, Retry, Shutdown};

use crate::metrics::AccountMetrics;
use crate::setup::RunningNode;

/// Pause between readings: a block of L1.
const PAUSE: Duration = Duration::from_secs(12);
/// Longest pause before a failed reading is repeated.
const RETRY_MAX: Duration = Duration::from_secs(60);
const WEI_PER_ETH: f64 = 1e18;
const WEI_PER_GWEI: f64 = 1e9;
/// Name of the condition that the account can pay.
const CONDITION: &str = "account";
/// Gas that the account must be able to pay: three transactions of a million, at four times the base fee. The alert
/// RollmillBalanceLow computes the same.
const RESERVE_GAS: u64 = 3 * 1_000_000 * 4;
/// What it must have however low the base fee is, in wei: 0.01 ether.
const RESERVE_MIN: u64 = 10_000_000_000_000_000;

/// What was read of L1 at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Funds {
    balance_wei: U256,
    base_fee_wei: Option<u64>,
}

impl Funds {
    /// Whether `account` can pay for its next transactions, or why not. For one that could pay at the last reading half
    /// of the price will do: the base fee moves with each block, and the condition would come and go with it.
    fn suffice(&self, account: Address, could_pay: bool) -> Result<(), String> {
        let price = U256::from(self.base_fee_wei.unwrap_or(0));
        let gas = U256::from(if could_pay { RESERVE_GAS / 2 } else { RESERVE_GAS });
        let needed = (price * gas).max(U256::from(RESERVE_MIN));
        if self.balance_wei >= needed {
            return Ok(());
        }
        let eth = |wei: U256| f64::from(wei) / WEI_PER_ETH;
        Err(format!(
            "account {account} has {:.4} ether on L1, and its next transactions may need {:.4}; send ether to it",
            eth(self.balance_wei),
            eth(needed)
        ))
    }
}

/// Shows the last reading, and nothing after a reading that failed.
struct Shown {
    last: Arc<Mutex<Option<Funds>>>,
    metrics: AccountMetrics,
}

impl Collector for Shown {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics.descriptions()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(funds) = *self.last.lock() else { return Vec::new() };
        self.metrics.account_balance_eth.set(f64::from(funds.balance_wei) / WEI_PER_ETH);
        let mut found = self.metrics.account_balance_eth.collect();
        if let Some(fee) = funds.base_fee_wei {
            self.metrics.l1_base_fee_gwei.set(fee as f64 / WEI_PER_GWEI);
            found.extend(self.metrics.l1_base_fee_gwei.collect());
        }
        found
    }
}

/// Shows what `account` owns on the L1 of `running` until `shutdown` starts, in a task of its own. It keeps the condition
/// `account` in `conditions`, if any: that the account can pay for its next transactions, as of the last reading.
///
/// # Errors
/// When the metrics are registered already.
pub fn watch_account(
    running: &RunningNode,
    account: Address,
    registry: &Registry,
    conditions: Option<&Conditions>,
    shutdown: &Shutdown,
) -> Result<(), prometheus::Error> {
    let last = Arc::new(Mutex::new(None));
    let shown = Shown { last: Arc::clone(&last), metrics: AccountMetrics::create(&[]) };
    registry.register(Box::new(shown))?;
    if let Some(conditions) = conditions {
        conditions.expect(&[CONDITION]);
    }
    let conditions = conditions.cloned();
    let (l1, shutdown) = (running.l1.clone(), shutdown.clone());
    tokio::spawn(async move { keep(&l1, account, &last, conditions.as_ref(), &shutdown).await });
    Ok(())
}

async fn keep(
    l1: &L1Client,
    account: Address,
    last: &Mutex<Option<Funds>>,
    conditions: Option<&Conditions>,
    shutdown: &Shutdown,
) {
    let (mut retry, mut could_pay) = (Retry::new(PAUSE, RETRY_MAX), false);
    while !shutdown.is_started() {
        let funds = tokio::select! {
            () = shutdown.started() => return,
            funds = read(l1, account) => funds,
        };
        *last.lock() = funds.as_ref().ok().copied();
        // While L1 cannot be read, the condition `l1` says so.
        if let (Ok(funds), Some(conditions)) = (&funds, conditions) {
            let holds = funds.suffice(account, could_pay);
            could_pay = holds.is_ok();
            conditions.set(CONDITION, holds);
        }
        match funds {
            Ok(_) => {
                retry.succeeded(|wait_seconds| tracing::info!(wait_seconds, "balance read again"));
                shutdown.within(PAUSE).await;
            }
            Err(error) => {
                let log = |Again { repeated, retry_seconds }| {
                    tracing::warn!(%error, repeated, retry_seconds, "balance not read; retrying");
                };
                retry.failed(shutdown.started(), log).await;
            }
        }
    }
}

async fn read(l1: &L1Client, account: Address) -> Result<Funds, L1Error> {
    let head = l1.block(Default::default()).await?;
    let balance = l1.provider().get_balance(account).await;
    Ok(Funds {
        balance_wei: balance.map_err(L1Error::rpc("balance"))?,
        base_fee_wei: head.and_then(|head| head.header.base_fee_per_gas),
    })
}

#[cfg(test)]
mod tests {
    use rollmill_service::prometheus::TextEncoder;

    use super::*;

    #[test]
    fn the_last_reading_is_shown_in_units_and_vanishes_when_l1_is_gone() {
        let last = Arc::new(Mutex::new(None));
        let registry = Registry::new();
        let shown = Shown { last: Arc::clone(&last), metrics: AccountMetrics::create(&[]) };
        registry.register(Box::new(shown)).unwrap();
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert_eq!(text(), "");
        let balance_wei = U256::from(1_500_000_000_000_000_000_u64);
        *last.lock() = Some(Funds { balance_wei, base_fee_wei: Some(20_500_000_000) });
        assert!(text().contains("\nrollmill_node_account_balance_eth 1.5\n"), "{}", text());
        assert!(text().contains("\nrollmill_node_l1_base_fee_gwei 20.5\n"), "{}", text());
        *last.lock() = Some(Funds { balance_wei: U256::ZERO, base_fee_wei: None });
        assert!(text().contains("_eth 0\n") && !text().contains("base_fee"), "{}", text());
        *last.lock() = None;
        assert_eq!(text(), "");
    }

    #[test]
    fn an_account_must_pay_for_its_next_transactions_also_at_a_higher_price() {
        let gwei = |n: u64| n * 1_000_000_000;
        let milli_ether = |n: u64| U256::from(n) * U256::from(1_000_000_000_000_000_u64);
        for (balance, base_fee, holds) in [
            // 12 million gas at 20 gwei are 0.24 ether.
            (240, Some(20), true),
            (239, Some(20), false),
            // However cheap gas is, or while its price is unknown.
            (10, Some(0), true),
            (9, Some(0), false),
            (10, None, true),
            (0, None, false),
        ] {
            let base_fee_wei = base_fee.map(gwei);
            let funds = Funds { balance_wei: milli_ether(balance), base_fee_wei };
            let found = funds.suffice(Address::repeat_byte(7), false);
            assert_eq!(found.is_ok(), holds, "{funds:?}: {found:?}");
        }
        let funds = Funds { balance_wei: milli_ether(239), base_fee_wei: Some(gwei(20)) };
        let why = funds.suffice(Address::repeat_byte(7), false).unwrap_err();
        assert!(
            why.contains("0.2390") && why.contains("0.2400") && why.contains("0x0707"),
            "{why}"
        );
    }

    #[test]
    fn an_account_that_could_pay_still_can_while_the_base_fee_moves_a_little() {
        let account = Address::repeat_byte(7);
        let balance_wei = U256::from(240_000_000_000_000_000_u64);
        let mut could_pay = false;
        // A block moves the base fee by an eighth at most.
        for (gwei, holds) in
            [(22, false), (20, true), (22, true), (40, true), (41, false), (22, false)]
        {
            let funds = Funds { balance_wei, base_fee_wei: Some(gwei * 1_000_000_000) };
            could_pay = funds.suffice(account, could_pay).is_ok();
            assert_eq!(could_pay, holds, "{gwei}");
        }
        // However cheap gas is.
        let funds = Funds { balance_wei: U256::from(RESERVE_MIN - 1), base_fee_wei: None };
        assert!(funds.suffice(account, true).is_err());
    }
}
