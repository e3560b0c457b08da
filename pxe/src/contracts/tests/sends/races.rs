//! What happens between two requests to a node: blocks are removed, and others send the same transaction.

use rollmill_node_client::wire::method;
use rollmill_pxe_store::{Stage, Transaction};

use super::*;
use crate::contracts::discover::FoundNote;

/// A prover in whose time the node gets the transaction from somebody else.
struct Overtaken {
    chain: Node,
}

impl CallProver for Overtaken {
    fn vk_root(&self) -> Fr {
        Fr::zero()
    }

    fn prove_transaction(
        &self,
        simulated: &SimulatedTransaction,
        _: &mut dyn FnMut(&Progress),
        _: &dyn Fn() -> bool,
    ) -> Result<Tx, ContractError> {
        let tx = made_up(simulated);
        let status = TxStatus::Included { block_number: 2, index: 0 };
        self.chain.pool().statuses.insert(tx.hash(), status);
        Ok(tx)
    }
}

/// Fault: a node rejects a transaction for its own nullifiers, since another request sent it first and a block has it.
/// The user must not be told that nothing was sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_of_what_the_node_has_already_does_not_give_it_up() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    harbour.chain.pool().rejects_with = Some("NODE-021");
    let prover = Overtaken { chain: harbour.chain.clone() };
    let sent = harbour.send_with(prover, 0, &harbour.transfer(1, 30), None).await.expect("sent");
    let CallDelivery::Accepted(hash) = sent else { panic!("{sent:?}") };
    assert_eq!(harbour.state(0, &hash).await, CallState::Pending);
    assert!(harbour.spendable(0).is_empty(), "its note is held");
}

/// Fault: the node rejects a transaction, and does not say whether it has it. Its notes stay held until it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_without_a_status_does_not_give_the_transaction_up() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    harbour.chain.pool().rejects_with = Some("NODE-021");
    harbour.chain.pool().unavailable = Some(method::GET_TRANSACTION_STATUS);
    let prover = MadeUpProofs { vk_root: Fr::zero() };
    let sent = harbour.send_with(prover, 0, &harbour.transfer(1, 30), None).await.expect("sent");
    let CallDelivery::Unknown(hash, doubt) = sent else { panic!("{sent:?}") };
    assert_eq!(doubt.code(), "PXE-066");
    assert!(harbour.spendable(0).is_empty(), "its note is held");
    harbour.chain.pool().unavailable = None;
    harbour.refresh().await;
    let state = harbour.state(0, &hash).await;
    assert!(matches!(state, CallState::Dropped { .. }), "{state:?}");
    assert_eq!(harbour.spendable(0), [100], "the node does not have it");
}

/// Fault: a release reads what a newer one wrote. It follows the transaction and leaves the record as it is, and takes
/// no order with a key for a new one.
#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_newer_release_is_not_written_back() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let hash = harbour.sent(0, &harbour.transfer(1, 30)).await;
    let (store, account) = (&harbour.store, harbour.accounts[0]);
    let scope = Scope::of([account]);
    let kept = || -> Transaction {
        let transactions = store.view(&scope).expect("a view").transactions(&account);
        let mut transactions = transactions.expect("read").into_iter();
        transactions.find(|one| one.row.tx_hash == Some(hash)).expect("it is kept")
    };
    let newer: &[u8] = br#"{"form":2,"order":"pays","more":[1]}"#;
    let number = kept().number;
    store.step(&scope, |step| step.set_request(&account, number, newer)).expect("written");
    let other = recall(store, account, &key("of-another-order"), &harbour.transfer(1, 7));
    assert_eq!(other.expect_err("it may be that one").code(), "PXE-091");

    let last = harbour.chain.pool().waiting[0].effects().expiry_slot;
    harbour.chain.pool().waiting.clear();
    let reason = "the pool is full".to_owned();
    harbour.chain.pool().statuses.insert(hash, TxStatus::Dropped { reason });
    harbour.refresh().await;
    assert_eq!((kept().row.stage, &*kept().row.request), (Stage::Dropped, newer));
    assert_eq!(harbour.spendable(0), [100], "its note is free");
    // Nothing can happen to it any more, which would be noted in a record of this release.
    harbour.chain.ledger().publish(last, &[]);
    harbour.chain.pool().proven = u64::MAX;
    for now in [NOW, NOW + KEY_SECONDS] {
        refresh(store, &harbour.node, now).await.expect("refreshed");
        assert_eq!(&*kept().row.request, newer);
    }
}

