//! The cards of this machine: finding them, and knowing who else uses one.

#![expect(unsafe_code, reason = "the CUDA driver is a C library")]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUresult};

use crate::error::CudaError;

/// The oldest supported CUDA version, 12.0, in the driver's numbering: older drivers lack functions.
const DRIVER_NEEDED: i32 = 12_000;
/// The CUDA that the kernels are compiled with. A driver that supports it loads the
/// compiler's output. An older one may not, and then the error names the driver's age.
pub(crate) const DRIVER_OF_IMAGE: i32 = 13_000;

/// Processes on one card that know of each other.
const SLOTS: usize = 16;

/// A version as people write it.
pub(crate) fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

/// What the driver calls an error.
pub(crate) fn message(error: DriverError) -> String {
    // The driver's message needs the library, which is loaded, since the error came from it.
    format!("{:?}", error.0)
}

/// Starts the driver. Returns the CUDA version that it supports.
pub(crate) fn start(requested: &str) -> Result<i32, CudaError> {
    // SAFETY: only searches for the library.
    if !unsafe { sys::is_culib_present() } {
        let reason = "libcuda was not found".to_owned();
        return Err(CudaError::NoDriver { reason });
    }
    result::init().map_err(|error| match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => {
            CudaError::UnknownDevice { requested: requested.to_owned(), have: "none".to_owned() }
        }
        _ => CudaError::NoDriver { reason: format!("it does not start: {}", message(error)) },
    })?;
    let mut found = 0;
    // SAFETY: writes one number.
    let outcome = unsafe { sys::cuDriverGetVersion(&raw mut found) }.result();
    outcome.map_err(|error| CudaError::NoDriver { reason: message(error) })?;
    if found < DRIVER_NEEDED {
        let (found, needed) = (version(found), version(DRIVER_NEEDED));
        return Err(CudaError::DriverTooOld { found, needed });
    }
    Ok(found)
}

/// The identifier in the usual groups, after `GPU-`, or after `MIG-` for a slice of a card.
fn uuid_text(device: sys::CUdevice) -> Option<String> {
    // Of a slice this is the whole card's.
    let card = result::device::get_uuid(device).ok()?;
    let mut own = card;
    // SAFETY: writes the structure.
    let outcome = unsafe { sys::cuDeviceGetUuid_v2(&raw mut own, device) };
    let is_slice = outcome.result().is_ok() && own.bytes != card.bytes;
    let uuid = if is_slice { own } else { card };
    let hex: Vec<String> = uuid.bytes.iter().map(|byte| format!("{:02x}", *byte as u8)).collect();
    let part = |from: usize, to: usize| hex[from..to].concat();
    let parts = [part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16)];
    Some(format!("{}-{}", if is_slice { "MIG" } else { "GPU" }, parts.join("-")))
}

/// Every card with its UUID, in the driver's order.
fn all_cards(requested: &str) -> Result<Vec<(sys::CUdevice, String)>, CudaError> {
    let failed = |call, error| CudaError::Call {
        call,
        device: requested.to_owned(),
        reason: message(error),
    };
    let count = result::device::get_count().map_err(|error| failed("cuDeviceGetCount", error))?;
    let card = |i| {
        let device = result::device::get(i).map_err(|error| failed("cuDeviceGet", error))?;
        Ok((device, uuid_text(device).unwrap_or_default()))
    };
    (0..count).map(card).collect()
}

/// The card of this index or UUID, with its UUID if it has one.
pub(crate) fn find(requested: &str) -> Result<(sys::CUdevice, Option<String>), CudaError> {
    let cards = all_cards(requested)?;
    let named = cards.iter().enumerate().find(|(i, (_, uuid))| {
        requested == i.to_string() || (!uuid.is_empty() && requested.eq_ignore_ascii_case(uuid))
    });
    if let Some((_, (device, uuid))) = named {
        return Ok((*device, Some(uuid.clone()).filter(|uuid| !uuid.is_empty())));
    }
    let have: Vec<String> =
        cards.iter().enumerate().map(|(i, (_, uuid))| format!("{i} ({uuid})")).collect();
    let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    Err(CudaError::UnknownDevice { requested: requested.to_owned(), have })
}

/// The cards of this machine in the order of their indices, each with its name and UUID.
///
/// # Errors
/// [`CudaError::NoDriver`], [`CudaError::DriverTooOld`], or [`CudaError::UnknownDevice`] where the
/// driver finds no card.
pub fn cards() -> Result<Vec<String>, CudaError> {
    start("any")?;
    let describe = |(device, uuid): (sys::CUdevice, String)| {
        let name = result::device::get_name(device).unwrap_or_default();
        format!("{name} {uuid}")
    };
    Ok(all_cards("any")?.into_iter().map(describe).collect())
}

/// Tells other processes of this machine that a card is in use, as long as it lives. Only advice: nothing is locked.
#[derive(Debug)]
pub(crate) struct Claim {
    slot: Option<File>,
    others: usize,
}

impl Claim {
    /// On the card with this UUID.
    pub(crate) fn on(uuid: &str) -> Self {
        Self::within(&std::env::temp_dir(), uuid)
    }

    /// Takes the first file that nobody has locked, and counts those that somebody has.
    fn within(folder: &Path, uuid: &str) -> Self {
        let mut claim = Self { slot: None, others: 0 };
        for number in 0..SLOTS {
            let path = folder.join(format!("rollmill-{uuid}.{number}.lock"));
            let Some(file) = opened(path, claim.slot.is_none()) else { continue };
            match file.try_lock() {
                Ok(()) if claim.slot.is_none() => claim.slot = Some(file),
                Err(TryLockError::WouldBlock) => claim.others += 1,
                // Free, or of a file system without locks.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
        }
        claim
    }

    /// Other processes that had claimed the card.
    pub(crate) fn others(&self) -> usize {
        self.others
    }
}

/// A file of whoever made it: other users may only read it, which is enough to lock it.
fn opened(path: PathBuf, make: bool) -> Option<File> {
    match File::open(&path) {
        Err(error) if make && error.kind() == ErrorKind::NotFound => {
            OpenOptions::new().write(true).create_new(true).open(path).ok()
        }
        outcome => outcome.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Locks belong to open files, so that one process can stand for several.
    #[test]
    fn processes_on_one_card_know_of_each_other_until_they_end() {
        let folder = std::env::temp_dir().join(format!("rollmill-claims-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let claim = |uuid: &str| Claim::within(&folder, uuid);
        let (first, second) = (claim("GPU-1"), claim("GPU-1"));
        assert_eq!((first.others(), second.others()), (0, 1));
        assert_eq!(claim("GPU-2").others(), 0);
        drop(first);
        let third = claim("GPU-1");
        assert_eq!(third.others(), 1, "the second, which has another file than the first had");
        drop((second, third));
        assert_eq!(claim("GPU-1").others(), 0);
        assert_eq!(Claim::within(&folder.join("nowhere"), "GPU-1").others(), 0);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
