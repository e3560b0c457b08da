//! Access tokens, as hashes, and the record of what operators did.

use rand::RngCore;
use rand::rngs::OsRng;
use rollmill_broker_client::Role;
use sha2::{Digest as _, Sha256};

use super::sql::{Audit, BearerRow, Bearers, Statement, TokenAdd, TokenRevoke, TokenRow, Tokens};
use super::{Store, Tenant, corrupt};
use crate::error::BrokerError;

/// A token as listed: never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    pub label: String,
    pub role: Role,
    pub tenant: Tenant,
    pub revoked: bool,
}

/// The bearer of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) label: String,
    pub(crate) role: Role,
    pub(crate) tenant: Tenant,
}

impl Bearer {
    /// Whoever reaches a broker without tokens, which listens on loopback only.
    pub(crate) fn loopback() -> Self {
        Self { label: "loopback".into(), role: Role::Operator, tenant: Tenant::default() }
    }

    /// Whether an upload of the bearer opens its epoch. One of an agent does not.
    pub(crate) fn opens_epochs(&self) -> bool {
        matches!(self.role, Role::Producer | Role::Operator)
    }

    /// Rejects a bearer with none of these roles. An operator may do everything.
    pub(crate) fn require(&self, roles: &[Role]) -> Result<(), BrokerError> {
        if self.role == Role::Operator || roles.contains(&self.role) {
            return Ok(());
        }
        Err(BrokerError::Forbidden)
    }
}

pub(crate) fn hash(token: &str) -> [u8; 32] {
    // 256 random bits need no slow hash: there is nothing to guess.
    Sha256::digest(token.as_bytes()).into()
}

impl Store {
    /// Creates a token and returns it; it cannot be shown again.
    pub async fn add_token(
        &self,
        label: &str,
        role: Role,
        tenant: &Tenant,
    ) -> Result<String, BrokerError> {
        let mut secret = [0; 32];
        OsRng.try_fill_bytes(&mut secret).map_err(|error| BrokerError::Internal {
            reason: format!("the system's source of randomness failed: {error}"),
        })?;
        let token = format!("rm_{}", hex::encode(secret));
        let add = TokenAdd { hash: &hash(&token), label, role, tenant };
        if add.run(&self.pool).await? == 0 {
            return Err(BrokerError::bad(format!(
                "a token labelled {label} exists; choose another label (`rollmill-broker tokens list` \
                 lists them, revoked ones included)"
            )));
        }
        Ok(token)
    }

    /// Revokes a token; returns whether it was valid.
    pub async fn revoke_token(&self, label: &str) -> Result<bool, BrokerError> {
        Ok(TokenRevoke { label }.run(&self.pool).await? == 1)
    }

    /// Every token.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, BrokerError> {
        let view = |row: TokenRow| TokenView {
            label: row.label,
            role: row.role.0,
            tenant: Tenant(row.tenant),
            revoked: row.revoked,
        };
        Ok(Tokens {}.all(&self.pool).await?.into_iter().map(view).collect())
    }

    /// The valid tokens' hashes and bearers, read together so that a check costs no query.
    pub(crate) async fn bearers(&self) -> Result<Vec<([u8; 32], Bearer)>, BrokerError> {
        let bearer = |row: BearerRow| {
            let hash = row.hash.try_into().map_err(|_| corrupt("a token's hash"))?;
            let (label, role, tenant) = (row.label, row.role.0, Tenant(row.tenant));
            Ok((hash, Bearer { label, role, tenant }))
        };
        Bearers {}.all(&self.pool).await?.into_iter().map(bearer).collect()
    }

    /// Records what a bearer did.
    pub(crate) async fn audit(
        &self,
        bearer: &Bearer,
        action: &str,
        detail: &str,
    ) -> Result<(), BrokerError> {
        let Bearer { label, tenant, .. } = bearer;
        Audit { tenant, label, action, detail }.run(&self.pool).await.map(drop)
    }
}
