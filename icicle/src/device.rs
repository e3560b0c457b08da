//! The device: which operation runs where, and the test it must pass when it is opened.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::FftField;
use rollmill_algebra::cpu::CpuBuffer;
use rollmill_algebra::device::{Coeff, Column, DeviceError, Memory, Msm, Ntt, Vector};
use rollmill_algebra::{CpuDevice, Fr, G1Affine, G1Projective, forward};

use crate::error::IcicleError;
use crate::library::{DeviceId, Library};

/// Points of the sum that a device is tested with when it is opened.
const PROBE_POINTS: usize = 200;
/// Length of the transforms that it is tested with: above the 2^11 up to which ICICLE's CPU code works
/// on one thread.
const PROBE_LENGTH: usize = 1 << 12;
/// Fewest elements that are worth a thread.
const PART_MIN: usize = 1 << 12;

/// How to open a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Folder of ICICLE's libraries. See the crate's documentation for where they are searched for
    /// without it.
    pub folder: Option<PathBuf>,
    /// Threads for what the host does; 0 means one for each core the process may use. ICICLE's own CPU
    /// code uses every core regardless of this setting.
    pub host_threads: usize,
}

/// Where an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In ICICLE, on the device that was opened.
    Icicle,
    /// On host threads.
    Host,
}

/// ICICLE for MSMs and transforms, and host threads for the rest.
#[derive(Debug)]
pub struct IcicleDevice {
    pub(crate) library: &'static Library,
    pub(crate) id: DeviceId,
    pub(crate) cpu: CpuDevice,
    /// Why its results cannot be trusted, once that was detected.
    pub(crate) fault: OnceLock<IcicleError>,
}

/// The devices that ICICLE has on this machine, accelerators first, in the order in which numbers name
/// them.
///
/// # Errors
/// [`IcicleError::NotFound`] and [`IcicleError::Symbol`] when there is no ICICLE 4.
pub fn devices(folder: Option<&Path>) -> Result<Vec<DeviceId>, IcicleError> {
    Library::load(folder)?.devices()
}

/// Whether `requested`, a number in the list or a name, means the device `at` this place of it.
fn is_named(requested: &str, at: usize, device: &DeviceId) -> bool {
    match requested.parse::<usize>() {
        Ok(number) => number == at,
        Err(_) if requested.contains(':') => requested.eq_ignore_ascii_case(&device.to_string()),
        Err(_) => requested.eq_ignore_ascii_case(&device.kind) && device.number == 0,
    }
}

impl IcicleDevice {
    /// Opens a device and compares an MSM and transforms with the CPU's. `requested` is a place in
    /// the list of [`devices`], a kind such as `CUDA`, or a kind and a number such as `CUDA:1`.
    ///
    /// # Errors
    /// When there is no ICICLE, no such device, or one that fails or computes wrong values; nothing
    /// else is tried.
    ///
    /// # Panics
    /// If the system cannot start host threads.
    pub fn open(requested: &str, options: &Options) -> Result<Self, IcicleError> {
        let library = Library::load(options.folder.as_deref())?;
        let found = library.devices()?;
        let mut numbered = found.iter().enumerate();
        let Some((_, id)) = numbered.find(|(at, device)| is_named(requested, *at, device)) else {
            let have: Vec<String> = found.iter().map(ToString::to_string).collect();
            let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
            return Err(IcicleError::UnknownDevice { requested: requested.to_owned(), have });
        };
        let cpu = CpuDevice::new(options.host_threads);
        let device = Self { library, id: id.clone(), cpu, fault: OnceLock::new() };
        device.probe()?;
        Ok(device)
    }

    /// The device in ICICLE's words.
    pub fn id(&self) -> &DeviceId {
        &self.id
    }

