//! Scopes, transactions with their intent, and clients at once.

use std::collections::BTreeSet;

use rollmill_pxe_store::{
    Account, BlockStep, ClassKeys, Contact, Event, FunctionKey, KeyKind, Plan, Scope, Stage, Step,
    Store, StoreError, TransactionRow, View,
};

use crate::support::{account, contract, fr, header, in_memory, note, nullifier, shown};

type Read = (&'static str, fn(&View<'_>, &Account) -> Result<(), StoreError>);
type Change = (&'static str, fn(&mut Step<'_, '_>, &Account) -> Result<(), StoreError>);
type Fact = (&'static str, fn(&mut BlockStep<'_, '_>, &Account) -> Result<(), StoreError>);

/// Every way to read what belongs to an account.
const READS: &[Read] = &[
    ("notes", |view, who| view.notes(who).map(|_| ())),
    ("spendable", |view, who| view.spendable(who, &fr(1), &fr(2)).map(|_| ())),
    ("deferred", |view, who| view.deferred(who, &fr(1)).map(|_| ())),
    ("events", |view, who| view.events(who, &fr(1)).map(|_| ())),
    ("seen_tag", |view, who| view.seen_tag(who, &fr(1)).map(|_| ())),
    ("next_tag", |view, who| view.next_tag(who, &fr(1)).map(|_| ())),
    ("claimed", |view, who| view.claimed(who, 1).map(|_| ())),
    ("included", |view, who| view.included(who, &fr(1)).map(|_| ())),
    ("nullified", |view, who| view.nullified(who, &fr(1)).map(|_| ())),
    ("transactions", |view, who| view.transactions(who).map(|_| ())),
    ("contacts", |view, who| view.contacts(who).map(|_| ())),
    ("contact", |view, who| view.contact(who, &fr(1)).map(|_| ())),
    ("is_followed", |view, who| view.is_followed(who).map(|_| ())),
    ("witness", |view, who| view.witness(who, &fr(1)).map(|_| ())),
    ("wallet_state", |view, who| view.wallet_state(who).map(|_| ())),
    ("capsule", |view, who| view.capsule(who, &fr(1), &fr(1)).map(|_| ())),
    ("master_keys", |view, who| view.master_keys(who).map(|_| ())),
    ("app_key", |view, who| view.app_key(who, KeyKind::Nullifier, &fr(1)).map(|_| ())),
];

/// Every way to change what belongs to an account.
const CHANGES: &[Change] = &[
    ("follow", |step, who| step.follow(who, 1)),
    ("set_contact", |step, who| {
        let contact = Contact { label: String::new(), npk: fr(1), viewing: [0; 32] };
        step.set_contact(who, &fr(1), &contact)
    }),
    ("remove_contact", |step, who| step.remove_contact(who, &fr(1)).map(|_| ())),
    ("set_witness", |step, who| step.set_witness(who, &fr(1), &[])),
    ("remove_witness", |step, who| step.remove_witness(who, &fr(1)).map(|_| ())),
    ("set_wallet_state", |step, who| step.set_wallet_state(who, &[1])),
    ("set_capsule", |step, who| step.set_capsule(who, &fr(1), &fr(1), &[])),
    ("remove_capsule", |step, who| step.remove_capsule(who, &fr(1), &fr(1)).map(|_| ())),
    ("copy_capsules", |step, who| step.copy_capsules(who, &fr(1), (&fr(1), &fr(2)), 1).map(|_| ())),
    ("plan", |step, who| step.plan(who, &Plan::default()).map(|_| ())),
    ("ready", |step, who| step.ready(who, 1, &fr(1), &[])),
    ("abandon", |step, who| step.abandon(who, 1)),
    ("drop_transaction", |step, who| step.drop_transaction(who, 1)),
    ("report", |step, who| step.report(who, 1)),
    ("set_request", |step, who| step.set_request(who, 1, &[])),
    ("forget", |step, who| step.forget(who, 1)),
];

/// Every fact of an account.
const FACTS: &[Fact] = &[
    ("note", |block, who| block.note(who, 1, note(1, 1)).map(|_| ())),
    ("nullify", |block, who| block.nullify(who, &fr(1)).map(|_| ())),
    ("defer", |block, who| block.defer(who, &fr(1), (&fr(1), 0), vec![]).map(|_| ())),
    ("resolve", |block, who| block.resolve(who, &fr(1), (&fr(1), 0)).map(|_| ())),
    ("event", |block, who| {
        let event = Event { block: 0, selector: fr(1), content: vec![] };
        block.event(who, &fr(1), (&fr(1), 0), event).map(|_| ())
    }),
    ("see_tag", |block, who| block.see_tag(who, &fr(1), 1)),
    ("include", |block, who| block.include(who, &fr(1)).map(|_| ())),
    ("claim", |block, who| block.claim(who, 1).map(|_| ())),
];

fn is_out_of_scope(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::OutOfScope { .. }))
}

