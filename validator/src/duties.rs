//! Who proposes in a slot, and who is in its committee.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use rollmill_l1::alloy::eips::BlockId;
use rollmill_l1::attest::Duty;
use rollmill_l1::{L1Client, L1Error, Selection};
use rollmill_node::Node;
use tokio::sync::Mutex;

/// Slots whose duties are remembered: those that proposals are taken of, and a few before.
const REMEMBERED: usize = 8;

/// Where the duties of a slot are read.
pub trait Duties: Send + Sync + 'static {
    /// The proposer and the committee of a slot; `None` in an epoch without a committee.
    fn duty(&self, slot: u64) -> impl Future<Output = Result<Option<Duty>, L1Error>> + Send;
}

/// The duties that the contract states. Each slot's are read once they are decided, and until then with each L1 block
/// that the node follows.
#[derive(Debug)]
pub struct L1Duties(Remembered<OnL1>);

impl L1Duties {
    /// The duties that this contract states, for a node that follows its rollup on this L1.
    pub fn new(selection: Selection, l1: L1Client, node: Arc<Node>) -> Self {
        Self(Remembered::new(OnL1 { selection, l1, node }))
    }
}

impl Duties for L1Duties {
    async fn duty(&self, slot: u64) -> Result<Option<Duty>, L1Error> {
        self.0.duty(slot).await
    }
}

/// The duty of a slot, and whether L1 can still change it.
#[derive(Debug, Clone)]
struct Told {
    duty: Option<Duty>,
    is_decided: bool,
}

trait Source {
    /// Number of the last L1 block that was followed.
    fn l1_block(&self) -> u64;

    fn read(&self, slot: u64) -> impl Future<Output = Result<Told, L1Error>> + Send;
}

#[derive(Debug)]
struct OnL1 {
    selection: Selection,
    l1: L1Client,
    node: Arc<Node>,
}

impl Source for OnL1 {
    fn l1_block(&self) -> u64 {
        self.node.tips().l1_block
    }

    /// Everything at one L1 block, so that the duty is the one that is decided or not.
    async fn read(&self, slot: u64) -> Result<Told, L1Error> {
        let epoch = slot / self.node.config().slots_per_epoch.max(1);
        let at = BlockId::from(self.l1.latest().await?.hash);
        let duty = self.selection.duty_at(slot, epoch, at).await?;
        // An epoch without a committee may still get one.
        let is_decided = duty.is_some() && self.selection.is_decided(epoch, at).await?;
        Ok(Told { duty, is_decided })
    }
}

#[derive(Debug)]
struct Known {
    duty: Option<Duty>,
    /// The L1 block that was the last one followed before it was read; none once it is decided.
    read_at: Option<u64>,
}

/// Duties of a source, read again only when L1 may have changed them. Strangers can ask for the duties of a slot.
#[derive(Debug)]
struct Remembered<S> {
    source: S,
    /// Locked while L1 is asked, so that many requests for a slot make one call.
    known: Mutex<BTreeMap<u64, Known>>,
}

impl<S: Source> Remembered<S> {
    fn new(source: S) -> Self {
        Self { source, known: Mutex::default() }
    }

    async fn duty(&self, slot: u64) -> Result<Option<Duty>, L1Error> {
        let mut known = self.known.lock().await;
        let l1_block = self.source.l1_block();
        if let Some(it) = known.get(&slot)
            && it.read_at.is_none_or(|block| block == l1_block)
        {
            return Ok(it.duty.clone());
        }
        let Told { duty, is_decided } = self.source.read(slot).await?;
        let read_at = (!is_decided).then_some(l1_block);
        known.insert(slot, Known { duty: duty.clone(), read_at });
        while known.len() > REMEMBERED {
            known.pop_first();
        }
        Ok(duty)
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use rollmill_l1::alloy::primitives::Address;

    use super::*;

    const SLOT: u64 = 9;

    /// What L1 says, and how often it was asked.
    struct Script(Mutex<(u64, Told, usize)>);

    impl Source for Script {
        fn l1_block(&self) -> u64 {
            self.0.lock().0
        }

        async fn read(&self, _: u64) -> Result<Told, L1Error> {
            let mut script = self.0.lock();
            script.2 += 1;
            Ok(script.1.clone())
        }
    }

    fn of(members: u8) -> Option<Duty> {
        let members: Vec<_> = (1..=members).map(Address::with_last_byte).collect();
        let proposer = members[members.len() - 1];
        Some(Duty { slot: SLOT, epoch: 1, proposer, members })
    }

    struct Case(Remembered<Script>);

    impl Case {
        fn new(duty: Option<Duty>) -> Self {
            let told = Told { duty, is_decided: false };
            Self(Remembered::new(Script(Mutex::new((1, told, 0)))))
        }

        fn say(&self, duty: Option<Duty>, is_decided: bool) {
            self.0.source.0.lock().1 = Told { duty, is_decided };
        }

        fn follow(&self) {
            self.0.source.0.lock().0 += 1;
        }

        /// Asks three times, and requires this duty and so many reads since the start.
        async fn is(&self, slot: u64, duty: Option<Duty>, reads: usize) {
            for _ in 0..3 {
                assert_eq!(self.0.duty(slot).await.unwrap(), duty);
            }
            assert_eq!(self.0.source.0.lock().2, reads);
        }
    }

    /// Goal: a committee whose size changes before the first proposal of its epoch is the new one, also in slots of
    /// which somebody asked before.
    #[tokio::test]
    async fn a_duty_is_read_with_each_l1_block_until_it_is_decided() {
        let case = Case::new(of(4));
        case.is(SLOT, of(4), 1).await;
        case.say(of(5), false);
        case.is(SLOT, of(4), 1).await;
        case.follow();
        case.is(SLOT, of(5), 2).await;
        case.say(of(6), true);
        case.follow();
        case.is(SLOT, of(6), 3).await;
        case.follow();
        case.is(SLOT, of(6), 3).await;
    }

    /// Attack: requests in an epoch without a committee. Each L1 block costs one read for each slot, however many ask.
    #[tokio::test]
    async fn strangers_cause_one_read_of_an_l1_block_where_there_is_no_committee() {
        let case = Case::new(None);
        case.is(SLOT, None, 1).await;
        case.is(SLOT + 1, None, 2).await;
        case.is(SLOT, None, 2).await;
        case.follow();
        case.is(SLOT, None, 3).await;
        case.say(of(4), false);
        case.follow();
        case.is(SLOT, of(4), 4).await;
    }
}
