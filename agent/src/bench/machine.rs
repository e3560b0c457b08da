//! What is known of the machine, from the kernel's files. What the kernel does not tell is left empty.

use super::result::Machine;

/// Extensions of x86-64 that the CPU device or its peers use.
const EXTENSIONS: [&str; 5] = ["adx", "bmi2", "avx2", "avx512f", "avx512ifma"];

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The value of a line `key : value` or `key: value kB`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    field(text, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok()
}

/// The machine at this moment.
pub(super) fn look() -> Machine {
    let cpuinfo = read("/proc/cpuinfo");
    let flags: Vec<&str> = field(&cpuinfo, "flags").unwrap_or_default().split(' ').collect();
    let extensions = EXTENSIONS.iter().filter(|name| flags.contains(name));
    Machine {
        cpu: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        extensions: extensions.map(ToString::to_string).collect(),
        memory_bytes: memory_bytes().unwrap_or(0),
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        load_before: read("/proc/loadavg")
            .split(' ')
            .next()
            .and_then(|x| x.parse().ok())
            .unwrap_or(0.0),
    }
}

/// Memory of the machine, where the kernel tells.
pub(crate) fn memory_bytes() -> Option<u64> {
    kilobytes(&read("/proc/meminfo"), "MemTotal").map(|kb| kb * 1024)
}

/// Memory that this process may still take, where the kernel tells: what the machine has left, within the
/// limit on the process's address space (`ulimit -v`).
pub(super) fn free_bytes() -> Option<u64> {
    let machine = kilobytes(&read("/proc/meminfo"), "MemAvailable").map(|kb| kb * 1024);
    let limits = read("/proc/self/limits");
    let space = limits.lines().find_map(|line| line.strip_prefix("Max address space"));
    let space = space.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let taken = kilobytes(&read("/proc/self/status"), "VmSize").map_or(0, |kb| kb * 1024);
    let process = space.map(|most| most.saturating_sub(taken));
    machine.into_iter().chain(process).min()
}

/// Sets the process's peak of memory to what it holds now, where the kernel allows.
pub(super) fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory this process held, since [`reset_peak`] if that was called.
pub(crate) fn peak_bytes() -> Option<u64> {
    peak_bytes_of("self")
}

/// The same of the process of this number.
pub(super) fn peak_bytes_of(process: &str) -> Option<u64> {
    kilobytes(&read(&format!("/proc/{process}/status")), "VmHWM").map(|kb| kb * 1024)
}

/// Commit of the checkout that the bench runs in.
pub(super) fn commit() -> Option<String> {
    let output = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
