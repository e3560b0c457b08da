//! What a contract may ask of a wallet. The oracles are asked as a contract of another author would: with any words.

use rollmill_acir::private::{Answer, WordOracles};
use rollmill_protocol::note::npk;
use rollmill_protocol::{Fr, Log};
use rollmill_protocol_testing::value;
use rollmill_pxe_store::Scope;

use super::town::Town;
use crate::contracts::executor::{Called, asking};
use crate::contracts::*;
use crate::keys::Keys;
use crate::logs;

/// Asks an oracle as the token that account 0 calls. Returns the answer, or the code of the error.
fn ask(
    town: &Town,
    scope: &Scope,
    contract: Fr,
    oracle: &str,
    inputs: &[&[Fr]],
) -> Result<Answer, String> {
    let request = town.request(0, &[]);
    let called = Called {
        contract,
        selector: Fr::from(1u64),
        sender: town.accounts[0],
        is_static: Fr::from(0u64),
        args: Vec::new(),
        start: Fr::from(0u64),
    };
    let inputs: Vec<Vec<Fr>> = inputs.iter().map(|words| words.to_vec()).collect();
    let of = (&town.store, scope);
    asking(of, &request, &town.environment, &called, |frame| match frame.answer(oracle, &inputs) {
        Ok(answer) => Ok(answer),
        Err(_) => Err(frame
            .failure
            .take()
            .map_or("ACR-020".to_string(), |failure| failure.code().to_string())),
    })
    .expect("an executor")
}

/// The code for what is another account's or another contract's.
const REFUSED: &str = "PXE-056";

fn rejected(code: &str) -> Result<Answer, String> {
    Err(code.to_string())
}

#[test]
fn a_contract_gets_keys_and_notes_for_itself_only() {
    let mut town = Town::new();
    town.hold(0);
    let (scope, token) = (town.scope(), town.token);
    let public = npk(&town.keys[0].nullifier());
    let ask = |oracle: &str, inputs: &[&[Fr]]| ask(&town, &scope, token, oracle, inputs);
    let own = rollmill_protocol::private::app_key(&town.keys[0].nullifier(), &token);
    let key = ask("rollmill_get_app_key", &[&[public], &[token]]);
    assert_eq!(key, Ok(Answer::Word(own)));
    let other = value(70, 0);
    assert_eq!(ask("rollmill_get_app_key", &[&[public], &[other]]), rejected(REFUSED));
    assert_eq!(ask("rollmill_get_app_key", &[&[other], &[token]]), rejected(REFUSED));
    let (owner, amount, count) = (town.accounts[0], Fr::from(1u64), Fr::from(2u64));
    let notes = ask("rollmill_get_notes", &[&[token], &[owner], &[amount], &[count]]);
    let Ok(Answer::Words(words)) = notes else { panic!("{notes:?}") };
    assert_eq!((words.len(), words[0], words[5]), (10, Fr::from(1u64), Fr::from(0u64)));
    let notes = ask("rollmill_get_notes", &[&[other], &[owner], &[amount], &[count]]);
    assert_eq!(notes, rejected(REFUSED));
    let notes = ask("rollmill_get_notes", &[&[token], &[other], &[amount], &[count]]);
    assert_eq!(notes, rejected(REFUSED));
    let many = Fr::from(1_000_000_000u64);
    let notes = ask("rollmill_get_notes", &[&[token], &[owner], &[amount], &[many]]);
    assert_eq!(notes, rejected("PXE-057"));
}

/// Goal: nothing of an account that the request may not use. Method: each oracle that names an account, with one that
/// is in the store and not in the scope.
#[test]
fn an_account_out_of_scope_is_rejected_by_each_oracle() {
    let mut town = Town::new();
    town.hold(1);
    let scope = Scope::of([town.account(0)]);
    let (token, out) = (town.token, town.accounts[1]);
    let public = npk(&town.keys[1].nullifier());
    let one = Fr::from(1u64);
    let asked: [(&str, Fr, &[&[Fr]]); 5] = [
        ("rollmill_get_account", token, &[&[out]]),
        ("rollmill_get_app_key", token, &[&[public], &[token]]),
        ("rollmill_get_notes", token, &[&[token], &[out], &[one], &[one]]),
        ("rollmill_get_signing_key", out, &[&[out]]),
        ("rollmill_get_auth_witness", out, &[&[out], &[one]]),
    ];
    for (oracle, contract, inputs) in asked {
        assert_eq!(ask(&town, &scope, contract, oracle, inputs), rejected(REFUSED), "{oracle}");
        // With the account in the scope there is an answer, or the account has not allowed it.
        let within = ask(&town, &town.scope(), contract, oracle, inputs);
        assert!(within.is_ok() || within == rejected("PXE-059"), "{oracle}: {within:?}");
    }
}

