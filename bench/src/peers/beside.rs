//! Another Rollmill device beside the measured one: its MSMs and transforms on the same values, checked
//! against the CPU's results.

use std::time::Instant;

use ark_ec::{PrimeGroup, ScalarMul};
use ark_ff::{FftField, PrimeField};
use rollmill_algebra::cpu::CpuBuffer;
use rollmill_algebra::device::{Basis, Coeff, Column, Memory, Msm, Ntt};
use rollmill_algebra::{CpuDevice, Fr, G1Affine, G1Projective};

use crate::BenchError;
use crate::cases::{elements, scalars};
use crate::floor::Work;
use crate::measure::{Bench, Case};

/// Longer operations run as often as whole proofs.
const SLOW_SECONDS: f64 = 2.0;

/// A device whose arrays are the host's.
pub(super) trait Beside: Memory<Buffer = CpuBuffer> + Msm + Ntt {}
impl<D: Memory<Buffer = CpuBuffer> + Msm + Ntt> Beside for D {}

/// A peer that is a device.
pub(super) struct Peer<'a, D> {
    pub(super) name: &'static str,
    pub(super) device: &'a D,
    /// The CPU's result, with which others are compared.
    pub(super) cpu: &'a CpuDevice,
    pub(super) note: Option<String>,
}

impl<D: Beside> Peer<'_, D> {
    /// Measures what was requested.
    pub(super) fn run(&self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        if bench.plan.wants("msm") {
            self.msm(bench)?;
        }
        if bench.plan.wants("ntt") {
            self.ntt(bench)?;
        }
        Ok(())
    }

    /// Compares one run with the expected result, and times the runs after it.
    fn time<T>(
        &self,
        bench: &mut Bench<'_>,
        case: &Case,
        is_right: impl FnOnce(&T) -> bool,
        mut work: impl FnMut() -> Result<T, BenchError>,
    ) -> Result<(), BenchError> {
        let started = Instant::now();
        let got = work()?;
        let seconds = started.elapsed().as_secs_f64();
        if !is_right(&got) {
            let (what, implementation) = (case.name.clone(), self.name.to_owned());
            return Err(BenchError::Wrong { what, implementation });
        }
        drop(got);
        let slow = seconds > SLOW_SECONDS;
        let runs = if slow { bench.plan.proof_runs } else { bench.plan.runs };
        let taken = bench.take(runs, work)?;
        bench.record(case, self.name, taken, self.note.clone());
        Ok(())
    }

    fn msm(&self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        let what = format!("msm by {}", self.name);
        let most = 1usize << bench.plan.sizes.end();
        bench.require_memory(&what, most as u64 * 4 * (64 + 32))?;
        let failed = || BenchError::failed(what.clone());
        let points: Vec<G1Affine> = G1Projective::generator().batch_mul(&elements(most, 4));
        let registered = self.device.register_bases(&points).map_err(failed())?;
        let here = self.cpu.register_bases(&points).map_err(failed())?;
        drop(points);
        for log_n in bench.plan.sizes.clone() {
            for distribution in bench.plan.distributions.clone() {
                let values = scalars(&distribution, 1 << log_n);
                let column = match distribution.as_str() {
                    "u16" => self.cpu.upload_u16(&low_halves(&values)),
                    _ => self.cpu.upload(&values),
                }
                .map_err(failed())?;
                let case = case("msm", format!("msm 2^{log_n} {distribution}"), values.len());
                let expected = self.cpu.commit(&here, &[&column]).map_err(failed())?;
                self.time(
                    bench,
                    &case,
                    |sums| *sums == expected,
                    || self.device.commit(&registered, &[&column]).map_err(failed()),
                )?;
            }
        }
        Ok(())
    }

    fn ntt(&self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        let what = format!("ntt by {}", self.name);
        bench.require_memory(&what, (32 * 8) << bench.plan.sizes.end())?;
        for log_n in bench.plan.sizes.clone() {
            let failed = || BenchError::failed(what.clone());
            let values = elements(1 << log_n, 5);
            let column = Column::<_, Coeff>::new(self.cpu.upload(&values).map_err(failed())?);
            let columns = [&column];
            let n = values.len();

            let expected = self.cpu.to_lagrange(&columns).map_err(failed())?;
            let same = |got: &Vec<Column<CpuBuffer, _>>| equal(got, &expected);
            let plain = case("ntt", format!("ntt 2^{log_n}"), n);
            self.time(bench, &plain, same, || self.device.to_lagrange(&columns).map_err(failed()))?;

            let shift = Fr::GENERATOR;
            let expected = self.cpu.to_coset(&columns, shift).map_err(failed())?;
            let same = |got: &Vec<Column<CpuBuffer, _>>| equal(got, &expected);
            let shifted = case("ntt", format!("ntt 2^{log_n} coset"), n);
            self.time(bench, &shifted, same, || {
                self.device.to_coset(&columns, shift).map_err(failed())
            })?;
        }
        Ok(())
    }
}

/// The low 16 bits of each value.
pub(crate) fn low_halves(values: &[Fr]) -> Vec<u16> {
    values.iter().map(|x| x.into_bigint().0[0] as u16).collect()
}

fn equal<S: Basis>(a: &[Column<CpuBuffer, S>], b: &[Column<CpuBuffer, S>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.buffer.as_slice() == b.buffer.as_slice())
}

/// A peer has no floor, so its work is not counted.
fn case(group: &'static str, name: String, n: usize) -> Case {
    Case { group, name, n: n as u64, work: Work::default() }
}
