//! Rows on disk: what was written is read again, and damage to one costs no other.

use rollmill_broker_client::Digest;
use rollmill_prover_node::ranges::store::RowStore;
use rollmill_prover_node::ranges::{Command, GaveUp, Inclusion, Parking, Root, Row, State};
use tempfile::TempDir;

use crate::memory;
use crate::rules::{inclusion, live, row};

fn store() -> (TempDir, RowStore) {
    let disk = tempfile::tempdir_in(memory()).unwrap();
    let store = RowStore::open(disk.path()).unwrap();
    (disk, store)
}

/// A row in each state, numbered.
fn every_state() -> Vec<Row> {
    let mut rows = live();
    rows.push(row(State::Final { inclusion: inclusion() }));
    rows.push(row(State::Superseded));
    for reason in [GaveUp::Stale, GaveUp::Late, GaveUp::Abandoned] {
        rows.push(row(State::GivenUp { reason }));
    }
    for (id, row) in (1..).zip(&mut rows) {
        row.id = id;
    }
    let named: std::collections::BTreeSet<_> = rows.iter().map(|row| row.state.as_str()).collect();
    assert_eq!(named, State::NAMES.into_iter().collect(), "a state without a row");
    rows
}

#[test]
fn a_row_in_every_state_is_read_as_it_was_written() {
    let (_disk, store) = store();
    let rows = every_state();
    rows.iter().for_each(|row| store.put(row).unwrap());
    assert_eq!(store.read().unwrap(), (rows, Vec::new()));
}

#[test]
fn the_largest_and_smallest_figures_are_kept() {
    let (_disk, store) = store();
    for (big, small) in [(u64::MAX, u32::MAX), (0, 0)] {
        let mut row = row(State::Final {
            inclusion: Inclusion {
                attempt: small,
                l1_block: big,
                gas_used: big,
                fee_wei: u128::from(big) << 64 | u128::from(big),
                ..inclusion()
            },
        });
        (row.epoch, row.not_before, row.accepted_until) = (big, big, Some(big));
        (row.attempt, row.failures) = (small, small);
        store.put(&row).unwrap();
        assert_eq!(store.load().unwrap(), [row]);
    }
}

/// Goal: a damaged file loses only its own row, and is kept for an operator.
#[test]
fn each_damage_is_noticed_and_costs_no_other_row() {
    let (disk, store) = store();
    let rows = every_state();
    let path = disk.path().join("00000001.json");
    rows.iter().for_each(|row| store.put(row).unwrap());
    let good = std::fs::read(&path).unwrap();
    let other = std::fs::read(disk.path().join("00000002.json")).unwrap();
    let changed = |from: &str, to: &str| {
        let text = String::from_utf8(good.clone()).unwrap();
        assert!(text.contains(from));
        text.replacen(from, to, 1).into_bytes()
    };
    let damages = [
        Vec::new(),
        good[..good.len() / 2].to_vec(),
        vec![0; good.len()],
        other,
        changed("\"attempt\": 1", "\"attempt\": 2"),
        changed("\"frozen\"", "\"frozem\""),
        changed("\"state\": \"planned\"", "\"state\": \"superseded\""),
    ];
    for damage in damages {
        std::fs::write(&path, &damage).unwrap();
        let (left, damaged) = store.read().unwrap();
        assert_eq!(left, rows[1..], "after {} bytes", damage.len());
        assert_eq!(damaged.len(), 1);
        assert_eq!(store.load().unwrap(), rows[1..]);
        let aside = disk.path().join("00000001.damaged");
        assert_eq!(std::fs::read(&aside).unwrap(), damage, "the file is kept");
        assert!(!path.exists());
        std::fs::remove_file(aside).unwrap();
    }
}

/// Goal: an upgrade in the middle of a range does not have it proven again. Method: a row as a release
/// wrote it that did not know one of the fields.
#[test]
fn a_row_without_a_field_of_this_release_is_read() {
    let (disk, store) = store();
    let row = Row { accepted_until: None, ..live().remove(0) };
    store.put(&row).unwrap();
    let path = disk.path().join(format!("{:08}.json", row.id));
    let text = std::fs::read_to_string(&path).unwrap();
    let sealed = &text[text.find("\"row\": ").unwrap() + 7..text.rfind('}').unwrap()];
    let older = sealed.trim().replace("\n  \"accepted_until\": null,", "");
    assert_ne!(older, sealed.trim());
    let digest = Digest::of(older.as_bytes());
    std::fs::write(&path, format!("{{\"digest\": \"{digest}\", \"row\": {older}}}")).unwrap();
    assert_eq!(store.read().unwrap(), (vec![row], Vec::new()));
}

#[test]
fn a_changed_root_is_no_root() {
    let (disk, store) = store();
    let digest = store.put_root(b"a proof").unwrap();
    let root = Root { digest: digest.clone(), last: live()[0].blocks[0] };
    assert_eq!(store.root(&root).as_deref(), Some(&b"a proof"[..]));
    std::fs::write(disk.path().join(format!("{digest}.root")), b"a prooF").unwrap();
    assert_eq!(store.root(&root), None);
    std::fs::remove_file(disk.path().join(format!("{digest}.root"))).unwrap();
    assert_eq!(store.root(&root), None);
}

#[test]
fn a_command_waits_for_its_row_until_it_is_taken() {
    let (disk, store) = store();
    assert!(store.put_command(1, Command::Retry).unwrap_err().to_string().starts_with("PRN-041"));
    let parked =
        row(State::Parked { parking: Parking::Operator { reason: "look".into() }, intent: None });
    store.put(&parked).unwrap();
    store.put_command(1, Command::Retry).unwrap();
    // Another process reads it.
    let reopened = RowStore::open(disk.path()).unwrap();
    assert_eq!(reopened.command(1), Some(Command::Retry));
    reopened.take_command(1).unwrap();
    assert_eq!(store.command(1), None);
    store.take_command(1).unwrap();
}

/// Fault: a prover node was killed while it wrote a root, whose name no later one has.
#[test]
fn what_a_killed_process_left_goes_when_the_directory_is_opened_to_write() {
    let (disk, store) = store();
    store.put(&live()[0]).unwrap();
    let left = disk.path().join(format!("{}.root.0123456789abcdef.part", Digest::of(b"a proof")));
    std::fs::write(&left, "half").unwrap();
    // A command that only reads may run while a prover node writes.
    let (rows, damaged) = RowStore::existing(disk.path()).unwrap().read().unwrap();
    assert_eq!((rows.len(), damaged.len(), left.exists()), (1, 0, true));
    RowStore::open(disk.path()).unwrap();
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 1);
}

/// Goal: a command that does not apply to the state of its range is rejected.
#[test]
fn a_command_that_does_nothing_now_is_rejected() {
    let (_disk, store) = store();
    for row in every_state() {
        store.put(&row).unwrap();
        let waits = row.state.as_str() == "parked_operator";
        for (command, applies) in [(Command::Retry, waits), (Command::Abandon, !row.state.is_end())]
        {
            match store.put_command(row.id, command) {
                Ok(()) => assert!(applies, "{command:?} of {}", row.state.as_str()),
                Err(error) => {
                    assert!(!applies && error.to_string().starts_with("PRN-042"), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_command_goes_with_its_row() {
    let (disk, store) = store();
    store.put(&every_state()[0]).unwrap();
    store.put_command(1, Command::Abandon).unwrap();
    std::fs::write(disk.path().join("00000001.json"), "damage").unwrap();
    assert_eq!(store.load().unwrap(), []);
    assert_eq!(store.command(1), None);
}
