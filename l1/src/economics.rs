//! Bonds, pay and tokens of a deployment: what an account has, and the calls that move it.

use std::time::Duration;

use alloy::eips::BlockId;
use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::RootProvider;
use alloy::sol_types::SolCall;

use crate::abi::{AztToken, BondVault, Contracts, EpochRecord, Rates, Registry, Rewards, Rollup};
use crate::amount::Azt;
use crate::client::{DeploymentInfo, L1BlockRef, RollupContract};
use crate::error::L1Error;
use crate::sender::{TxReceipt, TxRequest, TxSender, TxStatus};

/// What a call costs more if a word that it changes was set back to zero since its simulation: 22,100 gas for a word
/// that becomes nonzero instead of 5,000 (EIP-2200 and EIP-2929).
pub const WORD_RESET_GAS: u64 = 17_100;

/// What `submitEpochProof` may need more than its simulation. In time and before the end of the epoch it only records
/// the proof. Later it settles the epoch as well, and after the proof's window it shares the poster's bond.
///
/// The test `a_proof_simulated_in_time_lands_late` measures both.
pub const PROOF_GAS_SPARE: u64 = 250_000;

/// A call of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub to: Address,
    pub input: Bytes,
    /// See [`TxRequest::gas_spare`].
    pub gas_spare: u64,
}

impl Call {
    pub fn new(to: Address, call: &impl SolCall) -> Self {
        Self { to, input: call.abi_encode().into(), gas_spare: 0 }
    }
}

/// An account's bond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Bond {
    /// What the next epoch that the account opens can lock, and what the account can take back.
    pub free: Azt,
    /// What is locked by epochs that are not settled.
    pub locked: Azt,
}

/// Blocks of a settled epoch whose fees and rewards nobody has claimed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclaimed {
    pub epoch: u64,
    pub from: u64,
    pub to: u64,
}

/// What there is to do for the pay of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// All its blocks are proven, it is over, and nobody has settled it.
    Settle { epoch: u64 },
    /// Blocks between these, both included, are not claimed.
    Claim(Unclaimed),
}

impl Due {
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Settle { epoch } => *epoch,
            Self::Claim(unclaimed) => unclaimed.epoch,
        }
    }
}

/// Bit of an epoch record's state: nothing of the epoch changes any more.
const SETTLED: u8 = 2;

/// Whether the epoch gets no more proofs: its proof was credited and its bond returned or lost.
pub fn is_settled(record: &EpochRecord) -> bool {
    record.state & SETTLED != 0
}

/// Typed reads and calls of a deployment's economic contracts.
#[derive(Debug, Clone)]
pub struct Economics {
    provider: RootProvider,
    contracts: Contracts,
    token: Address,
}

impl RollupContract {
    /// The contracts of the deployment that hold tokens.
    ///
    /// # Errors
    /// [`L1Error`] if the Registry does not respond.
    pub async fn economics(&self, info: &DeploymentInfo) -> Result<Economics, L1Error> {
        let provider = self.provider();
        let registry = Registry::new(info.contracts.registry, provider.clone());
        let token = registry.TOKEN().call().await.map_err(L1Error::contract("TOKEN"))?;
        Ok(Economics { provider, contracts: info.contracts.clone(), token })
    }
}

impl Economics {
    /// The token of fees, bonds and stakes.
    pub fn token(&self) -> Address {
        self.token
    }

    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// The rates of now.
    pub async fn rates(&self) -> Result<Rates, L1Error> {
        let registry = Registry::new(self.contracts.registry, &self.provider);
        registry.rates().call().await.map_err(L1Error::contract("rates"))
    }

    /// The bond that the first block of an epoch locks now.
    pub async fn bond_amount(&self) -> Result<Azt, L1Error> {
        let registry = Registry::new(self.contracts.registry, &self.provider);
        let amount = registry.bondAmount().call().await;
        Ok(Azt::from_word(amount.map_err(L1Error::contract("bondAmount"))?.to()))
    }

    /// The bond of an account.
    pub async fn bond(&self, account: Address) -> Result<Bond, L1Error> {
        self.bond_at(account, BlockId::latest()).await
    }

