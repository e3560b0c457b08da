//! Lists of entries in a circuit: which are present, how new ones are appended, and how the last one is taken.
//!
//! Lists of a call come from outside, so their shape is constrained. Lists of the kernel's state were made by
//! [`append`] and [`pop`] alone, from empty ones, so their absent entries are zero and last by construction.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::layout::Cells;

use crate::gadgets::shape::assert_absent_last;
use crate::gadgets::uint::{assert_either_zero, not};
use crate::weaken::gone;

/// Entries as words, and a bit for each: 1 where it is present.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) entries: Vec<Vec<Var>>,
    pub(super) present: Vec<Var>,
}

/// The words of entries.
pub(super) fn words<E: Cells<Var>>(entries: impl IntoIterator<Item = E>) -> Vec<Vec<Var>> {
    let words = |entry: E| {
        let mut out = Vec::with_capacity(<E as Cells<Var>>::LEN);
        Cells::<Var>::put(entry, &mut out);
        out
    };
    entries.into_iter().map(words).collect()
}

/// The entries of these words.
///
/// # Panics
/// When the words are not those of `N` entries, a mistake of the calling code.
pub(super) fn entries<E: Cells<Var>, const N: usize>(words: Vec<Vec<Var>>) -> [E; N] {
    let entry = |words: Vec<Var>| {
        <E as Cells<Var>>::take(&mut words.into_iter()).expect("words of an entry")
    };
    let entries: Vec<E> = words.into_iter().map(entry).collect();
    entries.try_into().unwrap_or_else(|_| panic!("a list of another length"))
}

impl List {
    /// A list of a call, whose entries have their key at index `key`: absent entries are zero and come last.
    pub(super) fn constrained(b: &mut Builder, entries: Vec<Vec<Var>>, key: usize) -> Self {
        let keys: Vec<Var> = entries.iter().map(|entry| entry[key]).collect();
        let absent = assert_absent_last(b, &keys);
        for (entry, absent) in entries.iter().zip(&absent) {
            for (i, word) in entry.iter().enumerate() {
                if i != key && !gone("circuits.private.list.absent") {
                    assert_either_zero(b, *absent, *word);
                }
            }
        }
        let present = absent.into_iter().map(|absent| not(b, absent)).collect();
        Self { entries, present }
    }

    /// A list of the kernel's state.
    pub(super) fn of_state(b: &mut Builder, entries: Vec<Vec<Var>>, key: usize) -> Self {
        let mut one = |entry: &Vec<Var>| {
            let absent = b.is_zero(entry[key]);
            not(b, absent)
        };
        let present = entries.iter().map(&mut one).collect();
        Self { entries, present }
    }

    /// The same entries behind the contract of their call; absent ones stay zero.
    pub(super) fn owned(&self, b: &mut Builder, contract: Var) -> Self {
        let mut entries = Vec::with_capacity(self.entries.len());
        for (entry, present) in self.entries.iter().zip(&self.present) {
            let mut owned = vec![b.mul(*present, contract)];
            owned.extend(entry);
            entries.push(owned);
        }
        Self { entries, present: self.present.clone() }
    }
}

/// `e[k]` is 1 exactly if a list has `k` present entries, which come first.
fn lengths(b: &mut Builder, present: &[Var]) -> Vec<Var> {
    let n = present.len();
    (0..=n)
        .map(|k| match (k.checked_sub(1).map(|i| present[i]), present.get(k)) {
            (None, Some(first)) => not(b, *first),
            (Some(before), Some(after)) => b.sub(before, *after),
            (Some(last), None) => last,
            (None, None) => Builder::ZERO,
        })
        .collect()
}

/// Appends the present entries of `new` behind those of `list`. They must fit.
pub(super) fn append(b: &mut Builder, list: &List, new: &List) -> Vec<Vec<Var>> {
    let one = Fr::from(1u64);
    let n = list.entries.len();
    let used = list.present.iter().chain(&new.present).map(|bit| (-one, *bit));
    let free = b.linear(&used.collect::<Vec<_>>(), Fr::from(n as u64));
    // At most 16 + 8 entries: a negative number is close to r and has more bits.
    if !gone("circuits.private.list.room") {
        b.range(free, 6);
    }
    let length = lengths(b, &list.present);
    let mut out = Vec::with_capacity(n);
    for (i, entry) in list.entries.iter().enumerate() {
        let mut row = Vec::with_capacity(entry.len());
        for (w, word) in entry.iter().enumerate() {
            let mut sum = *word;
            // Entry j of `new` lands here if the list has i − j entries.
            for (j, added) in new.entries.iter().enumerate().take(i + 1) {
                sum = b.mul_add(length[i - j], added[w], one, Some(sum), Fr::from(0u64));
            }
            row.push(sum);
        }
        out.push(row);
    }
    out
}

