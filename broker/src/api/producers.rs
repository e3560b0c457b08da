//! Requests of producers: artifacts, jobs, names.

use std::sync::Arc;

use rollmill_broker_client::routes::{
    AcquireName, Cancel, Changes, CloseEpoch, DropEpoch, Enqueue, Epochs, OpenEpoch, PutArtifacts,
    Query, Reject, ReleaseName, RenewName, Wait,
};
use rollmill_broker_client::{
    ArtifactsResponse, AttemptOutcome, ChangesResponse, CountResponse, Digest, EpochsResponse,
    JobState, JobView, JobsResponse, NamedLeaseRequest, RejectOutcome, UnableView, WaitResponse,
    rules,
};

use super::call::Call;
use super::{Answer, clean_text, wait_of};
use crate::broker::{Shared, spread};
use crate::error::BrokerError;
use crate::metrics::{Ended, Fenced};
use crate::store::{Cursor, Place};
use crate::traces;

/// Pause of a feed after something changed, so that it does not read each change alone.
const GATHER: std::time::Duration = std::time::Duration::from_millis(10);

pub(super) async fn put_artifacts(
    shared: Arc<Shared>,
    call: Call<PutArtifacts>,
) -> Answer<PutArtifacts> {
    let Call { bearer, query, body: bodies, .. } = call;
    shared.disk.require_for(bearer.role)?;
    let digests = bodies.iter().map(|body| Digest::of(body)).collect();
    let epoch = (query.epoch, bearer.opens_epochs());
    let done = shared.lanes.put_artifacts(&bearer.tenant, epoch, bodies).await?;
    for place in Place::ALL {
        let of = done.iter().filter(|(uploaded, _)| uploaded.place == place);
        let bytes: u64 = of.map(|(_, bytes)| *bytes).sum();
        let counter = &shared.metrics.artifact_bytes_total;
        counter.with_label_values(&["in", place.as_str()]).inc_by(bytes);
    }
    if done.iter().any(|(uploaded, _)| uploaded.made_ready > 0) {
        shared.hub.became_ready();
    }
    Ok(ArtifactsResponse { digests })
}

pub(super) async fn enqueue(shared: Arc<Shared>, call: Call<Enqueue>) -> Answer<Enqueue> {
    let jobs = call.body.jobs;
    shared.disk.require()?;
    for job in &jobs {
        shared.metrics.know("kind", job.id.kind());
    }
    let spans = traces::enqueue(&shared.traces, &call.bearer.tenant, &jobs);
    let enqueued = shared.lanes.enqueue(&call.bearer.tenant, jobs).await;
    traces::enqueued(spans, enqueued.as_ref().err());
    let mut jobs = enqueued?;
    shared.count_lost(shared.store.heal(&call.bearer.tenant, &mut jobs).await?);
    shared.hub.became_ready();
    Ok(JobsResponse { jobs })
}

pub(super) async fn query(shared: Arc<Shared>, call: Call<Query>) -> Answer<Query> {
    Ok(JobsResponse { jobs: shared.store.jobs(&call.bearer.tenant, &call.body.ids).await? })
}

pub(super) async fn wait(shared: Arc<Shared>, call: Call<Wait>) -> Answer<Wait> {
    let (tenant, ids) = (&call.bearer.tenant, &call.body.ids);
    let limit = tokio::time::sleep(wait_of(call.body.wait_ms));
    tokio::pin!(limit);
    let mut finals = shared.hub.finals();
    loop {
        // Marked as seen before the query, so that a change during the query is not missed.
        finals.mark_unchanged();
        let mut jobs = shared.store.jobs(tenant, ids).await?;
        shared.count_lost(shared.store.heal_new(tenant, &mut jobs).await?);
        let waits = |unable: &UnableView| {
            jobs.iter().any(|job| {
                matches!(job.state, JobState::Ready | JobState::Delayed)
                    && job.id.kind() == unable.kind
                    && job.version.as_str() == unable.version
                    && job.class == unable.class
            })
        };
        let unable = shared.unable(tenant).into_iter().filter(waits).collect();
        jobs.retain(|job: &JobView| job.state.awaits_producer());
        if !jobs.is_empty() || ids.is_empty() {
            return Ok(WaitResponse { jobs, unable });
        }
        tokio::select! {
            _ = finals.changed() => {}
            // The fallback for a lost notification.
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            () = &mut limit => return Ok(WaitResponse { jobs, unable }),
            () = shared.shutdown.started() => return Ok(WaitResponse { jobs, unable }),
        }
    }
}

