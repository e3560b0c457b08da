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
    AttemptCancel, EpochCancel, EpochClose, EpochEnd, EpochForget, EpochLock, EpochOpen, EpochRow,
    EpochShared, EpochStateOf, EpochSweepArtifacts, EpochSweepBodies, EpochSweepJobs, EpochSwept,
    EpochWanted, Epochs, Statement,
};
use super::{Cancelled, Store, Tenant};
use crate::error::BrokerError;

/// Rows that one statement deletes: short enough that what waits for their locks does not notice.
const SWEEP: i64 = 1000;

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
    /// Requires an epoch to be open, and returns its generation. One that never was is opened if `may_open`: only
    /// producers open epochs, or an agent could make any number of them.
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
        match known.as_ref().map(|row| row.state.0) {
            Some(EpochState::Open) => Ok(known.map_or(1, |row| row.generation.0)),
            Some(EpochState::Closing) => Err(BrokerError::EpochClosing { epoch }),
            Some(EpochState::Gone) => Err(BrokerError::EpochGone { epoch }),
            None if may_open => Ok(self.open(tenant, epoch, None).await?.generation),
            None => Err(BrokerError::EpochGone { epoch }),
        }
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
    /// jobs without it stays open. Closing it again changes nothing.
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
        match row.state.0 {
            EpochState::Gone => return Err(BrokerError::EpochGone { epoch }),
            EpochState::Closing => return Ok(Closed { epoch: view(&row), cancelled: None }),
            EpochState::Open => {}
        }
        if let Some((label, value)) = label {
            let wanted = EpochWanted { tenant, number, states: unfinished(), label, value };
            if wanted.one(&mut *tx).await?.found {
                return Ok(Closed { epoch: view(&row), cancelled: None });
            }
        }
        let cancelled = Self::close_locked(&mut tx, tenant, number, outcome).await?;
        let detail = format!("{epoch}: {outcome}, {} jobs cancelled", cancelled.jobs);
        by.record(&mut tx, "close epoch", &detail).await?;
        let row = EpochStateOf { tenant, number }.one(&mut *tx).await?;
        tx.commit().await?;
        Ok(Closed { epoch: view(&row), cancelled: Some(cancelled) })
    }

    async fn close_locked(
        tx: &mut PgConnection,
        tenant: &Tenant,
        number: u64,
        outcome: EpochOutcome,
    ) -> Result<Cancelled, BrokerError> {
        EpochClose { tenant, number, outcome }.run(&mut *tx).await?;
        let cancel = EpochCancel { tenant, number, states: unfinished() };
        let seqs: Vec<i64> = cancel.all(&mut *tx).await?.iter().map(|row| row.seq).collect();
        let attempts = AttemptCancel { jobs: &seqs }.run(&mut *tx).await?;
        Ok(Cancelled { jobs: seqs.len() as u64, attempts })
    }

    /// Forgets an epoch at once, as if it had never been; returns how many jobs it had.
    /// The record has the entry of the end, since nothing after it can be undone.
    pub async fn drop_epoch<'a>(
        &self,
        by: impl Into<By<'a>>,
        epoch: u64,
    ) -> Result<u64, BrokerError> {
        let by = by.into();
        let (tenant, number) = (by.tenant, epoch);
        self.end_epoch(by, epoch, EpochOutcome::Operator).await?;
        let jobs = self.sweep_epoch(tenant, epoch).await?;
        EpochForget { tenant, number }.run(&self.pool).await?;
        Ok(jobs)
    }

    /// Ends an epoch for good; [`Self::sweep_epoch`] deletes what it has.
    async fn end_epoch(
        &self,
        by: By<'_>,
        epoch: u64,
        outcome: EpochOutcome,
    ) -> Result<(), BrokerError> {
        let (tenant, number) = (by.tenant, epoch);
        let mut tx = self.pool.begin().await?;
        EpochLock { tenant, number }.optional(&mut *tx).await?;
        if (EpochEnd { tenant, number, outcome }).run(&mut *tx).await? > 0 {
            by.record(&mut tx, "drop epoch", &epoch.to_string()).await?;
        }
        tx.commit().await?;
        self.partitions.lock().remove(&epoch);
        Ok(())
    }

    /// Ends an epoch that is still closing; returns whether it was, since its producer may have opened it again.
    pub(super) async fn end_if_closing(
        &self,
        tenant: &Tenant,
        epoch: u64,
    ) -> Result<bool, BrokerError> {
        let number = epoch;
        let mut tx = self.pool.begin().await?;
        let row = EpochLock { tenant, number }.optional(&mut *tx).await?;
        if row.is_none_or(|row| row.state.0 != EpochState::Closing) {
            return Ok(false);
        }
        EpochEnd { tenant, number, outcome: EpochOutcome::Operator }.run(&mut *tx).await?;
        tx.commit().await?;
        self.partitions.lock().remove(&epoch);
        Ok(true)
    }

    /// Deletes all that an ended epoch has: jobs with their attempts first, so that no job is left whose input is gone;
    /// then artifacts, rows before bytes. May be repeated, and by several replicas at once. Returns how many jobs.
    pub(super) async fn sweep_epoch(
        &self,
        tenant: &Tenant,
        epoch: u64,
    ) -> Result<u64, BrokerError> {
        let (number, most) = (epoch, SWEEP);
        let mut jobs = 0;
        loop {
            let deleted = EpochSweepJobs { tenant, number, most }.run(&self.pool).await?;
            jobs += deleted;
            if deleted == 0 {
                break;
            }
        }
        while (EpochSweepArtifacts { tenant, number, most }).run(&self.pool).await? > 0 {}
        self.sweep_bodies(tenant, epoch).await?;
        // Of every generation.
        let known = EpochStateOf { tenant, number }.optional(&self.pool).await?;
        for generation in 1..=known.map_or(1, |row| row.generation.0) {
            self.objects.delete_below(&epoch_path(tenant, epoch, generation)).await?;
        }
        EpochSwept { tenant, number }.run(&self.pool).await?;
        Ok(jobs)
    }

    /// Drops the partition of an epoch's bodies, which leaves no dead row; if other tenants have bodies in it, deletes
    /// those of this one.
    async fn sweep_bodies(&self, tenant: &Tenant, epoch: u64) -> Result<(), BrokerError> {
        let (number, most) = (epoch, SWEEP);
        let mut tx = self.pool.begin().await?;
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
        while (EpochSweepBodies { tenant, number, most }).run(&self.pool).await? > 0 {}
        Ok(())
    }

    /// The newest epochs of a tenant.
    pub async fn epochs(&self, tenant: &Tenant) -> Result<Vec<EpochView>, BrokerError> {
        let rows = Epochs { tenant, most: EPOCHS }.all(&self.pool).await?;
        Ok(rows.iter().map(view).collect())
    }
}
