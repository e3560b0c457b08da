//! The rules of one call inside a circuit; the twins of those in `rollmill_protocol::private`.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::domain;
use rollmill_protocol::private::{COUNTER_BITS, PrivateCall};

use super::lists::{List, assert_below_if, words};
use crate::gadgets::effects::assert_all_zero;
use crate::gadgets::uint::{
    SLOT_BITS, assert_below, assert_either_zero, assert_equal_if, not, range_bits,
};
use crate::weaken::gone;

/// The lists of a call, whose shape is constrained.
#[derive(Debug, Clone)]
pub(super) struct CallLists {
    pub(super) note_reads: List,
    pub(super) nullifier_reads: List,
    pub(super) note_hashes: List,
    pub(super) nullifiers: List,
    pub(super) logs: List,
    pub(super) keys: List,
    pub(super) messages: List,
    pub(super) calls: List,
}

/// Indices of words within entries.
const COUNTER_OF_TWO: usize = 1;
const COUNTER_OF_THREE: usize = 2;
const LOG_KEY: usize = 1;
const LOG_NOTE: usize = 2;
const LOG_COUNTER: usize = 3;
const NESTED_SENDER: usize = 2;
const NESTED_STATIC: usize = 3;
const NESTED_START: usize = 6;
const NESTED_END: usize = 7;

/// Bits of an L1 address.
const ADDRESS_BITS: u32 = rollmill_protocol::EthAddress::BITS;

/// `hash(CALL, fields)`.
pub(super) fn digest(b: &mut Builder, call: &PrivateCall<Var>) -> Var {
    b.hash(domain::CALL, &call.to_vec())
}

/// Constrains everything that a call says by itself.
pub(super) fn constrain(b: &mut Builder, call: &PrivateCall<Var>) -> CallLists {
    single_words(b, call);
    let lists = CallLists {
        note_reads: List::constrained(b, words(call.note_reads), 0),
        nullifier_reads: List::constrained(b, words(call.nullifier_reads), 0),
        note_hashes: List::constrained(b, words(call.note_hashes), 0),
        nullifiers: List::constrained(b, words(call.nullifiers), 0),
        logs: List::constrained(b, words(call.logs), LOG_KEY),
        keys: List::constrained(b, words(call.keys), 0),
        messages: List::constrained(b, words(call.messages), 0),
        calls: List::constrained(b, words(call.calls), 0),
    };
    for (list, counter) in [
        (&lists.note_reads, COUNTER_OF_TWO),
        (&lists.nullifier_reads, COUNTER_OF_TWO),
        (&lists.note_hashes, COUNTER_OF_TWO),
        (&lists.nullifiers, COUNTER_OF_THREE),
        (&lists.logs, LOG_COUNTER),
        (&lists.messages, COUNTER_OF_THREE),
    ] {
        for (entry, present) in list.entries.iter().zip(&list.present) {
            if !gone("circuits.private.counter.low") {
                assert_below_if(b, *present, call.start, entry[counter]);
            }
            if !gone("circuits.private.counter.high") {
                assert_below_if(b, *present, entry[counter], call.end);
            }
        }
    }
    for log in &lists.logs.entries {
        if !gone("circuits.private.call.note_counter") {
            b.range(log[LOG_NOTE], COUNTER_BITS);
        }
    }
    for message in &lists.messages.entries {
        if !gone("circuits.private.call.recipient") {
            range_bits(b, message[0], ADDRESS_BITS);
        }
    }
    if !gone("circuits.private.call.public_calls") {
        assert_all_zero(b, &words(call.public_calls).concat());
    }
    if !gone("circuits.private.call.teardown") {
        assert_all_zero(b, &call.teardown.to_vec());
    }
    nested(b, call, &lists.calls);
    no_effects_if_static(b, call, &lists);
    lists
}

/// Words that stand alone. Counters have their range before they are compared.
fn single_words(b: &mut Builder, call: &PrivateCall<Var>) {
    if !gone("circuits.private.call.is_static") {
        b.assert_bool(call.is_static);
    }
    if !gone("circuits.private.call.is_fee_payer") {
        b.assert_bool(call.is_fee_payer);
    }
    if !gone("circuits.private.call.start") {
        b.range(call.start, COUNTER_BITS);
    }
    if !gone("circuits.private.call.end") {
        b.range(call.end, COUNTER_BITS);
    }
    if !gone("circuits.private.call.expiry_slot") {
        range_bits(b, call.expiry_slot, SLOT_BITS);
    }
    if !gone("circuits.private.call.order") {
        assert_below(b, call.start, call.end, COUNTER_BITS);
    }
    let unset = b.is_zero(call.min_revertible);
    let sets = not(b, unset);
    if !gone("circuits.private.revertible.low") {
        assert_below_if(b, sets, call.start, call.min_revertible);
    }
    if !gone("circuits.private.revertible.high") {
        assert_below_if(b, sets, call.min_revertible, call.end);
    }
}

/// Nested calls come from this contract, one after the other inside this call.
fn nested(b: &mut Builder, call: &PrivateCall<Var>, calls: &List) {
    let mut before = call.start;
    for (entry, present) in calls.entries.iter().zip(&calls.present) {
        let (start, end) = (entry[NESTED_START], entry[NESTED_END]);
        if !gone("circuits.private.nested.sender") {
            assert_equal_if(b, *present, entry[NESTED_SENDER], call.contract);
        }
        if !gone("circuits.private.nested.is_static") {
            b.assert_bool(entry[NESTED_STATIC]);
        }
        if !gone("circuits.private.nested.after") {
            assert_below_if(b, *present, before, start);
        }
        if !gone("circuits.private.nested.order") {
            assert_below_if(b, *present, start, end);
        }
        if !gone("circuits.private.nested.inside") {
            assert_below_if(b, *present, end, call.end);
        }
        before = b.select(*present, end, before);
    }
}

/// A static call has no effects, and makes only static calls. Lists are filled from the front, so the first entry says
/// whether there is one.
fn no_effects_if_static(b: &mut Builder, call: &PrivateCall<Var>, lists: &CallLists) {
    let effects = [&lists.note_hashes, &lists.nullifiers, &lists.logs, &lists.messages];
    for list in effects {
        if !gone("circuits.private.static.effects") {
            assert_either_zero(b, call.is_static, list.present[0]);
        }
    }
    if !gone("circuits.private.static.payer") {
        assert_either_zero(b, call.is_static, call.is_fee_payer);
    }
    if !gone("circuits.private.static.revertible") {
        assert_either_zero(b, call.is_static, call.min_revertible);
    }
    let one = b.constant(Fr::from(1u64));
    for (entry, present) in lists.calls.entries.iter().zip(&lists.calls.present) {
        let must = b.mul(call.is_static, *present);
        if !gone("circuits.private.static.calls") {
            assert_equal_if(b, must, entry[NESTED_STATIC], one);
        }
    }
}
