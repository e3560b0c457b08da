//! Memory of arrays that ended, for those to come.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::msm::affine::Flat;
use super::msm::plan::Folded;
use super::pages::{self, ZeroBytes};
use crate::Fr;

/// Arrays of fewer bytes are left to the allocator, which keeps them itself.
const BYTES_MIN: usize = 128 << 10;
/// Maximum bytes kept, whatever was in use before.
const KEPT_MAX: usize = 1 << 30;

/// What arrays that are kept consist of.
pub(super) trait Element: ZeroBytes + Send + 'static {
    /// Whether new arrays use large pages: see [`pages::zeroed`].
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

/// Keeps arrays that are no longer in use. The system maps fresh memory page by page and zeroes
/// each page, which takes as long as a pass over the data.
///
/// Kept and used memory together never exceed the maximum that was in use, so that keeping arrays does
/// not raise the peak.
#[derive(Debug, Clone, Default)]
pub(super) struct Recycler(Arc<Mutex<Pool>>);

/// All sizes are in bytes.
#[derive(Debug, Default)]
struct Pool {
    /// The most recently returned array is last.
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
    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.0.lock()
    }

    /// Changes the pool, then frees what exceeds the limit.
    fn update<R>(&self, change: impl FnOnce(&mut Pool) -> R) -> R {
        let mut pool = self.lock();
        let result = change(&mut pool);
        let excess = pool.settle();
        // Unmapping takes a while, and others wait for the lock.
        drop(pool);
        drop(excess);
        result
    }

    /// An array of `len` elements of unspecified value.
    pub(super) fn take<T: Element>(&self, len: usize) -> Vec<T> {
        let requested = len * size_of::<T>();
        let mut found = None;
        if requested >= BYTES_MIN {
            found = self.update(|pool| {
                let found = pool.find(len);
                pool.used += found.as_ref().map_or(requested, bytes);
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

    /// Counts an array made elsewhere that will be returned here.
    pub(super) fn adopt<T: Element>(&self, array: &Vec<T>) {
        if bytes(array) >= BYTES_MIN {
            self.update(|pool| pool.used += bytes(array));
        }
    }

    /// Returns an array to the pool.
    pub(super) fn release<T: Element>(&self, array: Vec<T>) {
        let bytes = bytes(&array);
        if bytes < BYTES_MIN {
            return;
        }
        self.update(|pool| {
            // An array that grew while in use was counted with its smaller size.
            pool.used = pool.used.saturating_sub(bytes);
            pool.kept += bytes;
            pool.arrays.push_back(Kept { array: Box::new(array), bytes });
        });
    }
}

impl Pool {
    /// The smallest array that fits `len` elements, unless it has much more; of those, the one
    /// returned last, which may still be in the cache.
    fn find<T: Element>(&mut self, len: usize) -> Option<Vec<T>> {
        let capacity = |kept: &Kept| Some(kept.array.downcast_ref::<Vec<T>>()?.capacity());
        let fits = |(at, kept)| {
            Some((at, capacity(kept).filter(|capacity| (len..=2 * len).contains(capacity))?))
        };
        let found = self.arrays.iter().enumerate().rev().filter_map(fits);
        let (at, _) = found.min_by_key(|(_, capacity)| *capacity)?;
        let kept = self.arrays.remove(at)?;
        self.kept -= kept.bytes;
        kept.array.downcast().ok().map(|array| *array)
    }

    /// Removes the oldest arrays, as many as exceed the limit.
    #[must_use]
    fn settle(&mut self) -> Vec<Kept> {
        self.most = self.most.max(self.used);
        let most = (self.most - self.used).min(KEPT_MAX);
        let mut excess = Vec::new();
        while self.kept > most {
            let Some(oldest) = self.arrays.pop_front() else { break };
            self.kept -= oldest.bytes;
            excess.push(oldest);
        }
        excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = BYTES_MIN / size_of::<Fr>();

    /// One that may keep that many times [`BYTES_MIN`].
    fn recycler(most: usize) -> Recycler {
        let recycler = Recycler::default();
        recycler.lock().most = most * BYTES_MIN;
        recycler
    }

    #[test]
    fn a_returned_array_is_reused_for_about_its_length() {
        let recycler = recycler(16);
        let mut array: Vec<Fr> = recycler.take(2 * LEN + 1);
        array.fill(Fr::from(7u64));
        let place = array.as_ptr();
        recycler.release(array);
        let other: Vec<u32> = recycler.take(8 * (2 * LEN + 1));
        assert_ne!(other.as_ptr().cast(), place, "of another type");
        let half: Vec<Fr> = recycler.take(LEN);
        assert_ne!(half.as_ptr(), place, "more than twice as long as needed");
        let again: Vec<Fr> = recycler.take(2 * LEN);
        assert_eq!((again.as_ptr(), again.len()), (place, 2 * LEN));
        recycler.release(again);
        let copy = recycler.copy(&[Fr::ZERO; 2 * LEN]);
        assert_eq!((copy.as_ptr(), copy[0]), (place, Fr::ZERO));
    }

    #[test]
    fn the_tightest_array_is_taken_and_of_those_the_last() {
        let recycler = recycler(32);
        let arrays = [4, 3, 6, 3].map(|size| recycler.take::<Fr>(size * LEN));
        let places = arrays.each_ref().map(|array| array.as_ptr());
        arrays.into_iter().for_each(|array| recycler.release(array));
        let taken: [Vec<Fr>; 4] = std::array::from_fn(|_| recycler.take(3 * LEN));
        let expected = [3, 1, 0, 2].map(|i| places[i]);
        assert_eq!(taken.each_ref().map(|array| array.as_ptr()), expected);
    }

    #[test]
    fn what_is_kept_and_what_is_used_are_never_more_than_was_used_at_once() {
        let recycler = Recycler::default();
        let total = || {
            let pool = recycler.lock();
            (pool.used / BYTES_MIN, pool.kept / BYTES_MIN)
        };
        let arrays = [1, 2, 3].map(|size| recycler.take::<Fr>(size * LEN));
        assert_eq!(total(), (6, 0));
        arrays.into_iter().for_each(|array| recycler.release(array));
        assert_eq!(total(), (0, 6));
        let long: Vec<Fr> = recycler.take(4 * LEN);
        assert_eq!(total(), (4, 0), "those of 1 and 2 went, and that of 3 would be one too many");
        let scalars = vec![Fr::ZERO; 3 * LEN];
        recycler.adopt(&scalars);
        assert_eq!(total(), (7, 0));
        recycler.release(long);
        recycler.release(scalars);
        assert_eq!(total(), (0, 7));
        drop(recycler.take::<u32>(8 * LEN));
        assert_eq!(total().1, 3, "the array of 4 was the older");
    }
}
