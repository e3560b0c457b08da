//! Memory of arrays that ended, for those to come.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::msm::affine::Flat;
use super::msm::plan::Folded;
use super::pages::{self, ZeroBytes};
use crate::Fr;

/// Arrays of fewer bytes are left to the allocator, which keeps them itself.
const BYTES_MIN: usize = 128 << 10;
/// Bytes kept at most, whatever was in use before.
const KEPT_MAX: usize = 1 << 30;

/// What arrays that are kept consist of.
pub(super) trait Element: ZeroBytes + Send + 'static {
    /// Whether new arrays are to be on large pages: see [`pages::zeroed`].
    const LARGE_PAGES: bool;
}

impl Element for Fr {
    const LARGE_PAGES: bool = false;
}

impl Element for Folded {
    const LARGE_PAGES: bool = true;
}

impl Element for Flat {
    const LARGE_PAGES: bool = true;
}

impl Element for u32 {
    const LARGE_PAGES: bool = true;
}

/// Keeps arrays that are no longer in use. The system hands out fresh memory a page at a time and
/// zeroes each, which takes as long as a pass over the data does.
///
/// What is kept and what is in use never exceed together the most that was in use at once, so that
/// keeping arrays does not raise the peak.
#[derive(Debug, Clone, Default)]
pub(super) struct Recycler(Arc<Mutex<Books>>);

/// All sizes are in bytes.
#[derive(Debug, Default)]
struct Books {
    /// The one given back last at the end.
    arrays: VecDeque<Kept>,
    kept: usize,
    used: usize,
    most: usize,
}

#[derive(Debug)]
struct Kept {
    /// A `Vec` of some [`Element`].
    array: Box<dyn Any + Send>,
    bytes: usize,
}

fn bytes<T>(array: &Vec<T>) -> usize {
    array.capacity() * size_of::<T>()
}

impl Recycler {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an entry in the books, and lets go what is too much then.
    fn enter<R>(&self, entry: impl FnOnce(&mut Books) -> R) -> R {
        let mut books = self.books();
        let result = entry(&mut books);
        let let_go = books.settle();
        // Unmapping takes its time, and others wait for the lock.
        drop(books);
        drop(let_go);
        result
    }

    /// An array of `len` elements of any value, all to be written to.
    pub(super) fn take<T: Element>(&self, len: usize) -> Vec<T> {
        let wanted = len * size_of::<T>();
        let mut found = None;
        if wanted >= BYTES_MIN {
            found = self.enter(|books| {
                let found = books.find(len);
                books.used += found.as_ref().map_or(wanted, bytes);
                found
            });
        }
        match found {
            Some(mut array) => {
                array.resize(len, T::ZERO);
                array
            }
            None if T::LARGE_PAGES => pages::zeroed(len),
            None => vec![T::ZERO; len],
        }
    }

    /// A copy of `values`.
    pub(super) fn copy<T: Element>(&self, values: &[T]) -> Vec<T> {
        let mut array = self.take(values.len());
        array.copy_from_slice(values);
        array
    }

    /// Counts an array made elsewhere that will be given back.
    pub(super) fn adopt<T: Element>(&self, array: &Vec<T>) {
        if bytes(array) >= BYTES_MIN {
            self.enter(|books| books.used += bytes(array));
        }
    }

    /// Takes back an array.
    pub(super) fn give<T: Element>(&self, array: Vec<T>) {
        let bytes = bytes(&array);
        if bytes < BYTES_MIN {
            return;
        }
        self.enter(|books| {
            // One that grew while in use was counted as smaller.
            books.used = books.used.saturating_sub(bytes);
            books.kept += bytes;
            books.arrays.push_back(Kept { array: Box::new(array), bytes });
        });
    }
}

