//! Which waiting agent gets which job: what the scheduler needs to know from round to round, and the translation of the
//! broker's names for it.
//!
//! Everything here is memory of this replica. A replica that starts knows nothing, takes all durations to be equal and
//! all keys to be missing, and learns from the jobs that it grants.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollmill_broker_client::{AgentId, Capability, LeaseRef, SizeClass};
use rollmill_broker_schedule::{self as schedule, Agent, Job, Share, Shares, View, Work};

use crate::store::{Candidate, Tenant};

/// Most agents, types of job and running leases that are remembered.
const AGENTS_MAX: usize = 20_000;
const KINDS_MAX: usize = 1_024;
const RUNNING_MAX: usize = 40_000;
/// Durations that are kept of each type.
const SAMPLES: usize = 128;
/// What loading a key is taken to cost, in seconds. It decides only between agents and jobs that are equal otherwise.
const LOAD_SECONDS: f64 = 1.0;
/// What a job takes while no duration is known at all, in seconds.
const UNKNOWN_SECONDS: f64 = 10.0;

/// What an agent can do. Agents that can do the same share one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ability {
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) class: SizeClass,
}

/// An agent that waits, as far as matching needs it.
#[derive(Debug)]
pub(crate) struct WaitingAgent {
    /// Smaller ones have waited longer.
    pub(crate) ticket: u64,
    pub(crate) tenant: Tenant,
    pub(crate) id: AgentId,
    pub(crate) ability: Arc<Ability>,
    /// What it was granted last, so far as this replica knows.
    pub(crate) last: Option<Arc<Kind>>,
    pub(crate) since: Instant,
}

/// The waiting agents of a tenant, and the first jobs that they can do.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) tenant: Tenant,
    pub(crate) agents: Vec<Arc<WaitingAgent>>,
    pub(crate) jobs: Vec<Candidate>,
    /// Agents that were asked to leave.
    pub(crate) draining: HashSet<AgentId>,
}

/// A job for an agent.
pub(crate) type Pair = (i64, Arc<WaitingAgent>);

/// A type of job with its version.
pub(crate) type Kind = (String, String);

/// An agent as it was last seen here.
#[derive(Debug)]
struct Known {
    seen: Instant,
    /// Since when it has had no job from here.
    idle_since: Instant,
    /// What it was granted last: it has the key of that in memory, whatever it has besides.
    last: Option<Arc<Kind>>,
    class: SizeClass,
}

/// The last durations of a type, and what follows of them.
#[derive(Debug, Default)]
struct Samples {
    last: VecDeque<f64>,
    p50: f64,
    p95: f64,
}

impl Samples {
    fn add(&mut self, seconds: f64) {
        if self.last.len() == SAMPLES {
            self.last.pop_front();
        }
        self.last.push_back(seconds);
        let mut sorted: Vec<f64> = self.last.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| sorted[((sorted.len() as f64 * part) as usize).min(sorted.len() - 1)];
        (self.p50, self.p95) = (at(0.5), at(0.95));
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    clock: f64,
    shares: HashMap<Tenant, Share>,
    agents: HashMap<(Tenant, AgentId), Known>,
    /// By tenant as well: another tenant has other machines, and may say of them what it likes.
    durations: HashMap<(Tenant, Kind), Samples>,
    running: HashMap<(Tenant, LeaseRef), (Instant, Arc<Kind>)>,
}

/// An agent that asks here, and for how long it has been granted nothing here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IdleAgent {
    pub(crate) tenant: Tenant,
    pub(crate) id: AgentId,
    pub(crate) class: SizeClass,
    pub(crate) idle_seconds: f64,
    /// Whether it is known to have a key in memory.
    pub(crate) is_warm: bool,
}

impl Matching {
    /// An agent asks for work; returns what it was granted last.
    pub(crate) fn asks(
        &mut self,
        tenant: &Tenant,
        agent: &AgentId,
        class: SizeClass,
        now: Instant,
    ) -> Option<Arc<Kind>> {
        let key = (tenant.clone(), agent.clone());
        if let Some(known) = self.agents.get_mut(&key) {
            (known.seen, known.class) = (now, class);
            return known.last.clone();
        }
        if self.agents.len() < AGENTS_MAX {
            self.agents.insert(key, Known { seen: now, idle_since: now, last: None, class });
        }
        None
    }

