//! Artifacts whose bytes can no longer be read, and the jobs that depend on them.
//!
//! A job is done only while the bytes of its result can be read. Whoever finds that they cannot
//! (a fetch, an enqueue, a wait) opens the job again: nobody is blamed and the digest is not banned,
//! since the same bytes may well have been right. An input that cannot be read is asked of the
//! producer. Blame needs bytes that were read whole.

use rollmill_broker_client::{Digest, FailureClass, JobId, JobState, JobView};
use sqlx::{PgConnection, Row};

use super::artifacts::object_path;
use super::{Store, Tenant};
use crate::error::BrokerError;

/// What lies under a digest.
pub(super) enum Stored {
    /// Bytes that have the digest.
    Whole(Vec<u8>),
    /// It was uploaded, and no copy can be read.
    Damaged,
    /// It was never uploaded, or its rows are gone.
    Absent,
}

impl Store {
    /// The bytes of an artifact, checked against its digest. Where they cannot be read, the jobs
    /// whose result they were are opened again.
    ///
    /// # Errors
    /// [`BrokerError::ArtifactLost`] with the number of jobs that were opened again, or
    /// [`BrokerError::UnknownArtifact`] if nothing was ever stored under the digest.
    pub async fn get_artifact(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Vec<u8>, BrokerError> {
        let stored = {
            let mut connection = self.pool.acquire().await?;
            self.read(&mut connection, tenant, digest).await?
        };
        let was_stored = match stored {
            Stored::Whole(bytes) => return Ok(bytes),
            Stored::Damaged => true,
            Stored::Absent => false,
        };
        match self.reopen_lost(tenant, digest).await? {
            Ok(bytes) => Ok(bytes),
            Err(0) if !was_stored => Err(BrokerError::UnknownArtifact { digest }),
            Err(reopened) => Err(BrokerError::ArtifactLost { digest, reopened }),
        }
    }

    /// Opens every done job again whose result this is, and returns how many; the bytes instead if
    /// they can be read after all, since an upload may have healed them meanwhile.
    async fn reopen_lost(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Result<Vec<u8>, u64>, BrokerError> {
        let mut tx = self.pool.begin().await?;
        let seqs: Vec<i64> = sqlx::query_scalar(
            "SELECT seq FROM job WHERE tenant = $1 AND result = $2 AND state = 'done'
             ORDER BY seq FOR UPDATE",
        )
        .bind(&tenant.0)
        .bind(&digest.0[..])
        .fetch_all(&mut *tx)
        .await?;
        if let Stored::Whole(bytes) = self.read(&mut tx, tenant, digest).await? {
            return Ok(Ok(bytes));
        }
        Self::reopen_without_blame(&mut tx, &seqs, digest).await?;
        tx.commit().await?;
        if !seqs.is_empty() {
            tracing::warn!(%digest, jobs = seqs.len(), "result lost; jobs reopened");
        }
        Ok(Err(seqs.len() as u64))
    }

    /// Opens done jobs again whose result cannot be read. The caller holds their locks.
    pub(super) async fn reopen_without_blame(
        tx: &mut PgConnection,
        seqs: &[i64],
        digest: Digest,
    ) -> Result<(), BrokerError> {
        sqlx::query(
            "UPDATE attempt SET outcome = 'result_lost'
             WHERE job = ANY ($1) AND result = $2 AND outcome LIKE 'completed%'",
        )
        .bind(seqs)
        .bind(&digest.0[..])
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE job
             SET state = 'ready', ready_at = now(), finished_at = NULL, stuck_at = NULL,
                 result = NULL, result_agent = NULL, stats = NULL,
                 failure_class = $2, failure_message = $3
             WHERE seq = ANY ($1)",
        )
        .bind(seqs)
        .bind(FailureClass::ResultLost.as_str())
        .bind(format!("result {digest} could not be read"))
        .execute(&mut *tx)
        .await?;
        Ok(())
    }

    /// Opens those of the done jobs among `views` again whose result cannot be read, and shows them
    /// as they are then. Returns how many.
    pub async fn heal(
        &self,
        tenant: &Tenant,
        views: &mut Vec<JobView>,
    ) -> Result<u64, BrokerError> {
        let results: Vec<Digest> = views
            .iter()
            .filter(|view| view.state == JobState::Done)
            .filter_map(|view| view.result)
            .collect();
        let lost = {
            let mut connection = self.pool.acquire().await?;
            self.unreadable(&mut connection, tenant, results).await?
        };
        let mut reopened = 0;
        for digest in lost {
            reopened += self.reopen_lost(tenant, digest).await?.err().unwrap_or(0);
        }
        if reopened > 0 {
            let ids: Vec<JobId> = views.iter().map(|view| view.id.clone()).collect();
            *views = self.jobs(tenant, &ids).await?;
        }
        Ok(reopened)
    }

    /// Reads an artifact: any copy whose bytes have the digest, the newest epoch's first.
    pub(super) async fn read(
        &self,
        connection: &mut PgConnection,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Stored, BrokerError> {
        let rows = sqlx::query(
            "SELECT epoch, place FROM artifact WHERE tenant = $1 AND digest = $2
             ORDER BY epoch DESC",
        )
        .bind(&tenant.0)
        .bind(&digest.0[..])
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            let epoch: i64 = row.try_get("epoch")?;
            let place: String = row.try_get("place")?;
            let body: Option<Vec<u8>> = if place == "object" {
                let path = object_path(tenant, epoch.max(0).unsigned_abs(), digest);
                self.get_object(&path).await?
            } else {
                sqlx::query_scalar(
                    "SELECT body FROM artifact_body
                     WHERE epoch = $3 AND tenant = $1 AND digest = $2",
                )
                .bind(&tenant.0)
                .bind(&digest.0[..])
                .bind(epoch)
                .fetch_optional(&mut *connection)
                .await?
            };
            if let Some(body) = body
                && Digest::of(&body) == digest
            {
                return Ok(Stored::Whole(body));
            }
        }
        Ok(if rows.is_empty() { Stored::Absent } else { Stored::Damaged })
    }

    /// Those of `digests` of which no copy can be read. Rows are checked by the database, in one
    /// statement an epoch; objects are read.
    pub(super) async fn unreadable(
        &self,
        connection: &mut PgConnection,
        tenant: &Tenant,
        mut digests: Vec<Digest>,
    ) -> Result<Vec<Digest>, BrokerError> {
        digests.sort_unstable();
        digests.dedup();
        if digests.is_empty() {
            return Ok(digests);
        }
        let bytes = |digests: &[Digest]| digests.iter().map(|d| d.0.to_vec()).collect::<Vec<_>>();
        let epochs: Vec<i64> = sqlx::query_scalar(
            "SELECT DISTINCT epoch FROM artifact
             WHERE tenant = $1 AND digest = ANY ($2) AND place = 'row' ORDER BY epoch DESC",
        )
        .bind(&tenant.0)
        .bind(bytes(&digests))
        .fetch_all(&mut *connection)
        .await?;
        for epoch in epochs {
            if digests.is_empty() {
                return Ok(digests);
            }
            let whole: Vec<Vec<u8>> = sqlx::query_scalar(
                "SELECT digest FROM artifact_body
                 WHERE epoch = $3 AND tenant = $1 AND digest = ANY ($2) AND sha256(body) = digest
                   AND EXISTS (SELECT 1 FROM artifact a
                               WHERE a.tenant = $1 AND a.digest = artifact_body.digest
                                 AND a.epoch = $3)",
            )
            .bind(&tenant.0)
            .bind(bytes(&digests))
            .bind(epoch)
            .fetch_all(&mut *connection)
            .await?;
            let whole = super::view::digests(whole)?;
            digests.retain(|digest| !whole.contains(digest));
        }
        let mut lost = Vec::new();
        for digest in digests {
            if !matches!(self.read(connection, tenant, digest).await?, Stored::Whole(_)) {
                lost.push(digest);
            }
        }
        Ok(lost)
    }

    /// Makes the jobs ready that wait for this input; returns how many.
    pub(super) async fn give_input(
        tx: &mut PgConnection,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<u64, BrokerError> {
        let ready = sqlx::query(
            "UPDATE job SET state = 'ready', ready_at = now()
             WHERE tenant = $1 AND input = $2 AND state = 'input_wanted'",
        )
        .bind(&tenant.0)
        .bind(&digest.0[..])
        .execute(tx)
        .await?;
        Ok(ready.rows_affected())
    }

    /// Makes dead letters of the jobs that wait beyond their deadline; returns how many.
    pub async fn past_deadline(&self) -> Result<u64, BrokerError> {
        let ids: Vec<String> = sqlx::query_scalar(include_str!("../sql/past_deadline.sql"))
            .bind(FailureClass::PastDeadline.as_str())
            .bind(1000_i64)
            .fetch_all(&self.pool)
            .await?;
        for id in &ids {
            tracing::warn!(job = id, "deadline passed; job dead-lettered");
        }
        Ok(ids.len() as u64)
    }

    /// Ends exclusions that leave nobody: see `sql/forgive.sql`. Returns the jobs forgiven.
    pub async fn forgive(&self) -> Result<Vec<JobId>, BrokerError> {
        let rows = sqlx::query(include_str!("../sql/forgive.sql"))
            .bind(self.rules.live.as_secs_f64())
            .bind(self.rules.forgive_after.as_secs_f64())
            .fetch_all(&self.pool)
            .await?;
        let mut forgiven = Vec::new();
        for row in &rows {
            if row.try_get("forgive")? {
                let id: String = row.try_get("id")?;
                tracing::warn!(job = id, "every able agent was excluded; exclusions cleared");
                forgiven.push(id.parse().map_err(|_| super::corrupt_row("a job id"))?);
            }
        }
        Ok(forgiven)
    }
}
