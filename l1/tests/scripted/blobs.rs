//! Transactions with a blob: what they carry, how their fees rise, what replaces them, and what survives.

use std::path::PathBuf;
use std::sync::Arc;

use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::primitives::U256;
use rollmill_l1::blob::Sidecar;
use rollmill_l1::{L1Error, SenderConfig, TxRequest, TxSender, TxUpdate};
use rollmill_l1_testing::fake::{Broadcast, Fake, GWEI, STRANGE};
use rollmill_l1_testing::pay::{PAYEE, included, payment, reason};
use rollmill_l1_testing::pool::{RESERVED, UNDERPRICED};
use rollmill_l1_testing::signer;

use crate::{is_pending, mine_included, start, until};

/// A sidecar of another blob for each number. Its commitment and proofs are those of the blob of zeros, which only the
/// KZG library of a real node would notice; the blob's name is therefore the same for all.
fn sidecar(number: u8) -> Arc<Sidecar> {
    let mut bytes = Sidecar::empty().to_bytes();
    bytes[31] = number;
    Arc::new(Sidecar::from_bytes(&bytes).unwrap())
}

fn blob_payment(purpose: &str, wei: u64) -> TxRequest {
    TxRequest { sidecar: Some(sidecar(wei as u8)), ..payment(purpose, wei) }
}

fn folder(fake: &Fake) -> PathBuf {
    fake.folder.path().join("account-0.blobs")
}

/// Number of sidecars on disk.
fn kept(fake: &Fake) -> usize {
    std::fs::read_dir(folder(fake)).map_or(0, Iterator::count)
}

/// The three fees of what was sent, oldest first.
fn fees(fake: &Fake) -> Vec<[u128; 3]> {
    let of = |tx: &TxEnvelope| {
        [
            tx.max_fee_per_gas(),
            tx.max_priority_fee_per_gas().unwrap(),
            tx.max_fee_per_blob_gas().unwrap_or_default(),
        ]
    };
    fake.l1().sent.iter().map(of).collect()
}

/// Polls after as many blocks as a sender waits before it raises fees.
async fn wait_and_tick(fake: &Fake, sender: &TxSender) -> Vec<TxUpdate> {
    fake.l1().mine_empty(3);
    sender.tick().await.unwrap()
}

#[tokio::test]
async fn a_blob_goes_out_with_cell_proofs_at_twice_the_base_fee_of_blobs() {
    let (fake, sender) = start().await;
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    let market = fake.l1().market();
    // The fake's pool rejects sidecars of the form before EIP-7594.
    assert_eq!(fake.l1().pool.len(), 1);
    assert_eq!(fees(&fake), [[market, GWEI, 4 * GWEI]]);
    assert_eq!(kept(&fake), 1);
    assert!(fake.file_len() < 5_000, "the journal has {} bytes", fake.file_len());
    mine_included(&fake, &sender, "propose/1", 0).await;
    fake.l1().mine_empty(2);
    let head = fake.l1().head();
    fake.l1().finalized = head;
    sender.tick().await.unwrap();
    assert_eq!(kept(&fake), 0, "a settled transaction needs no sidecar");
}

/// The fake's pool has the rule of real ones: 100 % for all three fees.
#[tokio::test]
async fn each_replacement_of_a_blob_doubles_all_three_fees_and_is_accepted() {
    let fake = Fake::start().await;
    let config = SenderConfig {
        max_fee_limit_wei: 100 * GWEI,
        max_blob_fee_limit_wei: 100 * GWEI,
        ..Default::default()
    };
    let sender = fake.sender_with(config).await;
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    for _ in 0..3 {
        let updates = wait_and_tick(&fake, &sender).await;
        assert!(matches!(&updates[..], [TxUpdate::Bumped { .. }]), "{updates:?}");
    }
    let fees = fees(&fake);
    assert_eq!(fees.len(), 4);
    for pair in fees.windows(2) {
        assert!(pair[0].iter().zip(pair[1]).all(|(old, new)| new == 2 * old), "{pair:?}");
    }
    let newest = *fake.l1().sent.last().unwrap().tx_hash();
    assert_eq!(fake.l1().pool.iter().map(|tx| *tx.tx_hash()).collect::<Vec<_>>(), [newest]);
    // 7 to 56 gwei; the next would be 112.
    let updates = wait_and_tick(&fake, &sender).await;
    assert!(matches!(&updates[..], [TxUpdate::FeeLimited { .. }]), "{updates:?}");
}

