//! Follows the events of a rollup and its inbox block by block, by number and parent hash.
//!
//! `removed` logs are not relied on: some nodes send none. A block belongs to the chain exactly if its
//! parent is the block before it, so the follower keeps the hashes of the blocks that L1 may still
//! replace and walks back over them when the chain no longer fits. It does so only once another block is
//! in the place of one of them: blocks that are merely absent may be those that a server does not have yet.

use std::collections::VecDeque;
use std::time::Duration;

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::B256;
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Log};

use crate::client::{L1BlockRef, L1Client};
use crate::error::L1Error;
use crate::event::{self, Followed, L1Event};

/// Final L1 blocks that one request for logs may span.
const FINAL_SPAN: u64 = 2_000;
/// Maximum L1 blocks of one poll, so that a caller can store its progress.
const BLOCKS_A_POLL: u64 = 128;
/// Events after which one poll ends, for the same reason: memory is bounded by what one step can find beyond them.
const EVENTS_A_POLL: usize = 256;
/// How often one poll starts over because L1 changed meanwhile, before it leaves the rest to the next
/// poll.
const RESTARTS_A_POLL: u32 = 4;

/// A position on L1 and the rollup's events from there on.
#[derive(Debug)]
pub struct Follower {
    client: L1Client,
    followed: Followed,
    /// Followed blocks that L1 may replace, oldest first; the first one is at or below finality
    /// once anything is final. Never empty.
    trail: VecDeque<L1BlockRef>,
    finalized: Option<L1BlockRef>,
}

/// What L1 has under the number of a followed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Same,
    Other,
    /// No block. The server that answers may lag behind another one of its URL, so this is no reorganisation.
    Nothing,
}

/// The result of one step of a poll.
enum Step {
    Done,
    /// More blocks are known to exist.
    More,
    /// L1 changed while it was read. Nothing of the step counts.
    Changed,
}

impl Follower {
    /// Starts after L1 block `number`, whose own events are not reported: the block before the
    /// rollup's deployment, to follow a rollup from its beginning.
    ///
    /// Fetches the blocks from the final one to `number`, so that a reorg may reach below the start.
    pub async fn start(client: L1Client, followed: Followed, number: u64) -> Result<Self, L1Error> {
        let finalized = client.finalized().await?.map_or(0, |block| block.number);
        let mut trail = Vec::new();
        for n in finalized.min(number)..=number {
            let block = client.block(BlockNumberOrTag::Number(n)).await?;
            let block = block.ok_or_else(|| L1Error::Decode {
                what: "starting block",
                reason: format!("L1 has no block {n}"),
            })?;
            trail.push(L1BlockRef::from(&block));
        }
        let Some(tip) = trail.last().copied() else {
            let reason = "an empty range".to_owned();
            return Err(L1Error::Decode { what: "starting block", reason });
        };
        Ok(Self::resume(client, followed, tip, &trail))
    }

    /// Continues after `tip`, the last block whose events were stored. `trail` is what
    /// [`Self::trail`] returned then, so that a reorg meanwhile is noticed and undone.
    pub fn resume(
        client: L1Client,
        followed: Followed,
        tip: L1BlockRef,
        trail: &[L1BlockRef],
    ) -> Self {
        let mut blocks: VecDeque<L1BlockRef> =
            trail.iter().filter(|block| block.number < tip.number).copied().collect();
        blocks.make_contiguous().sort_by_key(|block| block.number);
        blocks.push_back(tip);
        Self { client, followed, trail: blocks, finalized: None }
    }

    /// The last L1 block whose events were reported.
    pub fn tip(&self) -> L1BlockRef {
        // The trail is never empty: it starts with one block, and a rewind leaves one.
        self.trail.back().copied().unwrap_or(L1BlockRef {
            number: 0,
            hash: B256::ZERO,
            timestamp: 0,
        })
    }

    /// The followed blocks that L1 may still replace, oldest first. Store it with the tip.
    pub fn trail(&self) -> Vec<L1BlockRef> {
        self.trail.iter().copied().collect()
    }

