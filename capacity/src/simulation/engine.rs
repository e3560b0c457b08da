//! The event queue and what each event does.

use std::cmp::{Ordering, Reverse};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use rollmill_broker_client::{FailureClass, SizeClass};
use rollmill_broker_schedule::policy::{self, Failure, Next};
use rollmill_broker_schedule::{Ability, Shares};

use super::graph::{Graph, NONE};
use super::machines::{Agent, Chance, End, Task};
use super::{Outcome, Setup};

/// Pause between two rounds that also look at leases and deadlines.
const LOOK: f64 = 1.0;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    /// A job can be granted.
    Ready(u32),
    Round,
    Look,
    /// An agent's task ends.
    End {
        agent: usize,
        turn: u32,
    },
    /// A result is with the broker.
    Handed {
        job: u32,
        agent: usize,
        is_right: bool,
        seconds: f64,
        is_second: bool,
    },
    /// The producer has verified a result.
    Verified {
        job: u32,
        agent: usize,
        is_right: bool,
        seconds: f64,
    },
    /// A lease runs out.
    Expired {
        job: u32,
        agent: usize,
        turn: u32,
    },
    /// An agent learns that its work is not needed.
    Cancelled {
        agent: usize,
        turn: u32,
    },
    Crash {
        agent: usize,
        life: u64,
    },
    Reclaim {
        agent: usize,
        life: u64,
    },
    Replaced {
        agent: usize,
    },
}

/// An event and its time; the earliest is the greatest, as the heap wants it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Due {
    at: f64,
    number: u64,
    event: Event,
}

impl Eq for Due {}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Done,
    Dead,
}

/// A job as it is now.
#[derive(Clone, Debug)]
pub(super) struct Job {
    state: State,
    children: u8,
    pub(super) class: SizeClass,
    /// Its place in the queue while it is ready.
    queued: Option<u64>,
    /// Since when it is ready, or was the last time.
    pub(super) since: f64,
}

/// What few jobs have.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub(super) excluded: Vec<u64>,
    failures: Vec<(FailureClass, u32)>,
}

/// A lease: agent, its turn, start, whether it is the second of its job.
pub(super) type Held = (usize, u32, f64, bool);
/// Where a job stands in the queue of its circuit and class.
pub(super) type Place = (u32, Reverse<u32>, u64);

pub(super) struct Engine<'a> {
    pub(super) setup: &'a Setup,
    pub(super) graph: Graph,
    chance: Chance,
    pub(super) now: f64,
    due: BinaryHeap<Due>,
    pub(super) jobs: Vec<Job>,
    pub(super) trouble: BTreeMap<u32, Trouble>,
    pub(super) queues: BTreeMap<(u8, SizeClass), BTreeSet<Place>>,
    pub(super) leases: BTreeMap<u32, Vec<Held>>,
    pub(super) agents: Vec<Agent>,
    lives: Vec<u64>,
    pub(super) idle: BTreeSet<usize>,
    pub(super) abilities: Vec<Ability>,
    pub(super) shares: Shares,
    pub(super) epochs: Vec<EpochState>,
    last_round: f64,
    has_round: bool,
    looks: bool,
    pub(super) outcome: Outcome,
    numbers: u64,
}

/// What remains of an epoch.
#[derive(Debug, Default)]
pub(super) struct EpochState {
    /// Jobs that are not done, by circuit and by rank.
    pub(super) by_work: Vec<u64>,
    pub(super) by_rank: BTreeMap<u32, u64>,
    pub(super) accepted: Option<f64>,
    pub(super) is_lost: bool,
}

/// Runs a cluster until every epoch is accepted or lost.
pub fn run(setup: &Setup) -> Outcome {
    let mut engine = Engine::new(setup);
    engine.start();
    while let Some(Due { at, event, .. }) = engine.due.pop() {
        if at > setup.limit || engine.is_over() {
            break;
        }
        engine.now = at;
        engine.outcome.events += 1;
        engine.handle(event);
    }
    engine.finish()
}

