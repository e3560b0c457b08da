//! A device that does one thing itself and leaves the rest to the CPU device.
//!
//! Its multi-scalar multiplication is Pippenger's method with a thread for each window; put your hardware
//! in the place of `window_sum`. Its buffers are the CPU device's, so every other operation is
//! a call of the same operation of that device: copy these calls, and drop one whenever you replace it.
//!
//! ```sh
//! cargo run --release -p rollmill-plonk --example hybrid
//! ```

use ark_ff::{AdditiveGroup, PrimeField};
use rollmill_algebra::cpu::{CpuBuffer, CpuDevice};
use rollmill_algebra::device::{
    Coeff, Column, Coset, DeviceBuffer, DeviceError, Lagrange, Memory, Msm, Ntt, RowKernel, Vector,
};
use rollmill_algebra::{Fr, G1Affine, G1Projective};

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

// From here on the CPU device.

impl Memory for HybridDevice {
    type Buffer = CpuBuffer;

    fn name(&self) -> String {
        format!("hybrid(threads+{})", self.cpu.name())
    }
    fn upload(&self, values: &[Fr]) -> Result<CpuBuffer, DeviceError> {
        self.cpu.upload(values)
    }
    fn upload_vec(&self, values: Vec<Fr>) -> Result<CpuBuffer, DeviceError> {
        self.cpu.upload_vec(values)
    }
    fn upload_u16(&self, values: &[u16]) -> Result<CpuBuffer, DeviceError> {
        self.cpu.upload_u16(values)
    }
    fn download(&self, buffer: &CpuBuffer) -> Result<Vec<Fr>, DeviceError> {
        self.cpu.download(buffer)
    }
    fn write(
        &self,
        buffer: &mut CpuBuffer,
        start: usize,
        values: &[Fr],
    ) -> Result<(), DeviceError> {
        self.cpu.write(buffer, start, values)
    }
}

impl Ntt for HybridDevice {
    fn to_lagrange(
        &self,
        columns: &[&Column<CpuBuffer, Coeff>],
    ) -> Result<Vec<Column<CpuBuffer, Lagrange>>, DeviceError> {
        self.cpu.to_lagrange(columns)
    }
    fn to_coeff(
        &self,
        columns: &[&Column<CpuBuffer, Lagrange>],
    ) -> Result<Vec<Column<CpuBuffer, Coeff>>, DeviceError> {
        self.cpu.to_coeff(columns)
    }
    fn to_coset(
        &self,
        columns: &[&Column<CpuBuffer, Coeff>],
        shift: Fr,
    ) -> Result<Vec<Column<CpuBuffer, Coset>>, DeviceError> {
        self.cpu.to_coset(columns, shift)
    }
    fn from_coset(
        &self,
        columns: &[&Column<CpuBuffer, Coset>],
        shift: Fr,
    ) -> Result<Vec<Column<CpuBuffer, Coeff>>, DeviceError> {
        self.cpu.from_coset(columns, shift)
    }
}

impl Vector for HybridDevice {
    fn rows<K: RowKernel>(
        &self,
        kernel: &K,
        columns: &[&CpuBuffer],
    ) -> Result<Vec<CpuBuffer>, DeviceError> {
        self.cpu.rows(kernel, columns)
    }
    fn invert(&self, buffer: &mut CpuBuffer) -> Result<(), DeviceError> {
        self.cpu.invert(buffer)
    }
    fn prefix_product(&self, buffer: &CpuBuffer) -> Result<CpuBuffer, DeviceError> {
        self.cpu.prefix_product(buffer)
    }
    fn prefix_sum(&self, buffer: &CpuBuffer) -> Result<CpuBuffer, DeviceError> {
        self.cpu.prefix_sum(buffer)
    }
    fn evaluate(
        &self,
        columns: &[&Column<CpuBuffer, Coeff>],
        point: Fr,
    ) -> Result<Vec<Fr>, DeviceError> {
        self.cpu.evaluate(columns, point)
    }
    fn divide_by_linear(
        &self,
        column: &Column<CpuBuffer, Coeff>,
        point: Fr,
    ) -> Result<Column<CpuBuffer, Coeff>, DeviceError> {
        self.cpu.divide_by_linear(column, point)
    }
    fn linear_combination(&self, terms: &[(&CpuBuffer, Fr)]) -> Result<CpuBuffer, DeviceError> {
        self.cpu.linear_combination(terms)
    }
}

#[allow(dead_code)] // A test uses the parts of this example.
fn main() {
    let (device, seed) = (HybridDevice::default(), 1);
    rollmill_algebra::conformance::run_all(&device, seed);
    println!("the device obeys every law of the device traits");
    rollmill_plonk::conformance::proof_is_the_cpus(&device);
    println!("keys and proofs made on it are those of the CPU device, byte for byte");
}
