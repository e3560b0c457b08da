//! Sends the transactions of one account: explicit nonces, fees that rise until a transaction is
//! included, resubmission after a reorg, and a file that makes a restart send nothing twice.
//!
//! A caller names each transaction with an id of its own choosing, such as `propose-17`. The id, not
//! the call, is what happens at most once: submitting the same id again, in this process or after a
//! restart, continues the transaction that it names.

use std::path::Path;
use std::time::Duration;

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use tokio::sync::Mutex;

use crate::client::{L1BlockRef, L1Client};
use crate::error::{L1Error, revert_reason};
use crate::fees::Fees;
use crate::intent::{Attempt, Inclusion, Intent, IntentFile, State, digest_of};
use crate::wire::{self, Broadcast};

/// Most gas that L1 accepts in one transaction (EIP-7825).
pub const GAS_LIMIT_MAX: u64 = 1 << 24;
/// Times that a nonce must be seen used by another transaction before the intent counts as lost:
/// two endpoints may be at different blocks.
const LOST_SIGHTINGS: u32 = 2;

/// A transaction to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxRequest {
    /// Names the transaction for ever; see the module's documentation.
    pub id: String,
    /// None creates a contract.
    pub to: Option<Address>,
    pub input: Bytes,
    pub value: U256,
    /// None simulates the call to find it, which refuses one that would revert.
    pub gas_limit: Option<u64>,
}

impl TxRequest {
    /// A call without value, simulated first.
    pub fn call(id: impl Into<String>, to: Address, input: Bytes) -> Self {
        Self { id: id.into(), to: Some(to), input, value: U256::ZERO, gas_limit: None }
    }

    /// The creation of a contract.
    pub fn create(id: impl Into<String>, code: Bytes) -> Self {
        Self { id: id.into(), to: None, input: code, value: U256::ZERO, gas_limit: None }
    }
}

/// How a sender behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderConfig {
    /// Never offer more than this for a unit of gas.
    pub max_fee_limit_wei: u128,
    /// L1 blocks without inclusion after which the fees are raised.
    pub bump_after_blocks: u64,
    /// How often [`TxSender::send`] looks whether its transaction is in.
    pub poll_interval: Duration,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            max_fee_limit_wei: 500_000_000_000,
            bump_after_blocks: 3,
            poll_interval: Duration::from_millis(250),
        }
    }
}

/// A transaction that is in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxReceipt {
    pub id: String,
    pub nonce: u64,
    pub tx_hash: B256,
    pub block_number: u64,
    pub block_hash: B256,
    /// False if it reverted.
    pub succeeded: bool,
    pub gas_used: u64,
    pub effective_gas_price_wei: u128,
    pub contract_address: Option<Address>,
    /// How many signed forms were sent, this one included.
    pub attempts: usize,
    /// Whether L1 has finalized the block.
    pub is_final: bool,
}

/// Where a transaction stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxStatus {
    Pending {
        nonce: u64,
        attempts: usize,
    },
    Included(TxReceipt),
    /// Its nonce went to another program's transaction. It will not land.
    Lost {
        nonce: u64,
    },
}

/// What changed for one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxUpdate {
    /// It is in a block, or in another block than before.
    Included(TxReceipt),
    /// L1 dropped the block it was in. It is being sent again.
    Reorged { id: String },
    /// A form with higher fees was sent.
    Bumped { id: String, fees: Fees },
    /// It needs higher fees than the limit allows and waits.
    FeeLimited { id: String, needed_wei: u128 },
    /// Its block is final.
    Final(TxReceipt),
    /// Its nonce went to another program's transaction.
    Lost { id: String, nonce: u64 },
}

struct Inner {
    file: IntentFile,
    /// Id and number of consecutive looks at which another transaction held the intent's nonce.
    sightings: Vec<(String, u32)>,
}

/// The sender of one account on one chain. No other program may send from that account.
pub struct TxSender {
    client: L1Client,
    signer: PrivateKeySigner,
    config: SenderConfig,
    inner: Mutex<Inner>,
}

