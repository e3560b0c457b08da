//! A device that does one thing itself and leaves the rest to the CPU device.
//!
//! Its multi-scalar multiplication is Pippenger's method with a thread for each window; put your hardware
//! in the place of `window_sum`. Its buffers are the CPU device's, so `forward!` passes every other operation on to
//! that device. To replace another operation, list those that still are passed on, and write that one.
//!
//! ```sh
//! cargo run --release -p rollmill-plonk --example hybrid
//! ```

use ark_ff::{AdditiveGroup, PrimeField};
use rollmill_algebra::cpu::{CpuBuffer, CpuDevice};
use rollmill_algebra::device::{DeviceBuffer, DeviceError, Memory, Msm, Ntt, Vector};
use rollmill_algebra::{Fr, G1Affine, G1Projective, forward};

/// Sums on threads of its own, everything else on the CPU device.
#[derive(Debug, Default)]
pub struct HybridDevice {
    cpu: CpuDevice,
}

/// Bits of a window. It divides 64, so no window lies in two limbs; the four limbs hold 32 windows.
const WINDOW: usize = 8;

/// The sum of `digit · base`, where the digit is the scalar's in the window: each base is added to the
/// bucket of its digit, then the buckets from the top add up to every multiple.
fn window_sum(bases: &[G1Affine], scalars: &[[u64; 4]], window: usize) -> G1Projective {
    let mut buckets = [G1Projective::ZERO; (1 << WINDOW) - 1];
    for (base, limbs) in bases.iter().zip(scalars) {
        let bit = window * WINDOW;
        let digit = (limbs[bit / 64] >> (bit % 64)) as usize % (1 << WINDOW);
        if digit > 0 {
            buckets[digit - 1] += base;
        }
    }
    let (mut running, mut sum) = (G1Projective::ZERO, G1Projective::ZERO);
    for bucket in buckets.iter().rev() {
        running += bucket;
        sum += running;
    }
    sum
}

fn msm(bases: &[G1Affine], scalars: &[Fr]) -> G1Affine {
    let limbs: Vec<[u64; 4]> = scalars.iter().map(|scalar| scalar.into_bigint().0).collect();
    let limbs = &limbs;
    let sums: Vec<G1Projective> = std::thread::scope(|scope| {
        let of = |window| scope.spawn(move || window_sum(bases, limbs, window));
        let running: Vec<_> = (0..256 / WINDOW).map(of).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let shifted = |sum: G1Projective| (0..WINDOW).fold(sum, |sum, _| sum.double());
    sums.iter().rev().fold(G1Projective::ZERO, |total, sum| shifted(total) + sum).into()
}

impl Msm for HybridDevice {
    /// Hardware keeps its own form of them here.
    type Bases = Vec<G1Affine>;

    fn register_bases(&self, bases: &[G1Affine]) -> Result<Self::Bases, DeviceError> {
        Ok(bases.to_vec())
    }
    fn commit(
        &self,
        bases: &Self::Bases,
        columns: &[&CpuBuffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        if let Some(long) = columns.iter().find(|column| column.len() > bases.len()) {
            return Err(DeviceError::Shape {
                operation: "commit",
                expected: format!("at most {} scalars", bases.len()),
                got: long.len().to_string(),
            });
        }
        Ok(columns.iter().map(|column| msm(bases, column.as_slice())).collect())
    }
}

// The CPU device does the rest.

impl Memory for HybridDevice {
    type Buffer = CpuBuffer;

    fn name(&self) -> String {
        format!("hybrid(threads+{})", self.cpu.name())
    }
    forward!(cpu: Memory);
}

impl Ntt for HybridDevice {
    forward!(cpu: Ntt);
}

impl Vector for HybridDevice {
    forward!(cpu: Vector);
}

#[allow(dead_code)] // A test uses the parts of this example.
fn main() {
    let (device, seed) = (HybridDevice::default(), 1);
    rollmill_algebra::conformance::run_all(&device, seed);
    println!("the device obeys every law of the device traits");
    rollmill_plonk::conformance::proof_is_the_cpus(&device);
    println!("keys and proofs made on it are those of the CPU device, byte for byte");
}
