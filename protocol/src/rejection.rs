//! Why a transaction cannot be part of a block.

use rollmill_algebra::Fr;

use crate::field;
use crate::gas::Gas;
use crate::tree::{StorageError, Tree};
use crate::tx::EffectsError;

/// Why a transaction cannot be part of a block. The state is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxRejection {
    /// The effects or the logs break a rule of every block.
    #[error(transparent)]
    Effects(#[from] EffectsError),
    /// The transaction is for another L1 chain.
    ///
    /// Do: Use the wallet with a node of its own chain.
    #[error("{code}: chain id {expected} expected, got {got}", code = self.code())]
    WrongChain { expected: u64, got: u64 },
    /// The transaction is for another deployment.
    ///
    /// Do: Use the wallet with a node of its own deployment.
    #[error("{code}: rollup version {expected} expected, got {got}", code = self.code())]
    WrongVersion { expected: u64, got: u64 },
    /// The transaction's anchor is not in the archive before the block.
    ///
    /// Do: Sync the wallet and build the transaction again.
    #[error("{code}: anchor {} is not in the archive", field::to_hex(.anchor), code = self.code())]
    UnknownAnchor { anchor: Fr },
    /// The block's gas price is above the transaction's maximum.
    ///
    /// Do: Wait for lower prices, or build the transaction again with a higher maximum.
    #[error("{code}: {kind} gas costs {price} a unit, at most {max} is allowed", code = self.code())]
    PriceAboveMax { kind: &'static str, price: u64, max: u64 },
    /// The gas limits do not cover the gas used and the teardown limits.
    ///
    /// Do: Build the transaction again with higher limits.
    #[error("{code}: gas limits do not cover the gas used and the teardown limits", code = self.code())]
    GasLimit,
    /// The fee does not fit 64 bits.
    ///
    /// Do: Build the transaction again with lower prices or limits.
    #[error("{code}: the fee at prices {l2} and {da} does not fit 64 bits", code = self.code())]
    FeeOverflow { l2: u64, da: u64 },
    /// The block has less gas left than the transaction uses.
    ///
    /// Do: Nothing: the transaction goes into a later block, unless it uses more than a block may.
    #[error("{code}: {} L2 and {} DA gas are needed, {} and {} are left", .needed.l2, .needed.da, .left.l2, .left.da, code = self.code())]
    BlockGas { needed: Gas, left: Gas },
    /// The block's slot is after the last one the transaction allows.
    ///
    /// Do: Build the transaction again.
    #[error("{code}: slot {slot} is after the transaction's last, {expiry}", code = self.code())]
    Expired { expiry: u64, slot: u64 },
    /// A nullifier is already in the tree: the note was spent, or the transaction is already
    /// included.
    ///
    /// Do: Sync the wallet. If the transfer is not in its history, send it again from other notes.
    #[error("{code}: nullifier {} was published before", field::to_hex(.nullifier), code = self.code())]
    NullifierSpent { nullifier: Fr },
    /// A nullifier occurs twice in the transaction.
    ///
    /// Do: Create it with a wallet of the same release.
    #[error("{code}: nullifier {} occurs twice in the transaction", field::to_hex(.nullifier), code = self.code())]
    NullifierRepeated { nullifier: Fr },
    /// There is no such deposit in the blocks before.
    ///
    /// Do: Wait until the block that takes the deposit from L1 was built. Otherwise check amount and index.
    #[error("{code}: no deposit of this amount for the fee payer is message {index}", code = self.code())]
    ClaimUnknown { index: u64 },
    /// The deposit was claimed before.
    ///
    /// Do: Nothing: its amount is in the balance of its account. Build the transaction without the claim.
    #[error("{code}: the deposit of message {index} was claimed before", code = self.code())]
    ClaimSpent { index: u64 },
    /// A state tree is full.
    ///
    /// Do: Nothing helps on this deployment: it has reached its capacity.
    #[error("{code}: the tree {tree:?} is full", code = self.code())]
    TreeFull { tree: Tree },
    /// The balance, or the value that leaves the notes, does not cover the fee and what else is taken.
    ///
    /// Do: Pay from an account or from notes with enough value, or wait for a lower fee.
    #[error("{code}: {due} units are due, {funds} are there", code = self.code())]
    ValueTooLow { funds: u128, due: u128 },
    /// The balance or the refund would not fit 64 bits.
    ///
    /// Do: Take less value out of the notes.
    #[error("{code}: the {left} units that are left do not fit 64 bits", code = self.code())]
    ValueOverflow { left: u128 },
    /// The block holds the maximum number of transactions.
    ///
    /// Do: Nothing: the transaction goes into a later block.
    #[error("{code}: the block already holds {max} transactions", code = self.code())]
    BlockFull { max: usize },
}

// PRO-020, PRO-030 and PRO-031 are retired.
rollmill_errors::coded! {
    TxRejection {
        Self::Effects(error) => (error),
        Self::WrongChain { .. } => "PRO-021",
        Self::WrongVersion { .. } => "PRO-022",
        Self::UnknownAnchor { .. } => "PRO-023",
        Self::PriceAboveMax { .. } => "PRO-024",
        Self::GasLimit => "PRO-025",
        Self::FeeOverflow { .. } => "PRO-026",
        Self::NullifierSpent { .. } => "PRO-027",
        Self::NullifierRepeated { .. } => "PRO-028",
        Self::TreeFull { .. } => "PRO-029",
        Self::BlockFull { .. } => "PRO-032",
        Self::BlockGas { .. } => "PRO-033",
        Self::Expired { .. } => "PRO-034",
        Self::ClaimUnknown { .. } => "PRO-035",
        Self::ClaimSpent { .. } => "PRO-036",
        Self::ValueTooLow { .. } => "PRO-037",
        Self::ValueOverflow { .. } => "PRO-038",
    }
}

impl TxRejection {
    /// The name that the specification gives the rule; `None` for the rules that only nodes have.
    pub const fn rule(&self) -> Option<&'static str> {
        Some(match self {
            Self::Effects(error) => error.rule(),
            Self::WrongChain { .. }
            | Self::WrongVersion { .. }
            | Self::UnknownAnchor { .. }
            | Self::TreeFull { .. } => return None,
            Self::PriceAboveMax { .. } => "price",
            Self::GasLimit => "gas_limit",
            Self::FeeOverflow { .. } => "fee_overflow",
            Self::BlockGas { .. } => "block_gas",
            Self::Expired { .. } => "expired",
            Self::NullifierSpent { .. } => "nullifier_spent",
            Self::NullifierRepeated { .. } => "nullifier_repeated",
            Self::ClaimUnknown { .. } => "claim_unknown",
            Self::ClaimSpent { .. } => "claim_spent",
            Self::ValueTooLow { .. } => "value_too_low",
            Self::ValueOverflow { .. } => "value_overflow",
            Self::BlockFull { .. } => "block_full",
        })
    }
}

/// Why a transaction was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The transaction is at fault; the state is as it was.
    #[error(transparent)]
    Rejected(#[from] TxRejection),
    /// The store is at fault; what was written must be dropped.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

rollmill_errors::coded! {
    ApplyError {
        Self::Rejected(error) => (error),
        Self::Storage(error) => (error),
    }
}

impl From<EffectsError> for ApplyError {
    fn from(error: EffectsError) -> Self {
        Self::Rejected(error.into())
    }
}