/// Goal: an application that may use one account reads and changes nothing of another.
#[test]
fn nothing_of_an_account_out_of_scope_is_read_or_changed() {
    let (_memory, store) = in_memory();
    let seed = store.new_seed().expect("seed");
    let (alice, bob) = (
        store.add_account(seed, "alice").expect("added"),
        store.add_account(seed, "bob").expect("added"),
    );
    let scope = Scope::of([alice]);
    let view = store.view(&scope).expect("view");
    for (name, read) in READS {
        assert!(read(&view, &alice).is_ok(), "{name}");
        assert!(is_out_of_scope(&read(&view, &bob)), "{name}");
        assert!(is_out_of_scope(&read(&view, &account(9))), "{name}");
    }
    assert_eq!(view.accounts().expect("read").len(), 1);
    let before = shown(&store).expect("shown");
    for (name, change) in CHANGES {
        let result = store.step(&scope, |step| change(step, &bob));
        assert!(is_out_of_scope(&result), "{name}");
    }
    for (name, fact) in FACTS {
        let result = store.read_block(&scope, &header(1), |block| fact(block, &bob));
        assert!(is_out_of_scope(&result), "{name}");
    }
    assert_eq!(shown(&store).expect("shown"), before);
    for (name, change) in CHANGES {
        let result = store.step(&scope, |step| change(step, &alice));
        assert!(!is_out_of_scope(&result), "{name}");
    }
    let all =
        |block: &mut BlockStep<'_, '_>| FACTS.iter().try_for_each(|(_, fact)| fact(block, &alice));
    store.read_block(&scope, &header(1), all).expect("in scope");
}

fn spend(leaf: u64, secrets: &[u64]) -> Plan {
    Plan {
        request: vec![],
        nullifiers: vec![nullifier(leaf)],
        secrets: secrets.iter().map(|secret| fr(*secret)).collect(),
    }
}

fn with_notes(count: u64) -> (crate::support::Memory, Store, Scope) {
    let (memory, store) = in_memory();
    let scope = Scope::of([account(1)]);
    store
        .read_block(&scope, &header(1), |block| {
            (0..count).try_for_each(|i| block.note(&account(1), i, note(i, i)).map(|_| ()))
        })
        .expect("read");
    (memory, store, scope)
}

#[test]
fn a_note_is_held_by_one_transaction_until_it_is_given_back_or_spent() {
    let (_memory, store, scope) = with_notes(2);
    let alice = account(1);
    let plan = |leaf| store.step(&scope, |step| step.plan(&alice, &spend(leaf, &[])));
    let held = |leaf| plan(leaf).expect_err("held").code().to_owned();
    let first = plan(0).expect("free");
    assert_eq!(held(0), "PXS-015");
    store.step(&scope, |step| step.abandon(&alice, first.number)).expect("abandoned");
    let second = plan(0).expect("free again");
    assert_ne!(first.number, second.number);
    let number = second.number;
    store.step(&scope, |step| step.ready(&alice, number, &fr(1), &[1])).expect("ready");
    // What may have left is not abandoned.
    let error = store.step(&scope, |step| step.abandon(&alice, number)).expect_err("sent");
    assert_eq!(error.code(), "PXS-017", "{error}");
    assert_eq!(held(0), "PXS-015");
    store.step(&scope, |step| step.drop_transaction(&alice, number)).expect("dropped");
    let third = plan(0).expect("free again").number;
    // The dropped one is forgotten without giving back what the third one holds.
    store.step(&scope, |step| step.forget(&alice, number)).expect("forgotten");
    assert_eq!(held(0), "PXS-015");
    store.step(&scope, |step| step.ready(&alice, third, &fr(2), &[2])).expect("ready");
    let include = |tx_hash| {
        let read = store.read_block(&scope, &header(2), |block| {
            block.include(&alice, &fr(tx_hash))?;
            block.nullify(&alice, &nullifier(0)).map(|_| ())
        });
        read.expect("read");
    };
    include(2);
    // After a reorganization it may be included again, so it still holds its note.
    store.rewind(1).expect("rewound");
    assert_eq!(held(0), "PXS-015");
    store.step(&scope, |step| step.drop_transaction(&alice, third)).expect("dropped");
    let fourth = plan(0).expect("free again").number;
    store.step(&scope, |step| step.ready(&alice, fourth, &fr(3), &[3])).expect("ready");
    include(3);
    assert_eq!(held(0), "PXS-015");
    plan(1).expect("another one");
}

