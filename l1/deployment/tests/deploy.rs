//! Deployments on a development L1, with verifiers that accept every proof in the place of the real ones.

use std::path::Path;
use std::time::Duration;

use rollmill_deployment::{
    Amount, DeployError, DeploymentFile, Event, Facts, GENESIS_FILE, JOURNAL_FILE, Plan, Root,
    Roots, SAMPLE, Simulated, Vote, deploy, simulate,
};
use rollmill_l1::alloy::primitives::{Address, B256};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::{Azt, L1Client, SenderConfig, TxRequest, TxSender, abi};
use rollmill_l1_testing::{Anvil, CHAIN_ID, constant_contract, reorg, root_leaves, signer, trial};
use rollmill_protocol::vk_tree::{VK_TREE_HEIGHT, vk_path, vk_tree};
use rollmill_protocol::{Circuit, Fr, Genesis};
use tempfile::TempDir;

const KEY: &[u8] = b"a client key";

fn roots() -> Roots {
    let leaves = root_leaves(Fr::from(1u64));
    let levels = vk_tree(&leaves);
    let root = |circuit: Circuit| {
        let leaf = leaves.iter().find(|leaf| leaf.circuit == circuit).unwrap();
        Root {
            name: format!("{circuit:?}Verifier"),
            code: constant_contract(abi::word(&leaf.vk_digest)),
            charged_rows: leaf.charged_rows,
            path: vk_path(&levels, circuit),
        }
    };
    let vk_root = levels[VK_TREE_HEIGHT][0];
    Roots { vk_root, roots: [root(Circuit::EpochRoot1), root(Circuit::EpochRoot2)] }
}

fn facts() -> Facts {
    Facts::parse(SAMPLE).unwrap()
}

async fn sender(client: &L1Client, folder: &Path) -> TxSender {
    let config = SenderConfig { poll_interval: Duration::from_millis(10), ..Default::default() };
    let journal = folder.join("intents.json");
    TxSender::open(client.clone(), signer(0), &journal, config).await.unwrap()
}

async fn nonce(client: &L1Client) -> u64 {
    client.provider().get_transaction_count(signer(0).address()).await.unwrap()
}

struct Case {
    _anvil: Anvil,
    client: L1Client,
    folder: TempDir,
}

impl Case {
    async fn new() -> Self {
        let anvil = Anvil::start();
        let url = trial::before(&anvil.url).await;
        let client = L1Client::connect(&[url], CHAIN_ID).await.unwrap();
        Self { _anvil: anvil, client, folder: tempfile::tempdir().unwrap() }
    }

    async fn deploy(&self, facts: &Facts) -> Result<rollmill_deployment::Deployed, DeployError> {
        let sender = sender(&self.client, self.folder.path()).await;
        let out = self.folder.path().join("out");
        deploy(&sender, facts, &roots(), KEY, &out, &mut |_| {}).await
    }

    fn out(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("out").join(name)
    }
}

