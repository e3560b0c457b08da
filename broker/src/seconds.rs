//! Second leases: while agents wait in vain, those jobs of epochs at risk that run for longer than they should are given to
//! a second agent. The first result is taken; see [`crate::store::Store::second_claim`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rollmill_broker_client::AgentId;
use rollmill_broker_schedule::{self as schedule, Agent, Epoch, Job, Lease, Shares, View, Work};

use crate::background::{Task, within};
use crate::broker::Shared;
use crate::error::BrokerError;
use crate::matching::WaitingAgent;
use crate::store::{Running, Second, SecondsGiven, Tenant};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Most pairs of a job and an agent that are remembered as rejected.
const REJECTED_MAX: usize = 10_000;

/// A job and an agent that the database rejected for it: it is on the same device, for example.
type Rejected = HashSet<(i64, AgentId)>;

/// Gives second leases until shutdown, where the setting allows any.
pub(crate) async fn keep(shared: &Shared) {
    let mut task = Task::new("second leases");
    let mut rejected = Rejected::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shared.shutdown.started() => return,
        }
        let given = within(shared, give(shared, &mut rejected)).await;
        task.report(given, &shared.shutdown).await;
        if rejected.len() > REJECTED_MAX {
            rejected.clear();
        }
    }
}

async fn give(shared: &Shared, rejected: &mut Rejected) -> Result<(), BrokerError> {
    let (at_risk, live) = shared.at_risk();
    if at_risk.is_empty() {
        return Ok(());
    }
    let mut idle = shared.dispatcher.waiting_in_vain();
    idle.retain(|agent| !shared.drains.has(&agent.tenant, &agent.id));
    if idle.is_empty() {
        return Ok(());
    }
    let busy = shared.store.busy_agents().await?;
    // One that proves and asks for the next job meanwhile would let the second lease wait.
    idle.retain(|agent| !busy.contains(&(agent.tenant.clone(), agent.id.clone())));
    let running = shared.store.second_candidates(&at_risk).await?;
    let work = |tenant: &Tenant, kind: &str, version: &str| {
        let (work, is_measured) = shared.dispatcher.work(tenant, kind, version);
        is_measured.then_some(work)
    };
    let most = most(live, shared.second_leases_max_percent);
    let random = rand::Rng::r#gen(&mut rand::thread_rng());
    let pairs = choose(&running, &idle, rejected, work, most, random);
    if pairs.is_empty() {
        return Ok(());
    }
    let chosen: Vec<Second> = pairs
        .iter()
        .map(|(running, agent)| Second {
            seq: running.seq,
            agent: agent.id.clone(),
            lease_epoch: running.lease_epoch,
        })
        .collect();
    let SecondsGiven { granted, tried } = shared.store.second_claim(&chosen, most).await?;
    for (running, agent) in pairs.iter().take(tried) {
        if !granted.iter().any(|granted| granted.seq == running.seq) {
            rejected.insert((running.seq, agent.id.clone()));
        }
    }
    for granted in granted {
        let Some((running, agent)) = pairs.iter().find(|pair| pair.0.seq == granted.seq) else {
            continue;
        };
        let job = granted.grant.job.clone();
        if shared.dispatcher.give_second(&shared.store, agent, granted).await? {
            shared.metrics.second_leases_total.inc();
            let since_seconds = running.running_seconds;
            tracing::info!(%job, agent = %agent.id, since_seconds, "second lease granted");
        }
    }
    Ok(())
}

/// Second leases at a time: one even for a few agents.
fn most(live: u64, percent: u32) -> usize {
    let share = live.saturating_mul(u64::from(percent)) / 100;
    usize::try_from(share).unwrap_or(usize::MAX).max(1)
}

