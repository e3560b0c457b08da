//! Which intents of the journal a request continues, replaces or waits for.

use crate::economics::WORD_RESET_GAS;
use crate::error::L1Error;
use crate::intent::{Inclusion, Intent, IntentFile, State, digest_of};
use crate::sender::{GAS_LIMIT_MAX, TxReceipt, TxRequest};

/// Whether the request is pending already. Its expiry, its fence and its spare gas may differ.
pub(crate) fn is_continued(file: &mut IntentFile, request: &TxRequest) -> Result<bool, L1Error> {
    let Some(newest) = file.newest(&request.purpose) else { return Ok(false) };
    let is_same = newest.attempt == request.attempt && newest.digest == digest_of(request);
    if !is_same || !newest.is_active() || newest.fence > request.fence {
        return Ok(false);
    }
    let (expires, fence, gas_spare) = (request.expires, request.fence, request.gas_spare);
    if (newest.expires, newest.fence, newest.gas_spare) != (expires, fence, gas_spare) {
        let moved = Intent { expires, fence, gas_spare, ..newest.clone() };
        file.put(moved)?;
    }
    Ok(true)
}

/// The nonces of this purpose that L1 has not settled.
pub(crate) fn open_nonces(file: &IntentFile, purpose: &str) -> Vec<u64> {
    let of_purpose = file.intents().iter().filter(|intent| intent.purpose == purpose);
    of_purpose.filter(|it| !it.state.is_settled()).map(|intent| intent.nonce).collect()
}

/// Whether this attempt is settled and is this request.
pub(crate) fn is_over(file: &IntentFile, request: &TxRequest) -> Result<bool, L1Error> {
    let known: Vec<&Intent> =
        file.intents().iter().filter(|intent| intent.purpose == request.purpose).collect();
    let conflict = || L1Error::IntentConflict { id: request.label() };
    if known.iter().any(|it| it.attempt > request.attempt || it.fence > request.fence) {
        return Err(conflict());
    }
    let digest = digest_of(request);
    let mut over = known.iter().filter(|it| it.attempt == request.attempt && it.is_over());
    match over.next() {
        None => Ok(false),
        Some(first) if first.digest == digest || over.any(|it| it.digest == digest) => Ok(true),
        Some(_) => Err(conflict()),
    }
}

/// The intents of this purpose that were dropped and whose nonces are not used.
pub(crate) fn dropped(file: &IntentFile, purpose: &str) -> Vec<Intent> {
    let of_purpose = file.intents().iter().filter(|intent| intent.purpose == purpose);
    let dropped = of_purpose.filter(|it| it.state == State::Pending && it.retired.is_some());
    dropped.cloned().collect()
}

/// The nonces that a request of this purpose may use, best first, and the one behind all others, when
/// the account's next one on L1 is `count`.
///
/// A dropped form that a pool may contain can still be included, beside a request under another nonce. So its nonce
/// comes first, however many earlier ones are free.
pub(crate) fn candidates(file: &IntentFile, purpose: &str, count: u64) -> (Vec<u64>, u64) {
    let open = file.intents().iter().filter(|intent| !intent.state.is_settled());
    let next = open.map(|intent| intent.nonce + 1).max().unwrap_or(0).max(count);
    let is_replaced = |it: &&Intent| it.purpose == purpose && it.is_active();
    if let Some(replaced) = file.intents().iter().find(is_replaced) {
        return (vec![replaced.nonce], next);
    }
    let is_pooled = |it: &Intent| it.nonce >= count && it.forms.iter().any(|form| form.in_pool);
    let pooled = dropped(file, purpose).into_iter().filter(is_pooled).map(|it| it.nonce);
    (pooled.chain(count..next).collect(), next)
}

/// Whether another request may take the intent's nonce. A tick first checks what L1 dropped from a
/// block.
pub(crate) fn is_replaceable(intent: &Intent, purpose: &str) -> bool {
    let is_needed = intent.is_active() && !intent.is_fill() && intent.purpose != purpose;
    intent.state == State::Pending && !is_needed
}

/// Whether the intent may be included and should not be prevented from it.
pub(crate) fn is_left_alone(intent: &Intent, purpose: &str) -> bool {
    let is_needed = intent.retired.as_ref().is_some_and(|retired| !retired.fill);
    is_needed && intent.purpose != purpose && intent.forms.iter().any(|form| form.in_pool)
}

/// Whether a pool may contain a blob transaction of this nonce or a later one. Then only a blob transaction can take the
/// nonce: pools accept no other of the account.
pub(crate) fn is_blob_ahead(file: &IntentFile, nonce: u64) -> bool {
    let mut open = file.intents().iter().filter(|it| !it.state.is_settled() && it.nonce >= nonce);
    open.any(Intent::has_blob_in_pool)
}

/// Whether an earlier transaction of the other kind, with a blob or without, may be in a pool or is yet to be sent. Pools
/// accept one kind of an account at a time; one that got in before its turn would keep the earlier one out.
pub(crate) fn waits_for_other_kind(file: &IntentFile, intent: &Intent) -> bool {
    let is_before = |other: &&Intent| {
        let may_be_pooled = other.is_active() || other.forms.iter().any(|form| form.in_pool);
        other.nonce < intent.nonce && other.state == State::Pending && may_be_pooled
    };
    let mut before = file.intents().iter().filter(is_before);
    before.any(|other| other.blob.is_some() != intent.blob.is_some())
}

/// The limit of a call that was simulated with this gas and may need `spare` more: a fifth is added, at least
/// [`WORD_RESET_GAS`].
pub(crate) fn with_margin(gas: u64, spare: u64) -> u64 {
    let margin = (gas / 5).max(WORD_RESET_GAS).saturating_add(spare);
    gas.saturating_add(margin).min(GAS_LIMIT_MAX)
}

pub(crate) fn receipt(intent: &Intent, at: &Inclusion, is_final: bool) -> TxReceipt {
    TxReceipt {
        id: intent.label(),
        nonce: intent.nonce,
        tx_hash: at.tx_hash,
        block_number: at.block_number,
        block_hash: at.block_hash,
        succeeded: at.succeeded,
        gas_used: at.gas_used,
        effective_gas_price_wei: at.effective_gas_price_wei,
        contract_address: at.contract_address,
        attempts: intent.forms.len(),
        is_final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_is_a_fifth_or_a_word_with_what_is_asked_for_and_ends_at_the_cap() {
        assert_eq!(with_margin(1_000_000, 0), 1_200_000);
        assert_eq!(with_margin(1_000_000, 7), 1_200_007);
        assert_eq!(with_margin(21_000, 0), 21_000 + WORD_RESET_GAS);
        for (gas, spare) in [(GAS_LIMIT_MAX, 0), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            assert_eq!(with_margin(gas, spare), GAS_LIMIT_MAX);
        }
    }
}
