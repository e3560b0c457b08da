//! Named leases with a fence, for producers that stand by for each other.

use std::time::Duration;

use rollmill_broker_client::{NamedLeaseRequest, NamedLeaseResponse};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::jobs::signed;
use super::view::agent_id;
use super::{Store, Tenant, corrupt_row, millis};
use crate::error::BrokerError;

impl Store {
    /// Grants a name that is free, has expired, or is held by the caller's own incarnation. The fence
    /// grows each time, and is never below the milliseconds of this clock: who keeps fences must not see
    /// smaller ones after the database was lost or restored.
    pub async fn acquire_name(
        &self,
        tenant: &Tenant,
        request: &NamedLeaseRequest,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        let row = sqlx::query(
            "INSERT INTO named_lease AS l (tenant, name, holder, incarnation, fence, expires_at)
             VALUES ($1, $2, $3, $5, (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
                     now() + make_interval(secs => $4::bigint / 1000.0))
             ON CONFLICT (tenant, name) DO UPDATE
             SET holder = excluded.holder, incarnation = excluded.incarnation,
                 fence = greatest(l.fence + 1, excluded.fence), expires_at = excluded.expires_at
             WHERE l.holder IS NULL OR l.expires_at <= now()
                OR (l.holder = excluded.holder AND l.incarnation = excluded.incarnation)
             RETURNING holder, incarnation, fence,
                       (extract(epoch FROM expires_at - now()) * 1000)::bigint AS expires_in_ms",
        )
        .bind(&tenant.0)
        .bind(&request.name)
        .bind(request.holder.as_str())
        .bind(millis(Duration::from_millis(request.ttl_ms)))
        .bind(request.incarnation.as_str())
        .fetch_optional(&self.pool)
        .await?;
        self.answer(tenant, request, row).await
    }

    /// Extends a name held under this fence. One that has expired but that nobody acquired is still
    /// held.
    pub async fn renew_name(
        &self,
        tenant: &Tenant,
        request: &NamedLeaseRequest,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        let row = sqlx::query(
            "UPDATE named_lease
             SET expires_at = now() + make_interval(secs => $5::bigint / 1000.0)
             WHERE tenant = $1 AND name = $2 AND holder = $3 AND fence = $4 AND incarnation = $6
             RETURNING holder, incarnation, fence,
                       (extract(epoch FROM expires_at - now()) * 1000)::bigint AS expires_in_ms",
        )
        .bind(&tenant.0)
        .bind(&request.name)
        .bind(request.holder.as_str())
        .bind(signed(request.fence.unwrap_or(0)))
        .bind(millis(Duration::from_millis(request.ttl_ms)))
        .bind(request.incarnation.as_str())
        .fetch_optional(&self.pool)
        .await?;
        self.answer(tenant, request, row).await
    }

    /// Releases a name. The row stays, so that its fence goes on growing.
    pub async fn release_name(
        &self,
        tenant: &Tenant,
        request: &NamedLeaseRequest,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        sqlx::query(
            "UPDATE named_lease SET holder = NULL, incarnation = NULL, expires_at = now()
             WHERE tenant = $1 AND name = $2 AND holder = $3 AND fence = $4 AND incarnation = $5",
        )
        .bind(&tenant.0)
        .bind(&request.name)
        .bind(request.holder.as_str())
        .bind(signed(request.fence.unwrap_or(0)))
        .bind(request.incarnation.as_str())
        .execute(&self.pool)
        .await?;
        self.answer(tenant, request, None).await
    }

    async fn answer(
        &self,
        tenant: &Tenant,
        request: &NamedLeaseRequest,
        changed: Option<PgRow>,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        let held = changed.is_some();
        let row = match changed {
            Some(row) => Some(row),
            None => {
                sqlx::query(
                    "SELECT holder, incarnation, fence,
                            (extract(epoch FROM expires_at - now()) * 1000)::bigint AS expires_in_ms
                     FROM named_lease WHERE tenant = $1 AND name = $2",
                )
                .bind(&tenant.0)
                .bind(&request.name)
                .fetch_optional(&self.pool)
                .await?
            }
        };
        let Some(row) = row else {
            return Ok(NamedLeaseResponse {
                held: false,
                fence: 0,
                holder: None,
                incarnation: None,
                expires_in_ms: 0,
            });
        };
        let holder: Option<String> = row.try_get("holder")?;
        let incarnation: Option<String> = row.try_get("incarnation")?;
        Ok(NamedLeaseResponse {
            held,
            fence: row.try_get::<i64, _>("fence")?.max(0).unsigned_abs(),
            holder: holder.as_deref().map(agent_id).transpose()?,
            incarnation: incarnation
                .map(|text| text.parse().map_err(|_| corrupt_row("an incarnation")))
                .transpose()?,
            expires_in_ms: row.try_get("expires_in_ms")?,
        })
    }
}
