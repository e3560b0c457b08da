//! Notes of contracts out of blocks.

use rollmill_protocol::tx::SLOTS;
use rollmill_protocol::{BlockBody, BlockData, Fr};
use rollmill_protocol_testing::value;
use rollmill_pxe_store::{Header, StoredNote};
use serde_json::json;

use super::town::{MadeUp, Town, artifact, json};
use crate::contracts::discover::{self, Known};
use crate::contracts::owners::Owners;
use crate::contracts::*;

/// A transaction that mints an amount for an account.
fn minted(town: &Town, to: usize, amount: u64) -> BlockBody {
    let arguments = json!({ "to": json(&town.accounts[to]), "amount": amount });
    let call = town.token_call("mint", arguments);
    let done = town.transaction(0, call).expect("a transaction");
    BlockBody { effects: done.effects, logs: done.logs }
}

/// Reads a block of these transactions, whose leaves are the tree's last ones.
fn read(town: &Town, number: u64, txs: Vec<BlockBody>) {
    let mut header = town.environment.anchor.clone();
    header.block_number = number;
    header.state.tx_state.note_count = number * SLOTS as u64;
    let block = BlockData { header, txs };
    let scope = town.scope();
    let (owners, contracts, mut known) = {
        let view = town.store.view(&scope).expect("a view");
        let mut known = Known::new();
        for account in scope.accounts() {
            let notes = view.notes(account).expect("notes").into_iter();
            known.insert(*account, notes.map(|stored| stored.note.nullifier).collect());
        }
        let contracts = view.contracts().expect("contracts").into_iter();
        let contracts: Vec<Fr> = contracts.map(|(address, _)| address).collect();
        (Owners::read(&view, &scope).expect("owners"), contracts, known)
    };
    let row = Header { number, hash: block.header.hash(), slot: number };
    let read = town.store.read_block(&scope, &row, |step| {
        discover::read_block(step, &block, owners.all(), &contracts, &mut known)
    });
    read.expect("a block");
}

/// The notes of the token that an account can spend.
fn spendable(town: &Town, holder: usize) -> Vec<StoredNote> {
    let scope = town.scope();
    let view = town.store.view(&scope).expect("a view");
    let notes = view.spendable(&town.account(holder), &town.token, &town.accounts[holder]);
    notes.expect("notes")
}

/// A transaction that does nothing but publish a nullifier.
fn publishing(town: &Town, nullifier: Fr) -> BlockBody {
    let mut body = minted(town, 0, 1);
    let absent = [Fr::from(0u64); SLOTS];
    body.effects.note_hashes = absent;
    (body.effects.tags, body.effects.log_hashes) = (absent, absent);
    body.effects.nullifiers = absent;
    body.effects.nullifiers[0] = value(60, 0);
    body.effects.nullifiers[1] = nullifier;
    body.logs = Vec::new();
    body
}

/// Goal: who receives a note of a contract finds it, and sees it spent. Method: the effects of a simulated transaction.
#[test]
fn a_note_of_a_contract_is_found_and_spent() {
    let town = Town::new();
    let body = minted(&town, 1, 50);
    let leaves = body.effects.note_hashes;
    read(&town, 1, vec![body]);
    assert!(spendable(&town, 0).is_empty());
    let found = spendable(&town, 1);
    let [stored] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(stored.note.content[0], Fr::from(50u64));
    let at = leaves.iter().position(|leaf| *leaf == stored.note.unique).expect("a leaf");
    assert_eq!(stored.leaf_index, at as u64);
    read(&town, 2, vec![publishing(&town, stored.note.nullifier)]);
    assert!(spendable(&town, 1).is_empty());
    // A reorganization takes that back, and then the note itself.
    town.store.rewind(1).expect("undone");
    assert_eq!(spendable(&town, 1), found);
    town.store.rewind(0).expect("undone");
    assert!(spendable(&town, 1).is_empty());
}

/// Goal: a note that came before its contract was known is not lost.
#[test]
fn a_note_of_an_unknown_contract_waits_for_its_registration() {
    let town = Town::new();
    let body = minted(&town, 1, 50);
    let scope = town.scope();
    let row = {
        let view = town.store.view(&scope).expect("a view");
        instance(&view, &town.token).expect("the token")
    };
    remove(&town.store, &town.token).expect("removed");
    read(&town, 1, vec![body]);
    assert!(spendable(&town, 1).is_empty());
    let unknown = decode_deferred(&town.store, &scope, &town.token).expect_err("not registered");
    assert_eq!(unknown.code(), "PXE-048");
    let json = artifact("token");
    let class = class_of(&json, &MadeUp).expect("a class");
    register(&town.store, (&class, &json), &row, Some(&town.token)).expect("registered");
    let others = decode_deferred(&town.store, &scope, &town.accounts[0]).expect("decoded");
    assert!(others.is_empty());
    let found = decode_deferred(&town.store, &scope, &town.token).expect("decoded");
    let [note] = found.as_slice() else { panic!("{found:?}") };
    let stored = spendable(&town, 1);
    assert_eq!(stored.len(), 1);
    assert_eq!((note.block, note.nullifier), (1, stored[0].note.nullifier));
    let again = decode_deferred(&town.store, &scope, &town.token).expect("decoded");
    assert!(again.is_empty());
    town.store.rewind(0).expect("undone");
    assert!(spendable(&town, 1).is_empty());
}

/// Goal: nobody makes a wallet believe in a note that its transaction does not make.
#[test]
fn a_log_without_its_note_gives_none() {
    let town = Town::new();
    let mut body = minted(&town, 1, 50);
    for leaf in &mut body.effects.note_hashes {
        *leaf += Fr::from(1u64);
    }
    read(&town, 1, vec![body]);
    assert!(spendable(&town, 1).is_empty());
}
