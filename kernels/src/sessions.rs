//! Measures how many proofs at a time keep a card busy.

use std::time::{Duration, Instant};

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field};
use rollmill_algebra::device::{
    Coeff, Column, Device, DeviceError, HostColumn, Lagrange, Msm, Work,
};
use rollmill_algebra::{Fr, G1Affine, G1Projective};

use crate::device::CudaDevice;

/// Columns of the first round of a proof, half of them of small values.
const COLUMNS: usize = 13;
/// Cosets of its quotient.
const COSETS: u64 = 5;
/// Runs of each session that are measured, after one for memory and tables.
const RUNS: usize = 2;

/// Columns and bases as large as those of a proof.
struct Sample<D: Msm> {
    bases: D::Bases,
    columns: Vec<Vec<Fr>>,
}

impl<D: Device> Sample<D> {
    fn new(device: &D, n: usize) -> Result<Self, DeviceError> {
        let generator = G1Affine::generator();
        let mut sum = G1Projective::ZERO;
        let multiples: Vec<G1Projective> = (0..n)
            .map(|_| {
                sum += generator;
                sum
            })
            .collect();
        let bases = device.register_bases(&G1Projective::normalize_batch(&multiples))?;
        let mut value = Fr::from(7u64);
        let columns = (0..COLUMNS).map(|column| {
            let next = |i: usize| {
                value = value * value + Fr::ONE;
                if column % 2 == 0 { value } else { Fr::from((i as u64 * 40_503) & 0xffff) }
            };
            (0..n).map(next).collect::<Vec<Fr>>()
        });
        let columns = columns.collect();
        Ok(Self { bases, columns })
    }

    /// What a proof does but for its row programs, which fill a card as transforms do: uploads with sums, transforms to
    /// all cosets, and short work that waits for its results.
    fn run(&self, device: &D, work: Work) -> Result<(), DeviceError> {
        let session = device.session(work)?;
        let device = session.as_ref().unwrap_or(device);
        let columns: Vec<HostColumn<'_>> = self
            .columns
            .iter()
            .map(|values| HostColumn { values, start: values.len(), rest: &[] })
            .collect();
        let (wires, _) = device.upload_and_commit(&self.bases, &columns)?;
        let wires: Vec<Column<D::Buffer, Lagrange>> = wires.into_iter().map(Column::new).collect();
        let polys = device.to_coeff(&wires.iter().collect::<Vec<_>>())?;
        drop(wires);
        let polys: Vec<&Column<D::Buffer, Coeff>> = polys.iter().collect();
        for coset in 0..COSETS {
            device.to_coset(&polys, Fr::from(coset + 2))?;
        }
        let point = Fr::from(11u64);
        let claims: Vec<_> = polys.iter().map(|poly| (*poly, point)).collect();
        device.evaluate_all(&claims)?;
        for quotient in device.divide_all(&claims[..2])? {
            device.commit(&self.bases, &[&quotient.buffer])?;
        }
        Ok(())
    }
}

/// How often a second work like that of a proof ends, with each of `counts` at a time. No further count is begun once
/// `longest` has passed.
fn speeds<D: Device>(
    device: &D,
    work: Work,
    counts: &[usize],
    longest: Duration,
) -> Result<Vec<(usize, f64)>, DeviceError> {
    let started = Instant::now();
    let sample = Sample::new(device, work.n)?;
    let at_once = |count: usize, runs: usize| {
        std::thread::scope(|scope| {
            let several = || (0..runs).try_for_each(|_| sample.run(device, work));
            let running: Vec<_> = (0..count).map(|_| scope.spawn(several)).collect();
            let panicked = |_| {
                let reason = "a thread that measures panicked".to_owned();
                Err(DeviceError::Failed { device: device.name(), reason })
            };
            // All are waited for, whichever fails.
            let ended: Vec<_> =
                running.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect();
            ended.into_iter().collect::<Result<(), DeviceError>>()
        })
    };
    let mut speeds = Vec::new();
    for count in counts {
        if started.elapsed() >= longest && !speeds.is_empty() {
            break;
        }
        at_once(*count, 1)?;
        let since = Instant::now();
        at_once(*count, RUNS)?;
        speeds.push((*count, (count * RUNS) as f64 / since.elapsed().as_secs_f64()));
    }
    Ok(speeds)
}

impl CudaDevice {
    /// How often a second work of the shape of a proof ends, with each of `counts` of them at a time: what a number of
    /// proofs in flight gains. `work` is that of a proof. No further count is begun once `longest` has passed, but for
    /// the first.
    ///
    /// # Errors
    /// As of any operation of the device; [`DeviceError::Memory`] where not even one fits.
    pub fn measure_at_once(
        &self,
        work: Work,
        counts: &[usize],
        longest: Duration,
    ) -> Result<Vec<(usize, f64)>, DeviceError> {
        speeds(self, work, counts, longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::CudaOptions;
    use crate::emulated::Emulation;
    use crate::twins::library;

    const WORK: Work = Work { name: "measure", n: 64, columns: 80 };

    #[test]
    fn work_like_that_of_a_proof_runs_at_every_count_and_leaves_nothing() {
        let emulation = Emulation::new(library());
        let device = CudaDevice::emulated(&emulation, &CudaOptions::default()).expect("opens");
        let speeds = device.measure_at_once(WORK, &[1, 3], Duration::MAX).expect("runs");
        assert_eq!(speeds.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [1, 3]);
        assert!(speeds.iter().all(|(_, speed)| speed.is_finite() && *speed > 0.0), "{speeds:?}");
        // Tables of roots and of cosets.
        let (used, _, _) = device.memory_usage();
        assert!(used < 2 << 20, "{used} B");
        // However slow it is, something is known.
        let speeds = device.measure_at_once(WORK, &[2, 3], Duration::ZERO).expect("runs");
        assert_eq!(speeds.len(), 1, "{speeds:?}");
    }

    #[test]
    fn work_that_does_not_fit_is_an_error_of_memory() {
        let options = CudaOptions { budget_bytes: Some(1 << 20), ..CudaOptions::default() };
        let device = CudaDevice::emulated(&Emulation::new(library()), &options).expect("opens");
        let work = Work { columns: 1 << 20, ..WORK };
        let outcome = device.measure_at_once(work, &[1], Duration::MAX);
        assert!(matches!(outcome, Err(DeviceError::Memory { .. })), "{outcome:?}");
    }
}
