//! What is expected of epochs, and how many agents should be there. A pure function of the queue, of what agents
//! reported and of what jobs took; the formulas are those of [`rollmill_broker_schedule::forecast`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use rollmill_broker_client::{
    AgentId, AutoscaleResponse, ClassView, OutlookView, PoolView, SizeClass,
};
use rollmill_broker_schedule::Work;
use rollmill_broker_schedule::forecast::{self, ByClass, Load, Member};

use crate::ability::Ability;
use crate::aztec;
use crate::matching::IdleAgent;
use crate::store::{Backlog, Tenant};

/// From the last proof of an epoch to its acceptance on L1, in seconds.
const SUBMISSION_SECONDS: f64 = 60.0;
/// Most epochs of a tenant that are shown.
const EPOCHS_MAX: usize = 1_000;

/// What is expected of a tenant's epochs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outlook {
    pub(crate) epochs: Vec<OutlookView>,
    pub(crate) autoscale: AutoscaleResponse,
}

/// That of a tenant without jobs and agents.
impl Default for Outlook {
    fn default() -> Self {
        let classes = classes(&ByClass::new(), &ByClass::new(), &[]);
        let autoscale = AutoscaleResponse { classes, ..AutoscaleResponse::default() };
        Self { epochs: Vec::new(), autoscale }
    }
}

/// The agents that are there, as far as anybody knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present<'a> {
    pub(crate) agents: &'a [Ability<Tenant>],
    /// Those that ask here, also while they work.
    pub(crate) idle: &'a [IdleAgent],
    /// Those that hold a lease of any replica.
    pub(crate) busy: &'a HashSet<(Tenant, AgentId)>,
    /// For how long an agent counts that is not heard of.
    pub(crate) live: Duration,
}

/// The work that one set of agents can do: a version and a class.
type Pool<'a> = (&'a str, SizeClass);

/// Unfinished jobs of an epoch and a pool.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    jobs: u64,
    seconds: f64,
    rank: u32,
    path_seconds: f64,
    deadline: Option<f64>,
}

impl Share {
    fn add(&mut self, backlog: &Backlog, seconds: f64) {
        self.jobs += backlog.view.count;
        self.seconds += backlog.view.count as f64 * seconds;
        // The rank of an Aztec job is the place of its type in an order. What follows it is not known.
        let rank = if aztec::is_aztec(&backlog.view.version) { 1 } else { backlog.rank };
        self.rank = self.rank.max(rank);
        self.path_seconds = self.path_seconds.max(backlog.path_seconds.unwrap_or(0.0));
        let earlier = |a: f64| self.deadline.map_or(a, |b| a.min(b));
        self.deadline = backlog.deadline_seconds.map(earlier).or(self.deadline);
    }

    /// As producers measured it. Where they did not, a rank is a number of proofs that follow each other, and each takes
    /// the mean of the jobs that are there.
    fn longest_path(&self) -> f64 {
        let by_rank = match self.jobs {
            0 => 0.0,
            jobs => f64::from(self.rank) * self.seconds / jobs as f64,
        };
        by_rank.max(self.path_seconds)
    }
}

/// The outlook of each tenant with unfinished jobs or live agents. `work` returns what a job of a type and version takes a
/// tenant's agents, and whether that was measured.
pub(crate) fn outlooks(
    backlog: &[Backlog],
    present: &Present<'_>,
    work: impl Fn(&Tenant, &str, &str) -> (Work, bool),
) -> HashMap<Tenant, Outlook> {
    let live = present.live.as_secs_f64();
    let agents: Vec<&Ability<Tenant>> =
        present.agents.iter().filter(|agent| agent.seen_seconds <= live).collect();
    let mut tenants: BTreeSet<&str> = agents.iter().map(|agent| agent.tenant.0.as_str()).collect();
    tenants.extend(backlog.iter().map(|entry| entry.tenant.0.as_str()));
    let of_tenant = |name: &str| {
        let backlog: Vec<&Backlog> = backlog.iter().filter(|b| b.tenant.0 == name).collect();
        let agents: Vec<_> = agents.iter().copied().filter(|a| a.tenant.0 == name).collect();
        let is_idle = |agent: &&IdleAgent| {
            agent.tenant.0 == name
                && !present.busy.contains(&(agent.tenant.clone(), agent.id.clone()))
        };
        let idle: Vec<&IdleAgent> = present.idle.iter().filter(is_idle).collect();
        let pools = pools(&backlog, &agents, &work);
        let (mut wanted, mut there) = (ByClass::new(), ByClass::new());
        for pool in &pools {
            *wanted.entry(pool.class).or_default() += pool.wanted;
        }
        for agent in &agents {
            *there.entry(agent.class).or_default() += 1;
        }
        let removable = removable(&idle, &there, &wanted);
        let autoscale = AutoscaleResponse {
            wanted: wanted.values().sum(),
            live: agents.len() as u64,
            pools,
            classes: classes(&there, &wanted, &removable),
            removable: removable.into_iter().map(|agent| agent.id.clone()).collect(),
        };
        Outlook { epochs: epochs(&backlog, &agents, &work), autoscale }
    };
    tenants.into_iter().map(|name| (Tenant(name.to_owned()), of_tenant(name))).collect()
}

