//! Epochs: who may write into one, and how it ends.
//!
//! Uploads and enqueues hold their epoch's row FOR KEY SHARE while they write, and need it to be open. Closing takes it
//! FOR UPDATE, so it waits for what is under way and nothing comes after it.

use rollmill_broker_client::{EpochOutcome, EpochState, EpochView};
use rollmill_broker_rules::decide::unfinished;
use sqlx::{AssertSqlSafe, PgConnection};

use super::artifacts::epoch_path;
use super::audit::By;
use super::sql::{
    AttemptCancel, EpochCancel, EpochClose, EpochEnd, EpochGone, EpochLock, EpochOpen, EpochRow,
    EpochShared, EpochStateOf, EpochSweepArtifacts, EpochSweepBodies, EpochSweepJobs, EpochSwept,
    EpochWanted, Epochs, Statement,
};
use super::{Cancelled, Store, Tenant};
use crate::error::BrokerError;

/// Rows that one statement deletes or cancels: short enough that what waits for their locks does not notice.
const SWEEP: i64 = 1000;

/// How often a request that drops an epoch sweeps it before the retention has to go on.
const PASSES: usize = 10;

/// Epochs in one answer.
const EPOCHS: i64 = 1000;

/// How long the last step of a sweep waits for uploads and reads under way, and they for it.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '1s'";

/// What a request to close an epoch did.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The epoch as it is now.
    pub epoch: EpochView,
    /// What was cancelled with it; [`None`] if it was not open, or stays so.
    pub cancelled: Option<Cancelled>,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Jobs that it deleted.
    pub(super) jobs: u64,
    /// Nothing is left, and nobody else found that before.
    pub(super) is_done: bool,
}

/// The generation of an epoch that is open.
fn generation(epoch: u64, row: Option<&EpochRow>) -> Result<u64, BrokerError> {
    let row = row.ok_or(BrokerError::EpochGone { epoch })?;
    match row.state.0 {
        EpochState::Open => Ok(row.generation.0),
        EpochState::Closing => Err(BrokerError::EpochClosing { epoch }),
        EpochState::Gone => Err(BrokerError::EpochGone { epoch }),
    }
}

fn view(row: &EpochRow) -> EpochView {
    EpochView {
        epoch: row.number.0,
        generation: row.generation.0,
        state: row.state.0,
        outcome: row.outcome.as_ref().map(|outcome| outcome.0),
        opened_unix_ms: row.opened_ms.0,
        closed_unix_ms: row.closed_ms.as_ref().map(|ms| ms.0),
    }
}

impl Store {
    /// Requires an epoch to be open, and returns its generation. One that never was, or that was dropped, is opened if
    /// `may_open`: only producers open epochs, or an agent could make any number of them.
    ///
    /// # Errors
    /// [`BrokerError::EpochClosing`], [`BrokerError::EpochGone`], or [`BrokerError::EpochsOpen`].
    pub async fn require_open(
        &self,
        tenant: &Tenant,
        epoch: u64,
        may_open: bool,
    ) -> Result<u64, BrokerError> {
        let known = EpochStateOf { tenant, number: epoch }.optional(&self.pool).await?;
        let is_new = known.as_ref().is_none_or(|row| row.forgotten);
        match generation(epoch, known.as_ref()) {
            Err(BrokerError::EpochGone { .. }) if may_open && is_new => {
                Ok(self.open(tenant, epoch, None).await?.generation)
            }
            found => found,
        }
    }

    /// As [`Self::require_open`], in a transaction; opens none.
    pub(super) async fn require_open_in(
        tx: &mut PgConnection,
        tenant: &Tenant,
        epoch: u64,
    ) -> Result<(), BrokerError> {
        let known = EpochStateOf { tenant, number: epoch }.optional(tx).await?;
        generation(epoch, known.as_ref()).map(drop)
    }

