//! One job from its input to a verified result.

use std::sync::Arc;
use std::time::Instant;

use rollmill_broker_client::{
    Answer, BATCH_MAX, ClientError, Digest, EpochOutcome, EpochState, FailureClass, JobId,
    JobState, JobView, NewJob, ROLLUP_LABEL, RejectOutcome,
};
use rollmill_errors::Bare;
use rollmill_protocol::plan::EpochPlan;
use rollmill_service::Again;
use rollmill_service::traces::SpanKind;

use super::answers::{Action, Route};
use super::feed::News;
use super::{Broker, Jobs, Shared};
use crate::work::WorkError;

/// Uploads of one input whose digest the broker does not confirm, before the range is parked for an
/// operator.
const MISMATCHES_MAX: u32 = 3;
/// Rejected results that are logged with their reason in full; the rest is counted.
const REASON_BYTES_MAX: usize = 300;

/// States of unfinished jobs, in the order in which they are listed to be cancelled: a job moves on while others are
/// listed, from a lease back to the queue and from the queue to a lease.
const UNFINISHED: [JobState; 5] =
    [JobState::Leased, JobState::InputWanted, JobState::Delayed, JobState::Ready, JobState::Leased];

/// Verifies a result; the error says what is wrong with it. Called on a thread that may block.
pub type Verify = Arc<dyn Fn(&[u8]) -> Result<(), WorkError> + Send + Sync>;

/// A verified result.
#[derive(Debug, Clone)]
pub struct Done {
    pub result: Vec<u8>,
    pub view: JobView,
}

/// Why a job fails permanently. The range is parked for an operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobFailure {
    /// The job's input cannot be built. Retrying cannot help.
    ///
    /// Do: Run `rollmill-prover-node replay` on the range's capture and report the job that it names.
    #[error("{code}: the input of job {index} ({circuit}) cannot be made: {cause}", code = self.code(), cause = Bare(.source))]
    Input {
        index: usize,
        circuit: &'static str,
        #[source]
        source: WorkError,
    },
    /// The broker rejects the job or its input. Retrying cannot help.
    ///
    /// Do: Run broker and prover node of the same release, then `rollmill-prover-node ranges retry`.
    #[error("{code}: the broker rejects job {id}: {cause}", code = self.code(), cause = Bare(.source.as_ref()))]
    Broker {
        id: JobId,
        #[source]
        source: Arc<ClientError>,
    },
    /// The broker stores the job's input under another digest, each time it is uploaded.
    ///
    /// Do: Check the memory and the disks of the broker and of this machine, and the proxies between them,
    /// then run `rollmill-prover-node ranges retry`.
    #[error("{code}: the input of job {id} arrives at the broker with another digest each time", code = self.code())]
    Digest { id: JobId },
}

rollmill_errors::coded! {
    JobFailure {
        Self::Input { .. } => "PRN-002",
        Self::Broker { .. } => "PRN-004",
        Self::Digest { .. } => "PRN-009",
    }
}

impl<B: Broker> Jobs<B> {
    /// Proves a job: uploads its input, enqueues it, waits, fetches the result and verifies it, and
    /// retries every step that fails temporarily. A lost result is requested again; only a result that
    /// was read completely and failed verification is rejected. Drop the future to stop; finished
    /// proofs stay at the broker.
    ///
    /// # Errors
    /// When an operator must act: the broker rejects the job, or does not confirm the digest of its input.
    pub async fn prove(
        &self,
        job: &NewJob,
        input: &Arc<Vec<u8>>,
        verify: &Verify,
    ) -> Result<Done, JobFailure> {
        let deadline = job.deadline_unix_seconds;
        self.prove_by(job, || deadline, input, verify).await
    }

