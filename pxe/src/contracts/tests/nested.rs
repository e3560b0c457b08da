//! Transactions of several contracts, and contracts that say what is not so: each is rejected by the kernel's rule for
//! it. `protocol/tests/private.rs` and `circuits/tests/private.rs` break every rule in calls that are made by hand.

use rollmill_acir::private::{args_hash, selector};
use rollmill_protocol::Fr;
use rollmill_protocol::note::{NoteOrigin, unique};
use rollmill_protocol::private::{silo_note, silo_nullifier};
use rollmill_protocol::tx::log_hash;
use rollmill_protocol_testing::value;
use serde_json::{Value, json};

use super::town::{HELD, MadeUp, Town, deploy, json, nonce};
use crate::contracts::*;
use crate::keys::Keys;
use crate::logs;

pub(super) fn simulated(
    town: &Town,
    request: &CallRequest,
) -> Result<SimulatedTransaction, ContractError> {
    town.execute(&town.scope(), request)?.join(&town.paths)
}

/// A sponsor that pays at most so many units for a transaction.
pub(super) fn sponsor(town: &Town, limit: u64) -> Fr {
    deploy(&town.store, "sponsor", &[Fr::from(limit)], value(91, 1), &MadeUp)
}

/// The call by which a sponsor pays for a transaction of the town.
pub(super) fn sponsored(town: &Town, sponsor: Fr, limit: u64) -> ContractCall {
    let gas = town.environment.gas;
    let gas = json!({
        "max_fee_per_l2_gas": gas.max_fee_per_l2_gas,
        "max_fee_per_da_gas": gas.max_fee_per_da_gas,
        "l2_gas_limit": gas.l2_gas_limit,
        "da_gas_limit": gas.da_gas_limit,
        "l2_teardown_gas_limit": gas.l2_teardown_gas_limit,
        "da_teardown_gas_limit": gas.da_teardown_gas_limit,
    });
    town.call_of(sponsor, "sponsor", json!({ "gas": gas, "limit": limit }))
}

/// The most that a transaction of the town can be charged.
pub(super) fn max_fee(town: &Town) -> u64 {
    u64::try_from(town.environment.gas.max_fee()).expect("a fee")
}

#[test]
fn a_sponsor_pays_for_whoever_calls_it() {
    let mut town = Town::new();
    town.hold(1);
    let limit = max_fee(&town);
    let sponsor = sponsor(&town, limit);
    let transfer =
        town.token_call("transfer", json!({ "to": json(&town.accounts[0]), "amount": 30 }));
    let calls = [sponsored(&town, sponsor, limit), transfer];
    let done = simulated(&town, &town.request_that(1, &calls, false)).expect("a transaction");
    assert_eq!(done.calls().len(), 3);
    assert_eq!(done.effects.fee_payer, sponsor);
    // Without it nobody pays.
    let [_, transfer] = calls;
    let nobody = simulated(&town, &town.request_that(1, &[transfer], false));
    assert_eq!(nobody.expect_err("nobody pays").code(), "PRO-238");
}

/// Goal: a sponsor pays no more than it was made for. Method: a limit below the fee, another limit than its own, and
/// other gas settings than the transaction's.
#[test]
fn a_sponsor_pays_within_its_limit_only() {
    let mut town = Town::new();
    let limit = max_fee(&town);
    let text = |town: &Town, call: ContractCall| {
        let request = town.request_that(0, &[call], false);
        simulated(town, &request).expect_err("more than it pays").to_string()
    };
    let low = sponsor(&town, limit - 1);
    let error = text(&town, sponsored(&town, low, limit - 1));
    assert!(error.contains("the fee may be higher than what is paid"), "{error}");
    let error = text(&town, sponsored(&town, low, limit));
    assert!(error.contains("the limit is not that of the sponsor"), "{error}");
    let own = sponsor(&town, limit);
    let cheap = sponsored(&town, own, limit);
    town.environment.gas.max_fee_per_l2_gas += 1;
    let error = text(&town, cheap);
    assert!(error.contains("the gas settings are not those of the transaction"), "{error}");
    // Products beyond 64 bits are no small ones.
    town.environment.gas.max_fee_per_l2_gas = u64::MAX;
    town.environment.gas.l2_gas_limit = u64::MAX;
    let error = text(&town, sponsored(&town, own, limit));
    assert!(error.contains("the fee may be higher than what is paid"), "{error}");
}

