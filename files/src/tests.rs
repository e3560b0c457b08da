use std::cell::RefCell;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rollmill_service_testing::SmallDisk;

use super::*;

thread_local! {
    /// The folders whose names this thread has synced.
    pub(super) static SYNCED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn write_private(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    place(Unfinished::create_private(path)?, parts)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_new_file_takes_the_place_of_the_old_one_and_no_other_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    for text in ["first", "second"] {
        write(&path, &[text.as_bytes(), b"!"]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}!"));
    }
    write(&path, &[]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(names(folder.path()), ["a"]);
}

/// Fault: several threads write one file at once. With one temporary name each would rename another's half.
#[test]
fn writers_at_once_all_succeed_and_leave_one_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::thread::scope(|scope| {
        for i in 0..8u8 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..20 {
                    write(path, &[&[i; 4096], &[i; 100]]).unwrap();
                    // Not even in the way of the others.
                    sweep(path);
                }
            });
        }
    });
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() == 4196 && bytes.iter().all(|byte| *byte == bytes[0]));
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn each_unfinished_file_has_a_name_of_its_own_that_says_whose_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let files: Vec<Unfinished> = (0..100).map(|_| Unfinished::create(&path).unwrap()).collect();
    let names = names(folder.path());
    assert_eq!(names.len(), 100);
    for name in &names {
        assert_eq!(finished_name(OsStr::new(name)), Some(&b"a.json"[..]), "{name}");
    }
    drop(files);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "what is not placed is removed");
    for other in [
        "a",
        "a.part",
        ".0123456789abcdef.part",
        "a.0123456789abcdeF.part",
        "0123456789abcdef.part",
    ] {
        assert_eq!(finished_name(OsStr::new(other)), None, "{other}");
    }
}

#[test]
fn a_private_file_is_private_from_its_first_byte_and_whatever_was_there_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut file = Unfinished::create_private(&path).unwrap();
    assert_eq!(mode(&file.aside), 0o600);
    file.write_all(b"new").unwrap();
    file.place().unwrap();
    assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o600, b"new".to_vec()));
    write_private(&path, &[b"newer"]).unwrap();
    assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o600, b"newer".to_vec()));
    // Any other file has the mode that a file has here.
    let (plain, usual) = (folder.path().join("plain"), folder.path().join("usual"));
    fs::write(&usual, "").unwrap();
    write(&plain, &[b"text"]).unwrap();
    assert_eq!(mode(&plain), mode(&usual));
}

#[test]
fn what_cannot_be_written_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("file"), "text").unwrap();
    // A directory in the place of the file, a missing folder, a file as its folder, and no name.
    for name in ["folder", "missing/a", "file/a", "folder/.."] {
        write(&at(name), &[b"x"]).unwrap_err();
        write_private(&at(name), &[b"x"]).unwrap_err();
    }
    write(Path::new(""), &[b"x"]).unwrap_err();
    assert_eq!(names(folder.path()), ["file", "folder"]);
    assert_eq!(fs::read_dir(at("folder")).unwrap().count(), 0);
    assert_eq!(fs::read(at("file")).unwrap(), b"text");
}

/// Fault: the disk is full. Goal: the old file stays, nothing takes space beside it, and the next attempt succeeds.
#[test]
fn a_full_disk_costs_nothing_that_was_there() {
    let name = "tests::a_full_disk_costs_nothing_that_was_there";
    let Some(disk) = SmallDisk::of_test(name, 1 << 20) else { return };
    let folder = disk.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("a");
    write(&path, &[b"old"]).unwrap();
    disk.fill(&[]);
    let large = vec![7u8; 1 << 18];
    write(&path, &[&large]).unwrap_err();
    write_private(&path, &[&large]).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(&folder), ["a"]);
    disk.free(&[]);
    write(&path, &[b"new"]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn links_are_replaced_and_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (other, path) = (folder.path().join("other"), folder.path().join("a"));
    fs::write(&other, "old").unwrap();
    symlink(&other, &path).unwrap();
    write(&path, &[b"new"]).unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"old");
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

/// Method: a file of the form of an unfinished one without a lock, as the operating system leaves it of a killed
/// process.
#[test]
fn a_sweep_removes_what_killed_writers_left_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("a"), folder.path().join("b"));
    let leave = |path: &Path| {
        let left = path.with_file_name(unfinished_name(path.file_name().unwrap()));
        fs::write(&left, "half").unwrap();
        left
    };
    let mut alive = Unfinished::create(&path).unwrap();
    let (left, left_of_other) = (leave(&path), leave(&other));
    let link = path.with_file_name(unfinished_name(OsStr::new("a")));
    symlink("b", &link).unwrap();
    fs::write(folder.path().join("a.part"), "of somebody else").unwrap();
    let unlinked = |path: &Path| fs::symlink_metadata(path).is_err();
    sweep(&path);
    assert!(unlinked(&left) && !unlinked(&left_of_other) && !unlinked(&link));
    sweep_folder(folder.path());
    assert!(unlinked(&left_of_other) && !unlinked(&link));
    alive.write_all(b"whole").unwrap();
    alive.place().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    fs::remove_file(&link).unwrap();
    assert_eq!(names(folder.path()), ["a", "a.part"]);
    // The next writer sweeps as well.
    leave(&path);
    write(&path, &[b"again"]).unwrap();
    assert_eq!(names(folder.path()), ["a", "a.part"]);
    // A folder that is not there has nothing to remove.
    sweep(&folder.path().join("missing/a"));
    sweep_folder(&folder.path().join("missing"));
}

