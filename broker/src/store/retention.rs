//! What is deleted by itself, and when.

use std::time::Duration;

use rollmill_broker_client::{EpochOutcome, EpochState};

use super::sql::{
    AgentsForget, AuditForget, DueRow, EpochForget, EpochsCount, EpochsDue, EpochsEarly,
    EpochsSilent, EpochsUnfinished, KeptBytes, PartitionsOf, Statement,
};
use super::{Store, Tenant};
use crate::database;
use crate::error::BrokerError;

/// Epochs that one round looks after; the next round takes the others.
const ROUND: i64 = 64;
/// Rows that one statement deletes of what has no epoch.
const BATCH: i64 = 1000;

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Epochs whose outcome is final, after they were closed.
    pub final_epochs: Duration,
    /// Epochs that were superseded or given up, after they were closed.
    pub given_up_epochs: Duration,
    /// Open epochs without a word from their producer, after their last job, result, upload or deadline.
    pub silent_epochs: Duration,
    /// The least time between the closing of an epoch and its end.
    pub grace: Duration,
    /// How long it is remembered that an epoch is gone.
    pub tombstones: Duration,
    /// Agents that were not seen.
    pub agents: Duration,
    /// What operators and producers did.
    pub audit: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            final_epochs: day,
            given_up_epochs: 3 * day,
            silent_epochs: 7 * day,
            grace: Duration::from_secs(600),
            tombstones: 30 * day,
            agents: 7 * day,
            audit: 400 * day,
        }
    }
}

/// What a round of retention did to an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retired {
    /// Closed it for its silence.
    Closed { tenant: Tenant, epoch: u64 },
    /// Deleted all that it had.
    Dropped { tenant: Tenant, epoch: u64, outcome: EpochOutcome, jobs: u64 },
    /// Could not close or delete it; the next round tries again. Other epochs do not wait for it.
    Kept { tenant: Tenant, epoch: u64, reason: String },
}

/// What artifacts take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Bytes of their tables, indexes included.
    pub rows: u64,
    /// Bytes of their objects.
    pub objects: u64,
}

/// The tables of bodies, one for each epoch with a body in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions {
    /// Of epochs that are open or closing.
    pub used: u64,
    /// Of epochs that are gone. The next rounds drop them.
    pub due: u64,
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// What became of an epoch; an error unless it concerns this epoch alone.
fn kept(
    tenant: &Tenant,
    epoch: u64,
    retired: Result<Option<Retired>, BrokerError>,
) -> Result<Option<Retired>, BrokerError> {
    match retired {
        Err(BrokerError::Database { reason }) if database::is_outage(&reason.0) => {
            Err(BrokerError::Database { reason })
        }
        Err(error) => {
            let reason = rollmill_service::one_line(&error);
            Ok(Some(Retired::Kept { tenant: tenant.clone(), epoch, reason }))
        }
        Ok(retired) => Ok(retired),
    }
}

impl Store {
    /// One round: closes silent epochs, cancels what closing ones have left, ends those whose time is over, deletes
    /// what they have, and forgets the oldest of them, of agents and of the record. If the disk is nearly full, also
    /// ends the final epoch that was closed first and has had its grace. Every step may be repeated, and by several
    /// replicas at once.
    ///
    /// # Errors
    /// When the database is away. What one epoch cannot do is in the answer, so that it delays no other.
    pub async fn retire(&self, disk_is_low: bool) -> Result<Vec<Retired>, BrokerError> {
        let keep = self.rules.retention;
        let mut done = Vec::new();
        let silent = EpochsSilent { silent_seconds: seconds(keep.silent_epochs), most: ROUND };
        for row in silent.all(&self.pool).await? {
            let (tenant, epoch) = (Tenant(row.tenant), row.number.0);
            let closed = self.close_silent(&tenant, epoch).await;
            done.extend(kept(&tenant, epoch, closed)?);
        }
        for row in (EpochsUnfinished { most: ROUND }).all(&self.pool).await? {
            let (tenant, epoch) = (Tenant(row.tenant), row.number.0);
            let cancelled = self.cancel_closing(&tenant, epoch).await;
            done.extend(kept(&tenant, epoch, cancelled.map(|_| None))?);
        }
        let due = EpochsDue {
            final_seconds: seconds(keep.final_epochs),
            given_up_seconds: seconds(keep.given_up_epochs),
            grace_seconds: seconds(keep.grace),
            tombstone_seconds: seconds(keep.tombstones),
            most: ROUND,
        };
        for row in due.all(&self.pool).await? {
            let tenant = Tenant(row.tenant.clone());
            let retired = self.retire_epoch(&tenant, &row).await;
            done.extend(kept(&tenant, row.number.0, retired)?);
        }
        if disk_is_low {
            let early = EpochsEarly { grace_seconds: seconds(keep.grace) };
            if let Some(row) = early.optional(&self.pool).await? {
                let (tenant, epoch) = (Tenant(row.tenant), row.number.0);
                let ended = self.end_closing(&tenant, epoch, EpochOutcome::Final).await;
                done.extend(kept(&tenant, epoch, ended)?);
            }
        }
        AgentsForget { seconds: seconds(keep.agents), most: BATCH }.run(&self.pool).await?;
        AuditForget { seconds: seconds(keep.audit), most: BATCH }.run(&self.pool).await?;
        Ok(done)
    }

