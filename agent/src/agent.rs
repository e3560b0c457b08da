//! The loop: claim, fetch, prepare, prove, verify, upload, report, forget.
//!
//! One job is on the device at a time, or as many as the settings say. Further ones, up to the prefetch,
//! are fetched and prepared meanwhile, so that the device waits for neither the network nor a witness.
//! A job whose proof is made leaves the device and its place: the next one is claimed while the proof is
//! verified and reported.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollmill_broker_client::{
    AgentId, Capability, ClaimRequest, Client, ClientError, CompleteRequest, FailRequest,
    FailureClass, Grant, JobId, LeaseRef, Options, ReleaseRequest,
};
use rollmill_service::{Process, Secret, Shutdown, one_line};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::failpoint;
use crate::heart::{Cancel, Heart};
use crate::metrics::Metrics;
use crate::warm::{self, Idle};
use crate::worker::{WorkError, WorkOutput, Worker};

const CLAIM_WAIT: Duration = Duration::from_secs(20);
const BROKER_AWAY: Duration = Duration::from_secs(1);

/// Why an agent cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The broker does not want this agent: no token, quarantined, or another version.
    #[error("{}: the broker refuses this agent", self.code())]
    Refused {
        #[source]
        source: ClientError,
    },

    /// The worker names a type or version that cannot be one.
    #[error("{}: `{name}` cannot name a circuit or version", self.code())]
    CircuitName { name: String },

    /// The device went away while the agent ran. What supervises the process starts it again.
    #[error("{}: the device was lost: {reason}; start the agent again", self.code())]
    DeviceLost { reason: String },

    /// The heartbeat's thread cannot be started.
    #[error("{}: cannot start the heartbeat", self.code())]
    Heart {
        #[source]
        source: std::io::Error,
    },
}

impl AgentError {
    /// Stable identifier. Never reused.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "AGT-020",
            Self::CircuitName { .. } => "AGT-021",
            Self::Heart { .. } => "AGT-022",
            Self::DeviceLost { .. } => "AGT-023",
        }
    }
}

/// One agent with its worker.
#[derive(Debug)]
pub struct Agent<W: ?Sized> {
    worker: Arc<W>,
    client: Client,
    heart: Heart,
    id: AgentId,
    capabilities: Vec<Capability>,
    class: u8,
    drain: Duration,
    metrics: Metrics,
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
}

