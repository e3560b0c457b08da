//! Requests of agents: claims, heartbeats and reports.

use std::sync::Arc;
use std::time::Duration;

use rollmill_broker_client::routes::{
    Claim, Complete, Fail, Heartbeat, OpenSession, Progress, Release,
};
use rollmill_broker_client::rules::{At, Described as _};
use rollmill_broker_client::{
    AgentId, AttemptOutcome, ClaimRequest, ClaimResponse, CompleteOutcome, CompleteResponse,
    CountResponse, HeartbeatResponse, LeaseRef, SessionId, SessionResponse,
};

use super::call::Call;
use super::{Answer, clean_text, wait_of};
use crate::broker::{Shared, spread};
use crate::error::BrokerError;
use crate::metrics::{Ended, Fenced};
use crate::store::{Arrival, Opening, Tenant, limited};

/// How long a claim waits of an agent that was asked to leave: one of a release that does not know what that is claims
/// again at once.
const LEAVING_WAIT: Duration = Duration::from_secs(1);
/// Time between two heartbeats of an agent whose leases may be cancelled soon: it works on what nobody wants for no longer.
const SOON: Duration = Duration::from_secs(1);

pub(super) async fn claim(shared: Arc<Shared>, call: Call<Claim>) -> Answer<Claim> {
    let (bearer, mut request) = (&call.bearer, call.body);
    let tenant = &bearer.tenant;
    request.agent = shared.identity(bearer, &request.agent)?;
    shared.sightings.admit(&shared.lanes, &shared.store, bearer, &request).await?;
    let (store, hub, drains) = (&shared.store, &shared.hub, &shared.drains);
    let wait = wait_of(request.wait_ms);
    if let Some(by) = drains.asked_by(store, tenant, &request.agent).await? {
        shared.shutdown.within(wait.min(LEAVING_WAIT)).await;
        return Ok(ClaimResponse { grant: None, drain: true, drain_by: Some(by) });
    }
    let limit = async {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.shutdown.started() => {}
            () = drains.until(tenant, &request.agent) => {}
        }
    };
    let grant = shared.dispatcher.wait(store, hub, tenant, &request, limit).await?;
    let drain_by = match &grant {
        // Its heartbeats tell it.
        Some(_) => None,
        // If that fails, its next claim tells it.
        None => drains.asked_by(store, tenant, &request.agent).await.unwrap_or_default(),
    };
    Ok(ClaimResponse { grant, drain: drain_by.is_some(), drain_by })
}

/// Opens a session. What the agent says about itself is kept as its `info`, which people see.
pub(super) async fn open_session(
    shared: Arc<Shared>,
    call: Call<OpenSession>,
) -> Answer<OpenSession> {
    let (bearer, request) = (&call.bearer, call.body);
    let agent = shared.identity(bearer, &request.agent)?;
    let info = serde_json::json!({
        "software": request.software,
        "device": request.device,
        "resident_keys": request.resident_keys,
        "seconds": request.seconds,
    });
    info.check(&At::TOP)?;
    let session = SessionId::random();
    let opening = Opening {
        arrival: Arrival {
            tenant: bearer.tenant.clone(),
            token: bearer.label.clone(),
            request: ClaimRequest {
                agent: agent.clone(),
                capabilities: request.capabilities,
                class: request.class,
                wait_ms: 0,
                info,
                session: None,
            },
        },
        session: session.clone(),
        installation: request.installation,
        replaces: request.replaces,
    };
    let opened = shared.sightings.open(&shared.store, &opening).await?;
    if opening.replaces.is_none() {
        shared.drains.remove(&bearer.tenant, &agent);
    }
    if opened.returned > 0 {
        shared.metrics.ended(Ended::With(AttemptOutcome::Released), opened.returned);
        shared.hub.became_ready();
    }
    if opened.is_shared {
        tracing::warn!(%agent, "two live agents have one installation; was its disk copied?");
    }
    let returned = u32::try_from(opened.returned).unwrap_or(u32::MAX);
    Ok(SessionResponse { session, agent, returned, is_shared: opened.is_shared })
}

pub(super) async fn heartbeat(shared: Arc<Shared>, call: Call<Heartbeat>) -> Answer<Heartbeat> {
    let (tenant, mut request) = (&call.bearer.tenant, call.body);
    request.agent = shared.identity(&call.bearer, &request.agent)?;
    shared.sightings.touch(tenant, &request.agent);
    let agent = request.agent.clone();
    let (cancel, may_lose) = shared.lanes.heartbeat(tenant, request).await?;
    shared.metrics.fenced(Fenced::Heartbeat, cancel.len() as u64);
    // Four heartbeats per lease: three may be lost.
    let every = shared.store.rules().lease / 4;
    let every = if may_lose { every.min(SOON) } else { every };
    // The leases are kept, so the beat is answered whether or not the row can be read.
    let asked = shared.drains.asked_by(&shared.store, tenant, &agent).await;
    let drain_by = asked.unwrap_or_default();
    Ok(HeartbeatResponse {
        cancel,
        every_ms: u64::try_from(every.as_millis()).unwrap_or(1000),
        drain: drain_by.is_some(),
        drain_by,
    })
}

