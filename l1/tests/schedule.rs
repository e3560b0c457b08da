//! Random schedules of submissions, reorgs, restarts and failing endpoints: each attempt lands at most
//! once, what the sender reports is what the chain contains, and the account never gets stuck.

use std::collections::BTreeMap;

use alloy::consensus::Transaction;
use alloy::primitives::{Address, U256, keccak256};
use alloy::providers::Provider;
use rollmill_l1::{Expiry, L1Client, TxRequest, TxSender, TxStatus};
use rollmill_l1_testing as support;
use rollmill_l1_testing::proxy::{Fault, Proxy};
use rollmill_l1_testing::{Anvil, CHAIN_ID, Random, mine, reorg, sender};

const STEPS: u64 = 150;
const PURPOSES: u64 = 5;
/// Twice as often none as each of the others.
const FAULTS: [Fault; 9] = [
    Fault::None,
    Fault::None,
    Fault::LoseTransactions,
    Fault::LoseAnswers,
    Fault::RejectTransactions,
    Fault::SwallowTransactions,
    Fault::NoReceipts,
    Fault::ForeignReceipts,
    Fault::OtherWords,
];

/// Each attempt pays a different account.
fn payee(purpose: &str, attempt: u32) -> Address {
    Address::from_slice(&keccak256(format!("{purpose}#{attempt}"))[..20])
}

async fn head(client: &L1Client) -> u64 {
    client.latest().await.unwrap().number
}

/// What the chain holds: payments by payee, and how many transactions.
async fn payments(client: &L1Client) -> (BTreeMap<Address, Vec<U256>>, u64) {
    let (mut all, mut count) = (BTreeMap::<Address, Vec<U256>>::new(), 0);
    for number in 1..=head(client).await {
        let block = client.provider().get_block_by_number(number.into()).full().await;
        for tx in block.unwrap().unwrap().transactions.as_transactions().unwrap() {
            count += 1;
            all.entry(tx.to().unwrap()).or_default().push(tx.value());
        }
    }
    (all, count)
}

#[tokio::test]
async fn random_schedules_pay_each_attempt_at_most_once() {
    for seed in [1, 2, 3] {
        eprintln!("seed {seed}");
        schedule(seed).await;
    }
}

async fn schedule(seed: u64) {
    let mut random = Random(seed);
    let anvil = Anvil::with(&["--no-mining"]);
    let proxy = Proxy::before(&anvil.url).await;
    let client = anvil.client().await;
    let proxied = L1Client::connect(std::slice::from_ref(&proxy.url), CHAIN_ID).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut sender = sender(&proxied, folder.path(), 0).await;
    // The attempts that were submitted, and whether the last request of each can expire.
    let mut known: BTreeMap<(String, u32), bool> = BTreeMap::new();
    for step in 0..STEPS {
        match random.below(12) {
            0..=4 => {
                let purpose = format!("pay/{}", random.below(PURPOSES));
                let attempt = sender.attempt_for(&purpose);
                let last = head(&client).await + 2;
                let expires = (random.below(4) == 0).then_some(Expiry::Block(last));
                let request = TxRequest {
                    attempt,
                    value: U256::from(step + 1),
                    gas_limit: Some(21_000),
                    expires,
                    ..TxRequest::call(&purpose, payee(&purpose, attempt), Default::default())
                };
                // A recorded request is continued, whatever was returned.
                let _ = sender.submit(request).await;
                if let Some(TxStatus::Pending { .. }) = sender.status(&purpose, attempt) {
                    known.insert((purpose, attempt), expires.is_some());
                }
            }
            5..=6 => drop(sender.tick().await),
            7..=8 => mine(&client, 1).await,
            9 => {
                let depth = 1 + random.below(5);
                if head(&client).await > depth {
                    reorg(&client, depth).await;
                }
            }
            10 => proxy.set(FAULTS[random.below(FAULTS.len() as u64) as usize]),
            _ => {
                drop(sender);
                proxy.set(Fault::None);
                sender = support::sender(&proxied, folder.path(), 0).await;
            }
        }
    }
    proxy.set(Fault::None);
    let is_open = |sender: &TxSender, known: &BTreeMap<(String, u32), bool>| {
        let statuses = known.keys().filter_map(|(purpose, it)| sender.status(purpose, *it));
        statuses.into_iter().any(|status| matches!(status, TxStatus::Pending { .. }))
    };
    // Each poll and block brings the next nonce in line forward, or more.
    for _ in 0..2 * STEPS {
        sender.tick().await.unwrap();
        mine(&client, 1).await;
        sender.tick().await.unwrap();
        if !is_open(&sender, &known) {
            break;
        }
    }
    let (paid, count) = payments(&client).await;
    let mut landed = 0;
    for ((purpose, attempt), can_expire) in &known {
        let status = sender.status(purpose, *attempt);
        let on_chain = paid.get(&payee(purpose, *attempt)).map_or(0, Vec::len);
        assert!(on_chain <= 1, "seed {seed}: {purpose}#{attempt} was paid {on_chain} times");
        let is_included = matches!(&status, Some(TxStatus::Included(it)) if it.succeeded);
        assert_eq!(is_included, on_chain == 1, "seed {seed}: {purpose}#{attempt}: {status:?}");
        landed += on_chain as u64;
        // The last attempt of a purpose lands, unless it could expire or lost its nonce.
        let is_last = !known.contains_key(&(purpose.clone(), attempt + 1));
        let is_lost = matches!(status, Some(TxStatus::Lost { .. }));
        assert!(
            is_included || is_lost || *can_expire || !is_last,
            "seed {seed}: {purpose}#{attempt}: {status:?}"
        );
    }
    assert!(landed >= PURPOSES, "seed {seed}: {landed} landed, {count} transactions in all");
    // The account continues.
    let request = TxRequest {
        gas_limit: Some(21_000),
        ..TxRequest::call("last", payee("last", 0), Default::default())
    };
    sender.submit(request).await.unwrap();
    mine(&client, 1).await;
    sender.tick().await.unwrap();
    assert!(matches!(sender.status("last", 0), Some(TxStatus::Included(_))), "seed {seed}");
    eprintln!("seed {seed}: {landed} of {} attempts landed, {count} transactions", known.len());
}
