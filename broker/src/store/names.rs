//! Named leases with a fence, for producers that stand by for each other. Renewals change nothing that the record
//! keeps: they come every few seconds and leave the holder as it is.

use std::time::Duration;

use rollmill_broker_client::{NamedLeaseRequest, NamedLeaseResponse};

use super::audit::By;
use super::sql::{NameAcquire, NameBound, NameHolder, NameRelease, NameRenew, NameRow, Statement};
use super::{Store, Tenant};
use crate::error::BrokerError;

impl Store {
    /// Grants a name: see `sql/name_acquire.sql`. One that another holds ends at most as long from now as it was given
    /// for, also where the database's clock was set back since.
    pub async fn acquire_name<'a>(
        &self,
        by: impl Into<By<'a>>,
        request: &NamedLeaseRequest,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        let NamedLeaseRequest { name, holder, incarnation, ttl_ms, .. } = request;
        let ttl = Duration::from_millis(*ttl_ms);
        let by = by.into();
        let tenant = by.tenant;
        let mut tx = self.pool.begin().await?;
        NameBound { tenant, name }.run(&mut *tx).await?;
        let row = NameAcquire { tenant, name, holder, ttl, incarnation };
        let row = row.optional(&mut *tx).await?;
        if let Some(row) = &row {
            let detail = format!("{name} for {holder}, fence {}", row.fence.0);
            by.record(&mut tx, "acquire name", &detail).await?;
        }
        tx.commit().await?;
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
    pub async fn release_name<'a>(
        &self,
        by: impl Into<By<'a>>,
        request: &NamedLeaseRequest,
        fence: u64,
    ) -> Result<NamedLeaseResponse, BrokerError> {
        let NamedLeaseRequest { name, holder, incarnation, .. } = request;
        let by = by.into();
        let tenant = by.tenant;
        let mut tx = self.pool.begin().await?;
        let release = NameRelease { tenant, name, holder, fence, incarnation };
        if release.run(&mut *tx).await? > 0 {
            let detail = format!("{name} by {holder}, fence {fence}");
            by.record(&mut tx, "release name", &detail).await?;
        }
        tx.commit().await?;
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

#[cfg(test)]
mod tests {
    use rollmill_broker_testing::TestSchema;

    use super::*;

    /// Fault: a broker stops in a transaction that asks for a name, and the holder renews its lease meanwhile. Goal:
    /// the lease keeps the end that the holder was told; it is shortened only where the clock was set back.
    #[tokio::test]
    async fn a_request_that_was_held_up_shortens_no_lease_that_was_renewed_meanwhile() {
        let store = TestSchema::new().await.store().await;
        let mut held_up = store.pool().begin().await.unwrap();
        sqlx::query("SELECT now()").execute(&mut *held_up).await.unwrap();
        let renewed = "
            INSERT INTO named_lease (tenant, name, holder, incarnation, fence, expires_at)
            VALUES ('default', 'n', 'one', 'i', 1, now() + interval '30 s')";
        sqlx::query(renewed).execute(store.pool()).await.unwrap();
        let tenant = Tenant::default();
        let bound = NameBound { tenant: &tenant, name: "n" };
        assert_eq!(bound.run(&mut *held_up).await.unwrap(), 0);
        // The end of a lease that was given an hour later, by a clock that was right or wrong then.
        let later = "
            ALTER TABLE named_lease DISABLE TRIGGER named_lease_ttl;
            UPDATE named_lease SET expires_at = expires_at + interval '1 h'";
        sqlx::raw_sql(later).execute(&mut *held_up).await.unwrap();
        let bound = NameBound { tenant: &tenant, name: "n" };
        assert_eq!(bound.run(&mut *held_up).await.unwrap(), 1);
        held_up.rollback().await.unwrap();
    }
}