#[tokio::test]
async fn a_replacement_follows_the_market_of_blobs() {
    let (fake, sender) = start().await;
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    fake.l1().blob_base_fee = 30 * GWEI;
    wait_and_tick(&fake, &sender).await;
    assert_eq!(fake.l1().blob_prices(), [4 * GWEI, 60 * GWEI]);
}

#[tokio::test]
async fn a_rejection_below_the_base_fee_of_blobs_counts_as_underpriced() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Reject(STRANGE);
    fake.l1().before("eth_sendRawTransaction", |l1| l1.blob_base_fee = 9 * GWEI);
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    fake.l1().broadcast = Broadcast::Take;
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().blob_prices(), [4 * GWEI, 18 * GWEI]);
    assert_eq!(fake.l1().pool.len(), 1);
}

#[tokio::test]
async fn the_limit_of_the_blob_fee_rejects_at_first_and_is_waited_out_later() {
    let fake = Fake::start().await;
    let config = SenderConfig { max_blob_fee_limit_wei: 10 * GWEI, ..Default::default() };
    let sender = fake.sender_with(config).await;
    let rejections = sender.watch_fee_rejections();
    fake.l1().blob_base_fee = 6 * GWEI;
    let error = sender.submit(blob_payment("propose/1", 5)).await.unwrap_err();
    assert_eq!(error.code(), "L1-023", "{error}");
    assert_eq!((sender.status("propose/1", 0), kept(&fake)), (None, 0));
    // A plain transaction pays no fee for blobs.
    sender.submit(payment("plain", 5)).await.unwrap();
    mine_included(&fake, &sender, "plain", 0).await;
    fake.l1().blob_base_fee = 5 * GWEI;
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    let updates = wait_and_tick(&fake, &sender).await;
    assert!(
        matches!(&updates[..], [TxUpdate::FeeLimited { needed_wei, .. }] if *needed_wei == 20 * GWEI),
        "{updates:?}"
    );
    assert_eq!(*rejections.borrow(), 2);
}

#[tokio::test]
async fn funds_must_suffice_for_the_blob_too() {
    let (fake, sender) = start().await;
    let market = fake.l1().market();
    fake.l1().balance = U256::from(21_000 * market + 131_072 * 4 * GWEI + 4);
    let error = sender.submit(blob_payment("propose/1", 5)).await.unwrap_err();
    assert!(matches!(error, L1Error::Funds { .. }), "{error}");
    fake.l1().balance += U256::from(1);
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
}

#[tokio::test]
async fn a_blob_cannot_create_a_contract() {
    let (fake, sender) = start().await;
    let request = TxRequest {
        sidecar: Some(sidecar(1)),
        gas_limit: Some(21_000),
        ..TxRequest::create("create", vec![0].into())
    };
    assert!(matches!(sender.submit(request).await, Err(L1Error::Dropped { .. })));
    assert!(fake.l1().sent.is_empty());
}

/// Fault: the process ends after the broadcast, and the node has lost the transaction.
#[tokio::test]
async fn a_restart_sends_the_same_bytes_again() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Swallow;
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    drop(sender);
    fake.l1().broadcast = Broadcast::Take;
    let sender = fake.sender().await;
    sender.tick().await.unwrap();
    let sent = fake.l1().sent.clone();
    assert_eq!((sent.len(), &sent[0]), (2, &sent[1]));
    assert_eq!(sent, [sent[1].clone(), sent[1].clone()]);
    // The caller asks again after its restart, with the blob or without: only the blob's name counts.
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    assert_eq!(fake.l1().sent.len(), 2);
    mine_included(&fake, &sender, "propose/1", 0).await;
}

#[tokio::test]
async fn a_reorg_that_drops_a_blob_sends_it_again() {
    let (fake, sender) = start().await;
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    mine_included(&fake, &sender, "propose/1", 0).await;
    fake.l1().replace(1);
    let updates = sender.tick().await.unwrap();
    assert_eq!(updates, [TxUpdate::Reorged { id: "propose/1".to_owned() }]);
    let sent = fake.l1().sent.clone();
    assert_eq!((sent.len(), &sent[0]), (2, &sent[1]));
    mine_included(&fake, &sender, "propose/1", 0).await;
}

