//! Random clusters, and the plain twin of the scheduler: it compares every job with every agent.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rollmill_broker_client::SizeClass;
use rollmill_broker_schedule::{
    Ability, Agent, Decisions, Demand, Epoch, Grant, Job, Lease, PATIENCE, Share, Shares, Tenant,
    View, Work, forecast, schedule,
};

mod properties;

/// What a view borrows.
#[derive(Debug)]
struct Scene {
    tenants: Vec<Tenant>,
    shares: Shares,
    works: Vec<Work>,
    abilities: Vec<Ability>,
    residents: Vec<Vec<usize>>,
    /// By agent: whether it was asked to leave.
    draining: Vec<bool>,
    excluded: Vec<Vec<u64>>,
    remaining: Vec<Vec<Demand>>,
    /// Key, identity, device, ability, speed, since when idle.
    agents: Vec<(u64, u64, u64, usize, f64, f64)>,
    /// Key, tenant, work, class, epoch, rank. The first ones are leased, the others ready.
    jobs: Vec<(u64, usize, usize, SizeClass, u64, u32)>,
    /// Job, identity, device, speed, start, whether second.
    leases: Vec<(usize, u64, u64, f64, f64, bool)>,
    /// Tenant, number, whether stale, when to submit.
    epochs: Vec<(usize, u64, bool, Option<f64>)>,
    live_agents: usize,
    capacity: Vec<f64>,
}

const NOW: f64 = 1_000.0;

fn class(rng: &mut ChaCha8Rng) -> SizeClass {
    SizeClass::new(rng.gen_range(0..=3)).unwrap()
}

fn some(rng: &mut ChaCha8Rng, most: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..most).collect();
    all.shuffle(rng);
    all.truncate(rng.gen_range(1..=most));
    all.sort_unstable();
    all
}

/// Key, tenant, work, class, epoch, rank of each job, and whom it excludes.
type Jobs = (Vec<(u64, usize, usize, SizeClass, u64, u32)>, Vec<Vec<u64>>);

fn jobs(rng: &mut ChaCha8Rng, tenants: usize, works: usize) -> Jobs {
    let (mut jobs, mut excluded) = (Vec::new(), Vec::new());
    for key in 0..rng.gen_range(0..60) {
        let (tenant, work) = (rng.gen_range(0..tenants), rng.gen_range(0..works));
        let (epoch, rank) = (rng.gen_range(0..3), rng.gen_range(0..3));
        jobs.push((key, tenant, work, class(rng), epoch, rank));
        let out: Vec<u64> = (0..rng.gen_range(0..3)).map(|_| rng.gen_range(0..15)).collect();
        excluded.push(if rng.gen_bool(0.3) { out } else { Vec::new() });
    }
    (jobs, excluded)
}

fn epochs(rng: &mut ChaCha8Rng, tenants: usize) -> Vec<(usize, u64, bool, Option<f64>)> {
    let mut epochs = Vec::new();
    for (tenant, number) in (0..tenants).flat_map(|tenant| (0..3).map(move |n| (tenant, n))) {
        if rng.gen_bool(0.7) {
            let by = NOW + f64::from(rng.gen_range(-5..200));
            let by = rng.gen_bool(0.8).then_some(by);
            epochs.push((tenant, number, rng.gen_bool(0.1), by));
        }
    }
    epochs
}

fn shares(rng: &mut ChaCha8Rng, tenants: usize) -> Shares {
    let of = (0..tenants).map(|_| Share {
        virtual_seconds: f64::from(rng.gen_range(0..30)),
        is_active: rng.gen_bool(0.5),
    });
    Shares { clock: 10.0, of: of.collect() }
}