    /// A job was granted to an agent.
    pub(crate) fn granted(
        &mut self,
        agent: &WaitingAgent,
        lease: LeaseRef,
        kind: Kind,
        now: Instant,
    ) {
        let kind = Arc::new(kind);
        if let Some(known) = self.agents.get_mut(&(agent.tenant.clone(), agent.id.clone())) {
            (known.idle_since, known.last) = (now, Some(Arc::clone(&kind)));
        }
        if self.running.len() >= RUNNING_MAX {
            // Leases that ended elsewhere. It costs samples, no more.
            self.running.clear();
        }
        self.running.insert((agent.tenant.clone(), lease), (now, kind));
    }

    /// A result was accepted. Counts how long it took if the lease was granted here: `worked` as the agent reports it,
    /// else the time since the grant, which counts the time that the job waited at the agent as well.
    pub(crate) fn completed(
        &mut self,
        tenant: &Tenant,
        agent: &AgentId,
        lease: &LeaseRef,
        worked: Option<f64>,
        now: Instant,
    ) {
        if let Some(known) = self.agents.get_mut(&(tenant.clone(), agent.clone())) {
            known.idle_since = now;
        }
        let Some((granted, kind)) = self.running.remove(&(tenant.clone(), lease.clone())) else {
            return;
        };
        let kind = (tenant.clone(), Arc::unwrap_or_clone(kind));
        if self.durations.len() < KINDS_MAX || self.durations.contains_key(&kind) {
            let held = now.duration_since(granted).as_secs_f64();
            // An agent cannot have worked for longer than it held the lease.
            let worked = worked.filter(|worked| (0.0..=held).contains(worked));
            self.durations.entry(kind).or_default().add(worked.unwrap_or(held));
        }
    }

    /// What a job of the type takes the tenant's agents; whether it was measured.
    pub(crate) fn work(&self, tenant: &Tenant, kind: &str, version: &str) -> (Work, bool) {
        let key = (tenant.clone(), (kind.to_owned(), version.to_owned()));
        if let Some(Samples { p50, p95, .. }) = self.durations.get(&key) {
            return (Work { p50: *p50, p95: *p95, load: LOAD_SECONDS }, true);
        }
        let measured = self.durations.iter().filter(|((of, _), _)| of == tenant);
        let (count, all) =
            measured.fold((0_u32, 0.0), |(count, all), (_, it)| (count + 1, all + it.p50));
        let mean = if count > 0 { all / f64::from(count) } else { UNKNOWN_SECONDS };
        (Work { p50: mean, p95: mean, load: LOAD_SECONDS }, false)
    }

    /// Agents that asked within `live`. They may have a job nevertheless: one that another replica granted, or one that
    /// they prove while they ask for the next. Forgets those that are gone.
    pub(crate) fn idle(&mut self, live: Duration, now: Instant) -> Vec<IdleAgent> {
        self.agents.retain(|_, known| now.duration_since(known.seen) <= live);
        let idle = |((tenant, id), known): (&(Tenant, AgentId), &Known)| IdleAgent {
            tenant: tenant.clone(),
            id: id.clone(),
            class: known.class,
            idle_seconds: now.duration_since(known.idle_since).as_secs_f64(),
            is_warm: known.last.is_some(),
        };
        self.agents.iter().map(idle).collect()
    }

