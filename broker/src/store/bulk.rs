//! What many requests ask for in one statement each, for the flush lanes.
//!
//! Each function writes everything or nothing, and doing it twice has the effect of doing it once. What is not
//! as usual is left to the function for one request, which says why.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use rollmill_broker_client::{
    AgentId, AttemptOutcome, ClaimRequest, CompleteOutcome, CompleteRequest, Digest, EpochState,
    JobId, JobState, JobView, LeaseEpoch, LeaseRef, NewJob, ReleaseRequest, SessionId,
};

use super::sql::{
    AgentAdmitMany, AgentSeenMany, ArtifactPartition, ArtifactPutMany, ArtifactWhole, BeatMany,
    CompleteMany, EpochStateOf, ReleaseMany, SeenRow, View,
};
use super::{Arrival, Completed, Place, Store, Tenant, Uploaded};
use crate::error::BrokerError;

/// Epochs whose partitions a store remembers; it asks again for others.
const PARTITIONS_KNOWN_MAX: usize = 4096;

/// Epochs whose inputs one flush of enqueues looks for; requests with others are judged one by one.
const EPOCHS_MAX: usize = 8;

/// An agent's word about one of its leases.
#[derive(Clone, Debug)]
pub struct Beat {
    pub tenant: Tenant,
    pub agent: AgentId,
    pub lease: LeaseRef,
    /// Moves the lease's expiry.
    pub extends: bool,
    /// Share of the work that is done.
    pub progress: Option<f32>,
}

/// What a beat found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// The agent holds the lease.
    pub held: bool,
    /// And may go on: the hard limit is still ahead.
    pub within: bool,
    /// The job's deadline is less than a minute away, or over: its producer may soon cancel it.
    pub near: bool,
}

/// A small artifact to store, whose digest was checked.
#[derive(Clone, Debug)]
pub struct Upload {
    pub tenant: Tenant,
    pub epoch: u64,
    pub digest: Digest,
    pub body: Bytes,
}

/// An agent and whether it is in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub tenant: Tenant,
    pub agent: AgentId,
    pub quarantined: bool,
    /// The session that it opened last.
    pub session: Option<SessionId>,
}

impl Store {
    /// Completes jobs whose agents hold them and whose results are stored and were never rejected. [`None`] for
    /// the others: [`Store::complete`] judges them.
    pub async fn complete_many(
        &self,
        requests: &[(Tenant, CompleteRequest)],
    ) -> Result<Vec<Option<Completed>>, BrokerError> {
        let complete = CompleteMany {
            tenants: requests.iter().map(|(tenant, _)| tenant).collect(),
            jobs: requests.iter().map(|(_, request)| &request.lease.job).collect(),
            agents: requests.iter().map(|(_, request)| &request.agent).collect(),
            lease_epochs: requests.iter().map(|(_, request)| request.lease.lease_epoch).collect(),
            results: requests.iter().map(|(_, request)| request.result).collect(),
            stats: requests.iter().map(|(_, request)| request.stats.to_string()).collect(),
            outcome: AttemptOutcome::Completed,
        };
        let done = Completed { outcome: CompleteOutcome::Accepted, late: false, repeated: false };
        let rows = self.outcomes.all(complete).await?;
        Ok(at_places(requests.len(), rows.iter().map(|row| (row.place.0, done))))
    }

    /// Returns jobs that their agents hold. `false` for the others: [`Store::release`] says why.
    pub async fn release_many(
        &self,
        requests: &[(Tenant, ReleaseRequest)],
    ) -> Result<Vec<bool>, BrokerError> {
        let release = ReleaseMany {
            tenants: requests.iter().map(|(tenant, _)| tenant).collect(),
            jobs: requests.iter().map(|(_, request)| &request.lease.job).collect(),
            agents: requests.iter().map(|(_, request)| &request.agent).collect(),
            lease_epochs: requests.iter().map(|(_, request)| request.lease.lease_epoch).collect(),
            outcome: AttemptOutcome::Released,
        };
        let rows = self.outcomes.all(release).await?;
        let places = at_places(requests.len(), rows.iter().map(|row| (row.place.0, ())));
        Ok(places.iter().map(Option::is_some).collect())
    }

