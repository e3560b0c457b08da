//! What leaves the wallet, compared for two payments that have nothing in common: requests to the node, and the bytes of
//! the transaction, which go on to L1.

use std::collections::BTreeSet;

use rollmill_node_client::wire::method;
use rollmill_protocol::field::to_bytes;
use serde_json::Value;

use super::*;
use crate::wallet::spend::ANCHOR_STEP;

/// Who pays whom how much, and what must not be seen.
struct Transfer {
    from: u8,
    to: u8,
    amount: u64,
}

/// What left the wallet.
struct Left {
    requests: Vec<(String, Vec<Value>)>,
    tx: Tx,
    /// Words that occur nowhere in it.
    secrets: Vec<(&'static str, Vec<u8>)>,
}

/// One account has a note that is enough, the other needs two.
const ONE: Transfer = Transfer { from: 1, to: 3, amount: 123_456_789_012_345 };
const TWO: Transfer = Transfer { from: 2, to: 4, amount: 987_654_321_098_765 };

fn genesis() -> Ledger {
    let notes = vec![
        genesis_note(5, UNIT),
        genesis_note(1, 400_000 * UNIT),
        genesis_note(2, 600_000 * UNIT),
        genesis_note(5, 7 * UNIT),
        genesis_note(2, 500_000 * UNIT),
    ];
    Ledger::new(notes, &[], 1, Fr::zero())
}

/// A payment on a chain that is the same each time, from the first request of a new wallet to the included
/// transaction.
async fn pay(of: &Transfer, blocks: u64) -> Left {
    let shutdown = Shutdown::new();
    let chain = Node::new(genesis());
    for slot in 1..=blocks {
        chain.ledger().publish(slot, &[]);
    }
    let node = NodeClient::new(&chain.serve(&shutdown).await).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let mut wallet = Wallet::new(keys(of.from));
    wallet.set_clock(|| 0);
    wallet.sync(&node).await.unwrap();
    let held: Vec<OwnedNote> = wallet.notes().to_vec();
    let to = keys(of.to).address();
    let tx = wallet.transfer(&node, &CheckedOnly, &to, of.amount, &mut rng).await.unwrap();
    wallet.sync(&node).await.unwrap();
    assert!(chain.build().is_empty());
    wallet.sync(&node).await.unwrap();
    let requests = std::mem::take(&mut chain.pool().requests);
    shutdown.start();
    let word = |word: Fr| to_bytes(&word).to_vec();
    let from = keys(of.from);
    let mut secrets = vec![
        ("the sender's address", word(owner(of.from))),
        ("the recipient's address", word(owner(of.to))),
        ("the sender's first key", word(from.address().npk)),
        ("the recipient's first key", word(to.npk)),
        ("the sender's nullifier key", word(from.nsk)),
        ("the sender's viewing key", point_to_bytes(&from.address().vpk).to_vec()),
        ("the recipient's viewing key", point_to_bytes(&to.vpk).to_vec()),
        ("the amount", of.amount.to_be_bytes().to_vec()),
        ("the amount", of.amount.to_le_bytes().to_vec()),
    ];
    for own in held {
        let note = Note { owner: owner(of.from), value: own.value, randomness: own.randomness };
        let origin = NoteOrigin { first_nullifier: own.first_nullifier, index: own.index_in_tx };
        secrets.push(("a note that is spent", word(note.hash())));
        secrets.push(("the leaf of a note that is spent", word(note.unique(&origin))));
        secrets.push(("the value of a note that is spent", own.value.to_be_bytes().to_vec()));
    }
    // Those that the payment makes, as recipient and sender read them.
    for name in [of.from, of.to] {
        let read = tx.body.logs.iter().filter_map(|log| logs::decrypt(&keys(name), log));
        for found in read {
            let (value, randomness) = (found.value, found.randomness);
            let note = Note { owner: owner(name), value, randomness };
            secrets.push(("the hash of a new note", word(note.hash())));
            secrets.push(("the randomness of a new note", word(randomness)));
        }
    }
    Left { requests, tx, secrets }
}

/// The effects without the words that differ from payment to payment, which are all that [`random`] returns.
fn form(effects: &TxEffects) -> TxEffects {
    let none = [Fr::zero(); SLOTS];
    TxEffects {
        nullifiers: none,
        note_hashes: none,
        tags: none,
        log_hashes: none,
        refund_partial: Fr::zero(),
        ..effects.clone()
    }
}

/// The words of the effects that look random, in order.
fn random(effects: &TxEffects) -> Vec<Fr> {
    let lists =
        [effects.nullifiers, effects.note_hashes, effects.tags, effects.log_hashes].concat();
    lists.into_iter().chain([effects.refund_partial]).collect()
}

/// Whether these bytes occur in those.
fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn compare_requests(one: &Left, two: &Left) {
    let names = |left: &Left| -> Vec<String> {
        left.requests.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(one), names(two), "the same methods in the same order");
    assert!(!names(one).contains(&method::GET_NOTE_PATH.to_owned()));
    let named = [method::SEND_TRANSACTION, method::GET_TRANSACTION_STATUS];
    for ((name, first), (_, second)) in one.requests.iter().zip(&two.requests) {
        let bytes = |parameters: &[Value]| serde_json::to_vec(parameters).unwrap();
        assert_eq!(bytes(first).len(), bytes(second).len(), "{name}");
        if named.contains(&name.as_str()) {
            assert_ne!(first, second, "{name} names another transaction");
        } else {
            assert_eq!(first, second, "{name} says the same whoever asks");
        }
    }
    for left in [one, two] {
        let mut sent = Vec::new();
        for (_, parameters) in &left.requests {
            sent.extend(serde_json::to_vec(parameters).unwrap());
        }
        for (what, secret) in &left.secrets {
            assert!(!contains(&sent, hex::encode(secret).as_bytes()), "{what} is in a request");
        }
    }
}

fn compare_transactions(one: &Left, two: &Left) {
    let (first, second) = (one.tx.effects(), two.tx.effects());
    assert_eq!(form(first), form(second));
    assert_eq!(one.tx.to_bytes().len(), two.tx.to_bytes().len());
    assert_eq!(one.tx.body.logs.len(), two.tx.body.logs.len());
    let outside =
        |tx: &Tx| (tx.chain_id, tx.version, tx.anchor_header_hash, tx.proof_kind, tx.pair);
    assert!(outside(&one.tx) == outside(&two.tx), "anchor, kind of proof and pair are the same");
    let (first, second) = (random(first), random(second));
    let present = |words: &[Fr]| words.iter().map(|word| !word.is_zero()).collect::<Vec<_>>();
    assert_eq!(present(&first), present(&second), "as many words in each place");
    // With one seed, what is not the sender's own differs too: no word shows that two payments are of one account.
    let words = |words: &[Fr]| -> BTreeSet<Fr> {
        words.iter().copied().filter(|word| !word.is_zero()).collect()
    };
    assert!(words(&first).is_disjoint(&words(&second)));
    let count = |words: &[Fr]| words.iter().filter(|word| !word.is_zero()).count();
    assert_eq!(words(&first).len(), count(&first), "no word twice");
    for left in [one, two] {
        let bytes = left.tx.to_bytes();
        for (what, secret) in &left.secrets {
            assert!(!contains(&bytes, secret), "{what} is in the transaction");
        }
    }
}

/// Goal: neither the node nor L1 learns from a transfer who pays whom how much, or with how many notes. Method: two
/// payments on equal chains with equal random numbers; sender, recipient, amount, notes and their places differ.
#[tokio::test]
async fn what_leaves_the_wallet_has_one_form_whoever_pays_whom_and_how_much() {
    for blocks in [1, ANCHOR_STEP + 3] {
        let (one, two) = (pay(&ONE, blocks).await, pay(&TWO, blocks).await);
        compare_requests(&one, &two);
        compare_transactions(&one, &two);
        // What is searched for is found where it is: the test can fail.
        let sender = to_bytes(&owner(ONE.from));
        assert!(contains(&[&[1], &sender[..], &[2]].concat(), &sender));
    }
}

/// Goal: a node that leaves out a note hash, or changes one, is noticed at that block, and what was read stays.
#[test]
fn a_node_that_leaves_out_a_note_is_noticed() {
    let mut ledger = genesis();
    let paid = body(&[Fr::from(1u64)], &[payment(&keys(1), &keys(2), 20 * UNIT, 0)]);
    ledger.publish(1, &[]);
    ledger.publish(2, &[paid]);
    let mut wallet = Wallet::new(keys(2));
    wallet.state.next_block = 1;
    wallet.state.network = to_hex(&ledger.header(0).unwrap().hash());
    wallet.read_genesis(&ledger.genesis);
    // A genesis with one note less is noticed at the first block.
    let mut shorter = ledger.genesis.clone();
    shorter.notes.pop();
    wallet.start_tree(&shorter).unwrap();
    let blocks: Vec<BlockEffects> = ledger.blocks().iter().map(BlockEffects::of).collect();
    let error = wallet.read_block(&blocks[0]).unwrap_err();
    assert!(matches!(error, PxeError::NoteRoot { block: 1, .. }), "{error}");
    assert_eq!(error.code(), "PXE-080");
    let genesis = ledger.genesis.clone();
    wallet.start_tree(&genesis).unwrap();
    wallet.read_block(&blocks[0]).unwrap();
    let before = wallet.notes().to_vec();
    // The transactions of a block are bound to its header by their hashes, its leaves by the root: a header with
    // another root is what a node would have to make up.
    let mut lying = ledger.blocks()[1].clone();
    lying.header.state.tx_state.note_root += Fr::from(1u64);
    let error = wallet.read_block(&BlockEffects::of(&lying)).unwrap_err();
    assert!(matches!(error, PxeError::NoteRoot { block: 2, .. }), "{error}");
    assert_eq!((wallet.notes(), wallet.last_block()), (before.as_slice(), 1));
    wallet.read_block(&blocks[1]).unwrap();
    assert_eq!(wallet.last_block(), 2);
}

/// Goal: the state of an earlier release, which has no tree, is made whole by the next sync, and its notes can be spent.
#[tokio::test]
async fn a_state_without_a_tree_reads_the_leaves_again() {
    let mut case = super::sent::Case::new().await;
    for slot in 2..22 {
        case.chain.ledger().publish(slot, &[]);
    }
    case.sync().await;
    case.wallet.state.tree = None;
    case.sync().await;
    case.transfer(510 * UNIT).await.unwrap();
    assert!(case.chain.build().is_empty());
    case.sync().await;
    let spent = case.wallet.notes().iter().filter(|note| note.spent_in.is_some());
    assert_eq!(spent.count(), 2);
    case.wallet.state.tree = None;
    let error = case.transfer(UNIT).await.unwrap_err();
    assert_eq!(error.code(), "PXE-081");
}