    /// Each operation of the device traits and where it runs. Arrays live on the host and are copied to
    /// the device and back for each operation; registered bases stay on the device.
    pub fn report(&self) -> [(&'static str, Place); 9] {
        use Place::{Host, Icicle};
        [
            ("commit", Icicle),
            ("transforms", Icicle),
            ("invert", Host),
            ("prefix_product", Host),
            ("prefix_sum", Host),
            ("evaluate", Host),
            ("divide_by_linear", Host),
            ("linear_combination", Host),
            ("rows", Host),
        ]
    }

    /// A sum and transforms in all four directions that the CPU knows too.
    fn probe(&self) -> Result<(), IcicleError> {
        let called = |call: &'static str| {
            move |error: DeviceError| match self.fault.get() {
                Some(fault) => fault.clone(),
                None => {
                    let reason = error.to_string();
                    IcicleError::Call { call, device: self.id.to_string(), reason }
                }
            }
        };
        let values = progression(PROBE_LENGTH);
        let points: Vec<G1Projective> =
            values[..PROBE_POINTS].iter().map(|value| G1Projective::generator() * value).collect();
        let points: Vec<G1Affine> = G1Projective::normalize_batch(&points);
        let bases = self.register_bases(&points).map_err(called("the test's register_bases"))?;
        let column = self.upload(&values[..PROBE_POINTS]).map_err(called("the test's upload"))?;
        // Compared with the CPU's inside, as the first sum over these points.
        self.commit(&bases, &[&column]).map_err(called("the test's commit"))?;

        let column = Column::<_, Coeff>::new(self.upload(&values).map_err(called("upload"))?);
        let failed = || called("the test's transform");
        let here = self.to_lagrange(&[&column]).map_err(failed())?;
        let there = self.cpu.to_lagrange(&[&column]).map_err(failed())?;
        self.same("a transform", &here[0], &there[0])?;
        let back = self.to_coeff(&[&there[0]]).map_err(failed())?;
        self.same("an inverse transform", &back[0], &column)?;
        let here = self.to_coset(&[&column], Fr::GENERATOR).map_err(failed())?;
        let there = self.cpu.to_coset(&[&column], Fr::GENERATOR).map_err(failed())?;
        self.same("a transform to a coset", &here[0], &there[0])?;
        let back = self.from_coset(&[&there[0]], Fr::GENERATOR).map_err(failed())?;
        self.same("a transform from a coset", &back[0], &column)
    }

    fn same<S: rollmill_algebra::device::Basis>(
        &self,
        what: &str,
        here: &Column<CpuBuffer, S>,
        there: &Column<CpuBuffer, S>,
    ) -> Result<(), IcicleError> {
        if here.buffer.as_slice() == there.buffer.as_slice() {
            return Ok(());
        }
        let n = there.buffer.as_slice().len();
        Err(self.wrong(format!("{what} of {n} elements is not the CPU's")))
    }

    /// Remembers that the device computes wrong values. Every later operation of ICICLE's fails.
    pub(crate) fn wrong(&self, what: String) -> IcicleError {
        let error = IcicleError::Wrong { device: self.id.to_string(), what };
        self.fault.get_or_init(|| error).clone()
    }

    /// Rejects work once the device was seen to compute wrong values.
    pub(crate) fn check(&self, operation: &'static str) -> Result<(), DeviceError> {
        match self.fault.get() {
            None => Ok(()),
            Some(fault) => Err(self.failed(operation, fault.clone())),
        }
    }

    pub(crate) fn failed(&self, operation: &'static str, error: IcicleError) -> DeviceError {
        error.during(operation, &self.name())
    }
}

/// Full elements without a pattern, the same every time.
fn progression(n: usize) -> Vec<Fr> {
    let mut value = Fr::from(7u64);
    let next = |_| {
        value = value * value + Fr::GENERATOR;
        value
    };
    (0..n).map(next).collect()
}

impl Memory for IcicleDevice {
    type Buffer = CpuBuffer;

    fn name(&self) -> String {
        format!("hybrid(icicle({})+{})", self.id, self.cpu.name())
    }

    forward!(cpu: Memory);
}

impl Vector for IcicleDevice {
    forward!(cpu: Vector);
}

pub(crate) fn shape<T>(
    operation: &'static str,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Result<T, DeviceError> {
    Err(DeviceError::Shape { operation, expected: expected.into(), got: got.into() })
}

/// `of` of every element, on up to `threads` threads.
pub(crate) fn convert<T: Sync, U: Send + Clone + Default>(
    threads: usize,
    from: &[T],
    of: impl Fn(&T) -> U + Sync,
) -> Vec<U> {
    if from.len() <= PART_MIN || threads < 2 {
        return from.iter().map(of).collect();
    }
    let part = from.len().div_ceil(threads).max(PART_MIN);
    let mut out = vec![U::default(); from.len()];
    std::thread::scope(|scope| {
        for (out, from) in out.chunks_mut(part).zip(from.chunks(part)) {
            let of = &of;
            scope.spawn(move || {
                for (out, from) in out.iter_mut().zip(from) {
                    *out = of(from);
                }
            });
        }
    });
    out
}
