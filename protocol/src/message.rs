//! Messages between L1 and the rollup: their leaves, the running hash and subtree of those from L1, and the
//! tree of those to L1.

use std::collections::BTreeMap;

use ark_ff::Zero;
use rollmill_algebra::{Fr, poseidon2};

use crate::domain;
use crate::field::EthAddress;
use crate::tree::{node_hash, parents};

/// Height of the subtree of messages that a block appends to the message tree.
pub const MESSAGE_SUBTREE_HEIGHT: usize = 6;
/// Most messages from L1 in a block.
pub const MESSAGES_PER_BLOCK: usize = 1 << MESSAGE_SUBTREE_HEIGHT;
/// Leaves that each transaction has in its block's tree of messages to L1.
pub const OUT_LEAVES: usize = 2;
/// Most siblings from a leaf of the tree of messages to L1 up to its root.
pub const OUT_PATH_MAX: usize = 6;

/// The leaf of a general message from L1:
/// `hash(MESSAGE_IN, [sender, recipient, content, secret_hash, index])`.
pub fn message_in(
    sender: EthAddress,
    recipient: &Fr,
    content: &Fr,
    secret_hash: &Fr,
    index: u64,
) -> Fr {
    poseidon2::hash(
        domain::MESSAGE_IN,
        &[sender.to_field(), *recipient, *content, *secret_hash, index.into()],
    )
}

/// The leaf of a deposit into the fee balance of `to`: `hash(FEE_DEPOSIT, [to, amount, index])`.
pub fn deposit_leaf(to: &Fr, amount: u64, index: u64) -> Fr {
    poseidon2::hash(domain::FEE_DEPOSIT, &[*to, amount.into(), index.into()])
}

/// The nullifier of a deposit's leaf: `hash(CLAIM, [leaf])`.
pub fn claim_nullifier(leaf: &Fr) -> Fr {
    poseidon2::hash(domain::CLAIM, &[*leaf])
}

/// The leaf of a general message to L1: `hash(MESSAGE_OUT, [contract, recipient, content])`.
pub fn message_out(contract: &Fr, recipient: EthAddress, content: &Fr) -> Fr {
    poseidon2::hash(domain::MESSAGE_OUT, &[*contract, recipient.to_field(), *content])
}

/// The leaf of a withdrawal: `hash(WITHDRAW, [recipient, amount])`.
pub fn withdraw_leaf(recipient: EthAddress, amount: u64) -> Fr {
    poseidon2::hash(domain::WITHDRAW, &[recipient.to_field(), amount.into()])
}

/// Appends a leaf to the running hash of a block's messages from L1: `hash(MESSAGE_CHAIN, [before, leaf])`.
pub fn in_hash_next(before: &Fr, leaf: &Fr) -> Fr {
    poseidon2::hash(domain::MESSAGE_CHAIN, &[*before, *leaf])
}

/// The running hash over a block's messages from L1, from zero.
pub fn in_hash<'a>(leaves: impl IntoIterator<Item = &'a Fr>) -> Fr {
    leaves.into_iter().fold(Fr::zero(), |before, leaf| in_hash_next(&before, leaf))
}

/// Index in the message tree of the first message of a block. Block `n` has number `n` from the first block
/// after genesis on; `None` for genesis, and when the index does not fit 64 bits.
pub fn first_message_index(block: u64) -> Option<u64> {
    block.checked_sub(1)?.checked_mul(MESSAGES_PER_BLOCK as u64)
}

/// The block that appends the message with this index.
pub fn message_block(index: u64) -> u64 {
    // 2^64 indices are at most 2^58 blocks.
    index / MESSAGES_PER_BLOCK as u64 + 1
}

/// Transactions under the left child of a tree of messages to L1: the largest power of two below their
/// number, which is at least 2.
pub fn out_split(tx_count: usize) -> usize {
    tx_count.next_power_of_two() / 2
}

