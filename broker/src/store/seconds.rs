//! Second leases: a second agent works on a job whose first is slow, and the first result is taken.
//!
//! The job's row knows nothing of them. A second lease only lets its agent go on: its heartbeats are answered like those
//! of a holder while the job may have a result. Its result is offered under the number of the lease that ran when it was
//! given, of which the agent is not the holder, so it is judged like one that comes after a lease was lost.

use rollmill_broker_client::{AgentId, LeaseEpoch, LeaseRef, SizeClass};
use rollmill_broker_rules::decide;

use super::sql::{
    SecondBeat, SecondCandidates, SecondClaim, SecondEnd, SecondFree, SecondLock, SecondRow,
    Statement,
};
use super::{Beat, Granted, Store, Tenant, corrupt};
use crate::error::BrokerError;

/// Running jobs that are read at a time.
const CANDIDATES_MAX: i64 = 1_000;

/// A running job of an epoch that is at risk.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub seq: i64,
    pub tenant: Tenant,
    pub kind: String,
    pub version: String,
    pub class: SizeClass,
    pub epoch: u64,
    pub rank: u32,
    pub lease_epoch: LeaseEpoch,
    pub holder: AgentId,
    pub excluded: Vec<String>,
    pub running_seconds: f64,
    /// A second agent works on it.
    pub has_second: bool,
    /// Other jobs of its type, version and class are ready.
    pub is_crowded: bool,
}

/// A running job chosen for a second agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Second {
    pub seq: i64,
    pub agent: AgentId,
    /// The lease that runs.
    pub lease_epoch: LeaseEpoch,
}

/// What came of second leases that were chosen.
#[derive(Debug)]
pub struct SecondsGiven {
    pub granted: Vec<Granted>,
    /// The first so many were tried. The others found no place: as many agents as may work on second leases do.
    pub tried: usize,
}

impl Store {
    /// Running jobs of these epochs, the most urgent first.
    pub async fn second_candidates(
        &self,
        epochs: &[(Tenant, u64)],
    ) -> Result<Vec<Running>, BrokerError> {
        let candidates = SecondCandidates {
            tenants: epochs.iter().map(|(tenant, _)| tenant).collect(),
            epochs: epochs.iter().map(|(_, epoch)| *epoch).collect(),
            most: CANDIDATES_MAX,
        };
        let running = |row: SecondRow| {
            let holder = row.lease_holder.ok_or_else(|| corrupt("a lease without a holder"))?.0;
            Ok(Running {
                seq: row.seq,
                tenant: Tenant(row.tenant),
                kind: row.kind,
                version: row.version,
                class: row.class.0,
                epoch: row.epoch.0,
                rank: row.rank.0,
                lease_epoch: row.lease_epoch.lease_epoch(),
                holder,
                excluded: row.excluded_agents,
                running_seconds: row.running_seconds,
                has_second: row.has_second,
                is_crowded: row.is_crowded,
            })
        };
        candidates.all(&self.pool).await?.into_iter().map(running).collect()
    }

    /// Gives second leases, so that there are at most `most` of all tenants and replicas. Those that cannot be given any
    /// more are missing in the answer.
    pub async fn second_claim(
        &self,
        chosen: &[Second],
        most: usize,
    ) -> Result<SecondsGiven, BrokerError> {
        let lease = self.rules.lease;
        let hard_limit = self.rules.hard_limit.as_secs();
        let mut tx = self.pool.begin().await?;
        SecondLock {}.run(&mut *tx).await?;
        // A statement of its own, which sees what the holder of the lock before has given.
        let present = SecondFree { states: decide::wants_second() }.one(&mut *tx).await?.count.0;
        let free = most.saturating_sub(usize::try_from(present).unwrap_or(usize::MAX));
        let tried = &chosen[..free.min(chosen.len())];
        let claim = SecondClaim {
            jobs: &tried.iter().map(|second| second.seq).collect::<Vec<_>>(),
            agents: tried.iter().map(|second| &second.agent).collect(),
            lease_epochs: tried.iter().map(|second| second.lease_epoch).collect(),
            lease,
            hard_limit_seconds: i32::try_from(hard_limit).unwrap_or(i32::MAX),
        };
        let rows = claim.all(&mut *tx).await?;
        tx.commit().await?;
        let granted: Result<Vec<Granted>, BrokerError> =
            rows.into_iter().map(|row| Self::granted(row, lease)).collect();
        Ok(SecondsGiven { granted: granted?, tried: tried.len() })
    }

    /// Moves second leases on; returns which go on, and of those whether the job's deadline is near.
    pub(super) async fn second_beat(
        &self,
        beats: &[&Beat],
    ) -> Result<Vec<Option<bool>>, BrokerError> {
        let beat = SecondBeat {
            tenants: beats.iter().map(|beat| &beat.tenant).collect(),
            jobs: beats.iter().map(|beat| &beat.lease.job).collect(),
            agents: beats.iter().map(|beat| &beat.agent).collect(),
            lease_epochs: beats.iter().map(|beat| beat.lease.lease_epoch).collect(),
            states: decide::wants_second(),
            lease: self.rules.lease,
        };
        let rows = self.beats.all(beat).await?;
        let found = rows.iter().map(|row| (row.place.0, row.is_near));
        Ok(super::bulk::at_places(beats.len(), found))
    }

    /// Ends a second lease; returns whether the agent had one. Nobody is blamed, and the job's record does not change.
    pub async fn second_end(
        &self,
        tenant: &Tenant,
        agent: &AgentId,
        lease: &LeaseRef,
    ) -> Result<bool, BrokerError> {
        let end = SecondEnd { tenant, job: &lease.job, agent, lease_epoch: lease.lease_epoch };
        Ok(end.run(&self.pool).await? > 0)
    }
}
