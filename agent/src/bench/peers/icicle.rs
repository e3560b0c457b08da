//! ICICLE beside this device: its sums and transforms, through the same adapter that `--device icicle`
//! proves with, so copies to its device and the change to canonical scalars are part of its time.

use std::hint::black_box;
use std::time::Instant;

use ark_ec::{PrimeGroup, ScalarMul};
use ark_ff::{FftField, PrimeField};
use rollmill_algebra::cpu::CpuBuffer;
use rollmill_algebra::device::{Basis, Coeff, Column, Memory, Msm, Ntt};
use rollmill_algebra::{CpuDevice, Fr, G1Affine, G1Projective};
use rollmill_icicle::{IcicleDevice, IcicleError};

use super::super::cases::{elements, scalars};
use super::super::floor::Work;
use super::super::measure::{Bench, Case};
use super::super::{BenchError, machine};
use crate::config::Config;
use crate::prover::open_icicle;

const NAME: &str = "icicle";
/// What takes longer is run as often as whole proofs are.
const SLOW_SECONDS: f64 = 2.0;

/// Whether the device of this name is ICICLE's itself.
pub(super) fn is_own(name: &str) -> bool {
    name.contains("icicle(")
}

/// ICICLE, open and tested.
#[derive(Debug)]
pub(in super::super) struct Icicle {
    device: IcicleDevice,
    /// What results are compared with.
    cpu: CpuDevice,
}

impl Icicle {
    /// Opens ICICLE's CPU code beside the CPU, its best device beside any other; `own` is the name of
    /// the device that is measured.
    pub(super) fn find(own: &str, config: &Config) -> Result<Self, IcicleError> {
        let device = open_icicle(config, if own.starts_with("cpu") { "CPU" } else { "0" })?;
        Ok(Self { device, cpu: CpuDevice::new(config.threads) })
    }

    /// Measures what was asked for and ICICLE does.
    pub(in super::super) fn run(&self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        if bench.plan.wants("msm") {
            self.msm(bench)?;
        }
        if bench.plan.wants("ntt") {
            self.ntt(bench)?;
        }
        Ok(())
    }

    /// Holds one run to what is expected, and times the runs after it.
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
            let (what, implementation) = (case.name.clone(), NAME.to_owned());
            return Err(BenchError::Wrong { what, implementation });
        }
        drop(got);
        let slow = seconds > SLOW_SECONDS;
        let runs = if slow { bench.plan.proof_runs } else { bench.plan.runs };
        machine::reset_peak();
        let mut seconds = Vec::with_capacity(runs);
        for _ in 0..runs.max(1) {
            let started = Instant::now();
            black_box(work()?);
            // A clock that stands still would make a speed of infinity.
            seconds.push(started.elapsed().as_secs_f64().max(1e-9));
        }
        let note = format!("on {}", self.device.id());
        bench.record(case, NAME, seconds, machine::peak_bytes(), Some(note));
        Ok(())
    }

    fn msm(&self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        let most = 1usize << bench.plan.sizes.end();
        bench.require_memory("msm by icicle", most as u64 * 4 * (64 + 32))?;
        let failed = || BenchError::failed("msm by icicle");
        let points: Vec<G1Affine> = G1Projective::generator().batch_mul(&elements(most, 4));
        let held = self.device.register_bases(&points).map_err(failed())?;
        let here = self.cpu.register_bases(&points).map_err(failed())?;
        drop(points);
        for log_n in bench.plan.sizes.clone() {
            for distribution in bench.plan.distributions.clone() {
                let values = scalars(&distribution, 1 << log_n);
                let column = match distribution.as_str() {
                    "u16" => {
                        let small = values.iter().map(|x| x.into_bigint().0[0] as u16);
                        self.cpu.upload_u16(&small.collect::<Vec<_>>())
                    }
                    _ => self.cpu.upload(&values),
                }
                .map_err(failed())?;
                let case = case("msm", format!("msm 2^{log_n} {distribution}"), values.len());
                let expected = self.cpu.commit(&here, &[&column]).map_err(failed())?;
                self.time(
                    bench,
                    &case,
                    |sums| *sums == expected,
                    || self.device.commit(&held, &[&column]).map_err(failed()),
                )?;
            }
        }
        Ok(())
    }

    fn ntt(&self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        bench.require_memory("ntt by icicle", (32 * 8) << bench.plan.sizes.end())?;
        for log_n in bench.plan.sizes.clone() {
            let failed = || BenchError::failed(format!("ntt 2^{log_n} by icicle"));
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

fn equal<S: Basis>(a: &[Column<CpuBuffer, S>], b: &[Column<CpuBuffer, S>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.buffer.as_slice() == b.buffer.as_slice())
}

/// A peer has no floor, so its work is not counted.
fn case(group: &'static str, name: String, n: usize) -> Case {
    Case { group, name, n: n as u64, work: Work { products: 0.0, bytes: 0.0 } }
}
