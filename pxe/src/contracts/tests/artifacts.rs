//! What is registered, and what is not believed of it.

use rollmill_protocol::Fr;
use rollmill_protocol_testing::value;
use rollmill_pxe_store::{Contract, Scope};
use serde_json::json;

use super::town::{MadeUp, Town, artifact, json};
use crate::contracts::*;

fn instance_of(class: &Class) -> Contract {
    Contract {
        class_id: *class.id(),
        salt: value(80, 0),
        init_hash: init_hash(&[]),
        deployer: value(80, 1),
        keys_hash: value(80, 2),
    }
}

#[test]
fn a_contract_is_registered_listed_and_forgotten_with_its_class() {
    let town = Town::new();
    let json = artifact("probe");
    let class = class_of(&json, &MadeUp).expect("a class");
    let contract = instance_of(&class);
    let got = register(&town.store, (&class, &json), &contract, None).expect("registered");
    assert_eq!(got, address(&contract));
    // Once more changes nothing.
    let again = register(&town.store, (&class, &json), &contract, Some(&got)).expect("again");
    assert_eq!(again, got);
    let scope = Scope::default();
    let listed = || town.store.view(&scope).expect("a view").contracts().expect("contracts");
    assert_eq!(listed().len(), 4);
    remove(&town.store, &got).expect("removed");
    assert_eq!(listed().len(), 3);
    assert_eq!(town.store.view(&scope).expect("a view").class(class.id()).expect("read"), None);
    assert!(matches!(remove(&town.store, &got), Err(ContractError::Unknown { .. })));
    // The class of the accounts has two contracts.
    remove(&town.store, &town.accounts[1]).expect("removed");
    let view = town.store.view(&scope).expect("a view");
    Book::default().deployed(&view, &town.accounts[0]).expect("its class stays");
}

#[test]
fn another_address_than_the_named_one_is_not_registered() {
    let town = Town::new();
    let json = artifact("probe");
    let class = class_of(&json, &MadeUp).expect("a class");
    let contract = instance_of(&class);
    let expected = address(&Contract { salt: value(80, 9), ..contract.clone() });
    let error = register(&town.store, (&class, &json), &contract, Some(&expected));
    let error = error.expect_err("another salt");
    assert!(matches!(error, ContractError::Address { expected: named, .. } if named == expected));
    let scope = Scope::default();
    assert_eq!(town.store.view(&scope).expect("a view").contracts().expect("read").len(), 3);
    let other = Contract { class_id: value(80, 7), ..contract };
    let error = register(&town.store, (&class, &json), &other, None).expect_err("another class");
    assert_eq!(error.code(), "PXE-049");
    let token = artifact("token");
    let contract = instance_of(&class);
    let error = register(&town.store, (&class, &token), &contract, None).expect_err("a token");
    assert_eq!(error.code(), "PXE-052");
}

/// Goal: no bytes make a class that is none. Method: cut, changed and foreign artifacts, and keys of no function.
#[test]
fn damaged_artifacts_are_no_classes() {
    let json = artifact("probe");
    for length in [0, 1, json.len() / 2, json.len() - 2] {
        assert!(class_of(&json[..length], &MadeUp).is_err(), "{length} bytes");
    }
    let program = br#"{"name":"main","abi":{"parameters":[]},"bytecode":""}"#;
    assert!(class_of(program, &MadeUp).is_err());
    let empty = br#"{"name":"Empty","functions":[]}"#;
    let error = class_of(empty, &MadeUp).expect_err("no functions");
    assert_eq!(error.code(), "PXE-053");
    let error = Class::new(&json, Vec::new()).expect_err("no keys");
    assert_eq!(error.code(), "PXE-053");
}

/// Goal: the id of a class is a hash of each of its parts, so the store cannot pass another one off as it.
#[test]
fn a_class_that_was_changed_in_the_store_is_not_read() {
    let json = artifact("probe");
    let class = class_of(&json, &MadeUp).expect("a class");
    let keys = class.keys();
    assert_eq!(Class::read(class.id(), &json, &keys).expect("unchanged").id(), class.id());
    let mut longer = json.clone();
    longer.push(b' ');
    let read = |json: &[u8], keys: &rollmill_pxe_store::ClassKeys| {
        Class::read(class.id(), json, keys).expect_err("changed").code().to_string()
    };
    assert_eq!(read(&longer, &keys), "PXE-052");
    let mut other = keys.clone();
    other.bytecode_commitment = value(80, 3);
    assert_eq!(read(&json, &other), "PXE-052");
    let mut other = keys.clone();
    other.functions[0].selector = Fr::from(5u64);
    assert_eq!(read(&json, &other), "PXE-052");
    let mut other = keys.clone();
    other.functions.swap(0, 1);
    assert_eq!(read(&json, &other), "PXE-052");
    let mut other = keys;
    other.functions[0].vk.pop();
    assert_eq!(read(&json, &other), "PXE-052");
}

#[test]
fn a_class_that_is_missing_is_an_error_with_its_id() {
    let town = Town::new();
    let contract = Contract {
        class_id: value(80, 4),
        salt: value(80, 0),
        init_hash: value(80, 1),
        deployer: value(80, 2),
        keys_hash: value(80, 3),
    };
    let at = address(&contract);
    let added = town.store.step(&Scope::default(), |step| step.set_contract(&at, &contract));
    added.expect("a row without a class");
    let mut call = town.token_call("mint", json!({ "to": json(&town.accounts[0]), "amount": 1 }));
    call.contract = at;
    let error = town.transaction(0, call).expect_err("no class");
    assert!(matches!(error, ContractError::NoClass { class_id } if class_id == value(80, 4)));
}

#[test]
fn a_row_with_another_contracts_address_is_damaged() {
    let town = Town::new();
    let scope = Scope::default();
    let row = {
        let view = town.store.view(&scope).expect("a view");
        instance(&view, &town.token).expect("the token")
    };
    let false_address = value(80, 6);
    let added = town.store.step(&scope, |step| step.set_contract(&false_address, &row));
    added.expect("a false row");
    let view = town.store.view(&scope).expect("a view");
    assert_eq!(instance(&view, &false_address).expect_err("false").code(), "PXE-052");
    assert_eq!(instance(&view, &value(80, 5)).expect_err("none").code(), "PXE-048");
}
