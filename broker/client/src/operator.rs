//! What operators ask.

use std::time::Duration;

use bytes::Bytes;

use crate::client::Call;
use crate::routes::{self, NoQuery};
use crate::{
    AgentId, AuditQuery, AuditResponse, AutoscaleResponse, Client, ClientError, DrainRequest,
    EventsQuery, HistoryResponse, JobId, JobView, ListQuery, NewToken, Overview, Rotation,
    StatusResponse, TokenLabel, TokenSecret, TokenView,
};

impl Client {
    /// Queue, agents and dead letters at a glance.
    pub async fn status(&self) -> Result<StatusResponse, ClientError> {
        self.ask::<routes::Status>(&(), &NoQuery {}).await
    }

    /// What the broker's web page shows now.
    pub async fn overview(&self) -> Result<Overview, ClientError> {
        let query = EventsQuery { overviews: Some(1) };
        let call = Call::<routes::Events>::new(&(), &query, &());
        self.call(call, Duration::ZERO, |mut followed| {
            followed.overviews.pop().ok_or_else(|| ClientError::Answer {
                url: self.url().to_owned(),
                source: "it ends before its first overview".into(),
            })
        })
        .await
    }

    /// How many agents should be there, and which may be stopped.
    pub async fn autoscale(&self) -> Result<AutoscaleResponse, ClientError> {
        self.ask::<routes::Autoscale>(&(), &NoQuery {}).await
    }

    /// The newest jobs that match, at most as many as the query's limit.
    pub async fn list(&self, query: &ListQuery) -> Result<Vec<JobView>, ClientError> {
        Ok(self.ask::<routes::List>(&(), query).await?.jobs)
    }

    /// Every attempt at a job, newest first.
    pub async fn history(&self, id: &JobId) -> Result<HistoryResponse, ClientError> {
        self.ask::<routes::History>(id, &NoQuery {}).await
    }

    /// Gives dead letters a fresh budget and makes them ready; returns how many.
    pub async fn replay(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        self.count::<routes::ReplayDead>(ids).await
    }

    /// Cancels dead letters; returns how many.
    pub async fn drop_dead(&self, ids: &[JobId]) -> Result<u64, ClientError> {
        self.count::<routes::DropDead>(ids).await
    }

    /// Ends an agent's quarantine; returns 1 if it was in one.
    pub async fn pardon(&self, agent: &AgentId) -> Result<u64, ClientError> {
        Ok(self.ask::<routes::Pardon>(agent, &NoQuery {}).await?.count)
    }

    /// Asks an agent to leave, or takes that back with `undo`; returns whether the broker knows the agent.
    pub async fn drain(&self, agent: &AgentId, undo: bool) -> Result<bool, ClientError> {
        let request = DrainRequest { undo };
        let call = Call::<routes::Drain>::new(agent, &NoQuery {}, &request);
        self.call(call, Duration::ZERO, |answer| Ok(answer.count > 0)).await
    }

    /// Every token that the caller may see, the oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, ClientError> {
        Ok(self.ask::<routes::ListTokens>(&(), &NoQuery {}).await?.tokens)
    }

    /// Creates a token. After an answer that was lost on the way the label is taken: revoke it and choose another.
    pub async fn add_token(&self, token: &NewToken) -> Result<TokenSecret, ClientError> {
        self.post::<routes::AddToken>(token).await
    }

    /// Gives a token another secret.
    pub async fn rotate_token(
        &self,
        label: &TokenLabel,
        how: &Rotation,
    ) -> Result<TokenSecret, ClientError> {
        let call = Call::<routes::RotateToken>::new(label, &NoQuery {}, how);
        self.call(call, Duration::ZERO, Ok).await
    }

    /// Revokes a token.
    pub async fn revoke_token(&self, label: &TokenLabel) -> Result<(), ClientError> {
        self.ask::<routes::RevokeToken>(label, &NoQuery {}).await.map(drop)
    }

    /// Ends the suspension of a token; returns 1 if it was suspended.
    pub async fn resume_token(&self, label: &TokenLabel) -> Result<u64, ClientError> {
        Ok(self.ask::<routes::ResumeToken>(label, &NoQuery {}).await?.count)
    }

    /// The OpenAPI document of the broker's interface, as JSON.
    pub async fn openapi(&self) -> Result<Bytes, ClientError> {
        self.ask::<routes::OpenApi>(&(), &NoQuery {}).await
    }

    /// Who changed what, the newest first.
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditResponse, ClientError> {
        self.ask::<routes::Audit>(&(), query).await
    }
}
