//! How many threads copy an array for the card, and which part of it each of them copies.

use std::ops::Range;

use crate::error::CudaError;

/// Bytes that are worth a thread of their own: copying them takes far longer than starting it.
const BYTES_OF_A_THREAD: usize = 2 << 20;
/// One core of so many copies: the others prove and compute witnesses.
const CORES_PER_COPY: usize = 4;

/// Threads that copy one large array on this machine.
pub(crate) fn copy_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / CORES_PER_COPY).clamp(2, 4)
}

/// Parts of an array, of whole chunks but for the last one.
fn parts(bytes: usize, chunk: usize, threads: usize) -> Vec<Range<usize>> {
    let threads = (bytes / BYTES_OF_A_THREAD).clamp(1, threads.max(1));
    let part = bytes.div_ceil(threads).next_multiple_of(chunk.max(1));
    let of = |i: usize| (i * part).min(bytes)..((i + 1) * part).min(bytes);
    (0..threads).map(of).filter(|part| !part.is_empty()).collect()
}

/// Runs `copy` on all parts of an array, the first one in this thread. Returns whether all of them returned true.
pub(crate) fn in_parts(
    bytes: usize,
    chunk: usize,
    threads: usize,
    copy: impl Fn(Range<usize>) -> Result<bool, CudaError> + Sync,
    panicked: impl Fn() -> CudaError,
) -> Result<bool, CudaError> {
    let parts = parts(bytes, chunk, threads);
    let Some((first, others)) = parts.split_first() else { return Ok(true) };
    if others.is_empty() {
        return copy(first.clone());
    }
    std::thread::scope(|scope| {
        let copy = &copy;
        let start = |part: &Range<usize>| {
            let part = part.clone();
            scope.spawn(move || copy(part))
        };
        let running: Vec<_> = others.iter().map(start).collect();
        let mut all = copy(first.clone());
        for thread in running {
            let other = thread.join().unwrap_or_else(|_| Err(panicked()));
            // The first error is returned, after all threads have ended.
            all = all.and_then(|all| Ok(all & other?));
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    const CHUNK: usize = 1 << 20;

    fn panicked() -> CudaError {
        failed("a panic")
    }

    fn failed(reason: &str) -> CudaError {
        let (device, reason) = ("test".to_owned(), reason.to_owned());
        CudaError::Call { call: "send", device, reason }
    }

    #[test]
    fn every_byte_is_in_one_part_and_parts_begin_with_a_chunk() {
        for bytes in [0, 1, 32, CHUNK, BYTES_OF_A_THREAD - 1, 2 * BYTES_OF_A_THREAD, 9_999_904] {
            for threads in 1..=5 {
                let copied: Vec<AtomicU8> =
                    (0..bytes.div_ceil(32)).map(|_| AtomicU8::new(0)).collect();
                let copy = |part: Range<usize>| {
                    assert_eq!(part.start % CHUNK, 0, "{bytes} B, {threads} threads");
                    for at in part.step_by(32) {
                        copied[at / 32].fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(true)
                };
                assert_eq!(in_parts(bytes, CHUNK, threads, copy, panicked), Ok(true));
                assert!(copied.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{bytes} B");
            }
        }
        assert_eq!(parts(8 * BYTES_OF_A_THREAD, CHUNK, 4).len(), 4);
        assert_eq!(parts(BYTES_OF_A_THREAD, CHUNK, 4).len(), 1, "not worth a second thread");
    }

    #[test]
    fn a_part_that_fails_or_is_not_copied_is_told_whichever_it_is() {
        let bytes = 4 * BYTES_OF_A_THREAD;
        let count = parts(bytes, CHUNK, 4).len();
        for wrong in 0..count {
            let is_wrong = |part: &Range<usize>| part.start == parts(bytes, CHUNK, 4)[wrong].start;
            let not = |part: Range<usize>| Ok(!is_wrong(&part));
            assert_eq!(in_parts(bytes, CHUNK, 4, not, panicked), Ok(false), "part {wrong}");
            let fails = |part: Range<usize>| {
                if is_wrong(&part) { Err(failed("no memory")) } else { Ok(true) }
            };
            let outcome = in_parts(bytes, CHUNK, 4, fails, panicked);
            assert_eq!(outcome, Err(failed("no memory")), "part {wrong}");
        }
    }
}
