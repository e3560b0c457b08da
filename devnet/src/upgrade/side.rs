//! One deployment of the run, with the processes that follow it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rollmill_l1::{EpochProven, Follower, L1Client, L1Event};
use rollmill_node_client::NodeClient;
use rollmill_pxe::keys::Keys;

use crate::accounts::Accounts;
use crate::deployment::{Deployment, derived_key, enrich, signer};
use crate::keys::CircuitKeys;
use crate::services::{ProverNode, Sequencer};
use crate::{Error, Network, Progress};

/// Most transactions of a block; the run sends fewer.
const MAX_TXS: u32 = 4;
/// Blocks of an epoch after which it is proven without waiting for its end: those of a claim are two without
/// transactions, with the deposit in the second, and the claim's.
const PREFIX_BLOCKS: u32 = 3;

/// A block on L1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeenBlock {
    pub slot: u64,
    /// In units.
    pub fees: u128,
}

/// A deployment whose processes run.
#[derive(Debug)]
pub(crate) struct Side {
    pub name: &'static str,
    pub deployment: Deployment,
    pub node: NodeClient,
    /// The user's wallet, whose state is one deployment's.
    pub accounts: Accounts,
    pub blocks: BTreeMap<u64, SeenBlock>,
    /// The proofs that L1 accepted.
    pub proven: Vec<EpochProven>,
    follower: Follower,
}

/// Key of the account that proposes for a deployment. Each process has an account of its own, since two senders of one
/// would use the same nonces.
pub(crate) fn proposer_key(name: &str) -> String {
    derived_key(&format!("{name} proposer"))
}

/// Key of the account that proves for a deployment.
pub(crate) fn prover_key(name: &str) -> String {
    derived_key(&format!("{name} prover"))
}

impl Side {
    /// Starts a deployment's sequencer and prover node.
    pub(crate) async fn start(
        name: &'static str,
        deployment: Deployment,
        network: &mut Network,
        l1: &L1Client,
        keys: &Arc<CircuitKeys>,
        broker: SocketAddr,
        user: Keys,
    ) -> Result<Self, Error> {
        enrich(l1, signer(&prover_key(name))?.address()).await?;
        let sequencer =
            Sequencer::eager(&format!("{name}-sequencer"), &proposer_key(name), MAX_TXS);
        let node = network.ports.free()?;
        sequencer.start(network, &deployment, node).await?;
        let prover = ProverNode {
            name: format!("{name}-prover-node"),
            key: prover_key(name),
            prefix_blocks: PREFIX_BLOCKS,
            dry_run: false,
        };
        prover.start(network, &deployment, keys, broker, &[node]).await?;
        let follower =
            Follower::start(l1.clone(), deployment.followed(), deployment.l1_start).await?;
        Ok(Self {
            name,
            node: NodeClient::new(&format!("http://{node}"))?,
            accounts: Accounts::new(1, vec![user], Arc::clone(keys)),
            deployment,
            blocks: BTreeMap::new(),
            proven: Vec::new(),
            follower,
        })
    }

    /// Polls L1 and notes new blocks and proofs. Returns the proofs.
    pub(crate) async fn follow(
        &mut self,
        progress: &mut Progress,
    ) -> Result<Vec<EpochProven>, Error> {
        let mut proven = Vec::new();
        for event in self.follower.poll().await? {
            match event {
                L1Event::BlockProposed(block) => {
                    progress.line(&format!(
                        "{}: block {} on L1: slot {}, epoch {}, {} transactions",
                        self.name,
                        block.block_number,
                        block.slot,
                        self.epoch(block.slot),
                        block.tx_count
                    ));
                    let seen = SeenBlock { slot: block.slot, fees: block.total_fees };
                    self.blocks.insert(block.block_number, seen);
                }
                L1Event::EpochProven(event) => proven.push(event),
                L1Event::MessageSent(_) => {}
                L1Event::Pruned(pruned) => {
                    let what = format!("{}: blocks were pruned", self.name);
                    let reason = format!("nobody proved epoch {}", pruned.epoch);
                    return Err(Error::Upgrade { what, reason });
                }
                L1Event::Rewind { to } => {
                    let what = format!("{}: L1 was reorganised", self.name);
                    let reason = format!("its blocks after {} are gone", to.number);
                    return Err(Error::Upgrade { what, reason });
                }
            }
        }
        self.proven.extend(proven.iter().cloned());
        Ok(proven)
    }

    /// The newest block on L1.
    pub(crate) fn tip(&self) -> u64 {
        self.blocks.last_key_value().map_or(0, |(number, _)| *number)
    }

    pub(crate) fn epoch(&self, slot: u64) -> u64 {
        slot / self.deployment.config.slots_per_epoch.max(1)
    }

    /// Whether L1 accepted a proof of the block.
    pub(crate) fn is_proven(&self, block: u64) -> bool {
        self.proven.iter().any(|event| event.last_block >= block)
    }
}
