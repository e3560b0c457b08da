//! Requests of operators.

use std::sync::Arc;

use rollmill_broker_client::routes::{
    Autoscale, DropDead, History, List, Pardon, ReplayDead, Status,
};
use rollmill_broker_client::{
    CountResponse, HistoryResponse, IdsRequest, JobId, JobsResponse, StatusResponse,
};

use super::call::Call;
use super::{Answer, check_ids};
use crate::broker::Shared;
use crate::error::BrokerError;

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
    check_ids(&call.body.ids)?;
    let count = shared.store.replay(&call.bearer.tenant, &call.body.ids).await?;
    dead_letters(&shared, &call, "replay").await?;
    Ok(CountResponse { count })
}

pub(super) async fn drop_dead(shared: Arc<Shared>, call: Call<DropDead>) -> Answer<DropDead> {
    check_ids(&call.body.ids)?;
    let count = shared.store.drop_dead(&call.bearer.tenant, &call.body.ids).await?;
    shared.metrics.jobs_cancelled_total.inc_by(count);
    dead_letters(&shared, &call, "drop").await?;
    Ok(CountResponse { count })
}

/// Records what was done to dead letters, and wakes those that wait for jobs.
async fn dead_letters<R>(shared: &Shared, call: &Call<R>, verb: &str) -> Result<(), BrokerError>
where
    R: rollmill_broker_client::routes::Route<
            Body = rollmill_broker_client::routes::Json<IdsRequest>,
        >,
{
    let named: Vec<&str> = call.body.ids.iter().map(JobId::as_str).collect();
    let action = format!("dead letters: {verb}");
    shared.store.audit(&call.bearer, &action, &named.join(" ")).await?;
    shared.hub.became_ready();
    shared.hub.became_final();
    Ok(())
}

pub(super) async fn pardon(shared: Arc<Shared>, call: Call<Pardon>) -> Answer<Pardon> {
    let count = shared.store.pardon(&call.bearer.tenant, &call.parameter).await?;
    shared.store.audit(&call.bearer, "pardon", call.parameter.as_str()).await?;
    Ok(CountResponse { count })
}
