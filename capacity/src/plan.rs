//! Agents, dollars and times for a load.

use rollmill_broker_client::SizeClass;
use rollmill_broker_schedule::Work;
use rollmill_broker_schedule::forecast::{self, HEADROOM, Load};
use rollmill_protocol::circuit::Circuit;
use rollmill_protocol::plan::EpochPlan;
use serde::Serialize;

use crate::CapacityError;
use crate::results::Results;
use crate::simulation::{Block, Delays, EpochLoad, Faults, Machine, Outcome, Setup, run};

/// Attempts at a number of agents, each a tenth above the one before.
const TRIES: u32 = 24;

/// What agents are like, and what goes wrong with them.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub results: Results,
    /// 1 is what the results were measured on.
    pub speed: f64,
    /// To load a key, in seconds.
    pub load: f64,
    pub resident_keys: usize,
    pub mtbf: Option<f64>,
    pub reclaimed_after: Option<f64>,
    pub faults: Faults,
    pub delays: Delays,
    pub dollars_per_hour: f64,
    pub seed: u64,
}

/// Transactions that come all the time.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Transactions per second.
    pub rate: f64,
    pub epoch_seconds: f64,
    pub slot_seconds: f64,
    pub txs_per_block: usize,
    /// From an epoch's end to when its proof must be accepted.
    pub prove_within: f64,
    /// Epochs to simulate, one after the other.
    pub epochs: u32,
}

/// What a load needs.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub transactions_per_second: f64,
    pub transactions_per_epoch: usize,
    pub blocks_per_epoch: usize,
    pub jobs_per_epoch: usize,
    /// Seconds of proving of an epoch on one agent.
    pub seconds_per_epoch: f64,
    /// The longest path of an epoch's jobs after its last block.
    pub critical_path_seconds: f64,
    /// As the formulas say, and as the simulation confirmed it.
    pub agents_by_formula: u64,
    pub agents: u64,
    pub dollars_per_hour: f64,
    pub dollars_per_1000_transactions: f64,
    /// From an epoch's end to the acceptance of its proof, the longest of all simulated epochs.
    pub proven_after_seconds: f64,
    pub simulation: Outcome,
}

impl Cluster {
    /// What each circuit takes; those that no epoch of these has need no result.
    ///
    /// # Errors
    /// [`CapacityError::Missing`].
    pub fn works(&self, counts: &[usize]) -> Result<Vec<Work>, CapacityError> {
        let plan = plan_of(counts)?;
        let work = |circuit: Circuit| -> Result<Work, CapacityError> {
            if plan.count(circuit) == 0 {
                return Ok(Work { p50: 0.0, p95: 0.0, load: 0.0 });
            }
            let seconds = self.results.of(circuit)?;
            Ok(Work { p50: seconds.p50, p95: seconds.p95, load: self.load })
        };
        Circuit::ALL.into_iter().map(work).collect()
    }

    /// A simulation of these epochs on so many agents.
    pub fn setup(&self, epochs: Vec<EpochLoad>, works: Vec<Work>, agents: u64) -> Setup {
        let machine = Machine {
            speed: self.speed,
            class: SizeClass::SMALLEST,
            mtbf: self.mtbf,
            reclaimed_after: self.reclaimed_after,
        };
        let last = epochs.iter().flat_map(|epoch| &epoch.blocks).map(|block| block.lands);
        let seconds: f64 = epochs.iter().map(|epoch| seconds_of(&counts_of(epoch), &works)).sum();
        Setup {
            seed: self.seed,
            // Beyond ten times what the work takes there is no use in waiting.
            limit: last.fold(0.0, f64::max)
                + 10.0 * (seconds / (agents as f64 * self.speed) + self.delays.replace)
                + self.delays.submission
                + 10_000.0,
            epochs,
            works,
            machines: vec![machine; usize::try_from(agents).unwrap_or(usize::MAX)],
            delays: self.delays,
            faults: self.faults,
            resident_keys: self.resident_keys,
            has_second_leases: true,
            has_measured_ranks: true,
        }
    }

    /// Part of the time that an agent is there: it fails, and its replacement takes a while.
    fn availability(&self) -> f64 {
        let per_second = [self.mtbf, self.reclaimed_after].into_iter().flatten();
        let per_second: f64 = per_second.map(|mean| 1.0 / mean).sum();
        1.0 / (1.0 + per_second * self.delays.replace)
    }
}

impl Traffic {
    fn transactions(&self) -> usize {
        ((self.rate * self.epoch_seconds).ceil() as usize).max(1)
    }

    /// Transactions of each block of an epoch, as even as they can be. There is a block in each slot while the
    /// transactions suffice, and more than one where a block cannot hold them.
    fn blocks(&self) -> Vec<usize> {
        let txs = self.transactions();
        let slots = ((self.epoch_seconds / self.slot_seconds) as usize).max(1);
        let count = txs.div_ceil(self.txs_per_block).max(slots.min(txs));
        (0..count).map(|block| txs * (block + 1) / count - txs * block / count).collect()
    }

