//! How an attempt ends: completion, failure, release.

use rollmill_broker_client::{
    AgentId, AttemptOutcome, CompleteOutcome, CompleteRequest, FailRequest, FailureClass, LeaseRef,
    ReleaseRequest,
};
use rollmill_broker_rules::decide::{self, Offer};
use sqlx::postgres::Postgres;
use sqlx::{PgConnection, Transaction};

use super::healing::LOOKS;
use super::leases::{Reopening, lost};
use super::sql::{
    AgentQuarantined, ArtifactExists, AttemptAdd, AttemptComplete, AttemptDistrusted,
    AttemptMakers, AttemptRepeat, AttemptSupersede, Complete, Lock, LockedJob, Release, Statement,
};
use super::{Store, Tenant};
use crate::error::BrokerError;
use crate::policy::{self, Failure, Next};

/// What a completion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    pub outcome: CompleteOutcome,
    /// The agent's lease was no longer held.
    pub late: bool,
    /// The same agent had completed the job with the same result before.
    pub repeated: bool,
}

impl Store {
    /// The completion rule: the first result is accepted, from any agent. The producer rejects an
    /// invalid one; then neither that result nor one of that agent is accepted for the job again.
    pub async fn complete(
        &self,
        tenant: &Tenant,
        request: &CompleteRequest,
    ) -> Result<Completed, BrokerError> {
        if let Some(done) = self.complete_here(tenant, request).await? {
            return Ok(done);
        }
        // Not while the job is locked: a copy waits for whoever closes the epoch, who waits for its jobs.
        let (epoch, digest) = (request.lease.job.epoch(), request.result);
        let done = match self.copy_artifact(tenant, epoch, digest).await? {
            true => self.complete_here(tenant, request).await?,
            false => None,
        };
        done.ok_or(BrokerError::NotUploaded { digest })
    }

    /// As [`Self::complete`]; [`None`] if the result was not uploaded for the job's epoch.
    async fn complete_here(
        &self,
        tenant: &Tenant,
        request: &CompleteRequest,
    ) -> Result<Option<Completed>, BrokerError> {
        let CompleteRequest { agent, lease, result, stats } = request;
        let (result, lease_epoch) = (*result, lease.lease_epoch);
        let mut tx = self.pool.begin().await?;
        let job = Self::lock(&mut tx, tenant, lease).await?;
        let late = !holds(&job, agent, lease);
        let made = job.result_agent.as_ref().zip(job.result.as_ref());
        let made = made.map(|(maker, made)| (&maker.0, &made.0));
        match decide::offer(job.state.0, made, (agent, &result)) {
            Offer::Repeated => {
                let outcome = CompleteOutcome::Accepted;
                return Ok(Some(Completed { outcome, late, repeated: true }));
            }
            Offer::AlreadyDone => {
                let outcome = CompleteOutcome::AlreadyDone;
                return Ok(Some(Completed { outcome, late, repeated: false }));
            }
            Offer::Cancelled => return Err(BrokerError::Cancelled { id: lease.job.clone() }),
            Offer::Wanted => {}
        }
        if let Err(error) = self.reject_distrusted(&mut tx, tenant, &job, request).await {
            if matches!(error, BrokerError::AlreadyRejected { .. }) && !late {
                Self::hand_on(&mut tx, &job, request).await?;
                tx.commit().await?;
            }
            return Err(error);
        }
        let epoch = lease.job.epoch();
        // A result of a closed epoch would be deleted with it: its producer does not want it any more.
        Self::require_open_in(&mut tx, tenant, epoch).await?;
        if !(ArtifactExists { tenant, digest: result, epoch }).one(&mut *tx).await?.found {
            tx.rollback().await?;
            return Ok(None);
        }

        let complete =
            Complete { tenant, job: &lease.job, result, agent, stats: stats.to_string() };
        if complete.run(&mut *tx).await? != 1 {
            // The lock is held, so the state is the one that was read.
            let reason = format!("job {} was not completed in state {}", lease.job, job.state.0);
            return Err(BrokerError::Internal { reason });
        }
        let outcome = match late {
            true => AttemptOutcome::CompletedLate,
            false => AttemptOutcome::Completed,
        };
        let job = job.seq;
        let known = AttemptComplete { job, lease_epoch, agent, outcome, result };
        if known.run(&mut *tx).await? == 0 {
            AttemptAdd { job, agent, outcome, result }.run(&mut *tx).await?;
        }
        AttemptSupersede { job }.run(&mut *tx).await?;
        tx.commit().await?;
        Ok(Some(Completed { outcome: CompleteOutcome::Accepted, late, repeated: false }))
    }

