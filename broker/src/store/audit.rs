//! The record of what operators and producers change.
//!
//! An entry is written in the transaction of the change, so that neither is there without the other. What
//! changed nothing leaves none, nor does the work of agents, which has a history of its own.

use rollmill_broker_client::{AuditQuery, AuditResponse, AuditView, JobId};
use sqlx::PgConnection;

use super::sql::{Audit, AuditList, AuditRow, Statement};
use super::{Store, Tenant};
use crate::error::BrokerError;

/// Label in the record for what a broker does by itself.
const BROKER: &str = "broker";
/// Label in the record for a command that works on the database.
pub const DATABASE: &str = "database";
/// Label in the record for a caller that needs no token.
pub(crate) const LOOPBACK: &str = "loopback";
/// Ids that one entry names.
const IDS_MAX: usize = 20;

/// Who changes something, and in whose name.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    pub tenant: &'a Tenant,
    /// Of the token, or what stands for one.
    pub label: &'a str,
}

/// The broker itself.
impl<'a> From<&'a Tenant> for By<'a> {
    fn from(tenant: &'a Tenant) -> Self {
        Self { tenant, label: BROKER }
    }
}

impl By<'_> {
    /// Records a change in its transaction.
    pub(super) async fn record(
        self,
        tx: &mut PgConnection,
        action: &str,
        detail: &str,
    ) -> Result<(), BrokerError> {
        Self::record_of(self.label, self.tenant, tx, action, detail).await
    }

    /// As [`Self::record`], of a change to what belongs to this tenant.
    pub(super) async fn record_of(
        label: &str,
        tenant: &Tenant,
        tx: &mut PgConnection,
        action: &str,
        detail: &str,
    ) -> Result<(), BrokerError> {
        Audit { tenant, label, action, detail }.run(tx).await.map(drop)
    }
}

/// Ids as a detail: the first few, and how many there are.
pub(super) fn named(count: u64, ids: &[JobId]) -> String {
    let first: Vec<&str> = ids.iter().take(IDS_MAX).map(JobId::as_str).collect();
    let more = ids.len().saturating_sub(IDS_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{count} of {}: {}{more}", ids.len(), first.join(" "))
}

impl Store {
    /// The record of a tenant, or of all, the newest first.
    pub async fn audit(
        &self,
        tenant: Option<&Tenant>,
        query: &AuditQuery,
    ) -> Result<AuditResponse, BrokerError> {
        let most = query.limit.unwrap_or(100);
        let before = query.before.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
        let list = AuditList { tenant, before, most: i64::from(most) + 1 };
        let mut rows = list.all(&self.pool).await?;
        let more = rows.len() > most as usize;
        rows.truncate(most as usize);
        let view = |row: AuditRow| AuditView {
            number: row.id.0,
            unix_ms: row.at_ms.0,
            tenant: row.tenant,
            by: row.label,
            action: row.action,
            detail: row.detail,
        };
        Ok(AuditResponse { entries: rows.into_iter().map(view).collect(), more })
    }
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::RESERVED_LABELS;

    use super::*;
    use crate::broker::OPERATOR_TOKEN_FILE;

    /// Goal: no token can have a label under which the record lists what no token did.
    #[test]
    fn the_labels_that_stand_for_the_broker_are_reserved() {
        assert_eq!(RESERVED_LABELS, [BROKER, DATABASE, LOOPBACK, OPERATOR_TOKEN_FILE]);
    }
}