// The signer holds a key; its own formatting is not relied on to hide it.
impl std::fmt::Debug for TxSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxSender").field("account", &self.account()).finish_non_exhaustive()
    }
}

impl TxSender {
    /// Opens the sender with its file of intents, which is created if there is none. Intents that an
    /// earlier process left are taken up by the next [`Self::tick`] or [`Self::send`].
    ///
    /// # Errors
    /// [`L1Error::IntentLocked`], [`L1Error::IntentForeign`] or [`L1Error::IntentFile`] if the file
    /// is in use, belongs to another chain or account, or cannot be used.
    pub async fn open(
        client: L1Client,
        signer: PrivateKeySigner,
        path: &Path,
        config: SenderConfig,
    ) -> Result<Self, L1Error> {
        let genesis_hash = client.genesis_hash().await?;
        let file = IntentFile::open(path, client.chain_id(), genesis_hash, signer.address())?;
        let inner = Mutex::new(Inner { file, sightings: Vec::new() });
        Ok(Self { client, signer, config, inner })
    }

    /// The account that signs.
    pub fn account(&self) -> Address {
        self.signer.address()
    }

    /// The client beneath.
    pub fn client(&self) -> &L1Client {
        &self.client
    }

    /// Writes the intent down, then sends it. Returns without waiting for inclusion.
    ///
    /// # Errors
    /// [`L1Error::WouldRevert`], [`L1Error::Funds`], [`L1Error::FeeLimit`]: nothing was written or
    /// sent. [`L1Error::Unreachable`]: it may have been written and sent; submit the id again, or
    /// tick. [`L1Error::IntentConflict`]: the id names another transaction.
    pub async fn submit(&self, request: TxRequest) -> Result<(), L1Error> {
        let mut inner = self.inner.lock().await;
        let digest = digest_of(&request);
        if let Some(known) = inner.file.get(&request.id) {
            return if known.digest == digest {
                Ok(())
            } else {
                Err(L1Error::IntentConflict { id: request.id })
            };
        }
        let gas_limit = match request.gas_limit {
            Some(limit) => limit.min(GAS_LIMIT_MAX),
            None => self.simulate(&request).await?,
        };
        let head = self.client.latest().await?;
        let fees = self.asked_fees(&request.id).await?;
        let count = self.nonce_at(head).await?;
        let unsettled = inner.file.intents().iter().filter(|intent| !intent.state.is_settled());
        let nonce = unsettled.map(|intent| intent.nonce + 1).max().unwrap_or(0).max(count);
        let mut intent = Intent {
            id: request.id,
            nonce,
            to: request.to,
            value: request.value,
            input: request.input,
            gas_limit,
            digest,
            attempts: Vec::new(),
            state: State::Pending,
        };
        self.attempt(&mut inner.file, &mut intent, fees, head.number).await
    }

    /// Submits and waits until the transaction is in a block, reverted or not.
    ///
    /// While no endpoint answers it keeps trying; drop the future to stop waiting. The intent stays.
    ///
    /// # Errors
    /// As [`Self::submit`], and [`L1Error::NonceTaken`] if the transaction is lost.
    pub async fn send(&self, request: TxRequest) -> Result<TxReceipt, L1Error> {
        let id = request.id.clone();
        loop {
            match self.submit(request.clone()).await {
                Ok(()) => break,
                Err(error @ L1Error::Unreachable { .. }) => {
                    tracing::warn!(id, %error, "cannot submit yet");
                    tokio::time::sleep(self.config.poll_interval).await;
                }
                Err(error) => return Err(error),
            }
        }
        loop {
            match self.tick().await {
                Ok(_) => {}
                Err(error) if error.is_transient() => tracing::warn!(id, %error, "cannot look"),
                Err(error) => return Err(error),
            }
            match self.status(&id).await {
                Some(TxStatus::Included(receipt)) => return Ok(receipt),
                Some(TxStatus::Lost { nonce }) => {
                    return Err(L1Error::NonceTaken { id, nonce, account: self.account() });
                }
                Some(TxStatus::Pending { .. }) | None => {}
            }
            tokio::time::sleep(self.config.poll_interval).await;
        }
    }

