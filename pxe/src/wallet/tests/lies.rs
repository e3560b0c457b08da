//! A node that lies: what it changes or makes up is an error with a code, and what it leaves out is found once a node
//! shows it.

use rollmill_node_client::wire::{HeaderInfo, MessagePath, method};

use super::ledger::lies::{IMPOSSIBLE, Lie, about, made_up};
use super::sent::Case;
use super::*;

/// Bob's wallet, before two blocks of which the first one pays 30 units more.
async fn unread() -> Case {
    let case = Case::new().await;
    let paid = body(&[Fr::from(2u64)], &[payment(&keys(1), &keys(2), 30 * UNIT, 1)]);
    case.chain.ledger().publish(2, &[paid]);
    case.chain.ledger().publish(3, &[]);
    case
}

fn tell(case: &Case, lie: Lie) {
    case.chain.pool().lie = Some(lie);
}

/// The same node, or another one, says what is true.
async fn hear_the_truth(case: &mut Case) {
    case.chain.pool().lie = None;
    case.sync().await;
}

/// Goal: a block that is not what its header says is an error, and nothing of it is read.
#[tokio::test]
async fn a_block_that_is_not_what_its_header_says_is_an_error_and_is_read_later() {
    for (what, change) in IMPOSSIBLE {
        let mut case = unread().await;
        tell(&case, about(method::GET_BLOCK_EFFECTS, change));
        let error = case.wallet.sync(&case.node).await.unwrap_err();
        assert_eq!(error.code(), "PXE-005", "{what}: {error}");
        assert_eq!((case.wallet.last_block(), case.wallet.balance()), (1, 520 * UNIT), "{what}");
        hear_the_truth(&mut case).await;
        assert_eq!((case.wallet.last_block(), case.wallet.balance()), (3, 550 * UNIT), "{what}");
    }
}

/// Attack: a block without its logs, whose header was made to fit. The header of a true block names the true one before
/// it, so the next block cannot follow; and the true one takes the place of a block that was made up.
#[tokio::test]
async fn a_block_that_a_node_made_up_has_no_true_one_after_it_and_hides_no_note_for_long() {
    let mut case = unread().await;
    let change = |blocks: &mut Vec<BlockEffects>| {
        if let Some(block) = blocks.iter_mut().find(|block| block.block_number == 2) {
            *block = made_up(block);
        }
    };
    tell(&case, about(method::GET_BLOCK_EFFECTS, change));
    let error = case.wallet.sync(&case.node).await.unwrap_err();
    assert!(matches!(error, PxeError::Chain { block: 3, .. }), "{error}");
    assert_eq!((error.code(), case.wallet.balance()), ("PXE-092", 520 * UNIT));
    // It is as far as the lie, which lasts when the program is started again.
    let kept = case.wallet.state().to_bytes().unwrap();
    case.wallet = Wallet::with_state(keys(2), State::from_bytes(&kept).unwrap());
    assert_eq!(case.wallet.last_block(), 2);
    hear_the_truth(&mut case).await;
    assert_eq!((case.wallet.last_block(), case.wallet.balance()), (3, 550 * UNIT));
}

/// Fault: answers that end early, down to none. What is missing comes with the next answer, or from the next node.
#[tokio::test]
async fn an_answer_that_ends_early_hides_nothing_for_long() {
    let mut case = unread().await;
    tell(&case, about(method::GET_BLOCK_EFFECTS, |blocks: &mut Vec<BlockEffects>| blocks.clear()));
    case.sync().await;
    assert_eq!((case.wallet.last_block(), case.wallet.balance()), (1, 520 * UNIT));
    let one = |blocks: &mut Vec<BlockEffects>| blocks.truncate(1);
    tell(&case, about(method::GET_BLOCK_EFFECTS, one));
    case.sync().await;
    assert_eq!((case.wallet.last_block(), case.wallet.balance()), (3, 550 * UNIT));
}

/// Attack: another header than that of the block which a transaction names as its anchor. Nothing is proven.
#[tokio::test]
async fn a_transaction_names_no_anchor_that_the_wallet_did_not_read() {
    let mut case = Case::new().await;
    let first = case.chain.ledger().header(0).unwrap().clone();
    let of_genesis = move |info: &mut Option<HeaderInfo>| {
        let (header, header_hash) = (first.to_bytes(), first.hash());
        *info = info.take().map(|info| HeaderInfo { header, header_hash, ..info });
    };
    let lies: [(&str, Lie); 4] = [
        ("none", about(method::GET_HEADER, |info: &mut Option<HeaderInfo>| *info = None)),
        ("that of genesis", about(method::GET_HEADER, of_genesis)),
        (
            "another hash",
            about(method::GET_HEADER, |info: &mut Option<HeaderInfo>| {
                if let Some(info) = info {
                    info.header_hash += Fr::from(1u64);
                }
            }),
        ),
        (
            "another genesis file",
            about(method::GET_GENESIS, |genesis: &mut rollmill_protocol::Genesis| {
                genesis.config.min_fee_per_gas += 1;
            }),
        ),
    ];
    for (what, lie) in lies {
        tell(&case, lie);
        let error = case.transfer(300 * UNIT).await.unwrap_err();
        assert_eq!(error.code(), "PXE-005", "{what}: {error}");
    }
    assert!(case.chain.pool().received.is_empty());
    hear_the_truth(&mut case).await;
    assert_eq!((case.wallet.balance(), case.wallet.locked()), (520 * UNIT, 0));
    case.transfer(300 * UNIT).await.unwrap();
}

