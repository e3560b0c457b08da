//! Note hashes that disappear with the nullifiers that name them and with their logs.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::private::KernelState;

use super::hints::Hints;
use super::{Boundary, column, rows};
use crate::gadgets::uint::{assert_equal_if, not};
use crate::private::lists::{assert_below_if, one_of, picked};
use crate::weaken::gone;

/// A bit for each entry of the state: 1 where it stays.
pub(super) struct Kept {
    pub(super) note_hashes: Vec<Var>,
    pub(super) nullifiers: Vec<Var>,
    pub(super) logs: Vec<Var>,
}

/// Bits: 1 where the value is not zero.
fn present(b: &mut Builder, keys: &[Var]) -> Vec<Var> {
    let mut one = |key: &Var| {
        let absent = b.is_zero(*key);
        not(b, absent)
    };
    keys.iter().map(&mut one).collect()
}

/// Constrains which note hash each nullifier names, on its own side of the boundary. No two name one.
pub(super) fn constrain(
    b: &mut Builder,
    state: &KernelState<Var>,
    boundary: &Boundary,
    hints: &Hints,
) -> Kept {
    let one = Fr::from(1u64);
    let notes = rows(state.note_hashes);
    let [contracts, values, counters] = [0, 1, 2].map(|word| column(&notes, word));
    let mut side = |counter: &Var| boundary.is_after(b, *counter);
    let sides: Vec<Var> = counters.iter().map(&mut side).collect();
    let mut choices = Vec::with_capacity(state.nullifiers.len());
    let mut gone_nullifiers = Vec::with_capacity(state.nullifiers.len());
    for (j, nullifier) in state.nullifiers.iter().enumerate() {
        let unnamed = b.is_zero(nullifier.item.nullified);
        let names = not(b, unnamed);
        let chosen = hints.named.get(j).copied().flatten();
        let bits = one_of(b, notes.len(), chosen, names);
        let contract = picked(b, &bits, contracts.iter().copied());
        let value = picked(b, &bits, values.iter().copied());
        let counter = picked(b, &bits, counters.iter().copied());
        if !gone("circuits.private.named.contract") {
            assert_equal_if(b, names, contract, nullifier.contract);
        }
        if !gone("circuits.private.named.value") {
            assert_equal_if(b, names, value, nullifier.item.nullified);
        }
        if !gone("circuits.private.named.counter") {
            assert_below_if(b, names, counter, nullifier.item.counter);
        }
        // On two sides both would stay, and the leaf of a note that stays has another nullifier than its note hash.
        let note_side = picked(b, &bits, sides.iter().copied());
        let own_side = boundary.is_after(b, nullifier.item.counter);
        if !gone("circuits.private.named.side") {
            assert_equal_if(b, names, note_side, own_side);
        }
        gone_nullifiers.push(names);
        choices.push(bits);
    }
    let mut gone_notes = Vec::with_capacity(notes.len());
    for i in 0..notes.len() {
        let named: Vec<(Fr, Var)> = choices.iter().map(|bits| (one, bits[i])).collect();
        let count = b.linear(&named, Fr::from(0u64));
        if !gone("circuits.private.named.once") {
            b.assert_bool(count);
        }
        gone_notes.push(count);
    }
    let gone_logs = logs(b, state, &contracts, &counters, &gone_notes, hints);
    let nullifiers = rows(state.nullifiers);
    let log_hashes = column(&rows(state.logs), 2);
    Kept {
        note_hashes: kept(b, &values, &gone_notes),
        nullifiers: kept(b, &column(&nullifiers, 1), &gone_nullifiers),
        logs: kept(b, &log_hashes, &gone_logs),
    }
}

/// A log that names a note names one of its contract. Returns a bit for each log: 1 where its note is gone.
fn logs(
    b: &mut Builder,
    state: &KernelState<Var>,
    contracts: &[Var],
    counters: &[Var],
    gone_notes: &[Var],
    hints: &Hints,
) -> Vec<Var> {
    let mut gone_logs = Vec::with_capacity(state.logs.len());
    for (k, log) in state.logs.iter().enumerate() {
        let of_none = b.is_zero(log.item.note_counter);
        let names = not(b, of_none);
        let chosen = hints.about.get(k).copied().flatten();
        let bits = one_of(b, counters.len(), chosen, names);
        let contract = picked(b, &bits, contracts.iter().copied());
        let counter = picked(b, &bits, counters.iter().copied());
        if !gone("circuits.private.about.contract") {
            assert_equal_if(b, names, contract, log.contract);
        }
        if !gone("circuits.private.about.counter") {
            assert_equal_if(b, names, counter, log.item.note_counter);
        }
        gone_logs.push(picked(b, &bits, gone_notes.iter().copied()));
    }
    gone_logs
}

/// What is present and not gone. Only present entries are gone: a named note hash is not zero, and neither is the log
/// of a note; a nullifier that names a note is present as all its words were constrained with its value.
fn kept(b: &mut Builder, keys: &[Var], gone: &[Var]) -> Vec<Var> {
    let present = present(b, keys);
    present.into_iter().zip(gone).map(|(present, gone)| b.sub(present, *gone)).collect()
}
