//! Which idle agent gets which job.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};

use rollmill_broker_client::SizeClass;

use crate::PATIENCE;
use crate::view::{Agent, Decisions, Grant, Job, Share, View};

/// The idle agents, those alike together: they differ only in how long they have waited. So a job is compared with kinds
/// of agents and not with each of them.
pub(crate) struct Idle<'a> {
    view: &'a View<'a>,
    random: u64,
    kinds: Vec<VecDeque<&'a Agent<'a>>>,
}

/// An agent chosen for a job, and where it is in [`Idle`].
#[derive(Clone, Copy)]
pub(crate) struct Choice<'a> {
    pub(crate) agent: &'a Agent<'a>,
    pub(crate) seconds: f64,
    loads: bool,
    kind: usize,
    place: usize,
}

/// What must hold of an agent besides its ability.
pub(crate) struct Wanted<'a> {
    pub(crate) job: &'a Job<'a>,
    pub(crate) not: Option<(u64, u64)>,
}

impl<'a> Idle<'a> {
    pub(crate) fn new(view: &'a View<'a>, random: u64) -> Self {
        let mut places: HashMap<(usize, u64, &[usize]), usize> = HashMap::new();
        let mut kinds: Vec<VecDeque<&Agent<'_>>> = Vec::new();
        for agent in view.agents.iter().filter(|agent| !agent.is_draining) {
            let kind = (agent.ability, agent.speed.to_bits(), agent.resident);
            let place = *places.entry(kind).or_insert_with(|| {
                kinds.push(VecDeque::new());
                kinds.len() - 1
            });
            kinds[place].push_back(agent);
        }
        for agents in &mut kinds {
            agents.make_contiguous().sort_by(|a, b| {
                let tie = |agent: &Agent<'_>| (scatter(agent.key, random), agent.key);
                a.since.total_cmp(&b.since).then_with(|| tie(a).cmp(&tie(b)))
            });
        }
        Self { view, random, kinds }
    }

    /// What an agent with these expected seconds is compared by: the smallest wins.
    fn order(&self, seconds: f64, agent: &Agent<'_>) -> (f64, f64, u64, u64) {
        (seconds, agent.since, scatter(agent.key, self.random), agent.key)
    }

    /// The agent that is expected to finish the job first; among equals the one that has waited longest.
    pub(crate) fn best(&self, wanted: &Wanted<'_>) -> Option<Choice<'a>> {
        let (job, mut best) = (wanted.job, None::<Choice<'_>>);
        let work = self.view.works[job.work];
        let may = |agent: &&Agent<'_>| {
            !job.excluded.contains(&agent.identity)
                && wanted.not.is_none_or(|(identity, device)| {
                    agent.identity != identity && agent.device != device
                })
        };
        for (kind, agents) in self.kinds.iter().enumerate() {
            let Some(first) = agents.front() else { continue };
            if !self.view.abilities[first.ability].fits(job.tenant, job.work, job.class) {
                continue;
            }
            let loads = first.resident.binary_search(&job.work).is_err();
            let seconds = work.p50 / first.speed + if loads { work.load } else { 0.0 };
            // No agent of a kind comes before its first.
            let comes_first = |agent: &Agent<'_>, best: &Option<Choice<'_>>| {
                best.is_none_or(|best| {
                    self.order(seconds, agent) < self.order(best.seconds, best.agent)
                })
            };
            if !comes_first(first, &best) {
                continue;
            }
            let Some(place) = agents.iter().position(may) else { continue };
            let agent = agents[place];
            if comes_first(agent, &best) {
                best = Some(Choice { agent, seconds, loads, kind, place });
            }
        }
        best
    }

    pub(crate) fn take(&mut self, choice: Choice<'a>) -> Grant {
        self.kinds[choice.kind].remove(choice.place);
        Grant { job: 0, agent: choice.agent.key, expected_seconds: choice.seconds }
    }
}

/// Mixes a key with the caller's randomness (the finalizer of SplitMix64).
fn scatter(key: u64, random: u64) -> u64 {
    let mut mixed = (key ^ random).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    mixed = mixed.wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The jobs of a tenant that are equal but for their type and class: for each of these the jobs, in the order of their keys.
type Equals<'a> = BTreeMap<(usize, SizeClass), VecDeque<&'a Job<'a>>>;

/// A tenant's jobs, in the order of epoch and rank.
#[derive(Default)]
struct Waiting<'a> {
    queue: VecDeque<Equals<'a>>,
}

impl<'a> Waiting<'a> {
    /// The next job that an idle agent can do, with that agent. Jobs that none can do are dropped: agents only become
    /// fewer.
    fn next(&mut self, idle: &Idle<'a>) -> Option<(&'a Job<'a>, Choice<'a>)> {
        while let Some(equals) = self.queue.front_mut() {
            let mut best: Option<((f64, u64), &Job<'_>, Choice<'_>)> = None;
            for jobs in equals.values_mut() {
                while let Some(&job) = jobs.front() {
                    match idle.best(&Wanted { job, not: None }) {
                        None => _ = jobs.pop_front(),
                        Some(choice) => {
                            let handicap = if choice.loads { PATIENCE } else { 0.0 };
                            let order = (job.since + handicap, job.key);
                            if best.is_none_or(|(other, _, _)| order < other) {
                                best = Some((order, job, choice));
                            }
                            break;
                        }
                    }
                }
            }
            match best {
                Some((_, job, choice)) => return Some((job, choice)),
                None => _ = self.queue.pop_front(),
            }
        }
        None
    }

