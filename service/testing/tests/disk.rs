//! The disk is as small as it says, whatever makes it so.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use rollmill_service_testing::{MEANS, SmallDisk};

const BOTH: &str = "a_disk_fills_up_and_has_space_again";

#[test]
fn a_disk_fills_up_and_has_space_again() {
    let Some(disk) = SmallDisk::of_test(BOTH, 1 << 20) else { return };
    let (kept, other) = (disk.path().join("kept"), disk.path().join("other"));
    fs::write(&kept, [7; 4096]).unwrap();
    disk.fill(&[]);
    let error = fs::write(&other, [7; 4096]).unwrap_err();
    let expected =
        if disk.shows_free_space() { ErrorKind::StorageFull } else { ErrorKind::FileTooLarge };
    assert_eq!(error.kind(), expected, "{error}");
    assert_eq!(fs::read(&kept).unwrap(), [7; 4096]);
    disk.leave(4096, &[]);
    fs::write(&other, [7; 4096]).unwrap();
    assert!(fs::write(&other, [7; 8193]).is_err());
    disk.free(&[]);
    fs::write(&other, [7; 8193]).unwrap();
}

/// Fault: the system lets nobody mount anything, as in a container.
#[test]
fn a_system_without_mounts_limits_the_size_of_files() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", BOTH, "--nocapture"]).env(MEANS, "file-sizes");
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("on a limit on file sizes"), "{shown}");
}
