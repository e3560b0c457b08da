//! Facts about the machine. What the kernel does not report is left empty.

use rollmill_agent::machine::{bytes, field};

use crate::result::Machine;

/// Extensions of x86-64 that the CPU device or its peers use.
const EXTENSIONS: [&str; 5] = ["adx", "bmi2", "avx2", "avx512f", "avx512ifma"];

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Name of the processor with its family and model, since virtual machines hide the rest of the name: an
/// "AMD EPYC" of family 25 multiplies half as fast as one of family 26.
fn processor() -> String {
    let of = |key| field("/proc/cpuinfo", key);
    let name = of("model name").unwrap_or_else(|| "unknown".to_owned());
    match (of("cpu family"), of("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    }
}

/// The machine at this moment.
pub(crate) fn detect() -> Machine {
    let flags = field("/proc/cpuinfo", "flags").unwrap_or_default();
    let flags: Vec<&str> = flags.split(' ').collect();
    let extensions = EXTENSIONS.iter().filter(|name| flags.contains(name));
    Machine {
        cpu: processor(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        extensions: extensions.map(ToString::to_string).collect(),
        memory_bytes: bytes("/proc/meminfo", "MemTotal").unwrap_or(0),
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        load_before: read("/proc/loadavg")
            .split(' ')
            .next()
            .and_then(|x| x.parse().ok())
            .unwrap_or(0.0),
    }
}

/// Memory that this process can still use, if the kernel reports it: what the machine has left, within the
/// limit on the process's address space (`ulimit -v`).
pub(crate) fn free_bytes() -> Option<u64> {
    let machine = bytes("/proc/meminfo", "MemAvailable");
    let limits = read("/proc/self/limits");
    let space = limits.lines().find_map(|line| line.strip_prefix("Max address space"));
    let space = space.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let taken = bytes("/proc/self/status", "VmSize").unwrap_or(0);
    let process = space.map(|most| most.saturating_sub(taken));
    machine.into_iter().chain(process).min()
}

/// Resets the process's peak memory to its current memory, where the kernel allows it.
pub(crate) fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The peak memory of the process with this id, or of `self` since [`reset_peak`].
pub(crate) fn peak_bytes_of(process: &str) -> Option<u64> {
    bytes(&format!("/proc/{process}/status"), "VmHWM")
}

/// Commit of the checkout that the bench runs in.
pub(crate) fn commit() -> Option<String> {
    let output = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
