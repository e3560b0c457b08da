use super::*;
use crate::block::{number, set_number};

const COST: Cost = Cost { log_n: 1, r: 1, p: 1 };

fn add_one(writer: &mut Writer<'_>) -> Result<(), StoreError> {
    let value = number(writer, "x")?.unwrap_or_default();
    set_number(writer, "x", value + 1)
}

fn double(writer: &mut Writer<'_>) -> Result<(), StoreError> {
    let value = number(writer, "x")?.unwrap_or_default();
    set_number(writer, "x", value * 2)
}

fn fail(writer: &mut Writer<'_>) -> Result<(), StoreError> {
    set_number(writer, "x", 1000)?;
    Err(StoreError::damaged("on purpose"))
}

fn raw(path: &Path) -> (File, u32) {
    File::open(|| database(path, false), "p").expect("opens")
}

/// Creates a file with tables of version 1, and what `fill` writes.
fn of_version_1(path: &Path, fill: impl FnOnce(&mut Writer<'_>) -> Result<(), StoreError>) {
    let (db, _) = database(path, true).expect("a database");
    let file = File::create(db, "p", COST, 1).expect("created");
    file.write(fill).expect("written");
}

/// The value of `x`, as no migration may see it change twice.
fn x(file: &File) -> u64 {
    file.write(|writer| number(writer, "x")).expect("read").expect("set")
}

#[test]
fn migrations_run_once_in_order_and_all_or_none() {
    static BOTH: &[Migration] = &[add_one, double];
    static BROKEN: &[Migration] = &[add_one, fail];
    static ONE: &[Migration] = &[add_one];
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    of_version_1(&path, |writer| set_number(writer, "x", 5));
    assert!(migrated(raw(&path), BROKEN).is_err());
    let (file, schema) = raw(&path);
    assert_eq!((x(&file), schema), (5, 1));
    let file = migrated((file, schema), ONE).expect("migrated");
    assert_eq!(x(&file), 6);
    drop(file);
    let (file, schema) = raw(&path);
    assert_eq!(schema, 2);
    let file = migrated((file, schema), BOTH).expect("migrated");
    assert_eq!(x(&file), 12);
    drop(file);
    let file = migrated(raw(&path), BOTH).expect("nothing to do");
    assert_eq!(x(&file), 12);
}

#[test]
fn the_tables_of_a_newer_release_are_left_alone() {
    static NEXT: &[Migration] = &[forget_classes_without_keys, follow_anew, double];
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let store = Store::create(&path, "p", COST).expect("created");
    store.write(|writer| set_number(writer, "x", 1)).expect("written");
    drop(store);
    drop(migrated(raw(&path), NEXT).expect("migrated"));
    let error = Store::open(&path, "p").expect_err("newer");
    assert!(
        matches!(error, StoreError::Version { part: "tables", expected: 3, got: 4 }),
        "{error}"
    );
}

#[test]
fn what_a_failed_step_did_leaves_no_trace() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let store = Store::create(&path, "p", COST).expect("created");
    store.write(|writer| set_number(writer, "x", 1)).expect("written");
    assert!(store.write(fail).is_err());
    assert_eq!(x(&store.file), 1);
    drop(store);
    let store = Store::open(&path, "p").expect("opens");
    assert_eq!(x(&store.file), 1);
}

/// Goal: a class without keys, which nothing can be called of, does not stay; nothing else goes.
#[test]
fn classes_of_version_1_go_with_their_contracts_and_nothing_else_does() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let word = |number: u64| rollmill_protocol::Fr::from(number);
    of_version_1(&path, |writer| {
        set_number(writer, "x", 5)?;
        writer.put::<Classes>(&word(1), &vec![7; 100])?;
        let contract = crate::tables::Contract {
            class_id: word(1),
            salt: word(2),
            init_hash: word(3),
            deployer: word(4),
            keys_hash: word(5),
        };
        writer.put::<Contracts>(&word(6), &contract)
    });
    let store = Store::open(&path, "p").expect("migrated");
    assert_eq!(x(&store.file), 5);
    let scope = Scope::default();
    let view = store.view(&scope).expect("a view");
    assert_eq!(view.class(&word(1)).expect("read"), None);
    assert!(view.contracts().expect("read").is_empty());
    drop(view);
    drop(store);
    let (_, schema) = raw(&path);
    assert_eq!(schema, version(MIGRATIONS));
}

/// Goal: accounts of version 2, whose notes have no places in the tree, are read anew, and nothing else is lost.
#[test]
fn accounts_of_version_2_are_followed_anew_and_keep_their_notes() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let account = crate::tables::Account(rollmill_protocol::Fr::from(1u64));
    let (db, _) = database(&path, true).expect("a database");
    let file = File::create(db, "p", COST, 2).expect("created");
    file.write(|writer| {
        set_number(writer, "x", 5)?;
        writer.put::<crate::tables::Nullified>(&(account, account.0), &4)?;
        writer.put::<Followed>(&account, &7)
    })
    .expect("written");
    drop(file);
    let store = Store::open(&path, "p").expect("migrated");
    let scope = Scope::of([account]);
    let view = store.view(&scope).expect("a view");
    assert!(!view.is_followed(&account).expect("read"));
    drop(view);
    let known =
        store.write(|writer| writer.rows.get::<crate::tables::Nullified>(&(account, account.0)));
    assert_eq!((x(&store.file), known.expect("read")), (5, Some(4)));
    drop(store);
    let (_, schema) = raw(&path);
    assert_eq!(schema, version(MIGRATIONS));
}
