//! Takes calls one by one.

use ark_ff::Zero;
use rollmill_algebra::Fr;

use super::COUNTER_BITS;
use super::call::{CallEntry, PrivateCall, TeardownEntry, TxRequest, gas_hash};
use super::contract::ContractFunction;
use super::entries::{
    Counted, Owned, OwnedKey, OwnedLog, OwnedMessage, OwnedNote, OwnedNullifier, OwnedRead, append,
    present, used,
};
use super::error::KernelError;
use super::state::KernelState;
use crate::config::SLOT_MAX;
use crate::field::{self, EthAddress};
use crate::tx::NO_EXPIRY;

/// Takes the first call, which is the one that the user asked for. `function` shows that the key of its proof
/// belongs to its contract.
///
/// # Errors
/// The first rule that the call breaks.
pub fn init(
    request: &TxRequest,
    call: &PrivateCall<Fr>,
    function: &ContractFunction,
) -> Result<KernelState<Fr>, KernelError> {
    let mut state = KernelState::empty();
    state.request_hash = request.hash();
    state.anchor_header_hash = call.anchor_header_hash;
    state.chain_id = request.chain_id.into();
    state.version = request.version.into();
    state.gas_hash = gas_hash(&request.gas);
    state.expiry_slot = Fr::from(NO_EXPIRY);
    let requested = CallEntry {
        contract: request.origin,
        selector: request.selector,
        // The protocol is the caller.
        sender: Fr::zero(),
        is_static: Fr::zero(),
        args_hash: request.args_hash,
        // Nobody is given what the first call returns, and nothing follows it.
        returns_hash: call.returns_hash,
        start: Fr::zero(),
        end: call.end,
    };
    take(&mut state, &requested, call, function)?;
    Ok(state)
}

/// Takes the first call, and then the one that waits on top of the stack: [`init`], then [`inner`]. Each call comes
/// with the function of its own contract.
///
/// # Errors
/// The first rule that a call breaks; [`KernelError::StackEmpty`] if the first one calls nothing.
pub fn init2(
    request: &TxRequest,
    [first, second]: [(&PrivateCall<Fr>, &ContractFunction); 2],
) -> Result<KernelState<Fr>, KernelError> {
    let state = init(request, first.0, first.1)?;
    inner(&state, second.0, second.1)
}

/// Takes the waiting call with the highest start counter, which is the last one on the stack: what it nests was
/// pushed after it, and nested calls start later than the calls beside which their caller stands.
///
/// # Errors
/// The first rule that the call breaks.
pub fn inner(
    state: &KernelState<Fr>,
    call: &PrivateCall<Fr>,
    function: &ContractFunction,
) -> Result<KernelState<Fr>, KernelError> {
    let mut state = state.clone();
    let requested = pop(&mut state)?;
    take(&mut state, &requested, call, function)?;
    Ok(state)
}

/// Takes the last call off the stack.
fn pop(state: &mut KernelState<Fr>) -> Result<CallEntry<Fr>, KernelError> {
    let waiting = used(&state.stack).len();
    let top = state.stack[..waiting].last_mut().ok_or(KernelError::StackEmpty)?;
    let absent = CallEntry::<Fr>::indices().map(|_| Fr::zero());
    Ok(std::mem::replace(top, absent))
}

fn require(holds: bool, otherwise: KernelError) -> Result<(), KernelError> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn bits(what: &'static str, value: &Fr, bits: u32) -> Result<(), KernelError> {
    let value = field::to_bits(what, value, bits);
    value.map(|_| ()).map_err(|_| KernelError::Range { what })
}

fn take(
    state: &mut KernelState<Fr>,
    requested: &CallEntry<Fr>,
    call: &PrivateCall<Fr>,
    function: &ContractFunction,
) -> Result<(), KernelError> {
    check_context(state, call)?;
    check_requested(requested, &call.entry())?;
    check_ranges(call)?;
    check_lists(call)?;
    check_nested(call)?;
    check_static(call)?;
    let address = function.address(&call.selector)?;
    require(address == call.contract, KernelError::NotOfContract)?;
    accumulate(state, call)
}

fn check_context(state: &KernelState<Fr>, call: &PrivateCall<Fr>) -> Result<(), KernelError> {
    require(call.anchor_header_hash == state.anchor_header_hash, KernelError::WrongAnchor)?;
    require(call.chain_id == state.chain_id, KernelError::WrongChain)?;
    require(call.version == state.version, KernelError::WrongVersion)?;
    require(call.gas_hash == state.gas_hash, KernelError::WrongGas)
}

fn check_requested(requested: &CallEntry<Fr>, call: &CallEntry<Fr>) -> Result<(), KernelError> {
    require(call.contract == requested.contract, KernelError::WrongContract)?;
    require(call.selector == requested.selector, KernelError::WrongSelector)?;
    require(call.sender == requested.sender, KernelError::WrongSender)?;
    require(call.is_static == requested.is_static, KernelError::WrongStatic)?;
    require(call.args_hash == requested.args_hash, KernelError::WrongArgs)?;
    require(call.returns_hash == requested.returns_hash, KernelError::WrongReturns)?;
    let counters = (call.start, call.end);
    require(counters == (requested.start, requested.end), KernelError::WrongCounters)
}

