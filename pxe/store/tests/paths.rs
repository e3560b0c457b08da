//! Paths of notes from what the store keeps, beside the whole tree.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rollmill_protocol::Fr;
use rollmill_protocol::tree::frontier::NOTE_SUBTREE_HEIGHT;
use rollmill_protocol::tree::{ArchiveFrontier, Frontier, MemoryStore, Tree, append, empty_root};
use rollmill_protocol::tx::SLOTS;
use rollmill_pxe_store::{Account, Scope, Store};

use crate::support::{Memory, PASSWORD, account, header, in_memory, note, nullifier};

/// The chain after a block: the whole tree, which subtrees matter, and the notes in some of these.
#[derive(Clone)]
struct State {
    whole: MemoryStore,
    root: Fr,
    frontier: Frontier,
    marks: BTreeSet<u64>,
    /// By leaf: whose the note is, and the block that spent it.
    notes: BTreeMap<u64, (Account, Option<u64>)>,
}

/// Notes that a block makes and spends, by account and leaf.
#[derive(Default)]
struct Facts {
    made: Vec<(Account, u64)>,
    spent: Vec<(Account, u64)>,
}

/// All accounts of these tests.
fn scope() -> Scope {
    Scope::of([account(1), account(2)])
}

impl State {
    fn new() -> Self {
        let root = empty_root(Tree::Notes.height());
        let (whole, frontier) = (MemoryStore::new(), Frontier::new());
        let (marks, notes) = (BTreeSet::new(), BTreeMap::new());
        Self { whole, root, frontier, marks, notes }
    }

    /// The state after one more transaction.
    fn append(&mut self, leaves: &[Fr; SLOTS], is_marked: bool) {
        let count = self.frontier.count();
        let added = append::append_subtree(&mut self.whole, Tree::Notes, self.root, count, leaves);
        self.root = added.expect("it fits").root_after;
        self.frontier.append(leaves).expect("it fits");
        if is_marked {
            self.marks.insert(count >> NOTE_SUBTREE_HEIGHT);
        }
    }
}

/// A store, and the states that its chain has had, genesis first.
struct Case {
    memory: Memory,
    store: Store,
    states: Vec<State>,
    finalized: usize,
    /// The leaves of each block, with whether each transaction matters.
    blocks: Vec<Vec<([Fr; SLOTS], bool)>>,
    /// Marks that were removed since nobody can spend their notes any more.
    forgotten: usize,
    rng: ChaCha20Rng,
}

impl Case {
    fn new(seed: u64) -> Self {
        let (memory, store) = in_memory();
        let rng = ChaCha20Rng::seed_from_u64(seed);
        let states = vec![State::new()];
        Self { memory, store, states, finalized: 0, blocks: vec![], forgotten: 0, rng }
    }

    fn tip(&self) -> usize {
        self.blocks.len()
    }