    /// [`Self::bond`] after an L1 block.
    pub async fn bond_at(&self, account: Address, at: BlockId) -> Result<Bond, L1Error> {
        let vault = BondVault::new(self.contracts.bondVault, &self.provider);
        let both = vault.balanceOf(account).block(at).call().await;
        let both = both.map_err(L1Error::contract("balanceOf"))?;
        Ok(Bond { free: Azt::new(both.free), locked: Azt::new(both.locked) })
    }

    /// What an account is owed. [`Self::claim`] pays it if Rewards has the funds.
    pub async fn owed(&self, account: Address) -> Result<Azt, L1Error> {
        self.owed_at(account, BlockId::latest()).await
    }

    /// [`Self::owed`] after an L1 block.
    pub async fn owed_at(&self, account: Address, at: BlockId) -> Result<Azt, L1Error> {
        let rewards = Rewards::new(self.contracts.rewards, &self.provider);
        let owed = rewards.owedTo(account).block(at).call().await;
        Ok(Azt::from_word(owed.map_err(L1Error::contract("owedTo"))?))
    }

    /// What [`Self::claim`] would pay an account: all that it is owed, or less if Rewards has too little.
    pub async fn payable(&self, account: Address) -> Result<Azt, L1Error> {
        self.payable_at(account, BlockId::latest()).await
    }

    /// [`Self::payable`] after an L1 block.
    pub async fn payable_at(&self, account: Address, at: BlockId) -> Result<Azt, L1Error> {
        // The token has no such holder, so that a claim reverts.
        if account.is_zero() {
            return Ok(Azt::ZERO);
        }
        let rewards = Rewards::new(self.contracts.rewards, &self.provider);
        let paid = rewards.claim(account).block(at).call().await;
        Ok(Azt::from_word(paid.map_err(L1Error::contract("claim"))?))
    }

    /// What Rewards owes to all, and what it has.
    pub async fn funds(&self) -> Result<(Azt, Azt), L1Error> {
        let rewards = Rewards::new(self.contracts.rewards, &self.provider);
        let owed = rewards.totalOwed().call().await.map_err(L1Error::contract("totalOwed"))?;
        Ok((Azt::from_word(owed), self.balance(self.contracts.rewards).await?))
    }

    /// Tokens of an account.
    pub async fn balance(&self, account: Address) -> Result<Azt, L1Error> {
        let token = AztToken::new(self.token, &self.provider);
        let balance = token.balanceOf(account).call().await;
        Ok(Azt::from_word(balance.map_err(L1Error::contract("balanceOf"))?))
    }

    /// Tokens of `owner` that `spender` may move.
    pub async fn allowance(&self, owner: Address, spender: Address) -> Result<Azt, L1Error> {
        let token = AztToken::new(self.token, &self.provider);
        let allowance = token.allowance(owner, spender).call().await;
        Ok(Azt::from_word(allowance.map_err(L1Error::contract("allowance"))?))
    }

    /// Whether a block's fees and reward were claimed.
    pub async fn is_claimed(&self, block: u64) -> Result<bool, L1Error> {
        let rewards = Rewards::new(self.contracts.rewards, &self.provider);
        rewards.isClaimed(block).call().await.map_err(L1Error::contract("isClaimed"))
    }

    /// Allows `spender` to move this amount, and no more.
    pub fn approve(&self, spender: Address, amount: Azt) -> Call {
        Call::new(self.token, &AztToken::approveCall { spender, value: amount.word() })
    }

    /// Adds to an account's free bond. The vault needs an allowance of the caller.
    pub fn deposit_bond(&self, account: Address, amount: Azt) -> Call {
        let call = BondVault::depositCall { account, amount: amount.word() };
        Call::new(self.contracts.bondVault, &call)
    }

    /// Takes the caller's free bond back.
    pub fn withdraw_bond(&self, amount: Azt) -> Call {
        Call::new(self.contracts.bondVault, &BondVault::withdrawCall { amount: amount.word() })
    }

    /// Moves lost bonds to Rewards.
    pub fn collect(&self) -> Call {
        Call::new(self.contracts.bondVault, &BondVault::collectCall {})
    }