#[test]
fn two_contracts_do_not_both_pay() {
    let town = Town::new();
    let limit = max_fee(&town);
    let call = sponsored(&town, sponsor(&town, limit), limit);
    let error = simulated(&town, &town.request_that(0, &[call], true)).expect_err("both pay");
    assert_eq!(error.code(), "PRO-224");
}

/// An escrow between the accounts, which has the second one's keys, and its terms.
fn escrow(town: &Town) -> (Fr, Value) {
    let [payer, recipient] = town.accounts;
    let init = [town.token, payer, recipient];
    let escrow = deploy(&town.store, "escrow", &init, town.keys[1].keys_hash(), &MadeUp);
    let [token, payer, recipient] = [town.token, payer, recipient].map(|word| json(&word));
    (escrow, json!({ "token": token, "payer": payer, "recipient": recipient }))
}

/// Goal: what is in an escrow moves by its own calls only. Method: the account calls the escrow, and that the token.
#[test]
fn an_escrow_releases_its_notes_to_the_recipient_when_the_payer_says_so() {
    let mut town = Town::new();
    let (escrow, terms) = escrow(&town);
    let spent = town.hold_at(1, escrow);
    let named = json!({ "terms": terms, "amount": 30 });
    let call = |function: &str| town.call_of(escrow, function, named.clone());
    let done = town.transaction(0, call("release")).expect("a transaction");
    let [entry, release, transfer] = done.calls() else { panic!("{} calls", done.calls().len()) };
    assert_eq!((entry.nested().len(), release.nested().len()), (0, 0), "they are in one list");
    let [release, transfer] = [release, transfer].map(|made| made.execution().call());
    assert_eq!((release.contract, release.sender), (escrow, town.accounts[0]));
    assert_eq!((transfer.contract, transfer.sender), (town.token, escrow));
    assert!(done.effects.nullifiers.contains(&spent));
    let keys = Keys::from_master(&town.keys[1]);
    let mut values: Vec<u64> = done
        .logs
        .iter()
        .filter_map(|log| logs::decrypt(&keys, log))
        .map(|note| note.value)
        .collect();
    values.sort_unstable();
    assert_eq!(values, [30, HELD - 30]);
    town.transaction(1, call("refund")).expect("the recipient returns it");
    for (caller, function) in [(1, "release"), (0, "refund")] {
        let error = town.transaction(caller, call(function)).expect_err("not the one who decides");
        assert_eq!(error.code(), "ACR-022");
        assert!(error.to_string().contains("the caller is not the"), "{error}");
    }
    let mut other = named.clone();
    other["terms"]["recipient"] = json(&town.accounts[0]);
    let error = town.transaction(0, town.call_of(escrow, "release", other));
    let error = error.expect_err("other terms").to_string();
    assert!(error.contains("the terms are not those of the escrow"), "{error}");
}

#[test]
fn an_escrow_takes_notes_that_the_payer_allowed_it_to_take() {
    let mut town = Town::new();
    let (escrow, terms) = escrow(&town);
    let spent = town.hold(0);
    let payer = town.accounts[0];
    let named = json!({ "terms": terms, "amount": 30, "nonce": 77 });
    let deposit = town.call_of(escrow, "deposit", named);
    let before = town.transaction(0, deposit.clone()).expect_err("not allowed");
    assert_eq!(before.code(), "PXE-059");
    let moved = json!({ "from": json(&payer), "to": json(&escrow), "amount": 30, "nonce": 77 });
    let moved = town.token_call("transfer_from", moved);
    let authorization = Authorization {
        account: payer,
        contract: town.token,
        selector: moved.selector,
        caller: escrow,
        args_hash: args_hash(&moved.args),
        chain_id: town.environment.anchor.chain_id,
        version: town.environment.anchor.version,
    };
    allow(&town.store, &town.scope(), &authorization, &nonce(5)).expect("allowed");
    let done = town.transaction(0, deposit).expect("a transaction");
    let contracts: Vec<Fr> =
        done.calls().iter().map(|made| made.execution().call().contract).collect();
    assert_eq!(contracts, [payer, escrow, town.token, payer]);
    assert!(done.effects.nullifiers.contains(&spent));
}

