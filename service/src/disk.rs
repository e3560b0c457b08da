//! Free space where a process keeps its data, read at each scrape.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::metrics::{self, Declared};

/// The label with the directory, as the settings have it.
const LABEL: &str = "dir";

crate::metrics! {
    /// Space of the file system of a directory. Absent while it cannot be read.
    struct DiskMetrics: "rollmill_disk_" {
        /// Bytes that a process without privileges can still write to the file system of a directory of data.
        free_bytes: Gauge,
        /// Size of the file system of that directory.
        size_bytes: Gauge,
    }
}

/// The metrics as declared, each with its label.
pub(crate) fn declared() -> Vec<Declared> {
    metrics::with_label(LABEL, DiskMetrics::declared())
}

/// Reads the space of one directory.
pub(crate) struct Disk {
    dir: PathBuf,
    metrics: DiskMetrics,
}

impl Disk {
    pub(crate) fn new(dir: &Path) -> Self {
        let metrics = DiskMetrics::create(&[(LABEL, &dir.display().to_string())]);
        Self { dir: dir.to_owned(), metrics }
    }
}

impl Collector for Disk {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics.descriptions()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(space) = statvfs(&self.dir) else { return Vec::new() };
        // The types of the fields differ between platforms. A float is exact up to 8 PiB.
        let bytes = |blocks| blocks as f64 * space.fragment_size() as f64;
        self.metrics.free_bytes.set(bytes(space.blocks_available()));
        self.metrics.size_bytes.set(bytes(space.blocks()));
        self.metrics.collectors().iter().flat_map(|metric| metric.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    use super::*;

    #[test]
    fn space_is_shown_for_each_directory_and_vanishes_with_it() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let registry = Registry::new();
        for dir in [&here, &there] {
            registry.register(Box::new(Disk::new(dir.path()))).unwrap();
        }
        let gone = there.path().display().to_string();
        let line = |dir: &str, name: &str| format!("rollmill_disk_{name}{{dir=\"{dir}\"}} ");
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let value = |text: &str, dir: &str, name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(&line(dir, name)))?;
            Some(line.parse::<f64>().unwrap())
        };
        let shown = text();
        assert!(value(&shown, &gone, "free_bytes").is_some(), "{shown}");
        there.close().unwrap();
        let (shown, kept) = (text(), here.path().display().to_string());
        assert_eq!(value(&shown, &gone, "free_bytes"), None, "{shown}");
        let free = value(&shown, &kept, "free_bytes").unwrap();
        let size = value(&shown, &kept, "size_bytes").unwrap();
        assert!(0.0 < free && free <= size, "{free} of {size}");
    }
}
