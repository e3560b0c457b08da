//! Reads: what a call read is an earlier entry of the same transaction and contract, or settled in a tree of the
//! anchor.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::domain;
use rollmill_protocol::private::{KernelState, TailWitness};
use rollmill_protocol::tree::{IndexedLeaf, Tree};

use super::hints::Hints;
use super::{column, rows};
use crate::gadgets::merkle::{place, root, siblings};
use crate::gadgets::uint::{assert_equal_if, not};
use crate::private::lists::{assert_below_if, one_of, picked};
use crate::weaken::gone;

const NOTES: usize = Tree::Notes.height();
const NULLIFIERS: usize = Tree::Nullifiers.height();

/// A read's words: contract, value and counter.
struct Read {
    contract: Var,
    value: Var,
    counter: Var,
}

impl Read {
    /// Constrains the read to be of the entry that the prover picks, or to be settled. Returns a bit that is 1 where it
    /// is settled, and a bit for each entry, of which one is 1 where it is not.
    fn pending(
        &self,
        b: &mut Builder,
        entries: &[Vec<Var>],
        counter: usize,
        chosen: Option<usize>,
    ) -> (Var, Vec<Var>) {
        let absent = b.is_zero(self.value);
        let present = not(b, absent);
        let is_pending = b.witness(Fr::from(u64::from(chosen.is_some())));
        let is_settled = b.sub(present, is_pending);
        // Then the other is a bit as well: 0 or 1 of a present read; of an absent one 0 or −1, which no bits add up to.
        if !gone("circuits.private.read.settled") {
            b.assert_bool(is_settled);
        }
        let bits = one_of(b, entries.len(), chosen, is_pending);
        let [contract, value, then] =
            [0, 1, counter].map(|word| picked(b, &bits, column(entries, word)));
        if !gone("circuits.private.read.contract") {
            assert_equal_if(b, is_pending, contract, self.contract);
        }
        if !gone("circuits.private.read.value") {
            assert_equal_if(b, is_pending, value, self.value);
        }
        if !gone("circuits.private.read.counter") {
            assert_below_if(b, is_pending, then, self.counter);
        }
        (is_settled, bits)
    }
}

/// Constrains a leaf to be under `expected` where `gate` is 1.
fn assert_member_if(
    b: &mut Builder,
    gate: Var,
    expected: Var,
    leaf: Var,
    (index, path): (u64, &[Fr]),
    levels: usize,
) {
    let index = b.witness(index.into());
    let at = place(b, index, levels);
    let path = siblings(b, path, levels);
    let computed = root(b, leaf, &at, &path);
    assert_equal_if(b, gate, computed, expected);
}

/// Note hashes that were read. A settled one is read as the leaf of the tree.
pub(super) fn notes(
    b: &mut Builder,
    state: &KernelState<Var>,
    note_root: Var,
    w: &TailWitness,
    hints: &Hints,
) {
    let entries = rows(state.note_hashes);
    for (i, read) in state.note_reads.iter().enumerate() {
        let (contract, value, counter) = (read.contract, read.item.value, read.item.counter);
        let chosen = hints.note_reads.get(i).copied().flatten();
        let (is_settled, _) = Read { contract, value, counter }.pending(b, &entries, 2, chosen);
        let at = w.note_paths.get(i).and_then(Option::as_ref);
        // A path that proves nothing need not lead anywhere.
        let at = at.filter(|_| b.value(is_settled) == Fr::from(1u64));
        let at = at.map_or((0, [].as_slice()), |at| (at.index, at.path.as_slice()));
        if !gone("circuits.private.read.note") {
            assert_member_if(b, is_settled, note_root, value, at, NOTES);
        }
    }
}

/// Nullifiers that were read. A settled one is in the tree with its contract.
pub(super) fn nullifiers(
    b: &mut Builder,
    state: &KernelState<Var>,
    nullifier_root: Var,
    w: &TailWitness,
    hints: &Hints,
) {
    let entries = rows(state.nullifiers);
    for (i, read) in state.nullifier_reads.iter().enumerate() {
        let (contract, value, counter) = (read.contract, read.item.value, read.item.counter);
        let chosen = hints.nullifier_reads.get(i).copied().flatten();
        let (is_settled, bits) = Read { contract, value, counter }.pending(b, &entries, 3, chosen);
        // A nullifier that names a note hash disappears with it.
        let names = picked(b, &bits, column(&entries, 2));
        if !gone("circuits.private.read.stays") {
            b.assert_constant(names, Fr::from(0u64));
        }
        let key = b.hash(domain::SILO_NULLIFIER, &[contract, value]);
        let at = w.nullifier_paths.get(i).and_then(Option::as_ref);
        let at = at.filter(|_| b.value(is_settled) == Fr::from(1u64));
        let leaf = at.map_or_else(IndexedLeaf::default, |at| at.leaf);
        let (next_key, next_index) = (b.witness(leaf.next_key), b.witness(leaf.next_index.into()));
        let leaf = b.hash(domain::NULLIFIER_LEAF, &[key, next_key, next_index]);
        let at = at.map_or((0, [].as_slice()), |at| (at.index, at.path.as_slice()));
        if !gone("circuits.private.read.nullifier") {
            assert_member_if(b, is_settled, nullifier_root, leaf, at, NULLIFIERS);
        }
    }
}
