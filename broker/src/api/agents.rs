//! What agents ask: work, and to be heard about it.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use rollmill_broker_client::{
    CLASS_MAX, ClaimRequest, ClaimResponse, CompleteOutcome, CompleteRequest, CompleteResponse,
    CountResponse, FailRequest, HeartbeatRequest, HeartbeatResponse, ProgressRequest,
    ReleaseRequest,
};

use super::{Answer, Caller, Shares, check_free_json, clean_text, read_json, wait_of};
use crate::broker::{Shared, spread};
use crate::error::BrokerError;
use crate::store::Role;

/// Most leases in a heartbeat and capabilities in a claim.
const LIST_MAX: usize = 256;

pub(super) async fn claim(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<ClaimResponse> {
    bearer.require(&[Role::Agent])?;
    let request: ClaimRequest = read_json(body).await?;
    if request.class > CLASS_MAX || request.capabilities.len() > LIST_MAX {
        return Err(BrokerError::bad("class or number of capabilities out of range").into());
    }
    check_free_json(&request.info)?;
    shared.store.admit(&bearer.tenant, &request).await?;
    let shutdown = shared.shutdown.clone();
    let limit = async {
        tokio::select! {
            () = tokio::time::sleep(wait_of(request.wait_ms)) => {}
            () = shutdown.started() => {}
        }
    };
    let (store, hub) = (&shared.store, &shared.hub);
    let grant = shared.dispatcher.wait(store, hub, &bearer.tenant, &request, limit).await?;
    Ok(Json(ClaimResponse { grant }))
}

pub(super) async fn heartbeat(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<HeartbeatResponse> {
    bearer.require(&[Role::Agent])?;
    let request: HeartbeatRequest = read_json(body).await?;
    if request.leases.len() > LIST_MAX {
        return Err(BrokerError::TooLarge { what: "the list of leases", max: LIST_MAX }.into());
    }
    let cancel = shared.store.heartbeat(&bearer.tenant, &request).await?;
    shared.store.seen(&bearer.tenant, &request.agent).await?;
    let refusals = shared.metrics.fence_refusals_total.with_label_values(&["heartbeat"]);
    refusals.inc_by(cancel.len() as u64);
    // Four beats a lease: three may be lost.
    let every = shared.store.rules().lease / 4;
    Ok(Json(HeartbeatResponse {
        cancel,
        every_ms: u64::try_from(every.as_millis()).unwrap_or(1000),
    }))
}

pub(super) async fn progress(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<CountResponse> {
    bearer.require(&[Role::Agent])?;
    let request: ProgressRequest = read_json(body).await?;
    if !(0.0..=1.0).contains(&request.progress) {
        return Err(BrokerError::bad("progress lies between 0 and 1").into());
    }
    let result = shared.store.progress(&bearer.tenant, &request).await;
    fenced(&shared, "progress", result)?;
    Ok(Json(CountResponse { count: 1 }))
}

pub(super) async fn complete(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<CompleteResponse> {
    bearer.require(&[Role::Agent])?;
    let request: CompleteRequest = read_json(body).await?;
    check_free_json(&request.stats)?;
    let done = shared.store.complete(&bearer.tenant, &request).await.inspect_err(|error| {
        if matches!(error, BrokerError::AlreadyRejected { .. }) {
            // The job may be ready for somebody else.
            shared.hub.became_ready();
        }
    })?;
    if done.outcome == CompleteOutcome::Accepted && !done.repeated {
        let outcome = if done.late { "completed_late" } else { "completed" };
        shared.metrics.attempts_ended_total.with_label_values(&[outcome]).inc();
        shared.hub.became_final();
    }
    Ok(Json(CompleteResponse { outcome: done.outcome }))
}

pub(super) async fn fail(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<CountResponse> {
    bearer.require(&[Role::Agent])?;
    let mut request: FailRequest = read_json(body).await?;
    if request.class.is_brokers() {
        return Err(BrokerError::bad("that class is the broker's to set").into());
    }
    request.message = clean_text(&request.message);
    let result = shared.store.fail(&bearer.tenant, &request, spread()).await;
    let next = fenced(&shared, "fail", result)?;
    tracing::warn!(job = %request.lease.job, agent = %request.agent, class = request.class.as_str(),
        error = request.message, "attempt failed");
    shared.metrics.attempts_ended_total.with_label_values(&[request.class.as_str()]).inc();
    shared.count_next(next);
    Ok(Json(CountResponse { count: 1 }))
}

pub(super) async fn release(
    State(shared): Shares,
    Caller(bearer): Caller,
    body: Body,
) -> Answer<CountResponse> {
    bearer.require(&[Role::Agent])?;
    let request: ReleaseRequest = read_json(body).await?;
    let result = shared.store.release(&bearer.tenant, &request).await;
    fenced(&shared, "release", result)?;
    shared.metrics.attempts_ended_total.with_label_values(&["released"]).inc();
    shared.hub.became_ready();
    Ok(Json(CountResponse { count: 1 }))
}

fn fenced<T>(
    shared: &Shared,
    operation: &str,
    result: Result<T, BrokerError>,
) -> Result<T, BrokerError> {
    if matches!(result, Err(BrokerError::LeaseLost { .. })) {
        shared.metrics.fence_refusals_total.with_label_values(&[operation]).inc();
    }
    result
}
