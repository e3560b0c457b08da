//! Artifacts whose bytes can no longer be read, and the jobs that depend on them.
//!
//! A job is done only while the bytes of its result can be read. Whoever finds that they cannot
//! (a fetch, an enqueue, a wait) reopens the job: nobody is blamed and the digest is not banned,
//! since the same bytes may well have been right. An input that cannot be read is requested from
//! its producer. Blame needs bytes that were read whole.
//!
//! An object may take long to read, so none is read while a job is locked: whoever completes the job would wait for
//! it. What depends on the bytes reads them first, then locks, and reads again if a copy was written meanwhile.

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

/// Objects that are remembered as whole; beyond, all are forgotten, and are read once more.
const WHOLE_MAX: usize = 32_768;

/// How often an artifact is read for one request because copies of it are written meanwhile. Each such write leaves a
/// whole copy, so that more than two are as good as never needed.
pub(super) const LOOKS: usize = 4;

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

/// What was found of an artifact while nothing was locked, and the copies that there were.
pub(super) struct Look {
    stored: Stored,
    copies: Vec<Version>,
}

/// A copy as it was: its epoch, the generation of that, and the version of its rows.
type Version = (u64, u64, String);

fn versions(copies: &[ArtifactCopy]) -> Vec<Version> {
    let version = |copy: &ArtifactCopy| (copy.epoch.0, copy.generation.0, copy.version.clone());
    copies.iter().map(version).collect()
}