/// Attack: who may write in the folder puts a pipe or a link there, also between the listing of the folder and the
/// opening. Goal: nobody waits for a reader, and nothing outside is opened or removed.
#[test]
fn a_sweep_neither_waits_for_a_pipe_nor_follows_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("other"), "of somebody else").unwrap();
    let (pipe, link) = (at("a.0123456789abcdef.part"), at("a.123456789abcdef0.part"));
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    symlink(at("other"), &link).unwrap();
    for other in [pipe.as_path(), link.as_path(), folder.path()] {
        open_file(other).unwrap_err();
    }
    sweep(&at("a"));
    sweep_folder(folder.path());
    write(&at("a"), &[b"text"]).unwrap();
    // With a reader a pipe can be opened at once.
    let reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    assert_eq!(open_file(&pipe).unwrap_err().kind(), ErrorKind::InvalidInput);
    sweep_folder(folder.path());
    drop(reader);
    assert_eq!(fs::read(at("other")).unwrap(), b"of somebody else");
    let left = ["a", "a.0123456789abcdef.part", "a.123456789abcdef0.part", "other"];
    assert_eq!(names(folder.path()), left);
    assert!(open_file(&at("other")).is_ok());
}

/// Fault: a sweep has the lock of a file before its writer, or has removed it.
#[test]
fn a_file_that_a_sweep_found_first_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let created = || Unfinished::create(&folder.path().join("a")).unwrap();
    let (locked, removed) = (created(), created());
    locked.file.unlock().unwrap();
    let sweeping = File::open(&locked.aside).unwrap();
    sweeping.try_lock().unwrap();
    assert!(!locked.hold().unwrap());
    fs::remove_file(&removed.aside).unwrap();
    assert!(!removed.hold().unwrap());
    // Not by closing it: a child process that another test starts at this moment has it open, too.
    sweeping.unlock().unwrap();
    assert!(locked.hold().unwrap());
}

#[test]
fn a_renamed_file_has_its_new_name_only() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&from, "text").unwrap();
    rename(&from, &to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"text");
    assert_eq!(names(folder.path()), ["b"]);
    rename(&from, &to).unwrap_err();
}

/// Fault: a file system whose folders cannot be synced, as /proc. Goal: no writer fails on it for that.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_synced_is_no_error_and_a_missing_one_is() {
    let error = File::open("/proc").unwrap().sync_all().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    sync_folder_of(Path::new("/proc/version")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    sync_folder_of(&folder.path().join("a")).unwrap();
    sync_folder_of(&folder.path().join("missing/a")).unwrap_err();
}

/// Fault: the power fails after a folder was made and a file in it was synced. Goal: the folder's name was synced before
/// anything was made in it, also where a killed process made the folder.
#[test]
fn a_folder_is_synced_into_the_one_above_before_anything_is_made_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let synced = || SYNCED.take();
    make_folder(&at("a/b/c")).unwrap();
    assert!(at("a/b/c").is_dir());
    assert_eq!(synced(), [folder.path().to_owned(), at("a"), at("a/b"), at("a/b/c")]);
    make_folder(&at("a/b/c")).unwrap();
    assert_eq!(synced(), [at("a/b/c")], "one that is there");
    make_folder_of(&at("a/d/file")).unwrap();
    assert_eq!(synced(), [at("a"), at("a/d")]);
    make_private_folder(&at("a/e/f")).unwrap();
    assert_eq!((mode(&at("a/e")), mode(&at("a/e/f"))), (0o700, 0o700));
    assert_eq!(synced(), [at("a"), at("a/e"), at("a/e/f")]);
    // The working directory is there.
    make_folder_of(Path::new("file")).unwrap();
    make_folder(Path::new("")).unwrap();
}

#[test]
fn a_folder_is_made_through_links_and_never_in_the_place_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink("real", at("link")).unwrap();
    make_folder(&at("link/a")).unwrap();
    assert!(at("real/a").is_dir());
    make_folder(&at("b/../c")).unwrap();
    assert!(at("b").is_dir() && at("c").is_dir());
    fs::write(at("file"), "text").unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    for name in ["file", "file/a", "dangling"] {
        make_folder(&at(name)).unwrap_err();
        make_private_folder(&at(name)).unwrap_err();
    }
    assert_eq!(fs::read(at("file")).unwrap(), b"text");
}

/// Fault: several processes start at once in a folder that is missing.
#[test]
fn makers_of_one_folder_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| make_folder(&folder.path().join("a/b/c/d")).unwrap());
        }
    });
    assert!(folder.path().join("a/b/c/d").is_dir());
}
