//! Sensors of an NVIDIA card by NVML, the management library of its driver, loaded at run time.
//!
//! Without the library, or without a card of the given UUID in it, there are no readings and nothing
//! else changes. A function that the library lacks or that fails leaves its own reading out.
//! Source: NVML API Reference, "Device Queries".

#![expect(unsafe_code, reason = "NVML is a C library")]

use std::ffi::{CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::fmt;

use libloading::Library;

use crate::xid::XidErrors;

/// Files of the library; the first comes with a driver, the second with its development files.
const NAMES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
/// Bytes that the library needs for the text of a version.
const VERSION_BYTES: usize = 80;

/// Why there are no readings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NvmlError {
    /// NVML, the management library of the NVIDIA driver, is missing.
    ///
    /// Do: Install the NVIDIA driver with its libraries (`libnvidia-ml.so.1`). Without it the bench
    /// has no readings of clock, power and temperature.
    #[error("{}: NVML cannot be loaded: {reason}; install the NVIDIA driver with its libraries", self.code())]
    Absent { reason: String },
    /// NVML lacks a required function.
    ///
    /// Do: Update the NVIDIA driver.
    #[error("{}: NVML has no {name}; update the driver", self.code())]
    Symbol { name: &'static str },
    /// NVML cannot be initialised.
    ///
    /// Do: Run `nvidia-smi`. If it fails too, reload or reinstall the driver.
    #[error("{}: NVML cannot be initialised (its error {code}); run nvidia-smi", self.code())]
    Start { code: i32 },
    /// NVML does not know the card that CUDA uses.
    ///
    /// Do: Run `nvidia-smi -L`. In a container, pass the card to it with its management library.
    #[error("{}: NVML finds no card {uuid} (its error {code}); run nvidia-smi -L", self.code())]
    Device { uuid: String, code: i32 },
}

rollmill_errors::coded! {
    NvmlError {
        Self::Absent { .. } => "AGT-060",
        Self::Symbol { .. } => "AGT-061",
        Self::Start { .. } => "AGT-062",
        Self::Device { .. } => "AGT-063",
    }
}

/// `nvmlDevice_t`.
pub(crate) type Handle = *mut c_void;
/// A query of one value of a card.
type Query<T> = unsafe extern "C" fn(Handle, *mut T) -> c_int;
/// A query of one of several values of a card.
type Choose<T> = unsafe extern "C" fn(Handle, c_uint, *mut T) -> c_int;

/// `nvmlMemory_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlUtilization_t`, in hundredths of the last sample period.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `NVML_ERROR_NOT_FOUND`.
const NOT_FOUND: c_int = 6;
/// What the header numbers: the sensor of the chip, clocks, kinds of errors, and errors since the driver
/// was loaded.
const TEMPERATURE_GPU: c_uint = 0;
const CLOCK_SM: c_uint = 1;
const CLOCK_MEMORY: c_uint = 2;
const ECC_CORRECTED: c_uint = 0;
const ECC_UNCORRECTED: c_uint = 1;
const ECC_VOLATILE: c_uint = 0;

/// Why clocks may be lower than they could be: bits of `nvmlClocksEventReasons`, by name. Idleness and
/// clocks that the operator set are not among them.
pub const THROTTLE_REASONS: [(&str, u64); 6] = [
    ("power_cap", 0x4),
    ("hardware_slowdown", 0x8),
    ("sync_boost", 0x10),
    ("software_thermal", 0x20),
    ("hardware_thermal", 0x40),
    ("power_brake", 0x80),
];

struct Functions {
    temperature: Option<Choose<c_uint>>,
    power: Option<Query<c_uint>>,
    power_limit: Option<Query<c_uint>>,
    energy: Option<Query<c_ulonglong>>,
    utilization: Option<Query<Utilization>>,
    memory: Option<Query<Memory>>,
    clock: Option<Choose<c_uint>>,
    throttle: Option<Query<c_ulonglong>>,
    ecc: Option<unsafe extern "C" fn(Handle, c_uint, c_uint, *mut c_ulonglong) -> c_int>,
    driver: Option<unsafe extern "C" fn(*mut c_char, c_uint) -> c_int>,
    shutdown: unsafe extern "C" fn() -> c_int,
}

/// The readings of a card at one moment; `None` where it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reading {
    pub temperature_celsius: Option<f64>,
    pub power_watts: Option<f64>,
    /// The limits that apply to the GPU now.
    pub power_limit_watts: Option<f64>,
    /// Since the driver was loaded.
    pub energy_joules: Option<f64>,
    /// Part of the last sample period in which a kernel ran, from 0 to 1.
    pub utilization: Option<f64>,
    /// Part of it in which memory was read or written.
    pub memory_utilization: Option<f64>,
    pub memory_used_bytes: Option<f64>,
    pub memory_total_bytes: Option<f64>,
    pub sm_clock_hertz: Option<f64>,
    pub memory_clock_hertz: Option<f64>,
    /// Bits of [`THROTTLE_REASONS`].
    pub throttle_reasons: Option<u64>,
    /// Errors of memory since the driver was loaded.
    pub ecc_corrected: Option<f64>,
    pub ecc_uncorrected: Option<f64>,
    /// Xid errors since the card was opened here.
    pub xid_errors: Option<f64>,
}

