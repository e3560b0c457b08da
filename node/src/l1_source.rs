//! L1 as a source of events: the follower of `rollmill-l1`, resumed from what the node has stored, and the blobs
//! of the blocks that it reports.

use std::sync::Arc;

use rollmill_l1::alloy::eips::{BlockId, BlockNumberOrTag};
use rollmill_l1::alloy::primitives::{B256, U256};
use rollmill_l1::{
    BlockProposed, Followed, Follower, L1BlockRef, L1Client, MessageKind, MessageSent,
    RollupContract, abi,
};
use rollmill_l1::{L1Error, L1Event as Seen};
use rollmill_protocol::blob::{COMMITMENT_BYTES, HalvesLayout};
use rollmill_protocol::layout::Encode;
use rollmill_protocol::message::deposit_leaf;
use rollmill_protocol::{BlobFr, Commitment, EthAddress, Fr, field};

use crate::l1_events::{
    BlobMissing, BlockBlobs, Data, L1Event, L1Events, L1Position, L1SourceError, L1Update, Message,
    ProposedBlock, WantedBlob,
};

/// Blobs after which an update ends, at the end of an L1 block: 32 MiB. A poll of final L1 blocks can find thousands.
const BLOBS_MAX: usize = 256;

/// Events of one deployment.
#[derive(Debug)]
pub struct RollupEvents {
    client: L1Client,
    contract: RollupContract,
    followed: Followed,
    blobs: Arc<dyn BlockBlobs>,
    blobs_max: usize,
    /// Dropped after a reorganisation and on errors: the stored positions determine where to continue.
    follower: Option<Follower>,
}

/// What a poll found, with the data of its blocks.
enum Filled {
    All(Vec<(u64, L1Event)>),
    /// The events before the L1 block of a block whose data is missing, as the error says, or before which there are
    /// enough blobs.
    Before {
        events: Vec<(u64, L1Event)>,
        l1_block: L1BlockRef,
        error: Option<L1SourceError>,
    },
}

impl RollupEvents {
    /// Follows a contract and its inbox, with the blobs of its blocks from `blobs`.
    pub fn new(
        client: L1Client,
        contract: RollupContract,
        inbox: EthAddress,
        blobs: Arc<dyn BlockBlobs>,
    ) -> Self {
        let followed = Followed { rollup: contract.address(), inbox: abi::address(inbox) };
        Self { client, contract, followed, blobs, blobs_max: BLOBS_MAX, follower: None }
    }

    /// Ends an update after so many blobs, at the end of an L1 block.
    #[cfg(test)]
    pub(crate) fn with_blobs_max(self, blobs_max: usize) -> Self {
        Self { blobs_max, ..self }
    }

