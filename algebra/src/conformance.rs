//! The laws that every device obeys, as a library: a device is done when [`run_all`] returns.
//!
//! Each law compares a device with its [plain twin](crate::plain) or with itself. A broken law does not stop the
//! others; each is reported with its name, its first failing case, and its line. Only where an operation fails or
//! panics, the laws after it in the same group cannot run, and the report says so.
//! New edge cases are added here, never beside one device.

mod expression;
mod msm;
mod ntt;
mod sharing;
mod vector;

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use ark_ec::CurveGroup;
use ark_ff::{BigInt, Field, PrimeField};
use sha2::{Digest, Sha256};

use crate::device::Device;
use crate::{Fr, G1Affine, G1Projective};

pub use self::expression::Random;

/// Checks the laws, as [`broken_laws`] does. `seed` chooses the random inputs.
///
/// # Panics
/// When `device` breaks a law. The message lists all laws that it breaks, and the seed.
#[track_caller]
pub fn run_all<D: Device>(device: &D, seed: u64) {
    let broken = broken_laws(device, seed);
    if broken.is_empty() {
        return;
    }
    let list: Vec<String> = broken.iter().map(|law| format!("- {law}")).collect();
    panic!(
        "device {} breaks {} of the laws, with seed {seed}:\n{}",
        device.name(),
        broken.len(),
        list.join("\n")
    );
}

/// Checks the laws and returns the broken ones, in the order in which they failed first. An operation that fails or
/// panics counts as a broken law of its group; the laws after it in that group do not run.
pub fn broken_laws<D: Device>(device: &D, seed: u64) -> Vec<BrokenLaw> {
    let laws = Laws { device, seed, broken: RefCell::default() };
    laws.group("memory", Laws::memory);
    laws.group("write", Laws::writes);
    laws.group("small values", Laws::small_values);
    laws.group("overwritten sources", Laws::sources_may_be_overwritten);
    msm::run(&laws);
    ntt::run(&laws);
    vector::run(&laws);
    sharing::run(&laws);
    laws.broken.into_inner()
}

/// A law that a device breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenLaw {
    /// The law, such as `commit is the sum of products`.
    pub law: String,
    /// The first case that fails.
    pub case: String,
    /// The line of the law; `None` when an operation failed or panicked before the law could be checked.
    pub at: Option<&'static Location<'static>>,
    /// How many more cases fail.
    pub more: usize,
}

impl fmt::Display for BrokenLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { law, case, at, more } = self;
        write!(f, "`{law}`: {case}")?;
        if *more > 0 {
            write!(f, ", and {more} more")?;
        }
        match at {
            Some(at) => write!(f, " ({at})"),
            None => Ok(()),
        }
    }
}

/// What a panic says.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message").to_owned()
}

/// A device under test, and the seed of its inputs.
struct Laws<'a, D> {
    device: &'a D,
    seed: u64,
    broken: RefCell<Vec<BrokenLaw>>,
}