impl Scene {
    fn random(seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let tenants: Vec<Tenant> = (0..rng.gen_range(1..4))
            .map(|_| Tenant {
                weight: f64::from(rng.gen_range(1..4)),
                reserved: f64::from(rng.gen_range(0..4)) / 10.0,
                busy: rng.gen_range(0..3),
            })
            .collect();
        let works: Vec<Work> = (0..rng.gen_range(1..5))
            .map(|_| {
                let p50 = f64::from(rng.gen_range(1..5));
                Work { p50, p95: p50 * 2.0, load: f64::from(rng.gen_range(0..3)) }
            })
            .collect();
        let abilities: Vec<Ability> = (0..rng.gen_range(1..4))
            .map(|_| Ability {
                tenants: some(rng, tenants.len()),
                works: some(rng, works.len()),
                class: class(rng),
            })
            .collect();
        let count = rng.gen_range(0..30);
        let (mut agents, mut residents) = (Vec::new(), Vec::new());
        for key in 0..count {
            let ability = rng.gen_range(0..abilities.len());
            let speed = f64::from(rng.gen_range(1..3));
            let since = f64::from(rng.gen_range(0..5));
            agents.push((key + 100, key / 2, key / 3, ability, speed, since));
            let warm = some(rng, works.len());
            residents.push(if rng.gen_bool(0.5) { warm } else { Vec::new() });
        }
        let (jobs, excluded) = jobs(rng, tenants.len(), works.len());
        let leases = (0..jobs.len() / 3)
            .map(|job| {
                let start = NOW - f64::from(rng.gen_range(0..30));
                (job, rng.gen_range(0..15), rng.gen_range(0..10), 1.0, start, rng.gen_bool(0.1))
            })
            .collect();
        let epochs = epochs(rng, tenants.len());
        let remaining = epochs
            .iter()
            .map(|_| {
                let work = rng.gen_range(0..works.len());
                vec![Demand { work, class: SizeClass::SMALLEST, jobs: rng.gen_range(0..200) }]
            })
            .collect();
        let capacity = abilities.iter().map(|_| f64::from(rng.gen_range(0..30))).collect();
        let shares = shares(rng, tenants.len());
        let live_agents = agents.len() + rng.gen_range(0..60);
        let draining = agents.iter().map(|_| rng.gen_bool(0.2)).collect();
        Self {
            tenants,
            shares,
            works,
            abilities,
            residents,
            draining,
            excluded,
            remaining,
            agents,
            jobs,
            leases,
            epochs,
            live_agents,
            capacity,
        }
    }

    fn job(&self, position: usize) -> Job<'_> {
        let (key, tenant, work, class, epoch, rank) = self.jobs[position];
        // In another order than that of the keys, and some longer than the patience of the scheduler.
        let since = NOW - (key * 37 % 150) as f64;
        Job { key, tenant, work, class, epoch, rank, since, excluded: &self.excluded[position] }
    }

    fn with<T>(&self, f: impl FnOnce(&View<'_>) -> T) -> T {
        let agents: Vec<Agent<'_>> = self
            .agents
            .iter()
            .zip(self.residents.iter().zip(&self.draining))
            .map(|(&(key, identity, device, ability, speed, since), (resident, draining))| Agent {
                key,
                identity,
                device,
                ability,
                speed,
                resident,
                since,
                is_draining: *draining,
            })
            .collect();
        let jobs: Vec<Job<'_>> =
            (self.leases.len()..self.jobs.len()).map(|position| self.job(position)).collect();
        let leases: Vec<Lease<'_>> = self
            .leases
            .iter()
            .map(|&(job, identity, device, speed, started, is_second)| Lease {
                job: self.job(job),
                identity,
                device,
                speed,
                started,
                is_second,
            })
            .collect();
        let epochs: Vec<Epoch<'_>> = self
            .epochs
            .iter()
            .zip(&self.remaining)
            .map(|(&(tenant, number, is_stale, submit_by), remaining)| Epoch {
                tenant,
                number,
                is_stale,
                submit_by,
                window: 100.0,
                submission: 5.0,
                remaining,
                longest_path: 6.0,
            })
            .collect();
        f(&View {
            tenants: &self.tenants,
            shares: &self.shares,
            works: &self.works,
            abilities: &self.abilities,
            agents: &agents,
            jobs: &jobs,
            leases: &leases,
            epochs: &epochs,
            live_agents: self.live_agents,
            capacity: &self.capacity,
        })
    }
}

/// Runs a property for many random scenes; a failure names the seed.
fn for_scenes(property: impl Fn(&View<'_>, &Decisions) + std::panic::RefUnwindSafe) {
    for seed in 0..3_000 {
        let scene = Scene::random(seed);
        let checked = std::panic::catch_unwind(|| {
            scene.with(|view| property(view, &schedule(view, NOW, seed)));
        });
        assert!(checked.is_ok(), "seed {seed}: {scene:?}");
    }
}

/// Whether an epoch of the view is among the cancelled ones.
fn is_cancelled(view: &View<'_>, decisions: &Decisions, job: &Job<'_>) -> bool {
    decisions.cancelled_epochs.iter().any(|position| {
        let epoch = &view.epochs[*position];
        (epoch.tenant, epoch.number) == (job.tenant, job.epoch)
    })
}

/// Whether each epoch is at risk and not among the cancelled ones.
fn at_risk(view: &View<'_>, decisions: &Decisions) -> Vec<bool> {
    let forecasts = forecast::epochs(view, NOW).into_iter().enumerate();
    forecasts
        .map(|(place, it)| it.is_at_risk && !decisions.cancelled_epochs.contains(&place))
        .collect()
}

/// Every pair of an open job and an agent without one that is possible.
fn pairs<'v>(
    view: &View<'v>,
    open: &[&'v Job<'v>],
    used: &BTreeSet<u64>,
) -> Vec<(&'v Job<'v>, &'v Agent<'v>)> {
    let mut pairs = Vec::new();
    for job in open {
        let is_free = |agent: &&Agent<'_>| !agent.is_draining && !used.contains(&agent.key);
        for agent in view.agents.iter().filter(is_free) {
            let able = &view.abilities[agent.ability];
            if able.class >= job.class
                && able.works.contains(&job.work)
                && able.tenants.contains(&job.tenant)
                && !job.excluded.contains(&agent.identity)
            {
                pairs.push((*job, agent));
            }
        }
    }
    pairs
}

