//! Gadgets: what they accept, what they reject, and that they equal their plain twins.

use ark_ff::PrimeField;
use rollmill_algebra::Fr;
use rollmill_circuits::gadgets::indexed::{EntryWitness, OpenEntry, insert_nullifier};
use rollmill_circuits::gadgets::merkle::{TreeVars, append, assert_member};
use rollmill_circuits::gadgets::uint::{
    Halves, assert_at_most, assert_below, assert_halves_below, canonical_halves, divide,
    range_bits, to_bits,
};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::{Violation, check};
use rollmill_plonk::gates::power_of_two;
use rollmill_protocol::tree::{
    IndexedInsertion, IndexedLeaf, IndexedTree, MemoryStore, NOTE_HEIGHT, NULLIFIER_HEIGHT,
    StateRead, Tree, append as native, empty_root, indexed, node_hash,
};

use crate::common::{outcome, small, value};

fn accepts(cell_bits: u32, lay_out: impl Fn(&mut Builder)) -> bool {
    let mut b = Builder::new(0, cell_bits);
    lay_out(&mut b);
    outcome(b).is_ok()
}

fn u(value: u64) -> Fr {
    Fr::from(value)
}

#[test]
fn ranges_hold_for_every_width_of_limb_cells() {
    for cell_bits in [6, 10, 12] {
        let ok = |v: Fr, bits: u32| {
            accepts(cell_bits, |b| {
                let var = b.witness(v);
                range_bits(b, var, bits);
            })
        };
        for bits in [1, 7, 24, 40, 48, 63, 64, 65, 128, 160, 248] {
            let limit = power_of_two(bits);
            assert!(ok(limit - u(1), bits), "{cell_bits} {bits}");
            assert!(ok(u(0), bits));
            assert!(!ok(limit, bits), "{cell_bits} {bits}");
            assert!(!ok(-u(1), bits), "{cell_bits} {bits}");
        }
    }
}

#[test]
fn order_of_integers_is_strict_where_it_says_so() {
    let below = |a: u64, c: u64| {
        accepts(10, |b| {
            let (a, c) = (b.witness(u(a)), b.witness(u(c)));
            assert_below(b, a, c, 64);
        })
    };
    let at_most = |a: u64, c: u64| {
        accepts(10, |b| {
            let (a, c) = (b.witness(u(a)), b.witness(u(c)));
            assert_at_most(b, a, c, 64);
        })
    };
    assert!(below(3, 4) && !below(4, 4) && !below(5, 4) && below(0, u64::MAX));
    assert!(at_most(3, 4) && at_most(4, 4) && !at_most(5, 4) && !at_most(u64::MAX, 0));
}

/// Each equation of the test for zero alone: 7 passes as zero by the first, 0 as another number by the second.
#[test]
fn a_false_answer_of_the_test_for_zero_is_rejected() {
    let accepted = |[a, inverse, answer]: [u64; 3]| {
        accepts(10, |b| {
            let a = b.witness(u(a));
            b.is_zero_given(a, u(inverse), u(answer));
        })
    };
    assert!(accepted([0, 0, 1]) && accepted([0, 5, 1]) && accepted([1, 1, 0]));
    for case in [[7, 0, 1], [1, 0, 1], [0, 0, 0], [0, 5, 0], [1, 1, 1]] {
        assert!(!accepted(case), "{case:?}");
    }
}

/// Goal: field elements are ordered by their canonical integers, also across the halves.
#[test]
fn order_of_field_elements_is_that_of_canonical_integers() {
    let top = -u(1);
    let split = power_of_two(128);
    let samples =
        [u(0), u(1), split - u(1), split, split + u(1), top - split, top - u(1), top, value(1, 1)];
    for a in samples {
        for c in samples {
            let ok = accepts(10, |b| {
                let (a, c) = (b.witness(a), b.witness(c));
                let (a, c) = (canonical_halves(b, a), canonical_halves(b, c));
                assert_halves_below(b, a, c);
            });
            assert_eq!(ok, a.into_bigint() < c.into_bigint(), "{a} {c}");
        }
    }
}