impl Books {
    /// The smallest array that fits `len` elements, unless it has much more; of those, the one
    /// given back last, which the cache may still hold.
    fn find<T: Element>(&mut self, len: usize) -> Option<Vec<T>> {
        let room = |kept: &Kept| Some(kept.array.downcast_ref::<Vec<T>>()?.capacity());
        let fits =
            |(at, kept)| Some((at, room(kept).filter(|room| (len..=2 * len).contains(room))?));
        let found = self.arrays.iter().enumerate().rev().filter_map(fits);
        let (at, _) = found.min_by_key(|(_, room)| *room)?;
        let kept = self.arrays.remove(at)?;
        self.kept -= kept.bytes;
        kept.array.downcast().ok().map(|array| *array)
    }

    /// Takes out the oldest arrays, as many as are too many.
    #[must_use]
    fn settle(&mut self) -> Vec<Kept> {
        self.most = self.most.max(self.used);
        let most = (self.most - self.used).min(KEPT_MAX);
        let mut let_go = Vec::new();
        while self.kept > most {
            let Some(oldest) = self.arrays.pop_front() else { break };
            self.kept -= oldest.bytes;
            let_go.push(oldest);
        }
        let_go
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = BYTES_MIN / size_of::<Fr>();

    /// One that may keep that many times [`BYTES_MIN`].
    fn recycler(most: usize) -> Recycler {
        let recycler = Recycler::default();
        recycler.books().most = most * BYTES_MIN;
        recycler
    }

    #[test]
    fn an_array_given_back_is_taken_again_for_about_its_length() {
        let recycler = recycler(16);
        let mut array: Vec<Fr> = recycler.take(2 * LEN + 1);
        array.fill(Fr::from(7u64));
        let place = array.as_ptr();
        recycler.give(array);
        let other: Vec<u32> = recycler.take(8 * (2 * LEN + 1));
        assert_ne!(other.as_ptr().cast(), place, "of another type");
        let half: Vec<Fr> = recycler.take(LEN);
        assert_ne!(half.as_ptr(), place, "more than twice as long as needed");
        let again: Vec<Fr> = recycler.take(2 * LEN);
        assert_eq!((again.as_ptr(), again.len()), (place, 2 * LEN));
        recycler.give(again);
        let copy = recycler.copy(&[Fr::ZERO; 2 * LEN]);
        assert_eq!((copy.as_ptr(), copy[0]), (place, Fr::ZERO));
    }

    #[test]
    fn the_tightest_array_is_taken_and_of_those_the_last() {
        let recycler = recycler(32);
        let arrays = [4, 3, 6, 3].map(|size| recycler.take::<Fr>(size * LEN));
        let places = arrays.each_ref().map(|array| array.as_ptr());
        arrays.into_iter().for_each(|array| recycler.give(array));
        let taken: [Vec<Fr>; 4] = std::array::from_fn(|_| recycler.take(3 * LEN));
        let expected = [3, 1, 0, 2].map(|i| places[i]);
        assert_eq!(taken.each_ref().map(|array| array.as_ptr()), expected);
    }

    #[test]
    fn what_is_kept_and_what_is_used_are_never_more_than_was_used_at_once() {
        let recycler = Recycler::default();
        let total = || {
            let books = recycler.books();
            (books.used / BYTES_MIN, books.kept / BYTES_MIN)
        };
        let arrays = [1, 2, 3].map(|size| recycler.take::<Fr>(size * LEN));
        assert_eq!(total(), (6, 0));
        arrays.into_iter().for_each(|array| recycler.give(array));
        assert_eq!(total(), (0, 6));
        let long: Vec<Fr> = recycler.take(4 * LEN);
        assert_eq!(total(), (4, 0), "those of 1 and 2 went, and that of 3 would be one too many");
        let scalars = vec![Fr::ZERO; 3 * LEN];
        recycler.adopt(&scalars);
        assert_eq!(total(), (7, 0));
        recycler.give(long);
        recycler.give(scalars);
        assert_eq!(total(), (0, 7));
        drop(recycler.take::<u32>(8 * LEN));
        assert_eq!(total().1, 3, "the array of 4 was the older");
    }
}