/// Which objects have to be read to say that they are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// Every one, whatever is known of it.
    All,
    /// Those that this store neither wrote nor read as a whole before.
    New,
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
        let newest = ArtifactNewest { tenant, digest }.optional(&self.reads).await?;
        if let Some(body) = newest.and_then(|row| row.body)
            && Digest::of(&body) == digest
        {
            return Ok(Opened::Row(body));
        }
        let is_suspect = self.suspects.lock().contains(&(tenant.clone(), digest));
        if !is_suspect {
            let copies = ArtifactCopies { tenant, digest }.all(&self.reads).await?;
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

    /// Remembers that an object is whole: its bytes passed through this store, and had their digest.
    pub(super) fn remember(&self, path: ObjectPath) {
        let mut whole = self.whole_objects.lock();
        if whole.len() >= WHOLE_MAX {
            whole.clear();
        }
        whole.insert(path);
    }

    /// Reopens every done job that has this result, and returns how many. Returns where the bytes are instead
    /// if they can be read after all, since an upload may have repaired them meanwhile.
    async fn reopen_lost(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Result<Stored, u64>, BrokerError> {
        for _ in 0..LOOKS {
            let look = self.look(tenant, digest).await?;
            if look.stored.is_whole() {
                return Ok(Ok(look.stored));
            }
            let mut tx = self.pool.begin().await?;
            let locked = LockResult { tenant, result: digest }.all(&mut *tx).await?;
            if Self::still(&mut tx, tenant, digest, Some(&look)).await?.is_none() {
                tx.rollback().await?;
                continue;
            }
            let seqs: Vec<i64> = locked.iter().map(|row| row.seq).collect();
            Self::reopen_without_blame(&mut tx, &seqs, digest).await?;
            tx.commit().await?;
            if !seqs.is_empty() {
                tracing::warn!(%digest, jobs = seqs.len(), "result lost; jobs reopened");
            }
            return Ok(Err(seqs.len() as u64));
        }
        Err(BrokerError::Overloaded)
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

    /// Reopens the done jobs among `views` whose result cannot be read, and updates their views. Reads every result.
    /// Returns how many jobs were reopened.
    pub async fn heal(
        &self,
        tenant: &Tenant,
        views: &mut Vec<JobView>,
    ) -> Result<u64, BrokerError> {
        self.heal_by(tenant, views, Reads::All).await
    }

    /// As [`Self::heal`], for answers that name the same results again and again: an object that this store wrote, or
    /// has read as a whole, is not read again. If it was damaged since, whoever fetches it finds that, and its job is
    /// reopened then.
    pub async fn heal_new(
        &self,
        tenant: &Tenant,
        views: &mut Vec<JobView>,
    ) -> Result<u64, BrokerError> {
        self.heal_by(tenant, views, Reads::New).await
    }

    async fn heal_by(
        &self,
        tenant: &Tenant,
        views: &mut Vec<JobView>,
        reads: Reads,
    ) -> Result<u64, BrokerError> {
        let results: Vec<Digest> = views
            .iter()
            .filter(|view| view.state == JobState::Done)
            .filter_map(|view| view.result)
            .collect();
        if results.is_empty() {
            return Ok(0);
        }
        let lost = self.unreadable(tenant, results, reads).await?;
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

    /// Reads an artifact: any copy whose bytes have the digest, the newest epoch's first; or only that of one epoch. No
    /// connection is held while an object is read: that may take long, and there are few.
    pub(super) async fn read_apart(
        &self,
        tenant: &Tenant,
        digest: Digest,
        only: Option<u64>,
    ) -> Result<Stored, BrokerError> {
        let mut copies = ArtifactCopies { tenant, digest }.all(&self.reads).await?;
        copies.retain(|copy| only.is_none_or(|epoch| epoch == copy.epoch.0));
        self.read_copies(tenant, digest, &copies, Reads::All).await
    }

    /// As [`Self::read_apart`], for a transaction that follows: see [`Self::still`].
    pub(super) async fn look(&self, tenant: &Tenant, digest: Digest) -> Result<Look, BrokerError> {
        let copies = ArtifactCopies { tenant, digest }.all(&self.reads).await?;
        let stored = self.read_copies(tenant, digest, &copies, Reads::All).await?;
        Ok(Look { stored, copies: versions(&copies) })
    }

    /// Whether the artifact can be read, as it was found before the caller's locks. [`None`] if nobody looked, or if a
    /// copy came, went or was written since: then the caller releases its locks and looks again. Reads no bytes.
    pub(super) async fn still(
        tx: &mut PgConnection,
        tenant: &Tenant,
        digest: Digest,
        look: Option<&Look>,
    ) -> Result<Option<bool>, BrokerError> {
        let Some(look) = look else { return Ok(None) };
        let copies = ArtifactCopies { tenant, digest }.all(tx).await?;
        Ok((versions(&copies) == look.copies).then_some(look.stored.is_whole()))
    }

    async fn read_copies(
        &self,
        tenant: &Tenant,
        digest: Digest,
        copies: &[ArtifactCopy],
        reads: Reads,
    ) -> Result<Stored, BrokerError> {
        for copy in copies {
            let body = match copy.place.0 {
                Place::Object => None,
                Place::Row => {
                    let body = ArtifactBody { tenant, digest, epoch: copy.epoch.0 };
                    body.optional(&self.reads).await?.map(|row| row.body)
                }
            };
            if let Some(stored) = self.whole((tenant, digest), copy, body, reads).await? {
                return Ok(stored);
            }
        }
        Ok(if copies.is_empty() { Stored::Absent } else { Stored::Damaged })
    }

    /// A copy, with its body if that lies in the database, if its bytes have the digest.
    async fn whole(
        &self,
        (tenant, digest): (&Tenant, Digest),
        copy: &ArtifactCopy,
        body: Option<Vec<u8>>,
        reads: Reads,
    ) -> Result<Option<Stored>, BrokerError> {
        if copy.place.0 == Place::Row {
            let body = body.filter(|body| Digest::of(body) == digest);
            return Ok(body.map(Stored::Row));
        }
        let path = object_path(tenant, copy.epoch.0, copy.generation.0, digest);
        let is_known = reads == Reads::New && self.whole_objects.lock().contains(&path);
        if !is_known {
            if self.objects.check(&path, digest).await? != Found::Whole {
                self.whole_objects.lock().remove(&path);
                return Ok(None);
            }
            self.remember(path.clone());
        }
        Ok(Some(Stored::Object { path, bytes: copy.bytes.0 }))
    }

    /// Those of `digests` of which no copy can be read. Rows are checked by the database, in one
    /// statement per epoch; objects are read, a few at a time.
    async fn unreadable(
        &self,
        tenant: &Tenant,
        mut digests: Vec<Digest>,
        reads: Reads,
    ) -> Result<Vec<Digest>, BrokerError> {
        digests.sort_unstable();
        digests.dedup();
        let known = ArtifactEpochs { tenant, digests: digests.clone() };
        for row in known.all(&self.reads).await? {
            if digests.is_empty() {
                return Ok(digests);
            }
            let whole = ArtifactWhole { tenant, digests: digests.clone(), epoch: row.epoch.0 };
            let whole = whole.all(&self.reads).await?;
            digests.retain(|digest| !whole.iter().any(|row| row.digest.0 == *digest));
        }
        let looks: Vec<_> =
            digests.iter().map(|digest| self.lost(tenant, *digest, reads)).collect();
        let lost: Vec<_> = stream::iter(looks).buffered(READS).try_collect().await?;
        Ok(lost.into_iter().flatten().collect())
    }

    /// The digest, if no copy of it can be read.
    async fn lost(
        &self,
        tenant: &Tenant,
        digest: Digest,
        reads: Reads,
    ) -> Result<Option<Digest>, BrokerError> {
        let copies = ArtifactCopies { tenant, digest }.all(&self.reads).await?;
        let stored = self.read_copies(tenant, digest, &copies, reads).await?;
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
