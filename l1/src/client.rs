//! Reading L1: blocks, code, and a rollup's state.

use alloy::contract::Error as ContractError;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::types::{Block, TransactionRequest};

use crate::abi::{BlockRecord, EpochArgs, Parameters, ProofRecord, Rollup};
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
        Ok(Self { provider: RootProvider::new(RpcClient::new(failover, false)), chain_id })
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

/// When the oldest unproven epoch must be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofDeadline {
    pub epoch: u64,
    /// Last L1 block in which a proof is accepted.
    pub last_l1_block: u64,
}

/// Typed reads of one deployed rollup. Changes go through [`crate::TxSender`].
#[derive(Debug, Clone)]
pub struct RollupContract {
    instance: Rollup::RollupInstance<RootProvider>,
}

impl RollupContract {
    /// The address of the contract.
    pub fn address(&self) -> Address {
        *self.instance.address()
    }

    /// The parameters of the deployment.
    ///
    /// # Errors
    /// [`L1Error::NotARollup`] if the contract reverts or its response cannot be read.
    pub async fn parameters(&self) -> Result<Parameters, L1Error> {
        let foreign = |reason| L1Error::NotARollup { address: self.address(), reason };
        self.instance.parameters().call().await.map_err(|error| match &error {
            ContractError::TransportError(failed) => match reverted(failed) {
                Some(reason) => foreign(reason),
                None => L1Error::contract("parameters")(error),
            },
            other => foreign(other.to_string()),
        })
    }

    /// The pending tip after L1 block `number`. An error if the contract was not deployed yet, or the
    /// node no longer keeps that state.
    pub async fn pending_tip_at(&self, number: u64) -> Result<u64, L1Error> {
        let tip = self.instance.pendingTip().block(BlockId::number(number)).call().await;
        tip.map_err(L1Error::contract("pendingTip"))
    }

    /// Pending and proven tip at the newest L1 block.
    pub async fn tips(&self) -> Result<Tips, L1Error> {
        let provider = self.instance.provider();
        let block = provider
            .get_block_by_number(BlockNumberOrTag::Latest)
            .await
            .map_err(L1Error::rpc("latest block"))?
            .ok_or_else(|| missing("latest block"))?;
        let at = L1BlockRef::from(&block);
        let id = BlockId::number(at.number);
        let pending = self.instance.pendingTip().block(id).call().await;
        let proven = self.instance.provenTip().block(id).call().await;
        Ok(Tips {
            pending: pending.map_err(L1Error::contract("pendingTip"))?,
            proven: proven.map_err(L1Error::contract("provenTip"))?,
            at,
        })
    }

    /// The slot of the newest L1 block.
    pub async fn current_slot(&self) -> Result<u64, L1Error> {
        self.instance.currentSlot().call().await.map_err(L1Error::contract("currentSlot"))
    }

    /// The record of a block of the pending chain.
    pub async fn block_record(&self, number: u64) -> Result<BlockRecord, L1Error> {
        self.instance.blockRecord(number).call().await.map_err(L1Error::contract("blockRecord"))
    }

    /// The record of the proof whose range ends with `last_block`.
    pub async fn proof_record(&self, last_block: u64) -> Result<ProofRecord, L1Error> {
        self.instance.proofRecord(last_block).call().await.map_err(L1Error::contract("proofRecord"))
    }

    /// The public inputs that the contract will pass to its verifier for this range.
    ///
    /// # Errors
    /// [`L1Error::Answer`] with the contract's reason if it would reject the range.
    pub async fn epoch_public_inputs(&self, args: EpochArgs) -> Result<Vec<B256>, L1Error> {
        self.instance
            .epochPublicInputs(args)
            .call()
            .await
            .map_err(L1Error::contract("epochPublicInputs"))
    }

    /// Deadline of the oldest unproven epoch; `None` if every block is proven.
    pub async fn proof_deadline(&self) -> Result<Option<ProofDeadline>, L1Error> {
        let got = self.instance.proofDeadline().call().await;
        let got = got.map_err(L1Error::contract("proofDeadline"))?;
        Ok(got.open.then(|| ProofDeadline {
            epoch: got.epoch,
            last_l1_block: got.lastL1Block.saturating_to(),
        }))
    }

    /// Whether the oldest unproven epoch has missed its window.
    pub async fn prune_due(&self) -> Result<bool, L1Error> {
        self.instance.pruneDue().call().await.map_err(L1Error::contract("pruneDue"))
    }
}
