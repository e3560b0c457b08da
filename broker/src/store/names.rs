//! Named leases with a fence, for producers that stand by for each other.

use std::time::Duration;

use rollmill_broker_client::{NamedLeaseRequest, NamedLeaseResponse};

use super::sql::{NameAcquire, NameHolder, NameRelease, NameRenew, NameRow, Statement};
use super::{Store, Tenant};
use crate::error::BrokerError;

impl Store {
    /// Grants a name: see `sql/name_acquire.sql`.
    pub async fn acquire_name(
        &self,
        tenant: &Tenant,
        request: &NamedLeaseRequest,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        let NamedLeaseRequest { name, holder, incarnation, ttl_ms, .. } = request;
        let ttl = Duration::from_millis(*ttl_ms);
        let row = NameAcquire { tenant, name, holder, ttl, incarnation };
        let row = row.optional(&self.pool).await?;
        self.answer(tenant, request, row).await
    }

    /// Extends a name held under this fence. One that has expired but that nobody acquired is still
    /// held.
    pub async fn renew_name(
        &self,
        tenant: &Tenant,
        request: &NamedLeaseRequest,
        fence: u64,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        let NamedLeaseRequest { name, holder, incarnation, ttl_ms, .. } = request;
        let ttl = Duration::from_millis(*ttl_ms);
        let row = NameRenew { tenant, name, holder, fence, ttl, incarnation };
        let row = row.optional(&self.pool).await?;
        self.answer(tenant, request, row).await
    }

    /// Releases a name. The row stays, so that its fence keeps growing.
    pub async fn release_name(
        &self,
        tenant: &Tenant,
        request: &NamedLeaseRequest,
        fence: u64,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        let NamedLeaseRequest { name, holder, incarnation, .. } = request;
        NameRelease { tenant, name, holder, fence, incarnation }.run(&self.pool).await?;
        self.answer(tenant, request, None).await
    }

    async fn answer(
        &self,
        tenant: &Tenant,
        request: &NamedLeaseRequest,
        changed: Option<NameRow>,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        let held = changed.is_some();
        let row = match changed {
            Some(row) => Some(row),
            None => NameHolder { tenant, name: &request.name }.optional(&self.pool).await?,
        };
        Ok(match row {
            Some(row) => NamedLeaseResponse {
                held,
                fence: row.fence.0,
                holder: row.holder.map(|holder| holder.0),
                incarnation: row.incarnation.map(|incarnation| incarnation.0),
                expires_in_ms: row.expires_in_ms,
            },
            None => NamedLeaseResponse {
                held: false,
                fence: 0,
                holder: None,
                incarnation: None,
                expires_in_ms: 0,
            },
        })
    }
}
