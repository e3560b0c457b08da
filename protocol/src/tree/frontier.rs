//! The note tree as a wallet keeps it: its right edge, and of the rest only the siblings of leaves that matter.
//!
//! A node whose subtree has all its leaves never changes. So the path of a leaf at any later size of the tree has three
//! parts: siblings to its left, which are complete when the leaf is appended ([`Mark`]); siblings to its right that are
//! complete by now, which are kept as they come ([`kept`]); and at most one that is not, which follows from the edge at
//! that size ([`Frontier`]). Twin: a whole tree, [`super::append::path`]. Source of the idea: the incremental Merkle
//! trees and witnesses of Zcash's wallets, <https://zips.z.cash/protocol/protocol.pdf>, section 3.8.

use std::collections::BTreeSet;

use rollmill_algebra::Fr;

use super::{NOTE_HEIGHT, empty_root, node_hash, parents, subtree_root};
use crate::tx::SLOTS;

/// Height of what a transaction appends: the subtree of its note hashes.
pub const NOTE_SUBTREE_HEIGHT: usize = 3;

const _: () = assert!(1 << NOTE_SUBTREE_HEIGHT == SLOTS);

/// A complete node at `level` (0 is the leaves) and `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    pub level: u8,
    pub index: u64,
    pub value: Fr,
}

/// What paths of the leaves of one transaction need of the tree to their left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The note hashes of the transaction, absent ones zero.
    pub leaves: [Fr; SLOTS],
    /// The nodes to the left of their subtree, lowest first: one for each bit of the subtree's position.
    pub left: Vec<Fr>,
}

/// What appending the note hashes of one transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Number of the subtree: the index of its first leaf divided by [`SLOTS`].
    pub position: u64,
    /// For paths of these leaves.
    pub mark: Mark,
    /// Nodes that have all their leaves now, lowest first.
    pub complete: Vec<Node>,
}

/// The right edge of the note tree after a whole number of transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    /// Number of leaves, a multiple of [`SLOTS`].
    count: u64,
    /// Roots of the complete subtrees that the leaves make up, lowest first: one for each bit of `count`.
    nodes: Vec<Fr>,
}

/// Whether the number has the bit of this level.
fn has_bit(number: u64, level: usize) -> bool {
    (number >> level) & 1 == 1
}

impl Frontier {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge with these nodes, lowest first; `None` if there is none with this number of leaves.
    pub fn of(count: u64, nodes: Vec<Fr>) -> Option<Self> {
        let is_one = count.is_multiple_of(SLOTS as u64)
            && count <= 1 << NOTE_HEIGHT
            && usize::try_from(count.count_ones()) == Ok(nodes.len());
        is_one.then_some(Self { count, nodes })
    }

    /// Number of leaves.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Roots of the complete subtrees, lowest first.
    pub fn nodes(&self) -> &[Fr] {
        &self.nodes
    }

    /// Appends the note hashes of a transaction; `None`, and nothing changes, when the tree is full.
    ///
    /// Cost: 7 hashes, and one more on average.
    pub fn append(&mut self, leaves: &[Fr; SLOTS]) -> Option<Appended> {
        if self.count >= 1 << NOTE_HEIGHT {
            return None;
        }
        let left = self.nodes.clone();
        let (mut level, mut value) = (NOTE_SUBTREE_HEIGHT, subtree_root(leaves));
        // The complete subtrees of the same size join from the lowest on, as digits carry.
        let mut joined = 0;
        let node = |level: usize, value: Fr| Node {
            // At most the height.
            level: level as u8,
            index: self.count >> level,
            value,
        };
        let mut complete = vec![node(level, value)];
        while has_bit(self.count, level) {
            let Some(sibling) = self.nodes.get(joined) else { break };
            value = node_hash(sibling, &value);
            (level, joined) = (level + 1, joined + 1);
            complete.push(node(level, value));
        }
        let position = self.count >> NOTE_SUBTREE_HEIGHT;
        self.nodes.splice(..joined, [value]);
        self.count += SLOTS as u64;
        Some(Appended { position, mark: Mark { leaves: *leaves, left }, complete })
    }

