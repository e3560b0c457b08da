//! The overview, of what was counted and read: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use rollmill_broker_client::overview::device_of;
use rollmill_broker_client::{
    AgentOverview, AgentState, AgentsOverview, DeadLettersOverview, EpochOverview, HeadlineView,
    JobState, KindOverview, OutlookView, Overview, QueueOverview, QueueView, UnableView,
};

use super::headline::{Facts, headline};
use crate::autoscale::Outlook;
use crate::store::{EpochJobs, SeenAgent, SeenAgents};

/// Most entries of the queue and epochs that are shown.
const QUEUE_MAX: usize = 100;
const EPOCHS_MAX: usize = 64;
/// Characters of a text that an agent writes about itself.
const TEXT_MAX: usize = 100;
/// Types of an agent whose seconds are shown.
const TYPES_MAX: usize = 3;

/// What the broker counted last of a tenant's jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// When, in seconds since 1970; [`None`] before the first count.
    pub(crate) at: Option<f64>,
    pub(crate) queue: Vec<QueueView>,
    pub(crate) unable: Vec<UnableView>,
    pub(crate) outlook: Outlook,
}

/// What an overview is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources<'a> {
    /// Conditions of the process that do not hold.
    pub(super) failing: &'a [&'a str],
    pub(super) counted: &'a Counted,
    pub(super) jobs: &'a [EpochJobs],
    pub(super) agents: &'a SeenAgents,
    pub(super) dead_letters: &'a DeadLettersOverview,
    /// Price of an agent; 0 while it is not known.
    pub(super) cents_per_hour: u32,
}

impl Sources<'_> {
    fn headline(&self) -> HeadlineView {
        headline(&Facts {
            failing: self.failing,
            is_counted: self.counted.at.is_some(),
            epochs: &self.counted.outlook.epochs,
            unable: &self.counted.unable,
            autoscale: &self.counted.outlook.autoscale,
            queue: &self.counted.queue,
            unfinished: unfinished(self.jobs),
            live: self.agents.live,
            dead_letters: self.dead_letters.total,
            quarantined: self.agents.quarantined,
        })
    }

    /// The overview, with the number 0.
    pub(super) fn overview(&self) -> Overview {
        let Self { counted, jobs, agents, dead_letters, cents_per_hour, .. } = *self;
        let price = Some(cents_per_hour).filter(|cents| *cents > 0);
        Overview {
            number: 0,
            headline: self.headline(),
            epochs: epochs(counted, jobs, price),
            agents: AgentsOverview {
                total: agents.total,
                live: agents.live,
                silent: agents.silent,
                quarantined: agents.quarantined,
                wanted: counted.outlook.autoscale.wanted,
                cents_per_hour: price.map(|cents| agents.live.saturating_mul(u64::from(cents))),
                shown: shown(&agents.first),
            },
            queue: queue(counted),
            queue_entries: counted.queue.len() as u64,
            dead_letters: dead_letters.clone(),
        }
    }
}

/// The overview while the database does not answer: the last one under another headline.
pub(super) fn unavailable(last: Option<&Overview>) -> Overview {
    let (counted, agents) = (Counted::default(), SeenAgents::default());
    let empty = Sources {
        failing: &["database"],
        counted: &counted,
        jobs: &[],
        agents: &agents,
        dead_letters: &DeadLettersOverview::default(),
        cents_per_hour: 0,
    };
    let empty = empty.overview();
    match last {
        Some(last) => Overview { headline: empty.headline, ..last.clone() },
        None => empty,
    }
}

/// A time that was so many seconds after the count, in whole seconds since 1970.
///
/// Times are absolute, so that an overview in which nothing happened equals the one before.
fn after(counted: &Counted, seconds: f64) -> u64 {
    (counted.at.unwrap_or_default() + seconds).round() as u64
}

/// Jobs of a type in an epoch, as they are collected.
#[derive(Clone, Debug, Default)]
struct Kind {
    states: BTreeMap<String, u64>,
    rank: u64,
    /// What those that are done took.
    seconds: f64,
}

/// Jobs of open epochs that are not finished.
fn unfinished(jobs: &[EpochJobs]) -> u64 {
    let is_left =
        |entry: &&EpochJobs| entry.of.as_ref().is_some_and(|(_, state)| !state.is_final());
    jobs.iter().filter(is_left).map(|entry| entry.count).sum()
}

