//! What the kernel reports about the machine and about processes; `None` where it reports nothing.

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The value of the line `key : value` or `key: value` in a file under `/proc`.
pub fn field(path: &str, key: &str) -> Option<String> {
    read(path).lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

/// The value of the line `key: value kB` in a file under `/proc`, in bytes.
pub fn bytes(path: &str, key: &str) -> Option<u64> {
    field(path, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Peak resident memory of this process, in bytes.
pub fn peak_bytes() -> Option<u64> {
    bytes("/proc/self/status", "VmHWM")
}