    /// For each level from [`NOTE_SUBTREE_HEIGHT`] on, the root of the subtree that has the next free leaf.
    fn open(&self) -> Vec<Fr> {
        let mut nodes = self.nodes.iter();
        let mut below = empty_root(NOTE_SUBTREE_HEIGHT);
        let mut open = vec![below];
        for level in NOTE_SUBTREE_HEIGHT..NOTE_HEIGHT {
            let complete = if has_bit(self.count, level) { nodes.next() } else { None };
            below = match complete {
                Some(complete) => node_hash(complete, &below),
                None if below == empty_root(level) => empty_root(level + 1),
                None => node_hash(&below, &empty_root(level)),
            };
            open.push(below);
        }
        open
    }

    /// The root of the tree. Cost: at most 37 hashes.
    pub fn root(&self) -> Fr {
        if has_bit(self.count, NOTE_HEIGHT) {
            return self.nodes.last().copied().unwrap_or_else(|| empty_root(NOTE_HEIGHT));
        }
        self.open().pop().unwrap_or_else(|| empty_root(NOTE_HEIGHT))
    }

    /// Siblings of the leaf with this index at this size of the tree, lowest first. `mark` is that of the leaf's
    /// subtree, and `right` returns nodes of [`kept`], by level and index. `None` when the tree has no such leaf yet,
    /// or a node is missing. Whoever uses the path compares the root that it leads to.
    pub fn path(
        &self,
        leaf_index: u64,
        mark: &Mark,
        mut right: impl FnMut(u8, u64) -> Option<Fr>,
    ) -> Option<Vec<Fr>> {
        if leaf_index >= self.count {
            return None;
        }
        let mut path = Vec::with_capacity(NOTE_HEIGHT);
        let mut row = mark.leaves.to_vec();
        let mut at = usize::try_from(leaf_index % SLOTS as u64).ok()?;
        for _ in 0..NOTE_SUBTREE_HEIGHT {
            path.push(*row.get(at ^ 1)?);
            (row, at) = (parents(&row), at >> 1);
        }
        let open = self.open();
        let mut left = mark.left.iter();
        for (level, open) in (NOTE_SUBTREE_HEIGHT..NOTE_HEIGHT).zip(open) {
            let index = (leaf_index >> level) ^ 1;
            if index & 1 == 0 {
                path.push(*left.next()?);
                continue;
            }
            let (start, end) = (index << level, (index + 1) << level);
            path.push(match self.count {
                count if count >= end => right(u8::try_from(level).ok()?, index)?,
                count if count > start => open,
                _ => empty_root(level),
            });
        }
        Some(path)
    }
}

/// Whether a node is the right sibling of one that has a marked subtree. `marks` are positions of subtrees.
pub fn is_needed(marks: &BTreeSet<u64>, level: u8, index: u64) -> bool {
    let Some(above) = usize::from(level).checked_sub(NOTE_SUBTREE_HEIGHT) else { return false };
    if index & 1 == 0 || above >= NOTE_HEIGHT - NOTE_SUBTREE_HEIGHT {
        return false;
    }
    let first = (index - 1) << above;
    marks.range(first..first + (1 << above)).next().is_some()
}