/// A card that NVML knows.
pub struct Card {
    functions: Functions,
    handle: Handle,
    uuid: String,
    xid: Option<XidErrors>,
    /// Last: the functions are in it.
    library: Library,
}

// SAFETY: NVML may be called from any thread, and a handle stays valid until the library is shut down.
unsafe impl Send for Card {}
// SAFETY: as above; the library does its own locking.
unsafe impl Sync for Card {}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card").field("uuid", &self.uuid).finish_non_exhaustive()
    }
}

impl Card {
    /// Finds the card by the UUID that the CUDA driver reports (`GPU-…`), never by an index: NVML counts in
    /// another order.
    ///
    /// # Errors
    /// One each for no library, a library that lacks what is needed or does not start, and no such card.
    pub fn open(uuid: &str) -> Result<Self, NvmlError> {
        let library = load()?;
        // SAFETY: the signatures are those of NVML's header; the library lives as long as `self`.
        unsafe {
            let init = required::<unsafe extern "C" fn() -> c_int>(&library, "nvmlInit_v2")?;
            let find = required::<unsafe extern "C" fn(*const c_char, *mut Handle) -> c_int>(
                &library,
                "nvmlDeviceGetHandleByUUID",
            )?;
            let functions = Functions {
                temperature: optional(&library, "nvmlDeviceGetTemperature"),
                power: optional(&library, "nvmlDeviceGetPowerUsage"),
                power_limit: optional(&library, "nvmlDeviceGetEnforcedPowerLimit"),
                energy: optional(&library, "nvmlDeviceGetTotalEnergyConsumption"),
                utilization: optional(&library, "nvmlDeviceGetUtilizationRates"),
                memory: optional(&library, "nvmlDeviceGetMemoryInfo"),
                clock: optional(&library, "nvmlDeviceGetClockInfo"),
                // The name since drivers of version 535, and the one before.
                throttle: optional(&library, "nvmlDeviceGetCurrentClocksEventReasons")
                    .or_else(|| optional(&library, "nvmlDeviceGetCurrentClocksThrottleReasons")),
                ecc: optional(&library, "nvmlDeviceGetTotalEccErrors"),
                driver: optional(&library, "nvmlSystemGetDriverVersion"),
                shutdown: required(&library, "nvmlShutdown")?,
            };
            match init() {
                0 => {}
                code => return Err(NvmlError::Start { code }),
            }
            // Owned from here on, so that it is shut down if there is no such card.
            let mut card = Self {
                functions,
                handle: std::ptr::null_mut(),
                uuid: uuid.to_owned(),
                xid: None,
                library,
            };
            // The CUDA driver has its own identifier for a part of a card, which NVML knows by another
            // prefix.
            let part = uuid.replacen("GPU-", "MIG-", 1);
            let mut code = 0;
            for name in [uuid, &part] {
                // A UUID has no zero in it.
                let Ok(name) = CString::new(name) else { continue };
                code = find(name.as_ptr(), &raw mut card.handle);
                match code {
                    0 => {
                        card.xid = XidErrors::open(&card.library, card.handle);
                        return Ok(card);
                    }
                    NOT_FOUND => {}
                    _ => break,
                }
            }
            Err(NvmlError::Device { uuid: uuid.to_owned(), code })
        }
    }

