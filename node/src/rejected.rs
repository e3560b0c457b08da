//! Transactions whose proofs were rejected, so that sending them again costs no second verification.

use std::collections::{HashMap, VecDeque};

use rollmill_l1::alloy::primitives::{B256, keccak256};

/// Number of remembered rejections.
const REJECTED_MAX: usize = 8192;
/// Characters of a reason that are kept.
const REASON_MAX: usize = 200;

/// Reasons by the digest of a transaction's bytes; the oldest are evicted first. Whether a proof is
/// valid depends on those bytes and the client keys alone, so that a rejection never expires.
#[derive(Debug, Default)]
pub(crate) struct RejectedProofs {
    reasons: HashMap<B256, String>,
    order: VecDeque<B256>,
}

impl RejectedProofs {
    /// Why the proof of the transaction with these bytes was rejected.
    pub(crate) fn reason(&self, tx: &[u8]) -> Option<String> {
        self.reasons.get(&keccak256(tx)).cloned()
    }

    pub(crate) fn insert(&mut self, tx: &[u8], reason: String) {
        let digest = keccak256(tx);
        let reason = reason.chars().take(REASON_MAX).collect();
        if self.reasons.insert(digest, reason).is_none() {
            self.order.push_back(digest);
        }
        while self.order.len() > REJECTED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.reasons.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_are_bounded_and_the_oldest_go_first() {
        let mut rejected = RejectedProofs::default();
        for i in 0..=REJECTED_MAX as u64 {
            rejected.insert(&i.to_be_bytes(), "x".repeat(1000));
            rejected.insert(&i.to_be_bytes(), "again".to_owned());
        }
        assert_eq!(rejected.reason(&0u64.to_be_bytes()), None);
        assert_eq!(rejected.reason(&1u64.to_be_bytes()).unwrap(), "again");
        assert_eq!((rejected.reasons.len(), rejected.order.len()), (REJECTED_MAX, REJECTED_MAX));
        rejected.insert(&u64::MAX.to_be_bytes(), "x".repeat(1000));
        assert_eq!(rejected.reason(&u64::MAX.to_be_bytes()).unwrap().len(), REASON_MAX);
    }
}
