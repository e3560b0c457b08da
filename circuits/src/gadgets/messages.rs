//! The messages from L1 of one block: their running hash, which L1 computes, and their leaves for the message tree.
//!
//! L1 gives every block at most [`MESSAGES_PER_BLOCK`] messages and hashes them one after the other. The circuit opens that hash and
//! appends the same leaves as an aligned subtree, with zeros after the last message. A message's leaf is a hash, so
//! that none is zero.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::domain;
use rollmill_protocol::message::MESSAGES_PER_BLOCK;

use crate::gadgets::merkle::{TreeVars, append};
use crate::gadgets::shape::assert_absent_last;

/// A block's messages, opened.
#[derive(Debug, Clone)]
pub struct Messages {
    /// `H(MESSAGE_CHAIN; hash before, leaf)` over the present leaves, from 0.
    pub in_hash: Var,
    /// [`MESSAGES_PER_BLOCK`] leaves, 0 where there is none.
    leaves: Vec<Var>,
}

impl Messages {
    /// Opens up to [`MESSAGES_PER_BLOCK`] leaves, present ones first.
    pub fn open(b: &mut Builder, leaves: &[Fr]) -> Self {
        let leaf = |i: usize| leaves.get(i).copied().unwrap_or_default();
        let leaves: Vec<Var> = (0..MESSAGES_PER_BLOCK).map(|i| b.witness(leaf(i))).collect();
        let absent = assert_absent_last(b, &leaves);
        let mut in_hash = Builder::ZERO;
        for (leaf, absent) in leaves.iter().zip(absent) {
            let next = b.hash(domain::MESSAGE_CHAIN, &[in_hash, *leaf]);
            in_hash = b.select(absent, in_hash, next);
        }
        Self { in_hash, leaves }
    }

    /// The message tree, of `height` levels, with the block's subtree appended.
    pub fn append(&self, b: &mut Builder, tree: TreeVars, path: &[Fr], height: usize) -> TreeVars {
        append(b, tree, &self.leaves, path, height)
    }
}

#[cfg(test)]
mod tests {
    use rollmill_plonk::check::check;
    use rollmill_protocol::message;
    use rollmill_protocol::tree::{empty_root, root_from_path, subtree_root};

    use super::*;

    const HEIGHT: usize = 8;

    fn leaf(i: u64) -> Fr {
        Fr::from(1000 + i)
    }

    /// The tree of two blocks with messages, and the path of the third.
    fn tree() -> (Fr, Vec<Fr>) {
        let path = vec![empty_root(6), Fr::from(99u64)];
        (root_from_path(&empty_root(6), 2, &path), path)
    }

    /// Running hash and root after these messages of the third block, at this index; none if they are rejected.
    fn appended(leaves: &[Fr], count: u64) -> Option<[Fr; 3]> {
        let mut b = Builder::new(0, 10);
        let messages = Messages::open(&mut b, leaves);
        let (root, path) = tree();
        assert_eq!(path.len(), HEIGHT - 6);
        let before = TreeVars { root: b.witness(root), count: b.witness(Fr::from(count)) };
        let after = messages.append(&mut b, before, &path, HEIGHT);
        let out = [messages.in_hash, after.root, after.count].map(|var| b.value(var));
        let (layout, witness) = b.finish(None).expect("fits");
        check(&layout, &witness).is_ok().then_some(out)
    }

    #[test]
    fn hash_and_root_are_those_of_the_messages_and_of_zeros_behind_them() {
        for n in [0, 1, 2, 63, 64] {
            let leaves: Vec<Fr> = (0..n).map(leaf).collect();
            let mut padded = leaves.clone();
            padded.resize(MESSAGES_PER_BLOCK, Fr::from(0u64));
            let root = root_from_path(&subtree_root(&padded), 2, &tree().1);
            let expected = [message::in_hash(&leaves), root, Fr::from(192u64)];
            assert_eq!(appended(&leaves, 128), Some(expected), "{n} messages");
        }
    }

    /// Attacks: a message moved to another index, which has the same running hash, and the messages in another
    /// place of the tree.
    #[test]
    fn messages_with_a_gap_or_in_another_place_are_rejected() {
        let zero = Fr::from(0u64);
        assert!(appended(&[leaf(1), leaf(2)], 128).is_some());
        assert_eq!(appended(&[leaf(1), zero, leaf(2)], 128), None, "absent in the middle");
        assert_eq!(appended(&[zero, leaf(1)], 128), None, "absent first");
        for count in [0, 64, 127, 129, 256] {
            assert_eq!(appended(&[leaf(1)], count), None, "at {count}");
        }
    }

    #[test]
    fn messages_in_another_order_or_number_have_another_hash() {
        let hash = |leaves: &[Fr]| appended(leaves, 128).expect("accepted")[0];
        let both = hash(&[leaf(1), leaf(2)]);
        assert_ne!(both, hash(&[leaf(2), leaf(1)]));
        assert_ne!(both, hash(&[leaf(1)]));
        assert_ne!(both, hash(&[leaf(1), leaf(2), leaf(2)]));
    }
}
