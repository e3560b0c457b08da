//! Accounts, seeds, and what leads back to them.

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rollmill_pxe_store::{KeyKind, MasterKeys, Scope, Store, StoreError};

use crate::support::{COST, fr, in_memory};

#[test]
fn a_seed_phrase_brings_all_accounts_of_its_seed_back() {
    let (_memory, store) = in_memory();
    let seed = store.new_seed().expect("seed");
    let accounts: Vec<_> =
        (0..3).map(|i| store.add_account(seed, &format!("account {i}")).expect("added")).collect();
    let (phrase, index) = store.phrase_of(&accounts[2]).expect("phrase");
    assert_eq!((phrase.split(' ').count(), index), (24, 2));
    assert_eq!(*phrase, *store.seed_phrase(seed).expect("phrase"));

    let (_memory, other) = in_memory();
    let (restored, found) = other.restore(&phrase.to_uppercase(), 3, "restored").expect("restored");
    assert_eq!(found, accounts);
    let scope = Scope::of(accounts.clone());
    for account in &accounts {
        let own = store.view(&scope).expect("view").master_keys(account).expect("keys");
        let back = other.view(&scope).expect("view").master_keys(account).expect("keys");
        for kind in [KeyKind::Nullifier, KeyKind::IncomingViewing, KeyKind::Tagging] {
            assert_eq!(*own.app_key(kind, &fr(1)), *back.app_key(kind, &fr(1)));
        }
    }
    // The next one is the fourth in both.
    let next = store.add_account(seed, "next").expect("added");
    assert_eq!(other.add_account(restored, "next").expect("added"), next);
}

/// Fault: a store without a seed, which can neither be created again nor be used.
#[test]
fn a_store_is_created_with_its_account_or_not_at_all() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let label = "x".repeat((64 << 20) + 1);
    let error = Store::create_with_account(&path, "p", COST, &label).expect_err("too large");
    assert_eq!(error.code(), "PXS-020", "{error}");
    assert!(!path.exists());
    let (store, account) = Store::create_with_account(&path, "p", COST, "mine").expect("created");
    let infos = store.accounts().expect("accounts");
    assert_eq!((infos.len(), infos[0].account, infos[0].label.as_str()), (1, account, "mine"));
    let (phrase, index) = store.phrase_of(&account).expect("phrase");
    assert_eq!((phrase.split(' ').count(), index), (24, 0));
    drop(store);
    let store = Store::open(&path, "p").expect("opens");
    assert_eq!(store.accounts().expect("accounts"), infos);
}

#[test]
fn a_seed_that_is_restored_twice_is_one() {
    let (_memory, store) = in_memory();
    let seed = store.new_seed().expect("seed");
    let phrase = store.seed_phrase(seed).expect("phrase");
    store.add_account(seed, "mine").expect("added");
    let (again, accounts) = store.restore(&phrase, 2, "restored").expect("restored");
    assert_eq!((again, accounts.len()), (seed, 2));
    let labels: Vec<String> =
        store.accounts().expect("accounts").into_iter().map(|info| info.label).collect();
    assert_eq!(labels.len(), 2);
    assert!(labels.contains(&"mine".to_owned()) && labels.contains(&"restored 1".to_owned()));
    let other = store.new_seed().expect("seed");
    assert_ne!(other, seed);
    assert_ne!(*store.seed_phrase(other).expect("phrase"), *phrase);
}

#[test]
fn imported_keys_are_kept_and_have_no_phrase() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let keys = MasterKeys::generate(&mut rng);
    let (_memory, store) = in_memory();
    let account = store.add_keys(&keys, "imported").expect("added");
    assert_eq!(account, keys.account());
    let error = store.add_keys(&keys, "again").expect_err("twice");
    assert!(matches!(error, StoreError::AccountExists { .. }), "{error}");
    let error = store.phrase_of(&account).expect_err("no phrase");
    assert!(matches!(error, StoreError::NoPhrase), "{error}");
    let scope = Scope::of([account]);
    let view = store.view(&scope).expect("view");
    let back = view.master_keys(&account).expect("keys");
    assert_eq!(*back.nullifier(), *keys.nullifier());
    assert_eq!(
        *view.app_key(&account, KeyKind::Tagging, &fr(3)).expect("key"),
        *keys.app_key(KeyKind::Tagging, &fr(3))
    );
    assert!(view.wallet_state(&account).expect("read").is_none());
    let infos = store.accounts().expect("accounts");
    assert_eq!((infos.len(), infos[0].label.as_str(), infos[0].origin), (1, "imported", None));
}

/// Goal: the keys and the state of a wallet are both in the store, or neither is.
#[test]
fn keys_and_state_are_imported_together() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let keys = MasterKeys::generate(&mut rng);
    let (_memory, store) = in_memory();
    let account = store.import(&keys, "imported", Some(b"a state")).expect("imported");
    let scope = Scope::of([account]);
    let state = |store: &rollmill_pxe_store::Store| {
        let view = store.view(&scope).expect("view");
        view.wallet_state(&account).expect("read").map(|state| state.to_vec())
    };
    assert_eq!(state(&store), Some(b"a state".to_vec()));
    store.step(&scope, |step| step.set_wallet_state(&account, b"newer")).expect("set");
    let error = store.import(&keys, "again", Some(b"a state")).expect_err("twice");
    assert!(matches!(error, StoreError::AccountExists { .. }), "{error}");
    assert_eq!(state(&store), Some(b"newer".to_vec()));
}

#[test]
fn unknown_seeds_and_accounts_are_named() {
    let (_memory, store) = in_memory();
    assert_eq!(store.seed_phrase(1).expect_err("none").code(), "PXS-019");
    assert_eq!(store.add_account(1, "x").expect_err("none").code(), "PXS-019");
    let nobody = crate::support::account(5);
    assert_eq!(store.phrase_of(&nobody).expect_err("none").code(), "PXS-010");
    let scope = Scope::of([nobody]);
    let view = store.view(&scope).expect("view");
    assert_eq!(view.master_keys(&nobody).expect_err("none").code(), "PXS-010");
    assert_eq!(store.restore("one two", 1, "x").expect_err("no phrase").code(), "PXS-018");
    assert!(store.accounts().expect("accounts").is_empty());
}
