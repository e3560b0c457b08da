//! Access tokens, as hashes, and the record of what operators did.

use sha2::{Digest as _, Sha256};
use sqlx::Row;
use uuid::Uuid;

use super::{Store, Tenant, corrupt_row};
use crate::error::BrokerError;

/// What a token's bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Enqueue, read, reject, cancel, hold names.
    Producer,
    /// Claim and report.
    Agent,
    /// Everything.
    Operator,
    /// Read only.
    Reader,
}

impl Role {
    /// The name used in the database and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Reader => "reader",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Producer, Self::Agent, Self::Operator, Self::Reader]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

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

    /// Refuses a bearer of none of these roles. An operator may do everything.
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
    /// Makes a token and returns it; it cannot be shown again.
    pub async fn add_token(
        &self,
        label: &str,
        role: Role,
        tenant: &Tenant,
    ) -> Result<String, BrokerError> {
        let random = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
        let bytes: Vec<u8> = random.iter().flat_map(|uuid| uuid.into_bytes()).collect();
        let token = format!("rm_{}", hex::encode(Sha256::digest(bytes)));
        let added = sqlx::query(
            "INSERT INTO token (hash, label, role, tenant) VALUES ($1, $2, $3, $4)
             ON CONFLICT (label) DO NOTHING",
        )
        .bind(&hash(&token)[..])
        .bind(label)
        .bind(role.as_str())
        .bind(&tenant.0)
        .execute(&self.pool)
        .await?;
        if added.rows_affected() == 0 {
            return Err(BrokerError::bad(format!("a token labelled {label} exists")));
        }
        Ok(token)
    }

    /// Ends a token's validity; returns whether it had any.
    pub async fn revoke_token(&self, label: &str) -> Result<bool, BrokerError> {
        let done = sqlx::query(
            "UPDATE token SET revoked_at = now() WHERE label = $1 AND revoked_at IS NULL",
        )
        .bind(label)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Every token made.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, BrokerError> {
        let rows = sqlx::query(
            "SELECT label, role, tenant, revoked_at IS NOT NULL FROM token ORDER BY created_at",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(TokenView {
                    label: row.try_get(0)?,
                    role: Role::parse(row.try_get(1)?).ok_or_else(|| corrupt_row("a role"))?,
                    tenant: Tenant(row.try_get(2)?),
                    revoked: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// The valid tokens' hashes and bearers, read together so that a check costs no query.
    pub(crate) async fn bearers(&self) -> Result<Vec<([u8; 32], Bearer)>, BrokerError> {
        let rows =
            sqlx::query("SELECT hash, label, role, tenant FROM token WHERE revoked_at IS NULL")
                .fetch_all(&self.pool)
                .await?;
        rows.iter()
            .map(|row| {
                let hash: Vec<u8> = row.try_get(0)?;
                let hash = hash.try_into().map_err(|_| corrupt_row("a token's hash"))?;
                let role = Role::parse(row.try_get(2)?).ok_or_else(|| corrupt_row("a role"))?;
                let tenant = Tenant(row.try_get(3)?);
                Ok((hash, Bearer { label: row.try_get(1)?, role, tenant }))
            })
            .collect()
    }

    /// Records what an operator did.
    pub async fn audit(
        &self,
        tenant: &Tenant,
        label: &str,
        action: &str,
        detail: &str,
    ) -> Result<(), BrokerError> {
        sqlx::query("INSERT INTO audit (tenant, label, action, detail) VALUES ($1, $2, $3, $4)")
            .bind(&tenant.0)
            .bind(label)
            .bind(action)
            .bind(detail)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
