//! Arrays on large pages.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};

/// Types of which zero bytes are a value.
///
/// # Safety
/// Any run of zero bytes of the type's size must be one of its values.
pub(super) unsafe trait ZeroBytes: Copy {
    /// That value.
    const ZERO: Self;
}

// SAFETY: a number.
unsafe impl ZeroBytes for u32 {
    const ZERO: Self = 0;
}
// SAFETY: the array of numbers that it wraps is of zeros.
unsafe impl ZeroBytes for super::msm::plan::Folded {
    const ZERO: Self = Self::ZERO;
}
// SAFETY: likewise.
unsafe impl ZeroBytes for super::msm::affine::Flat {
    const ZERO: Self = Self::IDENTITY;
}
// SAFETY: the array of numbers that it wraps is of zeros.
unsafe impl ZeroBytes for crate::Fr {
    const ZERO: Self = <Self as ark_ff::AdditiveGroup>::ZERO;
}

/// Arrays below this many bytes gain nothing.
const BYTES_MIN: usize = 4 << 20;

/// An array of zero bytes on large pages, where the system has some; the threads that first
/// write to them fetch them.
///
/// For what is read in no order, or made anew for each call: with pages of 4 KiB more time goes to
/// finding pages, and to asking for them, than to the memory itself. Transforms keep to ordinary
/// pages: their strides are powers of two, which on large pages fall on few lines of the cache.
pub(super) fn zeroed<T: ZeroBytes>(len: usize) -> Vec<T> {
    let Ok(layout) = Layout::array::<T>(len) else { panic!("{len} elements exceed memory") };
    if layout.size() == 0 {
        return Vec::new();
    }
    // SAFETY: the layout has a size.
    let start = unsafe { alloc_zeroed(layout) };
    if start.is_null() {
        handle_alloc_error(layout);
    }
    ask_for_large_pages(start, layout.size());
    // SAFETY: allocated just now with the layout of the array, and zero bytes are values.
    unsafe { Vec::from_raw_parts(start.cast(), len, len) }
}

/// Advice only: a system without large pages, or with none free, uses others.
fn ask_for_large_pages(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= BYTES_MIN {
        const PAGE: usize = 4096;
        let skipped = start.addr().wrapping_neg() % PAGE;
        let whole = (bytes - skipped) / PAGE * PAGE;
        // SAFETY: whole pages of one allocation; the advice changes no content.
        unsafe { libc::madvise(start.wrapping_add(skipped).cast(), whole, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes, BYTES_MIN);
}

/// Makes the process map each large array separately and return it to the system when it is dropped.
///
/// The GNU allocator keeps arrays up to 32 MiB in heaps of 64 MiB, one for each thread; with columns
/// of a few MiB each they fragment, and a process that proves takes half as much memory again as its
/// arrays have. The price is a page fault for each page of a new array, so it suits processes whose
/// large arrays are kept for the next use, as [`super::CpuDevice`] keeps its own. Does nothing under
/// other allocators.
pub fn map_large_arrays() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// A column of 2^17 elements.
        const LARGE: libc::c_int = 4 << 20;
        /// Free memory left at the end of a heap. Setting the other keeps it from adapting itself.
        const SPARE: libc::c_int = 64 << 20;
        // SAFETY: the call sets a number under the allocator's lock.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, SPARE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_any_length_are_zero() {
        for len in [0, 1, BYTES_MIN / 4 - 1, BYTES_MIN / 4, 3 * BYTES_MIN] {
            let mut array: Vec<u32> = zeroed(len);
            assert_eq!(array.len(), len);
            assert!(array.iter().all(|x| *x == 0), "{len}");
            array.push(1);
            assert_eq!(array.last(), Some(&1));
        }
    }
}
