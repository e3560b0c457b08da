//! L1 as a source of events: the follower of `rollmill-l1`, resumed from what the node has stored.

use rollmill_errors::Bare;
use rollmill_l1::L1Event as Seen;
use rollmill_l1::{Follower, L1BlockRef, L1Client};
use rollmill_protocol::{EthAddress, Fr};

use crate::l1_events::{L1Event, L1Events, L1Position, L1SourceError, L1Update, ProposedBlock};

/// Events of one rollup contract.
#[derive(Debug)]
pub struct RollupEvents {
    client: L1Client,
    rollup: EthAddress,
    /// Dropped after a reorganisation and on errors: the stored positions determine where to continue.
    follower: Option<Follower>,
}

impl RollupEvents {
    /// Follows the contract at `rollup`.
    pub fn new(client: L1Client, rollup: EthAddress) -> Self {
        Self { client, rollup, follower: None }
    }

    async fn poll(&mut self, known: &[L1Position]) -> Result<Option<L1Update>, L1SourceError> {
        let Some(newest) = known.first() else { return Ok(None) };
        let resumed = self.follower.take().filter(|f| position(&f.tip()) == *newest);
        let mut follower = resumed.unwrap_or_else(|| {
            let trail: Vec<L1BlockRef> = known.iter().rev().map(block_ref).collect();
            Follower::resume(self.client.clone(), self.rollup.0.into(), block_ref(newest), &trail)
        });
        let seen = follower.poll().await?;
        let lowest = seen.iter().filter_map(|event| match event {
            Seen::Rewind { to } => Some(to.number),
            _ => None,
        });
        if let Some(number) = lowest.min() {
            // A new follower reads from there what happened instead.
            let to = known.iter().find(|p| p.number <= number).or(known.last());
            return Ok(to.map(|to| L1Update::Rewind { to: *to }));
        }
        let tip = follower.tip();
        let (to, time) = (position(&tip), tip.timestamp);
        let finalized = follower.finalized().map(|block| block.number);
        self.follower = Some(follower);
        if to.number == newest.number {
            return Ok(None);
        }
        let events = seen
            .into_iter()
            .filter_map(|event| {
                let number = event.place()?.block.number;
                Some(convert(event).map(|event| (number, event)))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(L1Update::Extend { to, time, finalized, events }))
    }
}

impl L1Events for RollupEvents {
    async fn next(&mut self, known: &[L1Position]) -> Result<Option<L1Update>, L1SourceError> {
        self.poll(known).await
    }
}

/// A position as the node stores it.
pub fn position(block: &L1BlockRef) -> L1Position {
    L1Position { number: block.number, hash: block.hash.0 }
}

fn block_ref(position: &L1Position) -> L1BlockRef {
    L1BlockRef { number: position.number, hash: position.hash.into(), timestamp: 0 }
}

fn element(word: [u8; 32]) -> Result<Fr, L1SourceError> {
    rollmill_protocol::field::from_bytes(&word)
        .ok_or(L1SourceError::Event { what: "a word that is not a field element" })
}

fn convert(event: Seen) -> Result<L1Event, L1SourceError> {
    Ok(match event {
        Seen::BlockProposed(e) => L1Event::BlockProposed(ProposedBlock {
            block_number: e.block_number,
            archive_root: element(e.archive_root.0)?,
            header_hash: element(e.header_hash.0)?,
            data_hash: element(e.data_hash.0)?,
            chain: element(e.chain.0)?,
            slot: e.slot,
            coinbase: EthAddress(e.coinbase.into_array()),
            total_fees: e.total_fees,
            data: e.data.map(|data| data.to_vec()).map_err(|why| Bare(&why).to_string()),
        }),
        Seen::EpochProven(e) => L1Event::EpochProven { last_block: e.last_block },
        Seen::Pruned(e) => L1Event::Pruned { proven_tip: e.proven_tip },
        Seen::Rewind { .. } => {
            return Err(L1SourceError::Event { what: "a rewind without an event" });
        }
    })
}