    /// Where the transaction of this id stands, as of the last tick; none if it was never submitted
    /// or has been forgotten long after it became final.
    pub async fn status(&self, id: &str) -> Option<TxStatus> {
        let inner = self.inner.lock().await;
        let intent = inner.file.get(id)?;
        let nonce = intent.nonce;
        Some(match &intent.state {
            State::Pending => TxStatus::Pending { nonce, attempts: intent.attempts.len() },
            State::Included(at) => TxStatus::Included(receipt(intent, at, false)),
            State::Final(at) => TxStatus::Included(receipt(intent, at, true)),
            State::Lost { .. } | State::LostFinal => TxStatus::Lost { nonce },
        })
    }

    /// Looks at L1 once: notes what was included, dropped or finalized, sends again what the
    /// network has lost, and raises the fees of what has waited too long. Call it with every new L1
    /// block or now and then; it does nothing twice.
    pub async fn tick(&self) -> Result<Vec<TxUpdate>, L1Error> {
        let mut inner = self.inner.lock().await;
        let mut open: Vec<Intent> =
            inner.file.intents().iter().filter(|i| !i.state.is_settled()).cloned().collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        open.sort_by_key(|intent| intent.nonce);
        let head = self.client.latest().await?;
        let finalized = self.client.finalized().await?.map(|block| block.number);
        let count = self.nonce_at(head).await?;
        let mut updates = Vec::new();
        for intent in open {
            match self.inclusion(&intent).await? {
                Some(at) => {
                    forget(&mut inner.sightings, &intent.id);
                    note_inclusion(&mut inner.file, intent, at, finalized, &mut updates)?;
                }
                None if count > intent.nonce => {
                    self.note_taken(&mut inner, intent, head, finalized, &mut updates)?;
                }
                None => {
                    forget(&mut inner.sightings, &intent.id);
                    self.push(&mut inner.file, intent, head, count, &mut updates).await?;
                }
            }
        }
        Ok(updates)
    }

    /// The receipt of whichever form of the intent is in a block.
    async fn inclusion(&self, intent: &Intent) -> Result<Option<Inclusion>, L1Error> {
        for attempt in intent.attempts.iter().rev() {
            let got = self.client.provider().get_transaction_receipt(attempt.tx_hash).await;
            let Some(receipt) = got.map_err(L1Error::rpc("receipt"))? else { continue };
            let (Some(block_number), Some(block_hash)) = (receipt.block_number, receipt.block_hash)
            else {
                continue;
            };
            return Ok(Some(Inclusion {
                tx_hash: attempt.tx_hash,
                block_number,
                block_hash,
                succeeded: receipt.status(),
                gas_used: receipt.gas_used,
                effective_gas_price_wei: receipt.effective_gas_price,
                contract_address: receipt.contract_address,
            }));
        }
        Ok(None)
    }

    /// Another transaction seems to hold the intent's nonce.
    fn note_taken(
        &self,
        inner: &mut Inner,
        mut intent: Intent,
        head: L1BlockRef,
        finalized: Option<u64>,
        updates: &mut Vec<TxUpdate>,
    ) -> Result<(), L1Error> {
        if let State::Lost { at_block } = intent.state {
            // A reorg could still give the nonce back until its block is final.
            if finalized.is_some_and(|number| number >= at_block) {
                intent.state = State::LostFinal;
                inner.file.put(intent)?;
            }
            return Ok(());
        }
        let seen = match inner.sightings.iter_mut().find(|(id, _)| *id == intent.id) {
            Some((_, seen)) => {
                *seen += 1;
                *seen
            }
            None => {
                inner.sightings.push((intent.id.clone(), 1));
                1
            }
        };
        if seen >= LOST_SIGHTINGS {
            let (id, nonce) = (intent.id.clone(), intent.nonce);
            tracing::error!(id, nonce, account = %self.account(), "nonce used by another program");
            forget(&mut inner.sightings, &id);
            intent.state = State::Lost { at_block: head.number };
            inner.file.put(intent)?;
            updates.push(TxUpdate::Lost { id, nonce });
        }
        Ok(())
    }