    fn epochs(&self, submission: f64) -> Vec<EpochLoad> {
        let counts = self.blocks();
        let each = self.epoch_seconds / counts.len() as f64;
        let epoch = |number: u32| {
            let start = f64::from(number) * self.epoch_seconds;
            let block = |(place, txs): (usize, &usize)| Block {
                txs: *txs,
                lands: start + (place + 1) as f64 * each,
            };
            EpochLoad {
                blocks: counts.iter().enumerate().map(block).collect(),
                submit_by: Some(start + self.epoch_seconds + self.prove_within - submission),
                window: self.prove_within,
            }
        };
        (0..self.epochs).map(epoch).collect()
    }
}

fn counts_of(epoch: &EpochLoad) -> Vec<usize> {
    epoch.blocks.iter().map(|block| block.txs).collect()
}

fn plan_of(counts: &[usize]) -> Result<EpochPlan, CapacityError> {
    let none =
        || CapacityError::Impossible { reason: "an epoch without a block needs no proof".into() };
    EpochPlan::new(counts).ok_or_else(none)
}

fn work_of(circuit: Circuit, works: &[Work]) -> f64 {
    let place = Circuit::ALL.iter().position(|other| *other == circuit);
    place.and_then(|place| works.get(place)).map_or(0.0, |work| work.p50)
}

/// Seconds of all jobs of an epoch on an agent of speed 1.
fn seconds_of(counts: &[usize], works: &[Work]) -> f64 {
    let plan = EpochPlan::new(counts);
    let nodes = plan.iter().flat_map(|plan| &plan.nodes);
    nodes.map(|node| work_of(node.circuit, works)).sum()
}

/// Seconds of the longest path through an epoch, on an agent of speed 1.
fn path_of(counts: &[usize], works: &[Work]) -> f64 {
    let Some(plan) = EpochPlan::new(counts) else { return 0.0 };
    let mut above = vec![0.0_f64; plan.nodes.len()];
    for (place, node) in plan.nodes.iter().enumerate().rev() {
        let parent = node.parent.map_or(0.0, |parent| above[parent]);
        above[place] = parent + work_of(node.circuit, works);
    }
    above.into_iter().fold(0.0, f64::max)
}

/// Agents for the traffic by arithmetic: so many that the work of an epoch fits in the length of one, since the next one
/// follows, and that an epoch that starts late is still in time; with the scheduler's headroom, and with spare agents for
/// those that are being replaced.
fn by_formula(cluster: &Cluster, traffic: &Traffic, jobs: u64, seconds: f64, path: f64) -> u64 {
    let seconds = seconds / cluster.speed / cluster.availability();
    let sustained = (HEADROOM * seconds / traffic.epoch_seconds).ceil() as u64;
    let submit_by = traffic.epoch_seconds + traffic.prove_within - cluster.delays.submission;
    let load =
        Load { jobs, seconds, longest_path: path / cluster.speed, submit_by: Some(submit_by) };
    sustained.max(forecast::agents_wanted(&[load], 0.0)).max(1)
}

