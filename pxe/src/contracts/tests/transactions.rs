//! Whole transactions of an account and a token, to the effects that the network would see.

use std::cell::Cell;

use ark_ff::Zero;
use rollmill_acir::private::{args_hash, selector};
use rollmill_protocol::tx::log_hash;
use rollmill_protocol::{Fr, Note};
use rollmill_protocol_testing::value;
use serde_json::json;

use super::town::{HELD, Town, json, nonce, terms};
use crate::contracts::*;
use crate::keys::Keys;
use crate::logs;

/// Goal: the wallet's answers make a valid transaction. Method: the account mints for itself, and reads its own log.
#[test]
fn an_account_mints_and_finds_the_note_in_its_log() {
    let town = Town::new();
    let call = town.token_call("mint", json!({ "to": json(&town.accounts[0]), "amount": 50 }));
    let done = town.transaction(0, call).expect("a transaction");
    assert_eq!(done.calls().len(), 2);
    assert_eq!(done.effects.fee_payer, town.accounts[0]);
    let notes = &done.calls()[1].execution().call().note_hashes;
    let logs: Vec<_> = done.effects.log_hashes.iter().filter(|hash| !hash.is_zero()).collect();
    assert_eq!(done.logs.len(), logs.len());
    assert!(done.logs.iter().zip(&logs).all(|(log, hash)| log_hash(log) == **hash));
    let keys = Keys::from_master(&town.keys[0]);
    let found: Vec<_> = done.logs.iter().filter_map(|log| logs::decrypt(&keys, log)).collect();
    let [found] = found.as_slice() else { panic!("{} logs are readable", found.len()) };
    let (owner, randomness) = (town.accounts[0], found.randomness);
    assert_eq!(found.value, 50);
    assert_eq!(notes[0].value, Note { owner, value: 50, randomness }.hash());
    assert_eq!(done.tags.len(), 1);
}

#[test]
fn a_transfer_spends_the_note_that_the_store_has() {
    let mut town = Town::new();
    let spent = town.hold(0);
    let arguments = json!({ "to": json(&town.accounts[1]), "amount": 30 });
    let call = town.token_call("transfer", arguments);
    let done = town.transaction(0, call).expect("a transaction");
    assert!(done.effects.nullifiers.contains(&spent));
    assert_eq!(done.notes.len(), 1);
    let values = |holder: usize| -> Vec<u64> {
        let keys = Keys::from_master(&town.keys[holder]);
        let read = done.logs.iter().filter_map(|log| logs::decrypt(&keys, log));
        read.map(|note| note.value).collect()
    };
    assert_eq!((values(0), values(1)), (vec![HELD - 30], vec![30]));
}

#[test]
fn what_is_burned_is_no_note_any_more() {
    let mut town = Town::new();
    let spent = town.hold(0);
    let call = town.token_call("burn", json!({ "amount": 30 }));
    let done = town.transaction(0, call).expect("a transaction");
    assert!(done.effects.nullifiers.contains(&spent));
    let keys = Keys::from_master(&town.keys[0]);
    let left: Vec<u64> = done
        .logs
        .iter()
        .filter_map(|log| logs::decrypt(&keys, log))
        .map(|note| note.value)
        .collect();
    assert_eq!(left, [HELD - 30]);
    let call = town.token_call("burn", json!({ "amount": HELD + 1 }));
    assert_eq!(town.transaction(0, call).expect_err("more than there is").code(), "ACR-022");
}

/// Goal: nothing of an account moves unless it allowed that very call.
#[test]
fn an_authorization_moves_notes_once_it_was_given_and_only_as_it_says() {
    let mut town = Town::new();
    let spent = town.hold(1);
    let [caller, holder] = town.accounts;
    let arguments = |amount: u64| json!({ "from": json(&holder), "to": json(&caller), "amount": amount, "nonce": 77 });
    let call = town.token_call("transfer_from", arguments(30));
    let before = town.transaction(0, call.clone()).expect_err("not allowed");
    assert!(matches!(before, ContractError::NotAllowed { account, .. } if account == holder));
    let authorization = Authorization {
        account: holder,
        contract: town.token,
        selector: selector("transfer_from").expect("short"),
        caller,
        args_hash: args_hash(&call.args),
        chain_id: town.environment.anchor.chain_id,
        version: town.environment.anchor.version,
    };
    allow(&town.store, &town.scope(), &authorization, &nonce(5)).expect("allowed");
    let other = town.token_call("transfer_from", arguments(31));
    let error = town.transaction(0, other).expect_err("another amount");
    assert_eq!(error.code(), "PXE-059");
    let done = town.transaction(0, call.clone()).expect("a transaction");
    assert_eq!(done.calls().len(), 3);
    assert!(done.effects.nullifiers.contains(&spent));
    assert!(disallow(&town.store, &town.scope(), &authorization).expect("removed"));
    assert_eq!(town.transaction(0, call).expect_err("removed").code(), "PXE-059");
}

/// Goal: whoever asks learns which assertion failed, and where.
#[test]
fn a_failed_assertion_names_its_message_and_its_line() {
    let town = Town::new();
    let call = town.token_call("mint", json!({ "to": json(&town.accounts[1]), "amount": 50 }));
    let error = town.transaction(1, call).expect_err("only the first account mints");
    assert_eq!(error.code(), "ACR-022");
    let text = error.to_string();
    assert!(text.contains("the caller may not mint") && text.contains("main.nr:"), "{text}");
}