    /// The UUID that it was found by.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Version of the driver.
    pub fn driver(&self) -> Option<String> {
        let mut text = [0u8; VERSION_BYTES];
        // SAFETY: writes at most the given number of characters, the last of them zero.
        let code =
            unsafe { (self.functions.driver?)(text.as_mut_ptr().cast(), VERSION_BYTES as c_uint) };
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        (code == 0 && !text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }

    /// All readings of the card now.
    pub fn read(&self) -> Reading {
        let functions = &self.functions;
        let utilization = self.ask(functions.utilization);
        let memory = self.ask(functions.memory);
        let hertz = |clock| self.choose(functions.clock, clock).map(|mhz| f64::from(mhz) * 1e6);
        Reading {
            temperature_celsius: self.choose(functions.temperature, TEMPERATURE_GPU).map(f64::from),
            power_watts: self.ask(functions.power).map(thousandth),
            power_limit_watts: self.ask(functions.power_limit).map(thousandth),
            energy_joules: self.energy_joules(),
            utilization: utilization.map(|part| f64::from(part.gpu) / 100.0),
            memory_utilization: utilization.map(|part| f64::from(part.memory) / 100.0),
            memory_used_bytes: memory.map(|memory| memory.used as f64),
            memory_total_bytes: memory.map(|memory| memory.total as f64),
            sm_clock_hertz: hertz(CLOCK_SM),
            memory_clock_hertz: hertz(CLOCK_MEMORY),
            throttle_reasons: self.ask(functions.throttle),
            ecc_corrected: self.ecc(ECC_CORRECTED),
            ecc_uncorrected: self.ecc(ECC_UNCORRECTED),
            xid_errors: self.xid.as_ref().map(|errors| errors.count(&self.uuid) as f64),
        }
    }

    /// Energy since the driver was loaded.
    pub fn energy_joules(&self) -> Option<f64> {
        self.ask(self.functions.energy).map(|millijoules| millijoules as f64 / 1e3)
    }

    fn ecc(&self, kind: c_uint) -> Option<f64> {
        let mut errors = 0;
        // SAFETY: the handle is valid; writes one number.
        let code =
            unsafe { (self.functions.ecc?)(self.handle, kind, ECC_VOLATILE, &raw mut errors) };
        (code == 0).then_some(errors as f64)
    }

    fn ask<T: Default>(&self, query: Option<Query<T>>) -> Option<T> {
        let mut value = T::default();
        // SAFETY: the handle is valid; writes one value of the type.
        let code = unsafe { (query?)(self.handle, &raw mut value) };
        (code == 0).then_some(value)
    }

    fn choose<T: Default>(&self, query: Option<Choose<T>>, choice: c_uint) -> Option<T> {
        let mut value = T::default();
        // SAFETY: as above; the choice is one of the header's.
        let code = unsafe { (query?)(self.handle, choice, &raw mut value) };
        (code == 0).then_some(value)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // Before the library is shut down.
        self.xid = None;
        // SAFETY: the library was started and the handle is not used after this. Starts are counted, so
        // that other users are not disturbed; a failure cannot be reported any more.
        let _ = unsafe { (self.functions.shutdown)() };
    }
}

fn thousandth(value: c_uint) -> f64 {
    f64::from(value) / 1e3
}

fn load() -> Result<Library, NvmlError> {
    let mut reason = String::new();
    for name in NAMES {
        // SAFETY: what the driver runs when it is loaded, as every program with a card does.
        match unsafe { Library::new(name) } {
            Ok(library) => return Ok(library),
            Err(error) if reason.is_empty() => reason = error.to_string(),
            Err(_) => {}
        }
    }
    Err(NvmlError::Absent { reason })
}

/// # Safety
/// `T` is the signature of the function.
pub(crate) unsafe fn optional<T: Copy>(library: &Library, name: &str) -> Option<T> {
    // SAFETY: as the caller guarantees.
    unsafe { library.get::<T>(name) }.ok().map(|symbol| *symbol)
}

/// # Safety
/// As of [`optional`].
unsafe fn required<T: Copy>(library: &Library, name: &'static str) -> Result<T, NvmlError> {
    // SAFETY: as the caller guarantees.
    unsafe { optional(library, name) }.ok_or(NvmlError::Symbol { name })
}