/// Goal: no contract gets a signature that its owner did not mean. Method: another contract asks, and the account's own
/// with another message.
#[test]
fn only_an_accounts_own_contract_gets_signatures_and_only_of_what_was_asked_for() {
    let town = Town::new();
    let (scope, own) = (town.scope(), town.accounts[0]);
    let entry = town.request(0, &[]).entry.expect("a message");
    let witness = |contract: Fr, message: Fr| {
        ask(&town, &scope, contract, "rollmill_get_auth_witness", &[&[own], &[message]])
    };
    let Ok(Answer::Words(words)) = witness(own, entry) else { panic!("no signature") };
    assert_eq!(words.len(), 3);
    assert_eq!(witness(town.token, entry), rejected(REFUSED));
    assert_eq!(witness(own, value(70, 1)), rejected("PXE-059"));
}

#[test]
fn a_log_is_in_the_name_of_the_caller_and_for_whom_the_wallet_knows() {
    let town = Town::new();
    let (scope, token, own) = (town.scope(), town.token, town.accounts[0]);
    let (amount, random) = (Fr::from(5u64), value(70, 2));
    let seal = |contract: Fr, sender: Fr, owner: Fr| {
        let inputs: [&[Fr]; 5] = [&[contract], &[sender], &[owner], &[amount], &[random]];
        ask(&town, &scope, token, "rollmill_seal_note", &inputs)
    };
    let Ok(Answer::Words(words)) = seal(token, own, town.accounts[1]) else { panic!("no log") };
    assert_eq!(words.len(), 6);
    assert_eq!(seal(value(70, 3), own, own), rejected(REFUSED));
    assert_eq!(seal(token, town.accounts[1], own), rejected(REFUSED));
    assert_eq!(seal(token, own, value(70, 4)), rejected("PXE-057"));
    // An address that the user added is known, and the note's owner reads the log.
    let stranger = Keys::from_seed(&[8; 32]);
    let partial = value(70, 5);
    let keys = stranger.address();
    let added = add_contact(&town.store, town.account(0), (&keys, &partial), "stranger");
    let address = added.expect("added");
    let Ok(Answer::Words(words)) = seal(token, own, address) else { panic!("no log") };
    let log: Log = words[1..].try_into().expect("five words");
    let note = logs::decrypt(&stranger, &log).expect("readable");
    assert_eq!((note.value, note.randomness), (5, random));
}

#[test]
fn inputs_that_the_library_does_not_write_have_no_answer() {
    let town = Town::new();
    let scope = town.scope();
    let word = Fr::from(1u64);
    let asked: [(&str, &[&[Fr]]); 8] = [
        ("rollmill_get_account", &[]),
        ("rollmill_get_account", &[&[word, word]]),
        ("rollmill_get_app_key", &[&[word]]),
        ("rollmill_log_emitted", &[&[word; 4], &[word]]),
        ("rollmill_store_returns", &[&[word], &[word]]),
        ("rollmill_load_returns", &[&[word]]),
        ("rollmill_call_private", &[&[word], &[word], &[word], &[word], &[word], &[word]]),
        ("rollmill_call_prepared", &[&[word], &[word], &[word], &[word], &[word]]),
    ];
    for (oracle, inputs) in asked {
        let answer = ask(&town, &scope, town.token, oracle, inputs);
        assert_eq!(answer, rejected("PXE-057"), "{oracle}");
    }
    assert_eq!(ask(&town, &scope, town.token, "rollmill_get_seed", &[]), rejected("ACR-020"));
}