/// Root of the tree of messages to L1 over each transaction's two leaves; zero without transactions.
pub fn out_root(leaves: &[[Fr; OUT_LEAVES]]) -> Fr {
    // Neighbours from the left, the odd one passes up: this is the shape of `out_split`.
    let mut row = parents(leaves.as_flattened());
    while row.len() > 1 {
        let odd = if row.len() % 2 == 1 { row.pop() } else { None };
        row = parents(&row);
        row.extend(odd);
    }
    row.first().copied().unwrap_or_else(Fr::zero)
}

/// Siblings from a leaf up to the root of [`out_root`]; `None` when there is no such leaf.
pub fn out_path(leaves: &[[Fr; OUT_LEAVES]], tx: usize, which: usize) -> Option<Vec<Fr>> {
    let pair = leaves.get(tx)?;
    let mut path = vec![*pair.get(which ^ 1)?];
    let (mut tx, mut rest) = (tx, leaves);
    let mut above = Vec::new();
    while rest.len() > 1 {
        let (left, right) = rest.split_at(out_split(rest.len()));
        if tx < left.len() {
            above.push(out_root(right));
            rest = left;
        } else {
            above.push(out_root(left));
            (tx, rest) = (tx - left.len(), right);
        }
    }
    path.extend(above.into_iter().rev());
    Some(path)
}

/// The root that a leaf has with these siblings in a block of `tx_count` transactions: what the Outbox
/// computes. `None` for a leaf that is not there, and for a path of another length.
pub fn out_walk(leaf: &Fr, tx: usize, which: usize, tx_count: usize, path: &[Fr]) -> Option<Fr> {
    if tx >= tx_count || which >= OUT_LEAVES {
        return None;
    }
    let (mut tx, mut count) = (tx, tx_count);
    let mut turns = Vec::new();
    while count > 1 {
        let left = out_split(count);
        turns.push(tx >= left);
        (tx, count) = if tx >= left { (tx - left, count - left) } else { (tx, left) };
    }
    turns.push(which == 1);
    (turns.len() == path.len()).then(|| {
        turns.iter().rev().zip(path).fold(*leaf, |node, (right, sibling)| {
            if *right { node_hash(sibling, &node) } else { node_hash(&node, sibling) }
        })
    })
}

/// The plain twin of the contract that collects messages to the rollup by the number of the block that will
/// take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox {
    open: u64,
    leaves: BTreeMap<u64, Vec<Fr>>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// An inbox without messages. Block 1 takes none, so that number 2 is open.
    pub fn new() -> Self {
        Self { open: 2, leaves: BTreeMap::new() }
    }

    /// The number of the block that takes the next message.
    pub fn open(&self) -> u64 {
        self.open
    }

    /// Appends the leaf that `leaf_of` makes of its index, and returns the block's number and the index. 64
    /// messages fill a number.
    pub fn send(&mut self, leaf_of: impl FnOnce(u64) -> Fr) -> (u64, u64) {
        let block = self.open;
        let leaves = self.leaves.entry(block).or_default();
        let index = (block - 1) * MESSAGES_PER_BLOCK as u64 + leaves.len() as u64;
        leaves.push(leaf_of(index));
        if leaves.len() == MESSAGES_PER_BLOCK {
            self.open += 1;
        }
        (block, index)
    }

    /// Called when block `n` is proposed: from now on nobody appends to block `n + 1`, so that it can be
    /// built. Returns the running hash of block `n`; `None` when its messages may still grow.
    pub fn consume(&mut self, n: u64) -> Option<Fr> {
        if n >= self.open {
            return None;
        }
        if self.open == n + 1 {
            self.open += 1;
        }
        Some(in_hash(self.leaves(n)))
    }

    /// The messages of a block so far.
    pub fn leaves(&self, block: u64) -> &[Fr] {
        self.leaves.get(&block).map_or(&[], Vec::as_slice)
    }
}
