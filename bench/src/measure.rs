//! Times operations and records the results.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;
use rollmill_algebra::Fr;
use rollmill_algebra::device::{Expr, Row, RowKernel};

use crate::floor::Work;
use crate::peers::{self, Peers};
use crate::result::{self, Ceilings, Entry, Machine, Results, SCHEMA};
use crate::subject::{self, Subject};
use crate::{BenchError, Plan, machine};
use rollmill_agent::nvml::{Card, Reading, THROTTLE_REASONS};
use rollmill_shaders::Rows;

/// The card updates its energy counter about ten times per second, so shorter runs have no power figure.
const SECONDS_FOR_POWER: f64 = 0.5;

/// Stands in the file of a run that has not ended, so that a file that is cut off says so.
const RUNNING: &str = "the run has not ended";

/// A run in progress.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) peers: Peers,
    /// What was measured so far. The plan's file holds it after every figure.
    pub(crate) results: Results,
    /// Sensors of the measured card, if it has any.
    sensors: Option<Sensors>,
    /// False once the run is to stop.
    goes_on: &'a (dyn Fn() -> bool + Sync),
}

/// Seconds of each run.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Of each run, at least one.
    pub(crate) seconds: Vec<f64>,
    /// Peak memory during the runs.
    pub(crate) memory: Option<u64>,
    pub(crate) watts: Option<f64>,
    pub(crate) sm_clock_hertz: Option<f64>,
}

/// Sensors of a card during a bench.
#[derive(Debug)]
pub(crate) struct Sensors {
    card: Card,
    before: Reading,
    /// All reasons to throttle that were seen.
    throttled: u64,
}

impl Sensors {
    /// Those of the card that the device is, if NVML knows it.
    fn find<D: Subject>(device: &D) -> Option<Self> {
        match Card::open(device.cuda()?.uuid()?) {
            Ok(card) => Some(Self { before: card.read(), card, throttled: 0 }),
            Err(reason) => {
                eprintln!("bench: no sensors of the card: {reason}");
                None
            }
        }
    }

    /// What the sensors reported for the run so far.
    fn report(&self) -> result::Card {
        let reasons = THROTTLE_REASONS.iter().filter(|(_, bit)| self.throttled & bit != 0);
        result::Card {
            uuid: self.card.uuid().to_owned(),
            driver: self.card.driver(),
            memory_bytes: self.before.memory_total_bytes,
            power_limit_watts: self.before.power_limit_watts,
            celsius_before: self.before.temperature_celsius,
            celsius_after: self.card.read().temperature_celsius,
            throttled: reasons.map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}

/// An operation to time.
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) n: u64,
    pub(crate) work: Work,
}