/// Goal: an element has no second pair of halves. Method: those of `5 + r`, which fit 256 bits and do
/// recompose to 5, through the comparison that `canonical_halves` ends with.
#[test]
fn halves_of_a_number_above_the_modulus_are_rejected() {
    let modulus = Fr::MODULUS.0;
    let part = |low: u64, high: u64| Fr::from(u128::from(low) | u128::from(high) << 64);
    let limits = (part(modulus[0], modulus[1]), part(modulus[2], modulus[3]));
    for (lo, hi, good) in [(u(5), u(0), true), (limits.0 + u(5), limits.1, false)] {
        let mut b = small(0);
        let halves = Halves { lo: b.witness(lo), hi: b.witness(hi) };
        let five = b.witness(u(5));
        b.linear_into(&[(u(1), halves.lo), (power_of_two(128), halves.hi)], u(0), five);
        range_bits(&mut b, halves.lo, 128);
        range_bits(&mut b, halves.hi, 128);
        let limit = Halves { lo: b.constant(limits.0), hi: b.constant(limits.1) };
        let before = b.rows();
        assert_halves_below(&mut b, halves, limit);
        match outcome(b) {
            Ok(()) => assert!(good),
            Err(Violation::Gate { row, .. }) => assert!(!good && row.row >= before),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn bits_and_division_equal_those_of_integers() {
    let mut b = small(0);
    let var = b.witness(u(0b1011));
    let bits = to_bits(&mut b, var, 5);
    assert_eq!(bits.iter().map(|v| b.value(*v)).collect::<Vec<_>>(), [1, 1, 0, 1, 0].map(u));
    let (v, d) = (b.witness(u(1000)), b.witness(u(32)));
    let (q, r) = divide(&mut b, v, d, 64);
    assert_eq!((b.value(q), b.value(r)), (u(31), u(8)));
    assert_eq!(outcome(b), Ok(()));
    assert!(!accepts(10, |b| {
        let var = b.witness(u(32));
        to_bits(b, var, 5);
    }));
    assert!(!accepts(10, |b| {
        let (v, d) = (b.witness(u(1000)), b.witness(u(0)));
        divide(b, v, d, 64);
    }));
    assert!(!accepts(10, |b| {
        let (v, d) = (b.witness(power_of_two(64)), b.witness(u(10)));
        divide(b, v, d, 64);
    }));
}

fn nullifier_tree(keys: &[Fr]) -> (MemoryStore, Fr, u64) {
    let mut store = MemoryStore::new();
    let mut root = indexed::initialize(&mut store, IndexedTree::Nullifiers).unwrap();
    for (i, key) in keys.iter().enumerate() {
        let count = 1 + i as u64;
        let inserted =
            indexed::insert(&mut store, IndexedTree::Nullifiers, root, count, *key, u(0)).unwrap();
        root = inserted.root_after;
    }
    (store, root, 1 + keys.len() as u64)
}

/// Lays an insertion out; returns the builder and the tree after it.
fn inserting(
    root: Fr,
    count: Fr,
    key: Fr,
    witness: Option<&IndexedInsertion>,
) -> (Builder, TreeVars) {
    let mut b = small(0);
    let tree = TreeVars { root: b.witness(root), count: b.witness(count) };
    let key = b.witness(key);
    let after = insert_nullifier(&mut b, tree, key, witness);
    (b, after)
}

#[test]
fn an_insertion_gives_the_root_of_its_twin() {
    let keys = [value(1, 1), value(1, 2), u(7), -u(1)];
    for (i, key) in keys.iter().enumerate() {
        let (mut store, root, count) = nullifier_tree(&keys[..i]);
        let inserted =
            indexed::insert(&mut store, IndexedTree::Nullifiers, root, count, *key, u(0)).unwrap();
        assert_eq!(inserted.verify(IndexedTree::Nullifiers, count), Ok(()));
        let (b, after) = inserting(root, u(count), *key, Some(&inserted));
        assert_eq!(b.value(after.root), inserted.root_after);
        assert_eq!(b.value(after.count), u(count + 1));
        assert_eq!(outcome(b), Ok(()), "key {i}");
    }
}

#[test]
fn an_absent_key_leaves_the_tree_as_it_was_even_when_it_is_full() {
    let (_, root, count) = nullifier_tree(&[value(1, 1)]);
    for count in [u(count), power_of_two(NULLIFIER_HEIGHT as u32)] {
        let (b, after) = inserting(root, count, u(0), None);
        assert_eq!((b.value(after.root), b.value(after.count)), (root, count));
        assert_eq!(outcome(b), Ok(()));
    }
}

/// Goal: a key cannot be passed off as absent. Method: lay out a present key without a witness.
#[test]
fn a_key_that_is_not_zero_cannot_be_skipped() {
    let (_, root, count) = nullifier_tree(&[]);
    let (b, _) = inserting(root, u(count), value(1, 1), None);
    assert!(outcome(b).is_err());
}

/// A forged insertion through `low`, consistent in everything but what the caller made wrong.
fn forged(
    store: &MemoryStore,
    root: Fr,
    (low_index, low): (u64, IndexedLeaf),
    new_index: u64,
    key: Fr,
) -> IndexedInsertion {
    let tree = Tree::Nullifiers;
    let mut store = store.clone();
    let mut out = IndexedInsertion {
        key,
        value: u(0),
        low_leaf: low,
        low_index,
        low_path: native::path(&store, tree, 0, low_index).unwrap(),
        new_index,
        new_path: Vec::new(),
        root_before: root,
        root_between: root,
        root_after: root,
    };
    let low_hash = out.low_leaf_after().hash(IndexedTree::Nullifiers);
    out.root_between = native::write_one(&mut store, tree, 0, low_index, low_hash).unwrap().root;
    out.new_path = native::path(&store, tree, 0, new_index).unwrap();
    let new_hash = out.new_leaf().hash(IndexedTree::Nullifiers);
    out.root_after = native::write_one(&mut store, tree, 0, new_index, new_hash).unwrap().root;
    out
}

fn leaf(store: &MemoryStore, index: u64) -> (u64, IndexedLeaf) {
    (index, store.indexed_leaf(IndexedTree::Nullifiers, index).unwrap().unwrap())
}

/// Duty 9. Each low leaf is really in the tree, and each forged insertion is consistent with its
/// paths: only the brackets reject it.
#[test]
fn a_low_leaf_that_does_not_bracket_is_rejected() {
    let (store, root, count) = nullifier_tree(&[u(10), u(20), u(30)]);
    for (index, key, good) in [
        (1u64, 15u64, true),
        (0, 15, false),
        (2, 15, false),
        (3, 15, false),
        (3, 31, true),
        (2, 31, false),
    ] {
        let witness = forged(&store, root, leaf(&store, index), count, u(key));
        let (b, _) = inserting(root, u(count), u(key), Some(&witness));
        assert_eq!(outcome(b).is_ok(), good, "low leaf {index}, key {key}");
    }
}

/// Duty 9: a spent nullifier has no low leaf, whichever is tried.
#[test]
fn a_spent_nullifier_is_rejected_under_every_low_leaf() {
    let (store, root, count) = nullifier_tree(&[u(10), u(20), u(30)]);
    for index in 0..count {
        let witness = forged(&store, root, leaf(&store, index), count, u(20));
        let (b, _) = inserting(root, u(count), u(20), Some(&witness));
        assert!(outcome(b).is_err(), "low leaf {index}");
    }
}

/// Duty 9: the new leaf goes to the next free index and nowhere else.
#[test]
fn an_insertion_at_another_index_is_rejected() {
    let (store, root, count) = nullifier_tree(&[u(10), u(20)]);
    for wrong in [1, count - 1, count + 1, 77] {
        let witness = forged(&store, root, leaf(&store, 1), wrong, u(15));
        let (b, _) = inserting(root, u(count), u(15), Some(&witness));
        assert!(outcome(b).is_err(), "index {wrong}");
    }
    // A count that names a taken place: the place is not empty.
    let witness = forged(&store, root, leaf(&store, 1), 2, u(15));
    let (b, _) = inserting(root, u(2), u(15), Some(&witness));
    assert!(outcome(b).is_err());
}

/// Duty 9: the low leaf and its path lead to the root that the tree has.
#[test]
fn an_insertion_into_another_tree_is_rejected() {
    let (store, root, count) = nullifier_tree(&[u(10), u(20)]);
    let witness = forged(&store, root, leaf(&store, 1), count, u(15));
    let (b, _) = inserting(root, u(count), u(15), Some(&witness));
    assert_eq!(outcome(b), Ok(()));
    let (b, _) = inserting(root + u(1), u(count), u(15), Some(&witness));
    assert!(outcome(b).is_err());
}

/// Duty 9: an index beyond the tree does not exist, although its low bits name index 0.
#[test]
fn a_full_tree_takes_no_key() {
    let (store, root, _) = nullifier_tree(&[u(10)]);
    for low in [0u64, 5] {
        let witness = forged(&store, root, leaf(&store, 1), low, u(15));
        let (b, _) =
            inserting(root, power_of_two(NULLIFIER_HEIGHT as u32) + u(low), u(15), Some(&witness));
        assert!(matches!(outcome(b), Err(Violation::Gate { .. })), "{low}");
    }
}

#[test]
fn a_subtree_is_appended_only_where_it_belongs() {
    let height = 6;
    let leaves: Vec<Fr> = (0..4).map(|i| value(2, i)).collect();
    let lay_out = |count: Fr, at: usize, taken: bool| {
        let mut b = small(0);
        // A tree that is filled up to `at`, whose place may be taken, too.
        let filled = |i: usize| if i < at { value(2, 50 + i as u64) } else { empty_root(2) };
        let mut row: Vec<Fr> = (0..1 << (height - 2)).map(filled).collect();
        if taken {
            row[at] = value(2, 99);
        }
        let mut path = Vec::new();
        let mut index = at;
        while row.len() > 1 {
            path.push(row[index ^ 1]);
            row = row.chunks(2).map(|p| node_hash(&p[0], &p[1])).collect();
            index >>= 1;
        }
        let tree = TreeVars { root: b.witness(row[0]), count: b.witness(count) };
        let vars: Vec<Var> = leaves.iter().map(|v| b.witness(*v)).collect();
        let after = append(&mut b, tree, &vars, &path, height);
        (b.value(after.count), outcome(b).is_ok())
    };
    assert_eq!(lay_out(u(20), 5, false), (u(24), true));
    assert!(!lay_out(u(20), 5, true).1, "the place is taken");
    assert!(!lay_out(u(24), 5, false).1, "another index");
    assert!(!lay_out(u(21), 5, false).1, "not aligned");
    assert!(!lay_out(u(64 + 20), 5, false).1, "beyond a full tree");
}

#[test]
fn membership_at_another_index_is_rejected() {
    let mut store = MemoryStore::new();
    let root = native::write_one(&mut store, Tree::Notes, 0, 5, value(3, 1)).unwrap().root;
    let path = native::path(&store, Tree::Notes, 0, 5).unwrap();
    for (index, leaf, good) in [
        (u(5), value(3, 1), true),
        (u(4), value(3, 1), false),
        (u(5) + power_of_two(NOTE_HEIGHT as u32), value(3, 1), false),
        (u(5), value(3, 2), false),
    ] {
        let mut b = small(0);
        let (root, leaf, index) = (b.witness(root), b.witness(leaf), b.witness(index));
        assert_member(&mut b, root, leaf, index, &path, NOTE_HEIGHT);
        assert_eq!(outcome(b).is_ok(), good);
    }
}

/// The public data tree with these keys, each with a value of 100 times its own.
fn balances(keys: &[u64]) -> (MemoryStore, Fr, u64) {
    let (mut store, tree) = (MemoryStore::new(), IndexedTree::PublicData);
    let mut root = indexed::initialize(&mut store, tree).unwrap();
    for (i, key) in keys.iter().enumerate() {
        let count = 1 + i as u64;
        let added = indexed::insert(&mut store, tree, root, count, u(*key), u(100 * key)).unwrap();
        root = added.root_after;
    }
    (store, root, 1 + keys.len() as u64)
}

/// What a prover says of an entry, and where.
#[derive(Clone)]
struct Entry {
    found: bool,
    low: (u64, IndexedLeaf),
    low_path: Vec<Fr>,
    new_path: Vec<Fr>,
}

impl Entry {
    /// The entry over the leaf at `low`, which a found entry changes and a new one points to its own.
    fn over(store: &MemoryStore, low: u64, found: bool, key: u64, value: u64, count: u64) -> Self {
        let (tree, mut store) = (IndexedTree::PublicData, store.clone());
        let leaf = store.indexed_leaf(tree, low).unwrap().unwrap();
        let changed = match found {
            true => IndexedLeaf { value: u(value), ..leaf },
            false => IndexedLeaf { next_key: u(key), next_index: count, ..leaf },
        };
        let low_path = native::path(&store, Tree::PublicData, 0, low).unwrap();
        native::write_one(&mut store, Tree::PublicData, 0, low, changed.hash(tree)).unwrap();
        let new_path = native::path(&store, Tree::PublicData, 0, count).unwrap();
        Self { found, low: (low, leaf), low_path, new_path }
    }

    /// Lays the entry out; returns the builder, the value before, and the tree after.
    fn lay(&self, tree: (Fr, Fr), key: u64, value: u64, wanted: bool) -> (Builder, Var, TreeVars) {
        let mut b = small(3);
        let before = TreeVars { root: b.witness(tree.0), count: b.witness(tree.1) };
        let (key, value) = (b.witness(u(key)), b.witness(u(value)));
        let wanted = b.witness(u(wanted.into()));
        let witness = EntryWitness {
            found: self.found,
            low_leaf: self.low.1,
            low_index: self.low.0,
            low_path: &self.low_path,
            new_path: &self.new_path,
        };
        let open = OpenEntry::new(&mut b, before, key, wanted, witness);
        let after = open.set(&mut b, value);
        for (i, var) in [open.value, after.root, after.count].into_iter().enumerate() {
            b.set_public(i, var);
        }
        (b, open.value, after)
    }
}

/// Goal: an entry is found and changed, or added, as its twins do it.
#[test]
fn an_entry_is_set_or_added_as_its_twins_do_it() {
    let tree = IndexedTree::PublicData;
    for (key, low, found) in [(20, 2, true), (15, 1, false), (35, 3, false), (5, 0, false)] {
        let (mut store, root, count) = balances(&[10, 20, 30]);
        let entry = Entry::over(&store, low, found, key, 777, count);
        let (b, before, after) = entry.lay((root, u(count)), key, 777, true);
        let expected = match found {
            true => {
                let update = indexed::update(&mut store, tree, root, &u(key), u(777)).unwrap();
                update.unwrap().root_after
            }
            false => {
                let added = indexed::insert(&mut store, tree, root, count, u(key), u(777));
                added.unwrap().root_after
            }
        };
        assert_eq!(b.value(after.root), expected, "{key}");
        let (value, added) = if found { (100 * key, 0) } else { (0, 1) };
        assert_eq!((b.value(before), b.value(after.count)), (u(value), u(count + added)), "{key}");
        let (layout, witness) = b.finish(None).unwrap();
        assert_eq!(check(&layout, &witness), Ok(()), "{key}");
        crate::common::mutate::Mutator::new(layout, witness).run(1);
    }
}

/// Goal: whoever pays with notes changes no balance, whatever the witness is.
#[test]
fn an_entry_that_is_not_wanted_changes_nothing() {
    let (store, root, count) = balances(&[10, 20]);
    let entry = Entry::over(&store, 1, false, 15, 777, count);
    for (count, index) in [(u(count), 1), (power_of_two(32), 7)] {
        let mut entry = entry.clone();
        entry.low.0 = index;
        let (b, before, after) = entry.lay((root, count), 15, 777, false);
        assert_eq!((b.value(before), b.value(after.root)), (u(0), root));
        assert_eq!(b.value(after.count), count);
        assert_eq!(outcome(b), Ok(()));
    }
    let found = Entry::over(&store, 2, true, 20, 777, count);
    let (b, ..) = found.lay((root, u(count)), 20, 777, false);
    assert!(outcome(b).is_err(), "found without being wanted");
}

/// Attacks: a balance read from another's leaf, a key that the tree has added again (which would count as a balance
/// of zero), one passed off as found, and a new leaf over a taken place or at another index.
#[test]
fn an_entry_of_another_key_or_place_is_rejected() {
    let (store, root, count) = balances(&[10, 20, 30]);
    let rejected = |entry: &Entry, key: u64, count: u64| {
        outcome(entry.lay((root, u(count)), key, 777, true).0).is_err()
    };
    for (low, found, key, good) in [
        (2, true, 20, true),
        (1, true, 20, false),
        (2, true, 25, false),
        (1, false, 15, true),
        (0, false, 15, false),
        (2, false, 15, false),
        (1, false, 20, false),
        (2, false, 20, false),
        (3, false, 20, false),
    ] {
        let entry = Entry::over(&store, low, found, key, 777, count);
        assert_eq!(rejected(&entry, key, count), !good, "leaf {low}, found {found}, key {key}");
    }
    let taken = Entry::over(&store, 1, false, 15, 777, 2);
    assert!(rejected(&taken, 15, 2), "a taken place");
    let later = Entry::over(&store, 1, false, 15, 777, count + 1);
    assert!(rejected(&later, 15, count), "another index");
    let mut lie = Entry::over(&store, 2, true, 20, 777, count);
    lie.low.1.value = u(1_000_000);
    assert!(rejected(&lie, 20, count), "another value");
    let mut lie = Entry::over(&store, 1, false, 15, 777, count);
    lie.low.1.next_key = u(0);
    assert!(rejected(&lie, 15, count), "another next key");
}

#[test]
fn a_full_tree_takes_no_entry() {
    let (store, root, _) = balances(&[10]);
    let entry = Entry::over(&store, 1, false, 15, 777, 5);
    let (b, ..) = entry.lay((root, power_of_two(32) + u(5)), 15, 777, true);
    assert!(outcome(b).is_err());
}

#[test]
fn a_changed_cell_of_an_insertion_is_rejected() {
    let (mut store, root, count) = nullifier_tree(&[u(10), u(20)]);
    let inserted =
        indexed::insert(&mut store, IndexedTree::Nullifiers, root, count, u(15), u(0)).unwrap();
    for witness in [Some(&inserted), None] {
        let key = witness.map(|w| w.key).unwrap_or_default();
        // The answers must be used, as they are in a circuit: publish them.
        let mut b = small(2);
        let tree = TreeVars { root: b.witness(root), count: b.witness(u(count)) };
        let key = b.witness(key);
        let after = insert_nullifier(&mut b, tree, key, witness);
        b.set_public(0, after.root);
        b.set_public(1, after.count);
        let (layout, witness) = b.finish(None).unwrap();
        assert_eq!(check(&layout, &witness), Ok(()));
        let free = crate::common::mutate::Mutator::new(layout, witness).run(1);
        // is_zero(key) of an absent key, is_zero(next_key) of the last leaf.
        assert!(
            free.get(&crate::common::mutate::Free::InverseOfZero).is_none_or(|n| *n <= 2),
            "{free:?}"
        );
    }
}