    /// Pairs jobs with agents, as [`schedule::schedule`] decides.
    pub(crate) fn decide(&mut self, rounds: &[Round], random: u64) -> Vec<Pair> {
        if rounds.iter().all(|round| round.jobs.is_empty()) {
            return Vec::new();
        }
        let names = Names::of(rounds);
        let work = |(tenant, kind, version): &(usize, &str, &str)| {
            self.work(&rounds[*tenant].tenant, kind, version).0
        };
        let works: Vec<Work> = names.kinds.iter().map(work).collect();
        let waiting: Vec<(usize, &Arc<WaitingAgent>)> = each(rounds, |round| &round.agents);
        let resident: Vec<Option<usize>> = waiting
            .iter()
            .map(|(tenant, agent)| {
                names.kind(*tenant, &agent.last.as_ref()?.0, &agent.last.as_ref()?.1)
            })
            .collect();
        let candidates: Vec<(usize, &Candidate)> = each(rounds, |round| &round.jobs);
        let excluded = Exclusions::new(&waiting, &candidates);
        let mut abilities = Abilities::default();
        let agents: Vec<Agent<'_>> = waiting
            .iter()
            .zip(&resident)
            .enumerate()
            .map(|(place, ((tenant, agent), resident))| Agent {
                key: place as u64,
                identity: excluded.identities[place],
                device: excluded.identities[place],
                ability: abilities.place(*tenant, &agent.ability, &names),
                speed: 1.0,
                resident: resident.as_slice(),
                since: agent.ticket as f64,
                is_draining: rounds[*tenant].draining.contains(&agent.id),
            })
            .collect();
        let jobs: Vec<Job<'_>> = candidates
            .iter()
            .zip(&excluded.of_jobs)
            .filter_map(|((tenant, job), excluded)| {
                Some(Job {
                    key: u64::try_from(job.seq).ok()?,
                    tenant: *tenant,
                    work: names.kind(*tenant, &job.kind, &job.version)?,
                    class: job.class,
                    epoch: u64::try_from(job.epoch).ok()?,
                    rank: u32::try_from(job.rank).unwrap_or(u32::MAX),
                    // The round happens at 0.
                    since: -job.waited_seconds,
                    excluded,
                })
            })
            .collect();
        let shares = self.shares_of(rounds);
        let view = View {
            tenants: &vec![schedule::Tenant::default(); rounds.len()],
            shares: &shares,
            works: &works,
            abilities: &abilities.all,
            agents: &agents,
            jobs: &jobs,
            leases: &[],
            epochs: &[],
            live_agents: 0,
            capacity: &[],
        };
        let decisions = schedule::schedule(&view, 0.0, random);
        self.keep_shares(rounds, &decisions.shares);
        let pair = |grant: &schedule::Grant| {
            let (_, agent) = waiting.get(usize::try_from(grant.agent).ok()?)?;
            Some((i64::try_from(grant.job).ok()?, Arc::clone(agent)))
        };
        decisions.grants.iter().filter_map(pair).collect()
    }

    fn shares_of(&self, rounds: &[Round]) -> Shares {
        let share = |round: &Round| self.shares.get(&round.tenant).copied().unwrap_or_default();
        Shares { clock: self.clock, of: rounds.iter().map(share).collect() }
    }

    fn keep_shares(&mut self, rounds: &[Round], shares: &Shares) {
        self.clock = shares.clock;
        for (tenant, share) in &mut self.shares {
            // One without a waiting agent was not looked at.
            share.is_active &= rounds.iter().any(|round| round.tenant == *tenant);
        }
        for (round, share) in rounds.iter().zip(&shares.of) {
            self.shares.insert(round.tenant.clone(), *share);
        }
    }
}

/// Every item of a list of the rounds, with the number of its tenant.
fn each<'a, T>(rounds: &'a [Round], list: impl Fn(&'a Round) -> &'a Vec<T>) -> Vec<(usize, &'a T)> {
    let lists = rounds.iter().map(list).enumerate();
    lists.flat_map(|(tenant, list)| list.iter().map(move |item| (tenant, item))).collect()
}

/// Who is who, for the jobs that exclude somebody.
struct Exclusions {
    /// By agent. Two claims of one agent have one identity, that of the first.
    identities: Vec<u64>,
    /// By job.
    of_jobs: Vec<Vec<u64>>,
}

