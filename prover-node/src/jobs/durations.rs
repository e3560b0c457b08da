//! What the proofs of each circuit take, as agents reported it. The time of the proofs on the path from a job to the root
//! is the job's rank.

use std::collections::{BTreeMap, VecDeque};

use rollmill_broker_client::path_ms;

/// Proofs of each circuit that are kept.
const SAMPLES: usize = 64;
/// What a proof takes while none was measured. The broker assumes the same.
const UNKNOWN_SECONDS: f64 = 10.0;
/// Longest time that is believed: agents may report anything.
const SECONDS_MAX: f64 = 86_400.0;
/// A median replaces the time in use when it differs by more than this part of it. Jobs of equal paths keep equal ranks
/// until then, and among those the broker prefers one whose key an agent has in memory.
const STEP: f64 = 0.2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Durations {
    circuits: BTreeMap<String, Samples>,
}

#[derive(Debug, Default)]
struct Samples {
    last: VecDeque<f64>,
    in_use: f64,
}

impl Durations {
    /// A proof of this circuit was verified whose agent reports this time.
    pub(super) fn add(&mut self, circuit: &str, seconds: f64) {
        if !(seconds > 0.0 && seconds <= SECONDS_MAX) {
            return;
        }
        let samples = self.circuits.entry(circuit.to_owned()).or_default();
        if samples.last.len() == SAMPLES {
            samples.last.pop_front();
        }
        samples.last.push_back(seconds);
        let mut sorted: Vec<f64> = samples.last.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[sorted.len() / 2];
        if (median - samples.in_use).abs() > STEP * samples.in_use {
            samples.in_use = median;
        }
    }

    /// Milliseconds of proofs of these circuits, one after another. A circuit without a measured proof takes the mean of
    /// the others.
    pub(super) fn path_ms<'a>(&self, circuits: impl Iterator<Item = &'a str>) -> u32 {
        let known = self.circuits.values().map(|samples| samples.in_use);
        let mean = match self.circuits.len() {
            0 => UNKNOWN_SECONDS,
            count => known.sum::<f64>() / count as f64,
        };
        let seconds_of =
            |circuit: &str| self.circuits.get(circuit).map_or(mean, |samples| samples.in_use);
        path_ms(circuits.map(seconds_of))
    }
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::PATH_MS_MAX;

    use super::*;

    fn path(durations: &Durations, circuits: &[&str]) -> u32 {
        durations.path_ms(circuits.iter().copied())
    }

    #[test]
    fn a_path_takes_the_medians_of_its_circuits_and_a_new_circuit_the_mean() {
        let mut durations = Durations::default();
        assert_eq!(path(&durations, &["leaf", "root"]), 20_000, "nothing was measured");
        for seconds in [1.0, 9.0, 2.0] {
            durations.add("leaf", seconds);
        }
        durations.add("root", 6.0);
        assert_eq!(path(&durations, &["leaf", "leaf", "root"]), 10_000);
        assert_eq!(path(&durations, &["merge"]), 4_000, "the mean of 2 s and 6 s");
        assert_eq!(path(&durations, &[]), 0);
    }

    #[test]
    fn ranks_stay_while_times_move_little_and_follow_when_the_machines_change() {
        let mut durations = Durations::default();
        durations.add("leaf", 1.0);
        for n in 0..200 {
            durations.add("leaf", if n % 2 == 0 { 0.9 } else { 1.15 });
            assert_eq!(path(&durations, &["leaf"]), 1_000);
        }
        for _ in 0..SAMPLES {
            durations.add("leaf", 0.25);
        }
        assert_eq!(path(&durations, &["leaf"]), 250);
    }

    /// Fault: agents report times that cannot be.
    #[test]
    fn times_that_cannot_be_change_no_rank_and_a_fast_proof_counts() {
        let mut durations = Durations::default();
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            durations.add("leaf", seconds);
        }
        assert_eq!(path(&durations, &["leaf"]), 10_000);
        durations.add("leaf", 1e-9);
        assert_eq!(path(&durations, &["leaf", "leaf"]), 2);
        durations.add("slow", SECONDS_MAX);
        assert_eq!(u64::from(path(&durations, &["slow"; 100])), PATH_MS_MAX);
    }
}