fn epochs(counted: &Counted, jobs: &[EpochJobs], price: Option<u32>) -> Vec<EpochOverview> {
    let outlooks = counted.outlook.epochs.iter().map(|outlook| (outlook.epoch, outlook));
    let outlooks: BTreeMap<u64, &OutlookView> = outlooks.collect();
    let mut open: BTreeMap<u64, BTreeMap<&str, Kind>> = BTreeMap::new();
    for entry in jobs {
        let kinds = open.entry(entry.epoch).or_default();
        if let Some((kind, state)) = &entry.of {
            let kind = kinds.entry(kind.as_str()).or_default();
            kind.states.insert(state.as_str().to_owned(), entry.count);
            kind.rank = kind.rank.max(entry.rank);
            if *state == JobState::Done {
                kind.seconds += entry.seconds;
            }
        }
    }
    let numbers: BTreeSet<u64> = outlooks.keys().chain(open.keys()).copied().collect();
    let view = |epoch: u64| {
        let (outlook, kinds) = (outlooks.get(&epoch), open.get(&epoch));
        let of = |wanted: fn(&str) -> bool| -> u64 {
            let states = kinds.into_iter().flatten().flat_map(|(_, kind)| &kind.states);
            states.filter(|(state, _)| wanted(state)).map(|(_, count)| count).sum()
        };
        let done = of(|state| state == JobState::Done.as_str());
        let all = of(|state| state != JobState::Cancelled.as_str());
        let left =
            of(|state| JobState::ALL.iter().any(|one| one.as_str() == state && !one.is_final()));
        let seconds: f64 = kinds.into_iter().flatten().map(|(_, kind)| kind.seconds).sum();
        let cost = |cents: u32| (seconds * f64::from(cents) / 3_600.0).round() as u64;
        EpochOverview {
            epoch,
            deadline_unix_seconds: outlook
                .and_then(|outlook| outlook.deadline_in_seconds)
                .map(|seconds| after(counted, seconds)),
            finish_unix_seconds: outlook
                .and_then(|outlook| outlook.finish_in_seconds)
                .map(|seconds| after(counted, seconds)),
            at_risk: outlook.is_some_and(|outlook| outlook.at_risk),
            // The listing is newer than the outlook, which knows more than the listing's epochs.
            unfinished: outlook.map_or(0, |outlook| outlook.jobs).max(left),
            done,
            coverage_percent: u32::try_from(done * 100 / all.max(1)).ok().filter(|_| all > 0),
            agent_seconds: seconds.round() as u64,
            cost_cents: price.map(cost),
            kinds: kinds.map(by_rank).unwrap_or_default(),
        }
    };
    numbers.into_iter().take(EPOCHS_MAX).map(view).collect()
}

/// The types of an epoch, from the leaves to the root.
fn by_rank(kinds: &BTreeMap<&str, Kind>) -> Vec<KindOverview> {
    let mut kinds: Vec<(&&str, &Kind)> = kinds.iter().collect();
    kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.rank));
    let view = |(name, kind): (&&str, &Kind)| KindOverview {
        kind: (*name).to_owned(),
        states: kind.states.clone(),
    };
    kinds.into_iter().map(view).collect()
}

fn queue(counted: &Counted) -> Vec<QueueOverview> {
    let entry = |view: &QueueView| {
        let waits = matches!(view.state, JobState::Ready | JobState::Delayed);
        let is_same = |unable: &UnableView| {
            (&unable.kind, &unable.version, unable.class) == (&view.kind, &view.version, view.class)
        };
        QueueOverview {
            kind: view.kind.clone(),
            version: view.version.clone(),
            class: view.class,
            state: view.state,
            jobs: view.count,
            oldest_unix_seconds: after(counted, -view.oldest_seconds),
            unable: waits && counted.unable.iter().any(is_same),
        }
    };
    let mut queue: Vec<QueueOverview> = counted.queue.iter().map(entry).collect();
    queue.sort_by_key(|entry| (!entry.unable, entry.oldest_unix_seconds));
    queue.truncate(QUEUE_MAX);
    queue
}

