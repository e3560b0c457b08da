//! ICICLE's C library, loaded at run time. Nothing here is reached without it.
//!
//! What is behind the C functions is C++ that throws: an exception that leaves one of them ends the
//! process. So nothing is called that could throw on user input: a device must be available before it
//! is set, and lengths are checked against the domain of the transform.

#![expect(unsafe_code, reason = "ICICLE is a C library")]

use std::collections::BTreeMap;
use std::ffi::{CString, OsString, c_char, c_int, c_void};
use std::fmt;
use std::path::{Path, PathBuf};

use ark_ff::PrimeField;
use libloading::os::unix::{Library as Object, RTLD_GLOBAL, RTLD_NOW};
use parking_lot::{Mutex, MutexGuard};
use rollmill_algebra::omega;

use crate::error::IcicleError;

/// The environment's word for the folder of the libraries.
const FOLDER_VARIABLE: &str = "ROLLMILL_ICICLE_DIR";
/// Where ICICLE searches for backends by itself, and the variable that comes before it.
const BACKENDS: &str = "/opt/icicle/lib/backend";
const BACKENDS_VARIABLE: &str = "ICICLE_BACKEND_INSTALL_DIR";
/// The libraries in the order in which each needs the ones before.
const OBJECTS: [&str; 3] = ["icicle_device", "icicle_field_bn254", "icicle_curve_bn254"];
/// Length of a device's kind, with the zero at its end.
const KIND_BYTES: usize = 64;
/// Smallest domain of transforms that is made; each larger one is made anew.
const DOMAIN_LOG_MIN: u32 = 12;
/// How long a list of devices may be.
const LIST_BYTES: usize = 4096;

/// A field element or a coordinate, canonical or in Montgomery form: 64-bit limbs, low first.
pub(crate) type Limbs = [u64; 4];
/// An affine point, x and y.
pub(crate) type Affine = [Limbs; 2];
/// A homogeneous point, x, y and z.
pub(crate) type Projective = [Limbs; 3];

/// `icicle::Device`.
#[repr(C)]
struct RawDevice {
    kind: [c_char; KIND_BYTES],
    id: c_int,
}

/// `icicle::MSMConfig`.
#[repr(C)]
struct MsmConfig {
    stream: *mut c_void,
    precompute_factor: c_int,
    c: c_int,
    bitsize: c_int,
    batch_size: c_int,
    are_points_shared_in_batch: bool,
    are_scalars_on_device: bool,
    are_scalars_montgomery_form: bool,
    are_points_on_device: bool,
    are_points_montgomery_form: bool,
    are_results_on_device: bool,
    is_async: bool,
    ext: *mut c_void,
}

/// `icicle::NTTConfig` of the scalar field.
#[repr(C)]
struct NttConfig {
    stream: *mut c_void,
    coset_gen: Limbs,
    batch_size: c_int,
    columns_batch: bool,
    ordering: c_int,
    are_inputs_on_device: bool,
    are_outputs_on_device: bool,
    is_async: bool,
    ext: *mut c_void,
}

/// `icicle::NTTInitDomainConfig`.
#[repr(C)]
struct NttInit {
    stream: *mut c_void,
    is_async: bool,
    ext: *mut c_void,
}

// What the C++ headers make of these on every 64-bit system.
const _: () = assert!(size_of::<RawDevice>() == 68);
const _: () = assert!(size_of::<MsmConfig>() == 40);
const _: () = assert!(size_of::<NttConfig>() == 64);
const _: () = assert!(size_of::<NttInit>() == 24);

/// Which way a transform goes. The numbers are ICICLE's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Coefficients to values.
    Forward = 0,
    /// Values to coefficients.
    Inverse = 1,
}

/// A device as ICICLE names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId {
    /// `CUDA`, `METAL`, `CPU`, …
    pub kind: String,
    /// Its number among those of the kind, from 0.
    pub number: u32,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.number)
    }
}

impl DeviceId {
    fn raw(&self) -> RawDevice {
        let mut raw = RawDevice { kind: [0; KIND_BYTES], id: self.number as c_int };
        // The last byte stays zero.
        for (slot, byte) in raw.kind[..KIND_BYTES - 1].iter_mut().zip(self.kind.bytes()) {
            *slot = byte as c_char;
        }
        raw
    }
}