impl<'a> Engine<'a> {
    fn new(setup: &'a Setup) -> Self {
        let graph = Graph::new(setup);
        let mut epochs: Vec<EpochState> = (0..setup.epochs.len())
            .map(|_| EpochState { by_work: vec![0; setup.works.len()], ..EpochState::default() })
            .collect();
        for node in &graph.nodes {
            let epoch = &mut epochs[node.epoch as usize];
            epoch.by_work[usize::from(node.work)] += 1;
            *epoch.by_rank.entry(node.rank).or_default() += 1;
        }
        let job = |node: &super::graph::Node| Job {
            state: State::Open,
            children: node.children,
            class: SizeClass::SMALLEST,
            queued: None,
            since: 0.0,
        };
        let abilities = SizeClass::LARGEST
            .holds()
            .map(|class| Ability {
                tenants: vec![0],
                works: (0..setup.works.len()).collect(),
                class,
            })
            .collect();
        Self {
            setup,
            jobs: graph.nodes.iter().map(job).collect(),
            graph,
            chance: Chance::new(setup.seed),
            now: 0.0,
            due: BinaryHeap::new(),
            trouble: BTreeMap::new(),
            queues: BTreeMap::new(),
            leases: BTreeMap::new(),
            agents: setup.machines.iter().copied().map(Agent::new).collect(),
            lives: vec![0; setup.machines.len()],
            idle: (0..setup.machines.len()).collect(),
            abilities,
            shares: Shares::default(),
            epochs,
            last_round: f64::NEG_INFINITY,
            has_round: false,
            looks: false,
            outcome: Outcome::default(),
            numbers: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn at(&mut self, at: f64, event: Event) {
        let number = self.number();
        self.due.push(Due { at, number, event });
    }

    fn after(&mut self, seconds: f64, event: Event) {
        self.at(self.now + seconds, event);
    }

    /// A request whose effect a lane writes.
    fn written(&self) -> f64 {
        self.setup.delays.request + self.setup.delays.flush
    }

    fn start(&mut self) {
        for job in 0..self.jobs.len() {
            if self.jobs[job].children == 0 {
                let lands = self.graph.nodes[job].lands;
                self.at(lands + self.written(), Event::Ready(job as u32));
            }
        }
        for agent in 0..self.agents.len() {
            self.live(agent);
        }
        self.at(LOOK, Event::Look);
    }

    /// An agent is there from now on.
    fn live(&mut self, agent: usize) {
        self.lives[agent] += 1;
        let life = self.lives[agent];
        let machine = self.agents[agent].machine;
        if let Some(mean) = machine.mtbf {
            let after = self.chance.after(mean);
            self.after(after, Event::Crash { agent, life });
        }
        if let Some(mean) = machine.reclaimed_after {
            let after = self.chance.after(mean);
            self.after(after, Event::Reclaim { agent, life });
        }
    }

    fn is_over(&self) -> bool {
        self.epochs.iter().all(|epoch| epoch.accepted.is_some() || epoch.is_lost)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Ready(job) => self.ready(job),
            Event::Round => self.round(),
            Event::Look => {
                self.looks = true;
                self.want_round();
                self.after(LOOK, Event::Look);
            }
            Event::End { agent, turn } => self.end(agent, turn),
            Event::Handed { job, agent, is_right, seconds, is_second } => {
                self.handed(job, agent, is_right, seconds, is_second);
            }
            Event::Verified { job, agent, is_right, seconds } => {
                self.verified(job, agent, is_right, seconds);
            }
            Event::Expired { job, agent, turn } => {
                if self.drop_lease(job, agent, turn) {
                    self.failed(job, agent, FailureClass::AgentDied);
                }
            }
            Event::Cancelled { agent, turn } => {
                if self.agents[agent].turn == turn {
                    self.abandon(agent);
                    self.becomes_idle(agent);
                }
            }
            Event::Crash { agent, life } if self.lives[agent] == life => self.crash(agent),
            Event::Reclaim { agent, life } if self.lives[agent] == life => self.reclaim(agent),
            Event::Crash { .. } | Event::Reclaim { .. } => {}
            Event::Replaced { agent } => {
                self.agents[agent].is_live = true;
                self.agents[agent].live_since = self.now;
                self.live(agent);
                self.becomes_idle(agent);
            }
        }
    }

    fn ready(&mut self, job: u32) {
        let node = self.graph.nodes[job as usize];
        let is_wanted = !self.epochs[node.epoch as usize].is_lost;
        if !is_wanted
            || self.jobs[job as usize].state != State::Open
            || self.leases.contains_key(&job)
        {
            return;
        }
        // Both in one number: which job, and that it became ready after those before it.
        let key = self.number() << 32 | u64::from(job);
        let state = &mut self.jobs[job as usize];
        if state.queued.is_none() {
            (state.queued, state.since) = (Some(key), self.now);
            let queue = self.queues.entry((node.work, state.class)).or_default();
            queue.insert((node.epoch, Reverse(node.rank), key));
            self.want_round();
        }
    }

    fn becomes_idle(&mut self, agent: usize) {
        self.agents[agent].idle_since = Some(self.now);
        self.idle.insert(agent);
        self.want_round();
    }

    fn want_round(&mut self) {
        if !self.has_round {
            self.has_round = true;
            let at = self.now.max(self.last_round + self.setup.delays.round);
            self.at(at, Event::Round);
        }
    }

    fn round(&mut self) {
        self.has_round = false;
        self.last_round = self.now;
        let looks = std::mem::take(&mut self.looks);
        let has_jobs = self.queues.values().any(|queue| !queue.is_empty());
        if !looks && (self.idle.is_empty() || !has_jobs) {
            return;
        }
        self.outcome.rounds += 1;
        let random = self.chance.number();
        let decisions = self.decide(looks, random);
        for epoch in &decisions.cancelled_epochs {
            self.lose(*epoch);
        }
        for grant in &decisions.grants {
            let job = (grant.job & u64::from(u32::MAX)) as u32;
            self.dequeue(job);
            self.begin(grant.agent as usize, job, false);
        }
        for grant in &decisions.second_leases {
            self.outcome.second_leases += 1;
            self.begin(grant.agent as usize, grant.job as u32, true);
        }
        self.shares = decisions.shares;
    }

    fn dequeue(&mut self, job: u32) {
        let node = self.graph.nodes[job as usize];
        let state = &mut self.jobs[job as usize];
        if let Some(key) = state.queued.take()
            && let Some(queue) = self.queues.get_mut(&(node.work, state.class))
        {
            queue.remove(&(node.epoch, Reverse(node.rank), key));
        }
    }

    fn begin(&mut self, agent: usize, job: u32, is_second: bool) {
        let work = usize::from(self.graph.nodes[job as usize].work);
        let what = self.setup.works[work];
        let end = self.chance.end(&self.setup.faults);
        let proving = self.chance.duration(&what, &self.setup.faults);
        let part = if end == End::Failure { self.chance.unit() } else { 1.0 };
        let state = &mut self.agents[agent];
        let loading = if state.uses(work, self.setup.resident_keys) { what.load } else { 0.0 };
        state.turn += 1;
        state.idle_since = None;
        let turn = state.turn;
        // The claim's commit, its answer and the fetch of the input.
        let started = self.now + self.setup.delays.flush + 2.0 * self.setup.delays.request;
        state.task = Some(Task { job, started, loading, end, is_second });
        let seconds = part * (loading + proving / state.machine.speed);
        self.idle.remove(&agent);
        self.outcome.attempts += 1;
        self.leases.entry(job).or_default().push((agent, turn, self.now, is_second));
        self.at(started + seconds, Event::End { agent, turn });
    }

    fn end(&mut self, agent: usize, turn: u32) {
        if self.agents[agent].turn != turn {
            return;
        }
        let Some(task) = self.agents[agent].task.take() else { return };
        let (written, job) = (self.written(), task.job);
        self.agents[agent].turn += 1;
        let all = self.now - task.started;
        // One that fails early fails while it loads.
        let loading = all.min(task.loading);
        self.outcome.loading_seconds += loading;
        let seconds = all - loading;
        match task.end {
            End::Failure => {
                self.outcome.wasted_seconds += seconds;
                if self.drop_lease(job, agent, turn) {
                    self.failed(job, agent, FailureClass::Transient);
                }
            }
            End::Proof | End::WrongProof => {
                let is_right = task.end == End::Proof;
                let is_second = task.is_second;
                let handed = Event::Handed { job, agent, is_right, seconds, is_second };
                // The upload, then the completion.
                self.after(self.setup.delays.request + written, handed);
            }
        }
        self.becomes_idle(agent);
    }

    fn handed(&mut self, job: u32, agent: usize, is_right: bool, seconds: f64, is_second: bool) {
        let is_lost = self.epochs[self.graph.nodes[job as usize].epoch as usize].is_lost;
        if self.jobs[job as usize].state != State::Open || is_lost {
            self.outcome.wasted_seconds += seconds;
            return;
        }
        self.jobs[job as usize].state = State::Done;
        self.dequeue(job);
        self.outcome.second_leases_won += u64::from(is_second);
        for (other, turn, _, _) in self.leases.remove(&job).unwrap_or_default() {
            if other != agent {
                // It learns of it with its next heartbeat.
                let beat = self.chance.unit();
                self.after(beat, Event::Cancelled { agent: other, turn });
            }
        }
        let delays = self.setup.delays;
        let verified = Event::Verified { job, agent, is_right, seconds };
        self.after(delays.request + delays.verify, verified);
    }

    fn verified(&mut self, job: u32, agent: usize, is_right: bool, seconds: f64) {
        let node = self.graph.nodes[job as usize];
        if !is_right {
            self.outcome.wasted_seconds += seconds;
            self.jobs[job as usize].state = State::Open;
            self.failed(job, agent, FailureClass::InvalidProof);
            return;
        }
        self.outcome.proving_seconds += seconds;
        let submission = self.setup.delays.submission;
        let epoch = &mut self.epochs[node.epoch as usize];
        epoch.by_work[usize::from(node.work)] -= 1;
        if let Entry::Occupied(mut open) = epoch.by_rank.entry(node.rank) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
        if node.parent == NONE {
            epoch.accepted = Some(self.now + submission);
            return;
        }
        let parent = &mut self.jobs[node.parent as usize];
        parent.children -= 1;
        if parent.children == 0 {
            self.after(self.written(), Event::Ready(node.parent));
        }
    }

    /// Ends a lease; returns whether the job has no other one.
    fn drop_lease(&mut self, job: u32, agent: usize, turn: u32) -> bool {
        let Some(held) = self.leases.get_mut(&job) else { return false };
        let before = held.len();
        held.retain(|(other, of, _, _)| (*other, *of) != (agent, turn));
        let is_last = held.is_empty();
        let was_there = held.len() < before;
        if is_last {
            self.leases.remove(&job);
        }
        is_last && was_there
    }

    /// What the broker's policy says of a failed attempt.
    fn failed(&mut self, job: u32, agent: usize, failure: FailureClass) {
        let trouble = self.trouble.entry(job).or_default();
        let place = trouble.failures.iter().position(|(class, _)| *class == failure);
        let place = place.unwrap_or_else(|| {
            trouble.failures.push((failure, 0));
            trouble.failures.len() - 1
        });
        let count = &mut trouble.failures[place].1;
        *count += 1;
        let size = self.jobs[job as usize].class;
        let failed = Failure { failure, count: *count, size };
        match policy::after(failed, self.chance.unit()) {
            Next::Retry { pause, size, exclude } => {
                if exclude {
                    trouble.excluded.push(agent as u64);
                }
                self.jobs[job as usize].class = size;
                self.after(pause.as_secs_f64() + self.written(), Event::Ready(job));
            }
            Next::AwaitInput | Next::GiveUp => {
                self.jobs[job as usize].state = State::Dead;
                self.outcome.dead_letters += 1;
                self.lose(self.graph.nodes[job as usize].epoch as usize);
            }
        }
    }

    /// An agent's work ends without a result.
    fn abandon(&mut self, agent: usize) {
        let state = &mut self.agents[agent];
        state.turn += 1;
        state.idle_since = None;
        if let Some(task) = state.task.take() {
            let all = (self.now - task.started).max(0.0);
            let loading = all.min(task.loading);
            self.outcome.loading_seconds += loading;
            self.outcome.wasted_seconds += all - loading;
        }
    }

    /// An agent is gone; its replacement comes later, with no key in memory.
    fn leave(&mut self, agent: usize) {
        self.abandon(agent);
        self.idle.remove(&agent);
        self.lives[agent] += 1;
        let state = &mut self.agents[agent];
        state.is_live = false;
        state.forget_keys();
        self.outcome.agent_seconds += self.now - state.live_since;
        self.after(self.setup.delays.replace, Event::Replaced { agent });
    }

    fn crash(&mut self, agent: usize) {
        self.outcome.crashes += 1;
        let turn = self.agents[agent].turn;
        if let Some(task) = self.agents[agent].task {
            // The last heartbeat was within a quarter of a lease.
            let rest = self.setup.delays.lease * (1.0 - 0.25 * self.chance.unit());
            self.after(rest, Event::Expired { job: task.job, agent, turn });
        }
        self.leave(agent);
    }

    fn reclaim(&mut self, agent: usize) {
        self.outcome.reclaims += 1;
        let turn = self.agents[agent].turn;
        let job = self.agents[agent].task.map(|task| task.job);
        self.leave(agent);
        // The signal makes it release its job, which nobody is blamed for.
        if let Some(job) = job
            && self.drop_lease(job, agent, turn)
        {
            self.after(self.written(), Event::Ready(job));
        }
    }

    /// Cancels an epoch with its jobs.
    fn lose(&mut self, epoch: usize) {
        let state = &mut self.epochs[epoch];
        if state.accepted.is_some() || std::mem::replace(&mut state.is_lost, true) {
            return;
        }
        let is_of = |node: &super::graph::Node| node.epoch as usize == epoch;
        let jobs: Vec<u32> = (0..self.jobs.len() as u32)
            .filter(|job| is_of(&self.graph.nodes[*job as usize]))
            .collect();
        for job in jobs {
            self.dequeue(job);
            for (agent, turn, _, _) in self.leases.remove(&job).unwrap_or_default() {
                let beat = self.chance.unit();
                self.after(beat, Event::Cancelled { agent, turn });
            }
        }
    }
}
