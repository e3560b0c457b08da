//! Stakes of validators, on a deployment that draws its committees from them.

use rollmill_l1::abi::Rates;
use rollmill_l1::alloy::primitives::B256;
use rollmill_l1::alloy::primitives::aliases::U96;
use rollmill_l1::alloy::signers::SignerSync;
use rollmill_l1::attest::{Evidence, block_digest};
use rollmill_l1_testing::{Anvil, CHAIN_ID, Network, SLOT_SECONDS, SLOTS_PER_EPOCH, Setup};
use rollmill_l1_testing::{config, rates};
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

/// Goal: whoever has two signatures of a validator over blocks of one slot takes its stake, once, and gets a tenth of it.
#[tokio::test(flavor = "multi_thread")]
async fn two_signatures_of_one_slot_take_a_stake() {
    let case = staked().await;
    let own = signer(0).address();
    let validator = signer(1).address().to_string();
    let rollup = case.network.rollup.address();
    let signed = |account: usize, slot: u64, chain: u8| {
        let (number, chain) = (7, B256::with_last_byte(chain));
        let digest = block_digest(CHAIN_ID, rollup, number, slot, chain);
        let signature = signer(account).sign_hash_sync(&digest).unwrap().as_bytes();
        Evidence { number, slot, chain, signature }.to_string()
    };
    let (first, second) = (signed(1, 9, 1), signed(1, 9, 2));
    let fail = |a: &str, b: &str| case.fail(&["stake", "report", a, b]);
    assert_failed(fail(&first, &second), 1, "L1C-010", "is not staked");
    case.run(&["stake", "deposit", "--validator", &validator, "--amount", "60"]);
    assert_failed(fail(&first, &first), 1, "L1C-010", "no two blocks of one slot");
    assert_failed(fail(&first, &signed(1, 8, 2)), 1, "L1C-010", "no two blocks of one slot");
    assert_failed(fail(&first, &signed(2, 9, 2)), 1, "L1C-010", "must have made both");
    let before = case.tokens(own).await;
    let done = case.run(&["stake", "report", &first, &second]);
    assert_eq!((&done["slashed_azt"], &done["paid_azt"]), (&"60".into(), &"6".into()));
    assert_eq!(case.tokens(own).await, before.plus(azt("6")));
    assert_eq!(case.run(&["stake", "status", &validator])["state"], "slashed");
    assert_failed(fail(&second, &first), 1, "L1C-010", "is slashed");
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
