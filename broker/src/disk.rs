//! The rule for a disk that is nearly full: no artifacts and jobs are taken, so that results still can be.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::statvfs::statvfs;
use rollmill_broker_client::Role;

use crate::error::BrokerError;

/// Beyond this much free space a disk is not nearly full, however large it is.
const ENOUGH_BYTES: f64 = 64.0 * (1_u64 << 30) as f64;

/// The disk of the broker's data.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    min_percent: f64,
    /// Bits of the free share in percent while it is too low, else of 100.
    low: AtomicU64,
}

/// Whether enough of the disk of a directory is free for a broker with this setting. A directory that does not exist says
/// nothing.
///
/// # Errors
/// [`BrokerError::DiskFull`].
pub fn check_disk(dir: &Path, min_percent: u32) -> Result<(), BrokerError> {
    Disk::new(dir, min_percent).look()
}

impl Disk {
    pub(crate) fn new(dir: &Path, min_percent: u32) -> Self {
        let low = AtomicU64::new(100_f64.to_bits());
        Self { dir: dir.to_owned(), min_percent: f64::from(min_percent), low }
    }

    /// The directory, as the settings have it.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the free space. A directory that cannot be read, such as one that does not exist, says nothing.
    pub(crate) fn look(&self) -> Result<(), BrokerError> {
        let space = statvfs(&self.dir).ok().map(|space| {
            // The types of the fields differ between platforms. A float is exact up to 8 PiB.
            let bytes = |blocks| blocks as f64 * space.fragment_size() as f64;
            (bytes(space.blocks_available()), bytes(space.blocks()))
        });
        let low = space.and_then(|(free, size)| shortage(free, size, self.min_percent));
        self.low.store(low.unwrap_or(100.0).to_bits(), Ordering::Relaxed);
        self.require()
    }

    /// Rejects an upload while there is too little space, unless it may be a result: a job that is done is what lets an
    /// epoch end, and so what makes space. Whoever needs no token, or may do everything, may be an agent; its jobs are
    /// rejected all the same.
    pub(crate) fn require_for(&self, role: Role) -> Result<(), BrokerError> {
        match role {
            Role::Producer => self.require(),
            Role::Agent | Role::Fleet | Role::Operator | Role::Reader => Ok(()),
        }
    }

    /// Rejects what needs space while there is too little.
    pub(crate) fn require(&self) -> Result<(), BrokerError> {
        let free_percent = f64::from_bits(self.low.load(Ordering::Relaxed));
        match free_percent < 100.0 {
            true => Err(BrokerError::DiskFull { free_percent }),
            false => Ok(()),
        }
    }
}

/// The free share in percent if it is too low.
fn shortage(free: f64, size: f64, min_percent: f64) -> Option<f64> {
    let percent = 100.0 * free / size;
    (size > 0.0 && percent < min_percent && free < ENOUGH_BYTES).then_some(percent.min(99.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1_u64 << 30) as f64;

    #[test]
    fn a_disk_is_nearly_full_below_the_share_unless_much_is_left() {
        for (free, size, min, low) in [
            (15.0, 100.0, 15.0, false),
            (14.9, 100.0, 15.0, true),
            (0.0, 100.0, 15.0, true),
            (0.0, 100.0, 0.0, false),
            (70.0, 4000.0, 15.0, false),
            (60.0, 4000.0, 15.0, true),
            (0.0, 0.0, 15.0, false),
        ] {
            let found = shortage(free * GIB, size * GIB, min);
            assert_eq!(found.is_some(), low, "{free} of {size} GiB at {min} %: {found:?}");
        }
    }

    /// Fault: no space by the rule, then the rule is met again.
    #[test]
    fn a_full_disk_rejects_until_there_is_space() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path(), 0);
        disk.look().unwrap();
        disk.low.store(3.5_f64.to_bits(), Ordering::Relaxed);
        assert_eq!(disk.require().unwrap_err().code(), "BRK-065");
        assert_eq!(disk.require_for(Role::Producer).unwrap_err().code(), "BRK-065");
        for role in [Role::Agent, Role::Fleet] {
            disk.require_for(role).expect("a result is taken");
        }
        disk.look().unwrap();
        disk.require().unwrap();
    }
}
