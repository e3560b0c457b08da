//! Gas limits that last until a transaction is included, on the real contracts.

use alloy::primitives::Address;
use alloy::primitives::aliases::U96;
use alloy::providers::Provider;
use alloy::providers::ext::AnvilApi;
use alloy::rpc::types::TransactionRequest;
use alloy::signers::SignerSync;
use rollmill_l1::abi::{self, ProposeArgs, Rates};
use rollmill_l1::economics::{Call, PROOF_GAS_SPARE, Unclaimed, settle};
use rollmill_l1::{Azt, TxRequest, attest};
use rollmill_l1_testing::pay::included;
use rollmill_l1_testing::{
    Anvil, CHAIN_ID, Network, SLOT_SECONDS, SLOTS_PER_EPOCH, Setup, config, range, rates,
    root_leaves, signer,
};
use rollmill_protocol::Fr;

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

/// Accounts of the committee in [`a_claim_of_blocks_has_gas_for_every_word`].
const MEMBERS: [usize; 3] = [0, 1, 2];
/// Blocks of each epoch there, each with a coinbase of its own.
const BLOCKS: u64 = 3;

/// Proposes the next block with the signatures of all members.
async fn propose(network: &Network, slot: u64, coinbase: Address) {
    let args = ProposeArgs { coinbase, ..network.next(slot).await };
    let chain = abi::word(&network.link(&args).await.chain());
    let rollup = network.rollup.address();
    let digest = attest::block_digest(CHAIN_ID, rollup, args.blockNumber, slot, chain);
    let signed = MEMBERS.map(|member| {
        let signature = signer(member).sign_hash_sync(&digest).unwrap();
        (signer(member).address(), Some(signature))
    });
    let call = abi::propose_calldata(args, attest::attestations(&signed), abi::no_data());
    network.call(&format!("propose-{slot}"), call).await;
}

/// Goal: a claim of blocks does not run out of gas, whatever its payees take between its simulation and its inclusion,
/// and it does not ask for much more than that.
///
/// Method: all payees of one epoch are owed what they earned in the epoch before. The claim of the second one is
/// simulated then, and once more when everybody has taken everything. Rewards has exactly what it owes, so that the
/// last payee leaves it without tokens.
#[tokio::test]
async fn a_claim_of_blocks_has_gas_for_every_word() {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let now = client.latest().await.unwrap().timestamp;
    let committee = MEMBERS.map(|member| signer(member).address()).to_vec();
    let setup = Setup {
        leaves: &root_leaves(Fr::from(1u64)),
        window: 2 * SLOT_SECONDS as u32,
        config: config(now),
        members: committee.clone(),
        genesis: &|_, _| Fr::from(0x9eu64),
    };
    let network = Network::with(client, setup).await;
    let split = Rates { proposerBps: 7_000, attesterBps: 2_000, proverBps: 1_000, ..rates() };
    network.set_rates(split).await;
    let economics = network.rollup.economics(&network.info).await.unwrap();
    let (contracts, provider) = (economics.contracts().clone(), network.client.provider());
    let send = async |purpose: &str, call: Call| {
        let receipt = network.sender.send(TxRequest::of(purpose, call)).await.unwrap();
        assert!(receipt.succeeded, "{purpose}");
    };
    let transfer = |to: Address, amount: Azt| {
        let call = abi::AztToken::transferCall { to, value: amount.word() };
        Call::new(economics.token(), &call)
    };
    send("fees", transfer(contracts.feePortal, "1".parse().unwrap())).await;
    let coinbase = |n: u64| Address::with_last_byte(0xc0 + n as u8);
    for n in 0..BLOCKS {
        propose(&network, 1 + n, coinbase(n)).await;
    }
    for n in 0..BLOCKS {
        propose(&network, SLOTS_PER_EPOCH + n, coinbase(n)).await;
    }
    network.prove(0, BLOCKS).await;
    network.prove(1, 2 * BLOCKS).await;
    network.at_second(network.config.timestamp(2 * SLOTS_PER_EPOCH).unwrap()).await;
    // The first proof came after the end of its epoch and settled it.
    send("settle", settle(network.rollup.address(), 1)).await;
    let first = Unclaimed { epoch: 0, from: 1, to: BLOCKS };
    send("first", economics.claim_blocks(first, committee.clone())).await;
    let (owed, has) = economics.funds().await.unwrap();
    let missing = Azt::new(owed.base_units() - has.base_units());
    send("pay", transfer(contracts.rewards, missing)).await;

    let second = Unclaimed { epoch: 1, from: BLOCKS + 1, to: 2 * BLOCKS };
    let claim = economics.claim_blocks(second, committee.clone());
    let simulated = || async {
        let tx = TransactionRequest::default().from(network.sender.account());
        let tx = tx.to(claim.to).input(claim.input.clone().into());
        provider.estimate_gas(tx).await.unwrap()
    };
    let before = simulated().await;
    let payees = committee.iter().copied().chain((0..BLOCKS).map(coinbase));
    for payee in payees.chain([range(0, 1).prover]) {
        send(&format!("claim/{payee}"), economics.claim(payee)).await;
        assert!(economics.owed(payee).await.unwrap().is_zero(), "{payee}");
    }
    assert!(economics.balance(contracts.rewards).await.unwrap().is_zero());
    let more = simulated().await - before;
    // A call within a call leaves 1/64 behind (EIP-150), for which the fifth is enough. A word is 7 % here.
    let spare = claim.gas_spare;
    assert!(more <= spare + spare / 50, "{more} of {spare}");
    assert!(more >= spare - spare / 50, "{more} of {spare}");
}
