//! Bonds, rewards, settlements and prunes.

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1_testing::signer;

use crate::{Case, WINDOW, assert_failed, azt};

/// The prover and the coinbase of the network's blocks.
const PROVER: Address = Address::with_last_byte(0x1d);
const COINBASE: Address = Address::with_last_byte(0xcb);

/// Goal: a bond is deposited for oneself or another, withdrawn in part or whole, and never beyond its free part.
#[tokio::test(flavor = "multi_thread")]
async fn bonds_are_deposited_and_taken_back() {
    let case = Case::new().await;
    let own = signer(0).address();
    let status = case.run(&["bond", "status"]);
    assert_eq!((&status["free_azt"], &status["locked_azt"]), (&"0".into(), &"0".into()));
    assert_failed(case.fail(&["bond", "withdraw"]), 1, "L1C-008", "0 AZT of the bond are free");

    case.run(&["bond", "deposit", "--amount", "100"]);
    assert_failed(
        case.fail(&["bond", "withdraw", "--amount", "100.5"]),
        1,
        "L1C-008",
        "100 AZT of the bond are free and 0 AZT locked, 100.5 AZT were asked for",
    );
    case.run(&["bond", "withdraw", "--amount", "40.25"]);
    assert_eq!(case.economics.bond(own).await.unwrap().free, azt("59.75"));
    let before = case.tokens(own).await;
    case.run(&["bond", "withdraw"]);
    assert_eq!(case.tokens(own).await, before.plus(azt("59.75")));

    let other = signer(1).address().to_string();
    case.run(&["bond", "deposit", "--amount", "7", "--for", &other]);
    assert_eq!(case.run(&["bond", "status", &other])["free_azt"], "7");
    assert_failed(case.fail(&["bond", "withdraw"]), 1, "L1C-008", "0 AZT of the bond are free");
}

/// Goal: an epoch that was proven before its end is settled, its blocks are claimed, and everybody gets what the
/// rates say, once.
///
/// Method: figures by hand for the rates of the testing network: 1 base unit for a row, 80 % of fees for the
/// coinbase and 20 % for the one signer, 1,000 base units for a block.
#[tokio::test(flavor = "multi_thread")]
async fn pay_is_credited_and_claimed() {
    let case = Case::new().await;
    let network = &case.network;
    network.propose(1).await;
    network.prove(0, 1).await;
    let nobody = Address::with_last_byte(9).to_string();
    assert_failed(case.fail(&["rewards", "claim", &nobody]), 1, "L1C-007", "owed nothing");
    assert_failed(case.fail(&["settle", "0"]), 1, "L1-008", "NothingToSettle");
    let to = "0x0000000000000000000000000000000000000000000000000000000000000001";
    case.run(&["deposit", "--to", to, "--amount", "1"]);
    case.give(network.info.contracts.rewards, "1").await;

    // The epoch is over.
    network.at(4).await;
    let status = case.run(&["rewards", "status", &COINBASE.to_string()]);
    assert_eq!(status["owed_azt"], "0");
    assert_eq!(status["epoch"][0]["needs"], "settle", "{status}");
    let claimed = case.run(&["rewards", "claim", &COINBASE.to_string()]);
    // 77 units of fees: the signer gets ⌊77·10^9 / 5⌋ base units, the coinbase the rest and the reward.
    assert_eq!(claimed["paid_azt"], "0.000000061600001");
    assert_eq!(claimed["transaction"].as_array().unwrap().len(), 2, "{claimed}");
    assert_eq!(case.tokens(COINBASE).await, azt("0.000000061600001"));
    // 4,243 rows: what the proof of block 1 says.
    let status = case.run(&["rewards", "status", &PROVER.to_string()]);
    assert_eq!(status["owed_azt"], "0.000000000000004243");
    assert_eq!(status["epoch"], serde_json::json!([]), "{status}");
    assert_eq!(
        case.run(&["rewards", "claim", &PROVER.to_string()])["paid_azt"],
        "0.000000000000004243"
    );
    let failed = case.fail(&["rewards", "claim", &PROVER.to_string()]);
    assert_failed(failed, 1, "L1C-007", "owed nothing");
}

/// Goal: blocks are pruned by command when the deadline has passed, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_prune_is_sent_only_when_one_is_due() {
    let case = Case::new().await;
    case.network.propose(1).await;
    assert_failed(case.fail(&["prune"]), 1, "L1C-018", "no prune is due");
    let seconds = 4 * rollmill_l1_testing::SLOT_SECONDS + 2 * u64::from(WINDOW) + 1;
    case.pass(seconds).await;
    let shown = case.run(&["deployment"]);
    assert_eq!(shown["proof_deadline"]["is_prune_due"], true, "{shown}");
    assert_eq!((&shown["pending_tip"], &shown["proven_tip"]), (&1.into(), &0.into()));
    case.run(&["prune"]);
    let shown = case.run(&["deployment"]);
    assert_eq!(
        (&shown["pending_tip"], &shown["proof_deadline"]),
        (&0.into(), &serde_json::Value::Null)
    );
    assert_eq!(shown["version"], case.network.info.version);
    assert_eq!(shown["rate"]["proposer_bps"], 8_000);
    assert_failed(case.fail(&["prune"]), 1, "L1C-018", "no prune is due");
}

/// Goal: a deployment with a fixed committee has no stakes, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_committee_has_no_stakes() {
    let case = Case::new().await;
    for command in [&["stake", "status"][..], &["seed"], &["stake", "exit"]] {
        assert_failed(case.fail(command), 1, "L1C-009", "its committee is fixed");
    }
}
