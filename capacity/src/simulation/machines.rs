//! The agents of a simulation, and its randomness.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_broker_schedule::Work;

use super::{Faults, Machine, STRAGGLER};

/// An agent as it is now.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) machine: Machine,
    /// Counts what it does, so that an event of something that ended meanwhile is recognised.
    pub(super) turn: u32,
    pub(super) is_live: bool,
    pub(super) live_since: f64,
    /// Since when it waits; absent while it works or is gone.
    pub(super) idle_since: Option<f64>,
    pub(super) task: Option<Task>,
    /// Keys in memory, the last used last.
    recent: Vec<usize>,
    /// The same, ascending.
    pub(super) resident: Vec<usize>,
}

/// What an agent works on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) job: u32,
    pub(super) started: f64,
    pub(super) loading: f64,
    pub(super) end: End,
    pub(super) is_second: bool,
}

/// How it will end if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Proof,
    WrongProof,
    Failure,
}

impl Agent {
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            machine,
            turn: 0,
            is_live: true,
            live_since: 0.0,
            idle_since: Some(0.0),
            task: None,
            recent: Vec::new(),
            resident: Vec::new(),
        }
    }

    /// Uses a key; returns whether it must be loaded.
    pub(super) fn uses(&mut self, work: usize, most: usize) -> bool {
        let known = self.recent.iter().position(|other| *other == work);
        if let Some(place) = known {
            self.recent.remove(place);
        }
        self.recent.push(work);
        if self.recent.len() > most.max(1) {
            self.recent.remove(0);
        }
        if known.is_none() {
            self.resident.clone_from(&self.recent);
            self.resident.sort_unstable();
        }
        known.is_none()
    }

    pub(super) fn forget_keys(&mut self) {
        self.recent.clear();
        self.resident.clear();
    }
}

/// The run's randomness, from its seed alone.
#[derive(Debug)]
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(super) fn unit(&mut self) -> f64 {
        self.0.gen_range(0.0..1.0)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0.r#gen()
    }

    /// Of an event that happens once in `mean` seconds.
    pub(super) fn after(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// A duration on an agent of speed 1: log-normal through median and p95, and some stragglers.
    pub(super) fn duration(&mut self, work: &Work, faults: &Faults) -> f64 {
        /// The standard normal quantile of 0.95.
        const Z95: f64 = 1.644_853_6;
        let spread = (work.p95 / work.p50).max(1.0).ln() / Z95;
        // Box and Muller.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        let straggles = self.unit() < faults.stragglers;
        work.p50 * (spread * normal).exp() * if straggles { STRAGGLER } else { 1.0 }
    }

    pub(super) fn end(&mut self, faults: &Faults) -> End {
        let draw = self.unit();
        match draw {
            _ if draw < faults.transient => End::Failure,
            _ if draw < faults.transient + faults.invalid => End::WrongProof,
            _ => End::Proof,
        }
    }
}
