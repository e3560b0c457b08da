//! The loop: claim, fetch, prepare, prove, verify, upload, report, forget.
//!
//! One job is on the device at a time, or as many as the settings say. Further ones, up to the prefetch,
//! are fetched and prepared meanwhile, so that the device waits for neither the network nor a witness.
//! A job whose proof is made leaves the device and its place: the next one is claimed while the proof is
//! verified. A verified proof goes to the spool and is offered from there until a broker takes it, so
//! that an absent broker costs no proof; see [`crate::spool`].

mod claim;
mod error;
mod offer;
mod token;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rollmill_broker_client::{
    AgentId, Answer, Capability, Client, FailRequest, FailureClass, Grant, Installation, JobId,
    LeaseRef, Options, ReleaseRequest, SizeClass,
};
use rollmill_service::traces::{Span, SpanKind, Traceparent};
use rollmill_service::{Backoff, Conditions, Process, Secret, Shutdown, Traces, one_line};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

pub use error::AgentError;

use crate::config::Config;
use crate::heartbeat::{Cancel, Heartbeat};
use crate::leave::Leaving;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::reclaim;
use crate::session::Sessions;
use crate::spool::{Spool, Verdict};
use crate::warm::{self, Idle};
use crate::worker::{WorkError, WorkOutput, Worker};
use token::Token;

/// Pause after a request that got no answer that counts; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest pause before a proof is written again that could not be written.
const SPOOL_RETRY: Duration = Duration::from_secs(5);
/// Pause after an answer that an upgrade must change.
const INCOMPATIBLE: Duration = Duration::from_secs(60);

/// One agent with its worker.
#[derive(Debug)]
pub struct Agent<W: ?Sized> {
    worker: Arc<W>,
    client: Client,
    /// Tries once: for loops that pace themselves.
    once: Client,
    /// [`None`] for an agent without one.
    token: Option<Token>,
    link: Link,
    conditions: Conditions,
    spool: Spool,
    /// Held while the agent serves.
    spool_lock: Option<std::fs::File>,
    heartbeat: Heartbeat,
    sessions: Sessions,
    id: AgentId,
    capabilities: Vec<Capability>,
    class: SizeClass,
    metrics: Metrics,
    traces: Traces,
    /// The jobs held, in the order they were claimed.
    held: Arc<Mutex<Vec<JobId>>>,
    /// Jobs that may be held besides those on the device.
    prefetch: usize,
    /// Whether to load while there is no job.
    warm: bool,
    idle: Arc<Idle>,
    proofs_in_flight: usize,
    /// A permit for each job that is verified and reported, as many as prove at a time. It bounds the jobs
    /// held when reports are slow.
    reporting: Semaphore,
    /// A permit for each proof on the device. Closed once the device is lost.
    device: Semaphore,
    /// Why the device is gone.
    lost: Mutex<Option<String>>,
    /// Told once when the device is gone.
    device_gone: Notify,
    /// Started when no further job is claimed, whatever the reason.
    leaving: Leaving,
    reclaim: reclaim::Source,
}

/// How a job ended, for the count.
pub(crate) enum End {
    Proof(Verdict),
    Failed(FailureClass),
    Released,
    /// Proven, and kept on disk for the next start.
    Spooled,
    /// Somebody else's now, or nobody's.
    Lost,
}

impl End {
    /// Every outcome, as its series is labelled.
    pub(crate) fn labels() -> impl Iterator<Item = &'static str> {
        let own =
            ["completed", "already_done", "unwanted", "expired", "released", "spooled", "lost"];
        let classes = FailureClass::ALL.into_iter().filter(|class| !class.is_brokers());
        own.into_iter().chain(classes.map(FailureClass::as_str))
    }

    const fn label(&self) -> &'static str {
        match self {
            Self::Proof(Verdict::Accepted) => "completed",
            Self::Proof(Verdict::AlreadyDone) => "already_done",
            Self::Proof(Verdict::Unwanted) => "unwanted",
            Self::Proof(Verdict::Expired) => "expired",
            Self::Proof(Verdict::TooLarge) => FailureClass::ResultTooLarge.as_str(),
            Self::Failed(class) => class.as_str(),
            Self::Released => "released",
            Self::Spooled => "spooled",
            Self::Lost => "lost",
        }
    }
}