    /// Opens an epoch: a new one, one that is closing again, or one that is gone as a new generation. Two that are opened
    /// at the same moment may both be the last of [`super::Rules::epochs_open_max`].
    ///
    /// # Errors
    /// [`BrokerError::EpochClosing`] while the last generation is being deleted, and [`BrokerError::EpochsOpen`].
    pub async fn open_epoch<'a>(
        &self,
        by: impl Into<By<'a>>,
        epoch: u64,
    ) -> Result<EpochView, BrokerError> {
        let by = by.into();
        self.open(by.tenant, epoch, Some(by)).await
    }

    /// As [`Self::open_epoch`]. What an upload or a job opens by itself is not recorded.
    async fn open(
        &self,
        tenant: &Tenant,
        epoch: u64,
        by: Option<By<'_>>,
    ) -> Result<EpochView, BrokerError> {
        let most = i64::from(self.rules.epochs_open_max);
        let open = EpochOpen { tenant, number: epoch, most };
        let mut tx = self.pool.begin().await?;
        if let Some(row) = open.optional(&mut *tx).await? {
            if let Some(by) = by {
                by.record(&mut tx, "open epoch", &epoch.to_string()).await?;
            }
            tx.commit().await?;
            return Ok(view(&row));
        }
        // Another connection is not waited for while this one is held.
        tx.rollback().await?;
        match (EpochStateOf { tenant, number: epoch }).optional(&self.pool).await? {
            Some(row) if row.state.0 == EpochState::Open => Ok(view(&row)),
            Some(row) if row.state.0 == EpochState::Gone && !row.swept => {
                Err(BrokerError::EpochClosing { epoch })
            }
            _ => Err(BrokerError::EpochsOpen { most: self.rules.epochs_open_max }),
        }
    }

    /// Closes an epoch: it takes nothing more, and its unfinished jobs are cancelled. With a label, one that has unfinished
    /// jobs without it stays open. Closing it again changes nothing, unless jobs are left to be cancelled.
    ///
    /// # Errors
    /// [`BrokerError::EpochGone`] when there is no such epoch, or no more.
    pub async fn close_epoch<'a>(
        &self,
        by: impl Into<By<'a>>,
        epoch: u64,
        outcome: EpochOutcome,
        label: Option<(&str, &str)>,
    ) -> Result<Closed, BrokerError> {
        let by = by.into();
        let (tenant, number) = (by.tenant, epoch);
        let mut tx = self.pool.begin().await?;
        let row = EpochLock { tenant, number }.optional(&mut *tx).await?;
        let row = row.ok_or(BrokerError::EpochGone { epoch })?;
        let was_open = row.state.0 == EpochState::Open;
        if row.state.0 == EpochState::Gone {
            return Err(BrokerError::EpochGone { epoch });
        }
        if was_open && let Some((label, value)) = label {
            let wanted = EpochWanted { tenant, number, states: unfinished(), label, value };
            if wanted.one(&mut *tx).await?.found {
                return Ok(Closed { epoch: view(&row), cancelled: None });
            }
        }
        if was_open {
            EpochClose { tenant, number, outcome }.run(&mut *tx).await?;
            by.record(&mut tx, "close epoch", &format!("{epoch}: {outcome}")).await?;
        }
        let row = EpochStateOf { tenant, number }.one(&mut *tx).await?;
        // Before the jobs: who waits for the lock of one would keep uploads waiting for that of the epoch.
        tx.commit().await?;
        rollmill_service::failpoint!("broker.after_close");
        let cancelled = self.cancel_closing(tenant, epoch).await?;
        let is_news = was_open || cancelled.jobs > 0;
        Ok(Closed { epoch: view(&row), cancelled: is_news.then_some(cancelled) })
    }

    /// Cancels what an epoch that is closing has unfinished, a part at a time: an epoch may have more jobs than one
    /// statement has time for. May be repeated, and by several replicas at once.
    pub(super) async fn cancel_closing(
        &self,
        tenant: &Tenant,
        epoch: u64,
    ) -> Result<Cancelled, BrokerError> {
        let (number, most) = (epoch, SWEEP);
        let mut all = Cancelled { jobs: 0, attempts: 0 };
        loop {
            let mut tx = self.pool.begin().await?;
            let cancel = EpochCancel { tenant, number, states: unfinished(), most };
            let seqs: Vec<i64> = cancel.all(&mut *tx).await?.iter().map(|row| row.seq).collect();
            if seqs.is_empty() {
                return Ok(all);
            }
            all.attempts += AttemptCancel { jobs: &seqs }.run(&mut *tx).await?;
            tx.commit().await?;
            all.jobs += seqs.len() as u64;
        }
    }

    /// Forgets an epoch at once, as if it had never been; returns how many jobs it had. The next upload of a producer
    /// opens it again, as another generation. The record has the entry of the end, since nothing after it can be
    /// undone.
    pub async fn drop_epoch<'a>(
        &self,
        by: impl Into<By<'a>>,
        epoch: u64,
    ) -> Result<u64, BrokerError> {
        let by = by.into();
        let (tenant, number) = (by.tenant, epoch);
        self.end_epoch(by, epoch).await?;
        rollmill_service::failpoint!("broker.after_end");
        let mut jobs = 0;
        for _ in 0..PASSES {
            jobs += self.sweep_epoch(tenant, epoch).await?.jobs;
            let left = EpochStateOf { tenant, number }.optional(&self.pool).await?;
            // What another replica was deleting meanwhile is waited for, lock by lock.
            if left.is_none_or(|row| row.state.0 != EpochState::Gone || row.swept) {
                break;
            }
        }
        Ok(jobs)
    }

    /// Ends an epoch because its producer asks for that; [`Self::sweep_epoch`] deletes what it has.
    async fn end_epoch(&self, by: By<'_>, epoch: u64) -> Result<(), BrokerError> {
        let (tenant, number) = (by.tenant, epoch);
        let mut tx = self.pool.begin().await?;
        let Some(row) = EpochLock { tenant, number }.optional(&mut *tx).await? else {
            return Ok(());
        };
        let (outcome, forgotten) = (EpochOutcome::Operator, true);
        EpochEnd { tenant, number, outcome, forgotten }.run(&mut *tx).await?;
        // Whoever repeats a request that broke off changes nothing more.
        if row.state.0 != EpochState::Gone || !row.forgotten {
            by.record(&mut tx, "drop epoch", &epoch.to_string()).await?;
        }
        tx.commit().await?;
        self.partitions.lock().remove(&epoch);
        Ok(())
    }

    /// Ends an epoch that is in this state still; returns whether it was, since its producer may have opened it again.
    /// One that is gone already is swept again.
    pub(super) async fn end_if(
        &self,
        tenant: &Tenant,
        epoch: u64,
        state: EpochState,
    ) -> Result<bool, BrokerError> {
        let number = epoch;
        let mut tx = self.pool.begin().await?;
        let row = EpochLock { tenant, number }.optional(&mut *tx).await?;
        let Some(row) = row.filter(|row| row.state.0 == state) else { return Ok(false) };
        let (outcome, forgotten) = (EpochOutcome::Operator, false);
        EpochEnd { tenant, number, outcome, forgotten }.run(&mut *tx).await?;
        if state == EpochState::Closing {
            let outcome = row.outcome.map_or(outcome, |outcome| outcome.0);
            let detail = format!("{epoch}: {outcome}, and its time is over");
            By::from(tenant).record(&mut tx, "drop epoch", &detail).await?;
        }
        tx.commit().await?;
        self.partitions.lock().remove(&epoch);
        Ok(true)
    }

    /// Deletes all that an ended epoch has: jobs with their attempts first, so that no job is left whose input is gone;
    /// then artifacts, rows before bytes. May be repeated, and by several replicas at once: each statement deletes only
    /// while the epoch is gone and of the generation that was found, and objects lie in a folder of their generation.
    pub(super) async fn sweep_epoch(
        &self,
        tenant: &Tenant,
        epoch: u64,
    ) -> Result<Swept, BrokerError> {
        let (number, most) = (epoch, SWEEP);
        let known = EpochStateOf { tenant, number }.optional(&self.pool).await?;
        let known = known.filter(|row| row.state.0 == EpochState::Gone && !row.swept);
        let Some(generation) = known.map(|row| row.generation.0) else {
            return Ok(Swept::default());
        };
        let mut jobs = 0;
        loop {
            let sweep = EpochSweepJobs { tenant, number, generation, most };
            let deleted = sweep.run(&self.pool).await?;
            jobs += deleted;
            if deleted == 0 {
                break;
            }
        }
        loop {
            let sweep = EpochSweepArtifacts { tenant, number, generation, most };
            if sweep.run(&self.pool).await? == 0 {
                break;
            }
        }
        self.sweep_bodies(tenant, epoch, generation).await?;
        // What a slow upload to an earlier generation left, too.
        for generation in 1..=generation {
            self.objects.delete_below(&epoch_path(tenant, epoch, generation)).await?;
        }
        let is_done = EpochSwept { tenant, number, generation }.run(&self.pool).await? > 0;
        Ok(Swept { jobs, is_done })
    }

    /// Drops the partition of an epoch's bodies, which leaves no dead row; if other tenants have bodies in it, deletes
    /// those of this one.
    async fn sweep_bodies(
        &self,
        tenant: &Tenant,
        epoch: u64,
        generation: u64,
    ) -> Result<(), BrokerError> {
        let (number, most) = (epoch, SWEEP);
        let mut tx = self.pool.begin().await?;
        if (EpochGone { tenant, number, generation }).optional(&mut *tx).await?.is_none() {
            return Ok(());
        }
        // Without this an upload of another tenant could come between the look and the drop.
        for statement in [LOCK_WAIT, "LOCK TABLE ONLY artifact_body IN ACCESS EXCLUSIVE MODE"] {
            sqlx::raw_sql(statement).execute(&mut *tx).await?;
        }
        if !(EpochShared { tenant, number }).one(&mut *tx).await?.found {
            // The name is made of a number alone.
            let drop = format!("DROP TABLE IF EXISTS artifact_body_{epoch}");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *tx).await?;
            tx.commit().await?;
            return Ok(());
        }
        tx.rollback().await?;
        loop {
            let sweep = EpochSweepBodies { tenant, number, generation, most };
            if sweep.run(&self.pool).await? == 0 {
                return Ok(());
            }
        }
    }

    /// The newest epochs of a tenant.
    pub async fn epochs(&self, tenant: &Tenant) -> Result<Vec<EpochView>, BrokerError> {
        let rows = Epochs { tenant, most: EPOCHS }.all(&self.pool).await?;
        Ok(rows.iter().map(view).collect())
    }
}

