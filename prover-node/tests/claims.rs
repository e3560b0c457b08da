//! What a prover is owed and claims, on the real contracts with verifiers that accept.

use std::sync::Arc;

use rollmill_l1::abi::{AztToken, Rates};
use rollmill_l1::alloy::primitives::{Address, Bytes};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1::economics::Economics;
use rollmill_l1::{Azt, TxRequest};
use rollmill_l1_testing::{Anvil, Network, rates, sender, signer};
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
    let token = network.token;
    for to in [network.info.contracts.rewards, network.info.contracts.feePortal] {
        let value = "1".parse::<Azt>().unwrap().word();
        let call = Bytes::from(AztToken::transferCall { to, value }.abi_encode());
        let request = TxRequest::call(format!("give/{to}"), token, call);
        assert!(network.sender.send(request).await.unwrap().succeeded);
    }
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
    // The first step settles the epoch, the next one has its fees credited.
    for _ in 0..2 {
        assert!(!high.step().await.unwrap());
    }
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