    /// Gets an intent that is in no block closer to one.
    async fn push(
        &self,
        file: &mut IntentFile,
        mut intent: Intent,
        head: L1BlockRef,
        count: u64,
        updates: &mut Vec<TxUpdate>,
    ) -> Result<(), L1Error> {
        if intent.state != State::Pending {
            let id = intent.id.clone();
            tracing::warn!(id, "its L1 block was replaced; sending it again");
            intent.state = State::Pending;
            file.put(intent.clone())?;
            updates.push(TxUpdate::Reorged { id });
        }
        let Some(last) = intent.attempts.last().cloned() else {
            let fees = self.asked_fees(&intent.id).await?;
            return self.attempt(file, &mut intent, fees, head.number).await;
        };
        // Only the next nonce in line can be held up by its own price. A reorg may have taken L1
        // back below the block it was sent at.
        let waited = head.number.saturating_sub(last.sent_at_block);
        if intent.nonce == count && waited >= self.config.bump_after_blocks {
            let asked = match self.asked_fees(&intent.id).await {
                Ok(asked) => asked,
                Err(L1Error::FeeLimit { id, needed_wei, .. }) => {
                    updates.push(TxUpdate::FeeLimited { id, needed_wei });
                    return self.rebroadcast(&intent, &last).await;
                }
                Err(error) => return Err(error),
            };
            let fees = last.fees.bumped(asked);
            let id = intent.id.clone();
            if fees.max_fee_wei > self.config.max_fee_limit_wei {
                updates.push(TxUpdate::FeeLimited { id, needed_wei: fees.max_fee_wei });
                return self.rebroadcast(&intent, &last).await;
            }
            tracing::info!(id, max_fee_wei = fees.max_fee_wei, "raising the fees");
            updates.push(TxUpdate::Bumped { id, fees });
            return self.attempt(file, &mut intent, fees, head.number).await;
        }
        self.rebroadcast(&intent, &last).await
    }

    /// Sends the newest form again if the network does not know it.
    async fn rebroadcast(&self, intent: &Intent, last: &Attempt) -> Result<(), L1Error> {
        let known = self.client.provider().get_transaction_by_hash(last.tx_hash).await;
        if known.map_err(L1Error::rpc("transaction"))?.is_some() {
            return Ok(());
        }
        let signed = wire::sign(&self.signer, self.client.chain_id(), intent, last.fees)?;
        self.broadcast(intent, &signed.raw).await
    }

    /// Signs a new form, writes it down, and only then sends it.
    async fn attempt(
        &self,
        file: &mut IntentFile,
        intent: &mut Intent,
        fees: Fees,
        sent_at_block: u64,
    ) -> Result<(), L1Error> {
        let signed = wire::sign(&self.signer, self.client.chain_id(), intent, fees)?;
        intent.attempts.push(Attempt { tx_hash: signed.tx_hash, fees, sent_at_block });
        file.put(intent.clone())?;
        self.broadcast(intent, &signed.raw).await
    }

    async fn broadcast(&self, intent: &Intent, raw: &[u8]) -> Result<(), L1Error> {
        let sent = self.client.provider().send_raw_transaction(raw).await;
        let Err(error) = sent else { return Ok(()) };
        match wire::classify(&error) {
            // The next tick sees which form of it was included, or that none was, and acts on it.
            Broadcast::Known | Broadcast::NonceUsed | Broadcast::Underpriced => Ok(()),
            Broadcast::Funds => Err(L1Error::Funds {
                id: intent.id.clone(),
                account: self.account(),
                reason: error.to_string(),
            }),
            Broadcast::Other => Err(L1Error::rpc("sendRawTransaction")(error)),
        }
    }