/// Goal: the sample deploys as it is, its file says what is on L1, and a second run sends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_deployed_once() {
    let case = Case::new().await;
    let sender = sender(&case.client, case.folder.path()).await;
    let out = case.folder.path().join("out");
    let mut steps = Vec::new();
    let mut tried = 0;
    let mut report = |event: Event<'_>| match event {
        Event::Done { step, is_earlier, .. } => steps.push((step.id.clone(), is_earlier)),
        Event::Tried { gas } => tried = gas,
        Event::NotTried { why } => panic!("{why}"),
    };
    let deployed = deploy(&sender, &facts(), &roots(), KEY, &out, &mut report).await.unwrap();
    // Sent one after the other, the steps cost what the trial said, but for what depends on the time.
    assert!(deployed.gas.abs_diff(tried) * 20 < tried, "{} and {tried}", deployed.gas);
    assert!(steps.len() == deployed.plan.steps.len() && steps.iter().all(|(_, earlier)| !earlier));

    let file = DeploymentFile::read(&deployed.path).unwrap();
    assert_eq!(file, deployed.file);
    let rollup = case.client.rollup(file.contracts.rollup).await.unwrap();
    let info = rollup.info().await.unwrap();
    assert_eq!(file.version, info.version.to_string());
    let genesis = std::fs::read_to_string(case.out(GENESIS_FILE)).unwrap();
    let genesis = Genesis::from_json(&genesis).unwrap();
    assert_eq!(genesis.rollup.0, file.contracts.rollup.0.0);
    assert_eq!(genesis.config.hash(), info.config_hash);
    assert_eq!(std::fs::read(case.out("client.key")).unwrap(), KEY);
    let governor = file.contracts.governance.unwrap();
    let governor = abi::Governance::new(governor, case.client.provider().clone());
    assert_eq!(governor.timelock().call().await.unwrap(), file.contracts.timelock);
    let economics = rollup.economics(&info).await.unwrap();
    let member = facts().committee.members[0].0;
    assert_eq!(economics.bond(member).await.unwrap().free.to_string(), "200000");
    assert_eq!(economics.balance(info.contracts.rewards).await.unwrap().to_string(), "1000000");

    let before = nonce(&case.client).await;
    drop(sender);
    let again = case.deploy(&facts()).await.unwrap();
    assert_eq!((nonce(&case.client).await, again.file), (before, deployed.file));
}

/// Goal: a vote that starts earlier or needs fewer votes than the facts say is found. Method: in the place of the
/// Governor a contract answers 50 to everything, and the facts ask for 51 in one place and for 50 elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_with_other_rules_than_the_facts_is_found() {
    type Change = (&'static str, fn(&mut Vote));
    let changes: [Change; 2] = [
        ("delay of a vote", |vote| vote.delay_seconds = 51),
        ("percentage of the supply that must vote", |vote| vote.quorum_percent = 51),
    ];
    for (what, change) in changes {
        let case = Case::new().await;
        let mut facts = facts();
        let vote = facts.governance.as_mut().unwrap().vote.as_mut().unwrap();
        *vote = Vote {
            delay_seconds: 50,
            period_seconds: 50,
            threshold_azt: Amount(Azt::new(50)),
            quorum_percent: 50,
        };
        change(vote);
        let deployed = case.deploy(&facts).await.unwrap();
        let governor = deployed.file.contracts.governance.unwrap();
        // What follows the ten bytes that create the contract is its code.
        let code = constant_contract(B256::with_last_byte(50)).slice(10..);
        case.client.provider().anvil_set_code(governor, code).await.unwrap();
        let error = case.deploy(&facts).await.unwrap_err();
        assert_eq!(error.code(), "DEP-009", "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{what} on L1 is 50, asked was 51")), "{text}");
    }
}

/// Goal: a run that ends at any point of any step is continued to one and the same deployment. Method: the future is
/// dropped at each of its reports, and the journal is put back to before that report, as after a kill between the block
/// and the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_anywhere_is_continued() {
    let case = Case::new().await;
    let out = case.folder.path().join("out");
    let count = Plan::new(&facts(), &roots(), signer(0).address(), 0).unwrap().steps.len();
    let journal = out.join(JOURNAL_FILE);
    for stop in 1..=count {
        let sender = sender(&case.client, case.folder.path()).await;
        let (reached, ended) = tokio::sync::oneshot::channel();
        let (mut reached, mut before) = (Some(reached), None);
        let (facts, roots) = (facts(), roots());
        let mut report = |event: Event<'_>| {
            let Event::Done { number, .. } = event else { return };
            if number + 1 == stop {
                before = std::fs::read(&journal).ok();
            }
            if number == stop {
                let _ = reached.take().unwrap().send(());
            }
        };
        let run = deploy(&sender, &facts, &roots, KEY, &out, &mut report);
        tokio::select! {
            biased;
            _ = ended => {}
            _ = run => {}
        }
        // Every second time the record of the step is lost.
        if let Some(before) = before.filter(|_| stop % 2 == 0) {
            std::fs::write(&journal, before).unwrap();
        }
    }
    let deployed = case.deploy(&facts()).await.unwrap();
    // One transaction for each step, and none more.
    assert_eq!(nonce(&case.client).await, count as u64);
    assert_eq!(deployed.file.contracts.rollup, deployed.plan.addresses.rollup);
}