type OfPaths = fn(&mut MessagePath);

/// Attack: a path of a deposit that leads nowhere, or is another's. Nothing is proven.
#[tokio::test]
async fn a_false_path_of_a_deposit_is_an_error() {
    let mut case = Case::new().await;
    let deposit = case.chain.ledger().deposit(owner(2), 50 * UNIT);
    assert!(case.chain.build().is_empty() && case.chain.build().is_empty());
    case.sync().await;
    let changes: [(&str, OfPaths); 4] = [
        ("a sibling", |path| path.path[0] += Fr::from(1u64)),
        ("a sibling less", |path| {
            path.path.pop();
        }),
        ("the leaf", |path| path.leaf += Fr::from(1u64)),
        ("the index", |path| path.index += 1),
    ];
    for (what, change) in changes {
        tell(&case, about(method::GET_MESSAGE_PATH, change));
        let error = case.send(Order::claim(deposit)).await.unwrap_err();
        assert_eq!(error.code(), "PXE-005", "{what}: {error}");
    }
    assert!(case.chain.pool().received.is_empty());
    hear_the_truth(&mut case).await;
    case.send(Order::claim(deposit)).await.unwrap();
}

/// Attack: a node that says of a transaction which it never had that it is in a block. Its notes are held, so nothing
/// is paid twice, and they are free once no later block can have it.
#[tokio::test]
async fn a_false_status_holds_notes_until_the_transaction_expires() {
    let mut case = Case::new().await;
    let tx = case.transfer(300 * UNIT).await.unwrap();
    case.forget();
    case.set_status(&tx, TxStatus::Proven { block_number: 1, index: 0 });
    case.sync().await;
    assert_eq!((case.wallet.balance(), case.wallet.locked()), (20 * UNIT, 500 * UNIT));
    let error = case.transfer(300 * UNIT).await.unwrap_err();
    assert!(matches!(error, PxeError::Funds { .. }), "{error}");
    case.chain.ledger().publish(tx.effects().expiry_slot, &[]);
    case.sync().await;
    assert_eq!((case.wallet.balance(), case.wallet.locked()), (520 * UNIT, 0));
}

/// Goal: nobody is asked for what would name a note, so no false answer about one is believed.
#[test]
fn no_node_is_asked_for_paths_of_notes_or_about_nullifiers() {
    for name in [method::GET_NOTE_PATH, method::GET_NULLIFIER_STATUS, method::GET_LOGS_BY_TAGS] {
        assert!(!leaks::is_declared(name), "{name}");
    }
    assert!(leaks::is_declared(method::GET_BLOCK_EFFECTS));
}

/// Fault: two machines have one account, and neither knows what the other one sent. Of two transactions that spend one
/// note, one is included, and both know it.
#[tokio::test]
async fn of_two_copies_that_spend_one_note_one_pays_and_both_know_it() {
    let mut case = Case::new().await;
    let mut copy = Wallet::with_state(keys(2), case.wallet.state().clone());
    copy.set_clock(|| 0);
    case.transfer(300 * UNIT).await.unwrap();
    std::mem::swap(&mut case.wallet, &mut copy);
    let error = case.transfer(200 * UNIT).await.unwrap_err();
    assert!(error.to_string().contains("NODE-023"), "{error}");
    assert!(case.chain.build().is_empty());
    for _ in 0..2 {
        case.sync().await;
        assert_eq!((case.wallet.balance(), case.wallet.locked()), (220 * UNIT - FEE, 0));
        assert!(case.wallet.unreported().is_empty());
        std::mem::swap(&mut case.wallet, &mut copy);
    }
}

/// Fault: both machines pay one recipient, so their logs have one tag. The recipient finds both payments.
#[tokio::test]
async fn a_tag_that_two_copies_of_an_account_use_hides_no_payment() {
    let mut case = Case::new().await;
    let mut copy = Wallet::with_state(keys(2), case.wallet.state().clone());
    copy.set_clock(|| 0);
    let first = case.transfer(100 * UNIT).await.unwrap();
    assert!(case.chain.build().is_empty());
    std::mem::swap(&mut case.wallet, &mut copy);
    case.sync().await;
    let second = case.transfer(50 * UNIT).await.unwrap();
    assert_eq!(first.effects().tags[0], second.effects().tags[0]);
    assert!(case.chain.build().is_empty());
    let mut recipient = Wallet::new(keys(1));
    recipient.sync(&case.node).await.unwrap();
    assert_eq!(recipient.balance(), 150 * UNIT);
}