impl<W: Worker + ?Sized> Agent<W> {
    /// An agent of `process`'s settings. Nothing is contacted yet.
    pub fn new(
        process: &Process<Config>,
        worker: Arc<W>,
    ) -> Result<Self, rollmill_service::Failure> {
        let config = &process.config;
        let token = config.token.as_ref().map(Secret::reveal);
        let client = Client::new(&config.broker, token, Options::default())?;
        // A client of its own: connections belong to the runtime that made them.
        let beats = Client::new(&config.broker, token, Options::default())?;
        let once = client.with_options(Options { patience: Duration::ZERO, ..Options::default() });
        let clients = [client.clone(), beats.clone()];
        let token = config.token.clone().map(|secret| Token::new(secret, clients));
        let link = Link::new(process.conditions.clone());
        let kinds: Vec<String> = worker.circuits().into_iter().map(|(kind, _)| kind).collect();
        let metrics = Metrics::new(&process.metrics)?;
        kinds.iter().for_each(|kind| metrics.know("kind", kind));
        let spool_lock = config.spool_dir.as_deref().map(crate::spool::lock).transpose()?;
        let spool = Spool::open(config.spool_dir.clone(), metrics.clone()).map_err(|source| {
            let path = config.spool_dir.as_deref().unwrap_or_else(|| std::path::Path::new("-"));
            AgentError::Spool { path: path.display().to_string(), source }
        })?;
        if let Some(dir) = &config.spool_dir {
            process.show_disk(dir)?;
        }
        let id = config.agent_id();
        let leaving = Leaving::new(Duration::from_secs(config.drain_seconds), metrics.clone());
        let why = leaving.clone();
        process.status_page.show("leaving", move || {
            let shown = |(reason, by): (&str, Option<String>)| {
                serde_json::json!({ "reason": reason, "by": by })
            };
            why.why().map(shown).unwrap_or_default()
        });
        let failures = metrics.heartbeat_failures_total.clone();
        let heartbeat =
            Heartbeat::start(&beats, id.clone(), failures, link.clone(), leaving.clone())
                .map_err(|source| AgentError::Heartbeat { source })?;
        let capabilities = capabilities(worker.as_ref())?;
        let held: Arc<Mutex<Vec<JobId>>> = Arc::default();
        let shown = held.clone();
        process.status_page.show("jobs", move || {
            let held = shown.lock();
            held.iter().map(ToString::to_string).collect()
        });
        let crate::pace::Pace { proofs_in_flight, prefetch } = config.pace(worker.pace());
        let class = metrics.show_device(&worker.device(), config);
        Ok(Self {
            worker,
            client,
            once,
            token,
            link,
            conditions: process.conditions.clone(),
            spool,
            spool_lock,
            heartbeat,
            sessions: Sessions::default(),
            id,
            capabilities,
            class,
            metrics,
            traces: process.traces.clone(),
            held,
            prefetch,
            warm: config.warm_keys,
            idle: Arc::new(Idle::new()),
            proofs_in_flight,
            reporting: Semaphore::new(proofs_in_flight),
            device: Semaphore::new(proofs_in_flight),
            lost: Mutex::default(),
            device_gone: Notify::new(),
            leaving,
            reclaim: config.reclaim.clone(),
        })
    }

    /// The agent of an installation: it opens sessions, so that a restart gets back at once what it held before. Without
    /// one, what it held expires.
    pub fn installed(mut self, installation: Option<Installation>) -> Self {
        self.sessions = Sessions::of(installation);
        self
    }

    /// Follows the file of the token, so that a rotated one needs no restart. Ends with the runtime.
    pub fn follow_token(&self) {
        if let Some(token) = self.token.clone() {
            tokio::spawn(token.keep());
        }
    }

    /// Leaves when the machine is taken away, by the settings or by SIGUSR1. Ends with the runtime.
    pub fn follow_reclaims(&self) {
        reclaim::follow_signal(self.leaving.clone());
        let failures = self.metrics.reclaim_failures_total.clone();
        tokio::spawn(reclaim::follow(self.reclaim.clone(), self.leaving.clone(), failures));
    }

