//! How much memory this process may use.

use std::path::Path;

/// Folders of the memory controller by the version of control groups, each with the file of a group's limit; see
/// `cgroups(7)`.
const VERSION_1: (&str, &str) = ("sys/fs/cgroup/memory", "memory.limit_in_bytes");
const VERSION_2: (&str, &str) = ("sys/fs/cgroup", "memory.max");

/// Memory in bytes that this process may use: that of the machine, or the limit of its container where that is less.
/// `None` where the kernel reports neither, as outside Linux.
#[must_use]
pub fn usable_bytes() -> Option<u64> {
    usable_below(Path::new("/"))
}

/// As [`usable_bytes`], from the files below `root`: the least of the machine's memory, the limits of the process's
/// control groups and those of the groups above them.
fn usable_below(root: &Path) -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let mut least = machine(&read(&root.join("proc/meminfo")))?;
    for line in read(&root.join("proc/self/cgroup")).lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (folder, file) = match controllers {
            "" => VERSION_2,
            some if some.split(',').any(|name| name == "memory") => VERSION_1,
            _ => continue,
        };
        // A container may see its own group as the root of the folder, whatever the name of the group.
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            let text = read(&root.join(folder).join(group).join(file));
            // `max` is no limit.
            least = text.trim().parse::<u64>().map_or(least, |limit| least.min(limit));
        }
    }
    Some(least)
}

/// The machine's memory in bytes, from the text of `/proc/meminfo`.
fn machine(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: u64 = 16 << 30;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A folder with the files of a machine of 16 GiB whose processes are in these `groups`.
    fn root(groups: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/meminfo", "MemFree:          100 kB\nMemTotal:       16777216 kB\n"),
            ("proc/self/cgroup", groups),
            ("sys/fs/cgroup/pods/broker/memory.max", "max\n"),
            ("sys/fs/cgroup/pods/memory.max", "536870912\n"),
            ("sys/fs/cgroup/memory.max", "8589934592\n"),
            ("sys/fs/cgroup/memory/old/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ] {
            write(root.path(), path, text);
        }
        root
    }

    #[test]
    fn a_process_may_use_what_its_container_allows() {
        for (groups, expected) in [
            ("", MACHINE),
            ("no group\n", MACHINE),
            // Version 2: the group's own limit, and those above it.
            ("0::/\n", 8 << 30),
            ("0::/pods\n", 512 << 20),
            ("0::/pods/broker\n", 512 << 20),
            // A group that the container does not see: the limit at the root is its own.
            ("0::/hidden/group\n", 8 << 30),
            // Version 1: among other controllers, and with the word for no limit.
            ("5:cpu,cpuacct:/old\n4:memory:/old\n", 1 << 30),
            ("4:hugetlb,memory:/old\n", 1 << 30),
            ("4:memory:/\n", MACHINE),
            ("5:cpu,cpuacct:/old\n", MACHINE),
            // Both at once: the least counts.
            ("4:memory:/old\n0::/pods\n", 512 << 20),
        ] {
            let root = root(groups);
            assert_eq!(usable_below(root.path()), Some(expected), "{groups}");
        }
    }

    #[test]
    fn a_limit_above_the_machine_changes_nothing() {
        let root = root("0::/big\n");
        write(root.path(), "sys/fs/cgroup/memory.max", "max\n");
        write(root.path(), "sys/fs/cgroup/big/memory.max", "68719476736\n");
        assert_eq!(usable_below(root.path()), Some(MACHINE));
    }

    #[test]
    fn a_machine_that_reports_nothing_has_no_known_memory() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(usable_below(root.path()), None);
        for text in
            ["", "MemTotal:\n", "MemTotal: much kB\n", "MemTotal: 18446744073709551615 kB\n"]
        {
            write(root.path(), "proc/meminfo", text);
            assert_eq!(usable_below(root.path()), None, "{text}");
        }
    }
}
