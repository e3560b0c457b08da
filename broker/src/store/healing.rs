//! Artifacts whose bytes can no longer be read, and the jobs that depend on them.
//!
//! A job is done only while the bytes of its result can be read. Whoever finds that they cannot
//! (a fetch, an enqueue, a wait) reopens the job: nobody is blamed and the digest is not banned,
//! since the same bytes may well have been right. An input that cannot be read is requested from
//! its producer. Blame needs bytes that were read whole.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::path::Path as ObjectPath;
use rollmill_broker_client::{Digest, FailureClass, JobId, JobState, JobView};
use sqlx::PgConnection;

use super::artifacts::object_path;
use super::sql::{
    ArtifactBody, ArtifactCopies, ArtifactEpochs, ArtifactNewest, ArtifactWhole, AttemptResultLost,
    Copy as ArtifactCopy, Forgive, LockResult, PastDeadline, ReopenLost, Statement,
};
use super::{Place, Store, Tenant};
use crate::error::BrokerError;
use crate::objects::{Download, Found};

/// Artifacts whose objects are checked before they are served; beyond, the check is forgotten.
const SUSPECTS_MAX: usize = 4096;

/// Objects of one request that are read at a time.
const READS: usize = 8;

/// What is stored under a digest.
pub(super) enum Stored {
    /// Bytes in the database that have the digest.
    Row(Vec<u8>),
    /// An object whose bytes have the digest.
    Object { path: ObjectPath, bytes: u64 },
    /// It was uploaded, and no copy can be read.
    Damaged,
    /// It was never uploaded, or its rows are gone.
    Absent,
}

impl Stored {
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Row(_) | Self::Object { .. })
    }
}

/// An artifact to be read.
#[derive(Debug)]
pub enum Opened {
    /// All its bytes, which have the digest.
    Row(Vec<u8>),
    /// The object with its bytes, of the right length. Whoever reads them compares their digest, and reports
    /// another one by [`Store::doubt`].
    Object(Download),
}