    /// Pays what is owed to an account.
    pub fn claim(&self, who: Address) -> Call {
        Call::new(self.contracts.rewards, &Rewards::claimCall { who })
    }

    /// Distributes fees and rewards of an epoch's blocks. `committee` is that of the epoch.
    pub fn claim_blocks(&self, blocks: Unclaimed, committee: Vec<Address>) -> Call {
        let Unclaimed { from, to, .. } = blocks;
        let count = to.saturating_sub(from).saturating_add(1);
        let members = committee.len() as u64;
        // Each payee may take what it is owed in between. That sets its words to zero: a member's fees, the prover's
        // fees, and for each block its coinbase's fees and its coinbase's pay. The last payee also sets the sums of
        // both and the tokens of Rewards to zero. The test `a_claim_of_blocks_has_gas_for_every_word` measures it.
        let words = members.saturating_add(count.saturating_mul(2)).saturating_add(4);
        let call = Rewards::claimBlocksCall { from, to, committee };
        let gas_spare = words.saturating_mul(WORD_RESET_GAS);
        Call { gas_spare, ..Call::new(self.contracts.rewards, &call) }
    }

    /// Tokens that lie in the FeePortal.
    pub async fn bridged(&self) -> Result<Azt, L1Error> {
        self.balance(self.contracts.feePortal).await
    }
}

/// Credits an epoch's proof, and returns or forfeits its bond.
pub fn settle(rollup: Address, epoch: u64) -> Call {
    Call::new(rollup, &Rollup::settleCall { epoch })
}

impl RollupContract {
    /// What is to be done for the pay of proven epochs: the newest `epochs_max` of them that have blocks, oldest
    /// first. `time` is that of L1's head.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond. A prune in between shows as such an error too.
    pub async fn dues(
        &self,
        info: &DeploymentInfo,
        economics: &Economics,
        epochs_max: usize,
    ) -> Result<Vec<Due>, L1Error> {
        let tips = self.tips().await?;
        let mut block = tips.proven;
        let mut dues = Vec::new();
        for _ in 0..epochs_max {
            if block == 0 {
                break;
            }
            let slot: u64 = self.block_record(block).await?.slot.to();
            let epoch = info.epoch(slot);
            let record = self.epoch_record(epoch).await?;
            let (first, last): (u64, u64) = (record.firstBlock.to(), record.lastBlock.to());
            if is_settled(&record) {
                let unclaimed = self.unclaimed(economics, epoch, first, last).await?;
                dues.extend(unclaimed.map(Due::Claim));
            } else if last <= tips.proven && info.epoch_end(epoch) <= tips.at.timestamp {
                dues.push(Due::Settle { epoch });
            }
            block = first.saturating_sub(1);
        }
        dues.reverse();
        Ok(dues)
    }

    /// Epochs that are proven, over and not settled, oldest first, among `epochs_max` from that of block `from` on; and
    /// the block from which the next call goes on: the first one of the oldest epoch that is not settled, or the one
    /// after all that were read. The first call starts at block 1.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond.
    pub async fn unsettled(
        &self,
        info: &DeploymentInfo,
        from: u64,
        epochs_max: usize,
    ) -> Result<(Vec<u64>, u64), L1Error> {
        let tips = self.tips().await?;
        let (mut block, mut oldest, mut epochs) = (from.max(1), None, Vec::new());
        for _ in 0..epochs_max {
            if block > tips.proven {
                break;
            }
            let slot: u64 = self.block_record(block).await?.slot.to();
            let epoch = info.epoch(slot);
            let record = self.epoch_record(epoch).await?;
            let last: u64 = record.lastBlock.to();
            if !is_settled(&record) {
                oldest.get_or_insert(block);
                if last <= tips.proven && info.epoch_end(epoch) <= tips.at.timestamp {
                    epochs.push(epoch);
                }
            }
            block = last.max(block).saturating_add(1);
        }
        Ok((epochs, oldest.unwrap_or(block)))
    }

    /// Blocks of an epoch that nobody has claimed; `None` if there are none, or the epoch is not settled.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond.
    pub async fn unclaimed_of(
        &self,
        economics: &Economics,
        epoch: u64,
    ) -> Result<Option<Unclaimed>, L1Error> {
        let record = self.epoch_record(epoch).await?;
        if !is_settled(&record) {
            return Ok(None);
        }
        let (first, last) = (record.firstBlock.to(), record.lastBlock.to());
        self.unclaimed(economics, epoch, first, last).await
    }

