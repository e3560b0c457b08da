//! What can happen in a state, and what it leads to.

use rollmill_broker_client::{EpochState, FailureClass, JobState, LeaseEpoch, SizeClass};
use rollmill_broker_rules::{Answer, Deadline, Event, Offered, Row, Step, Stored, decide};

use crate::monitor::{self, Happening};
use crate::second::{self, Beside};
use crate::state::{Agent, JobRow, Memory, Proof, State};
use crate::{AGENTS, Model};

/// One thing that happens. Every answer may be lost, and every request may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    // The producer.
    Enqueue {
        job: usize,
    },
    Cancel {
        job: usize,
    },
    Drop {
        job: usize,
    },
    Replay {
        job: usize,
    },
    /// It rejects the job's result; not `is_readable`: the bytes are lost by then.
    Reject {
        job: usize,
        is_readable: bool,
    },
    Upload {
        job: usize,
        is_object: bool,
    },
    Close,
    Open,
    // An operator.
    Pardon {
        agent: Agent,
    },
    /// The agent is asked to leave, or `undo`: that is withdrawn.
    Drain {
        agent: Agent,
        undo: bool,
    },
    // An agent, under a lease that it has or had.
    Heartbeat {
        job: usize,
        agent: Agent,
        lease_epoch: u64,
    },
    Offer {
        job: usize,
        agent: Agent,
        lease_epoch: u64,
        proof: Proof,
    },
    Fail {
        job: usize,
        agent: Agent,
        lease_epoch: u64,
        class: FailureClass,
    },
    Release {
        job: usize,
        agent: Agent,
        lease_epoch: u64,
        in_lane: bool,
    },
    Restart {
        agent: Agent,
    },
    Resume {
        job: usize,
        agent: Agent,
        lease_epoch: u64,
    },
    // A replica.
    Choose {
        job: usize,
        agent: Agent,
    },
    Claim {
        broker: usize,
    },
    Judge {
        broker: usize,
    },
    Crash {
        broker: usize,
    },
    /// Something happens to the second lease of a job.
    Second {
        job: usize,
        what: Beside,
    },
    Expire {
        job: usize,
    },
    Promote {
        job: usize,
    },
    PassDeadline {
        job: usize,
    },
    Forgive {
        job: usize,
    },
    /// The epoch's grace is over: its rows are deleted.
    Sweep,
    // What happens by itself.
    LoseResult {
        job: usize,
    },
    DeadlinePasses {
        job: usize,
    },
}

