//! Measures the maximum speeds of a card, the ceilings that other figures are compared with.

use std::time::{Duration, Instant};

use rollmill_algebra::Fr;
use rollmill_algebra::device::DeviceError;

use crate::device::{CudaDevice, ELEMENT};
use crate::launch::Argument::{In, Out, U32, U64};

/// Threads of a block of the kernels in `cuda/measure.cuh`.
const BLOCK: u32 = 256;
/// Blocks per multiprocessor: more than any runs at a time.
const BLOCKS: u32 = 16;
/// Wide multiply-adds of a thread in a round of `measure_wide`: 4 sums, 16 steps, 4 pairs of limbs.
pub(crate) const WIDE_A_ROUND: u64 = 4 * 16 * 4;
/// Bytes that are copied to measure the card's memory: with the copy, twice the size of the largest cache of a
/// card.
const COPIED: u64 = 128 << 20;
/// A run of this length is measured; shorter ones are repeated with more rounds.
const LONG_ENOUGH: Duration = Duration::from_millis(30);

/// Rates of a card.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Multiply-adds of 32 by 32 to 64 bits, with carries, per second.
    pub wide: f64,
    /// Products in the scalar field per second.
    pub products: f64,
    /// Bytes per second, read and written together, when the card's memory is copied.
    pub bytes: f64,
    /// Number of multiprocessors, for rates per multiprocessor.
    pub multiprocessors: u32,
}

impl CudaDevice {
    /// Products of two limbs of 32 bits that all work so far has taken, by any device of this process: 128 for a
    /// product of field elements. Only the emulator counts them.
    ///
    /// # Errors
    /// Those of the work.
    pub fn limb_products(&self) -> Result<Option<u64>, DeviceError> {
        self.synchronize()?;
        Ok(self.card.driver.limb_products())
    }

    /// Measures the card, which takes about 0.5 s, most of it to warm up. Figures of the emulator do not apply to
    /// any card.
    ///
    /// # Errors
    /// As of any operation of the device.
    pub fn measure_rates(&self) -> Result<Rates, DeviceError> {
        let operation = "measure_rates";
        let multiprocessors = self.card.driver.multiprocessors();
        let threads = (multiprocessors * BLOCKS * BLOCK) as usize;
        let values: Vec<Fr> = (0..threads as u64).map(|i| Fr::from(i * i + 3)).collect();
        let factors = self.upload_elements(operation, &values)?;
        let sums = self.take(operation, threads, ELEMENT)?;
        let out = self.take(operation, threads, ELEMENT)?;
        let n = U64(threads as u64);
        let wide = self.rounds_a_second(|rounds| {
            let arguments = vec![Out(out.start()), In(factors.start()), n.clone(), U32(rounds)];
            self.launch(operation, "measure_wide", BLOCK, threads, arguments)
        })?;
        let products = self.rounds_a_second(|rounds| {
            let arguments = vec![Out(sums.start()), In(factors.start()), n.clone(), U32(rounds)];
            self.launch(operation, "measure_products", BLOCK, threads, arguments)
        })?;
        drop((factors, sums, out));
        let (_, _, budget) = self.memory_usage();
        let bytes = COPIED.min(budget / 64);
        let (from, to) = (self.take(operation, 1, bytes)?, self.take(operation, 1, bytes)?);
        self.clear(operation, from.start(), bytes)?;
        let copies = self.rounds_a_second(|rounds| {
            (0..rounds).try_for_each(|_| self.copy(operation, to.start(), from.start(), bytes))
        })?;
        Ok(Rates {
            wide: wide * threads as f64 * WIDE_A_ROUND as f64,
            products: products * threads as f64,
            bytes: copies * 2.0 * bytes as f64,
            multiprocessors,
        })
    }

    /// Doubles the rounds until a run is long enough, and takes the best of three such runs.
    fn rounds_a_second(
        &self,
        run: impl Fn(u32) -> Result<(), DeviceError>,
    ) -> Result<f64, DeviceError> {
        let timed = |rounds: u32| {
            self.synchronize()?;
            let started = Instant::now();
            run(rounds)?;
            self.synchronize()?;
            Ok::<_, DeviceError>(started.elapsed())
        };
        let mut rounds = 1;
        let mut best = timed(rounds)?;
        while best < LONG_ENOUGH && rounds < 1 << 24 {
            rounds *= 2;
            best = timed(rounds)?;
        }
        for _ in 0..2 {
            best = best.min(timed(rounds)?);
        }
        Ok(f64::from(rounds) / best.as_secs_f64())
    }
}