#[test]
fn an_execution_that_nobody_wants_stops() {
    let town = Town::new();
    let call = town.token_call("mint", json!({ "to": json(&town.accounts[0]), "amount": 50 }));
    let request = town.request(0, &[call]);
    for times in [0, 1, 100] {
        let asked = Cell::new(0);
        let goes_on = || {
            asked.set(asked.get() + 1);
            asked.get() <= times
        };
        let of = (&town.store, &town.scope());
        let limits = Limits::default();
        let stopped = execute(of, &request, &town.environment, limits, [3; 32], &goes_on);
        assert_eq!(stopped.expect_err("stopped").code(), "PXE-058");
    }
}

/// Goal: contracts that call each other have an end. Method: bounds below what a transaction needs.
#[test]
fn calls_have_a_depth_and_a_number() {
    let town = Town::new();
    let call = town.token_call("mint", json!({ "to": json(&town.accounts[0]), "amount": 50 }));
    let request = town.request(0, &[call]);
    let scope = town.scope();
    let with = |depth: usize, calls: usize| {
        let limits = Limits { depth, calls };
        let of = (&town.store, &scope);
        execute(of, &request, &town.environment, limits, [3; 32], &|| true)
    };
    with(2, 2).expect("two calls, one in the other");
    assert!(matches!(with(1, 2), Err(ContractError::Depth { max: 1 })));
    assert!(matches!(with(2, 1), Err(ContractError::Calls { max: 1 })));
}

/// Goal: a wrong note in the store makes no wrong transaction.
#[test]
fn a_note_that_is_not_in_the_anchors_tree_is_no_transaction() {
    let mut town = Town::new();
    town.hold(0);
    let call = town.token_call("transfer", json!({ "to": json(&town.accounts[1]), "amount": 30 }));
    let request = town.request(0, &[call]);
    let executed = town.execute(&town.scope(), &request).expect("executed");
    let [leaf] = executed.leaves()[..] else { panic!("one note is read") };
    let mut paths = town.paths.clone();
    let path = paths.get_mut(&leaf.leaf_index).expect("its path");
    path[0] = value(1, 1);
    let error = executed.join(&paths).expect_err("another tree");
    assert!(matches!(error, ContractError::Path { leaf_index } if leaf_index == leaf.leaf_index));
    let executed = town.execute(&town.scope(), &request).expect("executed");
    assert_eq!(executed.join(&Default::default()).expect_err("no path").code(), "PXE-061");
}

#[test]
fn an_account_makes_at_most_four_calls() {
    let town = Town::new();
    let call = ContractCall {
        contract: town.token,
        selector: Fr::from(1u64),
        args: Vec::new(),
        is_static: false,
    };
    let calls = vec![call; 5];
    let random = [value(89, 0), value(89, 1)];
    let request =
        CallRequest::of_account(&town.environment, town.accounts[0], &calls, terms(true), random);
    assert!(matches!(request, Err(ContractError::TooManyCalls { max: 4, got: 5 })));
}

#[test]
fn a_function_that_is_not_there_is_named_with_those_that_are() {
    let town = Town::new();
    let call = ContractCall {
        contract: town.token,
        selector: selector("freeze").expect("short"),
        args: Vec::new(),
        is_static: false,
    };
    let error = town.transaction(0, call).expect_err("no such function");
    assert_eq!(error.code(), "PXE-051");
    assert!(error.to_string().contains("transfer_from"), "{error}");
}

/// Goal: two transactions take no note and no tag twice, and what was given up is free.
#[test]
fn what_a_transaction_takes_is_taken_once() {
    let mut town = Town::new();
    town.hold(0);
    let scope = town.scope();
    let call = town.token_call("transfer", json!({ "to": json(&town.accounts[1]), "amount": 30 }));
    let done = town.transaction(0, call.clone()).expect("a transaction");
    let indices: Vec<u64> = done.tags.iter().map(|tag| tag.index).collect();
    assert_eq!(indices, [0, 0]);
    let of = (town.account(0), &b"an order"[..]);
    let intent = plan(&town.store, &scope, &done, of).expect("planned");
    // Its note is held, and its tags are used.
    assert!(plan(&town.store, &scope, &done, of).is_err());
    let view = town.store.view(&scope).expect("a view");
    let free = view.spendable(&town.account(0), &town.token, &town.accounts[0]).expect("notes");
    assert!(free.is_empty());
    drop(view);
    let error = town.transaction(0, call.clone()).expect_err("no note is left");
    assert!(error.to_string().contains("subtract with overflow"), "{error}");
    let mint = town.token_call("mint", json!({ "to": json(&town.accounts[1]), "amount": 1 }));
    let next = town.transaction(0, mint.clone()).expect("a transaction");
    assert_eq!(next.tags[0].index, 1);
    abandon(&town.store, &scope, &intent).expect("given up");
    assert_eq!(town.transaction(0, mint).expect("a transaction").tags[0].index, 0);
    let stale = plan(&town.store, &scope, &next, of).expect_err("tags of another order");
    assert_eq!(stale.code(), "PXS-012");
    let again = town.transaction(0, call).expect("the note is free");
    let intent = plan(&town.store, &scope, &again, of).expect("planned");
    // A process that is killed here leaves it planned; the next one gives it up.
    assert_eq!(abandon_planned(&town.store, &scope).expect("given up"), 1);
    assert!(abandon(&town.store, &scope, &intent).is_err(), "it is given up already");
    let intent = plan(&town.store, &scope, &again, of).expect("planned");
    ready(&town.store, &scope, &intent, (&value(1, 2), &[1, 2, 3]), false).expect("ready");
    assert_eq!(abandon_planned(&town.store, &scope).expect("none"), 0);
    assert!(abandon(&town.store, &scope, &intent).is_err(), "it may have left");
}
