//! What a transaction costs, whether it would succeed, and how it gets to the nodes.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::U256;
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;

use crate::client::L1BlockRef;
use crate::error::{L1Error, reverted};
use crate::fees::Fees;
use crate::intent::{Form, Intent, IntentFile, Retired, WITHOUT_RIGHT};
use crate::queue::waits_for_other_kind;
use crate::sender::{Right, TxSender};
use crate::tick::rivals;
use crate::wire::{self, Signed};

/// Gas of the cheapest transaction there is.
const LEAST_GAS: u64 = 21_000;

impl TxSender {
    /// The account's nonce after a block.
    pub(crate) async fn nonce_at(&self, block: impl Into<BlockId>) -> Result<u64, L1Error> {
        let count = self.client.provider().get_transaction_count(self.account());
        count.block_id(block.into()).await.map_err(L1Error::rpc("nonce"))
    }

    async fn balance(&self) -> Result<U256, L1Error> {
        let balance = self.client.provider().get_balance(self.account()).await;
        balance.map_err(L1Error::rpc("balance"))
    }

    async fn base_fee(&self) -> Result<u128, L1Error> {
        let head = self.client.block(BlockNumberOrTag::Latest).await?;
        let fee = head.and_then(|block| block.header.base_fee_per_gas);
        // Zero would price a transaction so low that it never lands.
        fee.map(u128::from).ok_or_else(|| L1Error::Decode {
            what: "newest block",
            reason: "it has no base fee".to_owned(),
        })
    }

    /// Whether no block can include an offer of these fees now.
    async fn is_below_market(&self, fees: Fees) -> Result<bool, L1Error> {
        Ok(self.base_fee().await? > fees.max_fee_wei
            || match fees.max_blob_fee_wei {
                Some(fee) => self.blob_base_fee().await? > fee,
                None => false,
            })
    }

    /// Whether this process may still send the intent.
    pub(crate) fn right(&self, intent: &Intent) -> Right {
        match (&self.guard, intent.fence) {
            (Some(guard), Some(fence)) => guard(fence),
            _ => Right::Held,
        }
    }

    /// The fee of one unit of blob gas in the next block.
    async fn blob_base_fee(&self) -> Result<u128, L1Error> {
        let fee = self.client.provider().get_blob_base_fee().await;
        fee.map_err(L1Error::rpc("blob base fee"))
    }

    /// Gas of an intent that would succeed on the state after block `head`. It is named by its hash, so
    /// that a block that came meanwhile, perhaps with the very transaction, does not count.
    pub(crate) async fn estimate(&self, intent: &Intent, head: L1BlockRef) -> Result<u64, L1Error> {
        let (id, value) = (intent.label(), intent.value);
        let mut tx = TransactionRequest::default().from(self.account()).value(value);
        tx.to = Some(intent.to.into());
        tx = tx.input(intent.input.clone().into());
        // The hash is all of a blob that a contract sees, so that no node needs the blob here.
        tx.blob_versioned_hashes = intent.blob.map(|blob| vec![blob.versioned_hash]);
        let gas = self.client.provider().estimate_gas(tx).block(head.hash.into()).await;
        let error = match gas {
            Ok(gas) => return Ok(gas),
            Err(error) => error,
        };
        if let Some(reason) = reverted(&error) {
            return Err(L1Error::WouldRevert { id, reason });
        }
        if error.as_error_resp().is_some() {
            let least = U256::from(LEAST_GAS) * U256::from(self.base_fee().await?) + value;
            self.require_funds(&id, least).await?;
        }
        Err(L1Error::rpc("estimateGas")(error))
    }

    /// Requires that the account owns `wei`.
    pub(crate) async fn require_funds(&self, id: &str, wei: U256) -> Result<(), L1Error> {
        let balance = self.balance().await?;
        if balance >= wei {
            return Ok(());
        }
        let reason = format!("it owns {balance} wei and needs {wei}");
        Err(L1Error::Funds { id: id.to_owned(), account: self.account(), reason })
    }

    /// What inclusion of an intent costs now, rejected if it is above a limit.
    ///
    /// The fee history alone is not enough: nodes read it from a cache that may lag behind the head,
    /// and no block includes an offer below the head's base fee.
    pub(crate) async fn asked_fees(&self, intent: &Intent) -> Result<Fees, L1Error> {
        let asked = self.client.provider().estimate_eip1559_fees().await;
        let asked = asked.map_err(L1Error::rpc("fee history"))?;
        let max_priority_fee_wei = asked.max_priority_fee_per_gas;
        let after_head = Fees::after_base_fee(self.base_fee().await?, max_priority_fee_wei);
        let max_fee_wei = asked.max_fee_per_gas.max(after_head.max_fee_wei);
        let fees = Fees { max_fee_wei, ..after_head };
        let fees = match intent.blob {
            Some(_) => fees.after_blob_base_fee(self.blob_base_fee().await?),
            None => fees,
        };
        self.within_limit(&intent.label(), fees)
    }

    /// The fees at which an intent is sent now, whatever has its nonce.
    ///
    /// # Errors
    /// As [`Self::asked_fees`] and [`Self::fees_over`].
    pub(crate) async fn fees_now(
        &self,
        file: &IntentFile,
        intent: &Intent,
    ) -> Result<Fees, L1Error> {
        let asked = self.asked_fees(intent).await?;
        self.fees_over(&intent.label(), asked, &rivals(file, intent.nonce))
    }

