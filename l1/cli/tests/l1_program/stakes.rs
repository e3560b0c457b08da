//! Stakes of validators, on a deployment that draws its committees from them.

use rollmill_l1::abi::Rates;
use rollmill_l1::alloy::primitives::aliases::U96;
use rollmill_l1::alloy::primitives::{Address, keccak256};
use rollmill_l1::alloy::signers::SignerSync as _;
use rollmill_l1::attest;
use rollmill_l1::evidence::{Evidence, Statement};
use rollmill_l1_testing::{Anvil, Network, SLOT_SECONDS, SLOTS_PER_EPOCH, Setup, config, rates};
use rollmill_l1_testing::{root_leaves, signer};
use rollmill_protocol::Fr;

use crate::{Case, WINDOW, assert_failed, azt};

/// A deployment with stakes of 50 AZT at least.
async fn staked() -> Case {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let now = client.latest().await.unwrap().timestamp;
    let setup = Setup {
        leaves: &root_leaves(Fr::from(1u64)),
        window: WINDOW,
        config: config(now),
        members: Vec::new(),
        genesis: &|_, _| Fr::from(0x9eu64),
    };
    let network = Network::with(client, setup).await;
    let least = U96::from(azt("50").base_units());
    network.set_rates(Rates { minStake: least, ..rates() }).await;
    Case::of(anvil, network).await
}

/// Goal: a stake goes in once, out by its withdrawer only, and back after the exit delay.
///
/// Method: the delay is four epochs, the window and the challenge period.
#[tokio::test(flavor = "multi_thread")]
async fn a_stake_is_deposited_exited_and_paid_back() {
    let case = staked().await;
    let own = signer(0).address();
    let validator = signer(1).address().to_string();
    assert_eq!(case.run(&["stake", "status", &validator])["state"], "not staked");
    let deposit = |amount| ["stake", "deposit", "--validator", &validator, "--amount", amount];
    assert_failed(case.fail(&deposit("49.5")), 1, "L1C-010", "needs a stake of 50 AZT at least");
    assert_failed(case.fail(&["stake", "exit", &validator]), 1, "L1C-010", "is not staked");
    let before = case.tokens(own).await;
    case.run(&deposit("60"));
    assert_eq!(case.tokens(own).await, before.less(azt("60")));
    let status = case.run(&["stake", "status", &validator]);
    assert_eq!((&status["state"], &status["stake_azt"]), (&"active".into(), &"60".into()));
    assert_eq!(status["withdrawer"], own.to_string());
    assert_failed(case.fail(&deposit("60")), 1, "L1C-010", "is active; stake for another key");

    assert_failed(case.fail_as(1, &["stake", "exit", &validator]), 1, "L1C-010", "only, not by");
    assert_failed(case.fail(&["stake", "finalize", &validator]), 1, "L1C-010", "exit first");
    let exiting = case.run(&["stake", "exit", &validator]);
    let delay = 4 * SLOTS_PER_EPOCH * SLOT_SECONDS + 2 * u64::from(WINDOW);
    let now = case.network.client.latest().await.unwrap().timestamp;
    assert_eq!(exiting["exit_at"], now + delay);
    assert_failed(case.fail(&["stake", "finalize", &validator]), 1, "L1C-010", "can leave from");
    case.pass(delay).await;
    // Anybody may send it.
    assert_eq!(
        case.run(&["stake", "finalize", &validator])["done"],
        format!("finalize the exit of {validator}")
    );
    assert_eq!(case.tokens(own).await, before);
    assert_eq!(case.run(&["stake", "status", &validator])["state"], "not staked");
}

/// Goal: what a validator keeps against a proposer takes its stake, once, and pays whoever reports it.
#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_signed_two_blocks_of_a_slot_is_reported() {
    let case = staked().await;
    let (own, validator) = (signer(0).address(), signer(1));
    let address = validator.address().to_string();
    let statement = |(chain_id, rollup): (u64, Address), name: &str| {
        let chain = keccak256(name);
        let digest = attest::block_digest(chain_id, rollup, 1, 9, chain);
        let signature = validator.sign_hash_sync(&digest).unwrap();
        Statement { number: 1, chain, signature: signature.as_bytes().to_vec().into() }
    };
    let file = |name: &str, domain| {
        let (first, second) = (statement(domain, "a"), statement(domain, "b"));
        let evidence = Evidence::new(domain, 9, first, second).unwrap();
        let path = case.path(name);
        std::fs::write(&path, evidence.to_json().unwrap()).unwrap();
        path.display().to_string()
    };
    let domain = (case.network.client.chain_id(), case.network.rollup.address());
    let (right, other) = (file("right", domain), file("other", (domain.0, Address::ZERO)));
    let report = |file| case.fail(&["stake", "report", file]);
    assert_failed(report(&other), 1, "L1C-022", "it is of the rollup");
    assert_failed(report("/dev/null"), 1, "L1C-022", "it has another form");
    assert_failed(report(&right), 1, "L1C-010", "is not staked; there is no stake to lose");

    case.run(&["stake", "deposit", "--validator", &address, "--amount", "60"]);
    let before = case.tokens(own).await;
    let done = case.run(&["stake", "report", &right]);
    assert_eq!(done["done"], format!("report {address} for two blocks of slot 9"));
    assert_eq!(case.tokens(own).await.less(azt("6")), before);
    assert_eq!(case.run(&["stake", "status", &address])["state"], "slashed");
    assert_failed(report(&right), 1, "L1C-010", "is slashed; there is no stake to lose");
}

/// Goal: the seed of an epoch is recorded once.
#[tokio::test(flavor = "multi_thread")]
async fn a_seed_is_recorded_once_an_epoch() {
    let case = staked().await;
    assert_eq!(case.run(&["seed"])["epoch"], 0);
    assert_failed(case.fail(&["seed"]), 1, "L1-008", "SeedKnown");
    case.pass(SLOTS_PER_EPOCH * SLOT_SECONDS).await;
    assert_eq!(case.run(&["seed"])["epoch"], 1);
}
