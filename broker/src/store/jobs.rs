//! What producers and operators do to jobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rollmill_broker_client::{
    Digest, FailureClass, JobId, JobState, JobView, NewJob, QueueView, RejectOutcome,
    RejectRequest, RejectResponse,
};
use rollmill_broker_rules::decide;
use sqlx::Transaction;
use sqlx::postgres::Postgres;

use super::audit::{By, named};
use super::healing::LOOKS;
use super::leases::Reopening;
use super::sql::{
    ArtifactWhole, AttemptCancel, AttemptReject, AttemptUncountAll, Cancel, DeadLetters, Enqueue,
    Lock, LockedJob, Queue, QueueRow, Replay, Seq, Statement,
};
use super::{Store, Tenant, corrupt};
use crate::error::BrokerError;
use crate::policy::{self, Failure};

/// What a cancellation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    pub jobs: u64,
    /// Attempts that were running.
    pub attempts: u64,
}

/// Unfinished jobs of a type, an epoch and a state.
#[derive(Clone, Debug)]
pub struct Backlog {
    pub tenant: Tenant,
    pub epoch: u64,
    /// The highest of those whose path is not known in seconds; 0 without any.
    pub rank: u32,
    /// The longest path of the others.
    pub path_seconds: Option<f64>,
    /// Until their earliest deadline.
    pub deadline_seconds: Option<f64>,
    /// Since the oldest of their leases was granted.
    pub lease_seconds: Option<f64>,
    pub view: QueueView,
}

/// The same without epochs.
pub fn queue_of(backlog: &[Backlog]) -> Vec<(Tenant, QueueView)> {
    let mut queue: Vec<(Tenant, QueueView)> = Vec::new();
    for Backlog { tenant, view, .. } in backlog {
        let of =
            |view: &QueueView| (view.kind.clone(), view.version.clone(), view.class, view.state);
        // Epochs of one type follow each other.
        match queue.last_mut() {
            Some((other, last)) if other == tenant && of(last) == of(view) => {
                last.count += view.count;
                last.oldest_seconds = last.oldest_seconds.max(view.oldest_seconds);
            }
            _ => queue.push((tenant.clone(), view.clone())),
        }
    }
    queue
}

impl Store {
    /// Adds jobs whose inputs are stored. Returns all in the order given, known ones as they are.
    pub async fn enqueue(
        &self,
        tenant: &Tenant,
        jobs: &[NewJob],
    ) -> Result<Vec<JobView>, BrokerError> {
        // One statement cannot touch a row twice; the first of equal ids stands for all.
        let mut unique: HashMap<&JobId, &NewJob> = HashMap::new();
        for job in jobs {
            unique.entry(&job.id).or_insert(job);
        }
        // Locking in a fixed order keeps two producers of one batch from a deadlock.
        let mut unique: Vec<&NewJob> = unique.into_values().collect();
        unique.sort_by(|a, b| a.id.cmp(&b.id));
        self.require_inputs(tenant, &unique).await?;

        Self::enqueue_statement(tenant, &unique)?.run(&self.pool).await?;

        let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
        let views = self.jobs(tenant, &ids).await?;
        let versions: HashMap<&JobId, &NewJob> = unique.iter().map(|job| (&job.id, *job)).collect();
        if views.len() < jobs.len()
            && let Some(job) = jobs.first()
        {
            // The epoch was closed after it was looked at.
            self.require_open(tenant, job.id.epoch(), false).await?;
            return Err(BrokerError::EpochClosing { epoch: job.id.epoch() });
        }
        for view in &views {
            if versions.get(&view.id).is_some_and(|job| job.version != view.version) {
                return Err(BrokerError::VersionConflict { id: view.id.clone() });
            }
        }
        Ok(views)
    }

