//! What a prover is owed and claims, on the real contracts with verifiers that accept.

use std::sync::Arc;

use rollmill_l1::abi::{AztToken, Rates};
use rollmill_l1::alloy::primitives::{Address, Bytes};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1::economics::{Economics, is_settled};
use rollmill_l1::{Azt, TxRequest};
use rollmill_l1_testing::{Anvil, Network, SLOTS_PER_EPOCH, rates, sender, signer};
use rollmill_prover_node::claims::Claims;
use rollmill_prover_node::metrics::Metrics;
use rollmill_service::prometheus::Registry;

/// The prover of the network's proofs.
const PROVER: Address = Address::with_last_byte(0x1d);

async fn claims(
    network: &Network,
    registry: &Registry,
    above: Option<u128>,
) -> (Claims, Economics) {
    let sender = sender(&network.client, network.folder.path(), 1).await;
    let metrics = Metrics::new(registry).unwrap();
    let above = above.map(Azt::new);
    let (rollup, info) = (&network.rollup, &network.info);
    let claims = Claims::new(rollup, info, Some(Arc::new(sender)), PROVER, above, metrics).await;
    (claims.unwrap(), rollup.economics(info).await.unwrap())
}

/// Gives one AZT to each contract that pays.
async fn fund(network: &Network) {
    for to in [network.info.contracts.rewards, network.info.contracts.feePortal] {
        let value = "1".parse::<Azt>().unwrap().word();
        let call = Bytes::from(AztToken::transferCall { to, value }.abi_encode());
        let request = TxRequest::call(format!("give/{to}"), network.token, call);
        assert!(network.sender.send(request).await.unwrap().succeeded);
    }
}

/// Goal: nothing is sent below the amount; from it on the epoch is settled, its fees are credited and all is paid,
/// once.
#[tokio::test]
async fn what_is_owed_is_claimed_from_the_amount_on_and_once() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 20_000).await;
    // A quarter of the fees to the prover.
    let next = Rates { proposerBps: 5_500, proverBps: 2_500, ..rates() };
    network.set_rates(next).await;
    network.propose(1).await;
    network.prove(0, 1).await;
    fund(&network).await;
    network.at(4).await;
    // 4,243 rows at 1 base unit, and a quarter of 77 units of fees.
    let owed = 4_243 + 77_000_000_000 / 4;
    let account = signer(1).address();
    let sent = || async { network.client.provider().get_transaction_count(account).await.unwrap() };

    let registry = Registry::new();
    let (watching, economics) = claims(&network, &registry, None).await;
    assert!(!watching.step().await.unwrap());
    assert_eq!(sent().await, 0, "sent without the setting");
    drop(watching);
    let registry = Registry::new();
    let (high, _) = claims(&network, &registry, Some(owed + 1)).await;
    // It settles the epoch and has its fees credited.
    assert!(!high.step().await.unwrap());
    assert_eq!(economics.owed(PROVER).await.unwrap(), Azt::new(owed));
    assert!(economics.balance(PROVER).await.unwrap().is_zero());
    drop(high);

    let registry = Registry::new();
    let (enough, _) = claims(&network, &registry, Some(owed)).await;
    assert!(enough.step().await.unwrap());
    assert_eq!(economics.balance(PROVER).await.unwrap(), Azt::new(owed));
    let before = sent().await;
    assert!(!enough.step().await.unwrap());
    assert_eq!(sent().await, before, "claimed again");
}

/// Fault: Rewards has no funds, so that a claim is included and pays nothing. Goal: none is sent, however often this is
/// looked at, until there are funds.
#[tokio::test]
async fn nothing_is_claimed_while_rewards_has_no_funds() {
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 20_000).await;
    network.propose(1).await;
    network.prove(0, 1).await;
    network.at(4).await;
    let account = signer(1).address();
    let sent = || async { network.client.provider().get_transaction_count(account).await.unwrap() };

    let registry = Registry::new();
    let (claims, economics) = claims(&network, &registry, Some(1)).await;
    // It settles the epoch, which credits the proof.
    assert!(!claims.step().await.unwrap());
    let owed = economics.owed(PROVER).await.unwrap();
    assert!(owed >= Azt::new(1), "{owed}");
    let before = sent().await;
    assert!(!claims.step().await.unwrap());
    assert!(!claims.step().await.unwrap());
    assert_eq!(sent().await, before, "claims of nothing");

    fund(&network).await;
    assert!(claims.step().await.unwrap());
    assert_eq!(economics.balance(PROVER).await.unwrap(), owed);
    assert_eq!(sent().await, before + 1);
}

/// Fault: nobody settles epochs that were proven before their end, more of them than count as the newest. Goal: the
/// oldest one is settled too and the fees of its blocks are claimed; then nothing is sent any more.
#[tokio::test]
async fn epochs_that_nobody_settled_are_settled_however_old_they_are() {
    const EPOCHS: u64 = 7;
    let anvil = Anvil::start();
    let network = Network::on(anvil.client().await, true, 20_000).await;
    network.set_rates(Rates { proposerBps: 5_500, proverBps: 2_500, ..rates() }).await;
    for epoch in 0..EPOCHS {
        network.propose(epoch * SLOTS_PER_EPOCH + 1).await;
        network.prove(epoch, epoch + 1).await;
    }
    fund(&network).await;
    network.at(EPOCHS * SLOTS_PER_EPOCH).await;
    let is_over = |epoch| {
        let rollup = &network.rollup;
        async move { is_settled(&rollup.epoch_record(epoch).await.unwrap()) }
    };
    assert!(!is_over(0).await);
    let registry = Registry::new();
    let (claims, economics) = claims(&network, &registry, Some(u128::MAX)).await;
    assert!(!claims.step().await.unwrap());
    for epoch in 0..EPOCHS {
        assert!(is_over(epoch).await, "epoch {epoch}");
        assert!(economics.is_claimed(epoch + 1).await.unwrap(), "block {}", epoch + 1);
    }
    let account = signer(1).address();
    let sent = || async { network.client.provider().get_transaction_count(account).await.unwrap() };
    let before = sent().await;
    assert_eq!(before, 2 * EPOCHS);
    assert!(!claims.step().await.unwrap());
    assert_eq!(sent().await, before);
}
