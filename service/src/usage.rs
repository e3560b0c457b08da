//! What the process takes of its machine, read at each scrape.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::descriptors;
use crate::metrics::Declared;

crate::metrics! {
    /// What the process takes of its machine. What the system does not report is absent.
    struct UsageMetrics: "rollmill_process_" {
        /// CPU time of the process, in user mode and in the kernel.
        cpu_seconds_total: Counter,
        /// Memory of the process that is in RAM.
        resident_memory_bytes: Gauge,
        /// Threads of the process.
        threads: Gauge,
        /// Open files of the process, connections included.
        open_files: Gauge,
        /// Most files that the process may have open.
        open_files_max: Gauge,
    }
}

pub(crate) fn declared() -> Vec<Declared> {
    UsageMetrics::declared()
}

/// Reads what this process takes.
pub(crate) struct Usage {
    metrics: UsageMetrics,
    /// Two scrapes at once must not count the same CPU time twice.
    reading: Mutex<()>,
}

impl Usage {
    pub(crate) fn new() -> Self {
        Self { metrics: UsageMetrics::create(&[]), reading: Mutex::new(()) }
    }
}

impl Collector for Usage {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics.descriptions()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Self { metrics, reading } = self;
        let _reading = reading.lock();
        let mut found = Vec::new();
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let used = seconds(usage.user_time()) + seconds(usage.system_time());
            // A counter never goes back.
            metrics.cpu_seconds_total.inc_by((used - metrics.cpu_seconds_total.get()).max(0.0));
            found.extend(metrics.cpu_seconds_total.collect());
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (gauge, value) in [
            (&metrics.resident_memory_bytes, field(&status, "VmRSS").map(|kib| kib * 1024.0)),
            (&metrics.threads, field(&status, "Threads")),
            (&metrics.open_files, descriptors::open().ok().map(|count| count as f64)),
            (&metrics.open_files_max, descriptors::most().map(|most| most as f64)),
        ] {
            if let Some(value) = value {
                gauge.set(value);
                found.extend(gauge.collect());
            }
        }
        found
    }
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// The number of the line `key: number unit` of a status of `/proc`.
fn field(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(usage: &Usage, name: &str) -> Option<f64> {
        let families = usage.collect();
        let family = families.iter().find(|family| family.name() == name)?;
        let metric = &family.get_metric()[0];
        Some(metric.get_counter().get_value() + metric.get_gauge().get_value())
    }

    #[test]
    fn a_process_shows_what_it_takes() {
        let usage = Usage::new();
        let shown = |name: &str| value(&usage, &format!("rollmill_process_{name}")).unwrap();
        let before = shown("cpu_seconds_total");
        // Work that the compiler cannot leave out, until the clock of the kernel has seen it.
        let mut word = 1_u64;
        while shown("cpu_seconds_total") <= before {
            word = std::hint::black_box(word.rotate_left(7) ^ 0x9e37);
        }
        assert!(shown("resident_memory_bytes") > 1e6, "{}", shown("resident_memory_bytes"));
        assert!(shown("threads") >= 1.0);
        let (open, most) = (shown("open_files"), shown("open_files_max"));
        assert!((3.0..=most).contains(&open), "{open} of {most}");
    }

    #[test]
    fn open_files_are_counted() {
        let usage = Usage::new();
        let files = || value(&usage, "rollmill_process_open_files").unwrap();
        let before = files();
        // More than other tests of this process close meanwhile.
        let held: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        assert!(files() >= before + 100.0, "{before}, then {}", files());
        drop(held);
    }

    #[test]
    fn a_line_of_the_status_is_read_by_its_whole_name() {
        let status = "Name:\tbroker\nVmRSSx:\t9 kB\nVmRSS:\t    2048 kB\nThreads:\t17\n";
        assert_eq!(field(status, "VmRSS"), Some(2048.0));
        assert_eq!(field(status, "Threads"), Some(17.0));
        assert_eq!(field(status, "VmHWM"), None);
        assert_eq!(field(status, "Name"), None);
    }
}
