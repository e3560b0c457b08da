//! The interface of a driver: memory, copies and launches, all in the order of one stream.

use std::fmt::Debug;

use rollmill_algebra::Fr;
use rollmill_algebra::device::HostColumn;

use crate::error::CudaError;

/// An argument of a kernel, by value.
#[derive(Debug, Clone)]
pub(crate) enum Argument {
    /// An address on the device; 0 is null.
    Pointer(u64),
    U32(u32),
    U64(u64),
    /// A structure of 64-bit words.
    Words(Vec<u64>),
}

impl Argument {
    /// The argument's bytes, aligned as the strictest of them needs.
    pub(crate) fn aligned(&self) -> Vec<u128> {
        let pack = |words: &[u64]| {
            let pair = |pair: &[u64]| {
                u128::from(pair[0]) | u128::from(pair.get(1).copied().unwrap_or(0)) << 64
            };
            words.chunks(2).map(pair).collect()
        };
        match self {
            Self::Pointer(word) | Self::U64(word) => vec![u128::from(*word)],
            Self::U32(word) => vec![u128::from(*word)],
            Self::Words(words) => pack(words),
        }
    }

    /// Size in bytes, as the kernel's signature has it.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::U32(_) => 4,
            Self::Pointer(_) | Self::U64(_) => 8,
            Self::Words(words) => 8 * words.len(),
        }
    }
}

/// What is copied to a card, in the form in which the host has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    Small(&'a [u16]),
    Words(&'a [u64]),
    Elements(&'a [Fr]),
    /// Whose `start` is not past its end.
    Column(HostColumn<'a>),
}

impl Source<'_> {
    /// Number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Small(values) => 2 * values.len(),
            Self::Words(words) => 8 * words.len(),
            Self::Elements(values) => 32 * values.len(),
            Self::Column(column) => 32 * column.elements(),
        }
    }

    /// Writes the bytes from `at` on, least byte of each number first. `at` and the length of `to` are multiples of 32,
    /// or `to` ends where the source does.
    pub(crate) fn write(&self, at: usize, to: &mut [u8]) {
        match self {
            Self::Bytes(bytes) => to.copy_from_slice(&bytes[at..at + to.len()]),
            Self::Small(values) => {
                let parts = to.chunks_exact_mut(2).zip(&values[at / 2..]);
                parts.for_each(|(to, value)| to.copy_from_slice(&value.to_le_bytes()));
            }
            Self::Words(words) => write_words(to, &words[at / 8..]),
            Self::Elements(values) => write_elements(to, &values[at / 32..]),
            Self::Column(HostColumn { values, start, rest }) => {
                let after = values.get(start + rest.len()..).unwrap_or(&[]);
                let (mut to, mut skipped) = (to, at / 32);
                for part in [&values[..*start], *rest, after] {
                    let skip = skipped.min(part.len());
                    skipped -= skip;
                    let part = &part[skip..];
                    let length = to.len().min(32 * part.len());
                    let (own, left) = to.split_at_mut(length);
                    write_elements(own, part);
                    to = left;
                }
            }
        }
    }
}

fn write_elements(to: &mut [u8], values: &[Fr]) {
    let parts = to.chunks_exact_mut(32).zip(values);
    parts.for_each(|(to, value)| write_words(to, &value.0.0));
}

fn write_words(to: &mut [u8], words: &[u64]) {
    let parts = to.chunks_exact_mut(8).zip(words);
    parts.for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
}

/// A kernel to run.
#[derive(Debug, Clone)]
pub(crate) struct Launch<'a> {
    pub(crate) kernel: &'a str,
    pub(crate) grid: [u32; 3],
    pub(crate) block: u32,
    pub(crate) shared_bytes: u32,
    pub(crate) arguments: Vec<Argument>,
}

/// Shared memory, in bytes, that a block has on every GPU without an opt-in.
const SHARED_BYTES_MAX: u32 = 48 << 10;

impl Launch<'_> {
    /// Rejects a launch beyond the limits of every card.
    pub(crate) fn check(&self, device: &str) -> Result<(), CudaError> {
        let fits = self.grid.iter().all(|size| *size > 0)
            && self.grid[0] <= i32::MAX as u32
            && self.grid[1] <= 65_535
            && self.grid[2] <= 65_535
            && (1..=1024).contains(&self.block)
            && self.shared_bytes <= SHARED_BYTES_MAX;
        if fits {
            return Ok(());
        }
        Err(CudaError::Call {
            call: "launch",
            device: device.to_owned(),
            reason: format!(
                "kernel {} with grid {:?}, {} threads and {} B of shared memory",
                self.kernel, self.grid, self.block, self.shared_bytes
            ),
        })
    }
}