/// How a job ended, for the count.
enum End {
    Completed,
    Failed(FailureClass),
    Released,
    /// Somebody else's now, or nobody's.
    Lost,
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
        let metrics = Metrics::new(&process.metrics)?;
        let id = config.agent_id();
        let heart = Heart::start(&beats, id.clone(), metrics.heartbeat_failures_total.clone())
            .map_err(|source| AgentError::Heart { source })?;
        let mut capabilities = Vec::new();
        for (kind, version) in worker.circuits() {
            let bad = |name: &str| AgentError::CircuitName { name: name.to_owned() };
            capabilities.push(Capability {
                kind: kind.parse().map_err(|_| bad(&kind))?,
                version: version.parse().map_err(|_| bad(&version))?,
            });
        }
        let held: Arc<Mutex<Vec<JobId>>> = Arc::default();
        let shown = held.clone();
        process.board.show("jobs", move || {
            let held = shown.lock().unwrap_or_else(PoisonError::into_inner);
            held.iter().map(ToString::to_string).collect()
        });
        let prefetch = config.prefetch.unwrap_or_else(|| worker.prefetch());
        Ok(Self {
            worker,
            client,
            heart,
            id,
            capabilities,
            class: config.class,
            drain: Duration::from_secs(config.drain_seconds),
            metrics,
            held,
            prefetch,
            warm: config.warm_keys,
            idle: Arc::new(Idle::new()),
            proofs_in_flight: config.proofs_in_flight,
            reporting: Semaphore::new(config.proofs_in_flight),
            device: Semaphore::new(config.proofs_in_flight),
            lost: Mutex::default(),
            device_gone: Notify::new(),
        })
    }

    /// Works until `shutdown`. The job on the device may finish within the drain limit and is then
    /// handed back; those that have not reached the device are handed back at once.
    ///
    /// # Errors
    /// [`AgentError::Refused`] when the broker does not want this agent, [`AgentError::DeviceLost`]
    /// when it can prove no more. A broker that is away is no error: the agent waits for it.
    pub async fn serve(self, shutdown: &Shutdown) -> Result<(), AgentError> {
        tracing::info!(
            agent = %self.id,
            circuits = self.capabilities.len(),
            prefetch = self.prefetch,
            "ready for jobs"
        );
        let slots = Arc::new(Semaphore::new(self.prefetch.saturating_add(self.proofs_in_flight)));
        let agent = Arc::new(self);
        let mut jobs = JoinSet::new();
        let warming = agent.warm.then(|| {
            let (worker, idle) = (agent.worker.clone(), agent.idle.clone());
            tokio::spawn(warm::warm(worker, idle, agent.metrics.clone()))
        });
        let end = loop {
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot,
                () = shutdown.started() => break Ok(()),
                () = agent.device_gone.notified() => break Ok(()),
            };
            while let Some(ended) = jobs.try_join_next() {
                note_end(ended);
            }
            let claimed = tokio::select! {
                claimed = agent.claim(shutdown) => claimed,
                () = agent.device_gone.notified() => break Ok(()),
            };
            match claimed {
                Ok(Some(grant)) => {
                    let (agent, shutdown) = (agent.clone(), shutdown.clone());
                    jobs.spawn(async move {
                        agent.run(grant, slot.ok(), &shutdown).await;
                    });
                }
                Ok(None) if shutdown.is_started() => break Ok(()),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        agent.idle.end();
        warming.inspect(tokio::task::JoinHandle::abort);
        while let Some(ended) = jobs.join_next().await {
            note_end(ended);
        }
        tracing::info!("no further jobs");
        let lost = agent.lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        lost.map_or(end, |reason| Err(AgentError::DeviceLost { reason }))
    }

    /// Asks for a job once. None if there was none in time, the broker is away, or the agent is to
    /// stop.
    async fn claim(&self, shutdown: &Shutdown) -> Result<Option<Grant>, AgentError> {
        if shutdown.is_started() {
            return Ok(None);
        }
        failpoint::pass("agent.before_claim").await;
        let request = self.claim_request();
        let claimed = tokio::select! {
            claimed = self.client.claim(&request) => claimed,
            () = shutdown.started() => return Ok(None),
        };
        match claimed {
            Ok(grant) => Ok(grant),
            Err(source @ ClientError::Refused { .. }) => Err(AgentError::Refused { source }),
            Err(error) => {
                tracing::warn!(error = one_line(&error), "no broker; waiting for it");
                tokio::select! {
                    () = tokio::time::sleep(BROKER_AWAY) => {}
                    () = shutdown.started() => {}
                }
                Ok(None)
            }
        }
    }

    fn claim_request(&self) -> ClaimRequest {
        ClaimRequest {
            agent: self.id.clone(),
            capabilities: self.capabilities.clone(),
            class: self.class,
            wait_ms: u64::try_from(CLAIM_WAIT.as_millis()).unwrap_or(u64::MAX),
            info: serde_json::json!({
                "software": concat!("rollmill-agent ", env!("CARGO_PKG_VERSION")),
                "threads": std::thread::available_parallelism().map_or(1, usize::from),
            }),
        }
    }

    /// Does a job. `slot` is its place among those held, given back when its proof is made.
    async fn run(&self, grant: Grant, slot: Option<OwnedSemaphorePermit>, shutdown: &Shutdown) {
        let _held = self.idle.job();
        let kind = grant.job.kind().to_owned();
        let lease = LeaseRef { job: grant.job.clone(), lease_epoch: grant.lease_epoch };
        self.held().push(grant.job.clone());
        self.metrics.jobs_held.inc();
        let end = {
            let hold = self.heart.hold(lease.clone());
            failpoint::pass("agent.after_claim").await;
            self.attempt(&grant, &lease, slot, hold.cancel(), shutdown).await
        };
        self.metrics.jobs_held.dec();
        self.held().retain(|job| *job != grant.job);
        let outcome = match end {
            End::Completed => "completed",
            End::Failed(class) => class.as_str(),
            End::Released => "released",
            End::Lost => "lost",
        };
        self.metrics.jobs_total.with_label_values(&[&kind, outcome]).inc();
        tracing::info!(job = %grant.job, outcome, "job ended");
    }

    async fn attempt(
        &self,
        grant: &Grant,
        lease: &LeaseRef,
        slot: Option<OwnedSemaphorePermit>,
        cancel: &Cancel,
        shutdown: &Shutdown,
    ) -> End {
        let input = match self.client.get_artifact(&grant.job.input()).await {
            Ok(input) => input,
            Err(error) => {
                let class = match error.is_transient() {
                    true => FailureClass::Transient,
                    false => FailureClass::InputMissing,
                };
                return self.fail(lease, class, &one_line(&error)).await;
            }
        };
        failpoint::pass("agent.after_fetch").await;

        let input = Arc::new(input);
        let made = tokio::select! {
            made = self.make(grant.job.kind(), &input, cancel, shutdown) => made,
            () = self.drained(shutdown) => {
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
        let _reporting = self.reporting.acquire().await;
        drop(slot);
        let output = match self.verified(grant.job.kind(), input, output).await {
            Ok(output) => output,
            Err(error) => return self.failed(lease, &error).await,
        };
        self.measure(grant.job.kind(), &output);
        self.report(grant, lease, output).await
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
        shutdown: &Shutdown,
    ) -> Result<Option<WorkOutput>, WorkError> {
        let prepared = {
            let (worker, input) = (self.worker.clone(), input.clone());
            let (kind, cancel) = (kind.to_owned(), cancel.clone());
            in_thread(move || worker.prepare(&kind, &input, &cancel)).await?
        };
        let permit = tokio::select! {
            biased;
            permit = self.device.acquire() => permit,
            () = shutdown.started() => return Ok(None),
        };
        let Ok(permit) = permit else { return Ok(None) };
        self.metrics.busy.inc();
        let output = {
            let cancel = cancel.clone();
            in_thread(move || match cancel.is_cancelled() {
                true => Err(WorkError::Cancelled),
                false => prepared(&cancel).map(Some),
            })
            .await
        };
        self.metrics.busy.dec();
        if let Err(WorkError::DeviceLost { message }) = &output {
            tracing::error!(message, "the device was lost; ending");
            *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.clone());
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
        let (worker, kind) = (self.worker.clone(), kind.to_owned());
        in_thread(move || worker.verify(&kind, &input, &output.result).map(|()| output)).await
    }

    /// Uploads and reports. Also after the lease was lost: a valid result is taken while the job
    /// has none.
    async fn report(&self, grant: &Grant, lease: &LeaseRef, output: WorkOutput) -> End {
        failpoint::pass("agent.before_upload").await;
        let result = match self.client.put_artifact(grant.job.epoch(), output.result).await {
            Ok(result) => result,
            Err(error) => {
                return self.fail(lease, FailureClass::Transient, &one_line(&error)).await;
            }
        };
        failpoint::pass("agent.after_upload").await;
        let stats = serde_json::to_value(&output.stats).unwrap_or_default();
        let request =
            CompleteRequest { agent: self.id.clone(), lease: lease.clone(), result, stats };
        let end = match self.client.complete(&request).await {
            Ok(_) => End::Completed,
            // The same bytes were found wrong before: a second opinion would be the same.
            Err(error) if error.broker_code().is_some_and(is_rejected_before) => {
                self.fail(lease, FailureClass::InvalidProof, &one_line(&error)).await
            }
            Err(error) => {
                tracing::warn!(job = %lease.job, error = one_line(&error), "result not taken");
                End::Lost
            }
        };
        failpoint::pass("agent.after_report").await;
        end
    }

    async fn fail(&self, lease: &LeaseRef, class: FailureClass, message: &str) -> End {
        tracing::warn!(job = %lease.job, class = class.as_str(), message, "job failed");
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
                tracing::warn!(error = one_line(&error), "job not handed back; its lease runs out");
                End::Lost
            }
        }
    }

    /// Ready when the present job must be handed back.
    async fn drained(&self, shutdown: &Shutdown) {
        shutdown.started().await;
        tokio::select! {
            () = tokio::time::sleep(self.drain) => {}
            () = shutdown.aborted() => {}
        }
    }

    fn measure(&self, kind: &str, output: &WorkOutput) {
        let stats = &output.stats;
        self.metrics.proving_seconds.with_label_values(&[kind]).observe(stats.proving_seconds);
        self.metrics.witness_seconds.with_label_values(&[kind]).observe(stats.witness_seconds);
    }

    fn held(&self) -> MutexGuard<'_, Vec<JobId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` in a thread that may block.
pub(crate) async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkError> + Send + 'static,
) -> Result<T, WorkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // A bug in the worker must not end the agent: the job goes elsewhere.
        Err(error) => Err(WorkError::Transient { message: format!("the worker died: {error}") }),
    }
}

/// Says so if the task of a job ended by a bug. Its lease runs out and the job goes elsewhere.
fn note_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a job died");
    }
}

/// Whether a code of the broker says that the same result was rejected before.
fn is_rejected_before(code: &str) -> bool {
    code.strip_prefix("BRK-") == Some("021")
}