impl<D: Device> Laws<'_, D> {
    /// Checks some laws of one kind. Where an operation fails or panics, the rest of them cannot be checked: the
    /// report says so, and the other groups run.
    fn group(&self, name: &str, check: impl FnOnce(&Self)) {
        // Laws hold no state but the list of what is broken, which is whole after each push.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(self))) {
            let law = format!("{name}: every operation succeeds");
            self.record(law, format!("{}; the laws after it did not run", text_of(&*panic)), None);
        }
    }

    fn record(&self, law: String, case: String, at: Option<&'static Location<'static>>) {
        let mut broken = self.broken.borrow_mut();
        match broken.iter_mut().find(|known| known.law == law) {
            Some(known) => known.more += 1,
            None => broken.push(BrokenLaw { law, case, at, more: 0 }),
        }
    }

    #[track_caller]
    fn check(&self, holds: bool, law: &str, case: impl fmt::Display) {
        if !holds {
            self.record(law.to_owned(), case.to_string(), Some(Location::caller()));
        }
    }

    fn frs(&self, label: &str, n: usize) -> Vec<Fr> {
        numbers(self.seed, label, n)
    }

    fn fr(&self, label: &str) -> Fr {
        Stream::new(self.seed, label).fr()
    }

    fn upload(&self, values: &[Fr]) -> D::Buffer {
        self.device.upload(values).expect("upload")
    }

    fn download(&self, buffer: &D::Buffer) -> Vec<Fr> {
        self.device.download(buffer).expect("download")
    }

    fn memory(&self) {
        for n in [0, 1, 2, 1000] {
            let values = self.frs("memory", n);
            let downloaded = self.download(&self.upload(&values));
            self.check(downloaded == values, "download returns what was uploaded", n);
        }
    }

    fn writes(&self) {
        for (n, start, count) in
            [(0, 0, 2), (5, 0, 5), (9, 3, 2), (1000, 999, 1), (1000, 998, 4), (4, 4, 3)]
        {
            let (values, new) = (self.frs("written to", n), self.frs("written", count));
            let mut buffer = self.upload(&values);
            let shared = buffer.clone();
            self.device.write(&mut buffer, start, &new).expect("write");
            self.check(self.download(&shared) == values, "write leaves clones alone", n);
            let mut expected = values;
            expected.resize(n.max(start + count), Fr::default());
            expected[start..start + count].copy_from_slice(&new);
            let case = format!("n {n}, {count} at {start}");
            self.check(self.download(&buffer) == expected, "write replaces and appends", case);
        }
        let mut buffer = self.upload(&[]);
        let rejected = self.device.write(&mut buffer, 1, &[Fr::default()]);
        self.check(rejected.is_err(), "write rejects an offset that leaves a gap", 1);
    }

    fn small_values(&self) {
        let small: Vec<u16> = (0..1000u32).map(|i| (i * 65_535 / 999) as u16).collect();
        let full: Vec<Fr> = small.iter().map(|value| Fr::from(*value)).collect();
        let downloaded = self.download(&self.device.upload_u16(&small).expect("upload_u16"));
        self.check(downloaded == full, "small values download as field elements", 1000);
    }

    /// The caller's memory is its own again as soon as a call returns, also while work that was queued before keeps
    /// the device busy.
    fn sources_may_be_overwritten(&self) {
        let device = self.device;
        let busy = self.upload(&self.frs("busy", 1000));
        let keep_busy =
            || (0..4).for_each(|_| drop(device.prefix_product(&busy).expect("prefix_product")));
        // Below and above the sizes from which devices copy in another way.
        for n in [1, 100, 3_000, 70_000] {
            let values: Vec<Fr> = (0..n as u64).map(|i| Fr::from(i * i + 3)).collect();
            let nines = vec![Fr::from(9u64); n];

            let mut source = values.clone();
            keep_busy();
            let uploaded = device.upload(&source).expect("upload");
            source.copy_from_slice(std::hint::black_box(&nines));
            let same = self.download(&uploaded) == values;
            self.check(same, "the source of an upload may be overwritten at once", n);

            let mut source: Vec<u16> = (0..n).map(|i| i as u16).collect();
            let full: Vec<Fr> = source.iter().map(|value| Fr::from(*value)).collect();
            keep_busy();
            let uploaded = device.upload_u16(&source).expect("upload_u16");
            source.fill(std::hint::black_box(9));
            let same = self.download(&uploaded) == full;
            self.check(same, "the source of small values may be overwritten at once", n);

            let mut source = values.clone();
            let mut written = self.upload(&nines);
            keep_busy();
            device.write(&mut written, 0, &source).expect("write");
            source.copy_from_slice(std::hint::black_box(&nines));
            let same = self.download(&written) == values;
            self.check(same, "the source of a write may be overwritten at once", n);
            std::hint::black_box(source);
        }
    }
}

/// Random numbers that are the same everywhere: SHA-256 of seed, label and counter.
struct Stream {
    prefix: Vec<u8>,
    counter: u64,
}

impl Stream {
    fn new(seed: u64, label: &str) -> Self {
        Self { prefix: [&seed.to_le_bytes(), label.as_bytes()].concat(), counter: 0 }
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.counter += 1;
        Sha256::new()
            .chain_update(&self.prefix)
            .chain_update(self.counter.to_le_bytes())
            .finalize()
            .into()
    }

    fn fr(&mut self) -> Fr {
        Fr::from_le_bytes_mod_order(&self.bytes())
    }

    fn u16(&mut self) -> u16 {
        let bytes = self.bytes();
        u16::from_le_bytes([bytes[0], bytes[1]])
    }
}

/// `n` random field elements that are the same everywhere.
pub fn numbers(seed: u64, label: &str, n: usize) -> Vec<Fr> {
    let mut stream = Stream::new(seed, label);
    (0..n).map(|_| stream.fr()).collect()
}

/// Random choices that are equal on every run, each a number below the bound it is called with.
pub fn picks(seed: u64, label: &str) -> impl FnMut(usize) -> usize + use<> {
    let mut stream = Stream::new(seed, label);
    move |below| usize::from(stream.u16()) % below
}

/// `n` points without a known pattern: multiples of the generator by consecutive random steps.
fn points(seed: u64, n: usize) -> Vec<G1Affine> {
    let mut stream = Stream::new(seed, "points");
    let generator: G1Affine = ark_ec::AffineRepr::generator();
    let start: G1Affine = (generator * stream.fr()).into_affine();
    let step: G1Affine = (generator * stream.fr()).into_affine();
    let sums = std::iter::successors(Some(G1Projective::from(start)), |point| Some(*point + step));
    G1Projective::normalize_batch(&sums.take(n).collect::<Vec<_>>())
}

fn power_of_two(k: u32) -> Fr {
    Fr::from(2u64).pow([u64::from(k)])
}

/// `limbs`, a number below r, as a field element.
fn number(limbs: [u64; 4]) -> Fr {
    Fr::from_bigint(BigInt::new(limbs)).expect("a number below r")
}