/// A stream of a card: a queue whose calls take effect one after the other. Those of different
/// streams take effect in any order except for what [`Driver::wait`] requires.
pub(crate) type Stream = usize;

/// A place in a stream's queue, whose time is known once the stream has reached it.
pub(crate) type Mark = usize;

/// One card with its streams. Only [`Self::copy_out`] and [`Self::synchronize`] wait for a stream. Addresses come
/// from [`Self::allocate`]; [`crate::arena`] ensures that no other reaches a driver, and
/// [`crate::order`] that no stream uses memory too early.
pub(crate) trait Driver: Debug + Send + Sync {
    /// Name of the card, for logs and errors.
    fn device(&self) -> &str;
    /// `GPU-…` or `MIG-…`, by which other programs know the card; `None` for the emulator.
    fn uuid(&self) -> Option<&str> {
        None
    }
    /// True where kernels run on the host.
    fn is_emulated(&self) -> bool;
    /// Number of multiprocessors.
    fn multiprocessors(&self) -> u32;
    /// Products of limbs that kernels have computed in this process; `None` where nothing counts them.
    fn limb_products(&self) -> Option<u64> {
        None
    }
    /// Free bytes and total bytes.
    fn memory(&self) -> Result<(u64, u64), CudaError>;
    /// Allocates memory with unspecified contents.
    fn allocate(&self, bytes: u64) -> Result<u64, CudaError>;
    /// Frees memory immediately: no queued work may use it.
    fn release(&self, pointer: u64) -> Result<(), CudaError>;
    /// Creates a stream, numbered from 0.
    fn new_stream(&self) -> Result<Stream, CudaError>;
    /// What is queued in `waiter` from now on starts after all that is queued in `before` so far. Callers
    /// ensure that no two concurrent calls name the same `before`.
    fn wait(&self, waiter: Stream, before: Stream) -> Result<(), CudaError>;
    /// Host to device. The source may change as soon as this returns.
    fn send(&self, stream: Stream, to: u64, source: Source<'_>) -> Result<(), CudaError>;
    /// Device to host, after all that is queued in the stream.
    fn copy_out(&self, stream: Stream, from: u64, bytes: &mut [u8]) -> Result<(), CudaError>;
    /// Device to device.
    fn copy(&self, stream: Stream, to: u64, from: u64, bytes: u64) -> Result<(), CudaError>;
    /// Sets bytes to zero.
    fn clear(&self, stream: Stream, at: u64, bytes: u64) -> Result<(), CudaError>;
    /// Queues a kernel.
    fn launch(&self, stream: Stream, launch: &Launch<'_>) -> Result<(), CudaError>;
    /// Waits for all that is queued in the stream.
    fn synchronize(&self, stream: Stream) -> Result<(), CudaError>;
    /// Marks the place after all that is queued in the stream so far.
    fn mark(&self, stream: Stream) -> Result<Mark, CudaError>;
    /// Microseconds from one mark of a stream to a later one. The stream has reached both.
    fn microseconds(&self, from: Mark, to: Mark) -> Result<f64, CudaError>;
    /// Releases a mark that was reached; its number may be used again.
    fn forget(&self, mark: Mark);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source is copied in parts, each of which must begin where the one before has ended.
    #[test]
    fn parts_of_a_source_are_its_bytes() {
        let elements: Vec<Fr> = (0..9u64).map(|i| -Fr::from(i * i)).collect();
        let words: Vec<u64> = elements.iter().flat_map(|value| value.0.0).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut changed = elements.clone();
        changed[..2].fill(Fr::from(77u64));
        let small: Vec<u16> =
            bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        for source in [
            Source::Bytes(&bytes),
            Source::Small(&small),
            Source::Words(&words),
            Source::Elements(&elements),
            Source::Column(HostColumn { values: &changed, start: 0, rest: &elements[..2] }),
            Source::Column(HostColumn { values: &elements, start: 2, rest: &[] }),
            Source::Column(HostColumn { values: &elements[..7], start: 5, rest: &elements[5..] }),
            Source::Column(HostColumn { values: &[], start: 0, rest: &elements }),
        ] {
            assert_eq!(source.bytes(), bytes.len());
            for part in [32, 64, 288] {
                let mut written = vec![0; bytes.len()];
                for (i, to) in written.chunks_mut(part).enumerate() {
                    source.write(part * i, to);
                }
                assert_eq!(written, bytes, "{source:?} in parts of {part} B");
            }
        }
        let mut odd = [0; 6];
        Source::Small(&[1, 2, 0x304]).write(0, &mut odd);
        assert_eq!(odd, [1, 0, 2, 0, 4, 3]);
    }
}