    async fn close_silent(
        &self,
        tenant: &Tenant,
        epoch: u64,
    ) -> Result<Option<Retired>, BrokerError> {
        let retired = Retired::Closed { tenant: tenant.clone(), epoch };
        match self.close_epoch(tenant, epoch, EpochOutcome::Silent, None).await {
            Ok(closed) => Ok(closed.cancelled.map(|_| retired)),
            // Somebody else was faster.
            Err(BrokerError::EpochGone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends, sweeps or forgets an epoch that is due.
    async fn retire_epoch(
        &self,
        tenant: &Tenant,
        row: &DueRow,
    ) -> Result<Option<Retired>, BrokerError> {
        let (epoch, number) = (row.number.0, row.number.0);
        let outcome = row.outcome.as_ref().map_or(EpochOutcome::Operator, |outcome| outcome.0);
        if row.state.0 == EpochState::Closing {
            return self.end_closing(tenant, epoch, outcome).await;
        }
        if row.forget {
            // What came after the last sweep goes with the row: slow uploads, and what a release before this one added.
            if self.end_if(tenant, epoch, EpochState::Gone).await? {
                self.sweep_epoch(tenant, epoch).await?;
                let tombstone_seconds = seconds(self.rules.retention.tombstones);
                EpochForget { tenant, number, tombstone_seconds }.run(&self.pool).await?;
            }
            return Ok(None);
        }
        self.sweep_ended(tenant, epoch, outcome).await
    }

    async fn end_closing(
        &self,
        tenant: &Tenant,
        epoch: u64,
        outcome: EpochOutcome,
    ) -> Result<Option<Retired>, BrokerError> {
        match self.end_if(tenant, epoch, EpochState::Closing).await? {
            true => self.sweep_ended(tenant, epoch, outcome).await,
            false => Ok(None),
        }
    }

    async fn sweep_ended(
        &self,
        tenant: &Tenant,
        epoch: u64,
        outcome: EpochOutcome,
    ) -> Result<Option<Retired>, BrokerError> {
        let swept = self.sweep_epoch(tenant, epoch).await?;
        let tenant = tenant.clone();
        let dropped = Retired::Dropped { tenant, epoch, outcome, jobs: swept.jobs };
        Ok(swept.is_done.then_some(dropped))
    }

    /// How many epochs there are in each state; states without any are left out.
    pub async fn count_epochs(&self) -> Result<Vec<(EpochState, u64)>, BrokerError> {
        let rows = EpochsCount {}.all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| (row.state.0, row.count.0)).collect())
    }

    /// What artifacts take.
    pub async fn kept(&self) -> Result<Kept, BrokerError> {
        let row = KeptBytes {}.one(&self.pool).await?;
        Ok(Kept { rows: row.rows.0, objects: row.objects.0 })
    }

    /// How many tables of bodies there are.
    pub async fn partitions(&self) -> Result<Partitions, BrokerError> {
        let row = PartitionsOf {}.one(&self.pool).await?;
        Ok(Partitions { used: row.present.0.saturating_sub(row.due.0), due: row.due.0 })
    }
}
