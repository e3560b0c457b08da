//! Memory of arrays that ended, for those to come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ark_ff::AdditiveGroup;

use crate::Fr;

/// Arrays below this length are left to the allocator, which keeps them itself.
const LEN_MIN: usize = 1 << 12;
/// Elements kept at most; the oldest arrays are let go.
const KEPT_MAX: usize = 3 << 21;

/// Keeps arrays that are no longer in use. The system hands out fresh memory a page at a time and
/// zeroes each, which takes as long as a pass over the data does.
#[derive(Debug, Clone, Default)]
pub(super) struct Recycler(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    arrays: VecDeque<Vec<Fr>>,
    elements: usize,
}

impl Recycler {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An array of `len` elements of any value, all to be written to.
    pub(super) fn take(&self, len: usize) -> Vec<Fr> {
        let found = (len >= LEN_MIN).then(|| self.kept().find(len)).flatten();
        let mut array = found.unwrap_or_default();
        array.resize(len, Fr::ZERO);
        array
    }

    /// A copy of `values`.
    pub(super) fn copy(&self, values: &[Fr]) -> Vec<Fr> {
        let mut array = self.take(values.len());
        array.copy_from_slice(values);
        array
    }

    /// Takes back an array.
    pub(super) fn give(&self, array: Vec<Fr>) {
        if !(LEN_MIN..=KEPT_MAX).contains(&array.capacity()) {
            return;
        }
        let mut kept = self.kept();
        kept.elements += array.capacity();
        kept.arrays.push_back(array);
        while kept.elements > KEPT_MAX {
            let Some(oldest) = kept.arrays.pop_front() else { break };
            kept.elements -= oldest.capacity();
        }
    }
}

impl Kept {
    /// The array given back last that has room for `len` elements and not much more.
    fn find(&mut self, len: usize) -> Option<Vec<Fr>> {
        let fits = |array: &Vec<Fr>| (len..=len + len / 4).contains(&array.capacity());
        let at = self.arrays.iter().rposition(fits)?;
        let array = self.arrays.remove(at)?;
        self.elements -= array.capacity();
        Some(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_given_back_is_taken_again_for_about_its_length() {
        let recycler = Recycler::default();
        let array = vec![Fr::from(7u64); LEN_MIN * 2];
        let place = array.as_ptr();
        recycler.give(array);
        let half = recycler.take(LEN_MIN);
        assert_ne!(half.as_ptr(), place, "twice as long as needed");
        let again = recycler.take(LEN_MIN * 2 - 1);
        assert_eq!((again.as_ptr(), again.len()), (place, LEN_MIN * 2 - 1));
        recycler.give(again);
        let copy = recycler.copy(&[Fr::ZERO; LEN_MIN * 2]);
        assert_eq!((copy.as_ptr(), copy[0]), (place, Fr::ZERO));
        assert_eq!(recycler.kept().arrays.len(), 0);
    }

    #[test]
    fn no_more_is_kept_than_said() {
        let recycler = Recycler::default();
        for _ in 0..5 {
            recycler.give(Vec::with_capacity(KEPT_MAX / 4));
        }
        let kept = recycler.kept();
        assert_eq!((kept.arrays.len(), kept.elements), (4, KEPT_MAX));
    }
}
