//! Sizes of the CPU device that suit this machine, measured once and kept beside the keys.
//!
//! They change how long a proof takes and never what it is, so a file that cannot be used is ignored.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rollmill_algebra::cpu::{CpuDevice, Tuning};
use rollmill_algebra::device::Memory;
use serde::{Deserialize, Serialize};

use crate::machine;

const FILE: &str = "cpu-tuning.json";
/// A file has some 150 bytes.
const BYTES_MAX: u64 = 4 << 10;
const SCHEMA: u32 = 1;

/// What the files of all releases have.
#[derive(Debug, Deserialize)]
struct Versioned {
    schema: u32,
}

/// The contents of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    schema: u32,
    /// The processor and the path that the sizes were measured on: a cache may be copied to another machine.
    cpu: String,
    path: String,
    bucket_cost: u32,
    log_block: u32,
}

/// What a file says.
#[derive(Debug, PartialEq)]
enum Found {
    Nothing,
    /// Sizes of another processor or path.
    Other,
    Sizes(Tuning),
    /// One line on why it cannot be used.
    Bad(String),
}

/// The file of this machine: beside the directory of keys, which may be shared between machines.
pub(crate) fn file() -> Option<PathBuf> {
    Some(rollmill_circuits::store::cache_dir(None).parent()?.join(FILE))
}

/// What the kernel says about the processor, by the names of x86-64 and those of aarch64: virtual machines shorten
/// the name.
fn processor() -> String {
    let keys = ["model name", "cpu family", "model", "CPU implementer", "CPU part"];
    let said = keys.iter().filter_map(|key| machine::field("/proc/cpuinfo", key));
    said.collect::<Vec<_>>().join("/")
}

/// The device with the sizes in this file, or as it is where the file has none for it. A damaged file is a warning.
pub(crate) fn applied(device: CpuDevice, file: Option<&Path>) -> CpuDevice {
    match file.map(|path| (path, found(path, &device))) {
        Some((_, Found::Sizes(tuning))) => device.tuned(tuning),
        Some((path, Found::Bad(reason))) => {
            tracing::warn!(path = %path.display(), reason, "calibration ignored");
            device
        }
        Some((_, Found::Nothing | Found::Other)) | None => device,
    }
}

/// Measures the sizes for this machine and keeps them in the file, unless it has them already. The device uses them.
/// What cannot be measured or written is a warning: the usual sizes serve as well.
pub(crate) fn measured(mut device: CpuDevice, file: Option<&Path>) -> CpuDevice {
    let Some(path) = file else { return device };
    if let Found::Sizes(tuning) = found(path, &device) {
        return device.tuned(tuning);
    }
    let started = Instant::now();
    let usual = device.tuning();
    let outcome = device.calibrate(&|| started.elapsed().as_secs_f64());
    let outcome = outcome.map_err(|error| error.to_string()).and_then(|tuning| {
        let written = write(path, &device, tuning);
        written.map_err(|error| rollmill_errors::InWords(&error).to_string())
    });
    match outcome {
        Ok(()) => {
            let seconds = started.elapsed().as_secs();
            tracing::info!(device = device.name(), path = %path.display(), seconds, "CPU calibrated");
            device
        }
        Err(error) => {
            tracing::warn!(device = device.name(), path = %path.display(), error, "CPU not calibrated");
            device.tuned(usual)
        }
    }
}

fn found(path: &Path, device: &CpuDevice) -> Found {
    match read(path).map(|bytes| parsed(&bytes)) {
        Ok(Ok(kept)) => of(&kept, device),
        Ok(Err(reason)) => Found::Bad(reason),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::Bad(rollmill_errors::InWords(&error).to_string()),
    }
}

/// The contents of the file, or the start of one that is too long.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Opening a pipe would wait for a writer. One that takes the file's place at this moment is not expected.
    if std::fs::metadata(path)?.is_file() {
        std::fs::File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    Err(std::io::Error::other("it is not a file"))
}

fn parsed(bytes: &[u8]) -> Result<Kept, String> {
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("it is longer than {BYTES_MAX} bytes"));
    }
    // First, since another release's file may have other fields.
    if let Ok(Versioned { schema }) = serde_json::from_slice(bytes)
        && schema != SCHEMA
    {
        return Err(format!("it has schema {schema}, and this release has {SCHEMA}"));
    }
    serde_json::from_slice(bytes).map_err(|_| "it is not a calibration".to_owned())
}