    /// The current fees, but enough to replace every form that a pool may contain or that was rejected
    /// as underpriced. Rejected if they are above a limit.
    pub(crate) fn fees_over(
        &self,
        id: &str,
        asked: Fees,
        rivals: &[Intent],
    ) -> Result<Fees, L1Error> {
        let forms = rivals.iter().flat_map(|rival| &rival.forms);
        let forms = forms.filter(|form| form.in_pool || form.priced_out);
        self.within_limit(id, forms.fold(asked, |fees, form| form.fees.bumped(fees)))
    }

    fn within_limit(&self, id: &str, fees: Fees) -> Result<Fees, L1Error> {
        let id = || id.to_owned();
        let (limit_wei, needed_wei) = (self.config.max_fee_limit_wei, fees.max_fee_wei);
        if needed_wei > limit_wei {
            self.fee_rejections.send_modify(|count| *count += 1);
            return Err(L1Error::FeeLimit { id: id(), needed_wei, limit_wei });
        }
        let limit_wei = self.config.max_blob_fee_limit_wei;
        if let Some(needed_wei) = fees.max_blob_fee_wei.filter(|needed| *needed > limit_wei) {
            self.fee_rejections.send_modify(|count| *count += 1);
            return Err(L1Error::BlobFeeLimit { id: id(), needed_wei, limit_wei });
        }
        Ok(fees)
    }

    /// Signs a new form of an intent, writes it to the file with other intents that change with it, and
    /// only then sends it.
    pub(crate) async fn send_form(
        &self,
        file: &mut IntentFile,
        mut intent: Intent,
        fees: Fees,
        sent_at_block: u64,
        mut also: Vec<Intent>,
    ) -> Result<(), L1Error> {
        let signed = self.sign(file, &intent, fees)?;
        let tx_hash = signed.tx_hash;
        intent.forms.push(Form { tx_hash, fees, sent_at_block, in_pool: true, priced_out: false });
        also.push(intent);
        let Some(intent) = file.put_all(also)?.pop() else { return Ok(()) };
        self.broadcast(file, intent, &signed.raw).await
    }

    /// Signs a form with its sidecar, which must be on disk.
    fn sign(&self, file: &IntentFile, intent: &Intent, fees: Fees) -> Result<Signed, L1Error> {
        let sidecar = file.sidecar(intent).map_err(|reason| file.failure(reason))?;
        wire::sign(&self.signer, self.client.chain_id(), intent, sidecar.as_ref(), fees)
    }

    /// Sends the newest form once more, as it is.
    pub(crate) async fn send_again(
        &self,
        file: &mut IntentFile,
        mut intent: Intent,
        last: &Form,
    ) -> Result<(), L1Error> {
        let signed = self.sign(file, &intent, last.fees)?;
        if let Some(form) = intent.forms.last_mut().filter(|form| !form.in_pool) {
            form.in_pool = true;
            intent = file.put(intent)?;
        }
        self.broadcast(file, intent, &signed.raw).await
    }

    /// Sends the newest form. A rejection is classified by what the node reports about transaction,
    /// nonce, price and balance, since clients word it differently.
    async fn broadcast(
        &self,
        file: &mut IntentFile,
        intent: Intent,
        raw: &[u8],
    ) -> Result<(), L1Error> {
        let id = intent.label();
        // Writing the file may have taken long.
        if self.right(&intent) != Right::Held {
            file.put(Intent { retired: Some(Retired::without_right()), ..intent })?;
            return Err(L1Error::Dropped { id, reason: WITHOUT_RIGHT.to_owned() });
        }
        let Some(form) = intent.forms.last().cloned() else { return Ok(()) };
        if waits_for_other_kind(file, &intent) {
            tracing::debug!(purpose = id, "transaction waits for one of the other kind");
            return unpooled(file, intent, false).map(drop);
        }
        let sent = self.client.provider().send_raw_transaction(raw).await;
        let Err(error) = sent else { return Ok(()) };
        if error.as_error_resp().is_none() {
            // It may have arrived.
            return Err(L1Error::rpc("sendRawTransaction")(error));
        }
        let head = self.client.latest().await?;
        let is_used = self.nonce_at(head.hash).await? > intent.nonce;
        // The next tick sees which form was included, or that none was.
        if is_used || self.is_known(form.tx_hash).await? {
            return Ok(());
        }
        let priced_out = wire::says_underpriced(&error) || self.is_below_market(form.fees).await?;
        let intent = unpooled(file, intent, priced_out)?;
        if priced_out {
            // The next tick raises the fees.
            return Ok(());
        }
        if wire::says_reserved(&error) {
            // The next tick sends it again. Another program may have sent what is in its way.
            tracing::debug!(purpose = id, "transaction waits for one of the other kind");
            return Ok(());
        }
        let pending = file.intents().iter().filter(|it| it.is_active() && it.nonce != intent.nonce);
        let wei = pending.map(Intent::cost).fold(intent.cost(), U256::saturating_add);
        self.require_funds(&id, wei).await?;
        Err(L1Error::rpc("sendRawTransaction")(error))
    }
}

/// Records that no pool contains the newest form, and whether for its price.
fn unpooled(
    file: &mut IntentFile,
    mut intent: Intent,
    priced_out: bool,
) -> Result<Intent, L1Error> {
    if let Some(form) = intent.forms.last_mut() {
        (form.in_pool, form.priced_out) = (false, priced_out);
    }
    file.put(intent)
}
