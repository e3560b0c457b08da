//! Proposals, votes and the timelock.

use rollmill_l1::abi::{self, creation};
use rollmill_l1::alloy::primitives::aliases::{U48, U96};
use rollmill_l1::alloy::primitives::{Address, Bytes, U256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::sol_types::{SolConstructor, SolValue};
use rollmill_l1::deploy;
use rollmill_l1_testing::{Anvil, Network, Setup, config, root_leaves, sender, signer};
use rollmill_protocol::Fr;

use crate::{Case, WINDOW, assert_failed, azt};

/// Seconds from a proposal to its vote, of the vote, and in the timelock.
const DELAY: u64 = 100;
const PERIOD: u64 = 1_000;
const LOCK: u64 = 500;

/// A deployment under real governance, whose token the first account holds.
async fn governed() -> Case {
    let anvil = Anvil::start();
    let client = anvil.client().await;
    let folder = tempfile::tempdir().unwrap();
    let sender = sender(&client, folder.path(), 0).await;
    let own = sender.account();
    let first = client.provider().get_transaction_count(own).await.unwrap();
    let made = |name: &'static str, code: Bytes| {
        let sender = &sender;
        async move { deploy(sender, name, code).await.unwrap().address }
    };
    let timelock = abi::TimelockController::constructorCall {
        minDelay: U256::from(LOCK),
        // Governance, the third contract.
        proposers: vec![own.create(first + 2)],
        executors: vec![Address::ZERO],
        admin: Address::ZERO,
    };
    let code = creation(&abi::TimelockController::BYTECODE, &timelock.abi_encode());
    let timelock = made("timelock", code).await;
    let supply = azt("1000000").word();
    let token = (timelock, own, supply).abi_encode();
    let token = made("token", creation(&abi::AztToken::BYTECODE, &token)).await;
    let governance = abi::Governance::constructorCall {
        token,
        timelock,
        delay: U48::from(DELAY),
        period: PERIOD as u32,
        threshold: azt("1000").word(),
        percent: U256::from(4),
    };
    let code = creation(&abi::Governance::BYTECODE, &governance.abi_encode());
    let governance = made("governance", code).await;
    let list = (token, timelock).abi_encode();
    let list = made("deployments", creation(&abi::Deployments::BYTECODE, &list)).await;
    let now = client.latest().await.unwrap().timestamp;
    let setup = Setup {
        leaves: &root_leaves(Fr::from(1u64)),
        window: WINDOW,
        config: config(now),
        members: vec![signer(0).address()],
        genesis: &|_, _| Fr::from(0x9eu64),
    };
    let network = Network::governed(client, setup, Some((timelock, token))).await;
    let mut case = Case::of(anvil, network).await;
    case.contracts.push(format!("--governance={governance}"));
    case.contracts.push(format!("--deployments={list}"));
    case
}

impl Case {
    /// Takes a proposal from its creation to its execution.
    async fn pass_proposal(&self, id: &str) {
        self.pass(DELAY + 1).await;
        self.run(&["vote", id, "for"]);
        self.pass(PERIOD + 1).await;
        self.run(&["queue", id]);
        self.pass(LOCK + 1).await;
        self.run(&["execute", id]);
    }

    async fn propose_action(&self, action: &[&str]) -> String {
        let proposed = self.run(&[&["propose"], action].concat());
        proposed["proposal"].as_str().unwrap().to_owned()
    }
}

