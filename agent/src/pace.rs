//! How many proofs an agent makes at a time, and for how many jobs it computes witnesses meanwhile.
//!
//! A proof alone leaves a fast card idle for a part of its time: while the host hashes, and while the card works on
//! arrays that are too short to fill it. Other proofs fill that time. The part is larger on a faster card, so the
//! number follows from the card's measured speed, and from its memory.

use rollmill_algebra::device::Memory;
use rollmill_kernels::CudaDevice;
use rollmill_plonk::prover::PEAK_COLUMNS;

use crate::config::Config;

/// Products in Fr that a proof of the rollup takes (2^17 rows), as `rollmill-bench run --only proof` counts them.
const PRODUCTS: f64 = 513e6;
/// Share of the products per second that the card's full kernels reach: a model of an H100, to be replaced by a
/// measurement.
const REACHED: f64 = 0.45;
/// Seconds of a proof in which the card is idle or nearly so if it has no other, by the same model.
const IDLE_SECONDS: f64 = 0.03;
/// Rows of a proof.
const ROWS: usize = 1 << 17;
/// More would only make each proof take longer.
const MOST: usize = 8;

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

    /// That keeps a card busy which computes so many products per second, holds so many proofs, and is fed by so many
    /// cores.
    fn keeping_busy(products_per_second: f64, fit: usize, cores: usize) -> Self {
        let busy_seconds = PRODUCTS / (REACHED * products_per_second);
        // As many as fill the idle time, and one that is ready when another ends. A card that is not known to compute
        // has no speed, and then this is the least.
        let wanted = (1.0 + IDLE_SECONDS / busy_seconds).ceil() as usize + 1;
        let proofs_in_flight = wanted.clamp(2, MOST).min(fit.max(1));
        // Each place has its next job prepared, two more of them while others are. A core prepares one at a time.
        let prefetch = (proofs_in_flight + 2).min(cores.max(1));
        Self { proofs_in_flight, prefetch }
    }

    /// For a card, whose speed is measured in about half a second unless the settings say everything.
    pub(crate) fn of_card(config: &Config, card: &CudaDevice) -> Self {
        if let (Some(proofs_in_flight), Some(prefetch)) = (config.proofs_in_flight, config.prefetch)
        {
            return Self { proofs_in_flight, prefetch };
        }
        let memory = card.memory_bytes();
        let free = memory.unwrap_or(0).saturating_sub(config.key_cache_bytes(memory));
        let fit = free / CudaDevice::peak_bytes(ROWS, PEAK_COLUMNS).max(1);
        let rates = card.measure_rates();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // A card that fails here fails its known-answer test next, which says so.
        let speed = rates.map_or(0.0, |rates| rates.products);
        let pace = Self::keeping_busy(speed, usize::try_from(fit).unwrap_or(MOST), cores);
        let (proofs, prefetch) = (pace.proofs_in_flight, pace.prefetch);
        tracing::info!(device = card.name(), proofs, prefetch, "proofs in flight measured");
        pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_card_has_more_proofs_in_flight_as_far_as_memory_and_cores_go() {
        let pace = |giga: f64, fit, cores| {
            let Pace { proofs_in_flight, prefetch } = Pace::keeping_busy(giga * 1e9, fit, cores);
            (proofs_in_flight, prefetch)
        };
        // An old card, an H100 by the model, and one that is far faster.
        assert_eq!(pace(5.0, 100, 16), (3, 5));
        assert_eq!(pace(57.0, 100, 16), (4, 6));
        assert_eq!(pace(1000.0, 100, 16), (8, 10));
        assert_eq!(pace(57.0, 3, 16), (3, 5), "memory for three");
        assert_eq!(pace(57.0, 0, 16), (1, 3), "it may be too little for one; then that fails");
        assert_eq!(pace(57.0, 100, 2), (4, 2), "cores for two");
        assert_eq!(pace(0.0, 100, 16), (2, 4), "a card that could not be measured");
    }
}
