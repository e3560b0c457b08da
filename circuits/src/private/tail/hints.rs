//! What the prover of the tail picks: which entry a read means, which note a nullifier takes, and the order of entries.
//!
//! Hints for a state that no transaction has are any; the circuit rejects it.

use rollmill_algebra::Fr;
use rollmill_protocol::private::KernelState;
use rollmill_protocol::tx::SLOTS;

/// Choices by the index of the entry that they are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hints {
    /// For each read, the note hash or the nullifier of this transaction; `None` for a settled one.
    pub note_reads: Vec<Option<usize>>,
    pub nullifier_reads: Vec<Option<usize>>,
    /// For each nullifier, the note hash that it takes.
    pub named: Vec<Option<usize>>,
    /// For each log, the note hash that it is about.
    pub about: Vec<Option<usize>>,
    /// For each slot of the transaction, the entry that goes there.
    pub note_slots: [Option<usize>; SLOTS],
    pub nullifier_slots: [Option<usize>; SLOTS],
    pub log_slots: [Option<usize>; SLOTS],
    /// Indices in the list of all counters, in the order of the counters.
    pub order: Vec<usize>,
    /// Whether the second message comes first.
    pub swap_messages: bool,
}

/// The counters of all entries in the order in which the circuit lists them; 0 of an absent one.
pub fn counters<T: Copy>(state: &KernelState<T>) -> Vec<T> {
    let mut out = Vec::new();
    out.extend(state.note_reads.iter().map(|read| read.item.counter));
    out.extend(state.nullifier_reads.iter().map(|read| read.item.counter));
    out.extend(state.note_hashes.iter().map(|note| note.item.counter));
    out.extend(state.nullifiers.iter().map(|nullifier| nullifier.item.counter));
    out.extend(state.logs.iter().map(|log| log.item.counter));
    out.extend(state.messages.iter().map(|message| message.item.counter));
    out
}

/// Indices in the order of their counters.
fn in_order(counters: &[Fr]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..counters.len()).collect();
    order.sort_by_key(|i| counters[*i]);
    order
}

impl Hints {
    /// The honest choices.
    pub fn of(state: &KernelState<Fr>) -> Self {
        let zero = Fr::from(0u64);
        let (notes, nullifiers) = (&state.note_hashes, &state.nullifiers);
        let note_reads = state.note_reads.iter().map(|read| {
            notes.iter().position(|note| {
                let is_equal = note.contract == read.contract && note.item.value == read.item.value;
                read.item.value != zero && is_equal && note.item.counter < read.item.counter
            })
        });
        let nullifier_reads = state.nullifier_reads.iter().map(|read| {
            nullifiers.iter().position(|other| {
                let is_equal =
                    other.contract == read.contract && other.item.value == read.item.value;
                let stays = other.item.nullified == zero;
                let is_before = other.item.counter < read.item.counter;
                read.item.value != zero && is_equal && stays && is_before
            })
        });
        let named = named(state);
        let mut gone_notes = vec![false; notes.len()];
        for i in named.iter().flatten() {
            gone_notes[*i] = true;
        }
        let about: Vec<Option<usize>> = state
            .logs
            .iter()
            .map(|log| {
                let is_it = |i: &usize| {
                    let note = &notes[*i];
                    note.contract == log.contract && note.item.counter == log.item.note_counter
                };
                (0..notes.len()).find(is_it).filter(|_| log.item.note_counter != zero)
            })
            .collect();
        let note_counters = notes.map(|note| note.item.counter);
        let nullifier_counters = nullifiers.map(|nullifier| nullifier.item.counter);
        let log_counters = state.logs.map(|log| log.item.counter);
        let swap_messages = {
            let [first, second] = state.messages.map(|message| message.item.counter);
            second != zero && second < first
        };
        Self {
            note_reads: note_reads.collect(),
            nullifier_reads: nullifier_reads.collect(),
            note_slots: slots(&note_counters, |i| notes[i].item.value != zero && !gone_notes[i]),
            nullifier_slots: slots(&nullifier_counters, |j| {
                nullifiers[j].item.value != zero && named[j].is_none()
            }),
            log_slots: slots(&log_counters, |k| {
                let is_gone = about[k].is_some_and(|i| gone_notes[i]);
                state.logs[k].item.log_hash != zero && !is_gone
            }),
            order: in_order(&counters(state)),
            named,
            about,
            swap_messages,
        }
    }
}

/// For each nullifier that names a note hash, the first equal one before it on its side of the boundary that is not
/// taken.
fn named(state: &KernelState<Fr>) -> Vec<Option<usize>> {
    let zero = Fr::from(0u64);
    let (notes, nullifiers) = (&state.note_hashes, &state.nullifiers);
    let is_late = |counter: Fr| state.min_revertible != zero && counter >= state.min_revertible;
    let by_counter = in_order(&notes.map(|note| note.item.counter));
    let mut taken = vec![false; notes.len()];
    let mut named = vec![None; nullifiers.len()];
    for j in in_order(&nullifiers.map(|nullifier| nullifier.item.counter)) {
        let nullifier = &nullifiers[j];
        let fits = |i: &usize| {
            let note = &notes[*i];
            let [at, own] = [note.item.counter, nullifier.item.counter];
            let is_equal =
                note.contract == nullifier.contract && note.item.value == nullifier.item.nullified;
            is_equal && !taken[*i] && at < own && is_late(at) == is_late(own)
        };
        let found = by_counter.iter().copied().find(fits);
        let found = found.filter(|_| nullifier.item.nullified != zero);
        if let Some(i) = found {
            taken[i] = true;
        }
        named[j] = found;
    }
    named
}

/// The entries that stay, in the order of their counters, as far as there are slots.
fn slots(counters: &[Fr], stays: impl Fn(usize) -> bool) -> [Option<usize>; SLOTS] {
    let left: Vec<usize> = in_order(counters).into_iter().filter(|i| stays(*i)).collect();
    std::array::from_fn(|slot| left.get(slot).copied())
}
