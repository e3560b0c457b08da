//! How much memory the private server may use.

/// Least and most bytes that the server shares between its processes.
pub(super) const BUFFERS: (u64, u64) = (64 << 20, 512 << 20);

/// Bytes that the server shares between its processes: a thirty-second of the memory, since agents may use the rest, within
/// [`BUFFERS`]. The tables of 100,000 jobs are about 170 MB, and a job is read and written several times.
pub(super) fn buffers() -> u64 {
    buffers_of(rollmill_service::memory::usable_bytes())
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
}