#[cfg(test)]
mod tests {
    use rollmill_broker_testing::TestSchema;
    use sqlx::PgPool;

    use super::*;

    /// Epoch 7 in its second generation, with a job, an artifact and its body.
    async fn fill(pool: &PgPool) {
        for text in [
            "SELECT artifact_body_partition(7)",
            "INSERT INTO epoch (tenant, number, generation) VALUES ('default', 7, 2)",
            "INSERT INTO job (tenant, id, kind, version, epoch, rank, class, input)
             VALUES ('default', 'j', 'leaf', 'v1', 7, 0, 0, '\\x00')",
            "INSERT INTO artifact (tenant, digest, epoch, bytes, place) VALUES ('default', sha256('a'), 7, 1, 'row')",
            "INSERT INTO artifact_body (tenant, digest, epoch, body) VALUES ('default', sha256('a'), 7, 'a')",
        ] {
            sqlx::query(text).execute(pool).await.unwrap();
        }
    }

    const GONE: &str =
        "UPDATE epoch SET state = 'gone', outcome = 'final', closed_at = now(), gone_at = now()";

    /// Rows that each step of a sweep changes.
    async fn sweep(pool: &PgPool, generation: u64) -> [u64; 4] {
        let (tenant, number, most) = (&Tenant::default(), 7, SWEEP);
        [
            EpochSweepJobs { tenant, number, generation, most }.run(pool).await.unwrap(),
            EpochSweepArtifacts { tenant, number, generation, most }.run(pool).await.unwrap(),
            EpochSweepBodies { tenant, number, generation, most }.run(pool).await.unwrap(),
            EpochSwept { tenant, number, generation }.run(pool).await.unwrap(),
        ]
    }