/// Goal: a change of rates goes from a proposal to its effect, each step only in its turn, and every failure says why.
#[tokio::test(flavor = "multi_thread")]
async fn rates_are_changed_by_a_vote() {
    let case = governed().await;
    let action = ["set-rates", "--bond-amount", "25.5", "--description", "Bonds"];
    let propose = [&["propose"], &action[..]].concat();
    assert_failed(
        case.fail(&propose),
        1,
        "L1C-011",
        "has 0 AZT of votes, a proposal needs 1000 AZT",
    );
    case.run(&["delegate"]);
    case.pass(5).await;
    let wrong = ["propose", "set-rates", "--prover-bps", "1", "--description", "x"];
    assert_failed(case.fail(&wrong), 1, "L1C-020", "RateOutOfRange");
    let large = ["propose", "set-rates", "--min-stake", "99999999999", "--description", "x"];
    assert_failed(case.fail(&large), 2, "L1C-021", "--min-stake");

    let id = case.propose_action(&action).await;
    let listed = case.run(&["proposals"]);
    let proposal = &listed["proposal"][0];
    assert_eq!((&proposal["id"], &proposal["state"]), (&id.clone().into(), &"pending".into()));
    assert_eq!(proposal["calls"][0]["contract"], "registry", "{proposal}");
    let does = proposal["calls"][0]["does"].as_str().unwrap();
    assert!(does.contains("\"bond_amount_azt\":\"25.5\""), "{does}");
    assert_failed(case.fail(&["vote", &id, "for"]), 1, "L1C-013", "its vote has not started");
    assert_failed(case.fail(&["queue", "7"]), 1, "L1C-012", "no proposal 7");

    case.pass(DELAY + 1).await;
    assert_failed(case.fail_as(1, &["vote", &id, "against"]), 1, "L1C-013", "had no votes");
    case.run(&["vote", &id, "for"]);
    assert_failed(case.fail(&["vote", &id, "abstain"]), 1, "L1C-013", "has voted already");
    assert_failed(case.fail(&["queue", &id]), 1, "L1C-013", "its vote is not over");
    case.pass(PERIOD + 1).await;
    assert_failed(case.fail(&["execute", &id]), 1, "L1C-013", "rollmill-l1 queue");
    case.run(&["queue", &id]);
    assert_failed(case.fail(&["execute", &id]), 1, "L1C-013", "it can be executed from");
    case.pass(LOCK + 1).await;
    case.run(&["execute", &id]);
    assert_failed(case.fail(&["execute", &id]), 1, "L1C-013", "nothing is left to do");
    let rates = case.economics.rates().await.unwrap();
    assert_eq!(rates.bondAmount, U96::from(azt("25.5").base_units()));
    assert_eq!(rates.proposerBps, 8_000, "the other rates stay");
}

/// Goal: a deployment is listed, funded with new tokens and named canonical by proposals.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_added_funded_and_made_canonical() {
    let case = governed().await;
    case.run(&["delegate"]);
    case.pass(5).await;
    let unlisted = ["propose", "fund", "0", "--amount", "1", "--description", "x"];
    assert_failed(case.fail(&unlisted), 1, "L1-004", "DeploymentUnknown");
    let id =
        case.propose_action(&["add", "--name", "testnet-alpha", "--description", "Alpha"]).await;
    case.pass_proposal(&id).await;
    assert_eq!(case.run(&["deployment"])["listed_as"]["name"], "testnet-alpha");

    let fund = ["fund", "0", "--amount", "12.5", "--mint", "--description", "Fund alpha"];
    let id = case.propose_action(&fund).await;
    case.pass_proposal(&id).await;
    assert_eq!(case.tokens(case.network.info.contracts.rewards).await, azt("12.5"));

    let to = Address::with_last_byte(0x77).to_string();
    let id =
        case.propose_action(&["mint", "--to", &to, "--amount", "3", "--description", "M"]).await;
    case.pass_proposal(&id).await;
    assert_eq!(case.tokens(Address::with_last_byte(0x77)).await, azt("3"));

    let id = case.propose_action(&["set-canonical", "0", "--description", "C"]).await;
    case.pass_proposal(&id).await;
    let all = case.run(&["proposals", "--newest", "2"]);
    assert_eq!(all["proposal"].as_array().unwrap().len(), 2);
    assert_eq!(all["proposal"][0]["state"], "executed", "{all}");
    assert_eq!(all["proposal"][1]["calls"][0]["does"], format!("mint 3 AZT for {to}"));
}