/// A move of a job: states before and after, and the statement.
pub type Move = (Option<&'static str>, &'static str, &'static str);

/// The failures that agents report, one for each thing that follows: a pause, the wait for the input, another agent,
/// the end.
const CLASSES: [FailureClass; 4] = [
    FailureClass::Transient,
    FailureClass::InputMissing,
    FailureClass::InvalidProof,
    FailureClass::BadInput,
];

/// Everything that may happen in a state. What changes nothing is left out by [`apply`].
pub(crate) fn possible(model: &Model, state: &State, actions: &mut Vec<Action>) {
    if state.broken.is_some() || state.epoch == EpochState::Gone {
        return;
    }
    for (job, row) in state.jobs.iter().enumerate() {
        let may_be_new = |row: &JobRow| matches!(row.state, JobState::Cancelled | JobState::Dead);
        if row.as_ref().is_none_or(may_be_new) {
            actions.push(Action::Enqueue { job });
        }
        if let Some(row) = row {
            of_job(model, state, (job, row), actions);
            of_agents(model, (job, row), actions);
            if model.bounds.has_second_rows {
                second::possible(state, (job, row), actions);
            }
        }
    }
    for (broker, memory) in state.brokers.iter().enumerate() {
        match memory {
            Memory::Nothing => continue,
            Memory::Chosen { .. } => actions.push(Action::Claim { broker }),
            Memory::Left { .. } => actions.push(Action::Judge { broker }),
        }
        actions.push(Action::Crash { broker });
    }
    for agent in agents() {
        let is_holder = |row: &JobRow| row.lease.as_ref().is_some_and(|l| l.holder == agent);
        match state.is_quarantined(model.bounds, agent) {
            true => actions.push(Action::Pardon { agent }),
            false if state.is_draining(agent) || state.jobs.iter().flatten().any(is_holder) => {
                actions.push(Action::Restart { agent });
            }
            false => {}
        }
        if model.bounds.has_drains {
            actions.push(Action::Drain { agent, undo: state.is_draining(agent) });
        }
    }
    match state.epoch {
        EpochState::Open => actions.push(Action::Close),
        _ => actions.extend([Action::Open, Action::Sweep]),
    }
}

pub(crate) fn agents() -> impl Iterator<Item = Agent> {
    (0..AGENTS).filter_map(|agent| Agent::try_from(agent).ok())
}

fn of_job(model: &Model, state: &State, (job, row): (usize, &JobRow), actions: &mut Vec<Action>) {
    match row.state {
        JobState::Ready => {
            // One replica with nothing in memory stands for all of them.
            if state.brokers.contains(&Memory::Nothing) {
                let free = agents().filter(|agent| !row.excluded.contains(agent));
                actions.extend(free.map(|agent| Action::Choose { job, agent }));
            }
            if !row.excluded.is_empty() {
                actions.push(Action::Forgive { job });
            }
        }
        JobState::Delayed => actions.push(Action::Promote { job }),
        JobState::InputWanted => {
            actions.extend([false, true].map(|is_object| Action::Upload { job, is_object }));
        }
        JobState::Leased => actions.push(Action::Expire { job }),
        JobState::Done => {
            actions.extend([false, true].map(|is_readable| Action::Reject { job, is_readable }));
            actions.push(Action::LoseResult { job });
        }
        JobState::Dead => actions.extend([Action::Drop { job }, Action::Replay { job }]),
        JobState::Cancelled => {}
    }
    actions.push(Action::Cancel { job });
    if model.bounds.has_deadlines {
        actions.extend([Action::DeadlinePasses { job }, Action::PassDeadline { job }]);
    }
}

/// Requests under the leases that agents have or had.
fn of_agents(model: &Model, (job, row): (usize, &JobRow), actions: &mut Vec<Action>) {
    let mut known: Vec<(Agent, u64)> = Vec::new();
    for attempt in &row.history {
        let Some(LeaseEpoch(lease_epoch)) = attempt.lease_epoch else { continue };
        if !known.contains(&(attempt.agent, lease_epoch)) {
            known.push((attempt.agent, lease_epoch));
        }
    }
    for (agent, lease_epoch) in known {
        actions.push(Action::Heartbeat { job, agent, lease_epoch });
        let offer = |proof| Action::Offer { job, agent, lease_epoch, proof };
        actions.extend(Proof::ALL.map(offer));
        // Under an old lease one class of failure is as good as another.
        let is_present = row.is_held_by(&agent, LeaseEpoch(lease_epoch));
        let classes = if is_present { CLASSES.as_slice() } else { &CLASSES[..1] };
        actions.extend(classes.iter().map(|class| Action::Fail {
            job,
            agent,
            lease_epoch,
            class: *class,
        }));
        let release = |in_lane| Action::Release { job, agent, lease_epoch, in_lane };
        actions.extend([false, true].map(release));
    }
    if model.bounds.has_seconds && row.lease_epoch.0 > 0 {
        let lease_epoch = row.lease_epoch.0;
        let had = |agent: Agent| {
            row.history
                .iter()
                .any(|a| a.agent == agent && a.lease_epoch == Some(LeaseEpoch(lease_epoch)))
        };
        for agent in agents().filter(|agent| !had(*agent)) {
            let offer = |proof| Action::Offer { job, agent, lease_epoch, proof };
            actions.extend(Proof::ALL.map(offer));
        }
    }
    if model.bounds.has_resume && matches!(row.state, JobState::Ready | JobState::Delayed) {
        let lease_epoch = row.lease_epoch.0;
        actions.extend(agents().map(|agent| Action::Resume { job, agent, lease_epoch }));
    }
}

/// The state that follows, and how jobs moved. [`None`] if it cannot happen here, changes nothing, or is beyond the
/// bounds.
pub(crate) fn apply(model: &Model, before: &State, action: Action) -> Option<(State, Vec<Move>)> {
    let mut doing = Doing { model, before, state: before.clone(), moves: Vec::new() };
    doing.act(action)?;
    let Doing { mut state, moves, .. } = doing;
    if state == *before {
        return None;
    }
    if state.broken.is_none() {
        state.broken = monitor::of_state(&state);
    }
    Some((state.abstracted(model.bounds), moves))
}

struct Doing<'a> {
    model: &'a Model,
    before: &'a State,
    state: State,
    moves: Vec<Move>,
}