/// Goal: what a wallet keeps of an order is replaced at each stage, and nothing else of the transaction is; what a block
/// says of a nullifier is there until the block is undone.
#[test]
fn an_order_is_replaced_at_each_stage_and_a_nullifier_has_its_block() {
    let (_memory, store, scope) = with_notes(1);
    let alice = account(1);
    let planned = store.step(&scope, |step| step.plan(&alice, &spend(0, &[7]))).expect("planned");
    let number = planned.number;
    let row = || {
        let view = store.view(&scope).expect("view");
        view.transactions(&alice).expect("read").remove(0).row
    };
    let set = |text: &[u8]| {
        let before = row();
        store.step(&scope, |step| step.set_request(&alice, number, text)).expect("set");
        let after = row();
        assert_eq!(after.request, text);
        assert!(after == TransactionRow { request: text.to_vec(), ..before });
    };
    set(b"planned");
    store.step(&scope, |step| step.ready(&alice, number, &fr(1), &[1])).expect("ready");
    set(b"ready");
    store.step(&scope, |step| step.drop_transaction(&alice, number)).expect("dropped");
    set(b"dropped");
    let none = store.step(&scope, |step| step.set_request(&alice, number + 1, &[]));
    assert_eq!(none.expect_err("none").code(), "PXS-016");

    let published = || {
        let view = store.view(&scope).expect("view");
        view.nullified(&alice, &fr(5)).expect("read")
    };
    assert_eq!(published(), None);
    let read = store.read_block(&scope, &header(2), |block| block.nullify(&alice, &fr(5)));
    assert!(read.expect("read"));
    assert_eq!(published(), Some(2));
    store.rewind(1).expect("rewound");
    assert_eq!(published(), None);
}

/// Fault: a transaction that can still be included is forgotten, and its notes are given to another one.
#[test]
fn a_transaction_is_forgotten_only_once_its_block_is_final() {
    let (_memory, store, scope) = with_notes(1);
    let alice = account(1);
    let number =
        store.step(&scope, |step| step.plan(&alice, &spend(0, &[]))).expect("planned").number;
    let forget = || store.step(&scope, |step| step.forget(&alice, number));
    let fails = |when: &str| assert_eq!(forget().expect_err(when).code(), "PXS-017", "{when}");
    fails("planned");
    store.step(&scope, |step| step.ready(&alice, number, &fr(1), &[1])).expect("ready");
    fails("in no block");
    store.finalize(1).expect("finalized");
    let include = |block| {
        let read = store.read_block(&scope, &header(block), |step| step.include(&alice, &fr(1)));
        assert!(read.expect("read"));
    };
    include(2);
    fails("in a block that may be undone");
    store.rewind(1).expect("rewound");
    fails("in no block any more");
    store.read_block(&scope, &header(2), |_| Ok(())).expect("read");
    include(3);
    store.finalize(2).expect("finalized");
    fails("in a block after the finalized one");
    store.finalize(3).expect("finalized");
    forget().expect("final");
    let view = store.view(&scope).expect("view");
    assert!(view.transactions(&alice).expect("read").is_empty());
    assert_eq!(view.notes(&alice).expect("read")[0].held_by, None);
}