/// Running jobs with the agents that get second leases of them, as [`schedule::second_leases`] decides. Jobs of types whose
/// duration nobody measured are left out: nobody knows whether they take too long.
fn choose<'a>(
    running: &'a [Running],
    idle: &'a [Arc<WaitingAgent>],
    rejected: &Rejected,
    work: impl Fn(&Tenant, &str, &str) -> Option<Work>,
    most: usize,
    random: u64,
) -> Vec<(&'a Running, &'a Arc<WaitingAgent>)> {
    let mut names = Names::default();
    let mut works: Vec<Work> = Vec::new();
    let mut jobs: Vec<(&Running, usize, usize)> = Vec::new();
    for job in running.iter().filter(|job| !job.is_crowded) {
        let Some(known) = work(&job.tenant, &job.kind, &job.version) else { continue };
        let kind = names.kind((job.tenant.as_str(), job.kind.as_str(), job.version.as_str()));
        if kind == works.len() {
            works.push(known);
        }
        jobs.push((job, names.tenant(job.tenant.as_str()), kind));
    }
    let abilities: Vec<schedule::Ability> = idle.iter().map(|agent| names.ability(agent)).collect();
    let identities: Vec<u64> = idle.iter().map(|agent| names.identity(agent)).collect();
    let excluded: Vec<Vec<u64>> = jobs
        .iter()
        .map(|(job, ..)| {
            let is_out = |agent: &WaitingAgent| {
                agent.tenant == job.tenant
                    && (job.excluded.iter().any(|name| name == agent.id.as_str())
                        || rejected.contains(&(job.seq, agent.id.clone())))
            };
            let out = idle.iter().zip(&identities).filter(|(agent, _)| is_out(agent));
            out.map(|(_, identity)| *identity).collect()
        })
        .collect();
    let leases: Vec<Lease<'_>> = jobs
        .iter()
        .zip(&excluded)
        .map(|((job, tenant, kind), excluded)| {
            let holder = names.number(job.tenant.as_str(), job.holder.as_str());
            lease(job, (*tenant, *kind), excluded, holder)
        })
        .collect();
    let agents: Vec<Agent<'_>> = idle
        .iter()
        .zip(0..)
        .map(|(agent, place)| Agent {
            key: place,
            identity: identities[place as usize],
            device: identities[place as usize],
            ability: place as usize,
            speed: 1.0,
            resident: &[],
            since: agent.ticket as f64,
            is_draining: false,
        })
        .collect();
    let epochs: Vec<Epoch<'_>> = leases.iter().map(|lease| epoch(&lease.job)).collect();
    let view = View {
        tenants: &vec![schedule::Tenant::default(); names.tenants.len()],
        shares: &Shares::default(),
        works: &works,
        abilities: &abilities,
        agents: &agents,
        jobs: &[],
        leases: &leases,
        epochs: &epochs,
        live_agents: idle.len(),
        capacity: &[],
    };
    let pair = |grant: &schedule::Grant| {
        let (job, ..) = jobs.iter().find(|(job, ..)| job.seq == grant.job as i64)?;
        Some((*job, idle.get(usize::try_from(grant.agent).ok()?)?))
    };
    schedule::second_leases(&view, 0.0, most, random).iter().filter_map(pair).collect()
}

/// The lease of a running job, at the time 0.
fn lease<'a>(
    job: &Running,
    (tenant, work): (usize, usize),
    excluded: &'a [u64],
    holder: u64,
) -> Lease<'a> {
    Lease {
        job: Job {
            key: job.seq.unsigned_abs(),
            tenant,
            work,
            class: job.class,
            epoch: job.epoch,
            rank: job.rank,
            since: 0.0,
            excluded,
        },
        identity: holder,
        device: holder,
        speed: 1.0,
        started: -job.running_seconds,
        is_second: job.has_second,
    }
}

