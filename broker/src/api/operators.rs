//! What operators ask.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use rollmill_broker_client::{
    AgentId, CountResponse, HistoryResponse, IdError, IdsRequest, JobId, JobsResponse, ListQuery,
    StatusResponse,
};

use super::{Answer, Caller, Shares, check_ids, read_json};
use crate::error::BrokerError;
use crate::store::Role;

pub(super) async fn status(
    State(shared): Shares,
    Caller(bearer): Caller,
) -> Answer<StatusResponse> {
    let (store, tenant) = (&shared.store, &bearer.tenant);
    Ok(Json(StatusResponse {
        queue: store.queue(Some(tenant)).await?.into_iter().map(|(_, view)| view).collect(),
        agents: store.agents(tenant).await?,
        dead_letters: store.dead_letters(tenant).await?,
        unable: shared.unable(tenant),
    }))
}

pub(super) async fn list(
    State(shared): Shares,
    Caller(bearer): Caller,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<JobsResponse> {
    let Query(query) = query.map_err(|error| BrokerError::bad(error.body_text()))?;
    Ok(Json(JobsResponse { jobs: shared.store.list(&bearer.tenant, &query).await? }))
}

pub(super) async fn history(
    State(shared): Shares,
    Caller(bearer): Caller,
    Path(id): Path<String>,
) -> Answer<HistoryResponse> {
    let id: JobId = id.parse().map_err(|error: IdError| BrokerError::bad(error.to_string()))?;
    let (store, tenant) = (&shared.store, &bearer.tenant);
    let attempts = store.history(tenant, &id).await?;
    if attempts.is_empty() && store.jobs(tenant, std::slice::from_ref(&id)).await?.is_empty() {
        return Err(BrokerError::UnknownJob { id }.into());
    }
    Ok(Json(HistoryResponse { attempts }))
}

pub(super) async fn dead_letters(
    State(shared): Shares,
    Caller(bearer): Caller,
    Path(verb): Path<String>,
    body: Body,
) -> Answer<CountResponse> {
    bearer.require(&[Role::Producer])?;
    let IdsRequest { ids } = read_json(body).await?;
    check_ids(&ids)?;
    let (store, tenant) = (&shared.store, &bearer.tenant);
    let count = match verb.as_str() {
        "replay" => store.replay(tenant, &ids).await?,
        "drop" => store.drop_dead(tenant, &ids).await?,
        _ => return Err(BrokerError::bad("replay or drop").into()),
    };
    let named: Vec<&str> = ids.iter().map(JobId::as_str).collect();
    store.audit(tenant, &bearer.label, &format!("dead letters: {verb}"), &named.join(" ")).await?;
    shared.hub.became_ready();
    shared.hub.became_final();
    Ok(Json(CountResponse { count }))
}

pub(super) async fn pardon(
    State(shared): Shares,
    Caller(bearer): Caller,
    Path(agent): Path<String>,
) -> Answer<CountResponse> {
    bearer.require(&[])?;
    let agent: AgentId =
        agent.parse().map_err(|error: IdError| BrokerError::bad(error.to_string()))?;
    let count = shared.store.pardon(&bearer.tenant, &agent).await?;
    shared.store.audit(&bearer.tenant, &bearer.label, "pardon", agent.as_str()).await?;
    Ok(Json(CountResponse { count }))
}
