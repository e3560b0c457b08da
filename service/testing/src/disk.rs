//! A small disk for tests, which fill it up and free it again.
//!
//! A test that asks for one runs again in a process of its own ([`SmallDisk::of_test`]). There a directory is a tmpfs
//! in a mount namespace, which root can make, and on many systems every user in a user namespace. Where neither is
//! allowed, as for root in a container without CAP_SYS_ADMIN, the size of the process's files is limited instead
//! (RLIMIT_FSIZE): writing fails for real too, with another error, while the file system still shows free space. The
//! test prints which it is.

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The directory, in the process that has the disk.
const DIR: &str = "ROLLMILL_TEST_DISK";
/// The name of the [`Means`] in that process. Set for a test program it chooses them.
pub const MEANS: &str = "ROLLMILL_TEST_DISK_MEANS";
/// The file that takes the space.
const BALLAST: &str = "ballast";

/// Ways into a mount namespace: as root, and as any user where the system allows user namespaces.
const NAMESPACES: [&[&str]; 2] =
    [&["unshare", "--mount"], &["unshare", "--user", "--map-root-user", "--mount"]];
/// Mounts a tmpfs of `$1` bytes at `$0`, and becomes the program that follows.
const MOUNT: &str =
    r#"mount -t tmpfs -o "size=$1,mode=755" rollmill-test "$0" && shift && exec "$@""#;
/// Ignores the signal that comes with the error, and becomes the program that follows.
const LIMITED: &str = r#"trap '' XFSZ; exec "$@""#;

/// What makes the disk small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A tmpfs of the size asked for.
    Tmpfs,
    /// A limit on the size of each file. Free space is not that of a full disk.
    FileSizes,
}

impl Means {
    const fn name(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::FileSizes => "file-sizes",
        }
    }

    fn chosen() -> Option<Self> {
        let name = std::env::var(MEANS).ok()?;
        [Self::Tmpfs, Self::FileSizes].into_iter().find(|means| means.name() == name)
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tmpfs => "a tmpfs",
            Self::FileSizes => {
                "a limit on file sizes, since no tmpfs can be mounted: that needs CAP_SYS_ADMIN or user namespaces"
            }
        })
    }
}

/// A directory on a small disk.
#[derive(Debug)]
pub struct SmallDisk {
    dir: PathBuf,
    means: Means,
}

impl SmallDisk {
    /// Runs the test `name`, as its program lists it, again in a process that has a disk of `bytes`, and returns
    /// `None`. In that process it returns the disk.
    ///
    /// # Panics
    /// When the test fails there.
    pub fn of_test(name: &str, bytes: u64) -> Option<Self> {
        if let Some(dir) = std::env::var_os(DIR) {
            return Some(Self { dir: dir.into(), means: Means::chosen().unwrap_or(Means::Tmpfs) });
        }
        let dir = or_panic(tempfile::tempdir());
        let words = match Means::chosen() {
            Some(Means::FileSizes) => None,
            Some(Means::Tmpfs) | None => namespace(dir.path()),
        };
        let (means, mut command) = match words {
            Some(words) => (Means::Tmpfs, mounted(words, dir.path(), bytes)),
            None => {
                let mut command = Command::new("sh");
                command.args(["-c", LIMITED, "sh"]);
                (Means::FileSizes, command)
            }
        };
        command.arg(or_panic(std::env::current_exe())).args(["--exact", name, "--nocapture"]);
        command.env(DIR, dir.path()).env(MEANS, means.name()).stdin(Stdio::null());
        let output = or_panic(command.output());
        let texts = [output.stdout, output.stderr];
        let shown = texts.map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        // A name that no test has is no failure of the program.
        let is_done = output.status.success() && shown.contains("1 passed");
        assert!(is_done, "{name} on {means}: {}\n{shown}", output.status);
        println!("{name}: on {means}");
        None
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Whether the file system itself is full when the disk is.
    pub fn shows_free_space(&self) -> bool {
        self.means == Means::Tmpfs
    }

    /// Leaves no space. `others` are the processes that write to the disk besides this one.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn fill(&self, others: &[u32]) {
        self.leave(0, others);
    }

    /// Leaves `bytes`, or lets each file have so many.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn leave(&self, bytes: u64, others: &[u32]) {
        if self.means == Means::FileSizes {
            return limit(&bytes.to_string(), others);
        }
        let path = self.dir.join(BALLAST);
        let mut ballast = or_panic(File::options().create(true).append(true).open(path));
        let zeros = vec![0; 1 << 16];
        loop {
            match ballast.write_all(&zeros) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
        let length = or_panic(ballast.metadata()).len();
        or_panic(ballast.set_len(length.saturating_sub(bytes)));
    }

    /// Gives all space back.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn free(&self, others: &[u32]) {
        match self.means {
            Means::Tmpfs => or_panic(fs::remove_file(self.dir.join(BALLAST))),
            Means::FileSizes => limit("unlimited", others),
        }
    }
}

/// The first way into a mount namespace that this system allows.
fn namespace(dir: &Path) -> Option<&'static [&'static str]> {
    NAMESPACES.into_iter().find(|words| {
        let mut probe = mounted(words, dir, 1 << 20);
        probe.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    })
}

/// A command that mounts the disk and becomes the program of its further arguments.
fn mounted(namespace: &[&str], dir: &Path, bytes: u64) -> Command {
    let mut command = Command::new(namespace[0]);
    command.args(&namespace[1..]).args(["sh", "-c", MOUNT]).arg(dir).arg(bytes.to_string());
    command
}

/// Limits the files of this process and of others, by the program of util-linux.
fn limit(bytes: &str, others: &[u32]) {
    let own = std::process::id();
    for pid in std::iter::once(&own).chain(others) {
        let mut command = Command::new("prlimit");
        // The soft limit alone, which can be raised again.
        command.args(["--pid", &pid.to_string(), &format!("--fsize={bytes}:")]);
        let status = or_panic(command.status());
        assert!(status.success(), "the files of process {pid} are not limited: {status}");
    }
}

#[track_caller]
fn or_panic<T, E: fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