impl<'a> Bench<'a> {
    /// Measures the ceilings first.
    pub(crate) fn new<D: Subject>(
        device: &D,
        plan: &'a Plan,
        peers: Peers,
        machine: Machine,
        goes_on: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, BenchError> {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        eprintln!("bench: {}", device.name());
        for absent in &peers.absent {
            eprintln!("bench: {} is absent: {}", absent.name, absent.reason);
        }
        let ceilings = ceilings(device)?;
        eprintln!("bench: ceilings: {}", ceilings.words());
        let sensors = Sensors::find(device);
        let results = Results {
            schema: SCHEMA,
            device: device.name(),
            machine,
            rollmill_version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: machine::commit(),
            command: std::env::args().collect(),
            unix_seconds: started.map_or(0, |elapsed| elapsed.as_secs()),
            ceilings,
            card: None,
            absent_peers: peers.absent.clone(),
            unfinished: Some(RUNNING.to_owned()),
            entries: Vec::new(),
        };
        let mut bench = Self { plan, peers, results, sensors, goes_on };
        bench.save();
        Ok(bench)
    }

    /// Whether to measure more.
    ///
    /// # Errors
    /// [`BenchError::Stopped`] where not.
    pub(crate) fn go_on(&self) -> Result<(), BenchError> {
        match (self.goes_on)() {
            true => Ok(()),
            false => Err(BenchError::Stopped),
        }
    }

    /// The results of a run that ended like this. They are in the plan's file, also where it failed.
    pub(crate) fn finish(mut self, outcome: Result<(), BenchError>) -> Result<Results, BenchError> {
        self.results.unfinished = outcome.as_ref().err().map(ToString::to_string);
        let written = self.write();
        outcome.and(written).map(|()| self.results)
    }

    fn write(&mut self) -> Result<(), BenchError> {
        self.results.card = self.sensors.as_ref().map(Sensors::report);
        self.plan.json.as_deref().map_or(Ok(()), |path| self.results.write(path))
    }

    /// Writes what was measured so far, in case that the run is cut off.
    fn save(&mut self) {
        // A full disk may be free again by the end, which writes once more and then fails.
        if let Err(error) = self.write() {
            eprintln!("bench: {error}");
        }
    }

    /// Times Rollmill on a case.
    pub(crate) fn own<T>(
        &mut self,
        case: &Case,
        work: impl FnMut() -> Result<T, BenchError>,
    ) -> Result<(), BenchError> {
        let runs = self.plan.runs;
        self.time(case, "rollmill", runs, work)
    }

    /// Times arkworks, if it is requested.
    pub(crate) fn arkworks<T>(&mut self, case: &Case, mut work: impl FnMut() -> T) {
        if self.peers.arkworks {
            let runs = self.plan.runs;
            black_box(work());
            // Fails only where the run is to stop; the next operation of ours says so.
            if let Ok(taken) = self.take(runs, || Ok(work())) {
                self.record(case, "arkworks", taken, Some(peers::ARKWORKS_BUILD.to_owned()));
            }
        }
    }

    /// Times `work` once to warm up and then `runs` times.
    pub(crate) fn time<T>(
        &mut self,
        case: &Case,
        implementation: &str,
        runs: usize,
        mut work: impl FnMut() -> Result<T, BenchError>,
    ) -> Result<(), BenchError> {
        black_box(work()?);
        let taken = self.take(runs, work)?;
        self.record(case, implementation, taken, None);
        Ok(())
    }

    /// Times `runs` runs, at least one.
    pub(crate) fn take<T>(
        &mut self,
        runs: usize,
        mut work: impl FnMut() -> Result<T, BenchError>,
    ) -> Result<Taken, BenchError> {
        machine::reset_peak();
        let joules = |sensors: &Option<Sensors>| sensors.as_ref()?.card.energy_joules();
        let (began, before) = (Instant::now(), joules(&self.sensors));
        let mut seconds = Vec::with_capacity(runs);
        for _ in 0..runs.max(1) {
            self.go_on()?;
            let started = Instant::now();
            black_box(work()?);
            // A clock that does not advance would make the speed infinite.
            seconds.push(started.elapsed().as_secs_f64().max(1e-9));
        }
        let mut taken = Taken {
            seconds,
            memory: machine::peak_bytes_of("self"),
            watts: None,
            sm_clock_hertz: None,
        };
        if let Some(sensors) = &mut self.sensors {
            let now = sensors.card.read();
            let span = began.elapsed().as_secs_f64();
            let energy = now.energy_joules.zip(before).map(|(now, before)| now - before);
            taken.watts = energy
                .map(|joules| joules / span)
                .filter(|watts| span >= SECONDS_FOR_POWER && *watts > 0.0);
            taken.sm_clock_hertz = now.sm_clock_hertz.filter(|hertz| *hertz > 0.0);
            sensors.throttled |= now.throttle_reasons.unwrap_or(0);
        }
        Ok(taken)
    }

    /// Records the times of runs, however they were measured.
    pub(crate) fn record(
        &mut self,
        case: &Case,
        implementation: &str,
        taken: Taken,
        note: Option<String>,
    ) {
        let Taken { mut seconds, memory, watts, sm_clock_hertz } = taken;
        seconds.sort_by(f64::total_cmp);
        let floor = case.work.seconds(&self.results.ceilings);
        let own = implementation == "rollmill";
        let entry = Entry {
            group: case.group.to_owned(),
            name: case.name.clone(),
            n: case.n,
            implementation: implementation.to_owned(),
            runs: seconds.len() as u32,
            median_seconds: seconds[seconds.len() / 2],
            min_seconds: seconds[0],
            max_seconds: seconds[seconds.len() - 1],
            in_flight: None,
            floor_seconds: (own && floor > 0.0).then_some(floor),
            memory_bytes_peak: memory,
            // A peer's work is not on the card.
            watts: watts.filter(|_| own),
            sm_clock_hertz: sm_clock_hertz.filter(|_| own),
            note,
        };
        let fraction = entry
            .fraction()
            .map_or(String::new(), |f| format!(", {:.0} % of the floor", f * 100.0));
        let power = entry.watts.map_or(String::new(), |watts| format!(", {watts:.0} W"));
        eprintln!(
            "bench: {:<28} {:<12} {:>10.3} ms{fraction}{power}",
            entry.name,
            implementation,
            entry.median_seconds * 1e3
        );
        self.results.entries.push(entry);
        self.save();
    }

    /// Notes that the last figure is of so many proofs at a time.
    pub(crate) fn was_in_flight(&mut self, count: usize) {
        if let Some(entry) = self.results.entries.last_mut() {
            entry.in_flight = u32::try_from(count).ok();
        }
        self.save();
    }

    /// Rejects sizes that do not fit into memory, before time is spent on smaller ones.
    pub(crate) fn require_memory(&self, what: &str, needed_bytes: u64) -> Result<(), BenchError> {
        match machine::free_bytes() {
            Some(free) if free < needed_bytes => Err(BenchError::Memory {
                what: what.to_owned(),
                needed_mib: needed_bytes >> 20,
                free_mib: free >> 20,
            }),
            _ => Ok(()),
        }
    }
}

/// Products that memory does not slow down: eight independent chains of 32 squarings.
pub(crate) struct Squarings;

impl Squarings {
    pub(crate) const PER_ROW: u64 = 8 * 32;
}

impl RowKernel for Squarings {
    type Constants<E: Expr> = [E; 8];

