//! Reading L1: blocks, code, and a rollup's state.

use alloy::contract::Error as ContractError;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::types::{Block, TransactionRequest};

use rollmill_protocol::Fr;

use crate::abi::{
    self, BlockRecord, Contracts, EpochArgs, EpochRecord, FixedCommittee, Rollup, Schedule,
};
use crate::attest::{COMMITTEE_MAX, Duty};
use crate::error::{L1Error, revert_reason, reverted};
use crate::failover::Failover;

/// An L1 block by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct L1BlockRef {
    pub number: u64,
    pub hash: B256,
    /// Unix seconds.
    pub timestamp: u64,
}

impl From<&Block> for L1BlockRef {
    fn from(block: &Block) -> Self {
        Self {
            number: block.header.number,
            hash: block.header.hash,
            timestamp: block.header.timestamp,
        }
    }
}

/// A connection to one L1 chain through one or more RPC endpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct L1Client {
    provider: RootProvider,
    failover: Failover,
    chain_id: u64,
}

impl L1Client {
    /// Connects to the endpoints, all of which must serve chain `chain_id`. Endpoints that do not
    /// respond now are asked for their chain before they are used.
    ///
    /// # Errors
    /// [`L1Error::ChainIdWrong`] if any endpoint serves another chain, [`L1Error::Unreachable`] if none
    /// responds, [`L1Error::Url`] if a URL cannot be used.
    pub async fn connect(urls: &[String], chain_id: u64) -> Result<Self, L1Error> {
        let failover = Failover::new(urls, chain_id)?;
        failover.check().await?;
        let provider = RootProvider::new(RpcClient::new(failover.clone(), false));
        Ok(Self { provider, failover, chain_id })
    }

    /// See [`Failover::expect_block`].
    pub(crate) fn expect_block(&self, number: u64) {
        self.failover.expect_block(number);
    }

    /// The chain that every endpoint serves.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The underlying provider, for calls that this crate does not wrap. It signs nothing.
    pub fn provider(&self) -> &RootProvider {
        &self.provider
    }

    /// The newest block.
    pub async fn latest(&self) -> Result<L1BlockRef, L1Error> {
        self.block(BlockNumberOrTag::Latest)
            .await?
            .map(|block| L1BlockRef::from(&block))
            .ok_or_else(|| missing("latest block"))
    }

    /// The newest final block; `None` on a chain that finalizes nothing.
    pub async fn finalized(&self) -> Result<Option<L1BlockRef>, L1Error> {
        Ok(self.block(BlockNumberOrTag::Finalized).await?.map(|block| L1BlockRef::from(&block)))
    }

    /// The block of a number or tag; none beyond the head.
    pub async fn block(&self, id: BlockNumberOrTag) -> Result<Option<Block>, L1Error> {
        self.provider.get_block_by_number(id).await.map_err(L1Error::rpc("block"))
    }

    /// Hash of block 0, which distinguishes two chains with the same id.
    pub async fn genesis_hash(&self) -> Result<B256, L1Error> {
        let block = self.block(BlockNumberOrTag::Number(0)).await?;
        block.map(|block| block.header.hash).ok_or_else(|| missing("block 0"))
    }

    /// Simulates a call on the newest block. The inner error is the contract's reason in
    /// words: its own error by name, or the text of its revert.
    ///
    /// # Errors
    /// The outer error when L1 does not respond; then nothing is known about the call.
    pub async fn call(
        &self,
        from: Address,
        to: Address,
        input: Bytes,
    ) -> Result<Result<Bytes, String>, L1Error> {
        let request = TransactionRequest::default().from(from).to(to).input(input.into());
        match self.provider.call(request).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) => match revert_reason(&error) {
                Some(reason) => Ok(Err(reason)),
                None => Err(L1Error::rpc("call")(error)),
            },
        }
    }

    /// The rollup at `address`.
    ///
    /// # Errors
    /// [`L1Error::NoContract`] if there is no code at the address.
    pub async fn rollup(&self, address: Address) -> Result<RollupContract, L1Error> {
        let code = self.provider.get_code_at(address).await.map_err(L1Error::rpc("code"))?;
        if code.is_empty() {
            return Err(L1Error::NoContract { address, chain_id: self.chain_id });
        }
        Ok(RollupContract { instance: Rollup::new(address, self.provider.clone()) })
    }
}

