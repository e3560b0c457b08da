//! What a prover is paid for: the rows of every proof of an epoch.

use crate::circuit::{Circuit, Family};

/// Rows that a proof of each circuit is paid for, as in its key leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChargedRows([u64; Circuit::ALL.len()]);

impl ChargedRows {
    /// The rows that `rows` names for each circuit.
    pub fn new(rows: impl FnMut(Circuit) -> u64) -> Self {
        Self(Circuit::ALL.map(rows))
    }

    /// Rows charged for a proof of this circuit.
    pub const fn of(&self, circuit: Circuit) -> u64 {
        self.0[circuit as usize]
    }

    /// Rows charged up to the BlockRoot of a block with this many transactions: every TxBase, the
    /// merges that leave at most two ranges, and BlockRoot. `None` on overflow.
    ///
    /// Closed forms, since a number of transactions may be any: the twins of the circuits' own, and equal
    /// to the sum over the proofs of [`crate::EpochPlan`].
    pub fn block(&self, tx_count: u64) -> Option<u64> {
        let root = Circuit::variant(Family::BlockRoot, runs(tx_count));
        let root = self.of(root.expect("a block root for no, one or two runs"));
        let merges = self.of(Circuit::TxMerge).checked_mul(tx_count.saturating_sub(2))?;
        self.of(Circuit::TxBase).checked_mul(tx_count)?.checked_add(merges)?.checked_add(root)
    }

    /// Rows charged in an epoch proof of blocks with these numbers of transactions; `None` when
    /// there is no block, or on overflow.
    pub fn epoch(&self, tx_counts: &[u64]) -> Option<u64> {
        let blocks = tx_counts.iter().try_fold(0u64, |sum, n| sum.checked_add(self.block(*n)?))?;
        let count = tx_counts.len() as u64;
        // None without a block.
        let root = self.of(Circuit::variant(Family::EpochRoot, runs(count))?);
        let merges = count.saturating_sub(2);
        self.of(Circuit::BlockMerge).checked_mul(merges)?.checked_add(blocks)?.checked_add(root)
    }
}

/// Runs that are left for a root after merging: at most two.
fn runs(count: u64) -> usize {
    count.min(2) as usize
}
