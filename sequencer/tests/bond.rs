//! The bond of a proposer, on the real contracts.

use std::sync::Arc;

use rollmill_l1::Azt;
use rollmill_l1::TxRequest;
use rollmill_l1::abi::Rates;
use rollmill_l1::alloy::primitives::aliases::U96;
use rollmill_l1::alloy::primitives::{Address, Bytes};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::economics::Economics;
use rollmill_l1_testing::{Anvil, Network, rates, sender, signer};
use rollmill_sequencer::bond::BondKeeper;
use rollmill_sequencer::metrics::Metrics;
use rollmill_service::Conditions;
use rollmill_service::prometheus::Registry;

fn azt(text: &str) -> Azt {
    text.parse().unwrap()
}

struct Case {
    network: Network,
    economics: Economics,
    conditions: Conditions,
    metrics: Registry,
}

impl Case {
    /// A deployment whose epochs lock `bond` AZT.
    async fn new(anvil: &Anvil, bond: &str) -> Self {
        let network = Network::on(anvil.client().await, false, 20_000).await;
        let bond = U96::from(azt(bond).base_units());
        network.set_rates(Rates { bondAmount: bond, ..rates() }).await;
        let economics = network.rollup.economics(&network.info).await.unwrap();
        Self { network, economics, conditions: Conditions::default(), metrics: Registry::new() }
    }

    /// A keeper for one of the development accounts.
    async fn keeper(&self, account: usize, top_up: Option<&str>) -> BondKeeper {
        let sender = sender(&self.network.client, self.network.folder.path(), account).await;
        let (economics, conditions) = (self.economics.clone(), self.conditions.clone());
        let metrics = Metrics::new(&self.metrics).unwrap();
        BondKeeper::new(economics, Arc::new(sender), top_up.map(azt), metrics, conditions)
    }

    fn reason(&self) -> Option<String> {
        self.conditions.failing().into_iter().find(|(name, _)| *name == "bond").map(|it| it.1)
    }

    fn figure(&self, name: &str) -> f64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metric = &family.get_metric()[0];
        metric.get_gauge().get_value() + metric.get_counter().get_value()
    }

    async fn give(&self, to: Address, amount: &str) {
        use rollmill_l1::alloy::sol_types::SolCall;
        let value = azt(amount).word();
        let call = Bytes::from(rollmill_l1::abi::AztToken::transferCall { to, value }.abi_encode());
        let request = TxRequest::call(format!("give/{amount}"), self.economics.token(), call);
        assert!(self.network.sender.send(request).await.unwrap().succeeded);
    }
}

/// Goal: a bond that does not cover the next epoch is a condition that names the figures and the ways out, and
/// nothing is spent without the setting.
#[tokio::test]
async fn a_low_bond_is_shown_and_nothing_is_spent_without_the_setting() {
    let anvil = Anvil::start();
    let case = Case::new(&anvil, "25.5").await;
    let keeper = case.keeper(1, None).await;
    case.give(signer(1).address(), "100").await;
    assert!(!keeper.step().await.unwrap());
    let reason = case.reason().unwrap();
    for part in
        ["free bond is 0 AZT", "locks 25.5 AZT", "rollmill-l1 bond deposit", "--bond-top-up"]
    {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(case.figure("rollmill_sequencer_bond_needed_azt"), 25.5);
    assert_eq!(case.economics.balance(signer(1).address()).await.unwrap(), azt("100"));
}

/// Goal: with the setting, one deposit of exactly the amount brings the bond up, whatever is repeated; without the
/// tokens for it the condition says so.
#[tokio::test]
async fn a_low_bond_is_topped_up_once() {
    let anvil = Anvil::start();
    let case = Case::new(&anvil, "25.5").await;
    let account = signer(1).address();
    let keeper = case.keeper(1, Some("30")).await;
    assert!(!keeper.step().await.unwrap());
    let reason = case.reason().unwrap();
    assert!(reason.contains("has 0 AZT, which does not cover a top-up of 30 AZT"), "{reason}");

    case.give(account, "100").await;
    assert!(keeper.step().await.unwrap());
    assert_eq!(case.reason(), None);
    let count =
        || async { case.network.client.provider().get_transaction_count(account).await.unwrap() };
    let sent = count().await;
    assert_eq!(sent, 2, "an approval and a deposit");
    assert!(!keeper.step().await.unwrap());
    assert_eq!(count().await, sent, "it was deposited again");
    assert_eq!(case.economics.bond(account).await.unwrap().free, azt("30"));
    assert_eq!(case.economics.balance(account).await.unwrap(), azt("70"));
    let vault = case.economics.contracts().bondVault;
    assert!(case.economics.allowance(account, vault).await.unwrap().is_zero());
    assert_eq!(case.figure("rollmill_sequencer_bond_free_azt"), 30.0);
    assert_eq!(case.figure("rollmill_sequencer_bond_top_ups_total"), 1.0);

    // A higher bond makes it too low again, and one more deposit covers it.
    let next = Rates { bondAmount: U96::from(azt("60").base_units()), ..rates() };
    case.network.set_rates(next).await;
    assert!(keeper.step().await.unwrap());
    assert_eq!(case.economics.bond(account).await.unwrap().free, azt("60"));
    assert_eq!(case.reason(), None);
}