/// Words that stand alone.
fn check_ranges(call: &PrivateCall<Fr>) -> Result<(), KernelError> {
    bits("is_static", &call.is_static, 1)?;
    bits("is_fee_payer", &call.is_fee_payer, 1)?;
    bits("start", &call.start, COUNTER_BITS)?;
    bits("end", &call.end, COUNTER_BITS)?;
    bits("expiry_slot", &call.expiry_slot, SLOT_MAX.trailing_ones())?;
    require(call.start < call.end, KernelError::CounterOrder)?;
    let sets = !call.min_revertible.is_zero();
    require(!sets || within(call, &call.min_revertible), KernelError::RevertibleOutside)
}

/// True inside the call's open interval. Field elements compare as integers.
fn within(call: &PrivateCall<Fr>, counter: &Fr) -> bool {
    call.start < *counter && *counter < call.end
}

fn check_lists(call: &PrivateCall<Fr>) -> Result<(), KernelError> {
    counted("note reads", call, &call.note_reads)?;
    counted("nullifier reads", call, &call.nullifier_reads)?;
    counted("note hashes", call, &call.note_hashes)?;
    counted("nullifiers", call, &call.nullifiers)?;
    counted("logs", call, &call.logs)?;
    for log in &call.logs {
        bits("note_counter", &log.note_counter, COUNTER_BITS)?;
    }
    present("key requests", &call.keys)?;
    counted("messages", call, &call.messages)?;
    for message in &call.messages {
        let recipient = EthAddress::from_field("recipient", &message.recipient);
        require(recipient.is_ok(), KernelError::Range { what: "recipient" })?;
    }
    let public = call.public_calls.iter().flat_map(|public| public.to_vec());
    let TeardownEntry { contract, calldata_hash, sender, is_static } = call.teardown;
    let mut words = public.chain([contract, calldata_hash, sender, is_static]);
    require(words.all(|word| word.is_zero()), KernelError::PublicCalls)
}

fn counted<E: Counted>(
    what: &'static str,
    call: &PrivateCall<Fr>,
    list: &[E],
) -> Result<(), KernelError> {
    let inside = present(what, list)?.iter().all(|entry| within(call, &entry.counter()));
    require(inside, KernelError::CounterOutside { what })
}

/// Nested calls come from this contract, one after the other.
fn check_nested(call: &PrivateCall<Fr>) -> Result<(), KernelError> {
    let mut before = call.start;
    for (index, nested) in present("private calls", &call.calls)?.iter().enumerate() {
        require(nested.sender == call.contract, KernelError::ForgedSender { index })?;
        bits("is_static", &nested.is_static, 1)?;
        let inside = before < nested.start && nested.start < nested.end && nested.end < call.end;
        require(inside, KernelError::CallInterval { index })?;
        before = nested.end;
    }
    Ok(())
}

/// A static call has no effects, and neither has what it calls.
fn check_static(call: &PrivateCall<Fr>) -> Result<(), KernelError> {
    if call.is_static.is_zero() {
        return Ok(());
    }
    for (what, has) in [
        ("note hashes", !used(&call.note_hashes).is_empty()),
        ("nullifiers", !used(&call.nullifiers).is_empty()),
        ("logs", !used(&call.logs).is_empty()),
        ("messages", !used(&call.messages).is_empty()),
        ("a fee to pay", !call.is_fee_payer.is_zero()),
        ("a first revertible counter", !call.min_revertible.is_zero()),
    ] {
        require(!has, KernelError::StaticEffect { what })?;
    }
    for (index, nested) in used(&call.calls).iter().enumerate() {
        require(!nested.is_static.is_zero(), KernelError::StaticCall { index })?;
    }
    Ok(())
}

/// The present entries of a call with its contract.
fn owned<O: Owned>(contract: Fr, list: &[O::Item]) -> Vec<O> {
    used(list).iter().map(|item| O::new(contract, *item)).collect()
}

fn accumulate(state: &mut KernelState<Fr>, call: &PrivateCall<Fr>) -> Result<(), KernelError> {
    let of = call.contract;
    let reads = owned::<OwnedRead<Fr>>(of, &call.note_reads);
    append("note reads", &mut state.note_reads, reads)?;
    let reads = owned::<OwnedRead<Fr>>(of, &call.nullifier_reads);
    append("nullifier reads", &mut state.nullifier_reads, reads)?;
    let notes = owned::<OwnedNote<Fr>>(of, &call.note_hashes);
    append("note hashes", &mut state.note_hashes, notes)?;
    let nullifiers = owned::<OwnedNullifier<Fr>>(of, &call.nullifiers);
    append("nullifiers", &mut state.nullifiers, nullifiers)?;
    append("logs", &mut state.logs, owned::<OwnedLog<Fr>>(of, &call.logs))?;
    append("key requests", &mut state.keys, owned::<OwnedKey<Fr>>(of, &call.keys))?;
    append("messages", &mut state.messages, owned::<OwnedMessage<Fr>>(of, &call.messages))?;
    append("private calls", &mut state.stack, used(&call.calls).iter().copied())?;
    if !call.min_revertible.is_zero() {
        require(state.min_revertible.is_zero(), KernelError::RevertibleTwice)?;
        state.min_revertible = call.min_revertible;
    }
    if !call.is_fee_payer.is_zero() {
        require(state.fee_payer.is_zero(), KernelError::TwoFeePayers)?;
        (state.fee_payer, state.fee_payer_start) = (call.contract, call.start);
    }
    state.expiry_slot = state.expiry_slot.min(call.expiry_slot);
    Ok(())
}