    /// Renews leases and records progress. Without waiting for the disk: what a crash loses of this is an expiry
    /// that comes sooner, and expiry waits one lease after a start.
    pub async fn beat(&self, beats: &[Beat]) -> Result<Vec<Pulse>, BrokerError> {
        type Key<'a> = (&'a str, &'a JobId, &'a AgentId, LeaseEpoch);
        // One statement cannot touch a row twice: beats of one lease are one.
        let mut merged: BTreeMap<Key<'_>, (usize, &Beat, bool, Option<f32>)> = BTreeMap::new();
        let mut keys = Vec::with_capacity(beats.len());
        for beat in beats {
            let key: Key<'_> =
                (beat.tenant.as_str(), &beat.lease.job, &beat.agent, beat.lease.lease_epoch);
            let entry = merged.entry(key).or_insert((0, beat, false, None));
            entry.2 |= beat.extends;
            entry.3 = beat.progress.or(entry.3);
            keys.push(key);
        }
        for (place, entry) in merged.values_mut().enumerate() {
            entry.0 = place;
        }
        let all = || merged.values();
        let statement = BeatMany {
            tenants: all().map(|(_, beat, ..)| &beat.tenant).collect(),
            jobs: all().map(|(_, beat, ..)| &beat.lease.job).collect(),
            agents: all().map(|(_, beat, ..)| &beat.agent).collect(),
            lease_epochs: all().map(|(_, beat, ..)| beat.lease.lease_epoch).collect(),
            extends: all().map(|(_, _, extends, _)| *extends).collect(),
            progresses: all().map(|(.., progress)| *progress).collect(),
            lease: self.rules.lease,
        };
        let rows = self.beats.all(statement).await?;
        let held = rows.iter().map(|row| (row.place.0, (row.is_within, row.is_near)));
        let mut held = at_places(merged.len(), held);
        // Few agents have second leases, and fewer have lost theirs.
        let lost = all().filter(|(place, _, extends, _)| *extends && held[*place].is_none());
        let lost: Vec<(usize, &Beat)> = lost.map(|(place, beat, ..)| (*place, *beat)).collect();
        if !lost.is_empty() {
            let beats: Vec<&Beat> = lost.iter().map(|(_, beat)| *beat).collect();
            let seconds = self.second_beat(&beats).await?;
            for ((place, _), near) in lost.iter().zip(seconds) {
                held[*place] = near.map(|near| (true, near));
            }
        }
        let pulse = |key: &Key<'_>| {
            let found = merged.get(key).and_then(|(place, ..)| held[*place]);
            let (within, near) = found.unwrap_or_default();
            Pulse { held: found.is_some(), within, near }
        };
        Ok(keys.iter().map(pulse).collect())
    }

    /// Records agents that ask for work and what they can do; returns which of them are in quarantine, in order.
    pub async fn admit_many(&self, arrivals: &[Arrival]) -> Result<Vec<bool>, BrokerError> {
        // The last word of each agent.
        let last: BTreeMap<(&str, &AgentId), &Arrival> = arrivals
            .iter()
            .map(|item| ((item.tenant.as_str(), &item.request.agent), item))
            .collect();
        let able = |request: &ClaimRequest| {
            let able = request.capabilities.iter().map(|c| format!("{}/{}", c.kind, c.version));
            serde_json::Value::from_iter(able).to_string()
        };
        let requests = || last.values().map(|arrival| &arrival.request);
        let statement = AgentAdmitMany {
            tenants: last.values().map(|arrival| &arrival.tenant).collect(),
            agents: requests().map(|request| &request.agent).collect(),
            infos: requests().map(|request| request.info.to_string()).collect(),
            sizes: requests().map(|request| request.class).collect(),
            able: requests().map(able).collect(),
            tokens: last.values().map(|arrival| arrival.token.as_str()).collect(),
            devices: requests().map(Arrival::device).collect(),
        };
        let rows = self.beats.all(statement).await?;
        let quarantined: BTreeSet<(&str, &AgentId)> = rows
            .iter()
            .filter(|row| row.quarantined)
            .map(|row| (row.tenant.as_str(), &row.id.0))
            .collect();
        let is_in = |arrival: &Arrival| {
            quarantined.contains(&(arrival.tenant.as_str(), &arrival.request.agent))
        };
        Ok(arrivals.iter().map(is_in).collect())
    }

    /// Records that agents are alive. Returns those that are known and were free.
    pub async fn seen_many(
        &self,
        agents: &[(Tenant, AgentId)],
    ) -> Result<Vec<Sighting>, BrokerError> {
        let statement = AgentSeenMany {
            tenants: agents.iter().map(|(tenant, _)| tenant).collect(),
            agents: agents.iter().map(|(_, agent)| agent).collect(),
        };
        let sighting = |SeenRow { tenant, id, quarantined, session }| Sighting {
            tenant: Tenant(tenant),
            agent: id.0,
            quarantined,
            session: session.map(|session| session.0),
        };
        Ok(self.beats.all(statement).await?.into_iter().map(sighting).collect())
    }

    /// Adds the jobs of several requests whose inputs are stored for their epochs; returns them in the order of each
    /// request. [`None`] where something is not as usual: [`Store::enqueue`] judges that request.
    pub async fn enqueue_many(
        &self,
        requests: &[(Tenant, Vec<NewJob>)],
    ) -> Result<Vec<Option<Vec<JobView>>>, BrokerError> {
        let mut answers = vec![None; requests.len()];
        let tenants: BTreeSet<&str> = requests.iter().map(|(tenant, _)| tenant.as_str()).collect();
        for tenant in tenants {
            let of_tenant =
                requests.iter().enumerate().filter(|(_, (of, _))| of.as_str() == tenant);
            let of_tenant: Vec<(usize, &[NewJob])> =
                of_tenant.map(|(place, (_, jobs))| (place, jobs.as_slice())).collect();
            self.enqueue_of(&Tenant(tenant.to_owned()), &of_tenant, &mut answers).await?;
        }
        Ok(answers)
    }

    async fn enqueue_of(
        &self,
        tenant: &Tenant,
        requests: &[(usize, &[NewJob])],
        answers: &mut [Option<Vec<JobView>>],
    ) -> Result<(), BrokerError> {
        let mut inputs: BTreeMap<u64, BTreeSet<Digest>> = BTreeMap::new();
        for job in requests.iter().flat_map(|(_, jobs)| *jobs) {
            inputs.entry(job.id.epoch()).or_default().insert(job.id.input());
        }
        let mut whole: BTreeSet<(u64, Digest)> = BTreeSet::new();
        for (epoch, digests) in inputs.into_iter().take(EPOCHS_MAX) {
            let digests = digests.into_iter().collect();
            let found = self.enqueues.all(ArtifactWhole { tenant, digests, epoch }).await?;
            whole.extend(found.iter().map(|row| (epoch, row.digest.0)));
        }
        // By id, which is the order in which every enqueue locks jobs.
        let mut unique: BTreeMap<&JobId, &NewJob> = BTreeMap::new();
        let mut taken: Vec<&(usize, &[NewJob])> = Vec::new();
        for request in requests {
            let is_usual = request.1.iter().all(|job| {
                whole.contains(&(job.id.epoch(), job.id.input()))
                    && unique.get(&job.id).is_none_or(|other| *other == job)
            });
            if is_usual {
                unique.extend(request.1.iter().map(|job| (&job.id, job)));
                taken.push(request);
            }
        }
        if unique.is_empty() {
            return Ok(());
        }
        let jobs: Vec<&NewJob> = unique.values().copied().collect();
        self.enqueues.all(Self::enqueue_statement(tenant, &jobs)?).await?;
        let view = View { tenant, jobs: unique.keys().copied().collect() };
        let rows = self.enqueues.all(view).await?;
        let views: Result<Vec<JobView>, _> = rows.into_iter().map(super::view::job).collect();
        let views: BTreeMap<JobId, JobView> =
            views?.into_iter().map(|view| (view.id.clone(), view)).collect();
        for (place, jobs) in taken {
            let found = jobs.iter().map(|job| {
                let view = views.get(&job.id).filter(|view| view.version == job.version);
                // One that is cancelled still was not added: its epoch is closed.
                view.filter(|view| view.state != JobState::Cancelled).cloned()
            });
            answers[*place] = found.collect();
        }
        Ok(())
    }

    /// Stores small artifacts of epochs that are open. The caller has checked their digests. [`None`] for those of others:
    /// [`Store::require_open`] says why, or opens the epoch.
    pub async fn put_many(&self, uploads: &[Upload]) -> Result<Vec<Option<Uploaded>>, BrokerError> {
        let epochs: BTreeSet<u64> = uploads.iter().map(|upload| upload.epoch).collect();
        self.require_partitions(uploads).await?;
        match self.put_rows(uploads).await {
            // The epoch was dropped after its partition was made or seen.
            Err(BrokerError::Database { reason }) if is_without_partition(&reason.0) => {
                self.partitions.lock().retain(|epoch| !epochs.contains(epoch));
                self.require_partitions(uploads).await?;
                self.put_rows(uploads).await
            }
            other => other,
        }
    }

    async fn put_rows(&self, uploads: &[Upload]) -> Result<Vec<Option<Uploaded>>, BrokerError> {
        type Key<'a> = (u64, &'a str, Digest);
        let key = |upload: &'_ Upload| -> (u64, String, Digest) {
            (upload.epoch, upload.tenant.0.clone(), upload.digest)
        };
        let unique: BTreeMap<Key<'_>, &Upload> = uploads
            .iter()
            .map(|upload| ((upload.epoch, upload.tenant.as_str(), upload.digest), upload))
            .collect();
        let all = || unique.values();
        let statement = ArtifactPutMany {
            tenants: all().map(|upload| &upload.tenant).collect(),
            digests: all().map(|upload| upload.digest).collect(),
            epochs: all().map(|upload| upload.epoch).collect(),
            bodies: all().map(|upload| upload.body.as_ref()).collect(),
            place: Place::Row,
        };
        let rows = self.uploads.all(statement).await?;
        let stored = rows.iter().filter(|row| row.is_open);
        let ready = stored.map(|row| (row.place.0, row.made_ready.0));
        let ready = at_places(unique.len(), ready);
        let made: BTreeMap<(u64, String, Digest), u64> = all()
            .zip(ready)
            .filter_map(|(upload, made_ready)| Some((key(upload), made_ready?)))
            .collect();
        let uploaded = |upload: &Upload| {
            let made_ready = *made.get(&key(upload))?;
            Some(Uploaded { place: Place::Row, made_ready })
        };
        Ok(uploads.iter().map(uploaded).collect())
    }

    /// Makes the partitions of open epochs that have none, as far as this store knows. An epoch that is not open
    /// gets none, or an agent could make any number of tables.
    async fn require_partitions(&self, uploads: &[Upload]) -> Result<(), BrokerError> {
        let unknown: BTreeSet<(u64, &str)> = {
            let known = self.partitions.lock();
            let unknown = uploads.iter().filter(|upload| !known.contains(&upload.epoch));
            unknown.map(|upload| (upload.epoch, upload.tenant.as_str())).collect()
        };
        for (epoch, tenant) in unknown {
            let tenant = Tenant(tenant.to_owned());
            let known = self.uploads.all(EpochStateOf { tenant: &tenant, number: epoch }).await?;
            if known.first().is_none_or(|row| row.state.0 != EpochState::Open) {
                continue;
            }
            self.uploads.all(ArtifactPartition { epoch }).await?;
            let mut known = self.partitions.lock();
            if known.len() >= PARTITIONS_KNOWN_MAX {
                known.clear();
            }
            known.insert(epoch);
        }
        Ok(())
    }
}

/// check_violation, which is also what an insert without a partition for its row is.
fn is_without_partition(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == "23514")
}

/// Values by their places, which count from 1 as in SQL.
pub(super) fn at_places<T: Clone>(
    count: usize,
    found: impl Iterator<Item = (u64, T)>,
) -> Vec<Option<T>> {
    let mut all = vec![None; count];
    for (place, value) in found {
        let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        if let Some(slot) = place.and_then(|place| all.get_mut(place)) {
            *slot = Some(value);
        }
    }
    all
}