    fn constants<E: Expr>(&self) -> [E; 8] {
        std::array::from_fn(|i| E::constant(Fr::from(i as u64 + 2)))
    }
    fn outputs(&self) -> usize {
        1
    }
    fn eval<E: Expr, R: Row<E>>(&self, starts: &[E; 8], row: &R, out: &mut [E]) {
        let cell = row.cell(0, 0);
        let mut chains: [E; 8] = std::array::from_fn(|i| cell.clone() + starts[i].clone());
        for _ in 0..32 {
            for chain in &mut chains {
                *chain = chain.clone() * chain.clone();
            }
        }
        let [first, rest @ ..] = chains;
        out[0] = rest.into_iter().fold(first, |sum, chain| sum + chain);
    }
}

/// The best of several runs: a ceiling is the maximum, not the usual speed.
fn best(runs: usize, mut work: impl FnMut() -> Result<(), BenchError>) -> Result<f64, BenchError> {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let started = Instant::now();
        work()?;
        best = best.min(started.elapsed().as_secs_f64().max(1e-9));
    }
    Ok(best)
}

fn ceilings<D: Subject>(device: &D) -> Result<Ceilings, BenchError> {
    if let Some(card) = device.cuda() {
        let failed = BenchError::failed("measuring the ceilings of the card");
        let rates = card.measure_rates().map_err(failed)?;
        return Ok(Ceilings {
            products_per_second: rates.products,
            bytes_per_second: rates.bytes,
            adapter_products_per_second: None,
            wide_multiply_adds_per_second: Some(rates.wide),
        });
    }
    let failed = || BenchError::failed("measuring the ceilings");
    let values: Vec<Fr> = (0..1u64 << 14).map(Fr::from).collect();
    let column = device.upload(&values).map_err(failed())?;
    // Downloading one element's worth waits for devices that queue.
    let seconds = best(15, || {
        let out = device.rows(&Squarings, &[&column]).map_err(failed())?;
        device.download(&out[0]).map_err(failed())?;
        Ok(())
    })?;
    let products_per_second = values.len() as f64 * Squarings::PER_ROW as f64 / seconds;

    // Larger than any cache, and touched before, so that the kernel's page faults are not measured.
    let from = vec![1u64; 1 << 24];
    let mut to = vec![2u64; 1 << 24];
    let part = from.len().div_ceil(rayon::current_num_threads());
    let seconds = best(7, || {
        let pairs = to.par_chunks_mut(part).zip(from.par_chunks(part));
        pairs.for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&to);
        Ok(())
    })?;
    let bytes_per_second = 16.0 * from.len() as f64 / seconds;
    let adapter = device.wgpu().map(subject::adapter_products).transpose()?;
    // Row kernels on an adapter have its products; the interpreter of their programs is slower than these.
    let rows_there = device.wgpu().is_some_and(|device| device.row_kernels() != Rows::Host);
    let products_per_second = adapter.filter(|_| rows_there).unwrap_or(products_per_second);
    Ok(Ceilings {
        products_per_second,
        bytes_per_second,
        adapter_products_per_second: adapter,
        wide_multiply_adds_per_second: None,
    })
}
