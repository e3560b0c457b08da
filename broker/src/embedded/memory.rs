//! How much memory the private server may use.

#[cfg(any(target_os = "linux", test))]
use std::path::Path;

/// Least and most bytes that the server shares between its processes.
pub(super) const BUFFERS: (u64, u64) = (64 << 20, 512 << 20);

/// Memory in bytes that this process may use, where the kernel says it: that of the machine, or the limit of its container.
#[cfg(target_os = "linux")]
fn memory_bytes() -> Option<u64> {
    let machine = nix::sys::sysinfo::sysinfo().ok().map(|info| info.ram_total());
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limited(machine, &groups, |path| std::fs::read_to_string(path).ok())
}

/// Elsewhere nothing is known.
#[cfg(not(target_os = "linux"))]
const fn memory_bytes() -> Option<u64> {
    None
}

/// The least of the machine's memory and the limits of a process's control groups and of those above them. `groups` is the
/// text of `/proc/self/cgroup` (Linux, `cgroups(7)`), both versions.
#[cfg(any(target_os = "linux", test))]
fn limited(
    machine: Option<u64>,
    groups: &str,
    read: impl Fn(&Path) -> Option<String>,
) -> Option<u64> {
    let mut least = machine;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            some if some.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for above in Path::new(group.trim_start_matches('/')).ancestors() {
            let text = read(&Path::new(root).join(above).join(file));
            // `max` is no limit.
            let limit = text.and_then(|text| text.trim().parse::<u64>().ok());
            least = least.into_iter().chain(limit).min();
        }
    }
    least
}

/// Bytes that the server shares between its processes: a thirty-second of the memory, since agents may use the rest, within
/// [`BUFFERS`]. The tables of 100,000 jobs are about 170 MB, and a job is read and written several times.
pub(super) fn buffers() -> u64 {
    buffers_of(memory_bytes())
}

fn buffers_of(memory: Option<u64>) -> u64 {
    memory.map_or(BUFFERS.0, |bytes| (bytes / 32).clamp(BUFFERS.0, BUFFERS.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_shares_a_part_of_the_memory_and_neither_little_nor_much() {
        for (memory, megabytes) in
            [(None, 64), (Some(1 << 30), 64), (Some(8 << 30), 256), (Some(128 << 30), 512)]
        {
            assert_eq!(buffers_of(memory), megabytes << 20, "{memory:?}");
        }
    }

    #[test]
    fn a_container_counts_as_much_as_its_limits_allow() {
        const MACHINE: Option<u64> = Some(16 << 30);
        let files = |path: &Path| match path.to_str().unwrap() {
            "/sys/fs/cgroup/pods/broker/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/pods/memory.max" => Some("536870912\n".to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("8589934592\n".to_owned()),
            "/sys/fs/cgroup/memory/old/memory.limit_in_bytes" => Some("1073741824\n".to_owned()),
            "/sys/fs/cgroup/memory/memory.limit_in_bytes" => {
                Some("9223372036854771712\n".to_owned())
            }
            _ => None,
        };
        for (groups, expected) in [
            ("", MACHINE),
            ("0::/\n", Some(8 << 30)),
            ("0::/pods/broker\n", Some(512 << 20)),
            ("5:cpu,cpuacct:/old\n4:memory:/old\n", Some(1 << 30)),
            ("4:memory:/\n", MACHINE),
            ("no group\n", MACHINE),
        ] {
            assert_eq!(limited(MACHINE, groups, files), expected, "{groups}");
        }
    }
}
