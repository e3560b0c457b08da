//! Submits proofs: from the spool to a broker.

use std::sync::Arc;

use rollmill_broker_client::{
    Answer, ClientError, CompleteOutcome, CompleteRequest, FailureClass, Grant, LeaseRef,
};
use rollmill_service::traces::{SpanKind, Traceparent};
use rollmill_service::{Again, Backoff, Retry, one_line};

use super::{Agent, End, INCOMPATIBLE, PAUSE_FIRST, PAUSE_MAX, SPOOL_RETRY};
use crate::spool::{Next, Proof, Verdict};
use crate::worker::{WorkOutput, Worker};

/// Times that one proof may arrive damaged, or be lost between upload and report, before it is put off.
const MISMATCHES_MAX: u32 = 3;

impl<W: Worker + ?Sized> Agent<W> {
    /// Keeps a verified proof and waits until it has come to an end, or until the agent leaves.
    pub(super) async fn hand_in(&self, grant: &Grant, output: WorkOutput) -> End {
        let proof = Proof {
            job: grant.job.clone(),
            lease_epoch: grant.lease_epoch,
            deadline_unix_seconds: grant.deadline_unix_seconds,
            stats: serde_json::to_value(&output.stats).unwrap_or_default(),
            result: output.result,
            attempt: Traceparent::current(),
        };
        // Written and synced on this thread: some kilobytes, and nothing else may come first.
        let verdict = tokio::task::block_in_place(|| self.spool.push(proof));
        rollmill_service::failpoint!("agent.after_spool");
        tokio::select! {
            biased;
            verdict = verdict => verdict.map_or(End::Lost, End::Proof),
            () = self.leaving.over() => {
                let saved = tokio::task::block_in_place(|| self.spool.save());
                match saved.contains(&(grant.job.clone(), true)) {
                    true => End::Spooled,
                    false => End::Lost,
                }
            }
        }
    }

    /// Waits until the spool has space for another proof, or until the agent takes no more jobs.
    pub(super) async fn wait_for_spool(&self) {
        tracing::warn!("spool full; claiming paused");
        let since = std::time::Instant::now();
        loop {
            let changed = self.spool.changed();
            if self.spool.has_space() {
                break;
            }
            tokio::select! {
                () = changed => {}
                () = self.leaving.started() => return,
            }
        }
        let wait_seconds = since.elapsed().as_secs_f64();
        tracing::info!(wait_seconds, "spool has space again; claiming continues");
    }

    /// Writes proofs again that could not be written, for as long as the agent lives, and keeps the condition `spool`.
    /// Does nothing without a directory.
    pub(super) async fn keep_spool(&self) {
        let mut retry = Retry::steady(SPOOL_RETRY);
        while self.spool.is_on_disk() {
            let changed = self.spool.changed();
            let trouble = self.spool.trouble();
            // A caller of `record` logs the failure itself.
            self.conditions.record("spool", trouble.clone().map_or(Ok(()), Err));
            let Some(error) = trouble else {
                retry
                    .succeeded(|wait_seconds| tracing::info!(wait_seconds, "proofs spooled again"));
                changed.await;
                continue;
            };
            let log = |Again { repeated, retry_seconds }| {
                tracing::error!(error, repeated, retry_seconds, "proofs not spooled; retrying");
            };
            retry.failed(changed, log).await;
            tokio::task::block_in_place(|| self.spool.save());
        }
    }

    /// Writes what no broker has taken, and logs what is kept for the next start and what is lost. Blocks.
    pub(super) fn leave_spool(&self) {
        let saved = self.spool.save();
        match saved.iter().filter(|(_, is_on_disk)| *is_on_disk).count() {
            0 => {}
            proofs => tracing::info!(proofs, "proofs kept for the next start"),
        }
        match saved.iter().filter(|(_, is_on_disk)| !is_on_disk).count() {
            0 => {}
            proofs => {
                tracing::warn!(proofs, "proofs lost; spool_dir keeps them on a disk with space");
            }
        }
    }