/// Fault: a step that tries another plan after one that failed keeps notes that no transaction releases.
#[test]
fn a_plan_that_fails_takes_nothing_although_its_step_goes_on() {
    let (_memory, store, scope) = with_notes(3);
    let alice = account(1);
    let of = |leaves: &[u64]| Plan {
        request: vec![],
        nullifiers: leaves.iter().map(|leaf| nullifier(*leaf)).collect(),
        secrets: vec![fr(5)],
    };
    store.step(&scope, |step| step.plan(&alice, &of(&[2]))).expect("planned");
    let large = Plan { request: vec![0; (64 << 20) + 1], ..of(&[0]) };
    let fails = [(of(&[0, 2]), "PXS-015"), (of(&[0, 0]), "PXS-015"), (large, "PXS-020")];
    let planned = store.step(&scope, |step| {
        for (plan, code) in &fails {
            assert_eq!(step.plan(&alice, plan).expect_err("fails").code(), *code);
        }
        step.plan(&alice, &of(&[1]))
    });
    let planned = planned.expect("planned");
    assert_eq!((planned.number, planned.tags), (2, vec![1]));
    store.step(&scope, |step| step.plan(&alice, &of(&[0]))).expect("free");
}

#[test]
fn tags_of_what_never_left_are_used_again_and_no_others() {
    let (_memory, store, scope) = with_notes(4);
    let alice = account(1);
    let plan = |leaf, secrets: &[u64]| {
        store.step(&scope, |step| step.plan(&alice, &spend(leaf, secrets))).expect("planned")
    };
    let one = plan(0, &[5, 5, 6]);
    assert_eq!(one.tags, [0, 1, 0]);
    store.step(&scope, |step| step.abandon(&alice, one.number)).expect("abandoned");
    let two = plan(0, &[5, 6, 6]);
    assert_eq!(two.tags, [0, 0, 1]);
    let three = plan(1, &[5]);
    assert_eq!(three.tags, [1]);
    // Later ones are taken, so these are lost.
    store.step(&scope, |step| step.abandon(&alice, two.number)).expect("abandoned");
    assert_eq!(plan(2, &[5, 6]).tags, [2, 0]);
    // What may have left keeps its tags.
    store.step(&scope, |step| step.ready(&alice, three.number, &fr(1), &[])).expect("ready");
    store.step(&scope, |step| step.drop_transaction(&alice, three.number)).expect("dropped");
    assert_eq!(plan(3, &[5]).tags, [3]);
}

#[test]
fn no_debug_text_has_the_secret_of_a_pair() {
    let (_memory, store, scope) = with_notes(1);
    let alice = account(1);
    let plan = spend(0, &[987_654_321]);
    store.step(&scope, |step| step.plan(&alice, &plan)).expect("planned");
    let view = store.view(&scope).expect("view");
    let transactions = view.transactions(&alice).expect("read");
    let secret = fr(987_654_321);
    assert_eq!((transactions[0].row.tags[0], plan.secrets[0]), ((secret, 0), secret));
    for text in [format!("{plan:?}"), format!("{transactions:?}")] {
        assert!(!text.contains(&format!("{secret:?}")) && text.contains("nullifiers"), "{text}");
    }
}

/// Goal: after a crash the wallet knows what it may have sent, and what it cannot have.
#[test]
fn a_transaction_is_on_the_disk_before_it_can_leave() {
    let (memory, store, scope) = with_notes(2);
    let alice = account(1);
    let planned = store.step(&scope, |step| step.plan(&alice, &spend(0, &[5]))).expect("planned");
    let crashed = memory.bytes();
    let bytes = [7u8; 5000];
    store.step(&scope, |step| step.ready(&alice, planned.number, &fr(1), &bytes)).expect("ready");
    let sent = memory.bytes();
    let open = |bytes| {
        let memory = crate::support::Memory::of(bytes);
        let store = Store::open_on(memory, crate::support::PASSWORD).expect("opens");
        store.view(&scope).expect("view").transactions(&alice).expect("read")
    };
    let before = open(crashed);
    assert_eq!((before.len(), before[0].row.stage), (1, Stage::Planned));
    assert!(before[0].row.bytes.is_empty() && before[0].row.tx_hash.is_none());
    let after = open(sent);
    assert_eq!((after.len(), after[0].row.stage), (1, Stage::Ready));
    assert!(after[0].row.bytes == bytes && !after[0].row.reported);
    assert_eq!(after[0].row.tags, [(fr(5), 0)]);
}