#[tokio::test]
async fn another_blob_takes_the_place_of_the_first() {
    let (fake, sender) = start().await;
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    sender.submit(blob_payment("propose/1", 7)).await.unwrap();
    let sent = fake.l1().sent.clone();
    let pool = fake.l1().pool.clone();
    assert_eq!((sent.len(), pool), (2, vec![sent[1].clone()]));
    assert_eq!(kept(&fake), 1, "the first is not sent again");
    mine_included(&fake, &sender, "propose/1", 0).await;
    assert_eq!(included(sender.status("propose/1", 0)).tx_hash, *sent[1].tx_hash());
}

/// A block without transactions has no blob. Its proposal can only take the place of one with a blob by carrying one.
#[tokio::test]
async fn a_plain_request_that_replaces_a_pooled_blob_carries_zeros() {
    let (fake, sender) = start().await;
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    sender.submit(payment("propose/1", 7)).await.unwrap();
    let zeros = Sidecar::empty().versioned_hash();
    let newest = fake.l1().pool[0].clone();
    assert_eq!((newest.value(), newest.nonce()), (U256::from(7), 0));
    assert_eq!(newest.blob_versioned_hashes().unwrap(), [zeros]);
    assert_eq!(kept(&fake), 0);
    // It is the same request without it.
    sender.submit(payment("propose/1", 7)).await.unwrap();
    wait_and_tick(&fake, &sender).await;
    assert_eq!(fake.l1().sent.len(), 3);
    assert_eq!(fake.l1().pool[0].value(), U256::from(7));
    mine_included(&fake, &sender, "propose/1", 0).await;
}

#[tokio::test]
async fn an_expired_blob_in_a_pool_is_replaced_by_a_transfer_with_zeros() {
    let (fake, sender) = start().await;
    let last = fake.l1().head() + 1;
    sender.submit(until(last, blob_payment("propose/1", 5))).await.unwrap();
    fake.l1().mine_empty(1);
    sender.tick().await.unwrap();
    assert!(reason(sender.status("propose/1", 0)).contains("expired"));
    let fill = fake.l1().pool[0].clone();
    assert_eq!((fill.to(), fill.value()), (Some(signer(0).address()), U256::ZERO));
    assert_eq!(fill.blob_versioned_hashes().unwrap(), [Sidecar::empty().versioned_hash()]);
    assert_eq!((fill.nonce(), kept(&fake)), (0, 0));
    // The next request takes the nonce of the fill.
    sender.submit(payment("plain", 7)).await.unwrap();
    assert_eq!(fake.l1().pool[0].to(), Some(PAYEE));
    mine_included(&fake, &sender, "plain", 0).await;
}

#[tokio::test]
async fn a_plain_request_waits_for_a_pooled_blob_and_the_reverse() {
    for (first, second) in [
        (blob_payment("first", 5), payment("second", 7)),
        (payment("first", 5), blob_payment("second", 7)),
    ] {
        let (fake, sender) = start().await;
        sender.submit(first).await.unwrap();
        sender.submit(second).await.unwrap();
        wait_and_tick(&fake, &sender).await;
        assert_eq!((fake.l1().pool.len(), is_pending(&sender, "second")), (1, true));
        assert!(fake.l1().nonces().iter().all(|nonce| *nonce == 0), "the second is not sent");
        mine_included(&fake, &sender, "first", 0).await;
        assert_eq!(fake.l1().pool.len(), 1, "sent once the first is in a block");
        mine_included(&fake, &sender, "second", 1).await;
    }
}

/// A third one that a pool accepted before its turn would keep the second out for hours.
#[tokio::test]
async fn kinds_that_alternate_are_sent_in_turn() {
    let (fake, sender) = start().await;
    let requests = [
        payment("a", 1),
        blob_payment("b", 2),
        blob_payment("c", 3),
        payment("d", 4),
        blob_payment("e", 5),
    ];
    for request in requests {
        sender.submit(request).await.unwrap();
    }
    sender.tick().await.unwrap();
    let pooled = |fake: &Fake| -> Vec<u64> { fake.l1().pool.iter().map(|tx| tx.nonce()).collect() };
    for expected in [&[0][..], &[1, 2], &[3], &[4], &[]] {
        assert_eq!(pooled(&fake), expected);
        fake.l1().mine();
        sender.tick().await.unwrap();
    }
    assert_eq!(fake.l1().nonces(), [0, 1, 2, 3, 4]);
    assert_eq!(included(sender.status("e", 0)).nonce, 4);
}