impl Doing<'_> {
    fn act(&mut self, action: Action) -> Option<()> {
        let bounds = self.model.bounds;
        match action {
            Action::Enqueue { job } => self.enqueue(job),
            Action::Cancel { job } => self.one(job, &Event::Cancel).map(drop),
            Action::Drop { job } => self.one(job, &Event::Drop).map(drop),
            Action::Replay { job } => self.one(job, &Event::Replay).map(drop),
            Action::Reject { job, is_readable } => {
                let result = self.before.jobs[job].as_ref()?.made.as_ref()?.result;
                self.one(job, &Event::Reject { result, is_readable }).map(drop)
            }
            Action::Upload { job, is_object } => {
                let epoch = self.before.epoch;
                self.one(job, &Event::Upload { is_object, epoch }).map(drop)
            }
            Action::Close => self.close(),
            Action::Open => {
                (self.before.epoch == EpochState::Closing).then_some(())?;
                self.state.epoch = EpochState::Open;
                Some(())
            }
            Action::Sweep => {
                (self.before.epoch == EpochState::Closing).then_some(())?;
                self.state = State { epoch: EpochState::Gone, ..State::new(bounds) };
                Some(())
            }
            Action::Pardon { agent } => {
                self.before.is_quarantined(bounds, agent).then_some(())?;
                self.state.rejected[usize::from(agent)] = 0;
                Some(())
            }
            Action::Drain { agent, undo } => {
                (self.before.is_draining(agent) == undo).then_some(())?;
                self.state.draining[usize::from(agent)] = !undo;
                Some(())
            }
            Action::Restart { agent } => self.restart(agent),
            Action::Expire { job } => self.expire(job),
            Action::Promote { job } => {
                self.state.jobs[job].as_mut()?.pause_is_over = true;
                self.one(job, &Event::Promote).map(drop)
            }
            Action::PassDeadline { job } => self.one(job, &Event::PassDeadline).map(drop),
            Action::Forgive { job } => self.forgive(job),
            Action::LoseResult { job } => self.one(job, &Event::LoseResult).map(drop),
            Action::DeadlinePasses { job } => {
                let row = self.state.jobs[job].as_mut()?;
                (row.deadline == Deadline::Ahead).then(|| row.deadline = Deadline::Passed)
            }
            Action::Second { job, what } => second::apply(self.model, &mut self.state, job, what),
            action => self.of_lease(action),
        }
    }

    /// What agents ask for, and what replicas do for them.
    fn of_lease(&mut self, action: Action) -> Option<()> {
        let lease = LeaseEpoch;
        match action {
            Action::Heartbeat { job, agent, lease_epoch } => {
                let lease_epoch = lease(lease_epoch);
                self.one(job, &Event::Heartbeat { agent, lease_epoch }).map(drop)
            }
            Action::Offer { job, agent, lease_epoch, proof } => {
                let offered = self.offered(agent, lease_epoch, proof);
                match self.one(job, &Event::CompleteMany(offered))? {
                    Answer::Left if self.model.bounds.has_gap => {
                        self.remember(Memory::Left { job, agent, lease_epoch, proof })
                    }
                    Answer::Left => {
                        let offered = self.offered(agent, lease_epoch, proof);
                        self.one(job, &Event::Complete(offered)).map(drop)
                    }
                    _ => Some(()),
                }
            }
            Action::Fail { job, agent, lease_epoch, class } => {
                let lease_epoch = lease(lease_epoch);
                let input_is_readable = false;
                let event = Event::Fail { agent, lease_epoch, class, input_is_readable };
                self.one(job, &event).map(drop)
            }
            Action::Release { job, agent, lease_epoch, in_lane } => {
                let lease_epoch = lease(lease_epoch);
                let event = match in_lane {
                    true => Event::ReleaseMany { agent, lease_epoch },
                    false => Event::Release { agent, lease_epoch },
                };
                self.one(job, &event).map(drop)
            }
            Action::Resume { job, agent, lease_epoch } => {
                let lease_epoch = lease(lease_epoch);
                self.one(job, &Event::Resume { agent, lease_epoch }).map(drop)
            }
            Action::Choose { job, agent } => {
                let row = self.before.jobs[job].as_ref()?;
                (row.state == JobState::Ready && !row.excluded.contains(&agent)).then_some(())?;
                self.remember(Memory::Chosen { job, agent })
            }
            Action::Claim { broker } => {
                let Memory::Chosen { job, agent } = self.before.brokers[broker] else {
                    return None;
                };
                self.state.brokers[broker] = Memory::Nothing;
                let is_quarantined = self.before.is_quarantined(self.model.bounds, agent);
                let is_draining = self.before.is_draining(agent);
                self.one(job, &Event::Claim { agent, is_quarantined, is_draining }).map(drop)
            }
            Action::Judge { broker } => {
                let memory = self.before.brokers[broker];
                let Memory::Left { job, agent, lease_epoch, proof } = memory else { return None };
                self.state.brokers[broker] = Memory::Nothing;
                let offered = self.offered(agent, lease_epoch, proof);
                self.one(job, &Event::Complete(offered)).map(drop)
            }
            Action::Crash { broker } => {
                self.state.brokers[broker] = Memory::Nothing;
                Some(())
            }
            _ => None,
        }
    }

    fn offered(&self, agent: Agent, lease_epoch: u64, result: Proof) -> Offered<Agent, Proof> {
        Offered {
            agent,
            lease_epoch: LeaseEpoch(lease_epoch),
            result,
            // Agents upload first.
            stored: Stored::Here,
            is_quarantined: self.before.is_quarantined(self.model.bounds, agent),
            epoch: self.before.epoch,
        }
    }

    /// Puts something into the memory of a replica that has nothing in it. If all have, the request is not served.
    fn remember(&mut self, memory: Memory) -> Option<()> {
        let free = self.state.brokers.iter_mut().find(|has| **has == Memory::Nothing)?;
        *free = memory;
        Some(())
    }

    /// Enqueues a job, for the first time or again, where it has a deadline with a later one.
    fn enqueue(&mut self, job: usize) -> Option<()> {
        let ahead = self.model.bounds.has_deadlines.then_some(Deadline::Ahead);
        let Some(_) = &self.before.jobs[job] else {
            (self.before.epoch == EpochState::Open).then_some(())?;
            let row = Row::new(SizeClass::SMALLEST, ahead.unwrap_or(Deadline::None));
            self.moves.push((None, row.state.as_str(), "enqueue.sql"));
            self.state.jobs[job] = Some(row);
            return Some(());
        };
        let event = Event::Enqueue {
            class: SizeClass::SMALLEST,
            deadline: ahead,
            epoch: self.before.epoch,
            input_is_readable: true,
        };
        self.one(job, &event).map(drop)
    }

    fn close(&mut self) -> Option<()> {
        // Closing again cancels what was opened since.
        (self.before.epoch != EpochState::Gone).then_some(())?;
        self.state.epoch = EpochState::Closing;
        for job in 0..self.before.jobs.len() {
            if self.before.jobs[job].is_some() {
                self.one(job, &Event::CloseEpoch)?;
            }
        }
        Some(())
    }

    /// A new start is free: whoever asked the one before to leave has what was asked for.
    fn restart(&mut self, agent: Agent) -> Option<()> {
        let is_quarantined = self.before.is_quarantined(self.model.bounds, agent);
        self.state.draining[usize::from(agent)] &= is_quarantined;
        for job in 0..self.before.jobs.len() {
            if self.before.jobs[job].is_some() {
                self.one(job, &Event::Restart { agent, is_quarantined })?;
            }
        }
        Some(())
    }

    /// No heartbeat came in time. The hard limit differs in its class of failure alone.
    fn expire(&mut self, job: usize) -> Option<()> {
        self.state.jobs[job].as_mut()?.lease.as_mut()?.is_over = true;
        self.one(job, &Event::Expire).map(drop)
    }

    fn forgive(&mut self, job: usize) -> Option<()> {
        let row = self.before.jobs[job].as_ref()?;
        let bounds = self.model.bounds;
        let may_claim = |agent: &Agent| {
            let is_quarantined = self.before.is_quarantined(bounds, *agent);
            decide::may_claim(is_quarantined, self.before.is_draining(*agent))
        };
        let mut free = agents().filter(may_claim).peekable();
        let nobody_is_left =
            free.peek().is_some() && free.all(|agent| row.excluded.contains(&agent));
        self.one(job, &Event::Forgive { nobody_is_left }).map(drop)
    }

    /// An event on one job. [`None`] beyond the bounds.
    fn one(&mut self, job: usize, event: &Event<Agent, Proof>) -> Option<Answer> {
        let before = self.state.jobs[job].clone()?;
        let Step { row, answer, effects } = (self.model.step)(&before, event);
        if goes_back(before.state, row.state) && !self.state.may_go_back(self.model.bounds, job) {
            // A lease that can bring no result ends all the same.
            let must_end = *event == Event::Expire && cannot_complete(self.model, self.before, job);
            must_end.then_some(())?;
        }
        if let Some(statement) = effects.statement {
            self.moves.push((Some(before.state.as_str()), row.state.as_str(), statement));
        }
        if let Some(agent) = effects.charged {
            let count = &mut self.state.rejected[usize::from(agent)];
            *count = count.saturating_add(1).min(self.model.bounds.rejections_max);
        }
        let banned = &mut self.state.banned[job];
        let happening =
            Happening { before: &before, event, after: &row, answer, effects: &effects, banned };
        let broken = monitor::of_event(&happening);
        monitor::remember(event, &before, &row, banned);
        self.state.broken = self.state.broken.or(broken);
        self.state.jobs[job] = Some(row);
        // A rejection that changed nothing is an answer too.
        Some(answer.unwrap_or(Answer::Changed(false)))
    }
}