impl Exclusions {
    fn new(agents: &[(usize, &Arc<WaitingAgent>)], jobs: &[(usize, &Candidate)]) -> Self {
        if jobs.iter().all(|(_, job)| job.excluded.is_empty()) {
            // The usual case, in which names need not be compared.
            let identities = (0..agents.len() as u64).collect();
            return Self { identities, of_jobs: vec![Vec::new(); jobs.len()] };
        }
        let mut names: HashMap<(usize, &str), u64> = HashMap::new();
        let identities = agents
            .iter()
            .zip(0..)
            .map(|((tenant, agent), place)| {
                *names.entry((*tenant, agent.id.as_str())).or_insert(place)
            })
            .collect();
        let of_job = |(tenant, job): &(usize, &Candidate)| {
            let excluded = job.excluded.iter();
            excluded.filter_map(|name| names.get(&(*tenant, name.as_str())).copied()).collect()
        };
        Self { identities, of_jobs: jobs.iter().map(of_job).collect() }
    }
}

/// The types of job that waiting agents of each tenant can do, by number.
struct Names<'a> {
    /// Number of the tenant, type, version.
    kinds: Vec<(usize, &'a str, &'a str)>,
    places: HashMap<(usize, &'a str, &'a str), usize>,
}

impl<'a> Names<'a> {
    fn of(rounds: &'a [Round]) -> Self {
        let (mut kinds, mut places) = (Vec::new(), HashMap::new());
        for (tenant, round) in rounds.iter().enumerate() {
            for ability in distinct(&round.agents) {
                for capability in &ability.capabilities {
                    let kind = (tenant, capability.kind.as_str(), capability.version.as_str());
                    places.entry(kind).or_insert_with(|| {
                        kinds.push(kind);
                        kinds.len() - 1
                    });
                }
            }
        }
        Self { kinds, places }
    }

    fn kind(&self, tenant: usize, kind: &str, version: &str) -> Option<usize> {
        self.places.get(&(tenant, kind, version)).copied()
    }
}

/// The abilities of waiting agents by number: one for each tenant and shared ability.
#[derive(Default)]
struct Abilities {
    all: Vec<schedule::Ability>,
    places: HashMap<(usize, *const Ability), usize>,
}

impl Abilities {
    fn place(&mut self, tenant: usize, ability: &Arc<Ability>, names: &Names<'_>) -> usize {
        let all = &mut self.all;
        *self.places.entry((tenant, Arc::as_ptr(ability))).or_insert_with(|| {
            let kinds = ability.capabilities.iter();
            let mut works: Vec<usize> = kinds
                .filter_map(|c| names.kind(tenant, c.kind.as_str(), c.version.as_str()))
                .collect();
            works.sort_unstable();
            works.dedup();
            all.push(schedule::Ability { tenants: vec![tenant], works, class: ability.class });
            all.len() - 1
        })
    }
}

/// The different abilities.
fn distinct(agents: &[Arc<WaitingAgent>]) -> Vec<&Ability> {
    let mut seen = BTreeSet::new();
    let is_new = |agent: &&Arc<WaitingAgent>| seen.insert(Arc::as_ptr(&agent.ability));
    agents.iter().filter(is_new).map(|agent| &*agent.ability).collect()
}