/// The functions that are used, as the headers declare them. References there are pointers here.
#[derive(Clone, Copy)]
struct Functions {
    is_device_available: unsafe extern "C" fn(*const RawDevice) -> c_int,
    set_device: unsafe extern "C" fn(*const RawDevice) -> c_int,
    get_registered_devices: unsafe extern "C" fn(*mut c_char, usize) -> c_int,
    get_device_count: unsafe extern "C" fn(*mut c_int) -> c_int,
    get_available_memory: unsafe extern "C" fn(*mut usize, *mut usize) -> c_int,
    load_backend: unsafe extern "C" fn(*const c_char, bool) -> c_int,
    load_backend_from_env_or_default: unsafe extern "C" fn() -> c_int,
    malloc: unsafe extern "C" fn(*mut *mut c_void, usize) -> c_int,
    free: unsafe extern "C" fn(*mut c_void) -> c_int,
    copy_to_device: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> c_int,
    msm: unsafe extern "C" fn(
        *const Limbs,
        *const Affine,
        c_int,
        *const MsmConfig,
        *mut Projective,
    ) -> c_int,
    ntt: unsafe extern "C" fn(*const Limbs, c_int, c_int, *const NttConfig, *mut Limbs) -> c_int,
    ntt_init_domain: unsafe extern "C" fn(*const Limbs, *const NttInit) -> c_int,
    ntt_release_domain: unsafe extern "C" fn() -> c_int,
}

/// ICICLE as this process loaded it. Its threads and its exit handlers may run until the end, so it is
/// never unloaded.
pub(crate) struct Library {
    functions: Functions,
    /// Held during every call: ICICLE promises nothing about two at a time, a transform must not run
    /// while its domain is replaced, and one call fills the device. Holds the base-2 logarithm of each
    /// device's domain.
    domains: Mutex<BTreeMap<DeviceId, u32>>,
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

/// Every library that was loaded; the state behind the functions is one for each.
static LOADED: Mutex<Vec<&'static Library>> = Mutex::new(Vec::new());

impl Library {
    /// Loads ICICLE and its backends, or finds them loaded.
    pub(crate) fn load(folder: Option<&Path>) -> Result<&'static Self, IcicleError> {
        let from_environment = || std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
        let folder = folder.map(Path::to_path_buf).or_else(from_environment);
        let mut objects = Vec::with_capacity(OBJECTS.len());
        for name in OBJECTS {
            objects.push(open(name, folder.as_deref())?);
        }
        let functions = functions(&objects)?;
        // Opening the same files again yields the same functions.
        let address = |functions: &Functions| functions.ntt as usize;
        let mut loaded = LOADED.lock();
        let same = |library: &&&Self| address(&library.functions) == address(&functions);
        if let Some(library) = loaded.iter().find(same) {
            return Ok(library);
        }
        std::mem::forget(objects);
        let library = Box::leak(Box::new(Self { functions, domains: Mutex::default() }));
        library.load_backends(folder.as_deref());
        loaded.push(library);
        Ok(library)
    }

    /// A backend that cannot be loaded is missing among the devices, which is how it shows.
    fn load_backends(&self, folder: Option<&Path>) {
        let beside = folder.map(|folder| folder.join("backend")).filter(|path| path.is_dir());
        let path =
            beside.and_then(|path| CString::new(path.into_os_string().into_encoded_bytes()).ok());
        if let Some(path) = path {
            // SAFETY: the path ends with a zero and is only read during the call.
            let _ = unsafe { (self.functions.load_backend)(path.as_ptr(), true) };
        } else if std::env::var_os(BACKENDS_VARIABLE).is_some() || Path::new(BACKENDS).is_dir() {
            // Asked only where there may be something: it complains on standard error otherwise.
            // SAFETY: takes nothing.
            let _ = unsafe { (self.functions.load_backend_from_env_or_default)() };
        }
    }

    /// What ICICLE can compute on, accelerators first, its own CPU code last. A kind without a device
    /// that answers is left out.
    pub(crate) fn devices(&self) -> Result<Vec<DeviceId>, IcicleError> {
        let _held = self.lock();
        let mut found = Vec::new();
        for kind in self.kinds()? {
            let first = DeviceId { kind, number: 0 };
            if self.select(&first).is_err() {
                continue;
            }
            let mut count = 0;
            // SAFETY: writes one number. A device was set before, without which it would throw.
            let code = unsafe { (self.functions.get_device_count)(&raw mut count) };
            let count = if code == 0 { u32::try_from(count).unwrap_or(0) } else { 0 };
            found.extend((0..count).map(|number| DeviceId { number, ..first.clone() }));
        }
        found.sort_by_key(|device| (device.kind == "CPU", device.clone()));
        Ok(found)
    }