/// Fault: a reorganization between two requests of one sync. Blocks of the new chain must not be read on top of a block
/// that was removed.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_another_chain_are_not_read_on_top_of_a_removed_one() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    harbour.build();
    harbour.refresh().await;
    let check = || sync::check_tip(&harbour.store, &harbour.node);
    check().await.expect("the chain that was read");
    harbour.chain.ledger().cut(1);
    assert_eq!(check().await.expect_err("a removed block").code(), "PXE-005");
    // Another block with the same number, and the same leaves.
    let slot = harbour.chain.ledger().tip().slot + 2;
    harbour.chain.ledger().include(slot, &[]);
    assert_eq!(check().await.expect_err("another block").code(), "PXE-005");
    // Nor are notes marked as spent by its blocks.
    let note = FoundNote { account: harbour.accounts[0], nullifier: Fr::from(7u64), block: 1 };
    let marked = sync::mark_spent(&harbour.store, &harbour.node, &[note]).await;
    assert_eq!(marked.expect_err("another chain").code(), "PXE-005");
    harbour.refresh().await;
    check().await.expect("the chain that was read");
}

/// Fault: a reorganization before each request of a reading in turn. Blocks of two chains are not mixed, and by the tips
/// of the new chain no block of the removed one is final.
#[tokio::test(flavor = "multi_thread")]
async fn a_reorganization_between_two_requests_makes_no_removed_block_final() {
    let mut cut_off = 0;
    for before in 0.. {
        let harbour = Harbour::new().await;
        let base = harbour.chain.ledger().clone();
        let with_blocks = |slots: &[u64]| {
            let mut ledger = base.clone();
            for slot in slots {
                ledger.publish(*slot, &[]);
            }
            ledger
        };
        *harbour.chain.ledger() = with_blocks(&[1, 2]);
        {
            let mut pool = harbour.chain.pool();
            pool.proven = u64::MAX;
            pool.reorganization = Some((before, with_blocks(&[3, 4, 5])));
        }
        let read = refresh(&harbour.store, &harbour.node, NOW).await;
        if harbour.chain.pool().reorganization.take().is_some() {
            read.expect("the chain stays");
            break;
        }
        if let Err(error) = read {
            assert_eq!(error.code(), "PXE-005", "before request {before}: {error}");
            cut_off += 1;
        }
        harbour.refresh().await;
        let scope = Scope::default();
        let last = harbour.store.view(&scope).expect("a view").headers().expect("read").pop();
        let last = last.map(|header| (header.number, header.hash));
        let tip = harbour.chain.ledger().tip().hash();
        assert_eq!(last, Some((3, tip)), "before request {before}");
    }
    assert!(cut_off > 1, "{cut_off} readings were cut off");
}

/// Fault: what the node dropped is included all the same, and a reorganization removes that block. The transaction is
/// a dropped one again, with its reason, and an order with its key is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_transaction_whose_block_is_removed_is_dropped_again() {
    let harbour = Harbour::new().await;
    harbour.minted(100).await;
    let (order, order_key) = (harbour.transfer(1, 60), key("of-the-dropped"));
    let prover = || MadeUpProofs { vk_root: Fr::zero() };
    let sent = harbour.send_with(prover(), 0, &order, Some(&order_key)).await.expect("sent");
    let CallDelivery::Accepted(hash) = sent else { panic!("{sent:?}") };
    let copy = std::mem::take(&mut harbour.chain.pool().waiting);
    let reason = "the pool is full".to_owned();
    harbour.chain.pool().statuses.insert(hash, TxStatus::Dropped { reason: reason.clone() });
    harbour.refresh().await;
    harbour.chain.pool().waiting = copy;
    harbour.build();
    harbour.refresh().await;
    assert_eq!(harbour.state(0, &hash).await, CallState::Included { block: 2 });
    let known = |at: &Harbour| recall(&at.store, at.accounts[0], &order_key, &order);
    assert!(known(&harbour).expect("recalled").expect("an earlier one").accepted);
    harbour.chain.ledger().cut(1);
    harbour.refresh().await;
    assert_eq!(harbour.state(0, &hash).await, CallState::Dropped { reason });
    assert_eq!(known(&harbour).expect_err("dropped").code(), "PXE-065");
}
