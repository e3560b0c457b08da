//! What the prover is owed on L1: always shown, and claimed if the operator asks for it.
//!
//! An epoch's proof is credited when the epoch is settled. The submission of a proof settles an epoch that is over;
//! one that was proven before its end is settled by a call that anybody can make. So a node that claims also settles.

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::economics::{Call, Due, Economics, head_after, send_within, settle};
use rollmill_l1::{Azt, DeploymentInfo, L1Error, RollupContract, TxReceipt, TxRequest, TxSender};
use rollmill_node::watch;
use rollmill_service::{Again, Retry, Shutdown};

use crate::metrics::Metrics;

/// Pause between readings of what is owed.
const PAUSE: Duration = Duration::from_secs(30);
/// Longest pause before a failed reading is repeated.
const RETRY_MAX: Duration = Duration::from_secs(120);
/// How long one step waits for the inclusion of each of its transactions.
const LAND_LIMIT: Duration = Duration::from_secs(120);
/// Proven epochs that are looked through for one that nobody has settled or claimed.
const EPOCHS_MAX: usize = 4;
const CLAIM: &str = "rewards/claim";

/// Watches what an account is owed.
#[derive(Debug)]
pub struct Claims {
    contract: RollupContract,
    info: DeploymentInfo,
    economics: Economics,
    /// Sends the calls; `None` only watches.
    sender: Option<Arc<TxSender>>,
    /// Who is paid.
    prover: Address,
    /// Claims are made from this amount on; `None` makes none.
    above: Option<Azt>,
    metrics: Metrics,
}

impl Claims {
    /// For a prover in a deployment.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond.
    pub async fn new(
        contract: &RollupContract,
        info: &DeploymentInfo,
        sender: Option<Arc<TxSender>>,
        prover: Address,
        above: Option<Azt>,
        metrics: Metrics,
    ) -> Result<Self, L1Error> {
        let economics = contract.economics(info).await?;
        let (contract, info) = (contract.clone(), info.clone());
        Ok(Self { contract, info, economics, sender, prover, above, metrics })
    }

    /// Reads what is owed now and then until `shutdown` starts. Errors of L1 are logged and retried.
    pub async fn run(&self, shutdown: &Shutdown) {
        let retry = Retry::new(PAUSE, RETRY_MAX);
        let succeeded = |wait_seconds| tracing::info!(wait_seconds, "rewards read again");
        let failed = |error: &L1Error, Again { repeated, retry_seconds }| {
            tracing::warn!(%error, repeated, retry_seconds, "rewards not read or not claimed; retrying");
        };
        watch(PAUSE, retry, shutdown, || self.step(), succeeded, failed).await;
    }

    /// Reads once what is owed, and claims it if it is enough. True when it did.
    ///
    /// # Errors
    /// When L1 cannot be read, or accepts no claim. Both can be retried.
    pub async fn step(&self) -> Result<bool, L1Error> {
        let (Some(above), Some(sender)) = (self.above, &self.sender) else {
            self.show(self.economics.owed(self.prover).await?);
            return Ok(false);
        };
        self.credit(sender).await?;
        let Some(head) = head_after(sender, CLAIM).await? else { return Ok(false) };
        let owed = self.economics.owed_at(self.prover, head.hash.into()).await?;
        self.show(owed);
        if owed.is_zero() || owed < above {
            return Ok(false);
        }
        let claim = self.economics.claim(self.prover);
        let Some(receipt) = send(sender, CLAIM.to_owned(), claim).await? else {
            return Ok(false);
        };
        self.metrics.rewards_claims_total.inc();
        tracing::info!(account = %self.prover, l1_tx = %receipt.tx_hash, "rewards claimed");
        // Rewards may have had less than it owes.
        self.show(self.economics.owed(self.prover).await?);
        Ok(true)
    }

    /// Settles the newest epochs, and claims the fees of their blocks if a prover has a part of them.
    async fn credit(&self, sender: &Arc<TxSender>) -> Result<(), L1Error> {
        let has_part = self.economics.rates().await?.proverBps != 0;
        for due in self.contract.dues(&self.info, &self.economics, EPOCHS_MAX).await? {
            let (purpose, call) = match due {
                Due::Settle { epoch } => {
                    (format!("settle/{epoch}"), settle(self.contract.address(), epoch))
                }
                Due::Claim(blocks) if has_part => {
                    let selection = self.contract.selection(&self.info);
                    let committee = selection.committee(blocks.epoch).await?;
                    let purpose = format!("claim-blocks/{}", blocks.epoch);
                    (purpose, self.economics.claim_blocks(blocks, committee))
                }
                Due::Claim(_) => continue,
            };
            match send(sender, purpose, call).await {
                // Somebody else was faster.
                Ok(_) | Err(L1Error::WouldRevert { .. } | L1Error::Dropped { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn show(&self, owed: Azt) {
        self.metrics.rewards_owed_azt.set(owed.to_metric());
    }
}

/// Sends a call and waits for its inclusion; `None` if it is in no block in time, or reverted because the state has
/// changed meanwhile. A pending one stays, and the next step continues with it.
async fn send(
    sender: &TxSender,
    purpose: String,
    call: Call,
) -> Result<Option<TxReceipt>, L1Error> {
    let sent = send_within(sender, TxRequest::of(purpose, call), LAND_LIMIT).await?;
    Ok(sent.filter(|receipt| receipt.succeeded))
}
