//! A decision of governance on a running network: proposed, voted on, queued, and executed after the timelock's delay.

use rollmill_l1::abi::{Deployments, Governance};
use rollmill_l1::alloy::primitives::{Address, Bytes};
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1::{L1Error, TxRequest, TxSender};

use super::{Upgrade, VOTING};
use crate::Error;
use crate::deployment::send;
use crate::error::getter;
use crate::governance::{AGAINST, FOR, Motion};

/// Gas of each call here. An estimate would not do: it is made at the time of the newest block, and a second later a
/// vote's checkpoint may be a new one.
const GAS_LIMIT: u64 = 5_000_000;

impl Upgrade<'_> {
    /// The holders' tokens vote from now on.
    pub(super) async fn delegate(&mut self) -> Result<(), Error> {
        for holder in [&self.deployer.sender, &self.user.l1, &self.early.l1] {
            let delegatee = holder.account();
            let call = rollmill_l1::abi::AztToken::delegateCall { delegatee };
            send(holder, "delegate", self.common.token, &call).await?;
        }
        Ok(())
    }

    /// Takes a motion through governance: the first holder and the user vote for it, the early depositor against.
    pub(super) async fn decide(&mut self, of: &str, motion: &Motion) -> Result<(), Error> {
        let name = motion.description.clone();
        let to = motion.governance;
        // A proposer needs its votes of the second before: those that were delegated just now count from the next one on.
        let delegated = self.l1.latest().await?.timestamp;
        self.l1_time(delegated + 1, "votes to count").await?;
        call(&self.deployer.sender, &format!("{name}/propose"), to, &motion.propose()).await?;
        let proposed = self.l1.latest().await?.timestamp;
        let proposal_id = motion.id(&self.l1).await?;
        self.l1_time(proposed + VOTING.delay + 1, "a vote").await?;
        let id = format!("{name}/vote");
        let vote = |support| Governance::castVoteCall { proposalId: proposal_id, support };
        let (yes, no) = (vote(FOR), vote(AGAINST));
        tokio::try_join!(
            call(&self.deployer.sender, &id, to, &yes),
            call(&self.user.l1, &id, to, &yes),
            call(&self.early.l1, &id, to, &no),
        )?;
        let ends = proposed + VOTING.delay + VOTING.period;
        self.l1_time(ends + 2, "the end of a vote").await?;
        call(&self.user.l1, &format!("{name}/queue"), to, &motion.queue()).await?;
        let queued = self.l1.latest().await?.timestamp;
        self.l1_time(queued + VOTING.timelock_delay + 1, "the timelock's delay").await?;
        call(&self.user.l1, &format!("{name}/execute"), to, &motion.execute()).await?;
        self.step(of, format!("\"{name}\" proposed, voted, queued and executed"));
        Ok(())
    }

    /// Waits for a time of L1.
    async fn l1_time(&mut self, second: u64, waits_for: &str) -> Result<(), Error> {
        while self.l1.latest().await?.timestamp < second {
            self.turn(waits_for).await?;
        }
        Ok(())
    }

    /// Requires that the list names this deployment as canonical.
    pub(super) async fn require_canonical(
        &mut self,
        name: &'static str,
        rollup: Address,
    ) -> Result<(), Error> {
        let list = Deployments::new(self.common.deployments, self.l1.provider().clone());
        let canonical = list.canonical().call().await.map_err(getter("canonical"))?;
        let version = self.l1.rollup(rollup).await?.info().await?.version;
        if canonical.version == version {
            self.step(name, format!("listed as \"{}\", funded and canonical", canonical.name));
            return Ok(());
        }
        let reason = format!("{} is, with version {}", canonical.name, canonical.version);
        Err(Error::Upgrade { what: format!("{name} is not canonical"), reason })
    }
}

/// Sends a call that must succeed, without an estimate of its gas.
async fn call(sender: &TxSender, id: &str, to: Address, call: &impl SolCall) -> Result<(), Error> {
    let request = TxRequest::call(id, to, Bytes::from(call.abi_encode()));
    let receipt = sender.send(TxRequest { gas_limit: Some(GAS_LIMIT), ..request }).await?;
    match receipt.succeeded {
        true => Ok(()),
        false => {
            let (id, tx_hash) = (id.to_owned(), receipt.tx_hash);
            Err(L1Error::Reverted { id, tx_hash }.into())
        }
    }
}
