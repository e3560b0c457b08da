//! The methods: parameters in, wire values out. [`super::api`] lists them.

use std::sync::Arc;
use std::time::Duration;

use rollmill_node_client::wire::{DepositInfo, Field, TxStatus};
use rollmill_protocol::EthAddress;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_pxe_store::Account;
use tokio::time::Instant;

use super::error::CallError;
use super::session::Session;
use super::wire::{
    AccountInfo, Address, Amount, Balance, Certainty, Claim, NoteInfo, NoteState, Nothing,
    OfAccount, OfTransaction, Quote, Reason, Sent, SentInfo, Stage, Status, Synced, Tips, Transfer,
    TxInfo, TxState, Waited, Waiting, Withdraw,
};
use super::{Service, WAIT_SECONDS_MAX};
use crate::error::PxeError;
use crate::stored;
use crate::wallet::{
    EXPIRY_EPOCHS, FeePayer, IdempotencyKey, Order, OwnedNote, Purpose, Wallet, node_error,
};

/// Pause between two questions to the node about a transaction.
const PAUSE: Duration = Duration::from_secs(1);
/// Most epochs in which a transaction may be included.
const EXPIRY_EPOCHS_MAX: u64 = 1_000_000;

impl Service {
    pub(super) async fn status(self: &Arc<Self>, _: Nothing) -> Result<Status, CallError> {
        let accounts = self.store.accounts().map_err(PxeError::Store)?;
        let (tips, node_error) = match self.node.tips().await {
            Ok(tips) => {
                let tips = Tips {
                    pending: tips.pending.block_number,
                    verified: tips.verified.block_number,
                    proven: tips.proven.block_number,
                    finalized: tips.finalized.block_number,
                };
                (Some(tips), None)
            }
            Err(error) => (None, Some(reason(&node_error(error)))),
        };
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: PROTOCOL_VERSION,
            // At most some thousands.
            accounts: accounts.len() as u64,
            node_url: self.node.url().to_owned(),
            tips,
            node_error,
        })
    }

    pub(super) async fn accounts(
        self: &Arc<Self>,
        _: Nothing,
    ) -> Result<Vec<AccountInfo>, CallError> {
        let service = Arc::clone(self);
        // Each address is a multiplication on a curve.
        let list = move || -> Result<Vec<AccountInfo>, PxeError> {
            let mut list = Vec::new();
            for info in service.store.accounts()? {
                let address = stored::keys(&service.store, info.account)?.address();
                list.push(AccountInfo {
                    address: Address(address),
                    label: info.label,
                    seed: info.origin.map(|(seed, _)| seed),
                    index: info.origin.map(|(_, index)| index),
                });
            }
            Ok(list)
        };
        let listed = tokio::task::spawn_blocking(list).await;
        Ok(listed.map_err(|_| CallError::Died)??)
    }

    pub(super) async fn sync(self: &Arc<Self>, of: OfAccount) -> Result<Synced, CallError> {
        let work = |session: &mut Session<'_>| -> Result<Synced, CallError> {
            session.sync()?;
            session.refresh_contracts()?;
            Ok(Synced { block: session.wallet.last_block() })
        };
        self.work(&of.account.0, work).await
    }

    pub(super) async fn balance(self: &Arc<Self>, of: OfAccount) -> Result<Balance, CallError> {
        let work = |session: &mut Session<'_>| -> Result<Balance, CallError> {
            session.sync()?;
            let (wallet, node) = (&session.wallet, &session.service.node);
            let public = session.runtime.block_on(wallet.fee_balance(node))?;
            let balances = wallet.balances();
            Ok(Balance {
                proven: Amount(balances.proven),
                pending: Amount(balances.pending),
                unverified: Amount(balances.unverified),
                locked: Amount(wallet.locked()),
                public: Amount(public),
            })
        };
        self.work(&of.account.0, work).await
    }

    pub(super) async fn notes(self: &Arc<Self>, of: OfAccount) -> Result<Vec<NoteInfo>, CallError> {
        let work = |session: &mut Session<'_>| -> Result<Vec<NoteInfo>, CallError> {
            session.sync()?;
            let wallet = &session.wallet;
            Ok(wallet.notes().iter().map(|note| note_info(wallet, note)).collect())
        };
        self.work(&of.account.0, work).await
    }

    pub(super) async fn sent(self: &Arc<Self>, of: OfAccount) -> Result<Vec<SentInfo>, CallError> {
        let work = |session: &mut Session<'_>| -> Result<Vec<SentInfo>, CallError> {
            session.sync()?;
            let sent = session.wallet.sent_transactions();
            let info = |sent: crate::wallet::SentTransaction| SentInfo {
                hash: Field(sent.tx_hash),
                block: sent.included_in,
            };
            Ok(sent.map(info).collect())
        };
        self.work(&of.account.0, work).await
    }

    pub(super) async fn simulate_transfer(
        self: &Arc<Self>,
        transfer: Transfer,
    ) -> Result<Quote, CallError> {
        let order = transfer_order("pxe_simulateTransfer", &transfer)?;
        let spend_pending = transfer.spend_pending.unwrap_or(false);
        let work = move |session: &mut Session<'_>| -> Result<Quote, CallError> {
            session.sync()?;
            session.wallet.set_spend_pending(spend_pending);
            let (wallet, node) = (&session.wallet, &session.service.node);
            let quote = session.runtime.block_on(wallet.quote(node, &order))?;
            Ok(Quote {
                fee: Amount(quote.fee.now),
                fee_max: Amount(quote.fee.max),
                change: Amount(quote.change),
                public_balance: Amount(quote.balance),
                expiry_slot: quote.expiry_slot,
            })
        };
        self.work(&transfer.account.0, work).await
    }

    pub(super) async fn transfer(self: &Arc<Self>, transfer: Transfer) -> Result<Sent, CallError> {
        let order = transfer_order("pxe_transfer", &transfer)?;
        let spend_pending = transfer.spend_pending.unwrap_or(false);
        self.send(&transfer.account, order, spend_pending, transfer.idempotency_key).await
    }

    pub(super) async fn withdraw(self: &Arc<Self>, withdraw: Withdraw) -> Result<Sent, CallError> {
        const METHOD: &str = "pxe_withdraw";
        if withdraw.to == EthAddress::default() {
            return Err(wrong(METHOD, "to: an account on L1 that is not zero expected"));
        }
        let amount = positive(METHOD, withdraw.amount)?;
        let order = Order {
            purpose: Purpose::Withdraw { to: withdraw.to, amount },
            fee_payer: withdraw.fee_payer.unwrap_or_default().into(),
            expiry_epochs: expiry_epochs(METHOD, withdraw.expiry_epochs)?,
        };
        let spend_pending = withdraw.spend_pending.unwrap_or(false);
        self.send(&withdraw.account, order, spend_pending, withdraw.idempotency_key).await
    }

    pub(super) async fn claim(self: &Arc<Self>, claim: Claim) -> Result<Sent, CallError> {
        let expiry_epochs = expiry_epochs("pxe_claim", claim.expiry_epochs)?;
        let (named, keep) = (claim.deposit, claim.keep.unwrap_or(false));
        let work = move |session: &mut Session<'_>| -> Result<Sent, CallError> {
            session.begin()?;
            let deposit = match named {
                Some(named) => DepositInfo { index: named.index, amount: named.amount.0 },
                None => {
                    let (wallet, node) = (&session.wallet, &session.service.node);
                    session.runtime.block_on(wallet.find_deposit(node))?
                }
            };
            let purpose = Purpose::Claim { deposit, keep };
            session.send(&Order { purpose, fee_payer: FeePayer::Account, expiry_epochs }, None)
        };
        self.work(&claim.account.0, work).await
    }

    async fn send(
        self: &Arc<Self>,
        account: &Address,
        order: Order,
        spend_pending: bool,
        key: Option<IdempotencyKey>,
    ) -> Result<Sent, CallError> {
        let work = move |session: &mut Session<'_>| -> Result<Sent, CallError> {
            session.wallet.set_spend_pending(spend_pending);
            let repeated = match &key {
                Some(key) => session.begin_keyed(key, &order)?,
                None => session.begin().map(|()| None)?,
            };
            match repeated {
                Some(sent) => Ok(sent),
                None => session.send(&order, key.as_ref()),
            }
        };
        self.work(&account.0, work).await
    }

    pub(super) async fn transaction(
        self: &Arc<Self>,
        of: OfTransaction,
    ) -> Result<TxInfo, CallError> {
        self.transaction_for(of, None).await
    }

    /// As [`Self::transaction`], for a caller that knows these accounts only; all of the store if it is `None`.
    pub(super) async fn transaction_for(
        self: &Arc<Self>,
        of: OfTransaction,
        accounts: Option<&[Account]>,
    ) -> Result<TxInfo, CallError> {
        let status = self.node.transaction_status(&of.hash.0).await.map_err(node_error)?;
        let at = |state, block| TxInfo { state, block, reason: None };
        Ok(match status {
            // The wallet may have given up a transaction of contracts, or be about to send it again.
            TxStatus::Unknown => match self.known_call(&of.hash.0, accounts)? {
                Some(known) if known.state.stage().is_none() => known,
                _ => at(TxState::Unknown, None),
            },
            TxStatus::Pending { parked } => {
                TxInfo { state: TxState::Pending, block: None, reason: parked }
            }
            TxStatus::Included { block_number, .. } => at(TxState::Included, Some(block_number)),
            TxStatus::Proven { block_number, .. } => {
                let finalized = self.node.tips().await.map_err(node_error)?.finalized;
                let is_final = finalized.block_number >= block_number;
                let state = if is_final { TxState::Finalized } else { TxState::Proven };
                at(state, Some(block_number))
            }
            TxStatus::Dropped { reason } => {
                TxInfo { state: TxState::Dropped, block: None, reason: Some(reason) }
            }
        })
    }

    pub(super) async fn wait(self: &Arc<Self>, of: Waiting) -> Result<Waited, CallError> {
        self.wait_for(of, None).await
    }

    /// As [`Self::wait`], for a caller that knows these accounts only; all of the store if it is `None`.
    pub(super) async fn wait_for(
        self: &Arc<Self>,
        of: Waiting,
        accounts: Option<&[Account]>,
    ) -> Result<Waited, CallError> {
        if of.seconds > WAIT_SECONDS_MAX {
            return Err(wrong("pxe_wait", "seconds: at most 60 expected; ask again after them"));
        }
        let _wait = self.waits.try_acquire().map_err(|_| CallError::Busy)?;
        let start = Instant::now();
        let end = start + Duration::from_secs(of.seconds);
        let mut known: Option<TxInfo> = None;
        loop {
            // Each question has what is left of the wait, and the first one some time in any case.
            let until = if known.is_some() { end } else { end.max(start + self.limits.report) };
            let asked = self.transaction_for(OfTransaction { hash: of.hash }, accounts);
            let Ok(answer) = tokio::time::timeout_at(until, asked).await else {
                let late = CallError::Unreported { seconds: of.seconds };
                return known.map(|info| waited(info, of.stage)).ok_or(late);
            };
            let info = answer?;
            let result = waited(info.clone(), of.stage);
            known = Some(info);
            let left = end.saturating_duration_since(Instant::now());
            let is_over = result.reached || result.state == TxState::Dropped || left.is_zero();
            // A service that stops answers with what it knows.
            if is_over || self.shutdown.within(PAUSE.min(left)).await {
                return Ok(result);
            }
        }
    }
}