/// Plans the agents for the traffic: as many as the formulas say, and then a tenth more at a time until a simulation with
/// failures accepts every epoch in time.
///
/// # Errors
/// [`CapacityError::Missing`]; [`CapacityError::TooSlow`] when the longest path alone is too long, or when no number of
/// agents that was tried is enough.
pub fn plan(cluster: &Cluster, traffic: &Traffic) -> Result<Plan, CapacityError> {
    let counts = traffic.blocks();
    let works = cluster.works(&counts)?;
    let (seconds, path) = (seconds_of(&counts, &works), path_of(&counts, &works));
    let jobs = plan_of(&counts)?.nodes.len();
    let formula = by_formula(cluster, traffic, jobs as u64, seconds, path);
    let too_slow = |agents: u64| CapacityError::TooSlow {
        agents,
        rate: traffic.rate,
        seconds: traffic.prove_within as u64,
    };
    if path / cluster.speed + cluster.delays.submission > traffic.prove_within {
        return Err(too_slow(jobs as u64));
    }
    let mut agents = formula;
    for _ in 0..TRIES {
        let epochs = traffic.epochs(cluster.delays.submission);
        let simulation = run(&cluster.setup(epochs, works.clone(), agents));
        if simulation.epochs.iter().any(|epoch| epoch.is_missed) {
            agents += agents.div_ceil(10);
            continue;
        }
        let ends = (1..=traffic.epochs).map(|epoch| f64::from(epoch) * traffic.epoch_seconds);
        let after = simulation.epochs.iter().zip(ends);
        let after = after.filter_map(|(epoch, end)| Some(epoch.accepted_seconds? - end));
        let per_hour = agents as f64 * cluster.dollars_per_hour;
        return Ok(Plan {
            transactions_per_second: traffic.rate,
            transactions_per_epoch: traffic.transactions(),
            blocks_per_epoch: counts.len(),
            jobs_per_epoch: jobs,
            seconds_per_epoch: seconds / cluster.speed,
            critical_path_seconds: path / cluster.speed,
            agents_by_formula: formula,
            agents,
            dollars_per_hour: per_hour,
            dollars_per_1000_transactions: per_hour / 3600.0 / traffic.rate * 1000.0,
            proven_after_seconds: after.fold(0.0, f64::max),
            simulation,
        });
    }
    Err(too_slow(agents))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/results/");
        Cluster {
            results: Results::read(&[format!("{folder}circuits-zen5-2cores.json")]).unwrap(),
            speed: 1.0,
            load: 1.0,
            resident_keys: 9,
            mtbf: None,
            reclaimed_after: None,
            faults: Faults::default(),
            delays: Delays::default(),
            dollars_per_hour: 0.25,
            seed: 1,
        }
    }

    fn traffic(rate: f64) -> Traffic {
        Traffic {
            rate,
            epoch_seconds: 240.0,
            slot_seconds: 24.0,
            txs_per_block: 32,
            prove_within: 240.0,
            epochs: 2,
        }
    }

    /// The example of the design of the scheduler: 10 blocks of 100 transactions.
    #[test]
    fn the_work_and_the_longest_path_of_ten_blocks_are_those_of_the_recorded_circuits() {
        let counts = [100; 10];
        let works = cluster().works(&counts).unwrap();
        assert_eq!(plan_of(&counts).unwrap().nodes.len(), 1999);
        let (seconds, path) = (seconds_of(&counts, &works), path_of(&counts, &works));
        // Base, merge, block root of two, block merge and root of two of the file, 1,000, 980, 10, 8 and 1 times.
        let by_hand = 1_441.097 + 980.0 * 1.328_770 + 12.994 + 8.0 * 1.301_559 + 1.291_141;
        assert!((seconds - by_hand).abs() < 0.01, "{seconds}");
        // A base, six merges, a block root, three block merges and a root.
        assert!((path - 15.909).abs() < 0.001, "{path}");
    }

    /// Rates, jobs, seconds, path and agents, computed apart from this program with the program's default options.
    const BY_HAND: [(f64, usize, f64, f64, u64); 3] = [
        (1.0, 1_535, 2_124.1, 14.55, 4),
        (10.0, 15_359, 21_257.7, 18.46, 34),
        (100.0, 153_599, 212_588.7, 23.66, 333),
    ];

    #[test]
    fn the_agents_for_1_10_and_100_transactions_a_second_are_those_of_a_calculation_by_hand() {
        let cluster = Cluster { mtbf: Some(86_400.0), ..cluster() };
        for (rate, jobs, seconds, path, agents) in BY_HAND {
            let traffic =
                Traffic { rate, epoch_seconds: 768.0, prove_within: 1_536.0, ..traffic(rate) };
            let counts = traffic.blocks();
            let works = cluster.works(&counts).unwrap();
            assert_eq!(plan_of(&counts).unwrap().nodes.len(), jobs);
            let (found, longest) = (seconds_of(&counts, &works), path_of(&counts, &works));
            assert!((found - seconds).abs() < 0.1 && (longest - path).abs() < 0.01, "{rate}");
            assert_eq!(by_formula(&cluster, &traffic, jobs as u64, found, longest), agents);
        }
    }

    #[test]
    fn blocks_share_the_transactions_evenly_and_none_is_too_large() {
        assert_eq!(traffic(1.0).blocks(), [24; 10]);
        let many = traffic(10.0).blocks();
        assert_eq!((many.len(), many.iter().sum::<usize>()), (75, 2_400));
        assert!(many.iter().all(|txs| *txs <= 32));
        let few = Traffic { rate: 0.01, ..traffic(1.0) };
        assert_eq!(few.blocks(), [1, 1, 1]);
    }

    #[test]
    fn ten_times_the_load_needs_about_ten_times_the_agents_and_costs_the_same_per_transaction() {
        let [one, ten] = [1.0, 10.0].map(|rate| plan(&cluster(), &traffic(rate)).unwrap());
        assert!((8..=12).contains(&(ten.agents / one.agents)), "{one:?} {ten:?}");
        let ratio = one.dollars_per_1000_transactions / ten.dollars_per_1000_transactions;
        assert!((0.7..1.5).contains(&ratio), "{ratio}");
        for plan in [one, ten] {
            assert!(plan.proven_after_seconds <= 240.0 && plan.simulation.utilisation < 1.0);
        }
    }

    #[test]
    fn agents_that_fail_are_made_up_for() {
        let failing = Cluster { mtbf: Some(600.0), ..cluster() };
        let (steady, failing) =
            (plan(&cluster(), &traffic(2.0)).unwrap(), plan(&failing, &traffic(2.0)).unwrap());
        assert!(failing.agents > steady.agents, "{steady:?} {failing:?}");
    }

    #[test]
    fn a_path_longer_than_the_time_is_no_question_of_agents() {
        let traffic = Traffic { prove_within: 61.0, ..traffic(1.0) };
        let error = plan(&cluster(), &traffic).unwrap_err();
        assert!(error.to_string().starts_with("CAP-005"), "{error}");
    }
}
