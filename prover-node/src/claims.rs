//! What the prover is owed on L1: always shown, and claimed if the operator asks for it.
//!
//! An epoch's proof is credited when the epoch is settled. The submission of a proof settles an epoch that is over;
//! one that was proven before its end is settled by a call that anybody can make. So a node that claims also settles.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::economics::{Call, Due, Economics, Reading, send_within, settle};
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
/// Proven epochs, the newest ones, that are looked through for one that nobody has settled or claimed.
const EPOCHS_MAX: usize = 4;
/// Epochs that one step looks through for older ones that nobody has settled, with two reads of L1 for each. A process
/// that starts has all of them to look through.
const SEARCHED_MAX: usize = 64;
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
    /// First block of the oldest epoch that is not known to be settled. It follows from L1, so it is in memory only. A
    /// settlement that L1 reorganises away is sent again by its sender.
    unsettled_from: AtomicU64,
    /// Whether Rewards had too little at the last reading, which is told once.
    is_short: AtomicBool,
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
        let (unsettled_from, is_short) = (AtomicU64::new(1), AtomicBool::new(false));
        Ok(Self {
            contract,
            info,
            economics,
            sender,
            prover,
            above,
            metrics,
            unsettled_from,
            is_short,
        })
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
            self.show_latest().await?;
            return Ok(false);
        };
        self.credit(sender).await?;
        let Some(reading) = Reading::of(sender, CLAIM).await? else { return Ok(false) };
        let owed = self.economics.owed_at(self.prover, reading.head.hash.into()).await?;
        let payable = self.economics.payable_at(self.prover, reading.head.hash.into()).await?;
        self.show(owed, payable);
        if owed.is_zero() || owed < above {
            return Ok(false);
        }
        // A claim that pays nothing is no error, and costs the same each time.
        if !self.is_enough(owed, payable, above) {
            return Ok(false);
        }
        let claim = TxRequest::of(CLAIM, self.economics.claim(self.prover));
        let sent = reading.send_within(sender, claim, LAND_LIMIT).await?;
        let Some(receipt) = sent.filter(|receipt| receipt.succeeded) else {
            return Ok(false);
        };
        self.metrics.rewards_claims_total.inc();
        tracing::info!(account = %self.prover, l1_tx = %receipt.tx_hash, "rewards claimed");
        // Rewards may have had less than it owes.
        self.show_latest().await?;
        Ok(true)
    }

    /// Settles epochs, and claims the fees of their blocks if a prover has a part of them.
    async fn credit(&self, sender: &Arc<TxSender>) -> Result<(), L1Error> {
        let has_part = self.economics.rates().await?.proverBps != 0;
        for due in self.dues().await? {
            self.pay(sender, due, has_part).await?;
            // The next step finds them only if the epoch is among the newest.
            if let Due::Settle { epoch } = due
                && has_part
                && let Some(blocks) = self.contract.unclaimed_of(&self.economics, epoch).await?
            {
                self.pay(sender, Due::Claim(blocks), has_part).await?;
            }
        }
        Ok(())
    }

    /// What is due of the oldest epochs that are not settled, a few in each step, and of the newest ones.
    async fn dues(&self) -> Result<Vec<Due>, L1Error> {
        let from = self.unsettled_from.load(Ordering::Relaxed);
        let (oldest, from) = self.contract.unsettled(&self.info, from, SEARCHED_MAX).await?;
        self.unsettled_from.store(from, Ordering::Relaxed);
        let newest = self.contract.dues(&self.info, &self.economics, EPOCHS_MAX).await?;
        let oldest = oldest.into_iter().take(EPOCHS_MAX).map(|epoch| Due::Settle { epoch });
        let mut dues: Vec<Due> = oldest.filter(|due| !newest.contains(due)).collect();
        dues.extend(newest);
        Ok(dues)
    }

    /// Does what is due for the pay of an epoch.
    async fn pay(&self, sender: &TxSender, due: Due, has_part: bool) -> Result<(), L1Error> {
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
            Due::Claim(_) => return Ok(()),
        };
        match send(sender, purpose, call).await {
            // Somebody else was faster.
            Ok(_) | Err(L1Error::WouldRevert { .. } | L1Error::Dropped { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether Rewards can pay enough for a claim.
    fn is_enough(&self, owed: Azt, payable: Azt, above: Azt) -> bool {
        let is_enough = !payable.is_zero() && payable >= above;
        let was_short = self.is_short.swap(!is_enough, Ordering::Relaxed);
        if !is_enough && !was_short {
            tracing::warn!(
                account = %self.prover, owed_azt = %owed, payable_azt = %payable,
                "funds of Rewards are below what it owes; nothing is claimed until it has more"
            );
        }
        is_enough
    }

    async fn show_latest(&self) -> Result<(), L1Error> {
        let owed = self.economics.owed(self.prover).await?;
        self.show(owed, self.economics.payable(self.prover).await?);
        Ok(())
    }

    fn show(&self, owed: Azt, payable: Azt) {
        self.metrics.rewards_owed_azt.set(owed.to_metric());
        self.metrics.rewards_payable_azt.set(payable.to_metric());
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
