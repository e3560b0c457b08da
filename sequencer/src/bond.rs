//! The proposer's bond: always shown, and topped up if the operator asks for it.
//!
//! The first block of an epoch locks the bond of its proposer. Without enough in the free part that block reverts, and
//! the epoch stays without blocks until somebody else opens it. So the process warns before that.

use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::economics::{Bond, Economics, Reading, send_within};
use rollmill_l1::{Azt, L1Error, TxReceipt, TxRequest, TxSender};
use rollmill_node::watch;
use rollmill_service::{Again, Conditions, Retry, Shutdown};

use crate::metrics::Metrics;

/// Pause between readings of the bond.
const PAUSE: Duration = Duration::from_secs(12);
/// Longest pause before a failed reading is repeated.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How long one step waits for the inclusion of each of its transactions.
const LAND_LIMIT: Duration = Duration::from_secs(120);
/// The condition of the process.
const CONDITION: &str = "bond";
const APPROVE: &str = "bond/approve";
const TOP_UP: &str = "bond/top-up";

/// Watches the account's bond.
#[derive(Debug)]
pub struct BondKeeper {
    economics: Economics,
    sender: Arc<TxSender>,
    /// What is deposited when the free part does not cover the next epoch; `None` only warns.
    top_up: Option<Azt>,
    metrics: Metrics,
    conditions: Conditions,
}

impl BondKeeper {
    /// For the account of `sender`.
    pub fn new(
        economics: Economics,
        sender: Arc<TxSender>,
        top_up: Option<Azt>,
        metrics: Metrics,
        conditions: Conditions,
    ) -> Self {
        Self { economics, sender, top_up, metrics, conditions }
    }

    /// Reads the bond now and then until `shutdown` starts. Errors of L1 are logged and retried.
    pub async fn run(&self, shutdown: &Shutdown) {
        let retry = Retry::new(PAUSE, RETRY_MAX);
        let succeeded = |wait_seconds| tracing::info!(wait_seconds, "bond read again");
        let failed = |error: &L1Error, Again { repeated, retry_seconds }| {
            tracing::warn!(%error, repeated, retry_seconds, "bond not read or not topped up; retrying");
        };
        watch(PAUSE, retry, shutdown, || self.step(), succeeded, failed).await;
    }

    /// Reads the bond once, shows it, and tops it up if it is too low. True when it did.
    ///
    /// # Errors
    /// When L1 cannot be read, or accepts no deposit. Both can be retried.
    pub async fn step(&self) -> Result<bool, L1Error> {
        let account = self.sender.account();
        let Some(reading) = Reading::of(&self.sender, TOP_UP).await? else { return Ok(false) };
        let bond = self.economics.bond_at(account, reading.head.hash.into()).await?;
        let needed = self.economics.bond_amount().await?;
        self.show(bond, needed);
        let Some(amount) = self.top_up.filter(|_| bond.free < needed) else { return Ok(false) };
        let owned = self.economics.balance(account).await?;
        if owned < amount {
            let why = format!(
                "{}; account {account} has {owned} AZT, which does not cover a top-up of {amount} AZT: send it more",
                too_low(bond, needed)
            );
            self.conditions.set(CONDITION, Err(why));
            return Ok(false);
        }
        let vault = self.economics.contracts().bondVault;
        if self.economics.allowance(account, vault).await? < amount {
            let approval = TxRequest::of(APPROVE, self.economics.approve(vault, amount));
            succeeded(send_within(&self.sender, approval, LAND_LIMIT).await?)?;
        }
        let deposit = TxRequest::of(TOP_UP, self.economics.deposit_bond(account, amount));
        let sent = reading.send_within(&self.sender, deposit, LAND_LIMIT).await?;
        // One that is in no block in time stays pending, and the next step continues with it.
        let Some(receipt) = succeeded(sent)? else { return Ok(false) };
        self.metrics.bond_top_ups_total.inc();
        tracing::info!(%account, l1_tx = %receipt.tx_hash, "bond topped up");
        self.show(self.economics.bond(account).await?, needed);
        Ok(true)
    }

    fn show(&self, bond: Bond, needed: Azt) {
        self.metrics.bond_free_azt.set(bond.free.to_metric());
        self.metrics.bond_locked_azt.set(bond.locked.to_metric());
        self.metrics.bond_needed_azt.set(needed.to_metric());
        let holds = if bond.free < needed { Err(too_low(bond, needed)) } else { Ok(()) };
        self.conditions.set(CONDITION, holds);
    }
}

fn succeeded(sent: Option<TxReceipt>) -> Result<Option<TxReceipt>, L1Error> {
    match sent {
        Some(TxReceipt { id, tx_hash, succeeded: false, .. }) => {
            Err(L1Error::Reverted { id, tx_hash })
        }
        sent => Ok(sent),
    }
}

fn too_low(bond: Bond, needed: Azt) -> String {
    let Bond { free, locked } = bond;
    format!(
        "the free bond is {free} AZT ({locked} AZT are locked), the first block of an epoch locks {needed} AZT; deposit with `rollmill-l1 bond deposit`, or set --bond-top-up"
    )
}
