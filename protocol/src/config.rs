//! What a deployment fixes once and for all, and its hash, which circuits open.

use rollmill_algebra::{Fr, poseidon2};
use serde::{Deserialize, Serialize};

use crate::codec::DecodeError;
use crate::domain;
use crate::gas::{
    DA_GAS_PER_TX, FEE_PER_GAS_MAX, FeePerGas, Gas, L2_GAS_PER_TX, MAX_TXS_PER_BLOCK,
    next_fee_per_gas,
};
use crate::header::Header;
use crate::layout::layout;
use crate::message::MESSAGE_SUBTREE_HEIGHT;

/// Most slots in an epoch.
pub const SLOTS_PER_EPOCH_MAX: u64 = 1024;
/// The last slot there is, which is below 2^48.
pub const SLOT_MAX: u64 = (1 << 48) - 1;

layout! {
    /// The parameters of a deployment. The contract's constructor checks their bounds, and the circuits
    /// rely on them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Config as ConfigLayout, "config", checked by check {
        /// Seconds since 1970 at the start of slot 0.
        pub genesis_time: u64 as 40,
        /// Seconds of a slot.
        pub slot_seconds: u64 as 16,
        /// Slots of an epoch.
        pub slots_per_epoch: u64 as 11,
        /// Most L2 gas in a block.
        pub l2_gas_limit: u64 as 22,
        /// L2 gas of a block at which the price stays.
        pub l2_gas_target: u64 as 22,
        /// Most DA gas in a block.
        pub da_gas_limit: u64 as 16,
        /// DA gas of a block at which the price stays.
        pub da_gas_target: u64 as 16,
        /// Least price of a unit of gas of either kind.
        pub min_fee_per_gas: u64 as 41,
        /// Height of the subtree of messages that a block appends; the circuits have it as a literal.
        pub message_subtree_height: u64 as 8,
    }
}

impl Config {
    /// Checks the bounds of every parameter.
    ///
    /// # Errors
    /// [`DecodeError::Shape`] names the first parameter that is out of its bounds.
    pub fn check(&self) -> Result<(), DecodeError> {
        let blocks = MAX_TXS_PER_BLOCK as u64;
        let height = MESSAGE_SUBTREE_HEIGHT as u64;
        for (name, got, min, max) in [
            ("genesis_time", self.genesis_time, 0, (1 << 40) - 1),
            ("slot_seconds", self.slot_seconds, 1, (1 << 16) - 1),
            ("slots_per_epoch", self.slots_per_epoch, 1, SLOTS_PER_EPOCH_MAX),
            ("l2_gas_limit", self.l2_gas_limit, L2_GAS_PER_TX, blocks * L2_GAS_PER_TX),
            ("l2_gas_target", self.l2_gas_target, 1, self.l2_gas_limit),
            ("da_gas_limit", self.da_gas_limit, DA_GAS_PER_TX, blocks * DA_GAS_PER_TX),
            ("da_gas_target", self.da_gas_target, 1, self.da_gas_limit),
            ("min_fee_per_gas", self.min_fee_per_gas, 1, FEE_PER_GAS_MAX),
            ("message_subtree_height", self.message_subtree_height, height, height),
        ] {
            if !(min..=max).contains(&got) {
                let reason = format!("{name}: {min} to {max} expected, got {got}");
                return Err(DecodeError::Shape { what: "config", reason });
            }
        }
        Ok(())
    }

    /// `hash(CONFIG, fields)`.
    pub fn hash(&self) -> Fr {
        poseidon2::hash(domain::CONFIG, &self.to_fields())
    }

    /// Seconds since 1970 at the start of a slot; `None` above [`SLOT_MAX`].
    pub fn timestamp(&self, slot: u64) -> Option<u64> {
        if slot > SLOT_MAX {
            return None;
        }
        slot.checked_mul(self.slot_seconds)?.checked_add(self.genesis_time)
    }

    /// The slot at a time in seconds since 1970, as L1 computes it: 0 before genesis.
    pub fn slot_at(&self, time: u64) -> u64 {
        // No config has slots of no seconds.
        time.saturating_sub(self.genesis_time) / self.slot_seconds.max(1)
    }

    /// The epoch of a slot.
    pub fn epoch(&self, slot: u64) -> u64 {
        // No config has epochs without slots.
        slot / self.slots_per_epoch.max(1)
    }

    /// The prices of the block after this one.
    pub fn prices_after(&self, parent: &Header) -> FeePerGas {
        let next =
            |price, used, target| next_fee_per_gas(price, used, target, self.min_fee_per_gas);
        FeePerGas {
            l2: next(parent.fee_per_l2_gas, parent.l2_gas_used, self.l2_gas_target),
            da: next(parent.fee_per_da_gas, parent.da_gas_used, self.da_gas_target),
        }
    }

    /// Most gas in a block.
    pub fn gas_limit(&self) -> Gas {
        Gas { l2: self.l2_gas_limit, da: self.da_gas_limit }
    }
}