/// The request of a call of the probe, which pays for itself.
fn probed(town: &Town, function: &str, args: &[Fr]) -> (Fr, CallRequest) {
    let probe = deploy(&town.store, "probe", &[], value(91, 2), &MadeUp);
    let selector = selector(function).expect("a short name");
    let call = ContractCall { contract: probe, selector, args: args.to_vec(), is_static: false };
    (probe, CallRequest::direct(&town.environment, &call, value(89, 1)))
}

/// Goal: nothing of a note that is made and spent in one transaction is seen.
#[test]
fn a_note_that_is_spent_where_it_is_made_leaves_the_transaction_with_its_log() {
    let town = Town::new();
    let word = value(86, 0);
    let (probe, request) = probed(&town, "make_and_spend", &[word]);
    let done = simulated(&town, &request).expect("a transaction");
    let [made] = done.calls() else { panic!("one call") };
    let stated = made.execution().call();
    assert_eq!((stated.note_hashes[0].value, stated.nullifiers[0].nullified), (word, word));
    // The name of the nullifier that is looked for below.
    assert_eq!(stated.nullifiers[0].value, word + word);
    let effects = &done.effects;
    assert_eq!(effects.nullifiers[0], request.tx().hash());
    assert!(!effects.nullifiers.contains(&silo_nullifier(&probe, &(word + word))));
    let siloed = silo_note(&probe, &word);
    let first_nullifier = effects.nullifiers[0];
    for index in 0..8 {
        let leaf = unique(&NoteOrigin { first_nullifier, index }, &siloed);
        assert!(!effects.note_hashes.contains(&leaf), "at {index}");
    }
    let [one, two, three, four] = [1u64, 2, 3, 4].map(Fr::from);
    let log = [one, two, three, four, word];
    assert_eq!(stated.logs[0].log_hash, log_hash(&log));
    assert!(!effects.log_hashes.contains(&log_hash(&log)) && !done.logs.contains(&log));
}

#[test]
fn a_note_is_not_read_before_it_exists() {
    let town = Town::new();
    let (_, request) = probed(&town, "read_early", &[value(86, 1)]);
    assert_eq!(simulated(&town, &request).expect_err("too early").code(), "PRO-230");
}

/// Goal: a contract that was written without the library gains nothing by what it says about its calls. Method: each
/// lie of the probe, with the rule that it breaks.
#[test]
fn a_contract_that_lies_about_a_call_has_no_transaction() {
    let town = Town::new();
    let cases = [(1u64, "PRO-218"), (2, "PRO-213"), (3, "PRO-208"), (4, "PRO-208")];
    for (what, rule) in cases {
        let (_, request) = probed(&town, "lie", &[Fr::from(what), town.accounts[0]]);
        let error = simulated(&town, &request).expect_err("a lie");
        assert_eq!(error.code(), rule, "lie {what}");
    }
    let (_, request) = probed(&town, "lie", &[Fr::from(0u64), town.accounts[0]]);
    simulated(&town, &request).expect("the truth");
}

/// Goal: no contract runs another one's function as its own.
#[test]
fn the_function_of_another_contract_is_not_that_of_the_called_one() {
    let town = Town::new();
    let call = town.token_call("mint", json!({ "to": json(&town.accounts[0]), "amount": 1 }));
    let request = town.request(0, &[call]);
    let mut executed = town.execute(&town.scope(), &request).expect("executed");
    let of_account = executed.first.of_contract.clone();
    executed.first.nested[0].of_contract = of_account;
    assert_eq!(executed.join(&town.paths).expect_err("another contract").code(), "PRO-226");
}
