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
    let store = Store::create(&path, "p", COST).expect("created");
    store.write(|writer| set_number(writer, "x", 5)).expect("written");
    drop(store);
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
    static NEXT: &[Migration] = &[double];
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let store = Store::create(&path, "p", COST).expect("created");
    store.write(|writer| set_number(writer, "x", 1)).expect("written");
    drop(store);
    drop(migrated(raw(&path), NEXT).expect("migrated"));
    let error = Store::open(&path, "p").expect_err("newer");
    assert!(
        matches!(error, StoreError::Version { part: "tables", expected: 1, got: 2 }),
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