    /// The kinds of devices that are registered.
    fn kinds(&self) -> Result<Vec<String>, IcicleError> {
        let mut text = [0 as c_char; LIST_BYTES];
        // SAFETY: writes at most the given number of characters, the last of them zero.
        let code =
            unsafe { (self.functions.get_registered_devices)(text.as_mut_ptr(), LIST_BYTES) };
        done(code, "icicle_get_registered_devices", "any")?;
        let bytes: Vec<u8> = text.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
        let text = String::from_utf8_lossy(&bytes);
        Ok(text
            .split(',')
            .map(str::trim)
            .filter(|kind| !kind.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// Selects `device` for this thread's calls. The caller must hold the lock.
    fn select(&self, device: &DeviceId) -> Result<(), IcicleError> {
        let raw = device.raw();
        // Setting a device of a kind that is not registered throws, which would end the process.
        // SAFETY: reads the structure during the call.
        let code = unsafe { (self.functions.is_device_available)(&raw const raw) };
        done(code, "icicle_is_device_available", device)?;
        // SAFETY: as above, and the kind is registered.
        let code = unsafe { (self.functions.set_device)(&raw const raw) };
        done(code, "icicle_set_device", device)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, u32>> {
        self.domains.lock()
    }

    /// Copies points, canonical, to the device.
    pub(crate) fn upload(
        &'static self,
        device: &DeviceId,
        points: &[Affine],
    ) -> Result<Points, IcicleError> {
        let lock = self.lock();
        self.select(device)?;
        let bytes = size_of_val(points);
        let mut address = std::ptr::null_mut();
        if bytes > 0 {
            // SAFETY: writes one address.
            let code = unsafe { (self.functions.malloc)(&raw mut address, bytes) };
            self.allocated(code, "icicle_malloc", device, bytes)?;
        }
        // Owned from here on, so that it is released if the copy fails.
        let on_device =
            Points { library: self, device: device.clone(), address, len: points.len() };
        if bytes > 0 {
            // SAFETY: the device's memory was allocated for as many bytes as the slice has.
            let code =
                unsafe { (self.functions.copy_to_device)(address, points.as_ptr().cast(), bytes) };
            if code != 0 {
                // Releasing the memory takes the lock.
                drop(lock);
                return Err(failed(code, "icicle_copy_to_device", device));
            }
        }
        Ok(on_device)
    }

    /// `Σ scalars[i] · points[i]` over the first points, which are at least as many. All numbers are
    /// canonical: ICICLE's CPU code ignores the flag that points are in Montgomery form, and its result
    /// is then wrong without an error. No scalar has more than `bits` bits; 0 means no bound.
    pub(crate) fn msm(
        &self,
        scalars: &[Limbs],
        bits: u32,
        points: &Points,
    ) -> Result<Projective, IcicleError> {
        const CALL: &str = "bn254_msm";
        let device = &points.device;
        let Some(n) = c_int::try_from(scalars.len()).ok().filter(|_| scalars.len() <= points.len)
        else {
            let reason = format!("{} scalars for {} points", scalars.len(), points.len);
            return Err(IcicleError::Call { call: CALL, device: device.to_string(), reason });
        };
        let _held = self.lock();
        self.select(device)?;
        let config = MsmConfig {
            stream: std::ptr::null_mut(),
            precompute_factor: 1,
            c: 0,
            bitsize: bits as c_int,
            batch_size: 1,
            are_points_shared_in_batch: true,
            are_scalars_on_device: false,
            are_scalars_montgomery_form: false,
            are_points_on_device: true,
            are_points_montgomery_form: false,
            are_results_on_device: false,
            is_async: false,
            ext: std::ptr::null_mut(),
        };
        let mut out = [[0; 4]; 3];
        // SAFETY: reads `n` scalars here and `n` points on the selected device, which has more or
        // as many; writes one point. The call is not asynchronous, so nothing is used after it.
        let code = unsafe {
            (self.functions.msm)(
                scalars.as_ptr(),
                points.address.cast(),
                n,
                &raw const config,
                &raw mut out,
            )
        };
        self.allocated(code, CALL, device, size_of_val(scalars))?;
        Ok(out)
    }

    /// The transform of `values`, whose number is a power of two up to 2^28, in natural order. A
    /// forward one takes coefficients to values on `shift · H`, an inverse one goes back. `shift` is
    /// canonical; values may have any form, since transforms are linear.
    pub(crate) fn ntt(
        &self,
        device: &DeviceId,
        values: &[Limbs],
        direction: Direction,
        shift: Limbs,
    ) -> Result<Vec<Limbs>, IcicleError> {
        const CALL: &str = "bn254_ntt";
        let log_n = values.len().checked_ilog2().unwrap_or(0);
        let Some(n) = c_int::try_from(values.len()).ok().filter(|n| n.count_ones() == 1) else {
            let reason = format!("{} elements, expected a power of two", values.len());
            return Err(IcicleError::Call { call: CALL, device: device.to_string(), reason });
        };
        let mut domains = self.lock();
        self.select(device)?;
        self.reach(&mut domains, device, log_n)?;
        let config = NttConfig {
            stream: std::ptr::null_mut(),
            coset_gen: shift,
            batch_size: 1,
            columns_batch: false,
            ordering: 0,
            are_inputs_on_device: false,
            are_outputs_on_device: false,
            is_async: false,
            ext: std::ptr::null_mut(),
        };
        let mut out = vec![[0; 4]; values.len()];
        // SAFETY: reads `n` elements and writes as many, both here; they do not overlap. The domain
        // reaches this length, without which it would throw. Nothing is used after the call.
        let code = unsafe {
            (self.functions.ntt)(
                values.as_ptr(),
                n,
                direction as c_int,
                &raw const config,
                out.as_mut_ptr(),
            )
        };
        self.allocated(code, CALL, device, 2 * size_of_val(values))?;
        Ok(out)
    }

    /// Sets the device's domain to at least 2^log_n elements. An existing domain is kept by ICICLE
    /// whatever length is requested, so it is released first.
    fn reach(
        &self,
        domains: &mut BTreeMap<DeviceId, u32>,
        device: &DeviceId,
        log_n: u32,
    ) -> Result<(), IcicleError> {
        let log_n = log_n.max(DOMAIN_LOG_MIN);
        if domains.get(device).is_some_and(|there| *there >= log_n) {
            return Ok(());
        }
        if domains.contains_key(device) {
            // SAFETY: takes nothing; no transform runs, since the lock is held.
            let code = unsafe { (self.functions.ntt_release_domain)() };
            done(code, "bn254_ntt_release_domain", device)?;
            domains.remove(device);
        }
        let root = omega(log_n).into_bigint().0;
        let config =
            NttInit { stream: std::ptr::null_mut(), is_async: false, ext: std::ptr::null_mut() };
        // SAFETY: reads one element and the structure during the call.
        let code = unsafe { (self.functions.ntt_init_domain)(&raw const root, &raw const config) };
        self.allocated(code, "bn254_ntt_init_domain", device, size_of::<Limbs>() << log_n)?;
        domains.insert(device.clone(), log_n);
        Ok(())
    }

    /// The outcome of a call that needs about `bytes` of the device's memory.
    fn allocated(
        &self,
        code: c_int,
        call: &'static str,
        device: &DeviceId,
        bytes: usize,
    ) -> Result<(), IcicleError> {
        if !matches!(code, OUT_OF_MEMORY | ALLOCATION_FAILED) {
            return done(code, call, device);
        }
        let (mut total, mut free) = (0, 0);
        // Not every backend knows; zero then.
        // SAFETY: writes two numbers.
        let _ = unsafe { (self.functions.get_available_memory)(&raw mut total, &raw mut free) };
        Err(IcicleError::Memory {
            device: device.to_string(),
            needed_bytes: bytes as u64,
            free_bytes: free as u64,
        })
    }
}

/// Points in a device's memory.
#[derive(Debug)]
pub(crate) struct Points {
    library: &'static Library,
    device: DeviceId,
    /// Null when there are none.
    address: *mut c_void,
    len: usize,
}

impl Points {
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: the address belongs to a device and not to a thread; each call sets the device first.
unsafe impl Send for Points {}
// SAFETY: nothing writes through the address after it was filled.
unsafe impl Sync for Points {}

impl Drop for Points {
    fn drop(&mut self) {
        if self.address.is_null() {
            return;
        }
        let _lock = self.library.lock();
        if self.library.select(&self.device).is_ok() {
            // An error cannot be reported; the memory is freed with the process.
            // SAFETY: the address came from this device's allocator and is released once.
            let _ = unsafe { (self.library.functions.free)(self.address) };
        }
    }
}

const OUT_OF_MEMORY: c_int = 2;
const ALLOCATION_FAILED: c_int = 4;

/// `icicle::eIcicleError` in words.
fn words(code: c_int) -> String {
    let words = match code {
        1 => "invalid device",
        OUT_OF_MEMORY => "out of memory",
        3 => "invalid pointer",
        ALLOCATION_FAILED => "allocation failed",
        5 => "deallocation failed",
        6 => "copy failed",
        7 => "synchronization failed",
        8 => "stream creation failed",
        9 => "stream destruction failed",
        10 => "not implemented by this backend",
        11 => "invalid argument",
        12 => "backend load failed",
        13 => "the backend's licence was rejected",
        _ => "unknown error",
    };
    format!("code {code}, {words}")
}

fn failed(code: c_int, call: &'static str, device: impl fmt::Display) -> IcicleError {
    IcicleError::Call { call, device: device.to_string(), reason: words(code) }
}

fn done(code: c_int, call: &'static str, device: impl fmt::Display) -> Result<(), IcicleError> {
    if code == 0 { Ok(()) } else { Err(failed(code, call, device)) }
}

/// Opens one of the libraries, from `folder` or where the system's loader searches.
fn open(name: &str, folder: Option<&Path>) -> Result<Object, IcicleError> {
    let file: OsString = libloading::library_filename(name);
    let path = folder.map_or_else(|| PathBuf::from(&file), |folder| folder.join(&file));
    // Global, because each library and each backend uses the functions of those before it.
    // SAFETY: runs the initializers of what the operator installed as ICICLE, which is trusted to be it
    // as any library that a program is linked with.
    unsafe { Object::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| {
        let looked = match folder {
            Some(folder) => folder.display().to_string(),
            None => "the system's library folders".to_owned(),
        };
        let reason = one_line(&error);
        IcicleError::NotFound { library: file.to_string_lossy().into_owned(), looked, reason }
    })
}

/// The loader's error, in one line.
fn one_line(error: &libloading::Error) -> String {
    let text = match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn functions(objects: &[Object]) -> Result<Functions, IcicleError> {
    let [device, field, curve] = objects else {
        return Err(IcicleError::Symbol { library: OBJECTS.join(", "), symbol: "any".to_owned() });
    };
    /// A function of a library. `T` must be its type.
    unsafe fn get<T: Copy>(at: usize, object: &Object, symbol: &str) -> Result<T, IcicleError> {
        // SAFETY: the caller vouches for the type.
        let found = unsafe { object.get::<T>(symbol) };
        found.map(|function| *function).map_err(|_| IcicleError::Symbol {
            library: libloading::library_filename(OBJECTS[at]).to_string_lossy().into_owned(),
            symbol: symbol.to_owned(),
        })
    }
    // SAFETY: the types are those that ICICLE's headers declare, with references as pointers and
    // enumerations as integers; the objects outlive every use, since they are never closed.
    unsafe {
        Ok(Functions {
            is_device_available: get(0, device, "icicle_is_device_available")?,
            set_device: get(0, device, "icicle_set_device")?,
            get_registered_devices: get(0, device, "icicle_get_registered_devices")?,
            get_device_count: get(0, device, "icicle_get_device_count")?,
            get_available_memory: get(0, device, "icicle_get_available_memory")?,
            load_backend: get(0, device, "icicle_load_backend")?,
            load_backend_from_env_or_default: get(
                0,
                device,
                "icicle_load_backend_from_env_or_default",
            )?,
            malloc: get(0, device, "icicle_malloc")?,
            free: get(0, device, "icicle_free")?,
            copy_to_device: get(0, device, "icicle_copy_to_device")?,
            msm: get(2, curve, "bn254_msm")?,
            ntt: get(1, field, "bn254_ntt")?,
            ntt_init_domain: get(1, field, "bn254_ntt_init_domain")?,
            ntt_release_domain: get(1, field, "bn254_ntt_release_domain")?,
        })
    }
}
