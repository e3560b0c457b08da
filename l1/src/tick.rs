//! One poll of L1 for everything that is pending: what was included, what left its block, what must
//! be sent again, what has expired.

use std::collections::BTreeSet;

use alloy::consensus::Transaction;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::TransactionResponse;
use alloy::primitives::B256;
use alloy::providers::Provider;

use crate::client::L1BlockRef;
use crate::error::L1Error;
use crate::intent::{BlobId, Inclusion, Intent, IntentFile, Retired, State};
use crate::queue::{is_blob_ahead, receipt, waits_for_other_kind, with_margin};
use crate::sender::{GAS_LIMIT_MAX, Right, TxSender, TxUpdate};

/// Unknown nonces that one tick fills, which bounds the cost of a node that is wrong about the nonce.
const GAP_MAX: u64 = 16;

/// L1 as one tick sees it, and the result.
pub(crate) struct Poll {
    pub(crate) head: L1BlockRef,
    finalized: Option<u64>,
    /// The account's next nonce on L1.
    pub(crate) count: u64,
    /// Whether every nonce before the current one goes to the request it was assigned to, as far as
    /// this account knows. Later nonces then need no simulation, which would not see the pending ones
    /// before them.
    is_line_intact: bool,
    updates: Vec<TxUpdate>,
}

/// What to do with an intent that is not in a block.
enum Verdict {
    Deliver,
    /// It would need more gas than its limit: send it with this limit.
    Widen(u64),
    /// Depends on what is before it in the queue.
    Wait,
    Drop(Retired),
}

/// The state of a nonce.
enum Landing {
    /// A form of the intent of this number is in a block of the chain.
    In(u64, Inclusion),
    /// Another transaction has used it, in this block or before.
    Taken { at_block: u64 },
    /// It is used, and L1 does not show yet by which transaction.
    Unclear,
    /// It is not used.
    Nowhere,
}

