//! A library with ICICLE's C interface for the tests, all three of its files in one.
//!
//! It computes right values by arkworks and keeps ICICLE's traps: what throws there aborts here, and
//! points declared to be in Montgomery form are taken as they are. It is stricter where that shows a fault
//! of the caller: calls at the same time, without a device, or with memory that is not the device's
//! abort too. A file `behaviour` beside it, one word a line, makes it do worse.

#![expect(unsafe_code, reason = "a C library seen from inside")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};

use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{AdditiveGroup, BigInt, BigInteger, Field, PrimeField};
use parking_lot::{Mutex, MutexGuard};
use rollmill_algebra::device::{Memory, Msm};
use rollmill_algebra::{CpuDevice, Fq, Fr, G1Affine, G1Projective};

type Limbs = [u64; 4];

#[repr(C)]
struct Device {
    kind: [c_char; 64],
    id: c_int,
}

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

#[derive(Default)]
struct State {
    /// Memory by address, with its bytes.
    memory: BTreeMap<usize, Vec<u64>>,
    /// Roots of the domains by device, and their orders' logarithms.
    domains: BTreeMap<(String, i32), (Fr, u32)>,
}

static STATE: Mutex<State> =
    Mutex::new(State { memory: BTreeMap::new(), domains: BTreeMap::new() });
static BUSY: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CURRENT: RefCell<Option<(String, i32)>> = const { RefCell::new(None) };
}

fn trap(what: &str) -> ! {
    eprintln!("fake ICICLE: {what}");
    std::process::abort()
}

/// A call in progress; a second one at the same time is rejected.
struct Call;

impl Call {
    fn begin() -> Self {
        if BUSY.swap(true, Ordering::SeqCst) {
            trap("two calls at the same time");
        }
        Self
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::SeqCst);
    }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock()
}

#[repr(C)]
struct Found {
    file: *const c_char,
    base: *mut c_void,
    name: *const c_char,
    address: *mut c_void,
}

unsafe extern "C" {
    fn dladdr(address: *const c_void, found: *mut Found) -> c_int;
}