/// What the agents can do, each type with each class that they can hold.
pub(crate) fn combinations(agents: &[Arc<WaitingAgent>]) -> Vec<(Capability, SizeClass)> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for ability in distinct(agents) {
        for capability in &ability.capabilities {
            for class in ability.class.holds() {
                if seen.insert((&capability.kind, &capability.version, class)) {
                    out.push((capability.clone(), class));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(ticket: u64, kinds: &[&str], class: u8) -> Arc<WaitingAgent> {
        of_tenant("default", ticket, kinds, class)
    }

    fn of_tenant(tenant: &str, ticket: u64, kinds: &[&str], class: u8) -> Arc<WaitingAgent> {
        let capabilities = kinds
            .iter()
            .map(|kind| Capability { kind: kind.parse().unwrap(), version: "v1".parse().unwrap() })
            .collect();
        Arc::new(WaitingAgent {
            ticket,
            tenant: Tenant(tenant.into()),
            id: format!("agent-{ticket}").parse().unwrap(),
            ability: Arc::new(Ability { capabilities, class: SizeClass::new(class).unwrap() }),
            last: None,
            since: Instant::now(),
        })
    }

    fn job(seq: i64, kind: &str, epoch: i64, rank: i64) -> Candidate {
        Candidate {
            seq,
            kind: kind.into(),
            version: "v1".into(),
            class: SizeClass::SMALLEST,
            epoch,
            rank,
            excluded: vec![],
            waited_seconds: 0.0,
        }
    }

    fn round(agents: &[Arc<WaitingAgent>], jobs: Vec<Candidate>) -> Round {
        let tenant = agents.first().map_or_else(Tenant::default, |agent| agent.tenant.clone());
        Round { tenant, agents: agents.to_vec(), jobs, draining: HashSet::new() }
    }

    fn decided(matching: &mut Matching, rounds: &[Round]) -> Vec<(i64, u64)> {
        matching.decide(rounds, 0).into_iter().map(|(seq, agent)| (seq, agent.ticket)).collect()
    }

    fn pairs(jobs: Vec<Candidate>, agents: &[Arc<WaitingAgent>]) -> Vec<(i64, u64)> {
        decided(&mut Matching::default(), &[round(agents, jobs)])
    }

    fn lease(kind: &str, lease_epoch: u64) -> LeaseRef {
        let digest = rollmill_broker_client::Digest::of(b"x");
        let text = format!(r#"{{"job":"7:{kind}:{digest}","lease_epoch":{lease_epoch}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_oldest_epoch_goes_first_and_then_the_highest_rank() {
        let jobs = vec![job(1, "leaf", 8, 9), job(2, "leaf", 7, 1), job(3, "root", 7, 5)];
        let all = [waiting(1, &["leaf", "root"], 0), waiting(2, &["leaf", "root"], 0)];
        assert_eq!(pairs(jobs, &all), [(3, 1), (2, 2)]);
    }

    #[test]
    fn a_job_passes_over_agents_that_cannot_do_it() {
        let mut heavy = job(1, "root", 7, 5);
        heavy.class = SizeClass::new(1).unwrap();
        let mut excluding = job(2, "leaf", 7, 4);
        excluding.excluded = vec!["agent-1".into()];
        let all =
            [waiting(1, &["leaf", "root"], 0), waiting(2, &["leaf"], 0), waiting(3, &["root"], 1)];
        assert_eq!(pairs(vec![heavy, excluding], &all), [(1, 3), (2, 2)]);
    }

    #[test]
    fn each_agent_gets_one_job() {
        let jobs = vec![job(1, "leaf", 7, 1), job(2, "leaf", 7, 1)];
        assert_eq!(pairs(jobs, &[waiting(1, &["leaf"], 0)]), [(1, 1)]);
    }

    #[test]
    fn a_job_of_another_version_is_passed_over() {
        let jobs = vec![Candidate { version: "v2".into(), ..job(1, "leaf", 7, 1) }];
        assert_eq!(pairs(jobs, &[waiting(1, &["leaf"], 0)]), []);
    }

    #[test]
    fn an_excluded_agent_that_waits_twice_does_not_get_the_job() {
        let first = waiting(1, &["leaf"], 0);
        let second = WaitingAgent {
            ticket: 2,
            tenant: first.tenant.clone(),
            id: first.id.clone(),
            ability: Arc::clone(&first.ability),
            last: None,
            since: first.since,
        };
        let jobs = vec![Candidate { excluded: vec!["agent-1".into()], ..job(1, "leaf", 7, 1) }];
        assert_eq!(pairs(jobs, &[first, Arc::new(second)]), []);
    }

    /// The agent as it comes back after a job of this type.
    fn after(matching: &mut Matching, agent: &Arc<WaitingAgent>, kind: &str) -> Arc<WaitingAgent> {
        let now = Instant::now();
        matching.asks(&agent.tenant, &agent.id, agent.ability.class, now);
        matching.granted(agent, lease(kind, 1), (kind.into(), "v1".into()), now);
        let last = matching.asks(&agent.tenant, &agent.id, agent.ability.class, now);
        Arc::new(WaitingAgent {
            ticket: agent.ticket,
            tenant: agent.tenant.clone(),
            id: agent.id.clone(),
            ability: Arc::clone(&agent.ability),
            last,
            since: now,
        })
    }

    #[test]
    fn among_equal_jobs_and_agents_the_one_with_the_key_gets_its_type() {
        let mut matching = Matching::default();
        let all = [waiting(1, &["leaf", "root"], 0), waiting(2, &["leaf", "root"], 0)];
        let all = [after(&mut matching, &all[0], "leaf"), after(&mut matching, &all[1], "root")];
        let jobs = || vec![job(1, "root", 7, 1), job(2, "leaf", 7, 1)];
        assert_eq!(decided(&mut matching, &[round(&all, jobs())]), [(1, 2), (2, 1)]);
        // A lone agent takes the job whose key it has, not the one that waits longer, unless that waits for very long.
        assert_eq!(decided(&mut matching, &[round(&all[..1], jobs())]), [(2, 1)]);
        let mut old = jobs();
        old[0].waited_seconds = 61.0;
        assert_eq!(decided(&mut matching, &[round(&all[..1], old)]), [(1, 1)]);
        // A higher rank goes before a key in memory.
        let jobs = vec![job(1, "root", 7, 2), job(2, "leaf", 7, 1)];
        assert_eq!(decided(&mut matching, &[round(&all[..1], jobs)]), [(1, 1)]);
    }

    #[test]
    fn no_agent_gets_a_job_of_another_tenant() {
        let [a, b] = ["a", "b"].map(|tenant| of_tenant(tenant, 1, &["leaf"], 0));
        let rounds =
            [round(&[a], vec![]), round(&[b], vec![job(1, "leaf", 7, 1), job(2, "leaf", 7, 1)])];
        let pairs = Matching::default().decide(&rounds, 0);
        assert_eq!(pairs.len(), 1);
        assert_eq!(pairs[0].1.tenant, Tenant("b".into()));
    }

    #[test]
    fn durations_are_those_from_grant_to_result_and_unknown_types_take_the_mean() {
        let (mut matching, start) = (Matching::default(), Instant::now());
        let agent = waiting(1, &["leaf"], 0);
        assert_eq!(matching.work(&agent.tenant, "leaf", "v1").0.p50, UNKNOWN_SECONDS);
        matching.asks(&agent.tenant, &agent.id, agent.ability.class, start);
        for seconds in 1..=100 {
            let lease = lease("leaf", seconds);
            matching.granted(&agent, lease.clone(), ("leaf".into(), "v1".into()), start);
            let end = start + Duration::from_secs(seconds);
            // Every other one waited a second at the agent before.
            let (worked, end) = match seconds % 2 {
                0 => (None, end),
                _ => (Some(seconds as f64), end + Duration::from_secs(1)),
            };
            matching.completed(&agent.tenant, &agent.id, &lease, worked, end);
            // A repeated completion counts once.
            matching.completed(&agent.tenant, &agent.id, &lease, Some(999.0), end);
        }
        let (work, is_measured) = matching.work(&agent.tenant, "leaf", "v1");
        assert_eq!((work.p50, work.p95, is_measured), (51.0, 96.0, true));
        let (other, is_measured) = matching.work(&agent.tenant, "root", "v1");
        assert_eq!((other.p50, is_measured), (51.0, false));
        // Another tenant's agents are other machines.
        let (foreign, is_measured) = matching.work(&Tenant("b".into()), "leaf", "v1");
        assert_eq!((foreign.p50, is_measured), (UNKNOWN_SECONDS, false));
    }

    #[test]
    fn an_agent_is_idle_since_its_last_job_and_forgotten_when_it_is_gone() {
        let (mut matching, start) = (Matching::default(), Instant::now());
        let live = Duration::from_secs(60);
        let agent = waiting(1, &["leaf"], 0);
        let at = |seconds| start + Duration::from_secs(seconds);
        matching.asks(&agent.tenant, &agent.id, agent.ability.class, start);
        matching.granted(&agent, lease("leaf", 1), ("leaf".into(), "v1".into()), at(5));
        matching.completed(&agent.tenant, &agent.id, &lease("leaf", 1), None, at(9));
        matching.asks(&agent.tenant, &agent.id, SizeClass::LARGEST, at(30));
        let idle = matching.idle(live, at(40));
        assert_eq!((idle[0].idle_seconds, idle[0].is_warm), (31.0, true));
        assert_eq!(idle[0].class, SizeClass::LARGEST, "as it said last");
        assert_eq!(matching.idle(live, at(91)), []);
    }
}
