//! Sends the transactions of one account: explicit nonces, fees that rise until a transaction is
//! included, resubmission after a reorg, and a file that makes a restart send nothing twice.
//!
//! A caller names a request by a *purpose* that it chooses, such as `propose/17`, and an attempt. The
//! same request again, in this process or after a restart, continues the first. Another request of the
//! purpose replaces the older one under the same nonce, so that at most one of them is included; the
//! older one is not sent again.
//!
//! A transaction that has expired, or would revert when it must be sent again, is dropped. Its nonce
//! goes to the next request, or is filled by an empty transfer to the account itself when a
//! transaction waits behind it or a pool may still contain the dropped form.
//!
//! # Gas
//! A call is simulated on the state after L1's head and at its time, and runs in a later block. So its limit has a
//! fifth to spare, at least the price of a word that somebody sets back to zero in between, and what its purpose
//! may need more: see [`TxRequest::gas_spare`]. If a later simulation needs more than the limit, the transaction is
//! replaced by one with a higher limit, which has as much to spare.
//!
//! # Blobs
//! A request may carry one blob. Pools keep an account's transactions with blobs apart from those without: while
//! one kind is pending they reject the other. So a request waits until all earlier ones of the other kind are in
//! blocks; and one without a blob that takes the nonce of a pooled one with a blob, or fills it, is sent with a blob
//! of zeros. A request with a blob cannot take the nonce of a pooled one without: it waits for its inclusion, or until
//! the pools drop it. Attach [`Sidecar::empty`] to a request that others with blobs may replace or be replaced by.

use std::future::{Future, pending};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::signers::local::PrivateKeySigner;
use rollmill_blob::{Short, Sidecar};
use rollmill_net::{Again, Retry};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::client::{L1BlockRef, L1Client};
use crate::economics::Call;
use crate::error::L1Error;
use crate::fees::Fees;
use crate::intent::{self, BlobId, Intent, IntentFile, Published, Retired, State, WITHOUT_RIGHT};
use crate::queue::{
    candidates, dropped, is_blob_ahead, is_continued, is_left_alone, is_over, is_replaceable,
    open_nonces, receipt, with_margin,
};
use crate::tick::rivals;

/// The longest pause while L1 fails, in polling intervals.
const RETRY_GROWTH: u32 = 8;

/// Maximum gas of one L1 transaction (EIP-7825).
pub const GAS_LIMIT_MAX: u64 = 1 << 24;
/// Polls of an unchanged L1 head after which [`TxSender::run`] ticks nevertheless: a node may have
/// lost a transaction, and a development chain mines no block without one.
const POLLS_MAX: u32 = 20;

/// The last L1 head that was polled; see [`TxSender::tick_if_new`].
#[derive(Debug, Default)]
pub struct Seen {
    head: Option<B256>,
    polls: u32,
}

/// What is known of a caller's right to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Held,
    /// Unknown for now. What is in a pool stays there, and nothing is added.
    Unknown,
    /// Another process has it, or this one under another fence. What has not been sent is dropped.
    Gone,
}

/// Returns whether a request with this fence may be sent now.
pub(crate) type Guard = Box<dyn Fn(u64) -> Right + Send + Sync>;

/// When a transaction expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// The last L1 timestamp, in Unix seconds, of a block in which it is valid.
    Timestamp(u64),
    /// The last such L1 block.
    Block(u64),
}

impl Expiry {
    /// Whether every block after `head` is too late.
    pub fn is_past(self, head: L1BlockRef) -> bool {
        match self {
            Self::Timestamp(last) => head.timestamp >= last,
            Self::Block(last) => head.number >= last,
        }
    }
}