/// Goal: clients at once take neither one note nor one tag twice.
#[test]
fn two_clients_never_take_the_same_note_or_tag() {
    let (_memory, store, scope) = with_notes(24);
    let alice = account(1);
    let taken = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for client in 0..2 {
            let (store, scope, taken) = (&store, &scope, &taken);
            threads.spawn(move || {
                for round in 0..24u64 {
                    // From both ends, so that they meet.
                    let leaf = if client == 0 { round } else { 23 - round };
                    match store.step(scope, |step| step.plan(&alice, &spend(leaf, &[5]))) {
                        Ok(planned) => taken.lock().push((leaf, planned)),
                        Err(error) => assert_eq!(error.code(), "PXS-015", "{error}"),
                    }
                    let view = store.view(scope).expect("view");
                    let notes = view.notes(&alice).expect("read");
                    // A view is of one moment: each transaction that it shows holds its note.
                    let shown = view.transactions(&alice).expect("read");
                    let held = notes.iter().filter(|note| note.held_by.is_some()).count();
                    assert_eq!(held, shown.len());
                }
            });
        }
    });
    let taken = taken.into_inner();
    let leaves: BTreeSet<u64> = taken.iter().map(|(leaf, _)| *leaf).collect();
    let tags: BTreeSet<u64> = taken.iter().map(|(_, planned)| planned.tags[0]).collect();
    let numbers: BTreeSet<u64> = taken.iter().map(|(_, planned)| planned.number).collect();
    assert_eq!((taken.len(), leaves.len(), tags.len(), numbers.len()), (24, 24, 24, 24));
    assert_eq!(tags.last(), Some(&23));
}

#[test]
fn a_view_does_not_see_later_steps() {
    let (_memory, store, scope) = with_notes(1);
    let alice = account(1);
    let view = store.view(&scope).expect("view");
    store.step(&scope, |step| step.plan(&alice, &spend(0, &[]))).expect("planned");
    store.rewind(0).expect("rewound");
    assert_eq!(view.notes(&alice).expect("read").len(), 1);
    assert_eq!(view.notes(&alice).expect("read")[0].held_by, None);
    assert!(store.view(&scope).expect("view").notes(&alice).expect("read").is_empty());
}

/// Fault: a store that starts at a late block is told that an early one is final, and then goes through all between.
#[test]
fn a_block_that_was_not_read_is_not_finalized() {
    let (_memory, store) = in_memory();
    let scope = Scope::default();
    let first = 1 << 60;
    store.read_block(&scope, &header(first), |_| Ok(())).expect("read");
    for block in [0, first - 1, first + 1] {
        let error = store.finalize(block).expect_err("not read");
        assert!(matches!(error, StoreError::Order { got, .. } if got == block), "{error}");
    }
    store.finalize(first).expect("finalized");
    assert_eq!(store.view(&scope).expect("view").finalized().expect("read"), Some(first));
    let (_memory, empty) = in_memory();
    assert_eq!(empty.finalize(0).expect_err("no block").code(), "PXS-013");
}

/// Fault: equal notes of one transaction under one key.
#[test]
fn notes_of_equal_content_are_two() {
    let (_memory, store) = in_memory();
    let scope = Scope::of([account(1)]);
    store
        .read_block(&scope, &header(1), |block| {
            block.note(&account(1), 1, note(1, 5))?;
            let twin = rollmill_pxe_store::Note { unique: fr(9), nullifier: fr(10), ..note(1, 5) };
            block.note(&account(1), 2, twin)
        })
        .expect("read");
    let view = store.view(&scope).expect("view");
    assert_eq!(view.notes(&account(1)).expect("read").len(), 2);
}