fn missing(what: &'static str) -> L1Error {
    L1Error::Decode { what, reason: "the node answered null".to_owned() }
}

/// The tips of the rollup's chains, read at one L1 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tips {
    pub pending: u64,
    pub proven: u64,
    /// The L1 block they were read at.
    pub at: L1BlockRef,
}

/// When the oldest unproven epoch must be proven, in Unix seconds of L1's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofDeadline {
    pub epoch: u64,
    /// Until then, inclusive, a proof returns the epoch's bond. An epoch before that was completed late
    /// moves this, by the deployment's grace.
    pub window_end: u64,
    /// Until then, inclusive, a proof is accepted.
    pub challenge_end: u64,
    /// Whether the epoch's blocks, and all after them, can be pruned now.
    pub is_prune_due: bool,
    /// The L1 block this was read at.
    pub at: L1BlockRef,
}

/// What a deployment fixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentInfo {
    /// Number of the deployment: hash of chain id, contract, key root and config.
    pub version: u64,
    /// Hash of the parameters, which the genesis file has.
    pub config_hash: Fr,
    pub vk_root: Fr,
    pub genesis_archive_root: Fr,
    /// Times and epochs.
    pub schedule: Schedule,
    /// The other contracts.
    pub contracts: Contracts,
}

impl DeploymentInfo {
    /// The epoch of a slot.
    pub fn epoch(&self, slot: u64) -> u64 {
        // The constructor rejects an epoch without slots.
        slot / u64::from(self.schedule.slotsPerEpoch).max(1)
    }
}

/// Typed reads of one deployed rollup. Changes go through [`crate::TxSender`].
#[derive(Debug, Clone)]
pub struct RollupContract {
    instance: Rollup::RollupInstance<RootProvider>,
}

impl RollupContract {
    pub(crate) fn provider(&self) -> RootProvider {
        self.instance.provider().clone()
    }

    /// The address of the contract.
    pub fn address(&self) -> Address {
        *self.instance.address()
    }

    /// What the deployment fixes.
    ///
    /// # Errors
    /// [`L1Error::NotARollup`] if the contract reverts, or its response cannot be read or breaks the bounds of
    /// this release's protocol.
    pub async fn info(&self) -> Result<DeploymentInfo, L1Error> {
        let version = self.fixed(self.instance.version().call().await, "version")?;
        let config_hash = self.fixed(self.instance.configHash().call().await, "configHash")?;
        let vk_root = self.fixed(self.instance.vkRoot().call().await, "vkRoot")?;
        let schedule = self.fixed(self.instance.schedule().call().await, "schedule")?;
        let contracts = self.fixed(self.instance.contracts().call().await, "contracts")?;
        let genesis = self.fixed(self.instance.blockRecord(0).call().await, "blockRecord")?;
        let element = |what: &str, word: &B256| {
            let reason = format!("{what} is no field element");
            abi::element(word).ok_or(L1Error::NotARollup { address: self.address(), reason })
        };
        Ok(DeploymentInfo {
            version,
            config_hash: element("configHash", &config_hash)?,
            vk_root: element("vkRoot", &vk_root)?,
            genesis_archive_root: element("archiveRoot", &genesis.archiveRoot)?,
            schedule,
            contracts,
        })
    }

    /// The result of a getter that every rollup has.
    fn fixed<T>(&self, got: Result<T, ContractError>, what: &'static str) -> Result<T, L1Error> {
        let foreign = |reason| L1Error::NotARollup { address: self.address(), reason };
        got.map_err(|error| match &error {
            ContractError::TransportError(failed) => match reverted(failed) {
                Some(reason) => foreign(reason),
                None => L1Error::contract(what)(error),
            },
            other => foreign(other.to_string()),
        })
    }

    /// The tips after L1 block `number`. An error if the contract was not deployed yet, or the node no longer
    /// keeps that state.
    pub async fn tips_at(&self, number: u64) -> Result<(u64, u64), L1Error> {
        let tips = self.instance.tips().block(BlockId::number(number)).call().await;
        let tips = tips.map_err(L1Error::contract("tips"))?;
        Ok((tips.pending.to(), tips.proven.to()))
    }