    fn read_block(&mut self) {
        let n = self.rng.gen_range(0..4);
        let txs: Vec<([Fr; SLOTS], bool)> = (0..n)
            .map(|_| {
                let leaves = std::array::from_fn(|_| Fr::from(self.rng.r#gen::<u64>()));
                (leaves, self.rng.gen_bool(0.4))
            })
            .collect();
        let number = self.tip() + 1;
        let (mut state, mut facts) = (self.states[number - 1].clone(), Facts::default());
        for (leaf_index, (who, spent_in)) in &mut state.notes {
            if spent_in.is_none() && self.rng.gen_bool(0.4) {
                *spent_in = Some(number as u64);
                facts.spent.push((*who, *leaf_index));
            }
        }
        for (leaves, is_marked) in &txs {
            let first = state.frontier.count();
            state.append(leaves, *is_marked);
            // The others have messages that may be notes, of which the store knows nothing.
            if *is_marked && self.rng.gen_bool(0.8) {
                let leaf_index = first + self.rng.gen_range(0..SLOTS as u64);
                let who = account(self.rng.gen_range(1..3));
                state.notes.insert(leaf_index, (who, None));
                facts.made.push((who, leaf_index));
            }
        }
        self.blocks.push(txs);
        self.states.push(state);
        self.grow(number, &facts, true);
    }

    /// States in the store what a block appends, as a wallet does that knows the marks up to it.
    fn grow(&self, number: usize, facts: &Facts, is_next: bool) {
        let mut frontier = self.states[number - 1].frontier.clone();
        let txs = self.blocks[number - 1].iter();
        let appended: Vec<_> =
            txs.map(|(leaves, _)| frontier.append(leaves).expect("it fits")).collect();
        let (scope, state) = (scope(), &self.states[number]);
        let block = number as u64;
        let grown = if is_next {
            self.store.read_block(&scope, &header(block), |step| {
                for (who, leaf_index) in &facts.spent {
                    step.nullify(who, &nullifier(*leaf_index))?;
                }
                for (who, leaf_index) in &facts.made {
                    step.note(who, *leaf_index, note(*leaf_index, 1))?;
                }
                step.grow(&appended, &state.marks, &frontier)
            })
        } else {
            self.store
                .read_again(&scope, block, |step| step.grow(&appended, &state.marks, &frontier))
        };
        grown.expect("grown");
    }

    fn rewind(&mut self) {
        let block = self.rng.gen_range(self.finalized..=self.tip());
        self.store.rewind(block as u64).expect("undone");
        self.blocks.truncate(block);
        self.states.truncate(block + 1);
    }

    fn finalize(&mut self) {
        let block = self.rng.gen_range(self.finalized..=self.tip());
        if block > 0 {
            self.store.finalize(block as u64).expect("finalized");
            self.finalized = block;
        }
    }

    /// Removes what only paths of spent notes need; some subtrees matter for another reason.
    fn forget(&mut self) {
        let (last, finalized) = (self.states[self.tip()].clone(), self.finalized as u64);
        let mut spent = BTreeMap::<u64, bool>::new();
        for (leaf_index, (_, spent_in)) in &last.notes {
            let all = spent.entry(leaf_index >> NOTE_SUBTREE_HEIGHT).or_insert(true);
            *all &= spent_in.is_some_and(|block| block <= finalized);
        }
        let (mut keep, mut removed) = (BTreeSet::new(), BTreeSet::new());
        for position in &last.marks {
            if self.rng.gen_bool(0.2) {
                keep.insert(*position);
            } else if spent.get(position) == Some(&true) {
                removed.insert(*position);
            }
        }
        let count = self.store.forget_paths(&scope(), &keep).expect("forgotten");
        assert_eq!(count, removed.len());
        self.forgotten += count;
        for state in &mut self.states {
            state.marks.retain(|position| !removed.contains(position));
        }
    }

    /// An account that was there from the start, and of which the wallet learns now: one more transaction of each block
    /// matters, and all blocks are read again.
    fn catch_up(&mut self) {
        let mut found = BTreeSet::new();
        for number in 1..=self.tip() {
            let first = self.states[number - 1].frontier.count() >> NOTE_SUBTREE_HEIGHT;
            if let Some((_, is_marked)) = self.blocks[number - 1].first_mut() {
                *is_marked = true;
                found.insert(first);
            }
            self.states[number].marks.extend(&found);
        }
        (1..=self.tip()).for_each(|number| self.grow(number, &Facts::default(), false));
    }

    /// Compares the paths of all leaves of marked subtrees after each block that is not final.
    fn compare(&self) {
        let scope = Scope::default();
        let view = self.store.view(&scope).expect("a view");
        let last = self.states.last().expect("a state");
        assert_eq!(view.marks().expect("read"), last.marks);
        for number in self.finalized.max(1)..=self.tip() {
            let (block, state) = (number as u64, &self.states[number]);
            let frontier = view.frontier(block).expect("read").expect("a frontier");
            assert_eq!((&frontier, frontier.root()), (&state.frontier, state.root));
            for position in &last.marks {
                let leaf_index = (position << NOTE_SUBTREE_HEIGHT) + block % SLOTS as u64;
                let path = view.note_path(leaf_index, block).expect("read");
                let is_there = leaf_index < state.frontier.count();
                let expected =
                    append::path(&state.whole, Tree::Notes, 0, leaf_index).expect("read");
                assert_eq!(path, is_there.then_some(expected), "leaf {leaf_index}, block {block}");
            }
        }
        if self.finalized > 1 {
            let before = view.frontier(self.finalized as u64 - 1).expect("read");
            assert_eq!(before, None, "what no anchor names is not kept");
        }
        let unmarked = (0..8).find(|position| !last.marks.contains(position));
        let of_it = unmarked.map(|position| view.note_path(8 * position, self.tip() as u64));
        assert!(of_it.is_none_or(|path| path.expect("read").is_none()));
    }

    fn reopen(&mut self) {
        let (_, other) = in_memory();
        // The old store is closed before its bytes are opened again.
        drop(std::mem::replace(&mut self.store, other));
        self.store = Store::open_on(self.memory.clone(), PASSWORD).expect("opens");
    }
}

/// Goal: whatever blocks come and go, each path is that of the whole tree, nothing of an undone block stays, and of the
/// notes that are spent for good nothing does.
#[test]
fn paths_are_those_of_the_whole_tree_through_rewinds_and_late_accounts() {
    let mut forgotten = 0;
    for seed in 0..6 {
        println!("seed {seed}");
        let mut case = Case::new(seed);
        case.read_block();
        for _ in 0..28 {
            match case.rng.gen_range(0..15) {
                0..=7 => case.read_block(),
                8 | 9 => case.rewind(),
                10..=12 => {
                    case.finalize();
                    case.forget();
                }
                13 => case.catch_up(),
                _ => case.reopen(),
            }
            case.compare();
        }
        forgotten += case.forgotten;
    }
    println!("{forgotten} marks removed");
    assert!(forgotten > 0);
}

/// Goal: a block whose leaves are others than when it was read first is noticed.
#[test]
fn other_leaves_of_a_block_that_was_read_are_a_conflict() {
    let mut case = Case::new(1);
    while case.blocks.last().is_none_or(Vec::is_empty) {
        case.read_block();
    }
    case.catch_up();
    let number = case.tip();
    case.blocks[number - 1][0].0[3] += Fr::from(1u64);
    let mut frontier = case.states[number - 1].frontier.clone();
    let txs = case.blocks[number - 1].iter();
    let appended: Vec<_> = txs.map(|(leaves, _)| frontier.append(leaves).expect("fits")).collect();
    let marks = &case.states[number].marks;
    let again = case.store.read_again(&Scope::default(), number as u64, |step| {
        step.grow(&appended, marks, &frontier)
    });
    assert_eq!(again.expect_err("other leaves").code(), "PXS-012");
    case.compare();
}

/// Goal: the edge of the archive is a fact of its block: it goes with it, another one is a conflict, and those before
/// the final block are not kept.
#[test]
fn the_edge_of_the_archive_goes_with_its_block() {
    let (_, store) = in_memory();
    let scope = Scope::default();
    let mut edges = vec![ArchiveFrontier::genesis(Fr::from(7u64))];
    for number in 1..=5u64 {
        let mut edge = edges.last().expect("one").clone();
        edge.append(header(number).hash).expect("it fits");
        let read = store.read_block(&scope, &header(number), |step| step.archive(&edge));
        read.expect("read");
        edges.push(edge);
    }
    let archive = |block: u64| store.view(&scope).expect("a view").archive(block).expect("read");
    for (number, edge) in (0..).zip(&edges).skip(1) {
        assert_eq!(archive(number).as_ref(), Some(edge));
    }
    let other = ArchiveFrontier::genesis(Fr::from(8u64));
    let again = store.read_again(&scope, 5, |step| step.archive(&other));
    assert_eq!(again.expect_err("another edge").code(), "PXS-012");
    store.rewind(4).expect("undone");
    store.finalize(3).expect("final");
    let kept: Vec<u64> = (0..=5).filter(|number| archive(*number).is_some()).collect();
    assert_eq!(kept, [3, 4]);
    // A block from before the final one, read for a new account, states none.
    store.read_again(&scope, 2, |step| step.archive(&edges[2])).expect("read again");
    assert_eq!(archive(2), None);
}
