//! Another password: all or nothing, whenever it is interrupted.

use std::fs;
use std::path::Path;

use rollmill_pxe_store::{Scope, Store, StoreError};

use crate::support::{COST, account, header, note, shown};

fn filled(path: &Path) -> String {
    let store = Store::create(path, "old", COST).expect("created");
    let scope = Scope::of([account(1)]);
    for number in 1..=5 {
        store
            .read_block(&scope, &header(number), |block| {
                block.note(&account(1), number, note(number, 1))
            })
            .expect("read");
    }
    store.new_seed().expect("seed");
    shown(&store).expect("shown")
}

/// The store after an interruption, with whichever password opens it.
fn opened(path: &Path) -> (Store, &'static str) {
    match Store::open(path, "new") {
        Ok(store) => (store, "new"),
        Err(StoreError::Password) => (Store::open(path, "old").expect("opens"), "old"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_changed_password_opens_the_same_store_and_the_old_one_opens_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let state = filled(&path);
    let before = fs::read(&path).expect("read");
    let store = Store::open(&path, "old").expect("opens");
    let phrase = store.seed_phrase(1).expect("phrase");
    let store = store.change_password("old", "new", COST).expect("changed");
    assert_eq!(shown(&store).expect("shown"), state);
    // It goes on, and the blocks can still be undone.
    store.rewind(3).expect("rewound");
    let scope = Scope::of([account(1)]);
    store.read_block(&scope, &header(4), |_| Ok(())).expect("read");
    let state = shown(&store).expect("shown");
    drop(store);
    let error = Store::open(&path, "old").expect_err("old");
    assert!(matches!(error, StoreError::Password), "{error}");
    let store = Store::open(&path, "new").expect("opens");
    assert_eq!(shown(&store).expect("shown"), state);
    assert_eq!(*store.seed_phrase(1).expect("phrase"), *phrase);
    drop(store);
    // The keys of the rows are others: whoever had the old file and its password reads nothing of the new one.
    let after = fs::read(&path).expect("read");
    let head = |bytes: &[u8]| {
        let magic = b"rollmill pxe db\0";
        let at = bytes.windows(16).position(|window| window == magic).expect("a head");
        bytes[at..at + 58].to_vec()
    };
    assert_ne!(head(&before), head(&after));
    let names: Vec<_> = fs::read_dir(folder.path()).expect("folder").collect();
    assert_eq!(names.len(), 2, "the file and its lock");
}

/// Fault: the link is replaced, and the file that it leads to stays as it is, with the old password.
#[test]
fn a_change_through_a_link_changes_the_file_that_it_leads_to() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let state = filled(&path);
    let link = folder.path().join("link.pxe");
    std::os::unix::fs::symlink(&path, &link).expect("link");
    let store = Store::open(&link, "old").expect("opens");
    let error = Store::open(&path, "old").expect_err("in use");
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(store.change_password("old", "new", COST).expect("changed"));
    assert!(link.symlink_metadata().expect("metadata").is_symlink());
    for name in [&path, &link] {
        let store = Store::open(name, "new").expect("opens");
        assert_eq!(shown(&store).expect("shown"), state);
    }
    let error = Store::create(&link, "new", COST).expect_err("exists");
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
}

#[test]
fn the_old_password_is_asked_for() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let state = filled(&path);
    let store = Store::open(&path, "old").expect("opens");
    let error = store.change_password("guess", "new", COST).expect_err("wrong");
    assert!(matches!(error, StoreError::Password), "{error}");
    let store = Store::open(&path, "old").expect("opens");
    assert_eq!(shown(&store).expect("shown"), state);
}

/// Method: what a kill leaves. The new file stands beside the old one, whole or in part, until it takes its name.
#[test]
fn a_change_that_was_killed_half_way_leaves_the_old_file_or_the_new_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let state = filled(&path);
    let old = fs::read(&path).expect("read");
    let copy = folder.path().join("copy.pxe");
    fs::write(&copy, &old).expect("written");
    let changed = Store::open(&copy, "old").expect("opens").change_password("old", "new", COST);
    drop(changed.expect("changed"));
    let new = fs::read(&copy).expect("read");
    let beside = folder.path().join("wallet.pxe.new");
    for part in 0..=8 {
        fs::write(&path, &old).expect("written");
        fs::write(&beside, &new[..new.len() * part / 8]).expect("written");
        let (store, password) = opened(&path);
        assert_eq!((password, shown(&store).expect("shown")), ("old", state.clone()));
        assert!(!beside.exists(), "what was left is removed");
        // And it can be changed now.
        let store = store.change_password("old", "new", COST).expect("changed");
        assert_eq!(shown(&store).expect("shown"), state);
    }
    // After the new file has taken the name.
    fs::write(&path, &new).expect("written");
    let (store, password) = opened(&path);
    assert_eq!((password, shown(&store).expect("shown")), ("new", state));
}

/// The same with a process that is killed wherever it is.
#[test]
fn a_process_that_is_killed_while_it_changes_the_password_loses_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let state = filled(&path);
    for round in 0..4 {
        let mut child = crate::processes::child("change", &path);
        let beside = folder.path().join("wallet.pxe.new");
        // Until the new file is there, or the child is done.
        while !beside.exists() && child.try_wait().expect("a child").is_none() {
            std::thread::yield_now();
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        let (store, password) = opened(&path);
        assert_eq!(shown(&store).expect("shown"), state, "round {round}");
        if password == "new" {
            drop(store.change_password("new", "old", COST).expect("changed back"));
        }
    }
}