    /// Pending and proven tip at the newest L1 block.
    pub async fn tips(&self) -> Result<Tips, L1Error> {
        let at = self.newest().await?;
        let (pending, proven) = self.tips_at(at.number).await?;
        Ok(Tips { pending, proven, at })
    }

    async fn newest(&self) -> Result<L1BlockRef, L1Error> {
        let provider = self.instance.provider();
        let block = provider.get_block_by_number(BlockNumberOrTag::Latest).await;
        let block = block.map_err(L1Error::rpc("latest block"))?;
        block.map(|block| L1BlockRef::from(&block)).ok_or_else(|| missing("latest block"))
    }

    /// The slot of the newest L1 block.
    pub async fn current_slot(&self) -> Result<u64, L1Error> {
        self.instance.currentSlot().call().await.map_err(L1Error::contract("currentSlot"))
    }

    /// The record of a block of the pending chain.
    pub async fn block_record(&self, number: u64) -> Result<BlockRecord, L1Error> {
        self.instance.blockRecord(number).call().await.map_err(L1Error::contract("blockRecord"))
    }

    /// As [`Self::block_record`], after an L1 block. An error if the node that answers does not have its state.
    pub async fn block_record_at(&self, number: u64, at: BlockId) -> Result<BlockRecord, L1Error> {
        let call = self.instance.blockRecord(number).block(at);
        call.call().await.map_err(L1Error::contract("blockRecord"))
    }

    /// The record of an epoch.
    pub async fn epoch_record(&self, epoch: u64) -> Result<EpochRecord, L1Error> {
        self.instance.epochRecord(epoch).call().await.map_err(L1Error::contract("epochRecord"))
    }

    /// The public inputs that the contract will pass to its verifier for this proof.
    ///
    /// # Errors
    /// [`L1Error::Answer`] with the contract's reason if it would reject the range.
    pub async fn public_inputs(&self, args: EpochArgs) -> Result<Vec<B256>, L1Error> {
        self.public_inputs_at(args, BlockId::latest()).await
    }

    /// As [`Self::public_inputs`], after an L1 block.
    pub async fn public_inputs_at(
        &self,
        args: EpochArgs,
        at: BlockId,
    ) -> Result<Vec<B256>, L1Error> {
        let call = self.instance.publicInputs(args).block(at);
        call.call().await.map_err(L1Error::contract("publicInputs"))
    }

    /// Simulates the submission of an epoch proof on the state after an L1 block.
    ///
    /// # Errors
    /// [`L1Error::Answer`] with the contract's reason if it would reject the proof.
    pub async fn try_proof(
        &self,
        from: Address,
        args: EpochArgs,
        proof: Vec<u8>,
        at: BlockId,
    ) -> Result<(), L1Error> {
        let input = abi::submit_calldata(args, proof);
        let request = TransactionRequest::default().from(from).to(self.address());
        let done = self.instance.provider().call(request.input(input.into())).block(at).await;
        let failed = L1Error::contract("submitEpochProof");
        done.map(drop).map_err(|error| failed(ContractError::TransportError(error)))
    }

    /// The contract that selects committees.
    pub fn selection(&self, info: &DeploymentInfo) -> Selection {
        let provider = self.instance.provider().clone();
        Selection { instance: FixedCommittee::new(info.contracts.selection, provider) }
    }

    /// What the committee signs of a block.
    pub async fn block_digest(&self, number: u64, slot: u64, chain: B256) -> Result<B256, L1Error> {
        let digest = self.instance.blockDigest(number, slot, chain).call().await;
        digest.map_err(L1Error::contract("blockDigest"))
    }