    async fn poll(&mut self, known: &[L1Position]) -> Result<Option<L1Update>, L1SourceError> {
        let Some(newest) = known.first() else { return Ok(None) };
        let resumed = self.follower.take().filter(|f| position(&f.tip()) == *newest);
        let mut follower = resumed.unwrap_or_else(|| {
            let trail: Vec<L1BlockRef> = known.iter().rev().map(block_ref).collect();
            Follower::resume(self.client.clone(), self.followed, block_ref(newest), &trail)
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
        let finalized = follower.finalized().map(|block| block.number);
        match self.fill(seen, &tip).await? {
            Filled::All(events) => {
                self.follower = Some(follower);
                let (to, time) = (position(&tip), tip.timestamp);
                let is_news = to.number != newest.number;
                Ok(is_news.then_some(L1Update::Extend { to, time, finalized, events }))
            }
            Filled::Before { events, l1_block, error } => {
                let is_next = l1_block.number <= newest.number + 1;
                if let Some(error) = error.filter(|_| is_next) {
                    return Err(error);
                }
                let before = self.before(&l1_block).await?;
                let (to, time) = (position(&before), before.timestamp);
                Ok(Some(L1Update::Extend { to, time, finalized, events }))
            }
        }
    }

    /// The parent of an L1 block.
    async fn before(&self, block: &L1BlockRef) -> Result<L1BlockRef, L1SourceError> {
        let number = block.number.saturating_sub(1);
        let moved = || {
            let reason = format!("L1 replaced block {} meanwhile", block.number);
            L1Error::Decode { what: "block", reason }
        };
        let child = self.client.block(BlockNumberOrTag::Number(block.number)).await?;
        let child = child.filter(|child| child.header.hash == block.hash).ok_or_else(moved)?;
        let parent = self.client.block(BlockNumberOrTag::Number(number)).await?;
        let parent = parent.filter(|parent| parent.header.hash == child.header.parent_hash);
        Ok(L1BlockRef::from(&parent.ok_or_else(moved)?))
    }

    /// Adds the blobs. `tip` is the L1 block up to which `seen` is complete.
    async fn fill(&self, seen: Vec<Seen>, tip: &L1BlockRef) -> Result<Filled, L1SourceError> {
        let mut events: Vec<(u64, L1Event)> = Vec::with_capacity(seen.len());
        let mut blobs = 0;
        for event in seen {
            let Some(l1_block) = event.place().map(|place| place.block) else { continue };
            // The events of an L1 block stay together.
            let is_new = events.last().is_some_and(|(number, _)| *number < l1_block.number);
            if blobs >= self.blobs_max && is_new {
                return Ok(Filled::Before { events, l1_block, error: None });
            }
            let mut event = convert(event)?;
            if let L1Event::BlockProposed(block) = &mut event
                && let Err(BlobMissing(reason)) = self.add_blob(block, l1_block).await
            {
                if !self.is_gone(block, tip).await? {
                    let (block, versioned_hash) = (block.block_number, block.versioned_hash);
                    let error = L1SourceError::DataMissing { block, versioned_hash, reason };
                    events.retain(|(number, _)| *number < l1_block.number);
                    return Ok(Filled::Before { events, l1_block, error: Some(error) });
                }
                block.data = Data::Missing;
            }
            let has_blob = |block: &ProposedBlock| matches!(block.data, Data::Blob(_));
            blobs += usize::from(matches!(&event, L1Event::BlockProposed(it) if has_blob(it)));
            events.push((l1_block.number, event));
        }
        Ok(Filled::All(events))
    }

    async fn add_blob(
        &self,
        block: &mut ProposedBlock,
        l1_block: L1BlockRef,
    ) -> Result<(), BlobMissing> {
        if block.tx_count > 0 {
            let wanted = WantedBlob { versioned_hash: block.versioned_hash, l1_block };
            block.data = Data::Blob(self.blobs.get(&wanted).await?);
        }
        Ok(())
    }

    /// Whether L1 pruned a block since. Asked of one L1 block that contains everything that was followed: an endpoint
    /// that is behind says nothing, also if it is another one than the one that told the tips.
    async fn is_gone(
        &self,
        block: &ProposedBlock,
        tip: &L1BlockRef,
    ) -> Result<bool, L1SourceError> {
        let tips = self.contract.tips().await?;
        if tips.at.number < tip.number {
            return Ok(false);
        }
        if tips.pending < block.block_number {
            return Ok(true);
        }
        let at = BlockId::number(tips.at.number);
        let record = self.contract.block_record_at(block.block_number, at).await?;
        Ok(record.chain != abi::word(&block.chain))
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

fn element(word: B256) -> Result<Fr, L1SourceError> {
    abi::element(&word).ok_or(L1SourceError::Event { what: "a word that is not a field element" })
}

/// A value of a blob, which is below another order than a field element.
fn blob_value(word: B256) -> Result<BlobFr, L1SourceError> {
    let number = U256::from_be_bytes(word.0);
    let [lo, hi] = [number, number >> 128].map(|half| Fr::from(half.wrapping_to::<u128>()));
    BlobFr::decode("y", &HalvesLayout { lo, hi })
        .map_err(|_| L1SourceError::Event { what: "a word that is not a value of a blob" })
}

fn commitment(bytes: &[u8]) -> Result<Commitment, L1SourceError> {
    if bytes.is_empty() {
        return Ok(Commitment::default());
    }
    let bytes: Result<[u8; COMMITMENT_BYTES], _> = bytes.try_into();
    bytes
        .map(Commitment)
        .map_err(|_| L1SourceError::Event { what: "a commitment of another length" })
}

fn convert(event: Seen) -> Result<L1Event, L1SourceError> {
    Ok(match event {
        Seen::BlockProposed(e) => L1Event::BlockProposed(proposed(e)?),
        Seen::MessageSent(e) => L1Event::MessageSent(message(e)?),
        Seen::EpochProven(e) => L1Event::EpochProven { last_block: e.last_block },
        Seen::Pruned(e) => L1Event::Pruned { proven_tip: e.proven_tip },
        Seen::Rewind { .. } => {
            return Err(L1SourceError::Event { what: "a rewind without an event" });
        }
    })
}

fn proposed(e: BlockProposed) -> Result<ProposedBlock, L1SourceError> {
    Ok(ProposedBlock {
        block_number: e.block_number,
        archive_root: element(e.archive_root)?,
        header_hash: element(e.header_hash)?,
        chain: element(e.chain)?,
        slot: e.slot,
        coinbase: EthAddress(e.coinbase.into_array()),
        total_fees: e.total_fees,
        tx_count: e.tx_count.into(),
        versioned_hash: e.versioned_hash.0,
        z: element(e.z)?,
        y: blob_value(e.y)?,
        commitment: commitment(&e.commitment)?,
        in_hash: element(e.in_hash)?,
        out_root: element(e.out_root)?,
        signers: e.signers,
        data: Data::None,
    })
}

fn message(e: MessageSent) -> Result<Message, L1SourceError> {
    let leaf = element(e.leaf)?;
    let deposit = match e.kind {
        MessageKind::General { .. } => None,
        MessageKind::Deposit { to, units } => {
            let amount = field::to_u64("units", &element(units)?);
            let amount =
                amount.map_err(|_| L1SourceError::Event { what: "a deposit above 64 bits" })?;
            let to = element(to)?;
            // Wallets derive the leaf that they claim from what the node tells them of the deposit.
            if deposit_leaf(&to, amount, e.index) != leaf {
                return Err(L1SourceError::Event { what: "a deposit with another leaf" });
            }
            Some((to, amount))
        }
    };
    Ok(Message { block: e.block, index: e.index, leaf, deposit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_blob_is_below_its_own_order_and_not_that_of_field_elements() {
        // r of BN254 is below q of BLS12-381, whose value is EIP-4844's BLS_MODULUS.
        let q = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";
        let word = B256::from_slice(&hex::decode(q).unwrap());
        assert!(matches!(blob_value(word), Err(L1SourceError::Event { .. })));
        let mut below = word;
        below.0[31] = 0;
        assert_eq!(blob_value(below).unwrap(), -BlobFr::from(1u64));
        assert!(element(below).is_err());
        assert_eq!(blob_value(B256::with_last_byte(7)).unwrap(), BlobFr::from(7u64));
    }

    #[test]
    fn a_commitment_has_48_bytes_or_none() {
        assert_eq!(commitment(&[]).unwrap(), Commitment::default());
        assert_eq!(commitment(&[3; 48]).unwrap(), Commitment([3; 48]));
        for wrong in [1, 47, 49] {
            assert!(commitment(&vec![3; wrong]).is_err(), "{wrong}");
        }
    }
}