/// Takes the last present entry, which must be there. Returns it and the rest.
pub(super) fn pop(b: &mut Builder, list: &List) -> (Vec<Var>, List) {
    let (zero, one) = (Fr::from(0u64), Fr::from(1u64));
    if !gone("circuits.private.list.pop") {
        b.assert_constant(list.present[0], one);
    }
    // top[k] is 1 at the last present entry.
    let next = |k: usize| list.present.get(k + 1).copied().unwrap_or(Builder::ZERO);
    let width = list.entries[0].len();
    let mut taken = vec![Vec::new(); width];
    let mut rest = Vec::with_capacity(list.entries.len());
    for (k, entry) in list.entries.iter().enumerate() {
        let top = b.sub(list.present[k], next(k));
        let mut left = Vec::with_capacity(width);
        for (word, taken) in entry.iter().zip(&mut taken) {
            let part = b.mul(top, *word);
            left.push(b.sub(*word, part));
            taken.push((one, part));
        }
        rest.push(left);
    }
    let taken = taken.iter().map(|parts| b.linear(parts, zero)).collect();
    let present = (0..list.entries.len()).map(next).collect();
    (taken, List { entries: rest, present })
}

/// Constrains `low < high` where `gate` is 1: `high − low − 1` is below 2^32. Where `gate` is 0, nothing. If one of the
/// two is below 2^32 and the other lies between two such numbers by this function, all are integers of that size.
pub(super) fn assert_below_if(b: &mut Builder, gate: Var, low: Var, high: Var) {
    let one = Fr::from(1u64);
    let gap = b.linear(&[(one, high), (-one, low)], -one);
    let gap = b.mul(gate, gap);
    if !gone("circuits.private.below") {
        b.range(gap, rollmill_protocol::private::COUNTER_BITS);
    }
}

/// The sum of the products of each bit with its word: the word that a choice of one of them picks.
pub(super) fn picked(b: &mut Builder, bits: &[Var], words: impl IntoIterator<Item = Var>) -> Var {
    let mut sum = Builder::ZERO;
    for (bit, word) in bits.iter().zip(words) {
        sum = b.mul_add(*bit, word, Fr::from(1u64), Some(sum), Fr::from(0u64));
    }
    sum
}

/// Bits of which one is 1 if `gate` is 1, and none if it is 0. `chosen` is what the prover picks.
pub(super) fn one_of(b: &mut Builder, n: usize, chosen: Option<usize>, gate: Var) -> Vec<Var> {
    let bits: Vec<Fr> = (0..n).map(|i| Fr::from(u64::from(chosen == Some(i)))).collect();
    one_of_given(b, &bits, gate)
}