    /// The newest final L1 block, as of the last poll.
    pub fn finalized(&self) -> Option<L1BlockRef> {
        self.finalized
    }

    /// The events since the last poll, in order; empty if there is nothing new.
    ///
    /// A caller that stores events and position together may be killed at any moment: after a
    /// restart the same events come again from the stored position. Steps that were read before an
    /// error are reported without it, so that each call over a bad connection gets further; on an
    /// error the position has not moved.
    ///
    /// # Errors
    /// [`L1Error::Behind`] while L1 has no block under the numbers of the newest followed ones, and what is below them
    /// is unchanged: until it has those blocks again, or others; [`L1Error::ReorgBelowFinality`] if no remembered block
    /// is part of L1 any more; the error of L1 if not even one step could be read. Never because of what a transaction
    /// contains.
    pub async fn poll(&mut self) -> Result<Vec<L1Event>, L1Error> {
        // Work on a copy: an error must not change the position.
        let mut next = Self {
            client: self.client.clone(),
            followed: self.followed,
            trail: self.trail.clone(),
            finalized: self.finalized,
        };
        let mut events = Vec::new();
        let mut restarts = 0;
        let mut blocks = 0;
        next.finalized = next.client.finalized().await?;
        next.rewind(&mut events).await?;
        while blocks < BLOCKS_A_POLL && restarts < RESTARTS_A_POLL && events.len() < EVENTS_A_POLL {
            let step = match next.step(&mut events).await {
                Ok(Step::Changed) => next.rewind(&mut events).await.map(|()| Step::Changed),
                step => step,
            };
            match step {
                Ok(Step::Done) => break,
                Ok(Step::More) => blocks += 1,
                Ok(Step::Changed) => restarts += 1,
                // A step is added to the trail only when it is complete.
                Err(error) if blocks > 0 && error.is_transient() => {
                    tracing::debug!(%error, blocks, "L1 poll interrupted");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        next.forget();
        *self = next;
        Ok(events)
    }

    /// Polls until there is something to report.
    pub async fn next(&mut self, interval: Duration) -> Result<Vec<L1Event>, L1Error> {
        loop {
            let events = self.poll().await?;
            if !events.is_empty() {
                return Ok(events);
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Drops from the trail what L1 replaced, and reports it. An error leaves the trail unchanged:
    /// half a rewind that is not reported would lose events.
    async fn rewind(&mut self, events: &mut Vec<L1Event>) -> Result<(), L1Error> {
        let before = self.trail.clone();
        let done = self.walk_back(events).await;
        if done.is_err() {
            self.trail = before;
        }
        done
    }

    async fn walk_back(&mut self, events: &mut Vec<L1Event>) -> Result<(), L1Error> {
        let tip = self.tip();
        let (mut is_replaced, mut missing) = (false, tip.number);
        while let Some(block) = self.trail.back().copied() {
            let found = self.find(block).await?;
            match found {
                Found::Same => {}
                Found::Other => is_replaced = true,
                Found::Nothing => missing = block.number,
            }
            if found == Found::Same && block == tip {
                return Ok(());
            }
            if found == Found::Same && is_replaced {
                tracing::warn!(
                    from_l1_block = tip.number,
                    to_l1_block = block.number,
                    "L1 reorganised"
                );
                // Events of this poll that the rewind undoes need not be reported.
                events.retain(|event| match event {
                    L1Event::Rewind { .. } => true,
                    other => other.place().is_none_or(|at| at.block.number <= block.number),
                });
                events.push(L1Event::Rewind { to: block });
                return Ok(());
            }
            let is_oldest = self.trail.len() == 1;
            if is_oldest && found == Found::Other {
                return Err(L1Error::ReorgBelowFinality { oldest: block.number });
            }
            if is_oldest || found == Found::Same {
                return Err(L1Error::Behind { missing, followed: tip.number });
            }
            self.trail.pop_back();
        }
        Ok(())
    }

    async fn find(&self, block: L1BlockRef) -> Result<Found, L1Error> {
        // An endpoint that lags does not have it, and has not replaced it.
        self.client.expect_block(block.number);
        let now = self.client.block(BlockNumberOrTag::Number(block.number)).await?;
        Ok(match now {
            Some(now) if now.header.hash == block.hash => Found::Same,
            Some(_) => Found::Other,
            None => Found::Nothing,
        })
    }

    /// Reads the next block, or the next span of final blocks.
    async fn step(&mut self, events: &mut Vec<L1Event>) -> Result<Step, L1Error> {
        let tip = self.tip();
        if let Some(finalized) = self.finalized
            && finalized.number > tip.number + 1
        {
            return self.step_final(tip.number, finalized.number, events).await;
        }
        let number = BlockNumberOrTag::Number(tip.number + 1);
        let Some(block) = self.client.block(number).await? else { return Ok(Step::Done) };
        if block.header.parent_hash != tip.hash {
            return Ok(Step::Changed);
        }
        let at = L1BlockRef::from(&block);
        let filter = self.filter().at_block_hash(at.hash);
        let logs = match self.client.provider().get_logs(&filter).await {
            Ok(logs) => logs,
            // A node rejects a block hash that it no longer has.
            Err(_) if self.find(at).await? != Found::Same => return Ok(Step::Changed),
            Err(error) => return Err(L1Error::rpc("logs")(error)),
        };
        let Some(found) = self.read_all(&logs, |_| Some(at))? else { return Ok(Step::Changed) };
        events.extend(found);
        self.trail.push_back(at);
        Ok(Step::More)
    }

    /// Reads many final blocks at a time; of these only the last is kept on the trail.
    async fn step_final(
        &mut self,
        tip: u64,
        finalized: u64,
        events: &mut Vec<L1Event>,
    ) -> Result<Step, L1Error> {
        let end = finalized.min(tip + FINAL_SPAN);
        let Some(last) = self.client.block(BlockNumberOrTag::Number(end)).await? else {
            return Ok(Step::Changed);
        };
        let filter = self.filter().from_block(tip + 1).to_block(end);
        let logs = self.client.provider().get_logs(&filter).await.map_err(L1Error::rpc("logs"))?;
        // Few blocks contain a log of the rollup; times are fetched only for those.
        let mut blocks: Vec<L1BlockRef> = Vec::new();
        for log in &logs {
            let (Some(number), Some(hash)) = (log.block_number, log.block_hash) else { continue };
            if blocks.iter().all(|block| block.number != number) {
                let block = self.client.block(BlockNumberOrTag::Number(number)).await?;
                match block.map(|block| L1BlockRef::from(&block)) {
                    Some(block) if block.hash == hash => blocks.push(block),
                    _ => return Ok(Step::Changed),
                }
            }
        }
        let find =
            |log: &Log| blocks.iter().find(|block| Some(block.hash) == log.block_hash).copied();
        let Some(found) = self.read_all(&logs, find)? else { return Ok(Step::Changed) };
        events.extend(found);
        self.trail.push_back(L1BlockRef::from(&last));
        Ok(Step::More)
    }

    /// The logs of the followed contracts.
    fn filter(&self) -> Filter {
        Filter::new().address(vec![self.followed.rollup, self.followed.inbox])
    }

    /// Reads logs in order; none if L1 changed meanwhile.
    fn read_all(
        &self,
        logs: &[Log],
        block_of: impl Fn(&Log) -> Option<L1BlockRef>,
    ) -> Result<Option<Vec<L1Event>>, L1Error> {
        let mut events = Vec::new();
        for log in logs.iter().filter(|log| !log.removed) {
            let Some(block) = block_of(log) else { return Ok(None) };
            events.extend(event::read(&self.followed, block, log)?);
        }
        Ok(Some(events))
    }

    /// Drops blocks below finality from the trail, all but the newest of them.
    fn forget(&mut self) {
        let Some(finalized) = self.finalized else { return };
        while self.trail.get(1).is_some_and(|second| second.number <= finalized.number) {
            self.trail.pop_front();
        }
    }
}
