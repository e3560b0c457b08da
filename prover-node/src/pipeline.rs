//! Drives one graph of proofs through the broker: enqueues each job as soon as its children's proofs
//! exist, verifies every result before it is built upon, and rejects the ones that are wrong.
//!
//! It keeps no state of its own on disk: job ids are digests of inputs, so a restarted prover node
//! that plans the same range finds finished jobs finished. Losing the broker's database costs time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollmill_broker_client::{
    Answer, Client, ClientError, Digest, JobId, JobState, JobView, KindName, NewJob, RejectOutcome,
};
use rollmill_protocol::plan::{EpochPlan, Subject};
use rollmill_service::Shutdown;

/// How long one wait for changes lasts.
const WAIT: Duration = Duration::from_secs(10);
/// Pause before the broker is asked again after it failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a job may die before the range is given up; each death already had the broker's retries.
const DEATHS_MAX: u32 = 3;

/// What the pipeline does not know: how inputs are made and what a good result is.
pub trait Work: Send + Sync + 'static {
    /// The input of node `index` of the plan, given its children's results in order.
    fn input(&self, index: usize, children: &[Vec<u8>]) -> Result<Vec<u8>, String>;
    /// Verifies a result. Called on a thread that may block.
    fn verify(&self, index: usize, input: &[u8], result: &[u8]) -> Result<(), String>;
}

/// What is the same for all jobs of a range.
#[derive(Debug, Clone)]
pub struct Labels {
    pub epoch: u64,
    /// Number of the range's first block.
    pub first_block: u64,
    /// Version of the circuit set.
    pub version: KindName,
    /// Unix seconds by which the epoch must be proven, if there is a deadline.
    pub deadline_unix_seconds: Option<u64>,
}