    /// Works until `shutdown`, until the broker asks it to leave, or until the machine is taken away. The job on the
    /// device may finish within the time that there is and is then released; those that have not reached the device are
    /// released immediately. A proof that no broker has taken by then stays on disk, if there is a spool.
    ///
    /// # Errors
    /// [`AgentError::Refused`] when the broker rejects this agent, [`AgentError::DeviceLost`] when it
    /// can prove no more. A broker that is unreachable or responds otherwise is no error: the agent
    /// waits for it.
    pub async fn serve(mut self, shutdown: &Shutdown) -> Result<(), AgentError> {
        // Released here and not by whichever task ends last.
        let _spool_lock = self.spool_lock.take();
        tracing::info!(
            agent = %self.id,
            circuits = self.capabilities.len(),
            prefetch = self.prefetch,
            class = self.class.number(),
            "agent ready"
        );
        let slots = Arc::new(Semaphore::new(self.prefetch.saturating_add(self.proofs_in_flight)));
        let agent = Arc::new(self);
        let mut jobs = JoinSet::new();
        let warming = agent.warm.then(|| {
            let (worker, idle) = (agent.worker.clone(), agent.idle.clone());
            tokio::spawn(warm::warm(worker, idle, agent.metrics.clone()))
        });
        let offering = {
            let agent = agent.clone();
            tokio::spawn(async move { agent.offer_proofs().await })
        };
        let keeping = {
            let agent = agent.clone();
            tokio::spawn(async move { agent.keep_spool().await })
        };
        let following = {
            let (leaving, shutdown) = (agent.leaving.clone(), shutdown.clone());
            tokio::spawn(async move { leaving.follow(&shutdown).await })
        };
        let mut retry = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        let end = loop {
            let slot = tokio::select! {
                biased;
                () = agent.leaving.started() => match agent.goes(&mut jobs).await {
                    true => break Ok(()),
                    false => continue,
                },
                () = agent.device_gone.notified() => break Ok(()),
                slot = slots.clone().acquire_owned() => slot,
            };
            while let Some(ended) = jobs.try_join_next() {
                log_panic(ended);
            }
            let claimed = tokio::select! {
                claimed = agent.claim(&mut retry) => claimed,
                () = agent.device_gone.notified() => break Ok(()),
            };
            match claimed {
                Ok(Some(grant)) => {
                    let agent = agent.clone();
                    jobs.spawn(async move { agent.run(grant, slot.ok()).await });
                }
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        agent.leaving.fail();
        agent.idle.end();
        warming.inspect(tokio::task::JoinHandle::abort);
        while let Some(ended) = jobs.join_next().await {
            log_panic(ended);
        }
        for task in [offering, following, keeping] {
            task.abort();
            let _ = task.await;
        }
        agent.leave_spool();
        agent.log_end();
        let lost = agent.lost.lock().take();
        lost.map_or(end, |reason| Err(AgentError::DeviceLost { reason }))
    }

    /// While the agent is asked to leave: waits until what it holds is finished or returned, or nobody asks any more.
    /// Returns whether it goes.
    async fn goes(&self, jobs: &mut JoinSet<()>) -> bool {
        loop {
            tokio::select! {
                biased;
                goes = self.leaving.decided() => return goes,
                () = self.device_gone.notified() => return true,
                ended = jobs.join_next() => match ended {
                    Some(ended) => log_panic(ended),
                    None => {
                        self.leaving.seal();
                        return true;
                    }
                },
            }
        }
    }

    fn log_end(&self) {
        let why = self.leaving.why();
        let reason = why.as_ref().map(|(reason, _)| *reason);
        let label = why.as_ref().and_then(|(_, label)| label.as_deref());
        tracing::info!(reason, label, "no further jobs");
    }

    /// Does a job. `slot` is its place among the held jobs, released when its proof is generated.
    async fn run(&self, grant: Grant, slot: Option<OwnedSemaphorePermit>) {
        let _held = self.idle.job();
        let kind = grant.job.kind().to_owned();
        let lease = LeaseRef { job: grant.job.clone(), lease_epoch: grant.lease_epoch };
        let mut span = self.span_of(&grant);
        self.held().push(grant.job.clone());
        self.metrics.jobs_held.inc();
        let end = {
            let guard = self.heartbeat.keep_alive(lease.clone());
            rollmill_service::failpoint!("agent.after_claim");
            span.within(self.attempt(&grant, &lease, slot, guard.cancel())).await
        };
        self.metrics.jobs_held.dec();
        self.held().retain(|job| *job != grant.job);
        let outcome = end.label();
        self.metrics.jobs_total.with_label_values(&[&kind, outcome]).inc();
        span.set("rollmill.outcome", outcome);
        span.end_with((!matches!(end, End::Proof(_))).then_some(outcome));
        tracing::info!(job = %grant.job, outcome, "job finished");
    }

    /// The span of an attempt at a job, below that of the job.
    fn span_of(&self, grant: &Grant) -> Span {
        let job = grant.traceparent.as_deref().and_then(Traceparent::parse);
        let mut span = self.traces.below(job, "attempt").of_kind(SpanKind::Consumer);
        if span.is_recorded() {
            span.set("rollmill.job", grant.job.to_string());
            span.set("rollmill.agent", self.id.to_string());
            span.set("rollmill.circuit", grant.job.kind().to_owned());
        }
        span
    }

    async fn attempt(
        &self,
        grant: &Grant,
        lease: &LeaseRef,
        slot: Option<OwnedSemaphorePermit>,
        cancel: &Cancel,
    ) -> End {
        let span = self.traces.here("fetch").of_kind(SpanKind::Client);
        let fetched = span.within(self.fetch(grant, lease, cancel)).await;
        span.end_with(fetched.as_ref().err().map(End::label));
        let input = match fetched {
            Ok(input) => input,
            Err(end) => return end,
        };
        rollmill_service::failpoint!("agent.after_fetch");

        let input = Arc::new(input);
        let made = tokio::select! {
            made = self.make(grant.job.kind(), &input, cancel) => made,
            () = self.leaving.over() => {
                // The work goes on in its thread until the process ends, which is now.
                cancel.cancel();
                return self.release(lease).await;
            }
        };
        let output = match made {
            Ok(Some(output)) => output,
            Ok(None) => return self.release(lease).await,
            Err(error) => return self.failed(lease, &error).await,
        };
        let reporting = self.reporting.acquire().await;
        drop(slot);
        let output = match self.verified(grant.job.kind(), input, output).await {
            Ok(output) => output,
            Err(error) => return self.failed(lease, &error).await,
        };
        self.measure(grant.job.kind(), &output);
        drop(reporting);
        self.hand_in(grant, output).await
    }

    /// The job's input. A broker that cannot be reached is waited for until the job's hard limit.
    async fn fetch(
        &self,
        grant: &Grant,
        lease: &LeaseRef,
        cancel: &Cancel,
    ) -> Result<Vec<u8>, End> {
        let limit = tokio::time::Instant::now() + Duration::from_millis(grant.hard_limit_ms);
        let digest = grant.job.input();
        loop {
            let fetched = tokio::select! {
                fetched = self.client.get_artifact(&digest) => fetched,
                () = self.leaving.started() => return Err(self.release(lease).await),
                () = cancel.cancelled() => return Err(End::Lost),
            };
            let error = match fetched {
                Ok(input) => {
                    self.link.reached();
                    return Ok(input);
                }
                Err(error) => error,
            };
            match error.answer() {
                Answer::Transient => {
                    self.link.failed(&error);
                    if tokio::time::Instant::now() >= limit {
                        return Err(self.release(lease).await);
                    }
                }
                // The broker reads the input itself before it believes this.
                Answer::UnknownArtifact | Answer::ArtifactLost => {
                    let class = FailureClass::InputMissing;
                    return Err(self.fail(lease, class, &one_line(&error)).await);
                }
                // The next claim ends the agent.
                Answer::TokenRejected | Answer::Quarantined | Answer::IdentityTaken => {
                    return Err(self.release(lease).await);
                }
                Answer::Cancelled | Answer::LeaseLost | Answer::UnknownJob | Answer::EpochEnded => {
                    return Err(End::Lost);
                }
                Answer::Incompatible
                | Answer::VersionConflict
                | Answer::NotUploaded
                | Answer::DigestMismatch
                | Answer::TooLarge
                | Answer::UnknownSession
                | Answer::RejectedBefore => {
                    let class = FailureClass::Transient;
                    return Err(self.fail(lease, class, &one_line(&error)).await);
                }
            }
        }
    }

    async fn failed(&self, lease: &LeaseRef, error: &WorkError) -> End {
        match error.class() {
            Some(class) => self.fail(lease, class, &one_line(error)).await,
            None => End::Lost,
        }
    }

    /// Prepares the job, waits for the device and proves, in threads that may block. None if the agent
    /// is to stop before the device was reached.
    async fn make(
        &self,
        kind: &str,
        input: &Arc<Vec<u8>>,
        cancel: &Cancel,
    ) -> Result<Option<WorkOutput>, WorkError> {
        let span = self.traces.here("witness");
        let prepared = {
            let (worker, input) = (self.worker.clone(), input.clone());
            let (kind, cancel) = (kind.to_owned(), cancel.clone());
            run_blocking(move || worker.prepare(&kind, &input, &cancel)).await
        };
        span.end_with(prepared.as_ref().err().map(WorkError::code));
        let prepared = prepared?;
        let span = self.traces.here("wait for device");
        let permit = tokio::select! {
            biased;
            permit = self.device.acquire() => permit,
            () = self.leaving.started() => return Ok(None),
            () = cancel.cancelled() => return Err(WorkError::Cancelled),
        };
        let Ok(permit) = permit else { return Ok(None) };
        span.end();
        let span = self.traces.here("prove");
        self.metrics.busy.inc();
        let output = {
            let cancel = cancel.clone();
            run_blocking(move || match cancel.is_cancelled() {
                true => Err(WorkError::Cancelled),
                false => prepared(&cancel).map(Some),
            })
            .await
        };
        self.metrics.busy.dec();
        span.end_with(output.as_ref().err().map(WorkError::code));
        if let Err(WorkError::DeviceLost { message }) = &output {
            tracing::error!(error = message, "device lost; exiting");
            *self.lost.lock() = Some(message.clone());
            self.device.close();
            self.device_gone.notify_one();
        }
        drop(permit);
        output
    }

    /// Checks a result as its producer will, in a thread that may block.
    async fn verified(
        &self,
        kind: &str,
        input: Arc<Vec<u8>>,
        output: WorkOutput,
    ) -> Result<WorkOutput, WorkError> {
        let span = self.traces.here("verify");
        let (worker, kind) = (self.worker.clone(), kind.to_owned());
        let checked =
            run_blocking(move || worker.verify(&kind, &input, &output.result).map(|()| output))
                .await;
        span.end_with(checked.as_ref().err().map(WorkError::code));
        checked
    }

    async fn fail(&self, lease: &LeaseRef, class: FailureClass, message: &str) -> End {
        tracing::warn!(job = %lease.job, class = class.as_str(), error = message, "job failed");
        let request = FailRequest {
            agent: self.id.clone(),
            lease: lease.clone(),
            class,
            message: message.to_owned(),
        };
        // What cannot be reported is found by the lease running out.
        match self.client.fail(&request).await {
            Ok(()) => End::Failed(class),
            Err(error) => {
                tracing::debug!(error = one_line(&error), "failure not reported");
                End::Lost
            }
        }
    }

    async fn release(&self, lease: &LeaseRef) -> End {
        let request = ReleaseRequest { agent: self.id.clone(), lease: lease.clone() };
        match self.client.release(&request).await {
            Ok(()) => End::Released,
            Err(error) => {
                tracing::warn!(error = one_line(&error), "job not released; its lease will expire");
                End::Lost
            }
        }
    }

    fn measure(&self, kind: &str, output: &WorkOutput) {
        let stats = &output.stats;
        self.metrics.proving_seconds.with_label_values(&[kind]).observe(stats.proving_seconds);
        self.metrics.witness_seconds.with_label_values(&[kind]).observe(stats.witness_seconds);
    }

    fn held(&self) -> MutexGuard<'_, Vec<JobId>> {
        self.held.lock()
    }
}

/// What a worker can do, as the broker names it.
fn capabilities<W: Worker + ?Sized>(worker: &W) -> Result<Vec<Capability>, AgentError> {
    let bad = |name: &str| AgentError::CircuitName { name: name.to_owned() };
    let capability = |(kind, version): (String, String)| {
        Ok::<_, AgentError>(Capability {
            kind: kind.parse().map_err(|_| bad(&kind))?,
            version: version.parse().map_err(|_| bad(&version))?,
        })
    };
    worker.circuits().into_iter().map(capability).collect()
}

/// Runs `work` in a thread that may block.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkError> + Send + 'static,
) -> Result<T, WorkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // A bug in the worker must not end the agent: the job goes elsewhere.
        Err(error) => Err(WorkError::Transient { message: format!("the worker died: {error}") }),
    }
}

/// Logs that a job's task panicked. Its lease expires and the job goes to another agent.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "job task panicked");
    }
}