/// Goal: messages for a contract that is registered later become notes, and a reorganization undoes both alike.
#[test]
fn a_deferred_note_is_found_once_its_contract_is_registered() {
    let (_memory, store) = in_memory();
    let alice = account(1);
    let scope = Scope::of([alice]);
    for number in 1..=3 {
        store
            .read_block(&scope, &header(number), |block| {
                block.defer(&alice, &fr(4), (&fr(number), 0), vec![fr(number)])
            })
            .expect("read");
    }
    for placed in store.view(&scope).expect("view").deferred(&alice, &fr(4)).expect("read") {
        let block = placed.item.block;
        store
            .read_again(&scope, block, |step| {
                step.resolve(&alice, &fr(4), (&placed.tx_hash, placed.index))?;
                step.note(&alice, block, note(block, 1))
            })
            .expect("read again");
    }
    let leaves = || {
        let view = store.view(&scope).expect("view");
        assert!(view.deferred(&alice, &fr(4)).expect("read").is_empty());
        let notes = view.notes(&alice).expect("read");
        notes.iter().map(|note| note.leaf_index).collect::<Vec<_>>()
    };
    assert_eq!(leaves(), [1, 2, 3]);
    store.rewind(2).expect("rewound");
    assert_eq!(leaves(), [1, 2]);
    store.finalize(1).expect("finalized");
    let error = store.rewind(0).expect_err("finalized");
    assert!(matches!(error, StoreError::Finalized { block: 0, finalized: 1 }), "{error}");
    store.rewind(1).expect("rewound");
    assert_eq!(leaves(), [1]);
}

#[test]
fn a_row_that_is_too_large_is_rejected() {
    let (_memory, store) = in_memory();
    let artifact = vec![0; (64 << 20) + 1];
    let scope = Scope::default();
    let error = store.step(&scope, |step| step.add_class(&fr(1), &artifact)).expect_err("large");
    assert_eq!(error.code(), "PXS-020", "{error}");
    assert!(store.step(&scope, |step| step.add_class(&fr(1), &artifact[..1 << 20])).expect("fits"));
    assert_eq!(
        store.view(&scope).expect("view").class(&fr(1)).expect("read").map(|a| a.len()),
        Some(1 << 20)
    );
}

/// Goal: a class is kept with what its id is a hash of, for as long as a contract is of it.
#[test]
fn a_class_has_its_keys_and_goes_with_its_last_contract() {
    let (_memory, store) = in_memory();
    let scope = Scope::default();
    let function = FunctionKey { selector: fr(5), vk: vec![1, 2, 3] };
    let keys = ClassKeys {
        artifact_hash: fr(6),
        bytecode_commitment: fr(0),
        functions: vec![function.clone(), function],
    };
    let add = |keys: &ClassKeys| {
        store.step(&scope, |step| {
            step.add_class(&fr(9), b"artifact")?;
            step.add_class_keys(&fr(9), keys)
        })
    };
    assert!(add(&keys).expect("added"));
    assert!(!add(&keys).expect("the same"));
    let mut other = keys.clone();
    other.functions.pop();
    assert!(matches!(add(&other), Err(StoreError::Conflict { .. })));
    for salt in [1, 2] {
        let added = store.step(&scope, |step| step.set_contract(&fr(salt), &contract(9, salt)));
        added.expect("registered");
    }
    let kept = || store.view(&scope).expect("view").class_keys(&fr(9)).expect("read");
    let removed = |address: u64| {
        store.step(&scope, |step| step.remove_contract(&fr(address))).expect("removed")
    };
    assert!(removed(1) && !removed(1));
    assert_eq!(kept(), Some(keys));
    assert!(removed(2));
    assert_eq!(kept(), None);
    assert_eq!(store.view(&scope).expect("view").class(&fr(9)).expect("read"), None);
}

#[test]
fn an_account_is_followed_from_the_step_that_says_so() {
    let (_memory, store) = in_memory();
    let scope = Scope::of([account(1)]);
    let is_followed = || store.view(&scope).expect("view").is_followed(&account(1)).expect("read");
    assert!(!is_followed());
    store.step(&scope, |step| step.follow(&account(1), 7)).expect("followed");
    assert!(is_followed());
    store.read_block(&scope, &header(3), |_| Ok(())).expect("read");
    assert_eq!(store.view(&scope).expect("view").first_block().expect("read"), Some(3));
    store.rewind(2).expect("undone");
    assert!(is_followed(), "no rewind takes it back");
}
