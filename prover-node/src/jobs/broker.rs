//! The broker as the prover node uses it: a trait, so that tests can replace it.

use std::future::Future;
use std::time::Duration;

use rollmill_broker_client::{
    ChangesResponse, Client, ClientError, Digest, EpochOutcome, EpochState, JobId, JobState,
    JobView, ListQuery, NewJob, ROLLUP_LABEL, RejectResponse,
};

/// See the methods of [`Client`].
#[allow(missing_docs)]
pub trait Broker: Send + Sync + 'static {
    fn put_artifact(
        &self,
        epoch: u64,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<Digest, ClientError>> + Send;
    fn put_artifacts(
        &self,
        epoch: u64,
        bodies: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<Vec<Digest>, ClientError>> + Send;
    fn get_artifact(
        &self,
        digest: &Digest,
    ) -> impl Future<Output = Result<Vec<u8>, ClientError>> + Send;
    fn enqueue(
        &self,
        jobs: Vec<NewJob>,
    ) -> impl Future<Output = Result<Vec<JobView>, ClientError>> + Send;
    fn jobs(&self, ids: &[JobId])
    -> impl Future<Output = Result<Vec<JobView>, ClientError>> + Send;
    fn changes(
        &self,
        epoch: u64,
        cursor: Option<&str>,
        wait: Duration,
    ) -> impl Future<Output = Result<ChangesResponse, ClientError>> + Send;
    fn reject(
        &self,
        id: &JobId,
        result: Digest,
        reason: &str,
    ) -> impl Future<Output = Result<RejectResponse, ClientError>> + Send;
    fn replay(&self, ids: &[JobId]) -> impl Future<Output = Result<u64, ClientError>> + Send;
    fn cancel(&self, ids: &[JobId]) -> impl Future<Output = Result<u64, ClientError>> + Send;
    fn open_epoch(&self, epoch: u64) -> impl Future<Output = Result<(), ClientError>> + Send;
    fn close_epoch(
        &self,
        epoch: u64,
        rollup: &str,
        outcome: EpochOutcome,
    ) -> impl Future<Output = Result<EpochState, ClientError>> + Send;
    /// All jobs of the epoch in this state whose [`ROLLUP_LABEL`] is `rollup`, however many they are.
    fn list_all(
        &self,
        epoch: u64,
        rollup: &str,
        state: JobState,
    ) -> impl Future<Output = Result<Vec<JobView>, ClientError>> + Send;
}

impl Broker for Client {
    async fn put_artifact(&self, epoch: u64, bytes: Vec<u8>) -> Result<Digest, ClientError> {
        Self::put_artifact(self, epoch, bytes).await
    }

    async fn put_artifacts(
        &self,
        epoch: u64,
        bodies: Vec<Vec<u8>>,
    ) -> Result<Vec<Digest>, ClientError> {
        Self::put_artifacts(self, epoch, bodies).await
    }

    async fn get_artifact(&self, digest: &Digest) -> Result<Vec<u8>, ClientError> {
        Self::get_artifact(self, digest).await
    }

    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<JobView>, ClientError> {
        Self::enqueue(self, jobs).await
    }

    async fn jobs(&self, ids: &[JobId]) -> Result<Vec<JobView>, ClientError> {
        Self::jobs(self, ids).await
    }

    async fn changes(
        &self,
        epoch: u64,
        cursor: Option<&str>,
        wait: Duration,
    ) -> Result<ChangesResponse, ClientError> {
        Self::changes(self, epoch, cursor, wait).await
    }

    async fn reject(
        &self,
        id: &JobId,
        result: Digest,
        reason: &str,
    ) -> Result<RejectResponse, ClientError> {
        Self::reject(self, id, result, reason).await
    }

    async fn replay(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        Self::replay(self, ids).await
    }

    async fn cancel(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        Self::cancel(self, ids).await
    }

    async fn open_epoch(&self, epoch: u64) -> Result<(), ClientError> {
        Self::open_epoch(self, epoch).await.map(drop)
    }

    async fn close_epoch(
        &self,
        epoch: u64,
        rollup: &str,
        outcome: EpochOutcome,
    ) -> Result<EpochState, ClientError> {
        let label = format!("{ROLLUP_LABEL}={rollup}");
        Ok(Self::close_epoch(self, epoch, outcome, Some(&label)).await?.state)
    }

    async fn list_all(
        &self,
        epoch: u64,
        rollup: &str,
        state: JobState,
    ) -> Result<Vec<JobView>, ClientError> {
        let label = Some(format!("{ROLLUP_LABEL}={rollup}"));
        let (state, epoch) = (Some(state), Some(epoch));
        Self::list_all(self, &ListQuery { state, epoch, label, ..ListQuery::default() }).await
    }
}