/// The sizes that a file has for this device.
fn of(kept: &Kept, device: &CpuDevice) -> Found {
    if kept.cpu != processor() || kept.path != device.path().name() {
        return Found::Other;
    }
    match Tuning::new(kept.bucket_cost, kept.log_block) {
        Some(tuning) => Found::Sizes(tuning),
        None => Found::Bad(format!(
            "a bucket cost of {} or blocks of 2^{} are out of range",
            kept.bucket_cost, kept.log_block
        )),
    }
}

/// Writes the file and makes its folder.
fn write(path: &Path, device: &CpuDevice, tuning: Tuning) -> std::io::Result<()> {
    let kept = Kept {
        schema: SCHEMA,
        cpu: processor(),
        path: device.path().name().to_owned(),
        bucket_cost: tuning.bucket_cost(),
        log_block: tuning.log_block(),
    };
    let mut bytes = serde_json::to_vec(&kept)?;
    bytes.push(b'\n');
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    rollmill_files::write(path, &[&bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> Tuning {
        Tuning::new(450, 12).unwrap()
    }

    #[test]
    fn sizes_are_read_as_they_were_written_and_only_for_their_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below").join(FILE);
        let device = CpuDevice::portable(1);
        assert_eq!(found(&path, &device), Found::Nothing);
        write(&path, &device, sizes()).unwrap();
        assert_eq!(found(&path, &device), Found::Sizes(sizes()));
        assert_eq!(applied(device, Some(&path)).tuning(), sizes());
        let names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left beside the file");

        let text = std::fs::read_to_string(&path).unwrap();
        let own = processor();
        for (from, to) in [("portable", "other"), (own.as_str(), "another processor")] {
            std::fs::write(&path, text.replace(from, to)).unwrap();
            let device = CpuDevice::portable(1);
            assert_eq!(found(&path, &device), Found::Other);
            assert_eq!(applied(device, Some(&path)).tuning(), CpuDevice::portable(1).tuning());
        }
    }

    /// Goal: no file stops an agent or changes a result. Method: what a crash, a disk or an editor may leave.
    #[test]
    fn a_bad_calibration_is_ignored_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        write(&path, &CpuDevice::portable(1), sizes()).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let usual = CpuDevice::portable(1).tuning();
        let cost =
            |value: &str| whole.replace("\"bucket_cost\":450", &format!("\"bucket_cost\":{value}"));
        let bad = [
            (String::new(), "not a calibration"),
            (whole[..whole.len() / 2].to_owned(), "not a calibration"),
            (cost("\"450\""), "not a calibration"),
            (cost("-450"), "not a calibration"),
            (whole.replace("{", "{\"more\":1,"), "not a calibration"),
            (whole.replace("\"schema\":1", "\"schema\":2"), "schema 2"),
            // Of a release whose files have more.
            (whole.replace("\"schema\":1", "\"schema\":2,\"more\":1"), "schema 2"),
            ("{\"schema\":3}".to_owned(), "schema 3"),
            (cost("4000000000"), "out of range"),
            (whole.replace("\"log_block\":12", "\"log_block\":63"), "out of range"),
            (format!("{whole}{}", " ".repeat(BYTES_MAX as usize)), "longer than"),
        ];
        for (text, expected) in bad {
            std::fs::write(&path, &text).unwrap();
            let device = CpuDevice::portable(1);
            match found(&path, &device) {
                Found::Bad(reason) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{text}: {other:?}"),
            }
            assert_eq!(applied(device, Some(&path)).tuning(), usual, "{text}");
        }
        // A directory in its place.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let no_file = Found::Bad("it is not a file".to_owned());
        assert_eq!(found(&path, &CpuDevice::portable(1)), no_file);
        assert_eq!(applied(CpuDevice::portable(1), Some(&path)).tuning(), usual);
    }

    #[test]
    fn a_calibration_is_measured_once_and_replaces_a_bad_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, "spoilt").unwrap();
        let first = measured(CpuDevice::new(2), Some(&path)).tuning();
        assert_eq!(found(&path, &CpuDevice::new(2)), Found::Sizes(first));
        let before = std::fs::read(&path).unwrap();
        assert_eq!(measured(CpuDevice::new(2), Some(&path)).tuning(), first);
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_calibration_that_cannot_be_kept_leaves_the_usual_sizes() {
        let folder = tempfile::tempdir().unwrap();
        // A file where a directory would have to be.
        std::fs::write(folder.path().join("file"), "").unwrap();
        let path = folder.path().join("file").join(FILE);
        let usual = CpuDevice::new(2).tuning();
        assert_eq!(measured(CpuDevice::new(2), Some(&path)).tuning(), usual);
        assert_eq!(measured(CpuDevice::new(2), None).tuning(), usual);
    }
}