    /// The range from the first to the last unclaimed block among these.
    async fn unclaimed(
        &self,
        economics: &Economics,
        epoch: u64,
        first: u64,
        last: u64,
    ) -> Result<Option<Unclaimed>, L1Error> {
        let mut found: Option<Unclaimed> = None;
        for block in first.max(1)..=last {
            if !economics.is_claimed(block).await? {
                found =
                    Some(found.map_or(Unclaimed { epoch, from: block, to: block }, |earlier| {
                        Unclaimed { to: block, ..earlier }
                    }));
            }
        }
        Ok(found)
    }
}

impl DeploymentInfo {
    /// The epoch at a Unix second; `None` before genesis.
    pub fn epoch_at(&self, timestamp: u64) -> Option<u64> {
        let seconds = timestamp.checked_sub(self.schedule.genesisTime)?;
        // The constructor rejects slots without length.
        Some(self.epoch(seconds / u64::from(self.schedule.slotSeconds).max(1)))
    }

    /// Unix second at which an epoch is over.
    pub fn epoch_end(&self, epoch: u64) -> u64 {
        let schedule = &self.schedule;
        let seconds = u64::from(schedule.slotsPerEpoch) * u64::from(schedule.slotSeconds);
        let end = U256::from(epoch).saturating_add(U256::from(1)) * U256::from(seconds);
        end.saturating_add(U256::from(schedule.genesisTime)).saturating_to()
    }
}

/// Sends a request under the attempt that comes next for its purpose, and waits for its inclusion; `None` if it is in
/// no block after `limit`. It stays pending then, and the next call of this function continues with it.
///
/// For a request that a reading of L1 asks for, take [`Reading::send_within`].
///
/// # Errors
/// As [`TxSender::send`].
pub async fn send_within(
    sender: &TxSender,
    request: TxRequest,
    limit: Duration,
) -> Result<Option<TxReceipt>, L1Error> {
    let attempt = sender.attempt_for(&request.purpose);
    send_as(sender, request, attempt, limit).await
}

/// [`send_within`] with this attempt of the request's purpose.
async fn send_as(
    sender: &TxSender,
    request: TxRequest,
    attempt: u32,
    limit: Duration,
) -> Result<Option<TxReceipt>, L1Error> {
    let request = TxRequest { attempt, ..request };
    tokio::time::timeout(limit, sender.send(request)).await.ok().transpose()
}

/// Where to read on L1 whether a transaction of some purpose is needed.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// The block after which to read.
    pub head: L1BlockRef,
    /// The purpose's next attempt before that. One that lands after the head is this one, or an earlier one that a
    /// reorganisation brought back: either way the decision by this reading sends nothing beside it.
    attempt: u32,
}

impl Reading {
    /// L1's head, if a reading after it shows the effect of every transaction of this purpose that is in a block. `None`
    /// while an endpoint lags behind one: whoever decides by such a reading would send it a second time.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond.
    pub async fn of(sender: &TxSender, purpose: &str) -> Result<Option<Self>, L1Error> {
        // Before the head: a transaction that lands in between is not in the reading.
        let attempt = sender.attempt_for(purpose);
        let head = sender.client().latest().await?;
        let last = attempt.checked_sub(1);
        let is_seen = match last.and_then(|attempt| sender.status(purpose, attempt)) {
            Some(TxStatus::Included(receipt)) => head.number >= receipt.block_number,
            _ => true,
        };
        Ok(is_seen.then_some(Self { head, attempt }))
    }

    /// [`send_within`] for a request of the purpose that this reading asks for. If one like it was pending when L1 was
    /// read and has landed since, its receipt is returned, and nothing is sent.
    ///
    /// # Errors
    /// As [`TxSender::send`].
    pub async fn send_within(
        self,
        sender: &TxSender,
        request: TxRequest,
        limit: Duration,
    ) -> Result<Option<TxReceipt>, L1Error> {
        send_as(sender, request, self.attempt, limit).await
    }
}