/// Goal: a trial sends nothing, and says what a deployment would cost or why it would fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_sends_nothing() {
    let case = Case::new().await;
    let (account, provider) = (signer(0).address(), case.client.provider());
    let plan = Plan::new(&facts(), &roots(), account, nonce(&case.client).await).unwrap();
    let tried = simulate(&case.client, account, &plan.steps).await.unwrap();
    let Simulated::Gas(gas) = tried else { panic!("{tried:?}") };
    assert!(gas.iter().all(|gas| *gas > 21_000), "{gas:?}");
    assert_eq!((nonce(&case.client).await, provider.get_block_number().await.unwrap()), (0, 0));
    assert!(provider.get_code_at(plan.addresses.rollup).await.unwrap().is_empty());

    let nothing = simulate(&case.client, account, &[]).await.unwrap();
    assert_eq!(nothing, Simulated::Gas(vec![]), "the rest of a deployment that is done");

    // What only L1 can know: that there is no such token.
    let mut wrong = facts();
    (wrong.token, wrong.governance) = (None, None);
    let nobody = rollmill_deployment::EthAccount(Address::with_last_byte(9));
    (wrong.existing.token, wrong.existing.timelock) = (Some(nobody), Some(nobody));
    let error = case.deploy(&wrong).await.unwrap_err();
    assert!(matches!(&error, DeployError::WouldRevert { .. }), "{error}");
    assert_eq!((error.code(), nonce(&case.client).await), ("DEP-006", 0));
    // Nothing has begun, so the corrected facts go into the same folder.
    assert!(!case.out(JOURNAL_FILE).exists());
    case.deploy(&facts()).await.unwrap();
}

/// Goal: a journal is not continued with other facts, keys or accounts, and says what is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_belongs_to_its_facts() {
    let case = Case::new().await;
    case.deploy(&facts()).await.unwrap();
    let sent = nonce(&case.client).await;
    let mut other = facts();
    other.schedule.slot_seconds += 1;
    let error = case.deploy(&other).await.unwrap_err().to_string();
    assert!(error.starts_with("DEP-005: ") && error.contains("step alpha/rollup"), "{error}");
    let mut fewer = facts();
    fewer.bonds.clear();
    let error = case.deploy(&fewer).await.unwrap_err().to_string();
    assert!(error.contains("step alpha/approve") || error.contains("number of steps"), "{error}");
    std::fs::write(case.out(JOURNAL_FILE), "{}").unwrap();
    let error = case.deploy(&facts()).await.unwrap_err();
    assert_eq!(error.code(), "DEP-004", "{error}");
    assert_eq!(nonce(&case.client).await, sent);
}

/// Fault: the record of a step is lost, and the sender's file is another one. Goal: nothing is paid a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_may_be_on_l1_is_not_sent_again() {
    let case = Case::new().await;
    let deployed = case.deploy(&facts()).await.unwrap();
    let sent = nonce(&case.client).await;
    let paid = deployed.plan.steps.iter().position(|step| step.id == "alpha/rewards-funds");
    let text = std::fs::read_to_string(case.out(JOURNAL_FILE)).unwrap();
    let mut journal: serde_json::Value = serde_json::from_str(&text).unwrap();
    for row in journal["steps"].as_array_mut().unwrap().iter_mut().skip(paid.unwrap()) {
        row["done"] = serde_json::Value::Null;
    }
    std::fs::write(case.out(JOURNAL_FILE), journal.to_string()).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = sender(&case.client, elsewhere.path()).await;
    let out = case.folder.path().join("out");
    let again = deploy(&other, &facts(), &roots(), KEY, &out, &mut |_| {}).await;
    let error = again.unwrap_err();
    assert_eq!((error.code(), nonce(&case.client).await), ("DEP-010", sent), "{error}");
    // With its own file the run is continued, and sends nothing.
    let again = case.deploy(&facts()).await.unwrap();
    assert_eq!((again.file, nonce(&case.client).await), (deployed.file, sent));
}