    /// Gas limit of a call that would succeed now, with a fifth to spare.
    async fn simulate(&self, request: &TxRequest) -> Result<u64, L1Error> {
        let mut tx = TransactionRequest::default().from(self.account()).value(request.value);
        tx.to = Some(request.to.into());
        tx = tx.input(request.input.clone().into());
        match self.client.provider().estimate_gas(tx).await {
            Ok(gas) => Ok((gas + gas / 5).min(GAS_LIMIT_MAX)),
            Err(error) => {
                let id = request.id.clone();
                if let Broadcast::Funds = wire::classify(&error) {
                    let account = self.account();
                    return Err(L1Error::Funds { id, account, reason: error.to_string() });
                }
                match revert_reason(&error) {
                    Some(reason) => Err(L1Error::WouldRevert { id, reason }),
                    None => Err(L1Error::rpc("estimateGas")(error)),
                }
            }
        }
    }

    /// What inclusion costs now, refused if it is above the limit.
    ///
    /// The fee history alone is not enough: nodes answer it from a cache that may lag behind the
    /// head, and an offer below the head's base fee is one that no block takes.
    async fn asked_fees(&self, id: &str) -> Result<Fees, L1Error> {
        let asked = self.client.provider().estimate_eip1559_fees().await;
        let asked = asked.map_err(L1Error::rpc("fee history"))?;
        let max_priority_fee_wei = asked.max_priority_fee_per_gas;
        let head = self.client.block(BlockNumberOrTag::Latest).await?;
        let base_fee = head.and_then(|block| block.header.base_fee_per_gas).unwrap_or_default();
        let after_head = Fees::after_base_fee(base_fee.into(), max_priority_fee_wei);
        let max_fee_wei = asked.max_fee_per_gas.max(after_head.max_fee_wei);
        let limit_wei = self.config.max_fee_limit_wei;
        if max_fee_wei > limit_wei {
            return Err(L1Error::FeeLimit {
                id: id.to_owned(),
                needed_wei: max_fee_wei,
                limit_wei,
            });
        }
        Ok(Fees { max_fee_wei, max_priority_fee_wei })
    }

    /// The account's nonce after block `head`.
    async fn nonce_at(&self, head: L1BlockRef) -> Result<u64, L1Error> {
        let count = self.client.provider().get_transaction_count(self.account());
        count.number(head.number).await.map_err(L1Error::rpc("nonce"))
    }
}

fn forget(sightings: &mut Vec<(String, u32)>, id: &str) {
    sightings.retain(|(known, _)| known != id);
}

fn note_inclusion(
    file: &mut IntentFile,
    mut intent: Intent,
    at: Inclusion,
    finalized: Option<u64>,
    updates: &mut Vec<TxUpdate>,
) -> Result<(), L1Error> {
    let is_final = finalized.is_some_and(|number| number >= at.block_number);
    let known = matches!(&intent.state, State::Included(before) if *before == at);
    if known && !is_final {
        return Ok(());
    }
    let receipt = receipt(&intent, &at, is_final);
    if !known {
        updates.push(TxUpdate::Included(receipt.clone()));
    }
    if is_final {
        updates.push(TxUpdate::Final(receipt));
        intent.state = State::Final(at);
    } else {
        intent.state = State::Included(at);
    }
    file.put(intent)
}

fn receipt(intent: &Intent, at: &Inclusion, is_final: bool) -> TxReceipt {
    TxReceipt {
        id: intent.id.clone(),
        nonce: intent.nonce,
        tx_hash: at.tx_hash,
        block_number: at.block_number,
        block_hash: at.block_hash,
        succeeded: at.succeeded,
        gas_used: at.gas_used,
        effective_gas_price_wei: at.effective_gas_price_wei,
        contract_address: at.contract_address,
        attempts: intent.attempts.len(),
        is_final,
    }
}