    /// As [`Self::prove`], with a deadline that changes. The broker leases no job whose deadline has
    /// passed. The deadline is an estimate here, so a job that is still needed after it is enqueued
    /// again with the current estimate.
    ///
    /// # Errors
    /// As [`Self::prove`].
    pub async fn prove_by(
        &self,
        job: &NewJob,
        deadline: impl Fn() -> Option<u64>,
        input: &Arc<Vec<u8>>,
        verify: &Verify,
    ) -> Result<Done, JobFailure> {
        let mut job = job.clone();
        job.labels.insert(ROLLUP_LABEL.to_owned(), self.shared.rollup.clone());
        let mut slow = self.shared.tempo.backoff();
        let mut replayed: Option<Instant> = None;
        'upload: loop {
            let span = self.traces.here("upload input").of_kind(SpanKind::Client);
            let uploaded = span.within(self.upload(&job.id, input)).await;
            span.end_with(uploaded.as_ref().err().map(JobFailure::code));
            uploaded?;
            loop {
                job.deadline_unix_seconds = deadline();
                let view = match self.feed.finished(job.clone()).await {
                    News::Final(view) => *view,
                    News::Again => {
                        tokio::time::sleep(slow.pause()).await;
                        continue 'upload;
                    }
                    News::Rejected(source) => {
                        return Err(JobFailure::Broker { id: job.id.clone(), source });
                    }
                };
                match view.state {
                    JobState::Done => {
                        if let Some(done) = self.take(view, verify).await? {
                            return Ok(done);
                        }
                        tokio::time::sleep(slow.pause()).await;
                    }
                    JobState::InputWanted => {
                        shared_inputs(&self.shared.metrics, &view);
                        tokio::time::sleep(slow.pause()).await;
                        continue 'upload;
                    }
                    // Another producer cancelled a job that this range still needs: enqueueing reopens
                    // it.
                    JobState::Cancelled => tokio::time::sleep(slow.pause()).await,
                    JobState::Dead if is_late(&view) => {
                        tracing::warn!(job = %view.id, "job deadline passed; enqueueing it with a new one");
                        tokio::time::sleep(slow.pause()).await;
                    }
                    JobState::Dead => {
                        self.revive(&view, &mut replayed).await?;
                        continue 'upload;
                    }
                    JobState::Ready | JobState::Delayed | JobState::Leased => {
                        tokio::time::sleep(slow.pause()).await
                    }
                }
            }
        }
    }

    async fn upload(&self, id: &JobId, input: &Arc<Vec<u8>>) -> Result<(), JobFailure> {
        if self.uploads.put(id.epoch(), input).await {
            return Ok(());
        }
        let shared = &self.shared;
        let mut retry = shared.tempo.retry();
        let mut mismatches = 0;
        while mismatches < MISMATCHES_MAX {
            let permit = self.transfers.acquire().await;
            let bytes = || input.as_ref().clone();
            let put = || shared.broker.put_artifact(id.epoch(), bytes());
            let answer = shared.call(Route::Upload, put).await;
            drop(permit);
            match answer {
                Ok(_) => {
                    retry.succeeded(|wait_seconds| {
                        tracing::info!(job = %id, wait_seconds, "input stored");
                    });
                    return Ok(());
                }
                Err((action @ (Action::UploadAgain | Action::StartAgain), error)) => {
                    mismatches += u32::from(action == Action::UploadAgain);
                    let log = |Again { repeated, retry_seconds }| {
                        tracing::warn!(job = %id, error = rollmill_service::one_line(&error), repeated, retry_seconds, "input not stored; uploading again");
                    };
                    retry.failed(std::future::pending(), log).await;
                }
                Err((Action::OpenEpoch, error)) => {
                    let epoch = id.epoch();
                    let log = |Again { repeated, retry_seconds }| {
                        tracing::warn!(
                            epoch,
                            error = rollmill_service::one_line(&error),
                            repeated,
                            retry_seconds,
                            "epoch closed at the broker; opening it again"
                        );
                    };
                    // An error of it shows in the next upload.
                    let _ = shared.broker.open_epoch(epoch).await;
                    retry.failed(std::future::pending(), log).await;
                }
                Err((_, error)) => return Err(failure(id, error)),
            }
        }
        Err(JobFailure::Digest { id: id.clone() })
    }

    /// Fetches and verifies a result; `None` if it is lost or was rejected, and the caller waits for
    /// the job again.
    async fn take(&self, view: JobView, verify: &Verify) -> Result<Option<Done>, JobFailure> {
        let Some(digest) = view.result else { return Ok(None) };
        let shared = &self.shared;
        let permit = self.transfers.acquire().await;
        let span = self.traces.here("fetch result").of_kind(SpanKind::Client);
        let fetch = shared.call(Route::Fetch, || shared.broker.get_artifact(&digest));
        let answer = span.within(fetch).await;
        span.end_with(answer.as_ref().err().map(|(_, error)| error.code()));
        drop(permit);
        let result = match answer {
            Ok(result) => result,
            Err((Action::AwaitReopening, error)) => {
                shared.metrics.results_lost_total.inc();
                tracing::warn!(job = %view.id, error = %rollmill_service::one_line(&error), "result lost; waiting for the broker to reopen the job");
                return Ok(None);
            }
            Err((Action::StartAgain | Action::UploadAgain, _)) => return Ok(None),
            Err((_, error)) => return Err(failure(&view.id, error)),
        };
        let check = Arc::clone(verify);
        let span = self.traces.here("verify result");
        let checked = self.blocking(move || check(&result).map(|()| result)).await;
        span.end_with(checked.as_ref().err().map(WorkError::code));
        match checked {
            Ok(result) => Ok(Some(Done { result, view })),
            Err(error) => {
                let reason = Bare(&error).to_string();
                self.reject(&view.id, digest, &reason).await.map(|()| None)
            }
        }
    }

    async fn reject(&self, id: &JobId, digest: Digest, reason: &str) -> Result<(), JobFailure> {
        let shared = &self.shared;
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = &reason[..end];
        shared.metrics.results_rejected_total.inc();
        match shared.call(Route::Reject, || shared.broker.reject(id, digest, reason)).await {
            Ok(answer) => {
                let given_up = answer.outcome == RejectOutcome::DeadLettered;
                tracing::warn!(job = %id, error = reason, quarantined = answer.agent_quarantined, dead_lettered = given_up, "result rejected");
                Ok(())
            }
            Err((Action::Park | Action::Split, error)) => Err(failure(id, error)),
            Err(_) => Ok(()),
        }
    }

    /// Replays a dead-lettered job, since its range still needs it; at most once per `Tempo::replay`.
    async fn revive(&self, view: &JobView, last: &mut Option<Instant>) -> Result<(), JobFailure> {
        let shared = &self.shared;
        shared.metrics.jobs_dead_total.inc();
        let why = view.failure.as_ref().map_or_else(
            || "no reason was given".to_owned(),
            |failure| format!("{}: {}", failure.class.as_str(), failure.message),
        );
        tracing::warn!(job = %view.id, error = why, "job dead-lettered; replaying");
        if let Some(last) = last {
            tokio::time::sleep(shared.tempo.replay.saturating_sub(last.elapsed())).await;
        }
        *last = Some(Instant::now());
        let ids = std::slice::from_ref(&view.id);
        match shared.call(Route::Replay, || shared.broker.replay(ids)).await {
            Err((Action::Park | Action::Split, error)) => Err(failure(&view.id, error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Cancels the unfinished jobs of the deployment's epoch that no task of this process waits for. A producer that
    /// still needs one, such as another prover node of the deployment, enqueues it again. Another deployment's jobs
    /// have the same epoch numbers and are left alone. So are jobs without a label, which an older release enqueued:
    /// nothing tells whose they are, and they end at their deadline.
    ///
    /// # Errors
    /// When the broker did not list or cancel all of them; retry.
    pub async fn cancel_unwanted(&self, epoch: u64) -> Result<u64, ClientError> {
        let Shared { broker, rollup, .. } = &*self.shared;
        let mut count = 0;
        for state in UNFINISHED {
            let found = broker.list_all(epoch, rollup, state).await?;
            // Whatever the broker lists: what is not this deployment's own is never cancelled.
            let is_own = |view: &JobView| view.labels.get(ROLLUP_LABEL) == Some(rollup);
            let unwanted = found.into_iter().filter(|view| is_own(view));
            let ids: Vec<JobId> =
                unwanted.map(|view| view.id).filter(|id| !self.feed.wants(id)).collect();
            for ids in ids.chunks(BATCH_MAX) {
                count += broker.cancel(ids).await?;
            }
        }
        Ok(count)
    }

    /// Closes an epoch at the broker, unless another deployment has unfinished jobs in it; returns whether it takes nothing
    /// more. The broker deletes it after a time that depends on the outcome.
    ///
    /// # Errors
    /// When the broker did not answer; retry.
    pub async fn close_epoch(
        &self,
        epoch: u64,
        outcome: EpochOutcome,
    ) -> Result<bool, ClientError> {
        let shared = &self.shared;
        match shared.broker.close_epoch(epoch, &shared.rollup, outcome).await {
            Ok(state) => Ok(state != EpochState::Open),
            // Nothing is left to close.
            Err(error) if error.answer() == Answer::EpochEnded => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Records a finished job's metrics, and what it took.
    pub fn finished(&self, circuit: &str, view: &JobView) {
        let reported = |name: &str| view.stats.as_ref().and_then(|s| s.get(name)?.as_f64());
        if let Some(seconds) = reported("proving_seconds") {
            self.shared.metrics.job_proving_seconds.with_label_values(&[circuit]).observe(seconds);
            let witness = reported("witness_seconds").unwrap_or(0.0);
            self.shared.durations.lock().add(circuit, witness + seconds);
        }
    }

    /// Milliseconds of the proofs from a node to the root, its own included, by what such proofs have taken.
    pub fn path_ms(&self, plan: &EpochPlan, node: usize) -> u32 {
        let path = std::iter::successors(Some(node), |node| plan.nodes[*node].parent);
        self.shared.durations.lock().path_ms(path.map(|node| plan.nodes[node].circuit.name()))
    }

    /// Number of jobs that are waited for.
    pub fn open(&self) -> usize {
        self.feed.open()
    }
}

/// Whether a job is dead-lettered only because of its deadline.
fn is_late(view: &JobView) -> bool {
    view.failure.as_ref().is_some_and(|failure| failure.class == FailureClass::PastDeadline)
}

fn shared_inputs(metrics: &crate::metrics::Metrics, view: &JobView) {
    metrics.inputs_wanted_total.inc();
    tracing::warn!(job = %view.id, "input lost at the broker; uploading again");
}

fn failure(id: &JobId, error: ClientError) -> JobFailure {
    JobFailure::Broker { id: id.clone(), source: Arc::new(error) }
}
