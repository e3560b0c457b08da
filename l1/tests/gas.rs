//! Gas limits that last until a transaction is included, on the real contracts.

use alloy::primitives::aliases::U96;
use alloy::providers::Provider;
use alloy::providers::ext::AnvilApi;
use alloy::rpc::types::TransactionRequest;
use rollmill_l1::abi::{self, Rates};
use rollmill_l1::economics::PROOF_GAS_SPARE;
use rollmill_l1::{Azt, TxRequest};
use rollmill_l1_testing::pay::included;
use rollmill_l1_testing::{Anvil, Network, SLOT_SECONDS, SLOTS_PER_EPOCH, range, rates};

/// Goal: a proof that is simulated before its epoch is over, and included at the end of the challenge period, does not
/// run out of gas, although it settles the epoch, takes the poster's bond and shares it.
///
/// Method: the verifier here costs next to nothing, so that a fifth of the simulation is far too little. Every word
/// that the late proof writes is written for the first time.
#[tokio::test]
async fn a_proof_simulated_in_time_lands_late() {
    let anvil = Anvil::start();
    let window = 2 * SLOT_SECONDS;
    let network = Network::on(anvil.client().await, true, window as u32).await;
    let (provider, sender) = (network.client.provider(), &network.sender);
    let bond: Azt = "10".parse().unwrap();
    let bonded = Rates { bondAmount: U96::from(bond.base_units()), ..rates() };
    network.set_rates(bonded).await;
    let economics = network.rollup.economics(&network.info).await.unwrap();
    let approve = economics.approve(economics.contracts().bondVault, bond);
    let deposit = economics.deposit_bond(sender.account(), bond);
    for (purpose, call) in [("approve", approve), ("deposit", deposit)] {
        assert!(sender.send(TxRequest::of(purpose, call)).await.unwrap().succeeded);
    }
    network.propose(1).await;

    let input = abi::submit_calldata(range(0, 1), vec![7; 64]);
    let simulated = || async {
        let tx = TransactionRequest::default().from(sender.account());
        let tx = tx.to(network.rollup.address()).input(input.clone().into());
        provider.estimate_gas(tx).await.unwrap()
    };
    let end = network.config.timestamp(SLOTS_PER_EPOCH).unwrap();
    // Some seconds before the end, since the blocks of anvil follow the clock.
    let late = end + 2 * window - 1_000;
    let in_time = simulated().await;
    let before = provider.anvil_snapshot().await.unwrap();
    network.at_second(late).await;
    let more = simulated().await - in_time;
    assert!(provider.anvil_revert(before).await.unwrap());
    assert!(more > in_time / 5, "{more} more than {in_time}: a fifth would do");
    assert!(more <= PROOF_GAS_SPARE * 3 / 4, "{more} leaves too little of {PROOF_GAS_SPARE}");

    provider.anvil_set_auto_mine(false).await.unwrap();
    let request = TxRequest {
        gas_spare: PROOF_GAS_SPARE,
        ..TxRequest::call("prove/1", network.rollup.address(), input.clone())
    };
    sender.submit(request).await.unwrap();
    network.at_second(late).await;
    sender.tick().await.unwrap();
    let receipt = included(sender.status("prove/1", 0));
    assert!(receipt.succeeded, "{receipt:?}");
    assert_eq!(receipt.attempts, 1);
    assert_eq!(network.rollup.tips().await.unwrap().proven, 1);
    assert!(economics.bond(sender.account()).await.unwrap().locked.is_zero(), "it was late");
}