    /// Deadline of the oldest unproven epoch; `None` if every block is proven.
    ///
    /// Read at one L1 block, so that its parts fit together.
    pub async fn proof_deadline(
        &self,
        info: &DeploymentInfo,
    ) -> Result<Option<ProofDeadline>, L1Error> {
        let at = self.newest().await?;
        let id = BlockId::number(at.number);
        let (pending, proven) = self.tips_at(at.number).await?;
        if pending == proven {
            return Ok(None);
        }
        let slot_of = |number| async move {
            let record = self.instance.blockRecord(number).block(id).call().await;
            Ok::<u64, L1Error>(record.map_err(L1Error::contract("blockRecord"))?.slot.to())
        };
        let epoch = info.epoch(slot_of(proven + 1).await?);
        let ends = self.instance.deadlines(epoch).block(id).call().await;
        let ends = ends.map_err(L1Error::contract("deadlines"))?;
        let record = self.instance.epochRecord(epoch).block(id).call().await;
        let first: u64 = record.map_err(L1Error::contract("epochRecord"))?.firstBlock.to();
        // Genesis is proven from the start.
        let mut window_end = ends.windowEnd.saturating_to();
        if first > 1 {
            let before = info.epoch(slot_of(first - 1).await?);
            let before = self.instance.epochRecord(before).block(id).call().await;
            let completed: u64 = before.map_err(L1Error::contract("epochRecord"))?.completedAt.to();
            window_end =
                completed.saturating_add(info.schedule.proofGraceSeconds.into()).max(window_end);
        }
        let challenge_end = ends.challengeEnd.saturating_to();
        Ok(Some(ProofDeadline {
            epoch,
            window_end: window_end.min(challenge_end),
            challenge_end,
            is_prune_due: ends.pruneDue,
            at,
        }))
    }
}

/// Typed reads of the contract that selects committees, of whatever kind.
#[derive(Debug, Clone)]
pub struct Selection {
    // Every kind has the getters of this one.
    instance: FixedCommittee::FixedCommitteeInstance<RootProvider>,
}

impl Selection {
    pub(crate) fn address(&self) -> Address {
        *self.instance.address()
    }

    pub(crate) fn provider(&self) -> RootProvider {
        self.instance.provider().clone()
    }

    /// The token that is staked; zero if committees are not drawn from stakers.
    pub(crate) async fn stake_token(&self) -> Result<Address, L1Error> {
        self.instance.TOKEN().call().await.map_err(L1Error::contract("TOKEN"))
    }

    /// Who must sign as the proposer of a slot.
    ///
    /// # Errors
    /// [`L1Error::Answer`] with the contract's reason if the slot's epoch has no committee yet.
    pub async fn proposer_of(&self, slot: u64) -> Result<Address, L1Error> {
        self.instance.proposerOf(slot).call().await.map_err(L1Error::contract("proposerOf"))
    }

    /// The committee of an epoch, in the order of the signatures' bits.
    ///
    /// # Errors
    /// As [`Self::proposer_of`].
    pub async fn committee(&self, epoch: u64) -> Result<Vec<Address>, L1Error> {
        self.instance.committee(epoch).call().await.map_err(L1Error::contract("committee"))
    }

    /// Who proposes in a slot of an epoch, and whose signatures its block needs; `None` if the epoch has no
    /// committee, so that the slot stays empty.
    ///
    /// # Errors
    /// As [`Self::proposer_of`], and [`L1Error::Decode`] for too many members, or a proposer that is none of them.
    pub async fn duty(&self, slot: u64, epoch: u64) -> Result<Option<Duty>, L1Error> {
        self.duty_at(slot, epoch, BlockId::latest()).await
    }

    /// As [`Self::duty`], after an L1 block.
    pub async fn duty_at(
        &self,
        slot: u64,
        epoch: u64,
        at: BlockId,
    ) -> Result<Option<Duty>, L1Error> {
        let proposer = self.instance.proposerOf(slot).block(at).call().await;
        let proposer = proposer.map_err(L1Error::contract("proposerOf"))?;
        if proposer.is_zero() {
            return Ok(None);
        }
        let members = self.instance.committee(epoch).block(at).call().await;
        let members = members.map_err(L1Error::contract("committee"))?;
        if members.len() > COMMITTEE_MAX || !members.contains(&proposer) {
            let count = members.len();
            let reason = format!("{count} members, and {proposer} to propose in slot {slot}");
            return Err(L1Error::Decode { what: "committee", reason });
        }
        Ok(Some(Duty { slot, epoch, proposer, members }))
    }

    /// Whether the committee of an epoch is decided after an L1 block. Until the epoch's first proposal, the size of a
    /// drawn committee is a rate that may change, and with it who its members and the proposers of its slots are.
    ///
    /// # Errors
    /// [`L1Error`] if L1 does not respond.
    pub async fn is_decided(&self, epoch: u64, at: BlockId) -> Result<bool, L1Error> {
        let hash = self.instance.committeeHash(epoch).block(at).call().await;
        Ok(!hash.map_err(L1Error::contract("committeeHash"))?.is_zero())
    }
}
