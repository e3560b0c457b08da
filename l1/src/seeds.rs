//! Seeds that committees are drawn with, where they are drawn from stakers.

use alloy::eips::BlockId;
use alloy::primitives::Address;
use alloy::providers::RootProvider;

use crate::abi::Staking;
use crate::attest::Duty;
use crate::client::Selection;
use crate::economics::Call;
use crate::error::L1Error;

/// Epochs from that in which a seed is recorded to that whose committee is drawn with it.
pub const SEED_LAG: u64 = 2;
/// The first epoch whose seed has a use: the committees of epochs 0 to 2 would be drawn from a set that is older than
/// the chain.
pub const FIRST_SEED: u64 = 1;
/// Number of the state "active" of a stake.
const ACTIVE: u8 = 1;

/// Typed reads of the contract that draws committees from stakers.
#[derive(Debug, Clone)]
pub struct Seeds {
    selection: Selection,
    instance: Staking::StakingInstance<RootProvider>,
}

impl Selection {
    /// The seeds of the committees; `None` for a fixed committee, which needs none.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond.
    pub async fn seeds(&self) -> Result<Option<Seeds>, L1Error> {
        if self.stake_token().await?.is_zero() {
            return Ok(None);
        }
        let instance = Staking::new(self.address(), self.provider());
        Ok(Some(Seeds { selection: self.clone(), instance }))
    }
}

impl Seeds {
    /// Whether a seed was recorded in this epoch, after an L1 block.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond, as from the functions below.
    pub async fn is_recorded(&self, epoch: u64, at: BlockId) -> Result<bool, L1Error> {
        let seed = self.instance.seedOf(epoch.saturating_add(SEED_LAG)).block(at).call().await;
        Ok(!seed.map_err(L1Error::contract("seedOf"))?.is_zero())
    }

    /// An account's place in the set from which committees are drawn, after an L1 block; `None` if it is not in it.
    pub async fn index_of(&self, account: Address, at: BlockId) -> Result<Option<u32>, L1Error> {
        let attester = self.instance.attesterOf(account).block(at).call().await;
        let attester = attester.map_err(L1Error::contract("attesterOf"))?;
        Ok((attester.status == ACTIVE).then_some(attester.index))
    }

    /// [`Selection::duty`]: the members are in the order in which they were drawn. Without a committee no proposal records
    /// a seed.
    pub async fn duty(&self, slot: u64, epoch: u64) -> Result<Option<Duty>, L1Error> {
        self.selection.duty(slot, epoch).await
    }

    /// Records the seed of the epoch in which it is included.
    pub fn record(&self) -> Call {
        Call::new(*self.instance.address(), &Staking::recordSeedCall {})
    }
}
