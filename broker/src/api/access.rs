//! Requests of operators about tokens and the record.

use std::sync::Arc;

use rollmill_broker_client::routes::{
    AddToken, Audit, ListTokens, ResumeToken, RevokeToken, RotateToken,
};
use rollmill_broker_client::{CountResponse, NewToken, TokensResponse};

use super::Answer;
use super::call::Call;
use crate::broker::Shared;
use crate::error::BrokerError;
use crate::store::tokens::Bearer;

pub(super) async fn list(shared: Arc<Shared>, call: Call<ListTokens>) -> Answer<ListTokens> {
    Ok(TokensResponse { tokens: shared.store.tokens(call.bearer.scope()).await? })
}

pub(super) async fn add(shared: Arc<Shared>, call: Call<AddToken>) -> Answer<AddToken> {
    require_tenant(&call.bearer, &call.body)?;
    let secret = shared.store.create_token(&*call.bearer, &call.body).await?;
    shared.follow_tokens().await;
    Ok(secret)
}

/// Rejects a token of another tenant, and one of a certificate, unless the caller is an operator of the default
/// tenant. All tenants have one authority of clients: the operator of one could take the name of another's producer,
/// whose inputs would then come to it.
fn require_tenant(bearer: &Bearer, new: &NewToken) -> Result<(), BrokerError> {
    let Some(own) = bearer.scope() else { return Ok(()) };
    if new.tenant.as_ref().is_some_and(|tenant| own.as_str() != tenant) {
        return Err(BrokerError::Forbidden);
    }
    match new.certificate.is_some() {
        true => Err(BrokerError::bad(
            "only an operator of the default tenant adds a token of a certificate, whose name all tenants share",
        )),
        false => Ok(()),
    }
}

pub(super) async fn rotate(shared: Arc<Shared>, call: Call<RotateToken>) -> Answer<RotateToken> {
    let (bearer, label) = (&*call.bearer, &call.parameter);
    let secret = shared.store.rotate_token(bearer, bearer.scope(), label, &call.body).await?;
    shared.follow_tokens().await;
    Ok(secret)
}

pub(super) async fn revoke(shared: Arc<Shared>, call: Call<RevokeToken>) -> Answer<RevokeToken> {
    let bearer = &*call.bearer;
    shared.store.revoke_token(bearer, bearer.scope(), &call.parameter).await?;
    shared.follow_tokens().await;
    Ok(CountResponse { count: 1 })
}

pub(super) async fn resume(shared: Arc<Shared>, call: Call<ResumeToken>) -> Answer<ResumeToken> {
    let bearer = &*call.bearer;
    let resumed = shared.store.resume_token(bearer, bearer.scope(), &call.parameter).await?;
    shared.follow_tokens().await;
    Ok(CountResponse { count: u64::from(resumed) })
}

pub(super) async fn audit(shared: Arc<Shared>, call: Call<Audit>) -> Answer<Audit> {
    shared.store.audit(call.bearer.scope(), &call.query).await
}