    /// The statement that adds jobs of different ids.
    pub(super) fn enqueue_statement<'a>(
        tenant: &'a Tenant,
        jobs: &[&'a NewJob],
    ) -> Result<Enqueue<'a>, BrokerError> {
        let mut enqueue = Enqueue {
            tenant,
            ids: jobs.iter().map(|job| &job.id).collect(),
            kinds: jobs.iter().map(|job| job.id.kind()).collect(),
            versions: jobs.iter().map(|job| &job.version).collect(),
            epochs: jobs.iter().map(|job| job.id.epoch()).collect(),
            ranks: jobs.iter().map(|job| job.rank).collect(),
            sizes: jobs.iter().map(|job| job.class).collect(),
            inputs: jobs.iter().map(|job| job.id.input()).collect(),
            labels: Vec::with_capacity(jobs.len()),
            hard_limits: Vec::with_capacity(jobs.len()),
            deadlines: Vec::with_capacity(jobs.len()),
            // Exact: the interface accepts no longer path.
            paths: jobs
                .iter()
                .map(|job| job.path_ms.and_then(|ms| i32::try_from(ms).ok()))
                .collect(),
        };
        for job in jobs {
            let labels = serde_json::to_string(&job.labels);
            enqueue.labels.push(labels.map_err(|error| BrokerError::bad(error.to_string()))?);
            let limit = job.hard_limit_seconds.map(i32::try_from).transpose();
            let wrong = |_| BrokerError::bad(format!("a hard limit is above {} s", i32::MAX));
            enqueue.hard_limits.push(limit.map_err(wrong)?);
            // Exact: the interface accepts no time beyond 2^40.
            enqueue.deadlines.push(job.deadline_unix_seconds.map(|seconds| seconds as f64));
        }
        Ok(enqueue)
    }

    /// Requires that each job's input can be read in the job's own epoch. One that can be read in another is copied; a
    /// damaged one is requested as well.
    async fn require_inputs(&self, tenant: &Tenant, jobs: &[&NewJob]) -> Result<(), BrokerError> {
        let mut inputs: BTreeMap<u64, BTreeSet<Digest>> = BTreeMap::new();
        for job in jobs {
            inputs.entry(job.id.epoch()).or_default().insert(job.id.input());
        }
        for (epoch, mut digests) in inputs {
            self.require_open(tenant, epoch, true).await?;
            // The usual case in one statement: small inputs.
            let whole = ArtifactWhole { tenant, digests: digests.iter().copied().collect(), epoch };
            for row in whole.all(&self.pool).await? {
                digests.remove(&row.digest.0);
            }
            for digest in digests {
                let own = self.read_apart(tenant, digest, Some(epoch)).await?;
                if !own.is_whole() && !self.copy_artifact(tenant, epoch, digest).await? {
                    return Err(BrokerError::NotUploaded { digest });
                }
            }
        }
        Ok(())
    }

    /// Cancels unfinished jobs; returns how many were.
    pub async fn cancel<'a>(
        &self,
        by: impl Into<By<'a>>,
        ids: &[JobId],
    ) -> Result<Cancelled, BrokerError> {
        self.cancel_where(by.into(), "cancel", ids, decide::unfinished()).await
    }

    /// Cancels dead letters; returns how many.
    pub async fn drop_dead<'a>(
        &self,
        by: impl Into<By<'a>>,
        ids: &[JobId],
    ) -> Result<u64, BrokerError> {
        let dead = vec![JobState::Dead];
        Ok(self.cancel_where(by.into(), "drop dead letters", ids, dead).await?.jobs)
    }

    async fn cancel_where(
        &self,
        by: By<'_>,
        action: &str,
        ids: &[JobId],
        states: Vec<JobState>,
    ) -> Result<Cancelled, BrokerError> {
        let mut tx = self.pool.begin().await?;
        let cancel = Cancel { tenant: by.tenant, jobs: ids.iter().collect(), states };
        let seqs = seqs(cancel.all(&mut *tx).await?);
        let attempts = AttemptCancel { jobs: &seqs }.run(&mut *tx).await?;
        if !seqs.is_empty() {
            by.record(&mut tx, action, &named(seqs.len() as u64, ids)).await?;
        }
        tx.commit().await?;
        Ok(Cancelled { jobs: seqs.len() as u64, attempts })
    }

    /// Renews the budget of dead letters, with every agent, and makes them ready.
    pub async fn replay<'a>(
        &self,
        by: impl Into<By<'a>>,
        ids: &[JobId],
    ) -> Result<u64, BrokerError> {
        let by = by.into();
        let mut tx = self.pool.begin().await?;
        let replay = Replay { tenant: by.tenant, jobs: ids.iter().collect() };
        let seqs = seqs(replay.all(&mut *tx).await?);
        AttemptUncountAll { jobs: &seqs }.run(&mut *tx).await?;
        if !seqs.is_empty() {
            let detail = named(seqs.len() as u64, ids);
            by.record(&mut tx, "replay dead letters", &detail).await?;
        }
        tx.commit().await?;
        Ok(seqs.len() as u64)
    }

    /// Reopens a job whose result its producer rejects, and charges the agent. Where the bytes cannot
    /// be read nobody is charged, since nobody can have checked them.
    pub async fn reject<'a>(
        &self,
        by: impl Into<By<'a>>,
        request: &RejectRequest,
        spread: f64,
    ) -> Result<RejectResponse, BrokerError> {
        let by = by.into();
        let tenant = by.tenant;
        let RejectRequest { id, result, .. } = request;
        let mut look = None;
        for _ in 0..LOOKS {
            let mut tx = self.pool.begin().await?;
            let job = Lock { tenant, job: id }.optional(&mut *tx).await?;
            let job = job.ok_or_else(|| BrokerError::UnknownJob { id: id.clone() })?;
            if job.result.as_ref().is_none_or(|made| made.0 != *result) {
                let outcome = RejectOutcome::Stale;
                return Ok(RejectResponse { outcome, agent_quarantined: false });
            }
            match Self::still(&mut tx, tenant, *result, look.as_ref()).await? {
                Some(true) => return self.reject_read(tx, by, request, job, spread).await,
                Some(false) => return Self::reject_lost(tx, by, request, job.seq).await,
                None => {}
            }
            // Not while the job is locked.
            tx.rollback().await?;
            look = Some(self.look(tenant, *result).await?);
        }
        Err(BrokerError::Overloaded)
    }

    /// Rejects a result whose bytes are lost. The transaction holds the job.
    async fn reject_lost(
        mut tx: Transaction<'_, Postgres>,
        by: By<'_>,
        RejectRequest { id, result, .. }: &RejectRequest,
        job: i64,
    ) -> Result<RejectResponse, BrokerError> {
        Self::reopen_without_blame(&mut tx, &[job], *result).await?;
        let detail = format!("{id}: {result}, whose bytes are lost, so nobody is blamed");
        by.record(&mut tx, "reject", &detail).await?;
        tx.commit().await?;
        Ok(RejectResponse { outcome: RejectOutcome::Reopened, agent_quarantined: false })
    }

    /// Rejects a result whose bytes can be read. The transaction holds the job.
    async fn reject_read(
        &self,
        mut tx: Transaction<'_, Postgres>,
        by: By<'_>,
        RejectRequest { id, result, reason }: &RejectRequest,
        job: LockedJob,
        spread: f64,
    ) -> Result<RejectResponse, BrokerError> {
        let (tenant, seq) = (by.tenant, job.seq);
        let agent = job.result_agent.ok_or_else(|| corrupt("a result without its agent"))?.0;

        AttemptReject { job: seq, agent: &agent, result: *result, reason }.run(&mut *tx).await?;
        let blame = self.charge(&mut tx, tenant, &agent).await?;

        let (failure, size) = (FailureClass::InvalidProof, job.class.0);
        let count = Self::failures(&mut tx, seq, failure).await?;
        let next = policy::after(Failure { failure, count, size }, spread);
        let reopening = Reopening { seq, failure, message: reason, agent: &agent, size, next };
        Self::reopen(&mut tx, reopening).await?;
        by.record(&mut tx, "reject", &format!("{id}: {result} by {agent}: {reason}")).await?;
        tx.commit().await?;
        if let Some(label) = blame.suspended {
            tracing::warn!(label, "token suspended");
        }
        let outcome = decide::rejected(next);
        Ok(RejectResponse { outcome, agent_quarantined: blame.quarantined })
    }

    /// Unfinished jobs by tenant, type, epoch and state; of one tenant, or of all.
    pub async fn backlog(&self, tenant: Option<&Tenant>) -> Result<Vec<Backlog>, BrokerError> {
        let hard_limit = self.rules.hard_limit.as_secs();
        let hard_limit_seconds = i32::try_from(hard_limit).unwrap_or(i32::MAX);
        let rows = Queue { tenant, hard_limit_seconds }.all(&self.pool).await?;
        let backlog = |row: QueueRow| Backlog {
            tenant: Tenant(row.tenant),
            epoch: row.epoch.0,
            rank: row.rank.0,
            path_seconds: row.path_seconds,
            deadline_seconds: row.deadline_seconds,
            lease_seconds: row.lease_seconds,
            view: QueueView {
                kind: row.kind,
                version: row.version,
                class: row.class.0,
                state: row.state.0,
                count: row.count.0,
                oldest_seconds: row.oldest_seconds,
            },
        };
        Ok(rows.into_iter().map(backlog).collect())
    }

    /// Unfinished jobs by tenant, type and state; of one tenant, or of all.
    pub async fn queue(
        &self,
        tenant: Option<&Tenant>,
    ) -> Result<Vec<(Tenant, QueueView)>, BrokerError> {
        Ok(queue_of(&self.backlog(tenant).await?))
    }

    /// How many dead letters there are.
    pub async fn dead_letters(&self, tenant: &Tenant) -> Result<u64, BrokerError> {
        Ok(DeadLetters { tenant }.one(&self.pool).await?.count.0)
    }
}

fn seqs(rows: Vec<Seq>) -> Vec<i64> {
    rows.into_iter().map(|row| row.seq).collect()
}