    /// Releases a job whose holder can only repeat a rejected result. The holder is excluded from the
    /// job, and not charged. A result that enough agents made is given up: either its producer rejects what is
    /// right, or all of them are wrong in the same way, and another agent would tell nothing new.
    async fn hand_on(
        tx: &mut PgConnection,
        job: &LockedJob,
        request: &CompleteRequest,
    ) -> Result<(), BrokerError> {
        let CompleteRequest { agent, lease, result, .. } = request;
        let (seq, size, lease_epoch) = (job.seq, job.class.0, lease.lease_epoch);
        let (failure, result) = (FailureClass::InvalidProof, *result);
        let message = "made what was rejected before";
        AttemptRepeat { job: seq, lease_epoch, result, failure, message }.run(&mut *tx).await?;
        let makers = AttemptMakers { job: seq, result }.one(&mut *tx).await?.count.0;
        let next = policy::after_repeat(u32::try_from(makers).unwrap_or(u32::MAX), size);
        let given_up = format!(
            "{makers} agents made the result that its producer rejected: check the producer's release, then replay \
             the job"
        );
        let message = if next == Next::GiveUp { &given_up } else { message };
        Self::reopen(tx, Reopening { seq, failure, message, agent, size, next }).await
    }

    /// A rejected digest stays banned for the job; a rejected agent only while it is excluded, which
    /// a forgiveness ends.
    async fn reject_distrusted(
        &self,
        tx: &mut PgConnection,
        tenant: &Tenant,
        job: &LockedJob,
        request: &CompleteRequest,
    ) -> Result<(), BrokerError> {
        let CompleteRequest { agent, lease, result, .. } = request;
        if (AgentQuarantined { tenant, agent }).one(&mut *tx).await?.quarantined {
            return Err(BrokerError::Quarantined { agent: agent.clone() });
        }
        let excluded = job.excluded_agents.iter().any(|id| id == agent.as_str());
        let distrusted = AttemptDistrusted { job: job.seq, agent, result: *result, excluded };
        if distrusted.one(&mut *tx).await?.found {
            return Err(BrokerError::AlreadyRejected { id: lease.job.clone() });
        }
        Ok(())
    }

    /// Records a failed attempt and does what the policy says. An input that an agent could not fetch
    /// is read here first: where that succeeds, the failure was transient.
    pub async fn fail(
        &self,
        tenant: &Tenant,
        request: &FailRequest,
        spread: f64,
    ) -> Result<Next, BrokerError> {
        let FailRequest { agent, lease, class, .. } = request;
        let input = lease.job.input();
        let mut look = None;
        for _ in 0..LOOKS {
            let mut tx = self.pool.begin().await?;
            let job = Self::lock_held(&mut tx, tenant, agent, lease).await?;
            let failure = match class {
                FailureClass::InputMissing => {
                    let read = Self::still(&mut tx, tenant, input, look.as_ref()).await?;
                    read.map(|is_there| decide::reported(*class, is_there))
                }
                class => Some(decide::reported(*class, false)),
            };
            if let Some(failure) = failure {
                return Self::fail_as(tx, request, &job, failure, spread).await;
            }
            // Not while the job is locked.
            tx.rollback().await?;
            look = Some(self.look(tenant, input).await?);
        }
        Err(BrokerError::Overloaded)
    }

    /// Records a failed attempt of this class. The transaction holds the job.
    async fn fail_as(
        mut tx: Transaction<'_, Postgres>,
        request: &FailRequest,
        job: &LockedJob,
        failure: FailureClass,
        spread: f64,
    ) -> Result<Next, BrokerError> {
        let FailRequest { agent, lease, message, .. } = request;
        let (seq, size) = (job.seq, job.class.0);
        let ended = (AttemptOutcome::Failed, Some((failure, message.as_str())));
        Self::end_attempt(&mut tx, seq, lease.lease_epoch, ended).await?;
        let count = Self::failures(&mut tx, seq, failure).await?;
        let next = policy::after(Failure { failure, count, size }, spread);
        let reopening = Reopening { seq, failure, message, agent, size, next };
        Self::reopen(&mut tx, reopening).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Returns a leased job to the queue. The attempt stays counted.
    pub async fn release(
        &self,
        tenant: &Tenant,
        request: &ReleaseRequest,
    ) -> Result<(), BrokerError> {
        let ReleaseRequest { agent, lease } = request;
        let mut tx = self.pool.begin().await?;
        let job = Self::lock_held(&mut tx, tenant, agent, lease).await?.seq;
        let ended = (AttemptOutcome::Released, None);
        Self::end_attempt(&mut tx, job, lease.lease_epoch, ended).await?;
        Release { job }.run(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn lock(
        tx: &mut PgConnection,
        tenant: &Tenant,
        lease: &LeaseRef,
    ) -> Result<LockedJob, BrokerError> {
        let job = Lock { tenant, job: &lease.job }.optional(tx).await?;
        job.ok_or_else(|| BrokerError::UnknownJob { id: lease.job.clone() })
    }

    /// Locks the job and requires that the lease is still valid: the fence.
    async fn lock_held(
        tx: &mut PgConnection,
        tenant: &Tenant,
        agent: &AgentId,
        lease: &LeaseRef,
    ) -> Result<LockedJob, BrokerError> {
        let job = Self::lock(tx, tenant, lease).await?;
        match holds(&job, agent, lease) {
            true => Ok(job),
            false => Err(lost(lease, job.lease_epoch.lease_epoch())),
        }
    }
}

fn holds(job: &LockedJob, agent: &AgentId, lease: &LeaseRef) -> bool {
    let holder = job.lease_holder.as_ref().map(|holder| &holder.0);
    decide::holds(holder, job.lease_epoch.lease_epoch(), agent, lease.lease_epoch)
}