    /// Offers proofs, one after the other, for as long as the agent lives.
    pub(super) async fn offer_proofs(&self) {
        let mut retry = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        let (mut mismatches, mut shown) = (0, None);
        self.conditions.record("proofs", Ok(()));
        loop {
            let (id, proof) = self.next_proof(&mut shown).await;
            let error = match self.offer(&proof).await {
                Ok(verdict) => {
                    retry.reset();
                    mismatches = 0;
                    self.link.reached();
                    if let Some(kind) = self.spool.end(id, verdict) {
                        let label = End::Proof(verdict).label();
                        self.metrics.jobs_total.with_label_values(&[kind.as_str(), label]).inc();
                        tracing::info!(job = %proof.job, outcome = label, "spooled proof finished");
                    }
                    rollmill_service::failpoint!("agent.after_report");
                    continue;
                }
                Err(error) => error,
            };
            match error.answer() {
                Answer::Transient => {
                    self.link.failed(&error);
                    tokio::time::sleep(retry.pause()).await;
                }
                // Nobody wants it. That is no failure of this agent, and none is reported.
                Answer::UnknownJob
                | Answer::Cancelled
                | Answer::RejectedBefore
                | Answer::EpochEnded => {
                    tracing::warn!(job = %proof.job, error = one_line(&error), "proof no longer needed");
                    self.forget(id, Verdict::Unwanted);
                }
                Answer::TooLarge => {
                    let lease = LeaseRef { job: proof.job.clone(), lease_epoch: proof.lease_epoch };
                    self.fail(&lease, FailureClass::ResultTooLarge, &one_line(&error)).await;
                    self.forget(id, Verdict::TooLarge);
                }
                // Damaged on the way, or lost between upload and report: upload again.
                Answer::DigestMismatch | Answer::NotUploaded if mismatches < MISMATCHES_MAX => {
                    mismatches += 1;
                    tokio::time::sleep(retry.pause()).await;
                }
                // Kept: an upgrade, another token or an operator changes it.
                Answer::DigestMismatch
                | Answer::NotUploaded
                | Answer::Incompatible
                | Answer::TokenRejected
                | Answer::Quarantined
                | Answer::IdentityTaken
                | Answer::UnknownSession
                | Answer::VersionConflict
                | Answer::UnknownArtifact
                | Answer::ArtifactLost
                | Answer::LeaseLost => {
                    mismatches = 0;
                    let retry_seconds = INCOMPATIBLE.as_secs();
                    let error = one_line(&error);
                    tracing::error!(job = %proof.job, error, retry_seconds, "proof not accepted");
                    let rejection = format!("the proof of {} is not accepted: {error}", proof.job);
                    self.spool.postpone(id, Backoff::steady(INCOMPATIBLE).pause(), rejection);
                }
            }
        }
    }

    /// Waits for a proof that can be offered now. Keeps the condition `proofs`, of which `shown` is the reason: a proof
    /// that was rejected may end in other ways than by an answer.
    async fn next_proof(&self, shown: &mut Option<String>) -> (u64, Arc<Proof>) {
        loop {
            let changed = self.spool.changed();
            let next = self.spool.next();
            let reason = self.spool.held_up();
            if reason != *shown {
                self.conditions.record("proofs", reason.clone().map_or(Ok(()), Err));
                *shown = reason;
            }
            match next {
                Next::Offer(id, proof) => return (id, proof),
                Next::Wait(None) => changed.await,
                Next::Wait(Some(until)) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(until) => {}
                },
            }
        }
    }

    fn forget(&self, id: u64, verdict: Verdict) {
        if let Some(kind) = self.spool.end(id, verdict) {
            let label = End::Proof(verdict).label();
            self.metrics.jobs_total.with_label_values(&[kind.as_str(), label]).inc();
        }
    }

    /// Uploads and reports a proof once. Also after its lease was lost: a valid result is taken while
    /// the job has none.
    async fn offer(&self, proof: &Proof) -> Result<Verdict, ClientError> {
        rollmill_service::failpoint!("agent.before_upload");
        let span = self.traces.below(proof.attempt, "upload").of_kind(SpanKind::Client);
        let (epoch, result) = (proof.job.epoch(), proof.result.clone());
        let stored = span.within(self.once.put_artifact(epoch, result)).await;
        span.end_with(stored.as_ref().err().map(ClientError::code));
        let result = stored?;
        rollmill_service::failpoint!("agent.after_upload");
        let lease = LeaseRef { job: proof.job.clone(), lease_epoch: proof.lease_epoch };
        let request =
            CompleteRequest { agent: self.id.clone(), lease, result, stats: proof.stats.clone() };
        let span = self.traces.below(proof.attempt, "report").of_kind(SpanKind::Client);
        let reported = span.within(self.once.complete(&request)).await;
        span.end_with(reported.as_ref().err().map(ClientError::code));
        Ok(match reported? {
            CompleteOutcome::Accepted => Verdict::Accepted,
            CompleteOutcome::AlreadyDone => Verdict::AlreadyDone,
        })
    }
}
