//! The scrubber's statements: which stored artifacts are read again, and what follows from what is found.
//!
//! Where the scrubber is lies in the database. A pass may take days, so one that began anew with each start of a broker
//! would never reach the last artifacts; and replicas share a pass, since each takes the next copies and moves the place
//! on. The rate lies there too, as the time when the next copies are due, so it holds for all replicas together. A
//! replica that dies leaves the copies that it took unread until the next pass.

use std::num::NonZeroU64;
use std::time::Duration;

use rollmill_broker_client::Digest;

use super::healing::Stored;
use super::sql::{
    ScrubAgain, ScrubMove, ScrubNext, ScrubNextRow, ScrubPlace, ScrubWait, Statement,
};
use super::{Store, Tenant};
use crate::error::BrokerError;

/// Copies that are looked at for one batch.
const COPIES_MAX: i64 = 256;

/// Seconds of the rate that a batch is worth, but for one with a single larger artifact.
const BATCH_SECONDS: u64 = 1;

/// A copy of an artifact, which is one epoch's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCopy {
    pub tenant: Tenant,
    pub digest: Digest,
    pub epoch: u64,
    /// As its row has it.
    pub bytes: u64,
}

/// Copies that this replica is to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubBatch {
    pub copies: Vec<StoredCopy>,
    /// When the next ones are due, for whichever replica takes them.
    pub pause: Duration,
}

rollmill_broker_client::named! {
    /// What the scrubber found of a copy.
    pub enum Verdict is "verdict of the scrubber" {
        /// Its bytes have its digest.
        Whole = "whole",
        /// It was damaged, and was written again from the copy of another epoch.
        Mended = "mended",
        /// It is damaged, and so is every other copy: the jobs whose result it is are open again.
        Damaged = "damaged",
        /// It was deleted or its epoch closed meanwhile.
        Gone = "gone",
        /// The object store did not return its bytes, again and again.
        Unread = "unread",
    }
}

impl Store {
    /// Takes the next copies of open epochs, in the order of tenant, digest and epoch. None before the last ones have
    /// been paid for at `bytes_per_second`, nor before `pass` is over once all were taken.
    pub async fn scrub_take(
        &self,
        bytes_per_second: NonZeroU64,
        pass: Duration,
    ) -> Result<ScrubBatch, BrokerError> {
        let mut tx = self.pool.begin().await?;
        let Some(place) = ScrubPlace {}.optional(&mut *tx).await? else {
            let wait = ScrubWait {}.one(&mut *tx).await?.wait_seconds;
            let pause = Duration::try_from_secs_f64(wait.max(0.0)).unwrap_or_default();
            return Ok(ScrubBatch { copies: Vec::new(), pause });
        };
        let next = ScrubNext {
            tenant: &Tenant(place.tenant),
            digest: &place.digest,
            epoch: place.epoch,
            most: COPIES_MAX,
        };
        let mut next = next.all(&mut *tx).await?;
        let (count, bytes) = within(&next, bytes_per_second);
        next.truncate(count);
        let Some(last) = next.last() else {
            ScrubAgain { pass }.run(&mut *tx).await?;
            tx.commit().await?;
            return Ok(ScrubBatch::default());
        };
        let pause = paid(bytes, bytes_per_second);
        let (tenant, digest, epoch) = (&Tenant(last.tenant.clone()), last.digest.0, last.epoch.0);
        ScrubMove { tenant, digest, epoch, pause }.run(&mut *tx).await?;
        tx.commit().await?;
        let copy = |row: ScrubNextRow| StoredCopy {
            tenant: Tenant(row.tenant),
            digest: row.digest.0,
            epoch: row.epoch.0,
            bytes: row.bytes.0,
        };
        let copies = next.into_iter().filter(|row| row.is_open).map(copy).collect();
        Ok(ScrubBatch { copies, pause })
    }

    /// Reads a copy as a whole and compares its digest. One that is damaged is written again from the copy of another
    /// epoch. Without one the artifact is lost, as it is for whoever fetches it: the jobs whose result it is are
    /// reopened, and their number is returned.
    ///
    /// # Errors
    /// Those of the database and of the object store, which say nothing about the bytes.
    pub async fn scrub(&self, copy: &StoredCopy) -> Result<(Verdict, u64), BrokerError> {
        let StoredCopy { tenant, digest, epoch, .. } = copy;
        match self.read_apart(tenant, *digest, Some(*epoch)).await? {
            Stored::Row(_) | Stored::Object { .. } => return Ok((Verdict::Whole, 0)),
            Stored::Absent => return Ok((Verdict::Gone, 0)),
            Stored::Damaged => {}
        }
        match self.copy_artifact(tenant, *epoch, *digest).await {
            Ok(true) => Ok((Verdict::Mended, 0)),
            Ok(false) => Ok((Verdict::Damaged, self.doubt(tenant, *digest).await?)),
            Err(BrokerError::EpochClosing { .. } | BrokerError::EpochGone { .. }) => {
                Ok((Verdict::Gone, 0))
            }
            Err(error) => Err(error),
        }
    }
}

/// How many of the copies a batch takes, and their bytes: as many as are worth [`BATCH_SECONDS`], and one at least.
/// Those that are passed over cost nothing.
fn within(next: &[ScrubNextRow], bytes_per_second: NonZeroU64) -> (usize, u64) {
    let most = bytes_per_second.get().saturating_mul(BATCH_SECONDS);
    let mut bytes = 0_u64;
    for (count, row) in next.iter().enumerate() {
        let own = if row.is_open { row.bytes.0 } else { 0 };
        if bytes > 0 && bytes.saturating_add(own) > most {
            return (count, bytes);
        }
        bytes = bytes.saturating_add(own);
    }
    (next.len(), bytes)
}

/// How long bytes take at a rate.
fn paid(bytes: u64, bytes_per_second: NonZeroU64) -> Duration {
    let ms = u128::from(bytes) * 1000 / u128::from(bytes_per_second.get());
    // Half the range of milliseconds, so that the database can add it to a date; no artifact is so large.
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX).min(1 << 40))
}
