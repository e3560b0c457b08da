//! Xid errors of an NVIDIA card: what its driver reports when the card, or a program on it, fails.
//!
//! Source: NVML API Reference, "Event Handling Methods"; the numbers are in NVIDIA's "XID Errors".

#![expect(unsafe_code, reason = "NVML is a C library")]

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use libloading::Library;

use crate::nvml::{Handle, optional};

/// `nvmlEventSet_t`.
type Set = *mut c_void;
/// `nvmlEventTypeXidCriticalError`.
const XID_CRITICAL: c_ulonglong = 0x8;
/// Errors taken at one reading; the others are taken at the next.
const READING_MAX: usize = 1_000;

/// `nvmlEventData_t`.
#[repr(C)]
struct Event {
    device: Handle,
    kind: c_ulonglong,
    /// The Xid.
    data: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// The errors of a card since this was opened.
pub(crate) struct XidErrors {
    set: Set,
    wait: unsafe extern "C" fn(Set, *mut Event, c_uint) -> c_int,
    free: unsafe extern "C" fn(Set) -> c_int,
    count: AtomicU64,
}

impl XidErrors {
    /// Asks for the errors of the card; `None` where the library or the card does not report them.
    ///
    /// # Safety
    /// The handle is one of the library, which is started and outlives the value.
    pub(crate) unsafe fn open(library: &Library, handle: Handle) -> Option<Self> {
        // SAFETY: the signatures are those of NVML's header; the rest is as the caller guarantees.
        unsafe {
            let create =
                optional::<unsafe extern "C" fn(*mut Set) -> c_int>(library, "nvmlEventSetCreate")?;
            let register = optional::<unsafe extern "C" fn(Handle, c_ulonglong, Set) -> c_int>(
                library,
                "nvmlDeviceRegisterEvents",
            )?;
            let wait = optional(library, "nvmlEventSetWait_v2")?;
            let free = optional(library, "nvmlEventSetFree")?;
            let mut set = std::ptr::null_mut();
            if create(&raw mut set) != 0 {
                return None;
            }
            // Owned from here on, so that it is freed if the card does not report errors.
            let errors = Self { set, wait, free, count: AtomicU64::new(0) };
            (register(handle, XID_CRITICAL, set) == 0).then_some(errors)
        }
    }

    /// Takes what was reported since the last call, logs it, and returns how many there were in all.
    pub(crate) fn count(&self, uuid: &str) -> u64 {
        for _ in 0..READING_MAX {
            let mut event = Event {
                device: std::ptr::null_mut(),
                kind: 0,
                data: 0,
                gpu_instance: 0,
                compute_instance: 0,
            };
            // SAFETY: the set is valid; writes one event. 0 ms: it returns what is there.
            if unsafe { (self.wait)(self.set, &raw mut event, 0) } != 0 {
                break;
            }
            let reason = format!("Xid {}", event.data);
            tracing::error!(device = uuid, reason, "GPU error reported");
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for XidErrors {
    fn drop(&mut self) {
        // SAFETY: the set is valid and not used after this; a failure cannot be reported any more.
        let _ = unsafe { (self.free)(self.set) };
    }
}