fn pools(
    backlog: &[&Backlog],
    agents: &[&Ability<Tenant>],
    work: &impl Fn(&Tenant, &str, &str) -> (Work, bool),
) -> Vec<PoolView> {
    let mut pools: BTreeMap<Pool<'_>, BTreeMap<u64, Share>> = BTreeMap::new();
    let mut kinds: BTreeMap<Pool<'_>, BTreeMap<&str, bool>> = BTreeMap::new();
    for entry in backlog {
        let pool = (entry.view.version.as_str(), entry.view.class);
        let (Work { p50, .. }, is_measured) =
            work(&entry.tenant, &entry.view.kind, &entry.view.version);
        pools.entry(pool).or_default().entry(entry.epoch).or_default().add(entry, p50);
        kinds.entry(pool).or_default().insert(&entry.view.kind, is_measured);
    }
    let view = |(pool, shares): (Pool<'_>, BTreeMap<u64, Share>)| {
        let kinds = &kinds[&pool];
        let (version, class) = pool;
        let loads: Vec<Load> = shares.values().map(load).collect();
        let names: Vec<String> = kinds.keys().map(|kind| format!("{kind}/{version}")).collect();
        let is_able = |agent: &&&Ability<Tenant>| {
            agent.class >= class && names.iter().all(|name| agent.capabilities.contains(name))
        };
        PoolView {
            version: version.to_owned(),
            class,
            kinds: kinds.keys().map(|kind| (*kind).to_owned()).collect(),
            jobs: loads.iter().map(|load| load.jobs).sum(),
            seconds: loads.iter().map(|load| load.seconds).sum(),
            measured: kinds.values().all(|is_measured| *is_measured),
            live: agents.iter().filter(is_able).count() as u64,
            wanted: forecast::agents_wanted(&loads, 0.0),
        }
    };
    pools.into_iter().map(view).collect()
}

fn load(share: &Share) -> Load {
    Load {
        jobs: share.jobs,
        seconds: share.seconds,
        longest_path: share.longest_path(),
        submit_by: share.deadline.map(|deadline| deadline - SUBMISSION_SECONDS),
    }
}

fn epochs(
    backlog: &[&Backlog],
    agents: &[&Ability<Tenant>],
    work: &impl Fn(&Tenant, &str, &str) -> (Work, bool),
) -> Vec<OutlookView> {
    let mut epochs: BTreeMap<u64, (Share, usize)> = BTreeMap::new();
    // Many epochs have the same types, and what agents can do is compared by text.
    let mut counts: HashMap<(&str, &str, SizeClass), usize> = HashMap::new();
    for entry in backlog {
        let (kind, version, class) =
            (entry.view.kind.as_str(), entry.view.version.as_str(), entry.view.class);
        let count = *counts.entry((kind, version, class)).or_insert_with(|| {
            let name = format!("{kind}/{version}");
            let is_able = |agent: &&&Ability<Tenant>| {
                agent.class >= class && agent.capabilities.contains(&name)
            };
            agents.iter().filter(is_able).count()
        });
        let (share, able) = epochs.entry(entry.epoch).or_insert((Share::default(), usize::MAX));
        share.add(entry, work(&entry.tenant, kind, version).0.p50);
        // The type that the fewest can do decides.
        *able = (*able).min(count);
    }
    // An epoch gets the agents after the older ones.
    let mut ahead = 0.0;
    let view = |(epoch, (share, able)): (u64, (Share, usize))| {
        ahead += share.seconds;
        let path = share.longest_path();
        let finish =
            (able > 0).then(|| forecast::finish(0.0, ahead, able as f64, path, SUBMISSION_SECONDS));
        let is_late =
            |by: f64| finish.is_none_or(|finish| forecast::is_late(finish, by, by.max(0.0)));
        OutlookView {
            epoch,
            jobs: share.jobs,
            finish_in_seconds: finish,
            deadline_in_seconds: share.deadline,
            at_risk: share.deadline.is_some_and(is_late),
        }
    };
    epochs.into_iter().map(view).take(EPOCHS_MAX).collect()
}

