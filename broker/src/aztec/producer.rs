//! What prover nodes ask for.

use std::time::Duration;

use axum::body::Bytes;
use rollmill_broker_client::{JobId, JobState, NewJob};

use super::types;
use super::wire::{self, Arguments, Fault, Ids, Outcome, Status, Text};
use super::{Refusal, Session};
use crate::api::direct;
use crate::error::BrokerError;
use crate::store::AztecJob;

/// How long a settled job is in the answer to those that poll. Aztec's facade asks every second, and for all
/// its jobs every 30 s.
const NOTICE: Duration = Duration::from_secs(30);
/// Most notices in one answer; the rest follows when the facade asks for all its jobs.
const NOTICES_MAX: u32 = 10_000;
/// What Aztec's own broker says of a cancelled job.
const ABORTED: &str = "Aborted";

impl Session<'_> {
    /// Adds a job, or returns the state of one that is known. Whoever asks again after a restart finds the
    /// results that there are.
    pub(super) async fn enqueue(&self, arguments: &Arguments<'_>) -> Result<Outcome, Refusal> {
        let job: wire::NewJob<'_> = arguments.required(0, "job")?;
        let id = parse_id(&job.id)?;
        let kind = types::find(id.kind(), job.r#type).ok_or_else(|| {
            let (number, name, known) = (job.r#type, id.kind(), types::numbers_of(id.kind()));
            Fault::parameter("type", format!("{number} is not the number of {name}: {known}"))
        })?;
        if job.epoch_number != id.epoch() {
            return Err(Fault::parameter("epochNumber", "not the epoch of the id").into());
        }
        let version = &kind.capability.version;
        let mut is_newest = false;
        let known = self.shared.store.aztec_jobs(&self.bearer.tenant, std::slice::from_ref(&id));
        let before = match known.await?.pop() {
            Some(known) if known.version != *version => {
                return Err(Fault::rejected(format!("Duplicate proving job ID: {id}")).into());
            }
            Some(known) => match known.state {
                // Opened again: whoever cancelled it wants it now.
                JobState::Cancelled | JobState::InputWanted => Status::InQueue,
                _ => {
                    let status = self.status_of(&known).await?;
                    // The facade takes the result later; the list of all its jobs tells it.
                    return Ok(Outcome::Status(status.unwrap_or(Status::InProgress)));
                }
            },
            None => {
                is_newest = self.require_recent(id.epoch()).await?;
                Status::NotFound
            }
        };
        // The facade repeats the call until there is space.
        self.shared.disk.require()?;
        let _copy = self.shared.admission.more(job.inputs_uri.len())?;
        let uri = Bytes::from(job.inputs_uri.into_owned());
        let input = direct::put_artifact(self.shared, self.bearer, id.epoch(), uri).await?;
        let rank = types::rank(id.kind());
        let new = NewJob {
            rank,
            ..NewJob::new(id.epoch(), &kind.capability.kind, version.clone(), id.input())
        };
        self.shared.metrics.know("kind", id.kind());
        self.shared.store.enqueue_aztec(&self.bearer.tenant, &new, input).await?;
        self.shared.hub.became_ready();
        if is_newest {
            self.shared.aztec.old.notify_one();
        }
        Ok(Outcome::Status(before))
    }

    /// Rejects a job of an epoch that lies too far behind: its jobs are deleted. Returns whether it is the first
    /// of the newest epoch.
    async fn require_recent(&self, epoch: u64) -> Result<bool, Refusal> {
        let height = self.shared.store.aztec_height(&self.bearer.tenant).await?.unwrap_or(0);
        let kept = u64::from(self.shared.aztec.epochs_kept);
        match epoch < height.saturating_sub(kept) {
            true => Err(Fault::rejected(format!(
                "Epoch too old: job epoch {epoch}, current epoch: {height}"
            ))
            .into()),
            false => Ok(epoch > height),
        }
    }

    pub(super) async fn job_status(&self, arguments: &Arguments<'_>) -> Result<Outcome, Refusal> {
        let Text(id) = arguments.required(0, "id")?;
        // A text that is no id is no job's.
        let Ok(id) = id.parse() else { return Ok(Outcome::Status(Status::NotFound)) };
        let Some(job) = self.find(&id).await? else {
            return Ok(Outcome::Status(Status::NotFound));
        };
        let status = self.status_of(&job).await?;
        let status = status.ok_or_else(|| Fault::rejected("the answer is full; ask again"))?;
        Ok(Outcome::Status(status))
    }

    pub(super) async fn cancel(&self, arguments: &Arguments<'_>) -> Result<Outcome, Refusal> {
        let Text(id) = arguments.required(0, "id")?;
        if let Ok(id) = id.parse::<JobId>()
            && self.find(&id).await?.is_some()
        {
            direct::cancel(self.shared, self.bearer, id).await?;
        }
        Ok(Outcome::Nothing)
    }

    pub(super) async fn completed(&self, arguments: &Arguments<'_>) -> Result<Outcome, Refusal> {
        let ids: Ids<'_> = arguments.required(0, "ids")?;
        let ids: Vec<JobId> = ids.0.iter().filter_map(|Text(id)| id.parse().ok()).collect();
        let (store, tenant) = (&self.shared.store, &self.bearer.tenant);
        let mut settled = store.aztec_finished(tenant, NOTICE, NOTICES_MAX).await?;
        if !ids.is_empty() {
            let asked = store.aztec_jobs(tenant, &ids).await?;
            let asked = asked.into_iter().filter(|job| job.state.awaits_producer());
            settled.extend(asked.map(|job| job.id));
            settled.sort_unstable();
            settled.dedup();
        }
        Ok(Outcome::Ids(settled.iter().map(JobId::to_string).collect()))
    }

    pub(super) async fn find(&self, id: &JobId) -> Result<Option<AztecJob>, BrokerError> {
        let found = self.shared.store.aztec_jobs(&self.bearer.tenant, std::slice::from_ref(id));
        // A job of another kind of producer is none of Aztec's.
        Ok(found.await?.pop().filter(|job| types::number_of(&job.version).is_some()))
    }

    /// A job's state with its result; `None` when the answers hold enough already.
    async fn status_of(&self, job: &AztecJob) -> Result<Option<Status>, BrokerError> {
        let said = || job.failure.clone().filter(|said| !said.is_empty());
        Ok(Some(match (job.state, job.result) {
            (JobState::Done, Some(result)) => {
                match direct::get_artifact(self.shared, self.bearer, result).await {
                    Ok(uri) if !self.hold(uri.len())? => return Ok(None),
                    Ok(uri) => Status::Fulfilled { value: text(uri)? },
                    // Its bytes are lost and the job is open again.
                    Err(BrokerError::ArtifactLost { .. } | BrokerError::UnknownArtifact { .. }) => {
                        Status::InQueue
                    }
                    Err(error) => return Err(error),
                }
            }
            (JobState::Leased, _) => Status::InProgress,
            (JobState::Dead, _) => {
                Status::Rejected { reason: said().unwrap_or_else(|| "Failed".into()) }
            }
            // Version 5 has a status of its own, which makes a client of version 4 fail; this one both read.
            (JobState::Cancelled, _) => Status::Rejected { reason: ABORTED.into() },
            // Nothing but the facade, asked again, has them.
            (JobState::InputWanted, _) => {
                Status::Rejected { reason: "Inputs lost; enqueue again".into() }
            }
            (JobState::Ready | JobState::Delayed | JobState::Done, _) => Status::InQueue,
        }))
    }
}

pub(super) fn text(bytes: Bytes) -> Result<String, BrokerError> {
    String::from_utf8(bytes.into()).map_err(|_| BrokerError::Corrupt {
        what: "an Aztec job's artifact that is no text".into(),
    })
}

pub(super) fn parse_id(id: &str) -> Result<JobId, Fault> {
    id.parse().map_err(|_| Fault::parameter("id", "not of the form EPOCH:TYPE:SHA256"))
}
