//! Deposits on L1 into the account's public balance, and whether they can be claimed.

use rollmill_errors::Bare;
use rollmill_node_client::NodeClient;
use rollmill_node_client::wire::{DEPOSITS_MAX, DepositInfo};
use rollmill_protocol::Header;
use rollmill_protocol::tree::Tree;

use super::{Wallet, node_error};
use crate::error::PxeError;

/// Why a deposit cannot be claimed as the wallet knows the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// This block claimed it.
    Claimed { block: u64 },
    /// A transaction of this wallet that claims it was sent and may still be included.
    Sent,
    /// The block that takes it from L1 was not read yet.
    Waiting { block: u64 },
}

impl Wallet {
    /// What hinders a claim of the deposit with this index; `None` if nothing does.
    pub fn hindrance(&self, deposit: &DepositInfo) -> Option<Hindrance> {
        let index = deposit.index;
        if let Some(block) = self.state.claimed.get(&index) {
            return Some(Hindrance::Claimed { block: *block });
        }
        if self.claims_sent().any(|claimed| claimed == index) {
            return Some(Hindrance::Sent);
        }
        let block = deposit.block_number();
        (block >= self.state.next_block).then_some(Hindrance::Waiting { block })
    }

    /// The oldest deposit of this account that can be claimed, as the node's records of L1 have it.
    ///
    /// # Errors
    /// [`PxeError::NoDeposit`] when there is none.
    pub async fn find_deposit(&self, node: &NodeClient) -> Result<DepositInfo, PxeError> {
        let (mut from, mut waiting) = (0, 0);
        loop {
            let page = node.deposits(&self.owner, from).await.map_err(node_error)?;
            for deposit in &page {
                match self.hindrance(deposit) {
                    None => return Ok(*deposit),
                    Some(Hindrance::Waiting { .. }) => waiting += 1,
                    Some(_) => {}
                }
            }
            match page.last() {
                Some(last) if page.len() >= DEPOSITS_MAX => from = last.index.saturating_add(1),
                _ => return Err(PxeError::NoDeposit { waiting }),
            }
        }
    }

    /// Checks that a deposit can be claimed in the block after `tip`: it is this account's, with this
    /// amount, and not claimed.
    ///
    /// # Errors
    /// [`PxeError::DepositClaimed`], [`PxeError::DepositWaiting`], [`PxeError::DepositUnknown`], and
    /// [`PxeError::Node`] for a path that leads nowhere.
    pub async fn check_deposit(
        &self,
        node: &NodeClient,
        tip: &Header,
        deposit: &DepositInfo,
    ) -> Result<(), PxeError> {
        let (index, amount) = (deposit.index, deposit.amount);
        let unknown = || PxeError::DepositUnknown { index, amount };
        if index >> Tree::Messages.height() != 0 || amount == 0 {
            return Err(unknown());
        }
        match self.hindrance(deposit) {
            Some(Hindrance::Claimed { block }) => {
                let place = format!("in block {block}");
                return Err(PxeError::DepositClaimed { index, place });
            }
            Some(Hindrance::Sent) => {
                let place = "by a transaction that was sent and may still be included".to_owned();
                return Err(PxeError::DepositClaimed { index, place });
            }
            Some(Hindrance::Waiting { block }) => {
                return Err(PxeError::DepositWaiting { index, block, tip: tip.block_number });
            }
            None => {}
        }
        let path = node.message_path(index, &tip.hash()).await.map_err(node_error)?;
        if path.index != index {
            return Err(PxeError::Node("its path is that of another message".to_owned()));
        }
        path.verify(&tip.state.message_root)
            .map_err(|error| PxeError::Node(Bare(&error).to_string()))?;
        // The path is right, so the leaf is what L1 has there.
        if path.leaf == deposit.leaf(&self.owner) { Ok(()) } else { Err(unknown()) }
    }
}