    fn remove(&mut self, job: &Job<'_>) {
        if let Some(jobs) =
            self.queue.front_mut().and_then(|equals| equals.get_mut(&(job.work, job.class)))
        {
            jobs.pop_front();
        }
    }
}

/// Jobs that may be granted, by tenant.
fn waiting<'a>(view: &View<'a>, cancelled: &[usize]) -> Vec<Waiting<'a>> {
    let gone: Vec<(usize, u64)> = cancelled
        .iter()
        .map(|position| (view.epochs[*position].tenant, view.epochs[*position].number))
        .collect();
    let mut jobs: Vec<&Job<'_>> =
        view.jobs.iter().filter(|job| !gone.contains(&(job.tenant, job.epoch))).collect();
    jobs.sort_by_key(|job| (job.tenant, job.epoch, Reverse(job.rank), job.key));
    // A head that the caller names twice is one job.
    jobs.dedup_by_key(|job| job.key);
    let mut all: Vec<Waiting<'_>> = Vec::new();
    all.resize_with(view.tenants.len(), Waiting::default);
    let mut last = None;
    for job in jobs {
        let queue = &mut all[job.tenant].queue;
        let place = (job.tenant, job.epoch, job.rank);
        if last.replace(place) != Some(place) {
            queue.push_back(Equals::new());
        }
        if let Some(equals) = queue.back_mut() {
            equals.entry((job.work, job.class)).or_default().push_back(job);
        }
    }
    all
}

/// Grants jobs until no idle agent can do another one.
pub(crate) fn grant<'a>(
    view: &'a View<'a>,
    at_risk: &[bool],
    idle: &mut Idle<'a>,
    decisions: &mut Decisions,
) {
    let mut waiting = waiting(view, &decisions.cancelled_epochs);
    let shares = &mut decisions.shares;
    shares.of.resize(view.tenants.len(), Share::default());
    for (tenant, share) in shares.of.iter_mut().enumerate() {
        let has_leases = view.leases.iter().any(|lease| lease.job.tenant == tenant);
        let is_active = has_leases || !waiting[tenant].queue.is_empty();
        if is_active && !share.is_active {
            share.virtual_seconds = share.virtual_seconds.max(shares.clock);
        }
        share.is_active = is_active;
    }
    let mut reserves = reserves(view, at_risk);
    let mut open: Vec<usize> = (0..view.tenants.len()).collect();
    loop {
        let first = open.iter().copied().min_by(|a, b| {
            let of = |tenant: usize| shares.of[tenant].virtual_seconds;
            let has_reserve = |tenant: usize| reserves[tenant] > 0;
            has_reserve(*b).cmp(&has_reserve(*a)).then(of(*a).total_cmp(&of(*b))).then(a.cmp(b))
        });
        let Some(tenant) = first else { return };
        let Some((job, choice)) = waiting[tenant].next(idle) else {
            open.retain(|other| *other != tenant);
            continue;
        };
        waiting[tenant].remove(job);
        let grant = Grant { job: job.key, ..idle.take(choice) };
        let share = &mut shares.of[tenant];
        shares.clock = shares.clock.max(share.virtual_seconds);
        share.virtual_seconds += grant.expected_seconds / view.tenants[tenant].weight;
        reserves[tenant] = reserves[tenant].saturating_sub(1);
        decisions.grants.push(grant);
    }
}

/// How many agents each tenant may take at once, whatever it has had.
fn reserves(view: &View<'_>, at_risk: &[bool]) -> Vec<usize> {
    let tenants = view.tenants.iter().enumerate();
    tenants
        .map(|(number, tenant)| {
            let mut epochs = view.epochs.iter().zip(at_risk);
            let is_at_risk = epochs.any(|(epoch, at_risk)| *at_risk && epoch.tenant == number);
            let reserved = (tenant.reserved.clamp(0.0, 1.0) * view.live_agents as f64) as usize;
            if is_at_risk { reserved.saturating_sub(tenant.busy) } else { 0 }
        })
        .collect()
}