/// The words in the file `behaviour` beside this library.
fn behaviour() -> Vec<String> {
    let mut found = Found {
        file: std::ptr::null(),
        base: std::ptr::null_mut(),
        name: std::ptr::null(),
        address: std::ptr::null_mut(),
    };
    // SAFETY: asks for the file that holds this very function; the name lives as long as the library.
    let file = unsafe {
        if dladdr(behaviour as *const c_void, &raw mut found) == 0 {
            trap("its own file is unknown");
        }
        CStr::from_ptr(found.file)
    };
    let file = PathBuf::from(file.to_string_lossy().into_owned());
    let text = std::fs::read_to_string(file.with_file_name("behaviour")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn does(word: &str) -> bool {
    behaviour().iter().any(|line| line == word)
}

fn value_of(key: &str) -> Option<String> {
    let lines = behaviour();
    lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
}

/// The error code that a call must return, as in `fail bn254_msm=14`.
fn injected(call: &str) -> Option<c_int> {
    value_of(&format!("fail {call}")).and_then(|code| code.parse().ok())
}

fn kinds() -> String {
    value_of("devices").unwrap_or_else(|| "CPU".to_owned())
}

fn count() -> i32 {
    value_of("count").and_then(|count| count.parse().ok()).unwrap_or(1)
}

fn memory_bytes() -> usize {
    value_of("memory").and_then(|bytes| bytes.parse().ok()).unwrap_or(1 << 30)
}

fn used_bytes(state: &State) -> usize {
    state.memory.values().map(|words| 8 * words.len()).sum()
}

unsafe fn kind_of(device: *const Device) -> (String, i32) {
    // SAFETY: the caller gives a device whose kind ends with a zero.
    unsafe {
        (CStr::from_ptr((*device).kind.as_ptr()).to_string_lossy().into_owned(), (*device).id)
    }
}

fn is_registered(kind: &str) -> bool {
    kinds().split(',').any(|known| known == kind)
}

fn current() -> (String, i32) {
    CURRENT
        .with(|current| current.borrow().clone())
        .unwrap_or_else(|| trap("a call on a thread that set no device"))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn icicle_is_device_available(device: *const Device) -> c_int {
    let _call = Call::begin();
    // SAFETY: as the interface states.
    let (kind, _) = unsafe { kind_of(device) };
    c_int::from(!is_registered(&kind))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn icicle_set_device(device: *const Device) -> c_int {
    let _call = Call::begin();
    // SAFETY: as the interface states.
    let (kind, id) = unsafe { kind_of(device) };
    if !is_registered(&kind) {
        trap(&format!("device {kind} is not registered, and setting it throws"));
    }
    if let Some(code) = injected("icicle_set_device") {
        return code;
    }
    if !(0..count()).contains(&id) {
        return 1;
    }
    CURRENT.with(|current| *current.borrow_mut() = Some((kind, id)));
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn icicle_get_registered_devices(out: *mut c_char, bytes: usize) -> c_int {
    let _call = Call::begin();
    let text = kinds();
    if text.len() + 1 > bytes {
        return 2;
    }
    for (i, byte) in text.bytes().chain([0]).enumerate() {
        // SAFETY: the caller provides `bytes` characters, and there are fewer.
        unsafe { out.add(i).write(byte as c_char) };
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn icicle_get_device_count(out: *mut c_int) -> c_int {
    let _call = Call::begin();
    current();
    // SAFETY: the caller provides a number.
    unsafe { out.write(count()) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn icicle_get_available_memory(total: *mut usize, free: *mut usize) -> c_int {
    let _call = Call::begin();
    let used = used_bytes(&state());
    // SAFETY: the caller provides two numbers.
    unsafe {
        total.write(memory_bytes());
        free.write(memory_bytes().saturating_sub(used));
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn icicle_load_backend(path: *const c_char, _recursive: bool) -> c_int {
    let _call = Call::begin();
    // SAFETY: the path ends with a zero.
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned();
    // Reports to the test that it was called.
    let _ = std::fs::write(PathBuf::from(path).join("asked"), "");
    0
}

#[unsafe(no_mangle)]
extern "C" fn icicle_load_backend_from_env_or_default() -> c_int {
    12
}

#[unsafe(no_mangle)]
unsafe extern "C" fn icicle_malloc(out: *mut *mut c_void, bytes: usize) -> c_int {
    let _call = Call::begin();
    current();
    let mut state = state();
    if used_bytes(&state) + bytes > memory_bytes() {
        return 2;
    }
    let mut words = vec![0u64; bytes.div_ceil(8)];
    let address = words.as_mut_ptr();
    state.memory.insert(address as usize, words);
    // SAFETY: the caller provides an address.
    unsafe { out.write(address.cast()) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn icicle_free(address: *mut c_void) -> c_int {
    let _call = Call::begin();
    current();
    match state().memory.remove(&(address as usize)) {
        Some(_) => 0,
        None => trap("memory that is not the device's is released"),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn icicle_copy_to_device(
    to: *mut c_void,
    from: *const c_void,
    bytes: usize,
) -> c_int {
    let _call = Call::begin();
    if let Some(code) = injected("icicle_copy_to_device") {
        return code;
    }
    let mut state = state();
    match state.memory.get_mut(&(to as usize)) {
        Some(words) if 8 * words.len() >= bytes => {
            // SAFETY: the caller gives as many bytes; the device's memory was just found long enough.
            unsafe {
                std::ptr::copy_nonoverlapping(from.cast::<u8>(), words.as_mut_ptr().cast(), bytes);
            }
            0
        }
        _ => 6,
    }
}

fn fq(limbs: &Limbs) -> Fq {
    Fq::from_bigint(BigInt(*limbs)).unwrap_or_else(|| trap("a coordinate is not below q"))
}

fn fr(limbs: &Limbs) -> Fr {
    Fr::from_bigint(BigInt(*limbs)).unwrap_or_else(|| trap("an element is not below r"))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bn254_msm(
    scalars: *const Limbs,
    bases: *const [Limbs; 2],
    n: c_int,
    config: *const MsmConfig,
    out: *mut [Limbs; 3],
) -> c_int {
    let _call = Call::begin();
    current();
    if let Some(code) = injected("bn254_msm") {
        return code;
    }
    // SAFETY: as the interface states.
    let config = unsafe { &*config };
    let plain = config.batch_size == 1
        && config.precompute_factor == 1
        && !config.are_scalars_on_device
        && config.are_points_on_device
        && !config.are_results_on_device
        && !config.is_async
        && config.stream.is_null()
        && config.ext.is_null();
    if !plain {
        return 10;
    }
    let n = n as usize;
    if state().memory.get(&(bases as usize)).is_none_or(|words| words.len() < 8 * n) {
        trap("the points are not in the device's memory");
    }
    // SAFETY: the scalars are as many as the caller states, and the points were just found.
    let (scalars, bases) =
        unsafe { (slice::from_raw_parts(scalars, n), slice::from_raw_parts(bases, n)) };
    let scalars: Vec<Fr> = match config.are_scalars_montgomery_form {
        true => scalars.iter().map(|limbs| Fr::new_unchecked(BigInt(*limbs))).collect(),
        false => scalars.iter().map(fr).collect(),
    };
    let bits = scalars.iter().map(|scalar| scalar.into_bigint().num_bits()).max().unwrap_or(0);
    if config.bitsize != 0 && bits > config.bitsize as u32 {
        trap("a scalar is longer than declared");
    }
    // Whatever `are_points_montgomery_form` says: the trap.
    let point = |point: &[Limbs; 2]| match point {
        [[0, 0, 0, 0], [0, 0, 0, 0]] => G1Affine::identity(),
        [x, y] => G1Affine::new_unchecked(fq(x), fq(y)),
    };
    let bases: Vec<G1Affine> = bases.iter().map(point).collect();
    let mut sum = match n {
        0..=32 => bases.iter().zip(&scalars).map(|(base, scalar)| *base * scalar).sum(),
        _ => {
            let cpu = CpuDevice::scalar(1);
            let registered = cpu.register_bases(&bases).unwrap_or_else(|_| trap("bases"));
            let column = cpu.upload(&scalars).unwrap_or_else(|_| trap("scalars"));
            let sums = cpu.commit(&registered, &[&column]).unwrap_or_else(|_| trap("sum"));
            G1Projective::from(sums[0])
        }
    };
    let long = value_of("wrong msm from").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    if n >= long {
        sum += G1Projective::generator();
    }
    let z = Fq::from(n as u64 + 2);
    let mut point = match sum.into_affine().xy() {
        Some((x, y)) => [x * z, y * z, z],
        None => [Fq::ZERO, z, Fq::ZERO],
    };
    if does("off the curve") {
        point[0] += Fq::ONE;
    }
    // SAFETY: the caller provides one point.
    unsafe { out.write(point.map(|value| value.into_bigint().0)) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bn254_ntt_init_domain(root: *const Limbs, _config: *const c_void) -> c_int {
    let _call = Call::begin();
    let device = current();
    if let Some(code) = injected("bn254_ntt_init_domain") {
        return code;
    }
    // SAFETY: the caller gives one element.
    let root = fr(unsafe { &*root });
    let squares = std::iter::successors(Some(root), |root| Some(root.square()));
    let log_n = squares.take(29).take_while(|power| *power != Fr::ONE).count() as u32;
    // A domain that is there stays.
    state().domains.entry(device).or_insert((root, log_n));
    0
}

#[unsafe(no_mangle)]
extern "C" fn bn254_ntt_release_domain() -> c_int {
    let _call = Call::begin();
    let device = current();
    if let Some(code) = injected("bn254_ntt_release_domain") {
        return code;
    }
    state().domains.remove(&device);
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bn254_ntt(
    values: *const Limbs,
    n: c_int,
    direction: c_int,
    config: *const NttConfig,
    out: *mut Limbs,
) -> c_int {
    let _call = Call::begin();
    let device = current();
    if let Some(code) = injected("bn254_ntt") {
        return code;
    }
    // SAFETY: as the interface states.
    let config = unsafe { &*config };
    let plain = config.batch_size == 1
        && !config.columns_batch
        && config.ordering == 0
        && !config.are_inputs_on_device
        && !config.are_outputs_on_device
        && !config.is_async
        && config.stream.is_null()
        && config.ext.is_null();
    if !plain {
        return 10;
    }
    let n = n as usize;
    let Some((mut root, log_n)) = state().domains.get(&device).copied() else {
        trap("a transform without a domain throws");
    };
    if !n.is_power_of_two() || n.ilog2() > log_n {
        trap("a transform beyond its domain throws");
    }
    for _ in n.ilog2()..log_n {
        root.square_in_place();
    }
    // SAFETY: the caller provides `n` elements and space for as many.
    let (values, out) =
        unsafe { (slice::from_raw_parts(values, n), slice::from_raw_parts_mut(out, n)) };
    let mut values: Vec<Fr> = values.iter().map(fr).collect();
    let shift = if does("no cosets") { Fr::ONE } else { fr(&config.coset_gen) };
    let inverse = |value: Fr| value.inverse().unwrap_or_else(|| trap("zero has no inverse"));
    if direction == 0 {
        scale(&mut values, Fr::ONE, shift);
        transform(&mut values, root);
    } else {
        transform(&mut values, inverse(root));
        scale(&mut values, inverse(Fr::from(n as u64)), inverse(shift));
    }
    if does("wrong ntt") {
        values[n - 1] += Fr::ONE;
    }
    for (out, value) in out.iter_mut().zip(&values) {
        *out = value.into_bigint().0;
    }
    if does("large value") {
        out[0] = [u64::MAX; 4];
    }
    0
}

/// Multiplies by `first`, `first · base`, ….
fn scale(values: &mut [Fr], first: Fr, base: Fr) {
    let mut factor = first;
    for value in values {
        *value *= factor;
        factor *= base;
    }
}

/// The textbook's transform: bits reversed, then layers of growing distance.
fn transform(values: &mut [Fr], root: Fr) {
    let n = values.len();
    let bits = n.ilog2();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits.max(1));
        if bits > 0 && i < j {
            values.swap(i, j);
        }
    }
    for layer in 0..bits {
        let half = 1usize << layer;
        let step = root.pow([(n >> (layer + 1)) as u64]);
        for block in values.chunks_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            let mut power = Fr::ONE;
            for (a, b) in low.iter_mut().zip(high) {
                let product = *b * power;
                *b = *a - product;
                *a += product;
                power *= step;
            }
        }
    }
}
