//! Nobody without the password changes a byte that matters and stays unseen.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use redb::{Database, ReadableTable, TableDefinition};
use rollmill_pxe_store::{Cost, Scope, Store, StoreError};

use crate::support::{COST, Memory, PASSWORD, account, fr, header, in_memory, note, shown};

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

/// The name of a row and its new bytes, or none to remove it.
type Edit = (Vec<u8>, Option<Vec<u8>>);

fn filled() -> (Vec<u8>, String) {
    let (memory, store) = in_memory();
    let scope = Scope::of([account(1), account(2)]);
    for number in 1..=6 {
        store
            .read_block(&scope, &header(number), |block| {
                for who in [account(1), account(2)] {
                    block.note(&who, number, note(number, number))?;
                    block.see_tag(&who, &fr(3), number)?;
                }
                Ok(())
            })
            .expect("read");
    }
    store.new_seed().expect("seed");
    let state = shown(&store).expect("shown");
    drop(store);
    (memory.bytes(), state)
}

/// Opens changed bytes: an error, or the very same contents.
fn check(bytes: Vec<u8>, state: &str, what: &str) -> bool {
    match Store::open_on(Memory::of(bytes), PASSWORD) {
        Err(error) => {
            assert!(
                ["PXS-005", "PXS-006", "PXS-007", "PXS-021"].contains(&error.code()),
                "{error}"
            );
            true
        }
        Ok(store) => {
            assert_eq!(shown(&store).expect("shown"), state, "{what}");
            false
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found_or_changes_nothing() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (bytes, state) = filled();
    assert!(!check(bytes.clone(), &state, "unchanged"));
    let used: Vec<usize> = (320..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut places: Vec<usize> = (0..320).collect();
    places.extend((0..500).map(|_| used[rng.gen_range(0..used.len())]));
    places.extend((0..100).map(|_| rng.gen_range(0..bytes.len())));
    let mut found = 0;
    for at in places {
        let bit = rng.gen_range(0..8);
        let mut changed = bytes.clone();
        changed[at] ^= 1 << bit;
        found += usize::from(check(changed, &state, &format!("byte {at}, bit {bit}")));
    }
    println!("{found} found");
    // Old versions of pages, and unused parts of them, are most of a small file.
    assert!(found > 50, "{found}");
}

#[test]
fn a_row_that_is_missing_moved_repeated_or_old_is_found() {
    let (memory, store) = in_memory();
    let scope = Scope::of([account(1)]);
    let contact = |label: &str| rollmill_pxe_store::Contact {
        label: label.to_owned(),
        npk: fr(1),
        viewing: [2; 32],
    };
    let set = |label: &str, address: u64| {
        let contact = contact(label);
        store
            .step(&scope, |step| step.set_contact(&account(1), &fr(address), &contact))
            .expect("set");
    };
    set("old", 1);
    set("other", 2);
    let old_bytes = memory.bytes();
    set("new", 1);
    drop(store);
    let bytes = memory.bytes();
    let old = rows(old_bytes);
    let new = rows(bytes.clone());
    assert_eq!((old.len(), new.len()), (2, 2));
    let changed = new.iter().position(|row| !old.contains(row)).expect("one changed");
    let (name, sealed) = new[changed].clone();
    let (other_name, other_sealed) = new[1 - changed].clone();
    let before = old.iter().find(|row| row.0 == name).expect("was there").1.clone();
    let attacks: [(&str, Vec<Edit>); 7] = [
        ("missing", vec![(name.clone(), None)]),
        ("old", vec![(name.clone(), Some(before))]),
        ("swapped", vec![(name.clone(), Some(other_sealed)), (other_name, Some(sealed.clone()))]),
        ("repeated", vec![(vec![7; 32], Some(sealed.clone()))]),
        ("empty", vec![(name.clone(), Some(vec![]))]),
        // The same bytes, and nobody finds the row any more: where a name ends matters too.
        (
            "cut name",
            vec![
                (name.clone(), None),
                (name[..8].to_vec(), Some([&name[8..], &sealed[..]].concat())),
            ],
        ),
        (
            "long name",
            vec![
                (name.clone(), None),
                ([&name[..], &sealed[..1]].concat(), Some(sealed[1..].to_vec())),
            ],
        ),
    ];
    for (what, edits) in attacks {
        let edited = edit(bytes.clone(), &edits);
        let error = Store::open_on(Memory::of(edited), PASSWORD).expect_err(what);
        assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {error}");
    }
    // The same edit that changes nothing opens.
    let edited = edit(bytes, &[(name, Some(sealed))]);
    Store::open_on(Memory::of(edited), PASSWORD).expect("unchanged");
}

/// The rows as an attacker reads them.
fn rows(bytes: Vec<u8>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let db = Database::builder().create_with_backend(Memory::of(bytes)).expect("opens");
    let transaction = db.begin_write().expect("begun");
    let table = transaction.open_table(ROWS).expect("table");
    let entries = table.iter().expect("rows").map(|entry| {
        let (name, sealed) = entry.expect("row");
        (name.value().to_vec(), sealed.value().to_vec())
    });
    entries.collect()
}

/// The bytes after an attacker changed rows.
fn edit(bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    let memory = Memory::of(bytes);
    let db = Database::builder().create_with_backend(memory.clone()).expect("opens");
    let transaction = db.begin_write().expect("begun");
    {
        let mut table = transaction.open_table(ROWS).expect("table");
        for (name, sealed) in edits {
            match sealed {
                Some(sealed) => {
                    drop(table.insert(name.as_slice(), sealed.as_slice()).expect("put"))
                }
                None => drop(table.remove(name.as_slice()).expect("removed")),
            }
        }
    }
    transaction.commit().expect("committed");
    drop(db);
    memory.bytes()
}

#[test]
fn a_wrong_password_opens_nothing_and_changes_nothing() {
    let (bytes, state) = filled();
    for wrong in ["", "correct hors", "Correct horse", "correct horse "] {
        let error = Store::open_on(Memory::of(bytes.clone()), wrong).expect_err("wrong");
        assert_eq!(error.code(), "PXS-005", "{error}");
    }
    assert!(!check(bytes, &state, "unchanged"));
}

/// Goal: neither names nor contents are readable, and equal rows of two stores look different.
#[test]
fn nothing_that_the_store_keeps_is_in_the_file_in_clear() {
    let marker = b"a text that no random bytes contain";
    let file = || {
        let (memory, store) = in_memory();
        let scope = Scope::of([account(1)]);
        let contact = rollmill_pxe_store::Contact {
            label: String::from_utf8(marker.to_vec()).expect("text"),
            npk: fr(1),
            viewing: [0x5a; 32],
        };
        store.step(&scope, |step| step.set_contact(&account(1), &fr(77), &contact)).expect("set");
        drop(store);
        memory.bytes()
    };
    let (one, two) = (file(), file());
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(!has(&one, marker) && !has(&one, &[0x5a; 32]));
    let (one, two) = (rows(one), rows(two));
    assert_eq!((one.len(), two.len()), (1, 1));
    assert!(one[0].0 != two[0].0 && one[0].1 != two[0].1);
    assert_eq!(one[0].1.len(), two[0].1.len());
}

#[test]
fn a_cost_out_of_bounds_is_rejected_when_a_store_is_created() {
    let cost = Cost { log_n: 40, ..COST };
    let error = Store::create_on(Memory::default(), PASSWORD, cost).expect_err("too much");
    assert!(matches!(error, StoreError::Cost), "{error}");
}

#[test]
fn other_files_are_no_stores() {
    for bytes in [vec![], vec![0; 100], vec![7; 9000], b"{\"version\":1}".to_vec()] {
        let error = Store::open_on(Memory::of(bytes), PASSWORD).expect_err("no store");
        assert_eq!(error.code(), "PXS-006", "{error}");
    }
    let memory = Memory::default();
    drop(Database::builder().create_with_backend(memory.clone()).expect("created"));
    let error = Store::open_on(memory, PASSWORD).expect_err("another's database");
    assert_eq!(error.code(), "PXS-006", "{error}");
}
