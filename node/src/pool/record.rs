//! A transaction of the pool as it is stored in the database.

use std::sync::Arc;

use rollmill_protocol::Tx;

use crate::error::{NodeError, damaged};
use crate::store::{key, u64_at, word};

/// Arrival, L1 time of arrival (0 when it is not known), transaction.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) arrival: u64,
    pub(super) since: u64,
    pub(super) tx: Arc<Tx>,
}

impl Record {
    /// Bytes before the transaction.
    pub(super) const HEAD_BYTES: usize = 16;

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (arrival, since) = (self.arrival.to_be_bytes(), self.since.to_be_bytes());
        key(&[&arrival, &since, &self.tx.to_bytes()])
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        let (arrival, since) = (u64_at(bytes, 0)?, u64_at(bytes, 8)?);
        let tx = Tx::from_bytes(bytes.get(Self::HEAD_BYTES..).unwrap_or_default());
        Ok(Self { arrival, since, tx: Arc::new(tx.map_err(damaged)?) })
    }

    /// Decodes a record, which must be of the transaction with this hash.
    pub(super) fn from_bytes(hash: &[u8], bytes: &[u8]) -> Result<Self, NodeError> {
        let record = Self::decode(bytes)?;
        if word(&record.tx.hash()).as_slice() != hash {
            return Err(NodeError::corrupt("a transaction of the pool has another hash"));
        }
        Ok(record)
    }
}