/// The agents, with their speeds beside each other.
fn shown(agents: &[SeenAgent]) -> Vec<AgentOverview> {
    let measured: Vec<BTreeMap<String, f64>> = agents.iter().map(seconds).collect();
    let mut by_kind: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (kind, seconds) in measured.iter().flatten() {
        by_kind.entry(kind).or_default().push(*seconds);
    }
    for samples in by_kind.values_mut() {
        samples.sort_by(f64::total_cmp);
    }
    // Half of the agents are at most as fast.
    let median = |kind: &str| by_kind.get(kind).map(|samples| samples[samples.len() / 2]);
    let speed = |measured: &BTreeMap<String, f64>| {
        let ratio = |(kind, seconds): (&String, &f64)| Some(median(kind)? / seconds);
        let ratios: Vec<f64> = measured.iter().filter_map(ratio).collect();
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        mean.is_finite().then(|| (mean * 100.0).round() / 100.0)
    };
    agents
        .iter()
        .zip(&measured)
        .map(|(agent, measured)| view(agent, measured, speed(measured)))
        .collect()
}

fn view(agent: &SeenAgent, measured: &BTreeMap<String, f64>, speed: Option<f64>) -> AgentOverview {
    let mut slowest: Vec<(&String, &f64)> = measured.iter().collect();
    slowest.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let slowest = slowest.into_iter().take(TYPES_MAX);
    let software = agent.info["software"].as_str().unwrap_or_default();
    AgentOverview {
        agent: agent.id.clone(),
        state: state(agent),
        last_seen_unix_seconds: (!agent.is_live).then_some(agent.seen_unix_seconds),
        leases: agent.leases,
        rejected: agent.rejected,
        device: cut(&device_of(&agent.info).unwrap_or_default()),
        software: cut(software),
        speed,
        seconds: slowest.map(|(kind, seconds)| (cut(kind), *seconds)).collect(),
    }
}

fn state(agent: &SeenAgent) -> AgentState {
    match agent {
        SeenAgent { is_quarantined: true, .. } => AgentState::Quarantined,
        SeenAgent { is_gone: true, .. } => AgentState::Gone,
        SeenAgent { is_live: false, .. } => AgentState::Silent,
        SeenAgent { rejected: 1.., .. } => AgentState::Suspect,
        SeenAgent { is_draining: true, .. } => AgentState::Draining,
        SeenAgent { leases: 0, .. } => AgentState::Idle,
        _ => AgentState::Working,
    }
}

/// What an agent says that a job of each type takes it.
fn seconds(agent: &SeenAgent) -> BTreeMap<String, f64> {
    let measured = agent.info["seconds"].as_object().into_iter().flatten();
    let valid = |seconds: &f64| seconds.is_finite() && *seconds > 0.0;
    measured
        .filter_map(|(kind, seconds)| Some((kind.clone(), seconds.as_f64().filter(valid)?)))
        .collect()
}