/// Fault: a pool has a transaction of the other kind that this sender does not know of.
#[tokio::test]
async fn what_a_pool_rejects_for_the_other_kind_is_sent_again() {
    let (fake, sender) = start().await;
    fake.l1().broadcast = Broadcast::Reject(RESERVED);
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    sender.tick().await.unwrap();
    assert!(is_pending(&sender, "propose/1"));
    fake.l1().broadcast = Broadcast::Take;
    sender.tick().await.unwrap();
    let sent = fake.l1().sent.clone();
    assert!(sent.len() == 3 && sent.iter().all(|tx| *tx == sent[0]), "the same form each time");
    mine_included(&fake, &sender, "propose/1", 0).await;
}

/// A nonce before a pooled blob can be used by a transaction with a blob only.
#[tokio::test]
async fn a_plain_request_before_a_pooled_blob_carries_zeros() {
    let (fake, sender) = start().await;
    let last = fake.l1().head() + 1;
    sender.submit(until(last, blob_payment("propose/1", 5))).await.unwrap();
    sender.submit(blob_payment("other", 7)).await.unwrap();
    // The pool loses the first, which then expires. Its nonce is filled, and goes to the next request.
    fake.l1().pool.remove(0);
    fake.l1().mine_empty(1);
    sender.tick().await.unwrap();
    let fill = fake.l1().pool.last().unwrap().clone();
    assert_eq!((fill.nonce(), fill.to()), (0, Some(signer(0).address())));
    assert!(fill.is_eip4844());
    sender.submit(payment("plain", 9)).await.unwrap();
    let newest = fake.l1().pool.last().unwrap().clone();
    assert_eq!((newest.nonce(), newest.value()), (0, U256::from(9)));
    assert_eq!(newest.blob_versioned_hashes().unwrap(), [Sidecar::empty().versioned_hash()]);
    fake.l1().mine();
    sender.tick().await.unwrap();
    assert_eq!(included(sender.status("plain", 0)).nonce, 0);
    assert_eq!(included(sender.status("other", 0)).nonce, 1);
}

/// The nonce is the same, so waiting is all that can be done.
#[tokio::test]
async fn a_blob_waits_for_the_plain_request_that_it_would_replace() {
    let (fake, sender) = start().await;
    sender.submit(payment("propose/1", 5)).await.unwrap();
    sender.submit(blob_payment("propose/1", 7)).await.unwrap();
    assert_eq!(fake.l1().pool[0].value(), U256::from(5));
    fake.l1().pool.clear();
    sender.tick().await.unwrap();
    assert_eq!(fake.l1().pool[0].value(), U256::from(7));
    mine_included(&fake, &sender, "propose/1", 0).await;
}

/// Fault: the disk has lost a sidecar. The form in the pool is complete and stays.
#[tokio::test]
async fn a_lost_sidecar_drops_its_transaction_and_leaves_the_pool_alone() {
    for is_pooled in [true, false] {
        let (fake, sender) = start().await;
        sender.submit(blob_payment("propose/1", 5)).await.unwrap();
        std::fs::remove_dir_all(folder(&fake)).unwrap();
        if !is_pooled {
            fake.l1().pool.clear();
        }
        wait_and_tick(&fake, &sender).await;
        let why = reason(sender.status("propose/1", 0));
        assert!(why.contains("sidecar") && why.contains("cannot be read"), "{why}");
        assert_eq!(fake.l1().sent.len(), 1);
        if is_pooled {
            sender.tick().await.unwrap();
            assert_eq!(fake.l1().pool.len(), 1);
            mine_included(&fake, &sender, "propose/1", 0).await;
        } else {
            // A new attempt brings its blob.
            sender.submit(blob_payment("propose/1", 5)).await.unwrap();
            mine_included(&fake, &sender, "propose/1", 0).await;
        }
    }
}

#[tokio::test]
async fn the_pool_of_these_tests_has_the_rules_of_real_ones() {
    let (fake, sender) = start().await;
    sender.submit(blob_payment("propose/1", 5)).await.unwrap();
    let pool = fake.l1().pool.clone();
    fake.l1().pool.clear();
    sender.submit(payment("propose/1", 7)).await.unwrap();
    let plain = fake.l1().pool[0].clone();
    let accepts = rollmill_l1_testing::pool::accepts;
    assert_eq!(accepts(&pool, &plain), Err(RESERVED));
    assert_eq!(accepts(&[], &plain), Ok(()));
    assert_eq!(accepts(&pool, &pool[0]), Err(UNDERPRICED));
}