pub(super) async fn changes(shared: Arc<Shared>, call: Call<Changes>) -> Answer<Changes> {
    let (tenant, epoch) = (&call.bearer.tenant, call.parameter);
    let mut cursor: Cursor = call.body.cursor.as_deref().unwrap_or_default().parse()?;
    let limit = tokio::time::sleep(wait_of(call.body.wait_ms));
    tokio::pin!(limit);
    let mut finals = shared.hub.finals();
    loop {
        // Marked as seen before the query, so that a change during the query is not missed.
        finals.mark_unchanged();
        let changed = shared.store.changes(tenant, epoch, &cursor).await?;
        let (mut jobs, more) = (changed.jobs, changed.more);
        cursor = changed.cursor;
        shared.count_lost(shared.store.heal_new(tenant, &mut jobs).await?);
        let is_over = limit.is_elapsed() || shared.shutdown.is_started();
        if !jobs.is_empty() || more || is_over {
            let unable = shared.unable(tenant);
            return Ok(ChangesResponse { jobs, cursor: cursor.to_string(), more, unable });
        }
        tokio::select! {
            // What changes together is read together.
            _ = finals.changed() => tokio::time::sleep(GATHER).await,
            // The fallback for a lost notification.
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            () = &mut limit => {}
            () = shared.shutdown.started() => {}
        }
    }
}

pub(super) async fn reject(shared: Arc<Shared>, call: Call<Reject>) -> Answer<Reject> {
    let mut request = call.body;
    request.reason = clean_text(&request.reason);
    let response = shared.store.reject(&*call.bearer, &request, spread()).await?;
    if response.agent_quarantined {
        shared.sightings.doubt();
    }
    if response.outcome != RejectOutcome::Stale {
        tracing::warn!(job = %request.id, error = request.reason, "result rejected");
        shared.metrics.ended(Ended::With(AttemptOutcome::Rejected), 1);
    }
    match response.outcome {
        RejectOutcome::Reopened => shared.hub.became_ready(),
        RejectOutcome::DeadLettered => {
            shared.metrics.dead_letters_total.inc();
            shared.hub.became_final();
        }
        RejectOutcome::Stale => {}
    }
    Ok(response)
}

pub(super) async fn cancel(shared: Arc<Shared>, call: Call<Cancel>) -> Answer<Cancel> {
    let done = shared.store.cancel(&*call.bearer, &call.body.ids).await?;
    shared.metrics.ended(Ended::With(AttemptOutcome::Cancelled), done.attempts);
    shared.metrics.jobs_cancelled_total.inc_by(done.jobs);
    shared.hub.became_final();
    Ok(CountResponse { count: done.jobs })
}

pub(super) async fn epochs(shared: Arc<Shared>, call: Call<Epochs>) -> Answer<Epochs> {
    Ok(EpochsResponse { epochs: shared.store.epochs(&call.bearer.tenant).await? })
}

pub(super) async fn open_epoch(shared: Arc<Shared>, call: Call<OpenEpoch>) -> Answer<OpenEpoch> {
    shared.store.open_epoch(&*call.bearer, call.parameter).await
}

pub(super) async fn close_epoch(shared: Arc<Shared>, call: Call<CloseEpoch>) -> Answer<CloseEpoch> {
    let Call { bearer, parameter: epoch, body, .. } = call;
    let label = body.label.as_deref().map(rules::pair).transpose()?;
    let closed = shared.store.close_epoch(&*bearer, epoch, body.outcome, label);
    let closed = closed.await?;
    if let Some(cancelled) = closed.cancelled {
        shared.metrics.ended(Ended::With(AttemptOutcome::Cancelled), cancelled.attempts);
        shared.hub.became_final();
    }
    Ok(closed.epoch)
}

pub(super) async fn drop_epoch(shared: Arc<Shared>, call: Call<DropEpoch>) -> Answer<DropEpoch> {
    let epoch = call.parameter;
    let count = shared.store.drop_epoch(&*call.bearer, epoch).await?;
    shared.hub.became_final();
    Ok(CountResponse { count })
}

pub(super) async fn acquire_name(
    shared: Arc<Shared>,
    call: Call<AcquireName>,
) -> Answer<AcquireName> {
    shared.store.acquire_name(&*call.bearer, &call.body).await
}

pub(super) async fn renew_name(shared: Arc<Shared>, call: Call<RenewName>) -> Answer<RenewName> {
    let fence = fence_of(&call.body)?;
    let response = shared.store.renew_name(&call.bearer.tenant, &call.body, fence).await?;
    if !response.held {
        shared.metrics.fenced(Fenced::RenewName, 1);
    }
    Ok(response)
}

pub(super) async fn release_name(
    shared: Arc<Shared>,
    call: Call<ReleaseName>,
) -> Answer<ReleaseName> {
    let fence = fence_of(&call.body)?;
    shared.store.release_name(&*call.bearer, &call.body, fence).await
}

fn fence_of(request: &NamedLeaseRequest) -> Result<u64, BrokerError> {
    request.fence.ok_or_else(|| BrokerError::bad("the fence is required to renew or release"))
}
