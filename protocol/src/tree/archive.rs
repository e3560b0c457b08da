//! The archive as a wallet keeps it: its right edge, from which the root after each block follows.
//!
//! Leaf `i` of the archive is the hash of header `i`, and a header has the root of the archive before it. So a header
//! commits to all headers before it, and whoever keeps the edge notices one that was exchanged. Twin: the whole tree,
//! [`super::append::write_one`].

use rollmill_algebra::Fr;

use super::{ARCHIVE_HEIGHT, empty_root, node_hash};

/// The right edge of the archive after a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFrontier {
    /// Number of headers, genesis counted.
    count: u64,
    /// Roots of the complete subtrees that their hashes make up, lowest first: one for each bit of `count`.
    nodes: Vec<Fr>,
}

impl ArchiveFrontier {
    /// The edge after genesis, whose header has this hash.
    pub fn genesis(header_hash: Fr) -> Self {
        Self { count: 1, nodes: vec![header_hash] }
    }

    /// The edge with these nodes, lowest first; `None` if there is none with this number of headers.
    pub fn of(count: u64, nodes: Vec<Fr>) -> Option<Self> {
        let is_one = (1..=1 << ARCHIVE_HEIGHT).contains(&count)
            && usize::try_from(count.count_ones()) == Ok(nodes.len());
        is_one.then_some(Self { count, nodes })
    }

    /// Number of headers, genesis counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Roots of the complete subtrees, lowest first.
    pub fn nodes(&self) -> &[Fr] {
        &self.nodes
    }

    /// Appends the hash of the next header; `None`, and nothing changes, when the archive is full.
    ///
    /// Cost: one hash on average.
    pub fn append(&mut self, header_hash: Fr) -> Option<()> {
        if self.count >= 1 << ARCHIVE_HEIGHT {
            return None;
        }
        // The complete subtrees of the same size join from the lowest on, as digits carry.
        let joined = usize::try_from(self.count.trailing_ones()).ok()?;
        let of_same_size = self.nodes.iter().take(joined);
        let value = of_same_size.fold(header_hash, |value, sibling| node_hash(sibling, &value));
        self.nodes.splice(..joined, [value]);
        self.count += 1;
        Some(())
    }

    /// The root of the archive. Cost: at most 32 hashes.
    pub fn root(&self) -> Fr {
        if self.count >> ARCHIVE_HEIGHT != 0 {
            return self.nodes.last().copied().unwrap_or_else(|| empty_root(ARCHIVE_HEIGHT));
        }
        let mut nodes = self.nodes.iter();
        // For each level, the root of the subtree that has the next free leaf.
        (0..ARCHIVE_HEIGHT).fold(empty_root(0), |below, level| {
            let complete = if (self.count >> level) & 1 == 1 { nodes.next() } else { None };
            match complete {
                Some(complete) => node_hash(complete, &below),
                None if below == empty_root(level) => empty_root(level + 1),
                None => node_hash(&below, &empty_root(level)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{MemoryStore, Tree, append};

    #[test]
    fn the_edge_of_the_archive_leads_to_the_root_of_the_whole_tree() {
        let leaf = |i: u64| Fr::from(1_000 + i);
        let mut store = MemoryStore::new();
        let mut add = |i: u64| {
            append::write_one(&mut store, Tree::Archive, 0, i, leaf(i)).expect("written").root
        };
        let mut edge = ArchiveFrontier::genesis(leaf(0));
        assert_eq!(edge.root(), add(0));
        for i in 1..70 {
            assert_eq!(edge.append(leaf(i)), Some(()));
            assert_eq!((edge.root(), edge.count()), (add(i), i + 1));
            let again = ArchiveFrontier::of(edge.count(), edge.nodes().to_vec());
            assert_eq!(again.as_ref(), Some(&edge));
        }
    }

    #[test]
    fn an_edge_of_another_number_of_headers_is_none_and_a_full_one_takes_no_more() {
        let word = Fr::from(7u64);
        for (count, nodes) in [(0, 0), (1, 0), (1, 2), (3, 1), ((1 << 32) + 1, 2)] {
            assert_eq!(ArchiveFrontier::of(count, vec![word; nodes]), None, "{count}, {nodes}");
        }
        let mut full = ArchiveFrontier::of(1 << 32, vec![word]).expect("full");
        assert_eq!(full.append(word), None);
        assert_eq!((full.root(), full.count()), (word, 1 << 32));
        let mut last = ArchiveFrontier::of((1 << 32) - 1, vec![word; 32]).expect("one is free");
        assert_eq!(last.append(word), Some(()));
        assert_eq!((last.count(), last.nodes().len()), (1 << 32, 1));
    }
}