/// The epoch of a job, which is at risk.
fn epoch(job: &Job<'_>) -> Epoch<'static> {
    Epoch {
        tenant: job.tenant,
        number: job.epoch,
        is_stale: false,
        submit_by: None,
        window: 0.0,
        submission: 0.0,
        remaining: &[],
        longest_path: 0.0,
    }
}

/// Numbers for names, in the order in which they come.
#[derive(Default)]
struct Names<'a> {
    tenants: HashMap<&'a str, usize>,
    kinds: HashMap<(&'a str, &'a str, &'a str), usize>,
    agents: HashMap<(&'a str, &'a str), u64>,
}

impl<'a> Names<'a> {
    fn tenant(&mut self, name: &'a str) -> usize {
        let next = self.tenants.len();
        *self.tenants.entry(name).or_insert(next)
    }

    fn kind(&mut self, kind: (&'a str, &'a str, &'a str)) -> usize {
        let next = self.kinds.len();
        *self.kinds.entry(kind).or_insert(next)
    }

    fn number(&mut self, tenant: &'a str, agent: &'a str) -> u64 {
        let next = self.agents.len() as u64;
        *self.agents.entry((tenant, agent)).or_insert(next)
    }

    fn identity(&mut self, agent: &'a WaitingAgent) -> u64 {
        self.number(agent.tenant.as_str(), agent.id.as_str())
    }

    /// What an agent can do of the types that have a number.
    fn ability(&mut self, agent: &'a WaitingAgent) -> schedule::Ability {
        let tenant = agent.tenant.as_str();
        let kinds = agent.ability.capabilities.iter();
        let mut works: Vec<usize> = kinds
            .filter_map(|c| self.kinds.get(&(tenant, c.kind.as_str(), c.version.as_str())).copied())
            .collect();
        works.sort_unstable();
        works.dedup();
        let tenants = vec![self.tenant(tenant)];
        schedule::Ability { tenants, works, class: agent.ability.class }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rollmill_broker_client::{Capability, LeaseEpoch, SizeClass};

    use super::*;
    use crate::matching::Ability;

    fn agent(ticket: u64, id: &str, kind: &str) -> Arc<WaitingAgent> {
        let capabilities =
            vec![Capability { kind: kind.parse().unwrap(), version: "v1".parse().unwrap() }];
        Arc::new(WaitingAgent {
            ticket,
            tenant: Tenant::default(),
            id: id.parse().unwrap(),
            ability: Arc::new(Ability { capabilities, class: SizeClass::SMALLEST }),
            last: None,
            since: Instant::now(),
        })
    }

    fn running(seq: i64, holder: &str, running_seconds: f64) -> Running {
        Running {
            seq,
            tenant: Tenant::default(),
            kind: "leaf".into(),
            version: "v1".into(),
            class: SizeClass::SMALLEST,
            epoch: 7,
            rank: 1,
            lease_epoch: LeaseEpoch(1),
            holder: holder.parse().unwrap(),
            excluded: vec![],
            running_seconds,
            has_second: false,
            is_crowded: false,
        }
    }

    /// A leaf takes 10 s, and 20 s at most; nobody measured anything else.
    fn work(_: &Tenant, kind: &str, _: &str) -> Option<Work> {
        (kind == "leaf").then_some(Work { p50: 10.0, p95: 20.0, load: 1.0 })
    }

    fn chosen(
        running: &[Running],
        idle: &[Arc<WaitingAgent>],
        rejected: &Rejected,
        most: usize,
    ) -> Vec<(i64, String)> {
        let pairs = choose(running, idle, rejected, work, most, 0);
        pairs.into_iter().map(|(job, agent)| (job.seq, agent.id.to_string())).collect()
    }

    #[test]
    fn only_a_job_that_runs_too_long_gets_a_second_agent_and_another_one() {
        let idle = [agent(1, "a", "leaf"), agent(2, "b", "leaf"), agent(3, "c", "root")];
        let none = Rejected::new();
        let slow = running(1, "a", 30.0);
        assert_eq!(chosen(std::slice::from_ref(&slow), &idle, &none, 9), [(1, "b".to_owned())]);
        for (why, job) in [
            ("it may still be in time", running(1, "x", 20.5)),
            ("it has one", Running { has_second: true, ..slow.clone() }),
            ("others wait", Running { is_crowded: true, ..slow.clone() }),
            ("nobody knows how long it takes", Running { kind: "root".into(), ..slow.clone() }),
            ("nobody can do it", Running { class: SizeClass::LARGEST, ..slow.clone() }),
            ("it excludes the only one", Running { excluded: vec!["b".into()], ..slow.clone() }),
        ] {
            assert_eq!(chosen(&[job], &idle, &none, 9), [], "{why}");
        }
        let rejected = Rejected::from([(1, "b".parse().unwrap())]);
        assert_eq!(chosen(&[slow], &idle, &rejected, 9), [], "the database rejected it");
    }

    #[test]
    fn the_longest_overdue_of_equals_goes_first_and_their_number_is_bounded() {
        let idle = [agent(1, "a", "leaf"), agent(2, "b", "leaf")];
        let none = Rejected::new();
        let jobs = [running(1, "x", 30.0), running(2, "y", 40.0), running(3, "z", 35.0)];
        let all = chosen(&jobs, &idle, &none, 9);
        assert_eq!(all, [(2, "a".to_owned()), (3, "b".to_owned())]);
        assert_eq!(chosen(&jobs, &idle, &none, 1), [(2, "a".to_owned())]);
        let one_has = [Running { has_second: true, ..running(4, "x", 90.0) }, jobs[0].clone()];
        assert_eq!(chosen(&one_has, &idle, &none, 1), [], "one is there already");
        assert_eq!(chosen(&one_has, &idle, &none, 2), [(1, "a".to_owned())]);
        assert_eq!([most(5, 10), most(40, 10), most(40, 100), most(0, 1)], [1, 4, 40, 1]);
    }
}
