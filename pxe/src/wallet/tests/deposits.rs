//! Claims of deposits, and withdrawals.

use rollmill_node_client::wire::DepositInfo;
use rollmill_protocol::message::{out_walk, withdraw_leaf};

use super::sent::Case;
use super::*;
use crate::withdrawal::Withdrawal;

impl Case {
    /// Builds empty blocks in the next slots.
    async fn blocks(&mut self, count: u64) {
        for _ in 0..count {
            self.chain.build();
        }
        self.sync().await;
    }
}

/// Goal: a deposit to an account that has nothing else becomes a note, and is claimed once.
#[tokio::test]
async fn a_deposit_is_found_claimed_once_and_moved_into_a_note() {
    let mut case = Case::new().await;
    case.wallet = Wallet::new(keys(9));
    case.wallet.set_clock(|| 0);
    case.sync().await;
    let error = case.wallet.find_deposit(&case.node).await.unwrap_err();
    assert!(matches!(error, PxeError::NoDeposit { waiting: 0 }), "{error}");
    let (one, two) = {
        let mut ledger = case.chain.ledger();
        ledger.deposit(owner(1), 1);
        (ledger.deposit(owner(9), 50 * UNIT), ledger.deposit(owner(9), 60 * UNIT))
    };
    // Block 1 is there, number 2 takes no more: the deposits come with block 3.
    assert_eq!(one.block_number(), 3);
    case.blocks(1).await;
    let error = case.wallet.find_deposit(&case.node).await.unwrap_err();
    assert!(matches!(error, PxeError::NoDeposit { waiting: 2 }), "{error}");
    let error = case.send(Order::claim(one)).await.unwrap_err();
    assert!(matches!(error, PxeError::DepositWaiting { block: 3, tip: 2, .. }), "{error}");

    case.blocks(1).await;
    assert_eq!(case.wallet.find_deposit(&case.node).await.unwrap(), one);
    let claim = case.send(Order::claim(one)).await.unwrap();
    assert_eq!(claim.effects().notes_in, 50 * UNIT - FEE_MAX, "the fee is paid of the deposit");
    let error = case.send(Order::claim(one)).await.unwrap_err();
    assert!(error.to_string().contains("PXE-025") && error.to_string().contains("sent"), "{error}");
    assert_eq!(case.wallet.find_deposit(&case.node).await.unwrap(), two, "the next one");

    case.blocks(1).await;
    assert_eq!(case.wallet.balance(), 50 * UNIT - FEE_MAX);
    assert_eq!(case.chain.ledger().balance(&owner(9)), FEE_MAX - FEE);
    let error = case.send(Order::claim(one)).await.unwrap_err();
    assert!(error.to_string().contains("claimed in block 4"), "{error}");
    // A wallet that was restored knows it as well.
    let mut restored = Wallet::new(keys(9));
    restored.sync(&case.node).await.unwrap();
    assert_eq!(restored.hindrance(&one), Some(Hindrance::Claimed { block: 4 }));
    assert_eq!(restored.notes(), case.wallet.notes());
    assert_eq!(restored.find_deposit(&case.node).await.unwrap(), two);

    // The balance covers a part of the next fee, so more of the deposit moves.
    let claim = case.send(Order::claim(two)).await.unwrap();
    assert_eq!(claim.effects().notes_in, 60 * UNIT - FEE);
    case.blocks(1).await;
    assert_eq!(case.wallet.balance(), 110 * UNIT - FEE_MAX - FEE);
    let error = case.wallet.find_deposit(&case.node).await.unwrap_err();
    assert!(matches!(error, PxeError::NoDeposit { waiting: 0 }), "{error}");
    // What was claimed can be spent.
    let tx = case.transfer(10 * UNIT).await.unwrap();
    case.include(&tx);
}

/// Goal: a claim that expires can be made again, and a reorganisation takes a claim back.
#[tokio::test]
async fn a_claim_that_was_not_included_can_be_made_again() {
    let mut case = Case::new().await;
    let deposit = case.chain.ledger().deposit(owner(2), 50 * UNIT);
    case.blocks(2).await;
    let order = Order { expiry_epochs: 1, ..Order::claim(deposit) };
    let first = case.send(order).await.unwrap();
    case.forget();
    let slot = first.effects().expiry_slot;
    case.chain.ledger().publish(slot, &[]);
    case.sync().await;
    assert_eq!(case.wallet.hindrance(&deposit), None, "it expired");

    let again = case.send(order).await.unwrap();
    case.include(&again);
    case.sync().await;
    assert_eq!(case.wallet.hindrance(&deposit), Some(Hindrance::Claimed { block: 5 }));
    case.replace(4);
    case.sync().await;
    assert_eq!(case.wallet.hindrance(&deposit), Some(Hindrance::Sent), "it may be included again");
    case.include(&again);
}