/// A text that somebody else wrote, short and on one line.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::{AutoscaleResponse, Severity, SizeClass};
    use serde_json::json;

    use super::*;

    fn queued(kind: &str, state: JobState, count: u64, oldest_seconds: f64) -> QueueView {
        QueueView {
            kind: kind.into(),
            version: "v1".into(),
            class: SizeClass::SMALLEST,
            state,
            count,
            oldest_seconds,
        }
    }

    fn outlook(epoch: u64, finish: Option<f64>, deadline: Option<f64>) -> OutlookView {
        OutlookView {
            epoch,
            jobs: 5,
            finish_in_seconds: finish,
            deadline_in_seconds: deadline,
            at_risk: false,
        }
    }

    fn counted() -> Counted {
        Counted {
            at: Some(1_000.2),
            queue: vec![
                queued("leaf", JobState::Ready, 3, 10.0),
                queued("leaf", JobState::Leased, 1, 90.0),
                queued("root", JobState::Ready, 1, 5.0),
            ],
            unable: vec![UnableView {
                kind: "root".into(),
                version: "v1".into(),
                class: SizeClass::SMALLEST,
                jobs: 1,
                since_seconds: 12.0,
            }],
            outlook: Outlook {
                epochs: vec![outlook(7, Some(100.0), Some(300.0)), outlook(99, None, None)],
                autoscale: AutoscaleResponse { wanted: 3, live: 2, ..Default::default() },
            },
        }
    }

    fn jobs(epoch: u64, of: Option<(&str, JobState)>, count: u64) -> EpochJobs {
        let of = of.map(|(kind, state)| (kind.to_owned(), state));
        EpochJobs { epoch, of, count, rank: 0, seconds: 0.0 }
    }

    fn agent(name: &str) -> SeenAgent {
        SeenAgent {
            id: name.parse().unwrap(),
            info: json!({}),
            rejected: 0,
            leases: 0,
            is_quarantined: false,
            is_draining: false,
            is_live: true,
            is_gone: false,
            seen_unix_seconds: 990,
        }
    }

    fn overview(counted: &Counted, jobs: &[EpochJobs], agents: Vec<SeenAgent>) -> Overview {
        let agents = SeenAgents { total: 200, live: 2, first: agents, ..SeenAgents::default() };
        let dead_letters = &DeadLettersOverview::default();
        let cents_per_hour = 0;
        Sources { failing: &[], counted, jobs, agents: &agents, dead_letters, cents_per_hour }
            .overview()
    }

    #[test]
    fn an_epoch_costs_what_its_done_jobs_took_and_its_types_go_from_the_leaves_to_the_root() {
        let of = |kind: &str, state, rank, seconds| EpochJobs {
            rank,
            seconds,
            ..jobs(7, Some((kind, state)), 1)
        };
        let jobs = [
            of("a_root", JobState::Ready, 1, 0.0),
            of("leaf", JobState::Done, 3, 1_800.0),
            of("leaf", JobState::Ready, 3, 0.0),
            of("middle", JobState::Done, 2, 300.4),
            // Its result was lost: it will be paid for once more.
            of("middle", JobState::Leased, 2, 9_999.0),
        ];
        let (agents, dead_letters) =
            (SeenAgents { live: 4, ..SeenAgents::default() }, DeadLettersOverview::default());
        let of_price = |cents_per_hour| {
            Sources {
                failing: &[],
                counted: &counted(),
                jobs: &jobs,
                agents: &agents,
                dead_letters: &dead_letters,
                cents_per_hour,
            }
            .overview()
        };
        let overview = of_price(120);
        let epoch = &overview.epochs[0];
        let kinds: Vec<&str> = epoch.kinds.iter().map(|kind| kind.kind.as_str()).collect();
        assert_eq!(kinds, ["leaf", "middle", "a_root"]);
        assert_eq!((epoch.agent_seconds, epoch.cost_cents), (2_100, Some(70)));
        assert_eq!(overview.agents.cents_per_hour, Some(480));
        let unknown = of_price(0);
        assert_eq!((unknown.epochs[0].cost_cents, unknown.agents.cents_per_hour), (None, None));
        assert_eq!(unknown.epochs[0].agent_seconds, 2_100);
    }

    #[test]
    fn epochs_are_those_that_are_open_and_those_with_work() {
        let jobs = [
            jobs(7, Some(("leaf", JobState::Done)), 2),
            jobs(7, Some(("leaf", JobState::Ready)), 3),
            jobs(7, Some(("leaf", JobState::Cancelled)), 50),
            jobs(7, Some(("root", JobState::Dead)), 1),
            jobs(8, None, 0),
            jobs(9, Some(("leaf", JobState::Done)), 4),
        ];
        let epochs = overview(&counted(), &jobs, vec![]).epochs;
        let numbers: Vec<u64> = epochs.iter().map(|epoch| epoch.epoch).collect();
        assert_eq!(numbers, [7, 8, 9, 99]);
        let times = |at: usize| (epochs[at].finish_unix_seconds, epochs[at].deadline_unix_seconds);
        assert_eq!(
            [times(0), times(1), times(3)],
            [(Some(1_100), Some(1_300)), (None, None), (None, None)]
        );
        // Two of six, since cancelled jobs do not count and dead ones do.
        let coverage: Vec<Option<u32>> =
            epochs.iter().map(|epoch| epoch.coverage_percent).collect();
        assert_eq!(coverage, [Some(33), None, Some(100), None]);
        assert_eq!((epochs[0].done, epochs[0].unfinished, epochs[2].unfinished), (2, 5, 0));
        assert_eq!(epochs[0].kinds[1].states, BTreeMap::from([("dead".to_owned(), 1)]));
        assert_eq!(epochs[0].kinds[0].states.len(), 3);
    }

    #[test]
    fn what_nobody_can_do_leads_the_queue_and_then_the_oldest() {
        let overview = overview(&counted(), &[], vec![]);
        let queue: Vec<(&str, JobState, u64, bool)> = overview
            .queue
            .iter()
            .map(|entry| {
                (entry.kind.as_str(), entry.state, entry.oldest_unix_seconds, entry.unable)
            })
            .collect();
        assert_eq!(
            queue,
            [
                ("root", JobState::Ready, 995, true),
                ("leaf", JobState::Leased, 910, false),
                ("leaf", JobState::Ready, 990, false),
            ]
        );
        assert_eq!((overview.queue_entries, overview.agents.wanted), (3, 3));
    }

    #[test]
    fn lists_are_cut_and_say_how_many_there_are() {
        let mut counted = counted();
        counted.queue =
            (0..150).map(|n| queued(&format!("k{n}"), JobState::Ready, 1, 1.0)).collect();
        counted.outlook.epochs = (0..150).map(|n| outlook(n, None, None)).collect();
        let overview = overview(&counted, &[], vec![]);
        assert_eq!((overview.queue.len(), overview.queue_entries), (QUEUE_MAX, 150));
        assert_eq!(overview.epochs.len(), EPOCHS_MAX);
    }

    #[test]
    fn the_state_of_an_agent_is_its_worst() {
        for (agent, wanted) in [
            (
                SeenAgent { is_quarantined: true, is_live: false, rejected: 3, ..agent("a") },
                "quarantined",
            ),
            (SeenAgent { is_live: false, is_gone: true, ..agent("a") }, "gone"),
            (SeenAgent { is_live: false, rejected: 1, ..agent("a") }, "silent"),
            (SeenAgent { rejected: 1, leases: 1, is_draining: true, ..agent("a") }, "suspect"),
            (SeenAgent { leases: 1, is_draining: true, ..agent("a") }, "draining"),
            (SeenAgent { leases: 1, ..agent("a") }, "working"),
            (agent("a"), "idle"),
        ] {
            assert_eq!(state(&agent).as_str(), wanted);
            let shown = &shown(std::slice::from_ref(&agent))[0];
            assert_eq!(shown.last_seen_unix_seconds.is_none(), agent.is_live);
        }
    }

    #[test]
    fn speed_is_that_beside_the_median_and_what_agents_write_is_cut() {
        let with = |name: &str, info| SeenAgent { info, ..agent(name) };
        let agents = vec![
            with("a", json!({"seconds": {"leaf": 1.0, "root": 4.0}})),
            with("b", json!({"seconds": {"leaf": 2.0, "root": 8.0, "bad": -1.0, "text": "x"}})),
            with("c", json!({"seconds": {"leaf": 4.0}, "software": "x".repeat(500)})),
            with("d", json!({"device": {"name": format!("<b>\u{1b}{}", "y".repeat(500))}})),
            with("e", json!(null)),
            with("f", json!({"seconds": {"a": 1, "b": 2, "c": 3, "d": 4}})),
        ];
        let shown = overview(&counted(), &[], agents).agents.shown;
        let speeds: Vec<Option<f64>> = shown.iter().map(|agent| agent.speed).collect();
        assert_eq!(speeds, [Some(2.0), Some(1.0), Some(0.5), None, None, Some(1.0)]);
        assert_eq!(shown[1].seconds, BTreeMap::from([("leaf".into(), 2.0), ("root".into(), 8.0)]));
        assert_eq!(shown[5].seconds.keys().cloned().collect::<String>(), "bcd");
        assert_eq!(shown[2].software.len(), TEXT_MAX);
        assert!(shown[3].device.starts_with("<b>y") && shown[3].device.len() == TEXT_MAX);
    }

    #[test]
    fn without_the_database_the_last_overview_stays_under_another_headline() {
        let last = overview(&counted(), &[], vec![agent("a")]);
        let now = unavailable(Some(&last));
        assert_eq!(now.headline.severity, Severity::Trouble);
        assert!(now.headline.text.contains("database"), "{}", now.headline.text);
        assert_eq!(Overview { headline: last.headline.clone(), ..now.clone() }, last);
        assert_eq!(unavailable(None).headline, now.headline);
    }
}
