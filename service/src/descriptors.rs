//! The condition `descriptors`: the process can open more files. Connections are files too, and at the limit none is
//! accepted and nothing is written to a new file.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use crate::{Conditions, Shutdown};

const NAME: &str = "descriptors";
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// One part in so many of the limit must be left.
const PART: u64 = 10;
/// So many must be left however low the limit is: a burst of connections takes as many between two looks.
const LEFT_MIN: u64 = 64;

/// How many files this process has open.
///
/// # Errors
/// If the system does not say: there is no `/proc`, or the process can open no further file, which reading it takes.
pub(crate) fn open() -> io::Result<u64> {
    let files = std::fs::read_dir("/proc/self/fd")?;
    // One of them is the folder that is being read.
    Ok(u64::try_from(files.count()).unwrap_or(u64::MAX).saturating_sub(1))
}

/// How many files this process may have open; `None` where the system does not say.
pub(crate) fn most() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

/// Keeps the condition until the process shuts down.
pub(crate) async fn keep(conditions: Conditions, shutdown: Shutdown) {
    while !shutdown.is_started() {
        match most().and_then(|most| verdict(&open(), most)) {
            Some(holds) => conditions.set(NAME, holds),
            None => conditions.remove(NAME),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.started() => return,
        }
    }
}

/// Whether enough files are left; `None` where the system does not say how many are open.
fn verdict(open: &io::Result<u64>, most: u64) -> Option<Result<(), String>> {
    let open = match open {
        Ok(open) => *open,
        Err(error) => {
            // The process's own limit, or that of the machine.
            let is_full = [Errno::EMFILE, Errno::ENFILE]
                .iter()
                .any(|full| error.raw_os_error() == Some(*full as i32));
            let reason = format!("no further file can be opened ({error}); the limit is {most}");
            return is_full.then_some(Err(reason));
        }
    };
    let least = (most / PART).max(LEFT_MIN);
    let left = most.saturating_sub(open);
    Some(match left < least {
        true => Err(format!("{open} files are open of at most {most}; {least} must be left")),
        false => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_limit_and_64_files_must_be_left() {
        let holds = |open, most| verdict(&Ok(open), most).map(|holds| holds.is_ok());
        for (open, most, expected) in [
            (0, 1024, true),
            (922, 1024, true),
            (923, 1024, false),
            (1024, 1024, false),
            // The limit was lowered below what is open.
            (2000, 1024, false),
            (192, 256, true),
            (193, 256, false),
            (0, 64, true),
            (0, 63, false),
            (58_983, 65_536, true),
            (58_984, 65_536, false),
            (1 << 40, u64::MAX, true),
        ] {
            assert_eq!(holds(open, most), Some(expected), "{open} of {most}");
        }
        let reason = verdict(&Ok(193), 256).and_then(Result::err);
        assert_eq!(reason.as_deref(), Some("193 files are open of at most 256; 64 must be left"));
    }

    #[test]
    fn a_full_table_of_files_is_no_unknown_number() {
        for full in [Errno::EMFILE, Errno::ENFILE] {
            let found = verdict(&Err(io::Error::from_raw_os_error(full as i32)), 256);
            let reason = found.and_then(Result::err).unwrap();
            assert!(reason.starts_with("no further file can be opened (Too many"), "{reason}");
            assert!(reason.ends_with("the limit is 256"), "{reason}");
        }
        for unknown in [Errno::ENOENT, Errno::EACCES] {
            assert!(verdict(&Err(io::Error::from_raw_os_error(unknown as i32)), 256).is_none());
        }
    }
}