fn removable<'a>(idle: &[&'a IdleAgent], live: &ByClass, wanted: &ByClass) -> Vec<&'a IdleAgent> {
    let member = |key: usize, class, agent: Option<&IdleAgent>| Member {
        key: key as u64,
        class,
        speed: 1.0,
        resident: usize::from(agent.is_some_and(|agent| agent.is_warm)),
        idle_seconds: agent.map(|agent| agent.idle_seconds),
    };
    let asking = idle.iter().enumerate();
    let mut members: Vec<Member> =
        asking.map(|(place, &agent)| member(place, agent.class, Some(agent))).collect();
    // Those that did not ask here may be busy, or ask another replica.
    for (class, count) in live {
        let known = idle.iter().filter(|agent| agent.class == *class).count() as u64;
        for _ in known..*count {
            members.push(member(members.len(), *class, None));
        }
    }
    let keys = forecast::scale_in(&members, wanted).into_iter();
    keys.filter_map(|key| idle.get(usize::try_from(key).ok()?).copied()).collect()
}

/// Each class, also those without agents and jobs: an autoscaler reads its own.
fn classes(live: &ByClass, wanted: &ByClass, removable: &[&IdleAgent]) -> Vec<ClassView> {
    let of = |agents: &ByClass, class: SizeClass| agents.get(&class).copied().unwrap_or(0);
    let view = |class| ClassView {
        class,
        wanted: of(wanted, class),
        live: of(live, class),
        removable: removable
            .iter()
            .filter(|agent| agent.class == class)
            .map(|agent| agent.id.clone())
            .collect(),
    };
    SizeClass::LARGEST.holds().map(view).collect()
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::{JobState, QueueView};

    use super::*;

    const LIVE: Duration = Duration::from_secs(30);

    fn backlog(kind: &str, epoch: u64, count: u64, rank: u32, deadline: Option<f64>) -> Backlog {
        Backlog {
            tenant: Tenant::default(),
            epoch,
            rank,
            path_seconds: None,
            deadline_seconds: deadline,
            lease_seconds: None,
            view: QueueView {
                kind: kind.into(),
                version: "v1".into(),
                class: SizeClass::SMALLEST,
                state: JobState::Ready,
                count,
                oldest_seconds: 1.0,
            },
        }
    }

    fn agents(count: usize) -> Vec<Ability<Tenant>> {
        let agent = Ability {
            tenant: Tenant::default(),
            capabilities: vec!["leaf/v1".into(), "root/v1".into()],
            class: SizeClass::SMALLEST,
            seen_seconds: 1.0,
        };
        vec![agent; count]
    }

    /// A leaf takes 2 s and a root 4 s, which nobody measured.
    fn work(_: &Tenant, kind: &str, _: &str) -> (Work, bool) {
        let p50 = if kind == "leaf" { 2.0 } else { 4.0 };
        (Work { p50, p95: p50, load: 0.0 }, kind == "leaf")
    }

    fn outlook(backlog: &[Backlog], agents: &[Ability<Tenant>], idle: &[IdleAgent]) -> Outlook {
        outlook_beside(&[], backlog, agents, idle)
    }

    fn outlook_beside(
        busy: &[&str],
        backlog: &[Backlog],
        agents: &[Ability<Tenant>],
        idle: &[IdleAgent],
    ) -> Outlook {
        let busy = busy.iter().map(|id| (Tenant::default(), id.parse().unwrap())).collect();
        let present = Present { agents, idle, busy: &busy, live: LIVE };
        outlooks(backlog, &present, work).remove(&Tenant::default()).unwrap_or_default()
    }

    #[test]
    fn a_pool_wants_as_many_agents_as_the_deadline_asks_for() {
        let backlog = [backlog("leaf", 1, 100, 5, Some(170.0)), backlog("root", 1, 10, 1, None)];
        let Outlook { autoscale, epochs } = outlook(&backlog, &agents(4), &[]);
        // 240 s × 1.2 in 170 − 60 − 5 × 240 ÷ 110 s.
        assert_eq!((autoscale.wanted, autoscale.live), (3, 4));
        let pool = &autoscale.pools[0];
        assert_eq!((pool.jobs, pool.seconds, pool.live), (110, 240.0, 4));
        assert_eq!(
            (pool.kinds.clone(), pool.measured),
            (vec!["leaf".into(), "root".into()], false)
        );
        // 240 s on 4 agents, and 60 s for L1.
        assert_eq!(epochs[0].finish_in_seconds, Some(120.0));
        assert_eq!((epochs[0].deadline_in_seconds, epochs[0].at_risk), (Some(170.0), false));
    }

    /// A producer that measures says what a path takes: ten proofs of which each takes as long as the mean of what is there,
    /// or two slow ones, are not the same.
    #[test]
    fn a_path_that_was_measured_counts_instead_of_the_rank() {
        let mut leaves = backlog("leaf", 1, 10, 0, Some(170.0));
        leaves.path_seconds = Some(90.0);
        let epochs = outlook(std::slice::from_ref(&leaves), &agents(10), &[]).epochs;
        // 20 s on 10 agents, but a path of 90 s, and 60 s for L1.
        assert_eq!((epochs[0].finish_in_seconds, epochs[0].at_risk), (Some(150.0), false));
        let autoscale = outlook(std::slice::from_ref(&leaves), &agents(1), &[]).autoscale;
        // 20 s × 1.2 in 170 − 60 − 90 s.
        assert_eq!(autoscale.wanted, 2);
        // One of a release that sends ranks counts as before.
        let other = backlog("leaf", 1, 10, 50, None);
        let epochs = outlook(&[leaves, other], &agents(100), &[]).epochs;
        assert_eq!(epochs[0].finish_in_seconds, Some(160.0), "50 proofs of 2 s");
    }

    #[test]
    fn a_later_epoch_finishes_after_the_earlier_one_and_is_at_risk_for_it() {
        let backlog = [backlog("leaf", 1, 100, 1, None), backlog("leaf", 2, 10, 1, Some(120.0))];
        let epochs = outlook(&backlog, &agents(2), &[]).epochs;
        assert_eq!((epochs[0].finish_in_seconds, epochs[0].at_risk), (Some(160.0), false));
        assert_eq!((epochs[1].finish_in_seconds, epochs[1].at_risk), (Some(170.0), true));
    }

    #[test]
    fn an_epoch_that_nobody_can_finish_is_at_risk_only_if_it_has_a_deadline() {
        let mut silent = agents(1);
        silent[0].seen_seconds = 31.0;
        for (deadline, at_risk) in [(Some(1e6), true), (None, false)] {
            let epochs = outlook(&[backlog("leaf", 1, 1, 1, deadline)], &silent, &[]).epochs;
            assert_eq!((epochs[0].finish_in_seconds, epochs[0].at_risk), (None, at_risk));
        }
        let past = outlook(&[backlog("leaf", 1, 1, 1, Some(-5.0))], &agents(1), &[]).epochs;
        assert!(past[0].at_risk);
    }

    /// Aztec's programs send no deadlines. Each type has a version of its own, and its rank is its place in an order.
    #[test]
    fn jobs_of_aztec_count_without_a_deadline_and_their_rank_is_no_path() {
        let of = |number: u32, kind: &str, count, rank| {
            let mut backlog = backlog(kind, 7, count, rank, None);
            backlog.view.version = format!("aztec.{number}");
            backlog
        };
        let capabilities = vec!["leaf/aztec.16".into(), "root/aztec.15".into()];
        let agent = Ability { capabilities, ..agents(1).remove(0) };
        let all = [of(16, "leaf", 100, 1), of(15, "root", 1, 20)];
        let Outlook { autoscale, epochs } = outlook(&all, &vec![agent; 17], &[]);
        let pools: Vec<_> = autoscale.pools.iter().map(|pool| (pool.jobs, pool.wanted)).collect();
        assert_eq!(pools, [(1, 1), (100, 1)]);
        // 204 s on 17 agents, and 60 s for L1.
        let OutlookView { jobs, finish_in_seconds, at_risk, .. } = epochs[0];
        assert_eq!((jobs, finish_in_seconds, at_risk), (101, Some(72.0), false));
    }

    #[test]
    fn classes_and_versions_are_pools_of_their_own() {
        let mut large = backlog("leaf", 1, 1, 1, None);
        large.view.class = SizeClass::LARGEST;
        let mut other = backlog("leaf", 1, 1, 1, None);
        other.view.version = "v2".into();
        let all = [backlog("leaf", 1, 1, 1, None), large, other];
        let autoscale = outlook(&all, &agents(1), &[]).autoscale;
        let live: Vec<u64> = autoscale.pools.iter().map(|pool| pool.live).collect();
        assert_eq!((autoscale.wanted, live), (3, vec![1, 0, 0]));
    }

    /// A class is scaled by its own numbers: idle agents of another size do not stand in the way of it, nor do they go for it.
    #[test]
    fn each_class_has_its_wanted_live_and_removable_agents() {
        let mut large = backlog("leaf", 1, 5, 1, None);
        large.view.class = SizeClass::LARGEST;
        let mut there = agents(2);
        there[1].class = SizeClass::LARGEST;
        let idle = [(0, SizeClass::SMALLEST, 70.0), (1, SizeClass::LARGEST, 900.0)].map(
            |(number, class, idle_seconds)| IdleAgent {
                tenant: Tenant::default(),
                id: format!("agent-{number}").parse().unwrap(),
                class,
                idle_seconds,
                is_warm: false,
            },
        );
        let of = |all: &[Backlog]| {
            let classes = outlook(all, &there, &idle).autoscale.classes.into_iter();
            classes
                .map(|class| {
                    (class.class.number(), class.wanted, class.live, class.removable.len())
                })
                .collect::<Vec<_>>()
        };
        let none = [(1, 0, 0, 0), (2, 0, 0, 0)];
        assert_eq!(of(&[]), [(0, 0, 1, 1), none[0], none[1], (3, 0, 1, 1)]);
        assert_eq!(of(&[large]), [(0, 0, 1, 1), none[0], none[1], (3, 1, 1, 0)]);
        let small = backlog("leaf", 1, 5, 1, None);
        // The large one has been idle for longer, and either could do the job.
        assert_eq!(of(&[small]), [(0, 1, 1, 0), none[0], none[1], (3, 0, 1, 1)]);
    }

    #[test]
    fn agents_that_wait_without_a_job_may_go_while_the_wanted_stay() {
        let idle: Vec<IdleAgent> = [(1, 61.0, true), (2, 500.0, false), (3, 10.0, false)]
            .map(|(number, idle_seconds, is_warm)| IdleAgent {
                tenant: Tenant::default(),
                id: format!("agent-{number}").parse().unwrap(),
                class: SizeClass::SMALLEST,
                idle_seconds,
                is_warm,
            })
            .into();
        let names = |autoscale: AutoscaleResponse| {
            autoscale.removable.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>()
        };
        let without = outlook(&[], &agents(3), &idle).autoscale;
        assert_eq!((without.wanted, names(without)), (0, vec!["agent-2".into(), "agent-1".into()]));
        // One that fetches ahead asks while it proves what it holds.
        let busy = outlook_beside(&["agent-2"], &[], &agents(3), &idle).autoscale;
        assert_eq!(names(busy), ["agent-1"]);
        // 10 leaves of 2 s in 10 s want three.
        let with = outlook(&[backlog("leaf", 1, 10, 1, Some(72.0))], &agents(3), &idle).autoscale;
        assert_eq!((with.wanted, names(with)), (3, vec![]));
    }
}