/// Whether a job that was leased or final waits again.
fn goes_back(from: JobState, to: JobState) -> bool {
    let waits =
        |state| matches!(state, JobState::Ready | JobState::Delayed | JobState::InputWanted);
    !waits(from) && waits(to)
}

/// Whether the holder of a job's lease can bring no result: it is in quarantine, or distrusted with the right result.
pub(crate) fn cannot_complete(model: &Model, state: &State, job: usize) -> bool {
    let Some(row) = &state.jobs[job] else { return false };
    row.lease.as_ref().is_some_and(|lease| {
        state.is_quarantined(model.bounds, lease.holder)
            || (row.distrusts(&lease.holder, &Proof::Right) && !row.is_banned(&Proof::Right))
    })
}

/// Whether an action is one that happens when nothing goes wrong any more: replicas and agents work, an operator
/// pardons and takes back what agents were asked, and nobody interferes.
pub(crate) fn is_calm(model: &Model, state: &State, action: Action) -> bool {
    match action {
        Action::Enqueue { job } => state.jobs[job].is_none(),
        Action::Choose { .. }
        | Action::Claim { .. }
        | Action::Judge { .. }
        | Action::Crash { .. }
        | Action::Promote { .. }
        | Action::PassDeadline { .. }
        | Action::Upload { .. }
        | Action::Forgive { .. }
        | Action::Pardon { .. }
        | Action::Drain { undo: true, .. }
        | Action::Sweep => true,
        Action::Offer { job, agent, lease_epoch, proof } => {
            let row = state.jobs[job].as_ref();
            proof == Proof::Right
                && row.is_some_and(|row| row.is_held_by(&agent, LeaseEpoch(lease_epoch)))
        }
        Action::Expire { job } => cannot_complete(model, state, job),
        _ => false,
    }
}
