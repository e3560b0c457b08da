//! The device obeys every law, with either form of limbs, in one buffer and in many.

mod common;

use ark_ec::{CurveGroup, PrimeGroup};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rollmill_algebra::conformance::{Random, numbers};
use rollmill_algebra::device::{Memory, Msm, Vector};
use rollmill_algebra::{CpuDevice, Fr, G1Affine, G1Projective, conformance, plain};
use rollmill_shaders::{Clock, Field, LimbForm, Options, Rows};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ark_ff::UniformRand;

#[test]
fn u64_limbs_obey_every_law() {
    if common::has(LimbForm::U64) {
        conformance::run_all(&common::open(&common::options(LimbForm::U64)), 1);
    }
}

#[test]
fn u32_limbs_obey_every_law() {
    conformance::run_all(&common::open(&common::options(LimbForm::U32)), 2);
}

/// With the checks on, an index past the end hits garbage or spoils it, so that the laws notice.
#[test]
fn arrays_in_many_buffers_obey_every_law_under_checks() {
    let options = Options { chunk_elements: Some(1024), checks: true, ..common::any_form() };
    conformance::run_all(&common::open(&options), 3);
}

/// A clock on which timed dispatches take the times of a list by turns.
#[derive(Debug)]
struct Turns {
    milliseconds: &'static [u64],
    calls: AtomicU64,
    now: AtomicU64,
}

impl Turns {
    fn new(milliseconds: &'static [u64]) -> Arc<Self> {
        Arc::new(Self { milliseconds, calls: AtomicU64::new(0), now: AtomicU64::new(0) })
    }
}

impl Clock for Turns {
    /// It is asked before a dispatch and after it.
    fn now(&self) -> Duration {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) as usize;
        if call % 2 == 1 {
            let took = self.milliseconds[call / 2 % self.milliseconds.len()];
            self.now.fetch_add(took, Ordering::Relaxed);
        }
        Duration::from_millis(self.now.load(Ordering::Relaxed))
    }
}

/// Goal: a launch that is cut into dispatches computes what it computes in one. Method: a clock on which dispatches are
/// slow twice and fast twice, so that every kernel's are halved and doubled during the laws.
#[test]
fn launches_cut_into_dispatches_obey_every_law() {
    let clock = Turns::new(&[1000, 1000, 0, 50, 0]);
    let device = common::open(&Options { clock: Some(clock), ..common::any_form() });
    conformance::run_all(&device, 4);
    let groups = device.dispatch_groups();
    let cut = groups.iter().filter(|(_, groups)| *groups < 128).count();
    assert!(cut >= 3, "several kernels have short dispatches: {groups:?}");
}

/// Goal: the length of dispatches follows the measured time and no number of points. Method: the same launches on a
/// clock on which each takes a second, and on one on which each takes no time.
#[test]
fn slow_dispatches_become_shorter_and_fast_ones_longer() {
    let n = 64 * 300;
    let values: Vec<[u64; 4]> = (0..n).map(|i| Fr::from(i as u64 + 2).0.0).collect();
    let expected: Vec<[u64; 4]> =
        (0..n).map(|i| (Fr::from(i as u64 + 2) * Fr::from(i as u64 + 2)).0.0).collect();
    const SLOW: &[u64] = &[1000];
    const USUAL: &[u64] = &[50];
    const FAST: &[u64] = &[0];
    for (milliseconds, groups) in [(SLOW, 1), (USUAL, 256), (FAST, 512)] {
        let clock = Turns::new(milliseconds);
        let device = common::open(&Options { clock: Some(clock), ..common::any_form() });
        for _ in 0..10 {
            let got = device.field_products(Field::Fr, &values, &values, 1).unwrap();
            assert!(got == expected, "{milliseconds:?} ms");
        }
        assert_eq!(device.dispatch_groups(), [("product", groups)], "{milliseconds:?} ms");
    }
}

/// Goal: row kernels compute the same on the host, by the interpreter and as kernels of their own, also where the rows
/// of a group end amid a column. Method: a random kernel, whose generated form has several pieces, with the checks on.
#[test]
fn row_kernels_compute_the_same_wherever_they_run() {
    let (n, seed) = (600, 6);
    let kernel = Random { seed, shape: 2, steps: 40 };
    let columns: Vec<Vec<Fr>> = (0..4).map(|i| numbers(seed, &format!("column {i}"), n)).collect();
    let expected = plain::rows(&kernel, &columns);
    for rows in [Rows::Host, Rows::Interpreted, Rows::Generated] {
        let options =
            Options { rows, chunk_elements: Some(256), checks: true, ..common::any_form() };
        let device = common::open(&options);
        let buffers: Vec<_> = columns.iter().map(|column| device.upload(column).unwrap()).collect();
        let out = device.rows(&kernel, &buffers.iter().collect::<Vec<_>>()).unwrap();
        let got: Vec<Vec<Fr>> = out.iter().map(|column| device.download(column).unwrap()).collect();
        assert!(got == expected, "{rows:?}, seed {seed}");
    }
}

/// Goal: windows of so many buckets that their running sums take two steps on the adapter, which the
/// laws' sizes do not reach. Method: compare with the CPU device.
#[test]
fn long_msms_are_those_of_the_cpu() {
    let (n, seed) = (1 << 16, 5);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut point = G1Projective::generator() * Fr::rand(&mut rng);
    let points: Vec<G1Projective> = (0..n)
        .map(|_| {
            point += G1Projective::generator();
            point
        })
        .collect();
    let bases = G1Projective::normalize_batch(&points);
    let scalars: Vec<Fr> = (0..n).map(|_| Fr::rand(&mut rng)).collect();
    let cpu = CpuDevice::new(2);
    let registered = cpu.register_bases(&bases).unwrap();
    let expected = cpu.commit(&registered, &[&cpu.upload(&scalars).unwrap()]).unwrap();
    let device = common::open(&common::any_form());
    let registered = device.register_bases(&bases).unwrap();
    let got = device.commit(&registered, &[&device.upload(&scalars).unwrap()]).unwrap();
    assert_eq!(got, expected, "seed {seed}");
}

#[test]
fn one_device_serves_several_threads() {
    let device = common::open(&common::any_form());
    let generator: G1Affine = G1Projective::generator().into_affine();
    let registered = device.register_bases(&vec![generator; 300]).unwrap();
    std::thread::scope(|scope| {
        for thread in 1..=4u64 {
            let (device, registered) = (&device, &registered);
            scope.spawn(move || {
                for round in 1..=5u64 {
                    let scalar = Fr::from(thread * 1_000_003 + round);
                    let column = device.upload(&vec![scalar; 300]).unwrap();
                    let sum = device.commit(registered, &[&column]).unwrap()[0];
                    let expected = generator * (scalar * Fr::from(300u64));
                    assert_eq!(sum, expected.into_affine(), "thread {thread}, round {round}");
                    let total = device.prefix_sum(&column).unwrap();
                    let last = device.download(&total).unwrap()[299];
                    assert_eq!(last, scalar * Fr::from(299u64), "thread {thread}, round {round}");
                }
            });
        }
    });
}
