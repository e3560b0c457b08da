//! Several processes and one file. The other process is this test program with another task.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rollmill_pxe_store::{Store, StoreError};

use crate::support::COST;

/// What the other process does, and on which file.
const TASK: &str = "ROLLMILL_TEST_TASK";
const FILE: &str = "ROLLMILL_TEST_FILE";

/// Starts the other process.
pub(crate) fn child(task: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "processes::the_other_process"])
        .env(TASK, task)
        .env(FILE, path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started")
}

/// Does nothing unless [`child`] started it.
#[test]
fn the_other_process() {
    let (Some(task), Some(path)) = (std::env::var_os(TASK), std::env::var_os(FILE)) else { return };
    let path = Path::new(&path);
    match task.to_str() {
        Some("change") => {
            let store = Store::open(path, "old").expect("opens");
            drop(store.change_password("old", "new", COST).expect("changed"));
        }
        Some("open") => drop(Store::open(path, "p").expect("opens")),
        Some("find it in use") => {
            let error = Store::open(path, "p").expect_err("in use");
            assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        }
        other => panic!("no task {other:?}"),
    }
}

fn succeeds(task: &str, path: &Path) -> bool {
    child(task, path).wait().expect("ended").success()
}

#[test]
fn a_file_is_open_in_one_process() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let store = Store::create(&path, "p", COST).expect("created");
    assert!(succeeds("find it in use", &path));
    assert!(!succeeds("open", &path));
    let error = Store::open(&path, "p").expect_err("in use");
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(store);
    assert!(succeeds("open", &path));
    assert!(!succeeds("find it in use", &path));
    Store::open(&path, "p").expect("free");
}

#[test]
fn a_store_is_neither_overwritten_nor_made_by_opening_it() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("deep/wallet.pxe");
    let error = Store::open(&path, "p").expect_err("missing");
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    drop(Store::create(&path, "p", COST).expect("created"));
    let error = Store::create(&path, "q", COST).expect_err("exists");
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    drop(Store::open(&path, "p").expect("untouched"));
    let error = Store::open(&path, "q").expect_err("another password");
    assert!(matches!(error, StoreError::Password), "{error}");
    std::fs::write(&path, b"").expect("emptied");
    let error = Store::open(&path, "p").expect_err("empty");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

/// Fault: the new file is written through a link, or into a file that others can read.
#[test]
fn a_new_file_is_not_written_into_what_has_its_name() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let (beside, other) = (folder.path().join("wallet.pxe.new"), folder.path().join("other"));
    std::fs::write(&other, b"precious").expect("written");
    symlink(&other, &beside).expect("link");
    let store = Store::create(&path, "p", COST).expect("created");
    symlink(&other, &beside).expect("link");
    drop(store.change_password("p", "q", COST).expect("changed"));
    assert_eq!(std::fs::read(&other).expect("read"), b"precious");
    assert!(path.symlink_metadata().expect("metadata").is_file());

    std::fs::write(&beside, b"").expect("written");
    let by_all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&beside, by_all).expect("readable by all");
    std::fs::remove_file(&path).expect("removed");
    drop(Store::create(&path, "p", COST).expect("created"));
    let mode = path.metadata().expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_lies_beside_a_file_that_is_no_store_is_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let (path, beside) = (folder.path().join("text"), folder.path().join("text.new"));
    std::fs::write(&path, b"a text").expect("written");
    std::fs::write(&beside, b"another text").expect("written");
    let error = Store::open(&path, "p").expect_err("no store");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(std::fs::read(&beside).expect("read"), b"another text");
}

/// Goal: other users of the machine read neither the file nor what stands beside it.
#[test]
fn files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wallet.pxe");
    let store = Store::create(&path, "p", COST).expect("created");
    drop(store.change_password("p", "q", COST).expect("changed"));
    for entry in std::fs::read_dir(folder.path()).expect("folder") {
        let entry = entry.expect("entry");
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
}
