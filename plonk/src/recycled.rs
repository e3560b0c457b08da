//! Memory of witness columns, kept for later witnesses. A witness of 2^17 rows has 52 MiB of them. Memory that is new
//! to a process costs a page fault for every 4 KiB, in which the system clears the page, and threads that take memory
//! at the same time wait for each other.

use parking_lot::Mutex;
use rollmill_algebra::Fr;

/// Columns of fewer elements are not worth it: allocators keep such memory themselves.
const ELEMENTS_MIN: usize = 1 << 12;
/// Bytes that are kept at most: those of about nine witnesses of 2^17 rows.
const BYTES_MAX: usize = 512 << 20;

/// Columns without elements.
#[derive(Debug)]
struct Kept {
    columns: Vec<Vec<Fr>>,
    bytes: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { columns: Vec::new(), bytes: 0 });

fn bytes_of(column: &Vec<Fr>) -> usize {
    column.capacity() * size_of::<Fr>()
}

impl Kept {
    /// One with memory for `n` elements and at most twice as many.
    fn take(&mut self, n: usize) -> Option<Vec<Fr>> {
        let fits = |column: &Vec<Fr>| (n..=2 * n).contains(&column.capacity());
        let at = self.columns.iter().rposition(fits)?;
        let column = self.columns.swap_remove(at);
        self.bytes -= bytes_of(&column);
        Some(column)
    }

    /// Keeps a column, unless there are enough.
    fn keep(&mut self, mut column: Vec<Fr>) {
        let bytes = bytes_of(&column);
        if column.capacity() < ELEMENTS_MIN || self.bytes + bytes > BYTES_MAX {
            return;
        }
        column.clear();
        self.bytes += bytes;
        self.columns.push(column);
    }
}

/// An empty vector with memory for `n` elements.
pub(crate) fn take(n: usize) -> Vec<Fr> {
    let kept = if n < ELEMENTS_MIN { None } else { KEPT.lock().take(n) };
    kept.unwrap_or_else(|| Vec::with_capacity(n))
}

/// Keeps the memory of columns for [`take`]. What they hold stays in it until it is written to again.
pub(crate) fn keep(columns: impl IntoIterator<Item = Vec<Fr>>) {
    let mut kept = KEPT.lock();
    columns.into_iter().for_each(|column| kept.keep(column));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_up_to_a_limit_and_taken_where_it_fits() {
        let mut kept = Kept { columns: Vec::new(), bytes: 0 };
        kept.keep(vec![Fr::from(7u64); ELEMENTS_MIN]);
        kept.keep(vec![Fr::from(7u64); ELEMENTS_MIN - 1]);
        assert_eq!(kept.columns.len(), 1, "the other one is small");
        assert!(kept.take(ELEMENTS_MIN / 2 - 1).is_none(), "more than twice as large");
        assert!(kept.take(ELEMENTS_MIN + 1).is_none(), "too small");
        let column = kept.take(ELEMENTS_MIN).expect("it fits");
        assert!(column.is_empty() && column.capacity() >= ELEMENTS_MIN);
        assert_eq!((kept.columns.len(), kept.bytes), (0, 0));
        // Memory that is reserved is not touched, so that this takes none of the machine's.
        let large = BYTES_MAX / size_of::<Fr>() / 2;
        (0..3).for_each(|_| kept.keep(Vec::with_capacity(large)));
        assert_eq!(kept.columns.len(), 2);
    }
}
