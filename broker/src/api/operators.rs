//! Requests of operators.

use std::sync::Arc;

use rollmill_broker_client::routes::{
    Autoscale, Drain, DropDead, History, List, OpenApi, Pardon, ReplayDead, Status,
};
use rollmill_broker_client::{CountResponse, HistoryResponse, JobsResponse, StatusResponse};

use super::Answer;
use super::call::Call;
use crate::broker::Shared;
use crate::error::BrokerError;
use crate::openapi;

pub(super) async fn status(shared: Arc<Shared>, call: Call<Status>) -> Answer<Status> {
    let (store, tenant) = (&shared.store, &call.bearer.tenant);
    Ok(StatusResponse {
        queue: store.queue(Some(tenant)).await?.into_iter().map(|(_, view)| view).collect(),
        agents: store.agents(tenant).await?,
        dead_letters: store.dead_letters(tenant).await?,
        unable: shared.unable(tenant),
        epochs: shared.outlook(tenant).epochs,
    })
}

pub(super) async fn openapi(_: Arc<Shared>, _: Call<OpenApi>) -> Answer<OpenApi> {
    Ok(openapi::served())
}

pub(super) async fn autoscale(shared: Arc<Shared>, call: Call<Autoscale>) -> Answer<Autoscale> {
    Ok(shared.outlook(&call.bearer.tenant).autoscale)
}

pub(super) async fn list(shared: Arc<Shared>, call: Call<List>) -> Answer<List> {
    Ok(JobsResponse { jobs: shared.store.list(&call.bearer.tenant, &call.query).await? })
}

pub(super) async fn history(shared: Arc<Shared>, call: Call<History>) -> Answer<History> {
    let (store, tenant, id) = (&shared.store, &call.bearer.tenant, call.parameter);
    let attempts = store.history(tenant, &id).await?;
    if attempts.is_empty() && store.jobs(tenant, std::slice::from_ref(&id)).await?.is_empty() {
        return Err(BrokerError::UnknownJob { id });
    }
    Ok(HistoryResponse { attempts })
}

pub(super) async fn replay_dead(shared: Arc<Shared>, call: Call<ReplayDead>) -> Answer<ReplayDead> {
    let count = shared.store.replay(&*call.bearer, &call.body.ids).await?;
    shared.hub.became_ready();
    shared.hub.became_final();
    Ok(CountResponse { count })
}

pub(super) async fn drop_dead(shared: Arc<Shared>, call: Call<DropDead>) -> Answer<DropDead> {
    let count = shared.store.drop_dead(&*call.bearer, &call.body.ids).await?;
    shared.metrics.jobs_cancelled_total.inc_by(count);
    shared.hub.became_final();
    Ok(CountResponse { count })
}

pub(super) async fn pardon(shared: Arc<Shared>, call: Call<Pardon>) -> Answer<Pardon> {
    let count = shared.store.pardon(&*call.bearer, &call.parameter).await?;
    Ok(CountResponse { count })
}

pub(super) async fn drain(shared: Arc<Shared>, call: Call<Drain>) -> Answer<Drain> {
    let (tenant, agent, undo) = (&call.bearer.tenant, &call.parameter, call.body.undo);
    let is_known = shared.store.drain(&*call.bearer, agent, undo).await?;
    match undo {
        true => shared.drains.remove(tenant, agent),
        false if is_known => shared.drains.add(tenant, agent),
        false => {}
    }
    Ok(CountResponse { count: u64::from(is_known) })
}