impl Store {
    /// Opens an artifact. Where its bytes cannot be read, the jobs whose result they were are reopened.
    ///
    /// # Errors
    /// [`BrokerError::ArtifactLost`] with the number of reopened jobs, or
    /// [`BrokerError::UnknownArtifact`] if nothing was ever stored under the digest.
    pub async fn open_artifact(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Opened, BrokerError> {
        // The usual case in one statement.
        let newest = ArtifactNewest { tenant, digest }.optional(&self.pool).await?;
        if let Some(body) = newest.and_then(|row| row.body)
            && Digest::of(&body) == digest
        {
            return Ok(Opened::Row(body));
        }
        let is_suspect = self.suspects.lock().contains(&(tenant.clone(), digest));
        if !is_suspect {
            let copies = ArtifactCopies { tenant, digest }.all(&self.pool).await?;
            for copy in copies.iter().filter(|copy| copy.place.0 == Place::Object) {
                let path = object_path(tenant, copy.epoch.0, copy.generation.0, digest);
                if let Some(object) = self.objects.open(&path).await?
                    && object.bytes() == copy.bytes.0
                {
                    return Ok(Opened::Object(object));
                }
            }
        }
        let stored = self.read_apart(tenant, digest, None).await?;
        if let Some(opened) = self.opened(tenant, digest, &stored).await? {
            return Ok(opened);
        }
        let was_stored = matches!(stored, Stored::Damaged);
        match self.reopen_lost(tenant, digest).await? {
            Ok(stored) => {
                let opened = self.opened(tenant, digest, &stored).await?;
                opened.ok_or(BrokerError::ArtifactLost { digest, reopened: 0 })
            }
            Err(0) if !was_stored => Err(BrokerError::UnknownArtifact { digest }),
            Err(reopened) => Err(BrokerError::ArtifactLost { digest, reopened }),
        }
    }

    /// What was just read as a whole; `None` if it cannot be read.
    async fn opened(
        &self,
        tenant: &Tenant,
        digest: Digest,
        stored: &Stored,
    ) -> Result<Option<Opened>, BrokerError> {
        match stored {
            Stored::Row(body) => Ok(Some(Opened::Row(body.clone()))),
            Stored::Object { path, .. } => {
                self.trust(tenant, digest);
                Ok(self.objects.open(path).await?.map(Opened::Object))
            }
            Stored::Damaged | Stored::Absent => Ok(None),
        }
    }

    /// The bytes of an artifact in memory, checked against its digest; otherwise as [`Self::open_artifact`].
    ///
    /// # Errors
    /// As [`Self::open_artifact`].
    pub async fn get_artifact(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Vec<u8>, BrokerError> {
        let mut object = match self.open_artifact(tenant, digest).await? {
            Opened::Row(body) => return Ok(body),
            Opened::Object(object) => object,
        };
        let mut body = Vec::with_capacity(usize::try_from(object.bytes()).unwrap_or(0));
        while let Some(bytes) = object.next().await? {
            body.extend_from_slice(&bytes);
        }
        match Digest::of(&body) == digest {
            true => Ok(body),
            false => {
                let reopened = self.doubt(tenant, digest).await?;
                Err(BrokerError::ArtifactLost { digest, reopened })
            }
        }
    }

    /// Records that the bytes of an object that was read to its end had another digest: it is read as a whole before it
    /// is served again. Reopens the jobs whose result it is if it cannot be read, and returns how many.
    pub async fn doubt(&self, tenant: &Tenant, digest: Digest) -> Result<u64, BrokerError> {
        {
            let mut suspects = self.suspects.lock();
            if suspects.len() >= SUSPECTS_MAX {
                suspects.clear();
            }
            suspects.insert((tenant.clone(), digest));
        }
        Ok(self.reopen_lost(tenant, digest).await?.err().unwrap_or(0))
    }

    /// Ends a doubt: the object was written again, or read as a whole.
    pub(super) fn trust(&self, tenant: &Tenant, digest: Digest) {
        self.suspects.lock().remove(&(tenant.clone(), digest));
    }

    /// Reopens every done job that has this result, and returns how many. Returns where the bytes are instead
    /// if they can be read after all, since an upload may have repaired them meanwhile.
    async fn reopen_lost(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Result<Stored, u64>, BrokerError> {
        let mut tx = self.pool.begin().await?;
        let locked = LockResult { tenant, result: digest }.all(&mut *tx).await?;
        let seqs: Vec<i64> = locked.iter().map(|row| row.seq).collect();
        let stored = self.read(&mut tx, tenant, digest, None).await?;
        if stored.is_whole() {
            return Ok(Ok(stored));
        }
        Self::reopen_without_blame(&mut tx, &seqs, digest).await?;
        tx.commit().await?;
        if !seqs.is_empty() {
            tracing::warn!(%digest, jobs = seqs.len(), "result lost; jobs reopened");
        }
        Ok(Err(seqs.len() as u64))
    }

    /// Reopens done jobs whose result cannot be read. The caller holds their locks.
    pub(super) async fn reopen_without_blame(
        tx: &mut PgConnection,
        seqs: &[i64],
        digest: Digest,
    ) -> Result<(), BrokerError> {
        AttemptResultLost { jobs: seqs, result: digest }.run(&mut *tx).await?;
        let message = format!("result {digest} could not be read");
        let reopen = ReopenLost { jobs: seqs, failure: FailureClass::ResultLost, message };
        reopen.run(&mut *tx).await?;
        Ok(())
    }

    /// Reopens the done jobs among `views` whose result cannot be read, and updates their views.
    /// Returns how many.
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
        if results.is_empty() {
            return Ok(0);
        }
        let lost = self.unreadable(tenant, results).await?;
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

    /// Reads an artifact: any copy whose bytes have the digest, the newest epoch's first; or only that of one epoch.
    pub(super) async fn read(
        &self,
        connection: &mut PgConnection,
        tenant: &Tenant,
        digest: Digest,
        only: Option<u64>,
    ) -> Result<Stored, BrokerError> {
        let mut copies = ArtifactCopies { tenant, digest }.all(&mut *connection).await?;
        copies.retain(|copy| only.is_none_or(|epoch| epoch == copy.epoch.0));
        for copy in &copies {
            let body = match copy.place.0 {
                Place::Object => None,
                Place::Row => {
                    let body = ArtifactBody { tenant, digest, epoch: copy.epoch.0 };
                    body.optional(&mut *connection).await?.map(|row| row.body)
                }
            };
            if let Some(stored) = self.whole(tenant, digest, copy, body).await? {
                return Ok(stored);
            }
        }
        Ok(if copies.is_empty() { Stored::Absent } else { Stored::Damaged })
    }

    /// As [`Self::read`], without a connection while an object is read: that may take long, and there are few.
    pub(super) async fn read_apart(
        &self,
        tenant: &Tenant,
        digest: Digest,
        only: Option<u64>,
    ) -> Result<Stored, BrokerError> {
        let mut copies = ArtifactCopies { tenant, digest }.all(&self.pool).await?;
        copies.retain(|copy| only.is_none_or(|epoch| epoch == copy.epoch.0));
        for copy in &copies {
            let body = match copy.place.0 {
                Place::Object => None,
                Place::Row => {
                    let body = ArtifactBody { tenant, digest, epoch: copy.epoch.0 };
                    body.optional(&self.pool).await?.map(|row| row.body)
                }
            };
            if let Some(stored) = self.whole(tenant, digest, copy, body).await? {
                return Ok(stored);
            }
        }
        Ok(if copies.is_empty() { Stored::Absent } else { Stored::Damaged })
    }

    /// A copy, with its body if that lies in the database, if its bytes have the digest.
    async fn whole(
        &self,
        tenant: &Tenant,
        digest: Digest,
        copy: &ArtifactCopy,
        body: Option<Vec<u8>>,
    ) -> Result<Option<Stored>, BrokerError> {
        if copy.place.0 == Place::Row {
            let body = body.filter(|body| Digest::of(body) == digest);
            return Ok(body.map(Stored::Row));
        }
        let path = object_path(tenant, copy.epoch.0, copy.generation.0, digest);
        let found = self.objects.check(&path, digest).await?;
        let stored = Stored::Object { path, bytes: copy.bytes.0 };
        Ok((found == Found::Whole).then_some(stored))
    }

    /// Those of `digests` of which no copy can be read. Rows are checked by the database, in one
    /// statement per epoch; objects are read, a few at a time.
    pub(super) async fn unreadable(
        &self,
        tenant: &Tenant,
        mut digests: Vec<Digest>,
    ) -> Result<Vec<Digest>, BrokerError> {
        digests.sort_unstable();
        digests.dedup();
        let known = ArtifactEpochs { tenant, digests: digests.clone() };
        for row in known.all(&self.pool).await? {
            if digests.is_empty() {
                return Ok(digests);
            }
            let whole = ArtifactWhole { tenant, digests: digests.clone(), epoch: row.epoch.0 };
            let whole = whole.all(&self.pool).await?;
            digests.retain(|digest| !whole.iter().any(|row| row.digest.0 == *digest));
        }
        let looks: Vec<_> = digests.iter().map(|digest| self.lost(tenant, *digest)).collect();
        let lost: Vec<_> = stream::iter(looks).buffered(READS).try_collect().await?;
        Ok(lost.into_iter().flatten().collect())
    }

    /// The digest, if no copy of it can be read.
    async fn lost(&self, tenant: &Tenant, digest: Digest) -> Result<Option<Digest>, BrokerError> {
        let stored = self.read_apart(tenant, digest, None).await?;
        Ok((!stored.is_whole()).then_some(digest))
    }

    /// Makes dead letters of the jobs that wait beyond their deadline; returns how many.
    pub async fn past_deadline(&self) -> Result<u64, BrokerError> {
        let past = PastDeadline { failure: FailureClass::PastDeadline, most: 1000 };
        let rows = past.all(&self.pool).await?;
        for row in &rows {
            tracing::warn!(job = %row.id.0, "deadline passed; job dead-lettered");
        }
        Ok(rows.len() as u64)
    }

    /// Ends exclusions that leave nobody: see `sql/forgive.sql`. Returns the jobs forgiven.
    pub async fn forgive(&self) -> Result<Vec<JobId>, BrokerError> {
        let forgive = Forgive {
            live_seconds: self.rules.live.as_secs_f64(),
            forgive_seconds: self.rules.forgive_after.as_secs_f64(),
        };
        let rows = forgive.all(&self.pool).await?;
        let forgiven = rows.into_iter().filter(|row| row.forgive).map(|row| row.id.0);
        Ok(forgiven
            .inspect(|job| {
                tracing::warn!(%job, "every able agent was excluded; exclusions cleared");
            })
            .collect())
    }
}