/// Ends a deployment before this step, and lets the step revert on L1 for want of gas, as if its run had sent it so.
async fn revert(case: &Case, step: usize) {
    let plan = Plan::new(&facts(), &roots(), signer(0).address(), 0).unwrap();
    let first = sender(&case.client, case.folder.path()).await;
    let out = case.folder.path().join("out");
    let run = tokio::spawn(async move {
        // The run unwinds inside its report, so that it sends nothing of the next step.
        let mut report = |event: Event<'_>| {
            if matches!(event, Event::Done { number, .. } if number == step) {
                std::panic::resume_unwind(Box::new(step));
            }
        };
        deploy(&first, &facts(), &roots(), KEY, &out, &mut report).await
    });
    let ended = run.await.expect_err("the run ends before the step").into_panic();
    assert_eq!(ended.downcast_ref(), Some(&step));
    let sender = sender(&case.client, case.folder.path()).await;
    let request = plan.steps[step].request.clone();
    // A creation pays for its input as well.
    let gas = if request.to.is_some() { 30_000 } else { 2_000_000 };
    let receipt = sender.send(TxRequest { gas_limit: Some(gas), ..request }).await.unwrap();
    assert!(!receipt.succeeded && receipt.nonce == step as u64, "{receipt:?}");
}

/// Fault: a payment reverts on L1. Goal: the next run makes it under the next nonce, once, and goes on with the steps
/// after it, also where a reorg drops both.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_reverted_is_sent_again() {
    let case = Case::new().await;
    let plan = Plan::new(&facts(), &roots(), signer(0).address(), 0).unwrap();
    let paid = plan.steps.iter().position(|step| step.id == "alpha/rewards-funds").unwrap();
    assert!(paid + 1 < plan.steps.len(), "there are steps after it");
    revert(&case, paid).await;
    let deployed = case.deploy(&facts()).await.unwrap();
    let nonces = plan.steps.len() as u64 + 1;
    assert_eq!(nonce(&case.client).await, nonces);
    // Asked again, it sends nothing.
    let again = case.deploy(&facts()).await.unwrap();
    assert_eq!((again.file, nonce(&case.client).await), (deployed.file.clone(), nonces));
    // The reverted attempt is among what is dropped, and its nonce is used by an empty transfer.
    reorg(&case.client, nonces - paid as u64).await;
    assert_eq!(nonce(&case.client).await, paid as u64);
    let again = case.deploy(&facts()).await.unwrap();
    assert_eq!((again.file, nonce(&case.client).await), (deployed.file, nonces));
}

/// Fault: the creation of a contract reverts on L1. Goal: the next run sends nothing and says that no run can go on,
/// since the nonce of every address is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_reverted_asks_for_another_folder() {
    let case = Case::new().await;
    let plan = Plan::new(&facts(), &roots(), signer(0).address(), 0).unwrap();
    let rollup = plan.steps.iter().position(|step| step.id == "alpha/rollup").unwrap();
    revert(&case, rollup).await;
    let error = case.deploy(&facts()).await.unwrap_err();
    assert_eq!((error.code(), nonce(&case.client).await), ("DEP-011", rollup as u64 + 1));
    let text = error.to_string();
    assert!(text.contains("alpha/rollup") && text.contains("another folder"), "{text}");
}

/// Fault: L1 drops the blocks of the last steps. Goal: the next run waits for them in their new blocks.
#[tokio::test(flavor = "multi_thread")]
async fn steps_that_a_reorg_drops_come_back() {
    let case = Case::new().await;
    let deployed = case.deploy(&facts()).await.unwrap();
    let steps = deployed.plan.steps.len() as u64;
    // The bond and the creation of the last contract among them.
    reorg(&case.client, 6).await;
    assert_eq!(nonce(&case.client).await, steps - 6);
    let again = case.deploy(&facts()).await.unwrap();
    assert_eq!((again.file, nonce(&case.client).await), (deployed.file, steps));
}