/// [`one_of`] with bits that the prover chooses.
fn one_of_given(b: &mut Builder, bits: &[Fr], gate: Var) -> Vec<Var> {
    let mut one_bit = |bit: &Fr| {
        let bit = b.witness(*bit);
        if !gone("circuits.private.one_of.bit") {
            b.assert_bool(bit);
        }
        bit
    };
    let bits: Vec<Var> = bits.iter().map(&mut one_bit).collect();
    let terms: Vec<(Fr, Var)> = bits.iter().map(|bit| (Fr::from(1u64), *bit)).collect();
    if !gone("circuits.private.one_of.sum") {
        b.linear_into(&terms, Fr::from(0u64), gate);
    }
    bits
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;

    use super::*;

    fn list(b: &mut Builder, entries: &[[u64; 2]]) -> Vec<Vec<Var>> {
        entries.iter().map(|e| e.iter().map(|word| b.witness(Fr::from(*word))).collect()).collect()
    }

    fn holds(b: Builder) -> bool {
        let (layout, witness) = b.finish(None).expect("fits");
        check(&layout, &witness).is_ok()
    }

    /// Goal: every number of old and new entries that fits is appended in order; more are rejected.
    #[test]
    fn entries_are_appended_behind_those_that_are_there() {
        for (old, new) in (0..=4usize).flat_map(|old| (0..=3usize).map(move |new| (old, new))) {
            let entry =
                |i: usize, n: usize| if i < n { [10 + i as u64, 20 + i as u64] } else { [0; 2] };
            let olds: Vec<[u64; 2]> = (0..4).map(|i| entry(i, old)).collect();
            let news: Vec<[u64; 2]> = (0..3).map(|i| entry(i, new).map(|w| 100 * w)).collect();
            let mut b = Builder::new(0, 10);
            let (olds_vars, news_vars) = (list(&mut b, &olds), list(&mut b, &news));
            let before = List::of_state(&mut b, olds_vars, 0);
            let added = List::constrained(&mut b, news_vars, 0);
            let after = append(&mut b, &before, &added);
            let mut expected = [&olds[..old], &news[..new]].concat();
            let fits = expected.len() <= 4;
            expected.resize(4.max(expected.len()), [0; 2]);
            if fits {
                for (words, expected) in after.iter().zip(&expected) {
                    let got: Vec<Fr> = words.iter().map(|word| b.value(*word)).collect();
                    assert_eq!(got, expected.map(Fr::from), "{old} and {new}");
                }
            }
            assert_eq!(holds(b), fits, "{old} and {new}");
        }
    }

    #[test]
    fn the_last_entry_is_taken_and_an_empty_list_has_none() {
        for n in 0..=3usize {
            let entry = |i: usize| if i < n { [5 + i as u64, 6] } else { [0; 2] };
            let entries: Vec<[u64; 2]> = (0..3).map(entry).collect();
            let mut b = Builder::new(0, 10);
            let vars = list(&mut b, &entries);
            let before = List::of_state(&mut b, vars, 0);
            let (taken, rest) = pop(&mut b, &before);
            if let Some(last) = n.checked_sub(1) {
                let got: Vec<Fr> = taken.iter().map(|word| b.value(*word)).collect();
                assert_eq!(got, entries[last].map(Fr::from));
                assert_eq!(b.value(rest.entries[last][0]), Fr::from(0u64));
                let left: Vec<Fr> = rest.present.iter().map(|bit| b.value(*bit)).collect();
                let expected: Vec<Fr> = (0..3).map(|i| Fr::from(u64::from(i < last))).collect();
                assert_eq!(left, expected);
            }
            assert_eq!(holds(b), n > 0, "{n} entries");
        }
    }

    /// Attacks: an entry behind an absent one, and words in an absent one.
    #[test]
    fn lists_of_calls_have_no_gaps_and_no_words_in_absent_entries() {
        let accepted = |entries: [[u64; 2]; 3]| {
            let mut b = Builder::new(0, 10);
            let vars = list(&mut b, &entries);
            List::constrained(&mut b, vars, 0);
            holds(b)
        };
        assert!(accepted([[1, 2], [3, 0], [0, 0]]) && accepted([[0; 2]; 3]));
        assert!(!accepted([[1, 2], [0, 0], [3, 4]]) && !accepted([[1, 2], [0, 3], [0, 0]]));
    }

    /// Attacks: a choice of none, of one where there is none, of two, and numbers that only add up to one.
    #[test]
    fn one_of_is_one_where_its_gate_is_and_none_where_it_is_not() {
        let accepted = |bits: [i64; 3], gate: u64| {
            let mut b = Builder::new(0, 10);
            let gate = b.witness(Fr::from(gate));
            one_of_given(&mut b, &bits.map(Fr::from), gate);
            holds(b)
        };
        assert!(accepted([0, 1, 0], 1) && accepted([0, 0, 0], 0));
        assert!(!accepted([0, 0, 0], 1) && !accepted([0, 1, 0], 0) && !accepted([0, 1, 1], 1));
        assert!(!accepted([2, -1, 0], 1) && !accepted([1, -1, 0], 0));
        let chosen = |chosen: Option<usize>, gate: u64| {
            let mut b = Builder::new(0, 10);
            let gate = b.witness(Fr::from(gate));
            one_of(&mut b, 3, chosen, gate);
            holds(b)
        };
        assert!(chosen(Some(2), 1) && chosen(None, 0) && !chosen(Some(3), 1));
    }
}