impl TxSender {
    /// Polls L1 once: records what was included, dropped or finalized, sends again what the network
    /// has lost, raises the fees of what has waited too long, and drops what has expired.
    /// [`Self::run`] calls it with every new L1 block; repeating it does no harm.
    ///
    /// # Errors
    /// The first that a transaction met; the others are checked nevertheless, unless no endpoint
    /// answers or the file cannot be written. Call it again.
    pub async fn tick(&self) -> Result<Vec<TxUpdate>, L1Error> {
        let mut file = self.file.lock().await;
        let file = &mut *file;
        let open = file.intents().iter().filter(|intent| !intent.state.is_settled());
        let mut nonces: BTreeSet<u64> = open.map(|intent| intent.nonce).collect();
        let Some(last) = nonces.last().copied() else { return Ok(Vec::new()) };
        let mut poll = self.poll().await?;
        // A nonce that this file knows nothing of, or knows as settled before L1 replaced even final
        // blocks, would block those behind it.
        nonces.extend(poll.count..last.min(poll.count.saturating_add(GAP_MAX)));
        // First, so that no nonce is filled for a transaction that has expired itself.
        retire_expired(file, &mut poll)?;
        let mut failed = None;
        for nonce in nonces {
            match self.poll_nonce(file, nonce, &mut poll).await {
                Ok(()) => {}
                Err(error @ (L1Error::IntentFile { .. } | L1Error::Unreachable { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    poll.is_line_intact = false;
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(poll.updates), Err)
    }

    pub(crate) async fn poll(&self) -> Result<Poll, L1Error> {
        let head = self.client.latest().await?;
        let finalized = self.client.finalized().await?.map(|block| block.number);
        let count = self.nonce_at(head.hash).await?;
        Ok(Poll { head, finalized, count, is_line_intact: true, updates: Vec::new() })
    }

    async fn poll_nonce(
        &self,
        file: &mut IntentFile,
        nonce: u64,
        poll: &mut Poll,
    ) -> Result<(), L1Error> {
        if self.settle(file, nonce, poll).await? {
            self.push(file, nonce, poll).await?;
        }
        Ok(())
    }

    /// Records the state of a nonce. True if it is not used.
    pub(crate) async fn settle(
        &self,
        file: &mut IntentFile,
        nonce: u64,
        poll: &mut Poll,
    ) -> Result<bool, L1Error> {
        let rivals = rivals(file, nonce);
        match self.landing(&rivals, nonce, poll).await? {
            Landing::In(seq, at) => note_inclusion(file, rivals, seq, at, poll)?,
            Landing::Taken { at_block } => note_taken(file, rivals, at_block, poll)?,
            // Nothing may be decided on what may be in a block.
            Landing::Unclear => return Err(L1Error::unclear(nonce)),
            Landing::Nowhere => {
                note_unused(file, rivals, poll)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How the nonce was used. No single response is trusted that others can refute: a receipt must be
    /// of a block of the chain, and a nonce is lost only when the block that used it is seen to
    /// contain another transaction.
    async fn landing(
        &self,
        rivals: &[Intent],
        nonce: u64,
        poll: &Poll,
    ) -> Result<Landing, L1Error> {
        for rival in rivals {
            if let State::Included(at) = &rival.state
                && self.is_canonical(at.block_number, at.block_hash).await?
            {
                return Ok(Landing::In(rival.seq, at.clone()));
            }
        }
        if poll.count <= nonce {
            return Ok(Landing::Nowhere);
        }
        let mut mine = Vec::new();
        for rival in rivals.iter().rev() {
            mine.extend(rival.forms.iter().rev().map(|form| (rival.seq, form.tx_hash)));
        }
        for &(seq, tx_hash) in &mine {
            if let Some(at) = self.inclusion(tx_hash).await? {
                return Ok(Landing::In(seq, at));
            }
        }
        let lost = rivals.iter().find_map(|rival| match rival.state {
            State::Lost { at_block } => Some(at_block),
            _ => None,
        });
        if let Some(at_block) = lost {
            return Ok(Landing::Taken { at_block });
        }
        match self.user_of(nonce, poll.head.number).await {
            // Its receipt is not there yet, or withheld.
            Ok((_, Some(tx_hash))) if mine.iter().any(|(_, it)| *it == tx_hash) => {
                return Ok(Landing::Unclear);
            }
            Ok((at_block, Some(_))) => return Ok(Landing::Taken { at_block }),
            // Nothing is visible, or the node no longer has a state that old.
            Ok((_, None)) | Err(L1Error::Answer { .. }) => {}
            Err(error) => return Err(error),
        }
        // Final blocks do not change. For the head a development node may report the state of the block
        // that it is building.
        Ok(match poll.finalized.filter(|number| *number < poll.head.number) {
            Some(at_block) if self.nonce_at(at_block).await? > nonce => Landing::Taken { at_block },
            _ => Landing::Unclear,
        })
    }

    /// Where a transaction is, if a block of the chain contains it.
    async fn inclusion(&self, tx_hash: B256) -> Result<Option<Inclusion>, L1Error> {
        let got = self.client.provider().get_transaction_receipt(tx_hash).await;
        let Some(receipt) = got.map_err(L1Error::rpc("receipt"))? else { return Ok(None) };
        let (Some(block_number), Some(block_hash)) = (receipt.block_number, receipt.block_hash)
        else {
            return Ok(None);
        };
        let is_of_it = receipt.transaction_hash == tx_hash;
        if !is_of_it || !self.is_canonical(block_number, block_hash).await? {
            return Ok(None);
        }
        Ok(Some(Inclusion {
            tx_hash,
            block_number,
            block_hash,
            succeeded: receipt.status(),
            gas_used: receipt.gas_used,
            effective_gas_price_wei: receipt.effective_gas_price,
            contract_address: receipt.contract_address,
        }))
    }

    async fn is_canonical(&self, number: u64, hash: B256) -> Result<bool, L1Error> {
        let block = self.client.block(BlockNumberOrTag::Number(number)).await?;
        Ok(block.is_some_and(|block| block.header.hash == hash))
    }

    /// The block in which the account's `nonce` was used, and the hash of the transaction that did if
    /// it is one of the account. `head` is a block after which it is used.
    async fn user_of(&self, nonce: u64, head: u64) -> Result<(u64, Option<B256>), L1Error> {
        // From the head backwards in growing steps: nodes keep the states of recent blocks only.
        let (mut unused, mut used, mut step) = (0, head, 1);
        while used > 0 {
            let earlier = used.saturating_sub(step);
            if self.nonce_at(earlier).await? <= nonce {
                unused = earlier;
                break;
            }
            (used, step) = (earlier, step * 2);
        }
        while used > unused + 1 {
            let middle = unused + (used - unused) / 2;
            match self.nonce_at(middle).await? <= nonce {
                true => unused = middle,
                false => used = middle,
            }
        }
        let block = self.client.provider().get_block_by_number(used.into()).full().await;
        let block = block.map_err(L1Error::rpc("block with transactions"))?;
        let Some(block) = block else { return Err(L1Error::gone(used)) };
        let account = self.account();
        let whole = block.transactions.as_transactions();
        let all = whole.ok_or_else(|| L1Error::Decode {
            what: "block with transactions",
            reason: "it lists hashes only".to_owned(),
        })?;
        let mine = all.iter().find(|tx| tx.from() == account && (**tx).nonce() == nonce);
        Ok((used, mine.map(TransactionResponse::tx_hash)))
    }

    /// Takes the next step for a nonce that is not used.
    async fn push(
        &self,
        file: &mut IntentFile,
        nonce: u64,
        poll: &mut Poll,
    ) -> Result<(), L1Error> {
        let rivals = rivals(file, nonce);
        if let Some(active) = rivals.iter().find(|rival| rival.is_active()) {
            match self.verdict(file, active, poll).await? {
                Verdict::Deliver => return self.deliver(file, active.clone(), None, poll).await,
                Verdict::Widen(limit) => {
                    return self.deliver(file, active.clone(), Some(limit), poll).await;
                }
                Verdict::Wait => return Ok(()),
                Verdict::Drop(retired) => retire(file, active.clone(), retired, poll)?,
            }
        }
        self.vacate(file, nonce, poll).await
    }

    /// Whether to send an intent, again or still.
    async fn verdict(
        &self,
        file: &IntentFile,
        intent: &Intent,
        poll: &Poll,
    ) -> Result<Verdict, L1Error> {
        let is_newer = |other: &&Intent| {
            other.purpose == intent.purpose
                && other.seq > intent.seq
                && (other.is_active() || matches!(other.state, State::Included(_)))
        };
        if let Some(newer) = file.intents().iter().find(is_newer) {
            let reason = format!("`{}` came after it", newer.label());
            return Ok(Verdict::Drop(Retired::worthless(reason)));
        }
        if !intent.is_simulated {
            return Ok(Verdict::Deliver);
        }
        // Only the first in the queue can be simulated on the state that it will meet.
        if intent.nonce > poll.count {
            let wait = if poll.is_line_intact { Verdict::Deliver } else { Verdict::Wait };
            return Ok(wait);
        }
        match self.estimate(intent, poll.head).await {
            Ok(gas) if gas > intent.gas_limit && intent.gas_limit < GAS_LIMIT_MAX => {
                Ok(Verdict::Widen(with_margin(gas, intent.gas_spare)))
            }
            Ok(_) => Ok(Verdict::Deliver),
            // It may be included at this moment: development nodes respond for a block with the state
            // of the next one, which they are building.
            Err(L1Error::WouldRevert { .. })
                if self.nonce_at(BlockId::latest()).await? > intent.nonce =>
            {
                Ok(Verdict::Wait)
            }
            Err(L1Error::WouldRevert { reason, .. }) => {
                Ok(Verdict::Drop(Retired::worthless(format!("it would revert: {reason}"))))
            }
            Err(error) => Err(error),
        }
    }

    /// Sends the active intent of a nonce again, or with higher fees or another gas limit, if needed.
    async fn deliver(
        &self,
        file: &mut IntentFile,
        intent: Intent,
        gas_limit: Option<u64>,
        poll: &mut Poll,
    ) -> Result<(), L1Error> {
        let id = intent.label();
        let last = intent.forms.last().cloned();
        let is_known = match &last {
            Some(last) => self.is_known(last.tx_hash).await?,
            None => false,
        };
        if !is_known && waits_for_other_kind(file, &intent) {
            poll.is_line_intact = false;
            return Ok(());
        }
        // Only the next nonce in the queue can be delayed by its own price. A reorg may have taken L1
        // back below the block it was sent at.
        let is_slow = |sent_at: u64| {
            let waited = poll.head.number.saturating_sub(sent_at);
            intent.nonce == poll.count && waited >= self.config.bump_after_blocks
        };
        // A form with another limit is a replacement, which must offer more.
        let needs_higher_fees = gas_limit.is_some()
            || last.as_ref().is_none_or(|last| last.priced_out || is_slow(last.sent_at_block));
        if is_known && !needs_higher_fees {
            return Ok(());
        }
        match self.right(&intent) {
            Right::Held => {}
            // What is in a pool may be included; nothing is added.
            Right::Unknown => {
                poll.is_line_intact &= is_known;
                return Ok(());
            }
            Right::Gone => {
                retire(file, intent, Retired::without_right(), poll)?;
                poll.is_line_intact &= is_known;
                return Ok(());
            }
        }
        if let Err(reason) = file.sidecar(&intent) {
            // A form of it that is in a pool is complete.
            let retired = Retired { reason, fill: false };
            retire(file, intent, retired, poll)?;
            poll.is_line_intact &= is_known;
            return Ok(());
        }
        if needs_higher_fees {
            match self.fees_now(file, &intent).await {
                Ok(fees) => {
                    let gas_limit = gas_limit.unwrap_or(intent.gas_limit);
                    if last.is_some() {
                        let max_fee_wei = fees.max_fee_wei;
                        tracing::info!(purpose = id, max_fee_wei, gas_limit, "raising L1 fees");
                        poll.updates.push(TxUpdate::Bumped { id, fees });
                    }
                    let intent = Intent { gas_limit, ..intent };
                    let also = Vec::new();
                    return self.send_form(file, intent, fees, poll.head.number, also).await;
                }
                Err(
                    L1Error::FeeLimit { needed_wei, .. } | L1Error::BlobFeeLimit { needed_wei, .. },
                ) => {
                    poll.updates.push(TxUpdate::FeeLimited { id, needed_wei });
                }
                Err(error) => return Err(error),
            }
        }
        match last {
            Some(last) if !is_known => self.send_again(file, intent, &last).await,
            _ => Ok(()),
        }
    }

    /// Fills an unused nonce, if a transaction waits behind it or a pool may contain what was dropped.
    /// Otherwise it is left to the next request.
    async fn vacate(
        &self,
        file: &mut IntentFile,
        nonce: u64,
        poll: &mut Poll,
    ) -> Result<(), L1Error> {
        poll.is_line_intact = false;
        let (worthless, others): (Vec<Intent>, Vec<Intent>) = rivals(file, nonce)
            .into_iter()
            .partition(|rival| rival.retired.as_ref().is_some_and(|retired| retired.fill));
        let is_harmful = self.is_any_in_pool(file, &worthless).await?;
        let is_used = self.is_any_in_pool(file, &others).await?;
        let is_waited_for = file.intents().iter().any(|i| i.nonce > nonce && i.is_active());
        if !is_harmful && (is_used || !is_waited_for) {
            return Ok(());
        }
        let mut fill = Intent::fill(nonce, self.account());
        fill.blob = is_blob_ahead(file, nonce).then(BlobId::empty);
        let fees = self.fees_now(file, &fill).await?;
        tracing::info!(nonce, "filling the nonce of a dropped L1 transaction");
        self.send_form(file, fill, fees, poll.head.number, Vec::new()).await
    }

    /// Whether a pool contains a form of these, as far as the node knows; records that.
    pub(crate) async fn is_any_in_pool(
        &self,
        file: &mut IntentFile,
        rivals: &[Intent],
    ) -> Result<bool, L1Error> {
        let mut changed = Vec::new();
        let mut is_in_pool = false;
        for rival in rivals {
            let mut now = rival.clone();
            for form in now.forms.iter_mut().filter(|form| form.in_pool) {
                form.in_pool = self.is_known(form.tx_hash).await?;
                is_in_pool |= form.in_pool;
            }
            if now != *rival {
                changed.push(now);
            }
        }
        if !changed.is_empty() {
            file.put_all(changed)?;
        }
        Ok(is_in_pool)
    }

    pub(crate) async fn is_known(&self, tx_hash: B256) -> Result<bool, L1Error> {
        let known = self.client.provider().get_transaction_by_hash(tx_hash).await;
        Ok(known.map_err(L1Error::rpc("transaction"))?.is_some())
    }
}

/// The unsettled intents of a nonce, oldest first.
pub(crate) fn rivals(file: &IntentFile, nonce: u64) -> Vec<Intent> {
    let open = file.intents().iter().filter(|i| i.nonce == nonce && !i.state.is_settled());
    open.cloned().collect()
}

fn retire(
    file: &mut IntentFile,
    intent: Intent,
    retired: Retired,
    poll: &mut Poll,
) -> Result<(), L1Error> {
    let id = intent.label();
    tracing::warn!(purpose = id, reason = retired.reason, "transaction dropped");
    poll.updates.push(TxUpdate::Dropped { id, reason: retired.reason.clone() });
    file.put(Intent { retired: Some(retired), ..intent }).map(drop)
}

fn retire_expired(file: &mut IntentFile, poll: &mut Poll) -> Result<(), L1Error> {
    let is_expired =
        |i: &&Intent| i.is_active() && i.expires.is_some_and(|expiry| expiry.is_past(poll.head));
    let expired: Vec<Intent> = file.intents().iter().filter(is_expired).cloned().collect();
    for intent in expired {
        // One that is in a block by now is treated as such.
        if intent.nonce >= poll.count {
            retire(file, intent, Retired::worthless("it has expired".to_owned()), poll)?;
        }
    }
    Ok(())
}

/// Records that a reorg freed the nonce, if it was used.
fn note_unused(file: &mut IntentFile, rivals: Vec<Intent>, poll: &mut Poll) -> Result<(), L1Error> {
    let back: Vec<Intent> = rivals.into_iter().filter(|it| it.state != State::Pending).collect();
    if back.is_empty() {
        return Ok(());
    }
    for intent in &back {
        if matches!(intent.state, State::Included(_)) && !intent.is_fill() {
            let id = intent.label();
            tracing::warn!(purpose = id, "L1 block of a transaction replaced");
            poll.updates.push(TxUpdate::Reorged { id });
        }
    }
    let back = back.into_iter().map(|mut intent| {
        // Its price was not the reason why it left its block.
        if let Some(form) = intent.forms.last_mut() {
            form.sent_at_block = poll.head.number;
        }
        Intent { state: State::Pending, ..intent }
    });
    file.put_all(back.collect())?;
    retire_expired(file, poll)
}

fn note_inclusion(
    file: &mut IntentFile,
    rivals: Vec<Intent>,
    seq: u64,
    at: Inclusion,
    poll: &mut Poll,
) -> Result<(), L1Error> {
    let is_final = poll.finalized.is_some_and(|number| number >= at.block_number);
    let mut changed = Vec::new();
    for rival in rivals {
        let state = match (rival.seq == seq, is_final) {
            (true, true) => State::Final(at.clone()),
            (true, false) => State::Included(at.clone()),
            (false, true) => State::LostFinal,
            (false, false) => State::Lost { at_block: at.block_number },
        };
        if rival.state == state {
            continue;
        }
        let is_news = !matches!(&rival.state, State::Included(before) if *before == at);
        if rival.seq == seq && !rival.is_fill() {
            let receipt = receipt(&rival, &at, is_final);
            if is_news {
                poll.updates.push(TxUpdate::Included(receipt.clone()));
            }
            if is_final {
                poll.updates.push(TxUpdate::Final(receipt));
            }
        } else if rival.is_active() && !rival.is_fill() {
            poll.updates.push(TxUpdate::Lost { id: rival.label(), nonce: rival.nonce });
        }
        changed.push(Intent { state, ..rival });
    }
    if changed.is_empty() { Ok(()) } else { file.put_all(changed).map(drop) }
}

fn note_taken(
    file: &mut IntentFile,
    rivals: Vec<Intent>,
    at_block: u64,
    poll: &mut Poll,
) -> Result<(), L1Error> {
    let is_final = poll.finalized.is_some_and(|number| number >= at_block);
    let state = if is_final { State::LostFinal } else { State::Lost { at_block } };
    let changed: Vec<Intent> = rivals.into_iter().filter(|rival| rival.state != state).collect();
    for rival in changed.iter().filter(|rival| rival.is_active() && !rival.is_fill()) {
        let (id, nonce) = (rival.label(), rival.nonce);
        tracing::error!(purpose = id, nonce, "nonce used by another program");
        poll.updates.push(TxUpdate::Lost { id, nonce });
    }
    if changed.is_empty() {
        return Ok(());
    }
    let changed = changed.into_iter().map(|rival| Intent { state: state.clone(), ..rival });
    file.put_all(changed.collect()).map(drop)
}