/// Attack: a node that names other deposits than L1's makes the wallet prove nothing.
#[tokio::test]
async fn a_deposit_that_l1_does_not_have_is_not_claimed() {
    let mut case = Case::new().await;
    let deposit = case.chain.ledger().deposit(owner(2), 50 * UNIT);
    let foreign = case.chain.ledger().deposit(owner(1), 40 * UNIT);
    case.blocks(2).await;
    case.chain.pool().wrong_amount = Some(51 * UNIT);
    let found = case.wallet.find_deposit(&case.node).await.unwrap();
    assert_eq!(found.amount, 51 * UNIT);
    for wrong in [
        found,
        foreign,
        DepositInfo { index: deposit.index + 2, ..deposit },
        DepositInfo { index: 0, ..deposit },
        DepositInfo { index: 1 << 38, ..deposit },
        DepositInfo { amount: 0, ..deposit },
    ] {
        let error = case.send(Order::claim(wrong)).await.unwrap_err();
        assert!(matches!(error, PxeError::DepositUnknown { .. }), "{wrong:?}: {error}");
        let error = case.wallet.quote(&case.node, &Order::claim(wrong)).await.unwrap_err();
        assert!(matches!(error, PxeError::DepositUnknown { .. }), "{wrong:?}: {error}");
    }
    assert!(case.chain.pool().received.is_empty());
    // Too small to pay for its claim.
    let small = case.chain.ledger().deposit(owner(2), FEE_MAX - 1);
    case.blocks(2).await;
    let error = case.send(Order::claim(small)).await.unwrap_err();
    assert!(matches!(error, PxeError::Fee { needed: FEE_MAX, .. }), "{error}");
    assert!(case.send(Order::claim(deposit)).await.is_ok());
}

/// Goal: what the contract gets leads to the root that L1 stores, in blocks of every shape.
#[tokio::test]
async fn a_withdrawal_leaves_the_notes_and_its_path_leads_to_the_blocks_root() {
    let mut case = Case::new().await;
    let (to, mut balance) = (EthAddress([0xd1; 20]), 520 * UNIT);
    for (others, amount) in [(0, 3 * UNIT), (1, 5 * UNIT), (4, 7 * UNIT)] {
        let price = ledger::CONFIG.prices_after(case.chain.ledger().tip());
        let fee = rollmill_protocol::gas::fee(price, rollmill_protocol::Gas::PER_TX).unwrap();
        let tx = case.send(Order::withdraw(to, amount)).await.unwrap();
        let hash = tx.hash();
        let error = Withdrawal::find(&case.node, &hash).await.unwrap_err();
        assert!(matches!(error, PxeError::NotIncluded { .. }), "{error}");
        let number = case.chain.ledger().tip().block_number + 1;
        {
            let mut ledger = case.chain.ledger();
            let slot = ledger.tip().slot + 1;
            let other = |i: u64| body(&[Fr::from(100 * number + i)], &[]);
            let mut bodies: Vec<BlockBody> = (0..others).map(other).collect();
            bodies.push(tx.body.clone());
            ledger.publish(slot, &bodies);
        }
        case.forget();
        case.sync().await;
        balance -= amount + fee;
        assert_eq!(case.wallet.balance(), balance);
        let found = Withdrawal::find(&case.node, &hash).await.unwrap();
        let place = (found.block_number, found.tx as u64, found.recipient, found.amount);
        assert_eq!(place, (number, others, to, amount));
        assert!(!found.is_proven);
        let root = case.chain.ledger().tip().out_root;
        let leaf = withdraw_leaf(to, amount);
        let count = others as usize + 1;
        assert_eq!(out_walk(&leaf, found.tx, 0, count, &found.path), Some(root));
        let text = found.to_string();
        assert!(
            text.starts_with(&format!("block {number}\ntransaction {others}\nrecipient {to}\n"))
        );
        assert_eq!(text.matches("0x").count(), 1 + found.path.len());
        case.chain.pool().proven = number;
        assert!(Withdrawal::find(&case.node, &hash).await.unwrap().is_proven);
    }
    let tx = case.transfer(UNIT).await.unwrap();
    case.include(&tx);
    let error = Withdrawal::find(&case.node, &tx.hash()).await.unwrap_err();
    assert!(matches!(error, PxeError::NoWithdrawal { .. }), "{error}");
}
