//! How many proofs an agent makes at a time, and for how many jobs it computes witnesses meanwhile.
//!
//! A proof alone leaves a fast card idle for a part of its time: while the host hashes, and while the card works on
//! arrays that are too short to fill it. Other proofs fill that time. How many it takes is measured when the agent
//! starts, with work of the shape of a proof, and bounded by the card's memory.

use std::time::Duration;

use rollmill_algebra::device::{Memory, Work};
use rollmill_circuits::Circuit;
use rollmill_circuits::circuit::log_n;
use rollmill_kernels::CudaDevice;
use rollmill_plonk::prover::PEAK_COLUMNS;

use crate::config::Config;

/// Numbers of proofs at a time to measure. Without a second one the card waits for each upload.
const COUNTS: [usize; 5] = [2, 3, 4, 6, 8];
/// Of the best speed, what is enough: more proofs at a time make each take longer, and each takes memory.
const ENOUGH: f64 = 0.95;
/// No further number is measured after so long. A card for which one takes longer is busy with two.
const LONGEST: Duration = Duration::from_secs(3);
/// Products per second of the slowest devices that are measured, far below any card's: on an emulated driver it would
/// take minutes.
const PRODUCTS_MIN: f64 = 5e8;

/// Proofs at a time, and jobs claimed besides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub proofs_in_flight: usize,
    pub prefetch: usize,
}

impl Default for Pace {
    /// For a device whose proofs take every core that would prepare others.
    fn default() -> Self {
        Self { proofs_in_flight: 1, prefetch: 0 }
    }
}

impl Pace {
    /// One proof at a time, and the next one prepared.
    pub(crate) const ONE_AHEAD: Self = Self { proofs_in_flight: 1, prefetch: 1 };

    /// With the fewest proofs at a time that are about as fast as can be, by these measured speeds, on a card with
    /// memory for `fit` of them that is fed by so many cores.
    fn of_speeds(speeds: &[(usize, f64)], fit: usize, cores: usize) -> Self {
        let best = speeds.iter().map(|(_, speed)| *speed).fold(0.0, f64::max);
        let enough = speeds.iter().find(|(_, speed)| *speed >= ENOUGH * best);
        let proofs_in_flight = enough.map_or(COUNTS[0], |(count, _)| *count).min(fit.max(1));
        // Each place has its next job prepared, two more of them while others are. A core prepares one at a time.
        let prefetch = (proofs_in_flight + 2).min(cores.max(1));
        Self { proofs_in_flight, prefetch }
    }

    /// For a card, whose speed is measured in one to four seconds unless the settings say everything.
    pub(crate) fn of_card(config: &Config, card: &CudaDevice) -> Self {
        if let (Some(proofs_in_flight), Some(prefetch)) = (config.proofs_in_flight, config.prefetch)
        {
            return Self { proofs_in_flight, prefetch };
        }
        let rows = 1 << Circuit::ALL.into_iter().map(log_n).max().unwrap_or(0);
        let memory = card.memory_bytes();
        let free = memory.unwrap_or(0).saturating_sub(config.key_cache_bytes(memory));
        let fit = free / CudaDevice::peak_bytes(rows, PEAK_COLUMNS).max(1);
        let fit = usize::try_from(fit).unwrap_or(usize::MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let is_fast = card.measure_rates().is_ok_and(|rates| rates.products >= PRODUCTS_MIN);
        let counts: Vec<usize> = COUNTS.into_iter().filter(|count| *count <= fit).collect();
        let work = Work { name: "measure", n: rows, columns: PEAK_COLUMNS };
        // A card that fails here fails its known-answer test next, which says so.
        let speeds = match is_fast {
            true => card.measure_at_once(work, &counts, LONGEST).unwrap_or_default(),
            false => Vec::new(),
        };
        let pace = Self::of_speeds(&speeds, fit, cores);
        let (proofs, prefetch) = (pace.proofs_in_flight, pace.prefetch);
        let (device, speeds) = (card.name(), format!("{speeds:.1?}"));
        tracing::info!(device, proofs, prefetch, speeds, "proofs in flight measured");
        pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_proofs_are_in_flight_as_are_fast_as_far_as_memory_and_cores_go() {
        let pace = |speeds: &[(usize, f64)], fit, cores| {
            let Pace { proofs_in_flight, prefetch } = Pace::of_speeds(speeds, fit, cores);
            (proofs_in_flight, prefetch)
        };
        // A slow card, which two keep busy, one that takes more, and one that takes all.
        let (slow, fast) =
            ([(2, 9.0), (3, 9.2), (4, 9.1)], [(2, 60.0), (3, 75.0), (4, 84.0), (6, 86.0)]);
        assert_eq!(pace(&slow, 100, 16), (2, 4));
        assert_eq!(pace(&fast, 100, 16), (4, 6));
        assert_eq!(
            pace(&[(2, 50.0), (3, 70.0), (4, 90.0), (6, 130.0), (8, 160.0)], 100, 16),
            (8, 10)
        );
        assert_eq!(pace(&fast[..2], 3, 16), (3, 5), "memory for three");
        assert_eq!(pace(&[], 1, 16), (1, 3), "memory for one");
        assert_eq!(pace(&[], 0, 16), (1, 3), "it may be too little for one; then that fails");
        assert_eq!(pace(&fast, 100, 2), (4, 2), "cores for two");
        assert_eq!(pace(&[], 100, 16), (2, 4), "a card that could not be measured");
    }
}