    /// Fault: a replica sweeps an epoch that was opened again since it looked. It deletes nothing.
    #[tokio::test]
    async fn a_sweep_that_is_late_deletes_nothing_of_the_next_generation() {
        let store = TestSchema::new().await.store().await;
        let pool = store.pool();
        fill(pool).await;
        assert_eq!(sweep(pool, 2).await, [0; 4], "it is open");
        sqlx::query(GONE).execute(pool).await.unwrap();
        assert_eq!(sweep(pool, 1).await, [0; 4], "it has another generation");
        assert_eq!(sweep(pool, 2).await, [1; 4]);
        assert_eq!(sweep(pool, 2).await, [0; 4], "it is swept");
    }

    /// Fault: one replica finds nothing more to delete while another still deletes. The epoch is not swept before that
    /// is done, or its next generation would begin with what is left.
    #[tokio::test]
    async fn an_epoch_is_swept_only_once_nothing_is_left_of_it() {
        let store = TestSchema::new().await.store().await;
        let pool = store.pool();
        fill(pool).await;
        sqlx::query(GONE).execute(pool).await.unwrap();
        let (tenant, number, generation) = (&Tenant::default(), 7, 2);
        for table in ["job", "artifact", "artifact_body"] {
            let mut other = pool.begin().await.unwrap();
            let delete = AssertSqlSafe(format!("DELETE FROM {table}"));
            assert_eq!(sqlx::query(delete).execute(&mut *other).await.unwrap().rows_affected(), 1);
            let swept = EpochSwept { tenant, number, generation };
            assert_eq!(swept.run(pool).await.unwrap(), 0, "{table} is being deleted");
            other.commit().await.unwrap();
        }
        assert_eq!(EpochSwept { tenant, number, generation }.run(pool).await.unwrap(), 1);
    }
}