/// The status of a transaction as the result of a wait for a stage.
fn waited(info: TxInfo, stage: Stage) -> Waited {
    let TxInfo { state, block, reason } = info;
    let reached = state.stage().is_some_and(|has| has >= stage);
    Waited { reached, state, block, reason }
}

/// An error inside a result.
pub(super) fn reason(error: &PxeError) -> Reason {
    Reason { code: error.code().to_owned(), message: error.to_string() }
}

pub(super) fn wrong(method: &'static str, reason: &str) -> CallError {
    CallError::Parameters { method, reason: reason.to_owned() }
}

fn positive(method: &'static str, amount: Amount) -> Result<u64, CallError> {
    match amount.0 {
        0 => Err(wrong(method, "amount: more than 0 expected")),
        amount => Ok(amount),
    }
}

pub(super) fn expiry_epochs(method: &'static str, given: Option<u64>) -> Result<u64, CallError> {
    let epochs = given.unwrap_or(EXPIRY_EPOCHS);
    match (1..=EXPIRY_EPOCHS_MAX).contains(&epochs) {
        true => Ok(epochs),
        false => Err(wrong(method, "expiry_epochs: a number from 1 to 1000000 expected")),
    }
}

fn transfer_order(method: &'static str, transfer: &Transfer) -> Result<Order, CallError> {
    let amount = positive(method, transfer.amount)?;
    Ok(Order {
        purpose: Purpose::Transfer { to: transfer.to.0, amount },
        fee_payer: transfer.fee_payer.unwrap_or_default().into(),
        expiry_epochs: expiry_epochs(method, transfer.expiry_epochs)?,
    })
}

fn note_info(wallet: &Wallet, note: &OwnedNote) -> NoteInfo {
    let state = match (note.spent_in, note.pending) {
        (Some(_), _) => NoteState::Spent,
        (None, true) => NoteState::Held,
        (None, false) => NoteState::Spendable,
    };
    let certainty = match wallet.finality(note) {
        "proven" => Certainty::Proven,
        "pending" => Certainty::Pending,
        _ => Certainty::Unverified,
    };
    NoteInfo {
        value: Amount(note.value),
        leaf_index: note.leaf_index,
        block: note.block,
        certainty,
        state,
        spent_in: note.spent_in,
    }
}
