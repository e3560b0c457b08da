//! Taking a call inside a circuit; the twin of `rollmill_protocol::private::{init, init2, inner}`.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::domain;
use rollmill_protocol::private::{CallEntry, KernelState, PrivateCall, TxRequest, gas_hash};
use rollmill_protocol::tx::NO_EXPIRY;

use super::call;
use super::lists::{List, append, entries, pop, words};
use crate::gadgets::uint::{SLOT_BITS, assert_either_zero, is_negative};
use crate::weaken::gone;

/// `hash(KERNEL_STATE, fields)`.
pub(super) fn digest(b: &mut Builder, state: &KernelState<Var>) -> Var {
    b.hash(domain::KERNEL_STATE, &state.to_vec())
}

/// The state after the first call, which must be the requested one.
pub fn init(b: &mut Builder, request: &TxRequest, call: &PrivateCall<Var>) -> KernelState<Var> {
    let mut word = |word: Fr| b.witness(word);
    let (origin, selector) = (word(request.origin), word(request.selector));
    let args_hash = word(request.args_hash);
    let (chain_id, version) = (word(request.chain_id.into()), word(request.version.into()));
    let (gas_hash, salt) = (word(gas_hash(&request.gas)), word(request.salt));
    let words = [origin, selector, args_hash, chain_id, version, gas_hash, salt];
    let mut state = KernelState::<Var>::indices().map(|_| Builder::ZERO);
    state.request_hash = b.hash(domain::TX_REQUEST, &words);
    state.anchor_header_hash = call.anchor_header_hash;
    (state.chain_id, state.version, state.gas_hash) = (chain_id, version, gas_hash);
    state.expiry_slot = b.constant_u64(NO_EXPIRY);
    let requested = CallEntry {
        contract: origin,
        selector,
        sender: Builder::ZERO,
        is_static: Builder::ZERO,
        args_hash,
        // Nobody is given what the first call returns, and nothing follows it.
        returns_hash: call.returns_hash,
        start: Builder::ZERO,
        end: call.end,
    };
    let waiting = List {
        entries: super::lists::words(state.stack),
        present: vec![Builder::ZERO; state.stack.len()],
    };
    take(b, state, &waiting, &requested, call)
}

/// The state after the first call and the waiting one with the highest start counter.
pub fn init2(
    b: &mut Builder,
    request: &TxRequest,
    [first, second]: [&PrivateCall<Var>; 2],
) -> KernelState<Var> {
    let state = init(b, request, first);
    inner(b, &state, second)
}

/// The state after the waiting call with the highest start counter.
pub fn inner(
    b: &mut Builder,
    state: &KernelState<Var>,
    call: &PrivateCall<Var>,
) -> KernelState<Var> {
    let stack = List::of_state(b, words(state.stack), 0);
    let (top, waiting) = pop(b, &stack);
    let [requested] = entries::<CallEntry<Var>, 1>(vec![top]);
    take(b, state.clone(), &waiting, &requested, call)
}

fn take(
    b: &mut Builder,
    state: KernelState<Var>,
    waiting: &List,
    requested: &CallEntry<Var>,
    call: &PrivateCall<Var>,
) -> KernelState<Var> {
    b.section("call against its request");
    for (name, got, expected) in [
        ("circuits.private.request.anchor", call.anchor_header_hash, state.anchor_header_hash),
        ("circuits.private.request.chain_id", call.chain_id, state.chain_id),
        ("circuits.private.request.version", call.version, state.version),
        ("circuits.private.request.gas", call.gas_hash, state.gas_hash),
        ("circuits.private.request.contract", call.contract, requested.contract),
        ("circuits.private.request.selector", call.selector, requested.selector),
        ("circuits.private.request.sender", call.sender, requested.sender),
        ("circuits.private.request.is_static", call.is_static, requested.is_static),
        ("circuits.private.request.args_hash", call.args_hash, requested.args_hash),
        ("circuits.private.request.returns_hash", call.returns_hash, requested.returns_hash),
        ("circuits.private.request.start", call.start, requested.start),
        ("circuits.private.request.end", call.end, requested.end),
    ] {
        if !gone(name) {
            b.assert_equal(got, expected);
        }
    }
    b.section("call");
    let lists = call::constrain(b, call);
    b.section("accumulation");
    accumulate(b, state, waiting, &lists, call)
}

/// Where the key of each list of the state is, its contract counted.
const OWNED: usize = 1;
const OWNED_LOG: usize = 2;

fn accumulate(
    b: &mut Builder,
    state: KernelState<Var>,
    waiting: &List,
    lists: &call::CallLists,
    call: &PrivateCall<Var>,
) -> KernelState<Var> {
    let one = Fr::from(1u64);
    let mut add = |list: Vec<Vec<Var>>, new: &List, key: usize| {
        let list = List::of_state(b, list, key);
        let new = new.owned(b, call.contract);
        append(b, &list, &new)
    };
    let note_reads = add(words(state.note_reads), &lists.note_reads, OWNED);
    let nullifier_reads = add(words(state.nullifier_reads), &lists.nullifier_reads, OWNED);
    let note_hashes = add(words(state.note_hashes), &lists.note_hashes, OWNED);
    let nullifiers = add(words(state.nullifiers), &lists.nullifiers, OWNED);
    let logs = add(words(state.logs), &lists.logs, OWNED_LOG);
    let keys = add(words(state.keys), &lists.keys, OWNED);
    let messages = add(words(state.messages), &lists.messages, OWNED);
    let stack = append(b, waiting, &lists.calls);
    // At most one of the two is set.
    if !gone("circuits.private.revertible.once") {
        assert_either_zero(b, call.min_revertible, state.min_revertible);
    }
    if !gone("circuits.private.payer.once") {
        assert_either_zero(b, call.is_fee_payer, state.fee_payer);
    }
    let later = b.linear(&[(one, call.expiry_slot), (-one, state.expiry_slot)], Fr::from(0u64));
    let is_sooner = is_negative(b, later, SLOT_BITS);
    KernelState {
        min_revertible: b.add(call.min_revertible, state.min_revertible),
        fee_payer: b.select(call.is_fee_payer, call.contract, state.fee_payer),
        fee_payer_start: b.select(call.is_fee_payer, call.start, state.fee_payer_start),
        expiry_slot: b.select(is_sooner, call.expiry_slot, state.expiry_slot),
        note_reads: entries(note_reads),
        nullifier_reads: entries(nullifier_reads),
        note_hashes: entries(note_hashes),
        nullifiers: entries(nullifiers),
        logs: entries(logs),
        keys: entries(keys),
        messages: entries(messages),
        stack: entries(stack),
        ..state
    }
}