fn seconds(view: &View<'_>, job: &Job<'_>, agent: &Agent<'_>) -> f64 {
    let load = if agent.resident.contains(&job.work) { 0.0 } else { view.works[job.work].load };
    view.works[job.work].p50 / agent.speed + load
}

/// Grants as a person would by hand: every open pair, one decision at a time.
fn twin(view: &View<'_>, decisions: &Decisions, at_risk: &[bool]) -> (Vec<Grant>, Shares) {
    let mut shares = view.shares.clone();
    shares.of.resize(view.tenants.len(), Share::default());
    let jobs: Vec<&Job<'_>> =
        view.jobs.iter().filter(|job| !is_cancelled(view, decisions, job)).collect();
    let mut reserves = Vec::new();
    for (number, tenant) in view.tenants.iter().enumerate() {
        let has_jobs = jobs.iter().any(|job| job.tenant == number)
            || view.leases.iter().any(|lease| lease.job.tenant == number);
        let share = &mut shares.of[number];
        if has_jobs && !share.is_active {
            share.virtual_seconds = share.virtual_seconds.max(shares.clock);
        }
        share.is_active = has_jobs;
        let risk = view.epochs.iter().zip(at_risk).any(|(e, risk)| *risk && e.tenant == number);
        let reserved = (tenant.reserved * view.live_agents as f64) as usize;
        reserves.push(if risk { reserved.saturating_sub(tenant.busy) } else { 0 });
    }
    let (mut done, mut used) = (BTreeSet::new(), BTreeSet::new());
    let mut grants = Vec::new();
    loop {
        let open: Vec<&Job<'_>> =
            jobs.iter().copied().filter(|job| !done.contains(&job.key)).collect();
        let mut pairs = pairs(view, &open, &used);
        let tenant = pairs.iter().map(|(job, _)| job.tenant).min_by(|a, b| {
            let key = |t: usize| (reserves[t] == 0, shares.of[t].virtual_seconds, t);
            key(*a).partial_cmp(&key(*b)).unwrap()
        });
        let Some(tenant) = tenant else { return (grants, shares) };
        pairs.retain(|(job, _)| job.tenant == tenant);
        let first = pairs.iter().map(|(job, _)| (job.epoch, std::cmp::Reverse(job.rank))).min();
        pairs.retain(|(job, _)| Some((job.epoch, std::cmp::Reverse(job.rank))) == first);
        // Of each type and class the one with the smallest key.
        let first = |job: &Job<'_>| {
            pairs.iter().all(|(other, _)| {
                (other.work, other.class) != (job.work, job.class) || other.key >= job.key
            })
        };
        let mut best: Option<((f64, u64), &Job<'_>, &Agent<'_>)> = None;
        for (job, _) in pairs.iter().filter(|(job, _)| first(job)) {
            let able = pairs.iter().filter(|(other, _)| other.key == job.key);
            let agent = able
                .map(|(_, agent)| *agent)
                .min_by(|a, b| {
                    let key = |agent: &Agent<'_>| (seconds(view, job, agent), agent.since);
                    key(a).partial_cmp(&key(b)).unwrap()
                })
                .unwrap();
            let handicap = if agent.resident.contains(&job.work) { 0.0 } else { PATIENCE };
            let order = (job.since + handicap, job.key);
            if best.is_none_or(|(other, _, _)| order < other) {
                best = Some((order, job, agent));
            }
        }
        let (_, job, agent) = best.unwrap();
        let expected_seconds = seconds(view, job, agent);
        grants.push(Grant { job: job.key, agent: agent.key, expected_seconds });
        done.insert(job.key);
        used.insert(agent.key);
        let share = &mut shares.of[tenant];
        shares.clock = shares.clock.max(share.virtual_seconds);
        share.virtual_seconds += expected_seconds / view.tenants[tenant].weight;
        reserves[tenant] = reserves[tenant].saturating_sub(1);
    }
}
