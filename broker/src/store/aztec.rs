//! Jobs of Aztec's prover nodes: those whose version is `aztec.` and the number of their type.
//!
//! They are jobs like any other. Only their input differs: the digest in the id is Aztec's own, of the
//! inputs themselves, and `job.input` is that of the text that says where the inputs are.

use std::time::Duration;

use rollmill_broker_client::{AgentId, Digest, JobId, JobState, KindName, LeaseEpoch, NewJob};

use super::sql::{
    AztecFinished, AztecHeight, AztecJobRow, AztecJobs, AztecOld, Enqueue, OldEpoch, Resume,
    Statement,
};
use super::{Store, Tenant};
use crate::error::BrokerError;

/// A job of an Aztec prover node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AztecJob {
    pub id: JobId,
    /// `aztec.` and the number of its type.
    pub version: KindName,
    pub state: JobState,
    /// Times it was granted.
    pub attempts: u32,
    /// Artifact with the text that names the inputs.
    pub input: Digest,
    /// Artifact with the text that names the result, once done.
    pub result: Option<Digest>,
    /// Number of the last lease; 0 before the first.
    pub lease_epoch: LeaseEpoch,
    /// Who holds the lease, while it is leased.
    pub holder: Option<AgentId>,
    /// What was said of the last failure.
    pub failure: Option<String>,
    /// When it was first enqueued.
    pub created_unix_ms: u64,
}

impl Store {
    /// Adds a job whose input is the artifact `input`, which is stored. A known job stays as it is; a
    /// cancelled one is opened again.
    pub async fn enqueue_aztec(
        &self,
        tenant: &Tenant,
        job: &NewJob,
        input: Digest,
    ) -> Result<(), BrokerError> {
        let enqueue = Enqueue {
            tenant,
            ids: vec![&job.id],
            kinds: vec![job.id.kind()],
            versions: vec![&job.version],
            epochs: vec![job.id.epoch()],
            ranks: vec![job.rank],
            sizes: vec![job.class],
            inputs: vec![input],
            labels: vec!["{}".to_owned()],
            hard_limits: vec![None],
            deadlines: vec![None],
            paths: vec![None],
        };
        self.require_open(tenant, job.id.epoch(), true).await?;
        enqueue.run(&self.pool).await.map(drop)
    }

    /// Jobs of these ids, in that order; unknown ones are left out.
    pub async fn aztec_jobs(
        &self,
        tenant: &Tenant,
        ids: &[JobId],
    ) -> Result<Vec<AztecJob>, BrokerError> {
        let rows = AztecJobs { tenant, jobs: ids.iter().collect() }.all(&self.pool).await?;
        let job = |row: AztecJobRow| AztecJob {
            id: row.id.0,
            version: row.version.0,
            state: row.state.0,
            attempts: row.attempts.0,
            input: row.input.0,
            result: row.result.map(|digest| digest.0),
            lease_epoch: row.lease_epoch.lease_epoch(),
            holder: row.lease_holder.map(|holder| holder.0),
            failure: row.failure_message,
            created_unix_ms: row.created_ms.0,
        };
        Ok(rows.into_iter().map(job).collect())
    }

    /// Jobs that became final within this time, by the database's clock: the newest, at most `most`.
    pub async fn aztec_finished(
        &self,
        tenant: &Tenant,
        within: Duration,
        most: u32,
    ) -> Result<Vec<JobId>, BrokerError> {
        let finished = AztecFinished { tenant, within, most: i64::from(most) };
        Ok(finished.all(&self.pool).await?.into_iter().map(|row| row.id.0).collect())
    }

    /// The newest epoch that a job was enqueued of.
    pub async fn aztec_height(&self, tenant: &Tenant) -> Result<Option<u64>, BrokerError> {
        Ok(AztecHeight { tenant }.one(&self.pool).await?.epoch.map(|epoch| epoch.0))
    }

    /// Epochs more than `kept` behind the newest one of their tenant, of every tenant.
    pub async fn aztec_old(&self, kept: u32) -> Result<Vec<(Tenant, u64)>, BrokerError> {
        let rows = AztecOld { kept: i64::from(kept) }.all(&self.pool).await?;
        let epoch = |OldEpoch { tenant, epoch }: OldEpoch| (Tenant(tenant), epoch.0);
        Ok(rows.into_iter().map(epoch).collect())
    }

    /// Gives an agent its expired lease back if nobody got the job since; returns whether it did.
    pub async fn resume(
        &self,
        tenant: &Tenant,
        job: &JobId,
        lease_epoch: LeaseEpoch,
        agent: &AgentId,
    ) -> Result<bool, BrokerError> {
        let rules = self.rules();
        let hard_limit_seconds = i32::try_from(rules.hard_limit.as_secs()).unwrap_or(i32::MAX);
        let resume =
            Resume { tenant, job, lease_epoch, agent, lease: rules.lease, hard_limit_seconds };
        Ok(resume.optional(&self.pool).await?.is_some())
    }
}