/// A transaction to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct TxRequest {
    /// What it is for; see the module's documentation. Names that start with `fill/` are the sender's
    /// own.
    pub purpose: String,
    /// A higher attempt may follow one that reverted, was dropped or was lost.
    pub attempt: u32,
    /// None creates a contract.
    pub to: Option<Address>,
    pub input: Bytes,
    pub value: U256,
    /// The blob that it carries, with its commitment and proofs. It needs a recipient.
    pub sidecar: Option<Arc<Sidecar>>,
    /// None simulates the call to find it, which rejects one that would revert.
    pub gas_limit: Option<u64>,
    /// Gas that the call may need beyond a simulated limit, because it does more in a later block than in the
    /// simulation. What is not used is not paid for, but the account must own it.
    pub gas_spare: u64,
    /// When it expires; `None` is never.
    pub expires: Option<Expiry>,
    /// The fence of the caller's right to send: [`TxSender::guarded`] is asked about it just before
    /// anything is sent, and a request with a lower one than its purpose has seen is rejected.
    pub fence: Option<u64>,
}

impl std::fmt::Debug for TxRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxRequest")
            .field("purpose", &self.purpose)
            .field("attempt", &self.attempt)
            .field("to", &self.to)
            .field("input", &Short(&self.input))
            .field("value", &self.value)
            .field("sidecar", &self.sidecar)
            .field("gas_limit", &self.gas_limit)
            .field("gas_spare", &self.gas_spare)
            .field("expires", &self.expires)
            .field("fence", &self.fence)
            .finish()
    }
}

impl TxRequest {
    /// The first attempt of a contract's call, with the gas that it needs beyond its simulation.
    pub fn of(purpose: impl Into<String>, call: Call) -> Self {
        let Call { to, input, gas_spare } = call;
        Self { gas_spare, ..Self::call(purpose, to, input) }
    }

    /// The first attempt of a call without value, simulated first, that does not expire.
    pub fn call(purpose: impl Into<String>, to: Address, input: Bytes) -> Self {
        Self { to: Some(to), ..Self::create(purpose, input) }
    }

    /// The creation of a contract.
    pub fn create(purpose: impl Into<String>, code: Bytes) -> Self {
        Self {
            purpose: purpose.into(),
            attempt: 0,
            to: None,
            input: code,
            value: U256::ZERO,
            sidecar: None,
            gas_limit: None,
            gas_spare: 0,
            expires: None,
            fence: None,
        }
    }

    pub(crate) fn label(&self) -> String {
        intent::label(&self.purpose, self.attempt)
    }
}

/// Settings of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderConfig {
    /// Maximum fee per gas in wei.
    pub max_fee_limit_wei: u128,
    /// Maximum fee per unit of blob gas in wei; a blob has 131,072 units.
    pub max_blob_fee_limit_wei: u128,
    /// L1 blocks without inclusion after which the fees are raised.
    pub bump_after_blocks: u64,
    /// How often [`TxSender::run`] and [`TxSender::send`] poll for a new L1 block.
    pub poll_interval: Duration,
    /// L1 blocks that [`TxSender::send`] waits for inclusion.
    pub wait_blocks: u64,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            max_fee_limit_wei: 500_000_000_000,
            max_blob_fee_limit_wei: 100_000_000_000,
            bump_after_blocks: 3,
            poll_interval: Duration::from_secs(1),
            wait_blocks: 256,
        }
    }
}

/// A transaction that is in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxReceipt {
    /// The purpose, and the attempt after `#` unless it is 0.
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
    /// Number of signed forms that were sent, this one included.
    pub attempts: usize,
    /// Whether L1 has finalized the block.
    pub is_final: bool,
}

/// State of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxStatus {
    Pending {
        nonce: u64,
        attempts: usize,
    },
    Included(TxReceipt),
    /// Another transaction used its nonce. It will not be included.
    Lost {
        nonce: u64,
    },
    /// It is not sent again. A form that was sent before may still be included.
    Dropped {
        reason: String,
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
    /// It needs higher fees than a limit allows, for gas or for blob gas, and waits.
    FeeLimited { id: String, needed_wei: u128 },
    /// Its block is final.
    Final(TxReceipt),
    /// Another transaction used its nonce.
    Lost { id: String, nonce: u64 },
    /// It is not sent again.
    Dropped { id: String, reason: String },
}

/// The sender of one account on one chain. No other program may send from that account.
pub struct TxSender {
    pub(crate) client: L1Client,
    pub(crate) signer: PrivateKeySigner,
    pub(crate) config: SenderConfig,
    pub(crate) guard: Option<Guard>,
    pub(crate) file: Mutex<IntentFile>,
    published: Arc<Published>,
    /// How often something was not sent because its price is above the limit.
    pub(crate) fee_rejections: watch::Sender<u64>,
}