pub(super) async fn progress(shared: Arc<Shared>, call: Call<Progress>) -> Answer<Progress> {
    let mut request = call.body;
    request.agent = shared.identity(&call.bearer, &request.agent)?;
    let result = shared.lanes.progress(&call.bearer.tenant, &request).await;
    fenced(&shared, Fenced::Progress, result)?;
    Ok(CountResponse { count: 1 })
}

pub(super) async fn complete(shared: Arc<Shared>, call: Call<Complete>) -> Answer<Complete> {
    let mut request = call.body;
    request.agent = shared.identity(&call.bearer, &request.agent)?;
    let (agent, lease) = (request.agent.clone(), request.lease.clone());
    let seconds = |name: &str| request.stats[name].as_f64();
    let worked = seconds("witness_seconds").zip(seconds("proving_seconds")).map(|(a, b)| a + b);
    let done = shared.lanes.complete(&call.bearer.tenant, request).await;
    let done = done.inspect_err(|error| {
        if matches!(error, BrokerError::AlreadyRejected { .. }) {
            // The job may be ready for another agent.
            shared.hub.became_ready();
        }
    })?;
    if done.outcome == CompleteOutcome::Accepted && !done.repeated {
        let outcome = match done.late {
            true => AttemptOutcome::CompletedLate,
            false => AttemptOutcome::Completed,
        };
        shared.metrics.ended(Ended::With(outcome), 1);
        shared.dispatcher.completed(&call.bearer.tenant, &agent, &lease, worked);
        shared.hub.became_final();
    }
    Ok(CompleteResponse { outcome: done.outcome })
}

pub(super) async fn fail(shared: Arc<Shared>, call: Call<Fail>) -> Answer<Fail> {
    let mut request = call.body;
    let failure = request.class;
    request.agent = shared.identity(&call.bearer, &request.agent)?;
    request.message = clean_text(&request.message);
    let tenant = &call.bearer.tenant;
    let result = shared.lanes.fail(tenant, &request, spread()).await;
    let is_lost = matches!(result, Err(BrokerError::LeaseLost { .. }));
    if is_lost && gives_second_up(&shared, tenant, &request.agent, &request.lease).await? {
        tracing::info!(job = %request.lease.job, agent = %request.agent, class = failure.as_str(),
            error = request.message, "second lease given up");
        return Ok(CountResponse { count: 1 });
    }
    let next = fenced(&shared, Fenced::Fail, result)?;
    tracing::warn!(job = %request.lease.job, agent = %request.agent, class = failure.as_str(),
        error = request.message, "attempt failed");
    shared.metrics.ended(Ended::Failed(failure), 1);
    shared.count_next(next);
    Ok(CountResponse { count: 1 })
}

pub(super) async fn release(shared: Arc<Shared>, call: Call<Release>) -> Answer<Release> {
    let mut request = call.body;
    request.agent = shared.identity(&call.bearer, &request.agent)?;
    let (agent, lease, tenant) =
        (request.agent.clone(), request.lease.clone(), &call.bearer.tenant);
    let result = shared.lanes.release(tenant, request).await;
    let is_lost = matches!(result, Err(BrokerError::LeaseLost { .. }));
    if is_lost && gives_second_up(&shared, tenant, &agent, &lease).await? {
        return Ok(CountResponse { count: 1 });
    }
    fenced(&shared, Fenced::Release, result)?;
    shared.metrics.ended(Ended::With(AttemptOutcome::Released), 1);
    shared.hub.became_ready();
    Ok(CountResponse { count: 1 })
}

/// Ends the second lease of an agent that returns a job which another agent holds; returns whether it had one.
async fn gives_second_up(
    shared: &Shared,
    tenant: &Tenant,
    agent: &AgentId,
    lease: &LeaseRef,
) -> Result<bool, BrokerError> {
    let store = &shared.store;
    limited(store.rules().silence, store.second_end(tenant, agent, lease)).await
}

fn fenced<T>(
    shared: &Shared,
    operation: Fenced,
    result: Result<T, BrokerError>,
) -> Result<T, BrokerError> {
    if matches!(result, Err(BrokerError::LeaseLost { .. })) {
        shared.metrics.fenced(operation, 1);
    }
    result
}
