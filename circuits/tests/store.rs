//! Keys on disk: damage is found, a full disk is one line, and what can be made again is.

use rollmill_circuits::registry::{RegistryError, load_key_set, open_srs};
use rollmill_circuits::store::{DirStore, MemoryStore, Store, StoreError};
use rollmill_plonk::srs::{Srs, SrsError};
use rollmill_service_testing::SmallDisk;

#[test]
fn a_full_disk_is_one_line_that_says_what_to_do_and_costs_nothing_kept() {
    let name = "store::a_full_disk_is_one_line_that_says_what_to_do_and_costs_nothing_kept";
    let Some(disk) = SmallDisk::of_test(name, 1 << 20) else { return };
    let folder = disk.path().join("keys");
    let store = DirStore::new(&folder);
    store.put("keys.set", b"before").unwrap();
    disk.fill(&[]);
    let large = vec![7; 1 << 18];
    let error = store.put("keys.set", &large).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }));
    let line = error.to_string();
    assert!(line.starts_with("CIR-020: ") && line.contains("free some space"), "{line}");
    assert!(!line.contains('\n'), "{line}");
    assert_eq!(store.get("keys.set").unwrap().unwrap(), b"before");
    // Nothing of the failed attempt takes space.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    disk.free(&[]);
    store.put("keys.set", b"after").unwrap();
    assert_eq!(store.get("keys.set").unwrap().unwrap(), b"after");
}

#[test]
fn what_a_killed_process_left_of_a_file_goes_with_the_next_write_of_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.set.0123456789abcdef.part"), "half").unwrap();
    DirStore::new(folder.path()).put("keys.set", b"whole").unwrap();
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn what_cannot_be_read_is_not_taken_for_missing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("keys.set")).unwrap();
    let store = DirStore::new(folder.path());
    assert!(store.get("absent").unwrap().is_none());
    let error = load_key_set(&store).unwrap_err();
    assert!(error.to_string().starts_with("CIR-021: "), "{error}");
}

#[test]
fn missing_keys_are_one_line_that_says_what_to_do() {
    let error = load_key_set(&MemoryStore::default()).unwrap_err();
    assert!(matches!(error, RegistryError::Missing { .. }));
    assert!(error.to_string().contains("generate keys with `rollmill-agent keys"), "{error}");
}

#[test]
fn every_flipped_or_missing_byte_of_what_is_sealed_is_found() {
    let store = MemoryStore::default();
    let contents: Vec<u8> = (0..100).collect();
    store.put_sealed("x", contents.clone()).unwrap();
    assert_eq!(store.get_sealed("x").unwrap().unwrap(), contents);
    let bytes = store.get("x").unwrap().unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        store.put("x", &flipped).unwrap();
        assert!(store.get_sealed("x").unwrap().is_none(), "byte {at}");
        store.put("x", &bytes[..at]).unwrap();
        assert!(store.get_sealed("x").unwrap().is_none(), "cut at {at}");
    }
}

/// A damaged string is not made again behind the operator's back: it may be a ceremony's.
#[test]
fn a_damaged_or_foreign_srs_is_rejected_and_left_alone() {
    let store = MemoryStore::default();
    let mut bytes = Srs::development(3).to_bytes();
    bytes[200] ^= 1;
    store.put("srs.bin", &bytes).unwrap();
    let error = open_srs(&store, 31337).unwrap_err();
    assert!(matches!(error, RegistryError::Srs(SrsError::Digest)), "{error}");
    assert_eq!(store.get("srs.bin").unwrap().unwrap(), bytes);
}

#[test]
fn a_development_srs_is_neither_made_nor_taken_on_another_chain() {
    let store = MemoryStore::default();
    for chain_id in [1, 11_155_111] {
        let error = open_srs(&store, chain_id).unwrap_err();
        assert!(matches!(error, RegistryError::Srs(SrsError::Development { .. })), "{error}");
        assert!(store.get("srs.bin").unwrap().is_none());
    }
    store.put("srs.bin", &Srs::development(3).to_bytes()).unwrap();
    let error = open_srs(&store, 1).unwrap_err();
    assert!(matches!(error, RegistryError::Srs(SrsError::Development { chain_id: 1 })), "{error}");
    // One that is too short for the circuits is named with both lengths.
    let error = open_srs(&store, 31337).unwrap_err();
    assert!(matches!(error, RegistryError::Srs(SrsError::TooShort { .. })), "{error}");
}