// The signer contains a key; its own formatting is not relied on to hide it.
impl std::fmt::Debug for TxSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxSender").field("account", &self.account()).finish_non_exhaustive()
    }
}

impl TxSender {
    /// Opens the sender with its file of intents, which is created if there is none. [`Self::run`] or the
    /// next [`Self::tick`] continues intents that an earlier process left.
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
        Ok(Self {
            client,
            signer,
            config,
            guard: None,
            published: Arc::clone(&file.published),
            file: Mutex::new(file),
            fee_rejections: watch::Sender::new(0),
        })
    }

    /// Asks `guard`, just before anything is sent for a request with a fence, whether that may be.
    #[must_use]
    pub fn guarded(mut self, guard: impl Fn(u64) -> Right + Send + Sync + 'static) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    /// The account that signs.
    pub fn account(&self) -> Address {
        self.signer.address()
    }

    /// The underlying client.
    pub fn client(&self) -> &L1Client {
        &self.client
    }

    /// Counts how often a transaction was not sent, or its fees not raised, because gas cost more than
    /// the limit. One that waits for a lower price counts again with every attempt.
    pub fn watch_fee_rejections(&self) -> watch::Receiver<u64> {
        self.fee_rejections.subscribe()
    }

    /// Counts the changes of every transaction's status.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.published.changes.subscribe()
    }

    /// Ticks with every new L1 block, while anything is unsettled, until `stop` is done. Failures
    /// are retried at the next poll.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) {
        let polls = async {
            let mut changes = self.watch();
            let mut seen = Seen::default();
            let mut retry = self.retry();
            loop {
                changes.mark_unchanged();
                if self.published.intents().iter().all(|intent| intent.state.is_settled()) {
                    // The sender of the changes lives as long as `self`.
                    let _ = changes.changed().await;
                }
                match self.tick_if_new(&mut seen).await {
                    Ok(()) => {
                        retry.succeeded(|wait_seconds| {
                            tracing::info!(wait_seconds, "L1 transactions continue");
                        });
                        tokio::time::sleep(self.config.poll_interval).await;
                    }
                    Err(error) => {
                        let log = |Again { repeated, retry_seconds }| {
                            tracing::warn!(%error, repeated, retry_seconds, "L1 transactions delayed; retrying");
                        };
                        // `stop` drops this future.
                        retry.failed(pending(), log).await;
                    }
                }
            }
        };
        tokio::select! {
            () = stop => {}
            () = polls => {}
        }
    }

    /// Ticks if L1's head is another than the one that `seen` remembers, or has been the same for many
    /// polls. The first poll always ticks.
    ///
    /// # Errors
    /// As [`Self::tick`]; the next poll ticks again.
    pub async fn tick_if_new(&self, seen: &mut Seen) -> Result<(), L1Error> {
        let head = self.client.latest().await?;
        if seen.head == Some(head.hash) && seen.polls < POLLS_MAX {
            seen.polls += 1;
            return Ok(());
        }
        seen.head = None;
        self.tick().await?;
        *seen = Seen { head: Some(head.hash), polls: 0 };
        Ok(())
    }

    /// Writes the intent to the file, then sends it. Returns without waiting for inclusion.
    ///
    /// A pending intent of the purpose with another payload or a lower attempt is replaced under its
    /// nonce.
    ///
    /// # Errors
    /// [`L1Error::WouldRevert`], [`L1Error::Funds`], [`L1Error::FeeLimit`], [`L1Error::BlobFeeLimit`],
    /// [`L1Error::Dropped`]: nothing was written or sent, unless [`Self::status`] knows it.
    /// [`L1Error::IntentConflict`]: this attempt is over with another payload, or the purpose has a
    /// higher attempt or fence already.
    /// Every other error: it may have been written and sent; [`Self::tick`] retries it.
    pub async fn submit(&self, request: TxRequest) -> Result<(), L1Error> {
        let mut file = self.file.lock().await;
        let id = request.label();
        if is_continued(&mut file, &request)? {
            return Ok(());
        }
        // What L1 did meanwhile decides whether an older intent of the purpose can be replaced.
        let mut poll = self.poll().await?;
        for nonce in open_nonces(&file, &request.purpose) {
            self.settle(&mut file, nonce, &mut poll).await?;
        }
        if is_over(&file, &request)? {
            return Ok(());
        }
        let dropped = |reason: &str| L1Error::Dropped { id: id.clone(), reason: reason.to_owned() };
        if request.expires.is_some_and(|expiry| expiry.is_past(poll.head)) {
            return Err(dropped("it has expired"));
        }
        if request.sidecar.is_some() && request.to.is_none() {
            return Err(dropped("a transaction with a blob cannot create a contract"));
        }
        // None is written before it is decided to send.
        let sidecar = request.sidecar.clone();
        let gas_limit = request.gas_limit;
        let mut intent = Intent::new(request, 0, 0);
        intent.gas_limit = match gas_limit {
            Some(limit) => limit.min(GAS_LIMIT_MAX),
            None => with_margin(self.estimate(&intent, poll.head).await?, intent.gas_spare),
        };
        intent.nonce = self.nonce_for(&mut file, &intent.purpose, poll.count).await?;
        let rivals = rivals(&file, intent.nonce);
        if intent.to.is_some() && is_blob_ahead(&file, intent.nonce) {
            intent.blob.get_or_insert_with(BlobId::empty);
        }
        let asked = self.asked_fees(&intent).await?;
        let fees = self.fees_over(&id, asked, &rivals)?;
        let wei = intent::cost(intent.gas_limit, fees, intent.value);
        self.require_funds(&id, wei).await?;
        if self.right(&intent) != Right::Held {
            return Err(dropped(WITHOUT_RIGHT));
        }
        if let Some(sidecar) = &sidecar {
            file.keep(sidecar)?;
        }
        let replaced = rivals.into_iter().filter(|rival| rival.retired.is_none());
        let retired = Retired::worthless(format!("`{id}` took its place"));
        let replaced = replaced.map(|it| Intent { retired: Some(retired.clone()), ..it }).collect();
        self.send_form(&mut file, intent, fees, poll.head.number, replaced).await
    }

    /// The nonce for a request of this purpose, when the account's next one on L1 is `count`: that of
    /// the intent that it replaces, or of a dropped one in a pool, else an unused one, else the next.
    async fn nonce_for(
        &self,
        file: &mut IntentFile,
        purpose: &str,
        count: u64,
    ) -> Result<u64, L1Error> {
        // What the pools have lost by now needs no competitor.
        let dropped = dropped(file, purpose);
        self.is_any_in_pool(file, &dropped).await?;
        let (nonces, next) = candidates(file, purpose, count);
        for nonce in nonces {
            let of_nonce = rivals(file, nonce);
            if !of_nonce.iter().all(|rival| is_replaceable(rival, purpose)) {
                continue;
            }
            // What is in a pool determines the price, too.
            self.is_any_in_pool(file, &of_nonce).await?;
            if !rivals(file, nonce).iter().any(|rival| is_left_alone(rival, purpose)) {
                return Ok(nonce);
            }
        }
        Ok(next)
    }

    /// Retries while L1 fails: their pauses grow from the polling interval to [`RETRY_GROWTH`] times that.
    fn retry(&self) -> Retry {
        let first = self.config.poll_interval;
        Retry::new(first, first * RETRY_GROWTH)
    }

    /// The attempt under which a new payload of this purpose can be submitted: the last one while it
    /// is pending or was dropped, the next one once it is in a block or lost.
    pub fn attempt_for(&self, purpose: &str) -> u32 {
        let intents = self.published.intents();
        let of_purpose = intents.iter().filter(|intent| intent.purpose == purpose);
        let Some(last) = of_purpose.clone().map(|intent| intent.attempt).max() else { return 0 };
        let is_over = of_purpose.clone().any(|it| it.attempt == last && it.is_over());
        last.saturating_add(u32::from(is_over))
    }

    /// Submits and waits until the transaction is in a block, reverted or not.
    ///
    /// It waits until the request expires, or for a number of L1 blocks; while no endpoint responds
    /// it keeps trying. Drop the future to stop waiting. The intent stays.
    ///
    /// # Errors
    /// As [`Self::submit`]; [`L1Error::NonceTaken`] if the transaction is lost,
    /// [`L1Error::Dropped`] if it is not sent again, [`L1Error::NotIncluded`] after the wait.
    pub async fn send(&self, request: TxRequest) -> Result<TxReceipt, L1Error> {
        let (id, purpose, attempt) = (request.label(), request.purpose.clone(), request.attempt);
        let mut retry = self.retry();
        loop {
            match self.submit(request.clone()).await {
                Ok(()) => break,
                // The caller drops this future, or waits.
                Err(error @ (L1Error::Unreachable { .. } | L1Error::Answer { .. })) => {
                    if self.status(&purpose, attempt).is_some() {
                        break;
                    }
                    if !error.is_transient() {
                        return Err(error);
                    }
                    let log = |Again { repeated, retry_seconds }| {
                        tracing::warn!(purpose = id, %error, repeated, retry_seconds, "L1 transaction not submitted; retrying");
                    };
                    retry.failed(pending(), log).await;
                }
                Err(error) => return Err(error),
            }
        }
        retry.succeeded(|wait_seconds| {
            tracing::info!(purpose = id, wait_seconds, "L1 transaction submitted");
        });
        let (mut first, mut seen) = (None, Seen::default());
        loop {
            let ticked = match self.tick_if_new(&mut seen).await {
                Err(error @ L1Error::IntentFile { .. }) => return Err(error),
                ticked => ticked,
            };
            match self.status(&purpose, attempt) {
                Some(TxStatus::Included(receipt)) => return Ok(receipt),
                Some(TxStatus::Lost { nonce }) => {
                    return Err(L1Error::NonceTaken { id, nonce, account: self.account() });
                }
                Some(TxStatus::Dropped { reason }) => return Err(L1Error::Dropped { id, reason }),
                Some(TxStatus::Pending { .. }) | None => {}
            }
            if let Ok(head) = self.client.latest().await {
                let blocks = head.number.saturating_sub(*first.get_or_insert(head.number));
                if blocks >= self.config.wait_blocks {
                    return Err(L1Error::NotIncluded { id, blocks });
                }
            }
            let Err(error) = ticked else {
                retry.succeeded(|wait_seconds| {
                    tracing::info!(purpose = id, wait_seconds, "transaction status fetched again");
                });
                tokio::time::sleep(self.config.poll_interval).await;
                continue;
            };
            let log = |Again { repeated, retry_seconds }| {
                tracing::warn!(purpose = id, %error, repeated, retry_seconds, "cannot fetch transaction status; retrying");
            };
            retry.failed(pending(), log).await;
        }
    }

    /// State of this attempt, as of the last poll; none if it was never submitted or has been
    /// forgotten long after it became final. Of several payloads it is the one that is in a block and
    /// succeeded, else the newest. Does not wait for a running tick.
    pub fn status(&self, purpose: &str, attempt: u32) -> Option<TxStatus> {
        let intents = self.published.intents();
        let mut all = intents.iter().rev().filter(|intent| intent.is(purpose, attempt));
        let newest = all.next()?;
        let landed = |intent: &&Intent| matches!(&intent.state, State::Included(at) | State::Final(at) if at.succeeded);
        let intent = std::iter::once(newest).chain(all).find(landed).unwrap_or(newest);
        let nonce = intent.nonce;
        Some(match (&intent.state, &intent.retired) {
            (State::Included(at), _) => TxStatus::Included(receipt(intent, at, false)),
            (State::Final(at), _) => TxStatus::Included(receipt(intent, at, true)),
            (_, Some(retired)) => TxStatus::Dropped { reason: retired.reason.clone() },
            (State::Pending, None) => TxStatus::Pending { nonce, attempts: intent.forms.len() },
            (State::Lost { .. } | State::LostFinal, None) => TxStatus::Lost { nonce },
        })
    }
}
