//! Who proposes in a slot, and who is in its committee.

use std::collections::BTreeMap;
use std::future::Future;

use rollmill_l1::attest::Duty;
use rollmill_l1::{L1Error, Selection};
use tokio::sync::Mutex;

/// Slots whose duties are remembered: those that proposals are taken of, and a few before.
const REMEMBERED: usize = 8;

/// Where the duties of a slot are read.
pub trait Duties: Send + Sync + 'static {
    /// The proposer and the committee of a slot; `None` in an epoch without a committee.
    fn duty(&self, slot: u64) -> impl Future<Output = Result<Option<Duty>, L1Error>> + Send;
}

/// The duties that the contract states. Each slot's are read once: they are fixed before its epoch starts.
#[derive(Debug)]
pub struct L1Duties {
    selection: Selection,
    slots_per_epoch: u64,
    /// Locked while L1 is asked, so that many requests for a slot make one call.
    known: Mutex<BTreeMap<u64, Duty>>,
}

impl L1Duties {
    /// The duties that this contract states, with epochs of this length.
    pub fn new(selection: Selection, slots_per_epoch: u64) -> Self {
        Self { selection, slots_per_epoch: slots_per_epoch.max(1), known: Mutex::default() }
    }
}

impl Duties for L1Duties {
    async fn duty(&self, slot: u64) -> Result<Option<Duty>, L1Error> {
        let mut known = self.known.lock().await;
        if let Some(duty) = known.get(&slot) {
            return Ok(Some(duty.clone()));
        }
        // An epoch without a committee may still get one.
        let Some(duty) = self.selection.duty(slot, slot / self.slots_per_epoch).await? else {
            return Ok(None);
        };
        known.insert(slot, duty.clone());
        while known.len() > REMEMBERED {
            known.pop_first();
        }
        Ok(Some(duty))
    }
}