/// Why a range could not be proven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The process is ending; what was proven stays with the broker.
    #[error("PRN-001: proving was interrupted by shutdown")]
    Interrupted,
    /// The witness cannot be built. No retry helps.
    #[error("PRN-002: the input of job {index} ({circuit}) cannot be made: {why}")]
    Input { index: usize, circuit: &'static str, why: String },
    /// A job keeps dying.
    #[error("PRN-003: job {id} died {deaths} times, last: {why}; see `broker jobs`")]
    Dead { id: JobId, deaths: u32, why: String },
    /// The broker refuses what was sent; asking again would not help.
    #[error("PRN-004: the broker: {0}")]
    Broker(#[source] ClientError),
}

/// One finished job, for reports.
#[derive(Debug, Clone)]
pub struct Finished {
    pub view: JobView,
    pub circuit: &'static str,
}

#[derive(Debug)]
enum State {
    Waiting,
    Enqueued {
        id: JobId,
        input: Arc<Vec<u8>>,
    },
    Done(Vec<u8>),
    /// Used by its parent, result dropped.
    Spent,
}

/// Called with each job that finished.
pub type OnFinished<'a> = &'a (dyn Fn(&Finished) + Send + Sync);

/// Runs the nodes of `plan` for which `wanted` holds (a set closed under children) and gives the result
/// of the last of them.
pub async fn run(
    broker: &Client,
    plan: &EpochPlan,
    wanted: &(dyn Fn(usize) -> bool + Send + Sync),
    labels: &Labels,
    work: Arc<dyn Work>,
    shutdown: &Shutdown,
    finished: OnFinished<'_>,
) -> Result<Vec<u8>, PipelineError> {
    let mut run = Run {
        broker,
        plan,
        labels,
        work,
        states: (0..plan.nodes.len()).map(|_| State::Waiting).collect(),
        deaths: BTreeMap::new(),
    };
    let last = (0..plan.nodes.len()).rev().find(|i| wanted(*i)).unwrap_or(plan.root());
    loop {
        if shutdown.is_started() {
            return Err(PipelineError::Interrupted);
        }
        let step = tokio::select! {
            step = run.step(wanted, finished) => step,
            () = shutdown.started() => return Err(PipelineError::Interrupted),
        };
        match step {
            Ok(()) => {}
            Err(PipelineError::Broker(error)) if error.is_transient() => {
                tracing::warn!(%error, "the broker is away, trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
        if let State::Done(result) = &mut run.states[last] {
            return Ok(std::mem::take(result));
        }
    }
}

struct Run<'a> {
    broker: &'a Client,
    plan: &'a EpochPlan,
    labels: &'a Labels,
    work: Arc<dyn Work>,
    states: Vec<State>,
    deaths: BTreeMap<usize, u32>,
}

impl Run<'_> {
    /// Enqueues what can be enqueued, waits for a change, takes in what is finished.
    async fn step(
        &mut self,
        wanted: &(dyn Fn(usize) -> bool + Send + Sync),
        finished: OnFinished<'_>,
    ) -> Result<(), PipelineError> {
        for index in 0..self.plan.nodes.len() {
            if wanted(index) && matches!(self.states[index], State::Waiting) {
                self.enqueue(index).await?;
            }
        }
        let ids: Vec<JobId> = self
            .states
            .iter()
            .filter_map(|s| match s {
                State::Enqueued { id, .. } => Some(id.clone()),
                _ => None,
            })
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let views = self.broker.wait(&ids, WAIT).await.map_err(PipelineError::Broker)?.jobs;
        for (index, view) in self.match_views(views) {
            match view.state {
                JobState::Done => self.take(index, view, finished).await?,
                JobState::Dead | JobState::Cancelled => self.revive(index, &view).await?,
                // Uploaded again with the next enqueue.
                JobState::InputWanted => self.states[index] = State::Waiting,
                JobState::Ready | JobState::Delayed | JobState::Leased => {}
            }
        }
        // A broker that lost its database does not know our jobs any more: enqueue them again.
        let known = self.broker.jobs(&ids).await.map_err(PipelineError::Broker)?;
        for state in &mut self.states {
            if matches!(state, State::Enqueued { id, .. } if !known.iter().any(|v| v.id == *id)) {
                *state = State::Waiting;
            }
        }
        Ok(())
    }

    fn match_views(&self, views: Vec<JobView>) -> Vec<(usize, JobView)> {
        views
            .into_iter()
            .filter_map(|view| {
                let at = self
                    .states
                    .iter()
                    .position(|s| matches!(s, State::Enqueued { id, .. } if *id == view.id))?;
                Some((at, view))
            })
            .collect()
    }

    /// Enqueues a node whose children are all proven; does nothing otherwise.
    async fn enqueue(&mut self, index: usize) -> Result<(), PipelineError> {
        let node = &self.plan.nodes[index];
        let mut children = Vec::with_capacity(node.children.len());
        for child in &node.children {
            match &self.states[*child] {
                State::Done(result) => children.push(result.clone()),
                _ => return Ok(()),
            }
        }
        let circuit = node.circuit.name();
        let work = Arc::clone(&self.work);
        let input = blocking(move || work.input(index, &children))
            .await
            .map_err(|why| PipelineError::Input { index, circuit, why })?;
        let kind: KindName = circuit.parse().map_err(|error| PipelineError::Input {
            index,
            circuit,
            why: format!("{error}"),
        })?;
        let digest = self
            .broker
            .put_artifact(self.labels.epoch, input.clone())
            .await
            .map_err(PipelineError::Broker)?;
        let mut job = NewJob::new(self.labels.epoch, &kind, self.labels.version.clone(), digest);
        job.rank = node.steps_to_root as u32;
        job.deadline_unix_seconds = self.labels.deadline_unix_seconds;
        job.labels.insert("subject".into(), subject(self.labels.first_block, node.subject));
        let id = job.id.clone();
        self.broker.enqueue(vec![job]).await.map_err(PipelineError::Broker)?;
        tracing::info!(%id, circuit, "job enqueued");
        self.states[index] = State::Enqueued { id, input: Arc::new(input) };
        Ok(())
    }

    /// Fetches and verifies a result; rejects it when it is wrong.
    async fn take(
        &mut self,
        index: usize,
        view: JobView,
        finished: OnFinished<'_>,
    ) -> Result<(), PipelineError> {
        let State::Enqueued { input, .. } = &self.states[index] else { return Ok(()) };
        let Some(digest) = view.result else { return Ok(()) };
        let (work, input) = (Arc::clone(&self.work), Arc::clone(input));
        let verdict = match self.broker.get_artifact(&digest).await {
            Ok(result) => {
                blocking(move || work.verify(index, &input, &result).map(|()| result)).await
            }
            Err(error) => match error.answer() {
                // The broker has reopened the job; nobody is to blame for bytes that were not read.
                Answer::ArtifactLost | Answer::UnknownArtifact => return Ok(()),
                _ => return Err(PipelineError::Broker(error)),
            },
        };
        match verdict {
            Ok(result) => {
                let circuit = self.plan.nodes[index].circuit.name();
                tracing::info!(id = %view.id, circuit, agent = ?view.agent, "proof verified");
                for child in &self.plan.nodes[index].children {
                    self.states[*child] = State::Spent;
                }
                self.states[index] = State::Done(result);
                finished(&Finished { view, circuit });
                Ok(())
            }
            Err(reason) => self.reject(&view.id, digest, &reason).await,
        }
    }

    async fn reject(&self, id: &JobId, digest: Digest, reason: &str) -> Result<(), PipelineError> {
        let answer = self.broker.reject(id, digest, reason).await.map_err(PipelineError::Broker)?;
        tracing::error!(%id, reason, quarantined = answer.agent_quarantined, "result rejected");
        if answer.outcome == RejectOutcome::GivenUp {
            tracing::error!(%id, "the broker has given the job up; it will be revived");
        }
        Ok(())
    }

    /// A job is not given up while its epoch can still be proven: puts a dead one back, a few times.
    async fn revive(&mut self, index: usize, view: &JobView) -> Result<(), PipelineError> {
        let deaths = self.deaths.entry(index).or_default();
        *deaths += 1;
        let why = view.failure.as_ref().map_or_else(
            || format!("{:?}", view.state),
            |f| format!("{}: {}", f.class.as_str(), f.message),
        );
        if *deaths > DEATHS_MAX {
            return Err(PipelineError::Dead { id: view.id.clone(), deaths: *deaths, why });
        }
        tracing::error!(id = %view.id, why, "job died, putting it back");
        self.broker.replay(std::slice::from_ref(&view.id)).await.map_err(PipelineError::Broker)?;
        Ok(())
    }
}

/// Runs heavy work off the reactor.
async fn blocking<T: Send + 'static>(
    body: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(body).await {
        Ok(result) => result,
        Err(panic) => Err(format!("the work panicked: {panic}")),
    }
}

fn subject(first_block: u64, subject: Subject) -> String {
    let at = |block: usize| first_block + block as u64;
    match subject {
        Subject::Tx { block, tx } => format!("block {} tx {tx}", at(block)),
        Subject::Txs { block, first, last } => format!("block {} txs {first}..{last}", at(block)),
        Subject::Block { block } => format!("block {}", at(block)),
        Subject::Blocks { first, last } => format!("blocks {}..{}", at(first), at(last)),
        Subject::Epoch => "epoch".to_owned(),
    }
}
