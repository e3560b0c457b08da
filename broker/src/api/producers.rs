//! What producers ask: artifacts, jobs, names.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rollmill_broker_client::{
    CLASS_MAX, CountResponse, Digest, EnqueueRequest, IdsRequest, JobState, JobView, JobsResponse,
    NamedLeaseRequest, NamedLeaseResponse, NewJob, RejectOutcome, RejectRequest, RejectResponse,
    UnableView, WaitRequest, WaitResponse,
};
use serde::Deserialize;

use super::{
    Answer, Caller, Refusal, Shares, check_ids, clean_text, read_body, read_json, wait_of,
};
use crate::broker::spread;
use crate::error::BrokerError;
use crate::store::{ROW_ARTIFACT_BYTES_MAX, Role};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutQuery {
    epoch: u64,
}

pub(super) async fn put_artifact(
    State(shared): Shares,
    Caller(bearer): Caller,
    Path(digest): Path<String>,
    query: Result<Query<PutQuery>, axum::extract::rejection::QueryRejection>,
    body: Body,
) -> Result<Response, Refusal> {
    bearer.require(&[Role::Producer, Role::Agent])?;
    let digest = parse_digest(&digest)?;
    let Query(PutQuery { epoch }) = query.map_err(|error| BrokerError::bad(error.body_text()))?;
    if i64::try_from(epoch).is_err() {
        return Err(BrokerError::bad("the epoch is too large").into());
    }
    let body = read_body(body, "the artifact", shared.artifact_bytes_max).await?;
    let bytes = body.len() as u64;
    let done = shared.store.put_artifact(&bearer.tenant, epoch, digest, body.into()).await?;
    shared.metrics.artifact_bytes_total.with_label_values(&["in", done.place]).inc_by(bytes);
    if done.made_ready > 0 {
        shared.hub.became_ready();
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn get_artifact(
    State(shared): Shares,
    Caller(bearer): Caller,
    Path(digest): Path<String>,
) -> Result<Response, Refusal> {
    let digest = parse_digest(&digest)?;
    let body = shared.store.get_artifact(&bearer.tenant, digest).await.inspect_err(|error| {
        if let BrokerError::ArtifactLost { reopened, .. } = error {
            shared.count_lost(*reopened);
        }
    })?;
    let place = if body.len() <= ROW_ARTIFACT_BYTES_MAX { "row" } else { "object" };
    let counter = &shared.metrics.artifact_bytes_total;
    counter.with_label_values(&["out", place]).inc_by(body.len() as u64);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

fn parse_digest(text: &str) -> Result<Digest, BrokerError> {
    text.parse()
        .map_err(|error: rollmill_broker_client::IdError| BrokerError::bad(error.to_string()))
}

pub(super) async fn enqueue(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<JobsResponse> {
    bearer.require(&[Role::Producer])?;
    let EnqueueRequest { jobs } = read_json(body).await?;
    if jobs.len() > rollmill_broker_client::BATCH_MAX {
        let max = rollmill_broker_client::BATCH_MAX;
        return Err(BrokerError::TooLarge { what: "the batch", max }.into());
    }
    for job in &jobs {
        check_job(job)?;
    }
    for job in &jobs {
        shared.metrics.know_kind(job.id.kind());
    }
    let mut jobs = shared.store.enqueue(&bearer.tenant, &jobs).await?;
    shared.count_lost(shared.store.heal(&bearer.tenant, &mut jobs).await?);
    shared.hub.became_ready();
    Ok(Json(JobsResponse { jobs }))
}

fn check_job(job: &NewJob) -> Result<(), BrokerError> {
    if job.class > CLASS_MAX {
        return Err(BrokerError::bad(format!("class {} is above {CLASS_MAX}", job.class)));
    }
    // What Postgres can hold as a time; further than any epoch.
    if job.deadline_unix_seconds.is_some_and(|at| at > 1 << 40) || job.hard_limit_seconds == Some(0)
    {
        return Err(BrokerError::bad("a deadline or hard limit is out of range"));
    }
    let text_ok = |text: &String| text.len() <= 200 && !text.chars().any(char::is_control);
    if job.labels.len() > 16 || !job.labels.iter().all(|(k, v)| text_ok(k) && text_ok(v)) {
        return Err(BrokerError::bad("at most 16 labels of 200 bytes, without control characters"));
    }
    Ok(())
}

pub(super) async fn query(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<JobsResponse> {
    let IdsRequest { ids } = read_json(body).await?;
    check_ids(&ids)?;
    Ok(Json(JobsResponse { jobs: shared.store.jobs(&bearer.tenant, &ids).await? }))
}

pub(super) async fn wait(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<WaitResponse> {
    let WaitRequest { ids, wait_ms } = read_json(body).await?;
    check_ids(&ids)?;
    let limit = tokio::time::sleep(wait_of(wait_ms));
    tokio::pin!(limit);
    let mut finals = shared.hub.finals();
    loop {
        // Marked as seen before the look, so that a change during it is not missed.
        finals.mark_unchanged();
        let mut jobs = shared.store.jobs(&bearer.tenant, &ids).await?;
        shared.count_lost(shared.store.heal(&bearer.tenant, &mut jobs).await?);
        let waits = |unable: &UnableView| {
            jobs.iter().any(|job| {
                matches!(job.state, JobState::Ready | JobState::Delayed)
                    && job.id.kind() == unable.kind
                    && job.version.as_str() == unable.version
                    && job.class == unable.class
            })
        };
        let unable = shared.unable(&bearer.tenant).into_iter().filter(waits).collect();
        jobs.retain(|job: &JobView| job.state.awaits_producer());
        if !jobs.is_empty() || ids.is_empty() {
            return Ok(Json(WaitResponse { jobs, unable }));
        }
        tokio::select! {
            _ = finals.changed() => {}
            // The fallback for a lost notification.
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            () = &mut limit => return Ok(Json(WaitResponse { jobs, unable })),
            () = shared.shutdown.started() => return Ok(Json(WaitResponse { jobs, unable })),
        }
    }
}

pub(super) async fn reject(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<RejectResponse> {
    bearer.require(&[Role::Producer])?;
    let mut request: RejectRequest = read_json(body).await?;
    request.reason = clean_text(&request.reason);
    let response = shared.store.reject(&bearer.tenant, &request, spread()).await?;
    if response.outcome != RejectOutcome::Stale {
        tracing::warn!(job = %request.id, error = request.reason, "result rejected");
        shared.metrics.attempts_ended_total.with_label_values(&["rejected"]).inc();
    }
    match response.outcome {
        RejectOutcome::Reopened => shared.hub.became_ready(),
        RejectOutcome::GivenUp => {
            shared.metrics.dead_letters_total.inc();
            shared.hub.became_final();
        }
        RejectOutcome::Stale => {}
    }
    Ok(Json(response))
}

pub(super) async fn cancel(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<CountResponse> {
    bearer.require(&[Role::Producer])?;
    let IdsRequest { ids } = read_json(body).await?;
    check_ids(&ids)?;
    let count = shared.store.cancel(&bearer.tenant, &ids).await?;
    shared
        .metrics
        .attempts_ended_total
        .with_label_values(&[JobState::Cancelled.as_str()])
        .inc_by(count);
    shared.hub.became_final();
    Ok(Json(CountResponse { count }))
}

pub(super) async fn drop_epoch(
    State(shared): Shares,
    Caller(bearer): Caller,
    Path(epoch): Path<String>,
) -> Answer<CountResponse> {
    bearer.require(&[Role::Producer])?;
    let epoch = epoch.parse().map_err(|_| BrokerError::bad("an epoch is a number"))?;
    let count = shared.store.drop_epoch(&bearer.tenant, epoch).await?;
    shared.store.audit(&bearer.tenant, &bearer.label, "drop epoch", &epoch.to_string()).await?;
    shared.hub.became_final();
    Ok(Json(CountResponse { count }))
}

pub(super) async fn named_lease(
    State(shared): Shares,
    Caller(bearer): Caller,
    Path(verb): Path<String>,
    body: Body,
) -> Answer<NamedLeaseResponse> {
    bearer.require(&[Role::Producer])?;
    let request: NamedLeaseRequest = read_json(body).await?;
    let name_ok =
        (1..=200).contains(&request.name.len()) && !request.name.chars().any(char::is_control);
    if !name_ok || request.ttl_ms > 86_400_000 {
        return Err(BrokerError::bad("a name has 1 to 200 bytes and a lease at most a day").into());
    }
    if request.fence.is_none() && verb != "acquire" {
        return Err(BrokerError::bad("the fence is required to renew or release").into());
    }
    let (store, tenant) = (&shared.store, &bearer.tenant);
    let response = match verb.as_str() {
        "acquire" => store.acquire_name(tenant, &request).await?,
        "renew" => store.renew_name(tenant, &request).await?,
        "release" => store.release_name(tenant, &request).await?,
        _ => return Err(BrokerError::bad("acquire, renew or release").into()),
    };
    if verb == "renew" && !response.held {
        shared.metrics.fence_refusals_total.with_label_values(&["renew_name"]).inc();
    }
    Ok(Json(response))
}