/// The nodes to keep of what was appended, for paths of the leaves of marked subtrees.
pub fn kept<'a>(
    appended: &'a [Appended],
    marks: &'a BTreeSet<u64>,
) -> impl Iterator<Item = &'a Node> {
    let complete = appended.iter().flat_map(|appended| &appended.complete);
    complete.filter(move |node| is_needed(marks, node.level, node.index))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::tree::{MemoryStore, Tree, append};

    fn leaves(position: u64, present: usize) -> [Fr; SLOTS] {
        let word = |i: usize| Fr::from(1 + position * SLOTS as u64 + i as u64);
        std::array::from_fn(|i| if i < present { word(i) } else { Fr::from(0u64) })
    }

    /// A wallet's part of the tree beside the whole tree after each transaction.
    struct Both {
        frontiers: Vec<Frontier>,
        whole: Vec<MemoryStore>,
        roots: Vec<Fr>,
        marks: BTreeMap<u64, Mark>,
        nodes: BTreeMap<(u8, u64), Fr>,
    }

    impl Both {
        fn new() -> Self {
            let root = empty_root(NOTE_HEIGHT);
            Self {
                frontiers: vec![Frontier::new()],
                whole: vec![MemoryStore::new()],
                roots: vec![root],
                marks: BTreeMap::new(),
                nodes: BTreeMap::new(),
            }
        }

        fn append(&mut self, present: usize, is_marked: bool) {
            let mut frontier = self.frontiers.last().unwrap().clone();
            let mut whole = self.whole.last().unwrap().clone();
            let leaves = leaves(frontier.count() >> NOTE_SUBTREE_HEIGHT, present);
            let (root, count) = (*self.roots.last().unwrap(), frontier.count());
            let added =
                append::append_subtree(&mut whole, Tree::Notes, root, count, &leaves).unwrap();
            let appended = frontier.append(&leaves).unwrap();
            if is_marked {
                self.marks.insert(appended.position, appended.mark.clone());
            }
            let positions = self.marks.keys().copied().collect();
            for node in kept(&[appended], &positions) {
                self.nodes.insert((node.level, node.index), node.value);
            }
            self.frontiers.push(frontier);
            self.whole.push(whole);
            self.roots.push(added.root_after);
        }

        /// Compares root and paths at every size so far.
        fn compare(&self) {
            let sizes = self.frontiers.iter().zip(&self.whole).zip(&self.roots);
            for ((frontier, whole), root) in sizes {
                assert_eq!(frontier.root(), *root);
                for (position, mark) in &self.marks {
                    for offset in 0..SLOTS as u64 {
                        let leaf_index = position * SLOTS as u64 + offset;
                        let right =
                            |level: u8, index: u64| self.nodes.get(&(level, index)).copied();
                        let path = frontier.path(leaf_index, mark, right);
                        if leaf_index >= frontier.count() {
                            assert_eq!(path, None);
                            continue;
                        }
                        let expected = append::path(whole, Tree::Notes, 0, leaf_index).unwrap();
                        let count = frontier.count();
                        assert_eq!(path, Some(expected), "leaf {leaf_index} of {count}");
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Goal: no node that a path needs is thrown away, at the newest size of the tree and at every earlier one.
        #[test]
        fn paths_are_those_of_the_whole_tree_at_every_size(
            txs in proptest::collection::vec((0..=SLOTS, proptest::bool::weighted(0.25)), 1..22)
        ) {
            let mut both = Both::new();
            for (present, is_marked) in txs {
                both.append(present, is_marked);
            }
            both.compare();
            // At most one node for each level that a marked subtree has to its right.
            let most = both.marks.len() * (NOTE_HEIGHT - NOTE_SUBTREE_HEIGHT);
            prop_assert!(both.nodes.len() <= most);
        }
    }

    #[test]
    fn a_frontier_has_as_many_nodes_as_its_count_has_bits_and_an_end() {
        let zero = Fr::from(0u64);
        assert_eq!(Frontier::new().root(), empty_root(NOTE_HEIGHT));
        assert_eq!(Frontier::of(8, vec![]), None);
        assert_eq!(Frontier::of(8, vec![zero, zero]), None);
        assert_eq!(Frontier::of(4, vec![zero]), None);
        assert_eq!(Frontier::of(1 << 41, vec![zero]), None);
        let mut full = Frontier::of(1 << NOTE_HEIGHT, vec![Fr::from(9u64)]).unwrap();
        assert_eq!(full.root(), Fr::from(9u64));
        assert_eq!(full.append(&[zero; SLOTS]), None);
        let nodes: Vec<Fr> = (0..37).map(|level| empty_root(level + 3)).collect();
        let mut last = Frontier::of((1 << NOTE_HEIGHT) - 8, nodes).unwrap();
        last.append(&[zero; SLOTS]).unwrap();
        assert_eq!(last.root(), empty_root(NOTE_HEIGHT));
        assert_eq!(last.count(), 1 << NOTE_HEIGHT);
    }

    #[test]
    fn a_missing_node_gives_no_path_and_not_a_wrong_one() {
        let mut both = Both::new();
        (0..6).for_each(|position| both.append(3, position == 1));
        both.compare();
        let (frontier, mark) = (both.frontiers.last().unwrap(), &both.marks[&1]);
        assert_eq!(frontier.path(8, mark, |_, _| None), None);
        let short = Mark { left: vec![], ..mark.clone() };
        let right = |level: u8, index: u64| both.nodes.get(&(level, index)).copied();
        assert_eq!(frontier.path(8, &short, right), None);
    }
}
