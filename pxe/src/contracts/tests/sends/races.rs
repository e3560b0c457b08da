//! What happens between two requests to a node: blocks are removed, and others send the same transaction.

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
