//! Follows the transactions of contracts that were sent to their blocks.
//!
//! It does what the wallet does for the built-in asset, see `wallet/sent.rs`, with rows of the store: a transaction
//! holds its notes until its block is finalized, until the node reports that it was dropped, or until another
//! transaction publishes one of its nullifiers. That a block has it, or a nullifier of it, is a fact of the block, so a
//! reorganization takes it back, and the transaction is in flight again. What the node does not know is sent again.
//!
//! What was dropped can still be included by anybody who has a copy, until its last slot or until one of its nullifiers
//! is published. So the next transaction spends the notes of a dropped one before others, see [`super::execute`], and
//! the wallet keeps the row for as long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollmill_node_client::NodeClient;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::{Fr, Tx, TxEffects};
use rollmill_pxe_store::{
    Account, BlockStep, Scope, Stage, Step, Store, StoreError, TransactionRow, View,
};
use tokio::time::Instant;

use super::error::ContractError;
use super::intent::Intent;
use super::record::Record;
use super::send::CallOrder;
use super::sync::{self, own_scope};
use crate::error::PxeError;
use crate::wallet::{Earlier, Fate, IdempotencyKey, KEY_SECONDS, Word, ask, node_error};

/// Pause between two questions about a transaction.
const PAUSE: Duration = Duration::from_secs(1);

/// How far a transaction has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallState {
    /// It was sent, or will be with the next sync, and is in no block that was read.
    Pending,
    /// In a block.
    Included { block: u64 },
    /// In a block that is proven on L1.
    Proven { block: u64 },
    /// In a proven block that L1 has finalized.
    Finalized { block: u64 },
    /// The wallet has given it up: the node rejected or dropped it, it expired, or another one spent its notes.
    Dropped { reason: String },
}

impl CallState {
    /// The stage that it has reached, if it is in a block.
    pub fn stage(&self) -> Option<CallStage> {
        match self {
            Self::Included { .. } => Some(CallStage::Included),
            Self::Proven { .. } => Some(CallStage::Proven),
            Self::Finalized { .. } => Some(CallStage::Finalized),
            Self::Pending | Self::Dropped { .. } => None,
        }
    }
}

/// A stage of a transaction that is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallStage {
    Included,
    Proven,
    Finalized,
}

/// A transaction of contracts that an account sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentCall {
    pub tx_hash: Fr,
    /// What was ordered, for people.
    pub order: String,
    pub state: CallState,
}

/// A transaction of the store whose bytes are kept.
struct Sent {
    tx_hash: Fr,
    /// The rows of it: each account whose notes or tags it takes has one. The first one is the oldest.
    parts: Vec<(Account, u64)>,
    row: TransactionRow,
    record: Record,
    included_in: Option<u64>,
    /// Lowest block that publishes one of its nullifiers, by this transaction or another one.
    spent_in: Option<u64>,
}

impl Sent {
    /// None for damaged bytes, which the seal of the store rules out.
    fn effects(&self) -> Option<TxEffects> {
        Tx::from_bytes(&self.row.bytes).ok().map(|tx| tx.body.effects)
    }

    fn scope(&self) -> Scope {
        Scope::of(self.parts.iter().map(|(account, _)| *account))
    }

    /// The state as far as the store knows it: `proven` and `finalized` are numbers of blocks.
    fn state(&self, proven: u64, finalized: u64) -> CallState {
        match (self.included_in, self.row.stage, &self.record.fate) {
            (Some(block), _, _) if block <= finalized => CallState::Finalized { block },
            (Some(block), _, _) if block <= proven => CallState::Proven { block },
            (Some(block), _, _) => CallState::Included { block },
            (None, Stage::Dropped, Fate::Dropped(reason)) => {
                CallState::Dropped { reason: reason.clone() }
            }
            (None, Stage::Dropped, _) => CallState::Dropped { reason: String::new() },
            (None, _, _) => CallState::Pending,
        }
    }
}

/// The transactions of a scope whose bytes are kept, the oldest first.
fn kept(view: &View<'_>, scope: &Scope) -> Result<Vec<Sent>, StoreError> {
    let mut found = BTreeMap::<Fr, Sent>::new();
    for account in scope.accounts() {
        for one in view.transactions(account)? {
            let Some(tx_hash) = one.row.tx_hash else { continue };
            let mut spent_in: Option<u64> = None;
            for nullifier in &nullifiers_of(&one.row) {
                let block = view.nullified(account, nullifier)?;
                spent_in = [spent_in, block].into_iter().flatten().min();
            }
            let part = (*account, one.number);
            let record = Record::of_row(*account, &one.row.request);
            let (row, included_in) = (one.row, one.included_in);
            match found.get_mut(&tx_hash) {
                Some(sent) => {
                    sent.parts.push(part);
                    sent.included_in = sent.included_in.or(included_in);
                    sent.spent_in = [sent.spent_in, spent_in].into_iter().flatten().min();
                }
                None => {
                    let parts = vec![part];
                    let sent = Sent { tx_hash, parts, row, record, included_in, spent_in };
                    found.insert(tx_hash, sent);
                }
            }
        }
    }
    let mut list: Vec<Sent> = found.into_values().collect();
    list.sort_by_key(|sent| sent.parts.iter().map(|(_, number)| *number).min());
    Ok(list)
}

/// All nullifiers of a transaction, of which the wallet holds some as notes.
fn nullifiers_of(row: &TransactionRow) -> Vec<Fr> {
    let tx = Tx::from_bytes(&row.bytes).ok();
    tx.map(|tx| tx.effects().present_nullifiers().copied().collect()).unwrap_or_default()
}

/// What blocks may say about the transactions of each account: their hashes and nullifiers.
#[derive(Debug, Default)]
pub(super) struct Expected {
    hashes: BTreeMap<Account, BTreeSet<Fr>>,
    nullifiers: BTreeMap<Account, BTreeSet<Fr>>,
}

impl Expected {
    /// Of all transactions whose bytes are kept now. Read it after the blocks that it is for: what is in them was kept
    /// before.
    pub(super) fn read(view: &View<'_>, scope: &Scope) -> Result<Self, StoreError> {
        let mut expected = Self::default();
        for account in scope.accounts() {
            for one in view.transactions(account)? {
                let Some(tx_hash) = one.row.tx_hash else { continue };
                expected.hashes.entry(*account).or_default().insert(tx_hash);
                expected.nullifiers.entry(*account).or_default().extend(nullifiers_of(&one.row));
            }
        }
        Ok(expected)
    }

    /// Records what a block says about them.
    pub(super) fn note<'b>(
        &self,
        step: &mut BlockStep<'_, '_>,
        txs: impl Iterator<Item = &'b TxEffects> + Clone,
    ) -> Result<(), StoreError> {
        for (hash, effects) in TxEffects::tx_hashes(txs.clone()).into_iter().zip(txs) {
            for (account, hashes) in &self.hashes {
                if hashes.contains(&hash) {
                    step.include(account, &hash)?;
                }
            }
            for nullifier in effects.present_nullifiers() {
                for (account, known) in &self.nullifiers {
                    if known.contains(nullifier) {
                        step.nullify(account, nullifier)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether the store has anything to read the chain for contracts for: a registered one, or a transaction.
///
/// # Errors
/// Those of the store.
pub fn is_used(store: &Store) -> Result<bool, PxeError> {
    let scope = own_scope(store)?;
    let view = store.view(&scope)?;
    if !view.contracts()?.is_empty() {
        return Ok(true);
    }
    for account in scope.accounts() {
        if !view.transactions(account)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads the chain for contracts and settles what was sent: what a command does before it uses notes of contracts.
/// `now` is in seconds since 1970.
///
/// # Errors
/// Those of [`sync::follow`] and [`settle`], which have the time of the first one together.
pub async fn refresh(store: &Store, node: &NodeClient, now: u64) -> Result<(), PxeError> {
    let both = async {
        sync::follow_on(store, node).await?;
        settle_on(store, node, now).await
    };
    sync::within(sync::time(store)?, both).await
}

/// Settles the transactions of all accounts of the store after the chain was read: those that are in no block are sent
/// again if the node does not know them, and given up if it dropped them, if they expired, or if another transaction
/// published one of their nullifiers. Forgets those to which nothing can happen any more, [`KEY_SECONDS`] later. `now`
/// is in seconds since 1970; a clock that goes backwards only keeps them for longer.
///
/// Transactions that are planned and not ready are left alone, since their proofs may be in the making. Of a process
/// that was killed [`super::abandon_planned`] gives them up.
///
/// # Errors
/// [`PxeError::Node`], [`PxeError::Slow`] after [`sync::READ_TIMEOUT`], and those of the connection and of the store.
pub async fn settle(store: &Store, node: &NodeClient, now: u64) -> Result<(), PxeError> {
    sync::within(sync::READ_TIMEOUT, settle_on(store, node, now)).await
}

/// As [`settle`], for as long as it takes.
async fn settle_on(store: &Store, node: &NodeClient, now: u64) -> Result<(), PxeError> {
    let scope = own_scope(store)?;
    let (list, slot) = {
        let view = store.view(&scope)?;
        let slot = view.headers()?.last().map_or(0, |header| header.slot);
        (kept(&view, &scope)?, slot)
    };
    for sent in &list {
        match (sent.included_in, sent.row.stage) {
            // What was given up keeps the reason: a reorganization may take it out of its block again.
            (Some(_), Stage::Ready) if sent.record.fate != Fate::Accepted => {
                set_fate(store, &sent.parts, &Fate::Accepted)?;
            }
            (None, Stage::Ready) => {
                let word = match lost(sent, slot) {
                    Some(reason) => Word::Gone(reason),
                    None => ask(node, &sent.tx_hash, &sent.row.bytes).await?,
                };
                match word {
                    Word::Known if sent.record.fate != Fate::Accepted => {
                        set_fate(store, &sent.parts, &Fate::Accepted)?;
                    }
                    Word::Known | Word::Wait => {}
                    Word::Gone(reason) => drop_parts(store, &sent.parts, &reason)?,
                }
            }
            _ => {}
        }
    }
    forget(store, &scope, now)
}

/// Why a transaction that is in no block cannot be in a later one, if that is so. `slot` is that of the tip.
fn lost(sent: &Sent, slot: u64) -> Option<String> {
    if sent.spent_in.is_some() {
        return Some("another transaction spent its notes".to_owned());
    }
    let last = sent.effects()?.expiry_slot;
    // Each later block has a later slot.
    (last <= slot).then(|| format!("it expired: its last slot was {last}, the tip's is {slot}"))
}

/// Forgets transactions to which nothing can happen any more, some time after that.
fn forget(store: &Store, scope: &Scope, now: u64) -> Result<(), PxeError> {
    let (list, finalized, slot) = {
        let view = store.view(scope)?;
        let Some(finalized) = view.finalized()? else { return Ok(()) };
        let headers = view.headers()?;
        let slot = headers.iter().find(|header| header.number == finalized);
        (kept(&view, scope)?, finalized, slot.map_or(0, |header| header.slot))
    };
    for sent in list {
        let is_final = |block: Option<u64>| block.is_some_and(|block| block <= finalized);
        let is_over = match sent.row.stage {
            Stage::Planned => false,
            Stage::Ready => is_final(sent.included_in),
            // Nobody can include what has expired, or whose nullifier is published, on a chain that is final.
            Stage::Dropped => {
                let expired = sent.effects().is_none_or(|effects| effects.expiry_slot <= slot);
                expired || is_final(sent.spent_in)
            }
        };
        if !is_over {
            continue;
        }
        let of_parts = sent.scope();
        match sent.record.ended {
            // Whoever wrote it forgets it.
            _ if sent.record.is_newer => {}
            None => {
                let record = Record { ended: Some(now), ..sent.record };
                let bytes = record.to_bytes()?;
                store.step(&of_parts, |step| set_record(step, &sent.parts, &bytes))?;
            }
            Some(ended) if now >= ended.saturating_add(KEY_SECONDS) => {
                store.step(&of_parts, |step| {
                    let mut parts = sent.parts.iter();
                    parts.try_for_each(|(account, number)| step.forget(account, *number))
                })?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn set_record(
    step: &mut Step<'_, '_>,
    parts: &[(Account, u64)],
    bytes: &[u8],
) -> Result<(), StoreError> {
    parts.iter().try_for_each(|(account, number)| step.set_request(account, *number, bytes))
}

/// The record of a transaction, with another fate.
enum Fated {
    /// In bytes.
    Bytes(Vec<u8>),
    /// A newer release wrote it, so it stays as it is.
    Newer,
    /// The transaction is gone.
    Gone,
}

fn with_fate(store: &Store, parts: &[(Account, u64)], fate: &Fate) -> Result<Fated, PxeError> {
    let Some((account, number)) = parts.first() else { return Ok(Fated::Gone) };
    let scope = Scope::of([*account]);
    let transactions = store.view(&scope)?.transactions(account)?;
    let Some(one) = transactions.into_iter().find(|one| one.number == *number) else {
        return Ok(Fated::Gone);
    };
    let record = Record::of_row(*account, &one.row.request);
    if record.is_newer {
        return Ok(Fated::Newer);
    }
    Ok(Fated::Bytes(Record { fate: fate.clone(), ..record }.to_bytes()?))
}

fn set_fate(store: &Store, parts: &[(Account, u64)], fate: &Fate) -> Result<(), PxeError> {
    let Fated::Bytes(bytes) = with_fate(store, parts, fate)? else { return Ok(()) };
    let scope = Scope::of(parts.iter().map(|(account, _)| *account));
    Ok(store.step(&scope, |step| set_record(step, parts, &bytes))?)
}

/// Gives up a transaction that was sent, or may have been: its notes are free.
fn drop_parts(store: &Store, parts: &[(Account, u64)], reason: &str) -> Result<(), PxeError> {
    let bytes = match with_fate(store, parts, &Fate::Dropped(reason.to_owned()))? {
        Fated::Bytes(bytes) => Some(bytes),
        Fated::Newer => None,
        Fated::Gone => return Ok(()),
    };
    let scope = Scope::of(parts.iter().map(|(account, _)| *account));
    let dropped = store.step(&scope, |step| {
        parts.iter().try_for_each(|(account, number)| step.drop_transaction(account, *number))?;
        bytes.as_ref().map_or(Ok(()), |bytes| set_record(step, parts, bytes))
    });
    match dropped {
        Ok(()) => {
            tracing::warn!(
                reason,
                "transaction of contracts dropped; its notes are spendable again"
            );
            Ok(())
        }
        // Somebody else has given it up meanwhile.
        Err(StoreError::Stage { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Records that a node has the transaction.
pub(super) fn accept(store: &Store, intent: &Intent) -> Result<(), PxeError> {
    set_fate(store, intent.parts(), &Fate::Accepted)
}

/// Gives up a transaction that the node rejects.
pub(super) fn give_up(store: &Store, intent: &Intent, reason: &str) -> Result<(), PxeError> {
    drop_parts(store, intent.parts(), reason)
}

/// What sent transactions of the store that are in no block yet may take from the public balance of a contract.
pub(super) fn balance_in_flight(store: &Store, payer: &Fr) -> Result<u64, PxeError> {
    let scope = own_scope(store)?;
    let list = kept(&store.view(&scope)?, &scope)?;
    let waiting = list
        .iter()
        .filter(|sent| sent.included_in.is_none() && sent.row.stage == Stage::Ready)
        .filter_map(Sent::effects);
    let paid = waiting.filter(|effects| effects.fee_payer == *payer);
    let sum = paid.fold(0u128, |sum, effects| sum.saturating_add(effects.gas.max_fee()));
    Ok(u64::try_from(sum).unwrap_or(u64::MAX))
}

/// The transaction that an earlier order of the account with this key made; none if the key is new. Keys of calls and
/// those of payments of the built-in asset are independent.
///
/// # Errors
/// [`PxeError::KeyReused`] if the earlier order was another one, [`PxeError::KeyDropped`] if its transaction was given
/// up, [`PxeError::NewerRecord`] if the key may be that of a transaction whose record a newer release wrote, and those
/// of the store.
pub fn recall(
    store: &Store,
    account: Account,
    key: &IdempotencyKey,
    order: &CallOrder,
) -> Result<Option<Earlier>, PxeError> {
    recall_text(store, account, key, &order.text())
}

/// As [`recall`], for what [`super::prepare_request`] takes as its order.
///
/// # Errors
/// As [`recall`].
pub fn recall_text(
    store: &Store,
    account: Account,
    key: &IdempotencyKey,
    order: &str,
) -> Result<Option<Earlier>, PxeError> {
    let scope = Scope::of([account]);
    let list = kept(&store.view(&scope)?, &scope)?;
    let has_key =
        |sent: &&Sent| sent.record.is_of(account) && sent.record.key.as_ref() == Some(key);
    let Some(sent) = list.iter().find(has_key) else {
        // Without a word on it the order would be paid again.
        return match list.iter().find(|sent| sent.record.is_newer) {
            Some(newer) => Err(PxeError::NewerRecord { hash: to_hex(&newer.tx_hash) }),
            None => Ok(None),
        };
    };
    let (tx_hash, hash) = (sent.tx_hash, to_hex(&sent.tx_hash));
    if sent.record.order != order {
        return Err(PxeError::KeyReused { hash });
    }
    match (sent.included_in, &sent.record.fate) {
        (None, Fate::Dropped(reason)) => Err(PxeError::KeyDropped { hash, reason: reason.clone() }),
        (included_in, fate) => {
            let accepted = included_in.is_some() || *fate == Fate::Accepted;
            Ok(Some(Earlier { tx_hash, accepted }))
        }
    }
}

/// Transactions of the account without a key of which nobody was informed: those of commands that were interrupted.
/// [`settle`] sends those that were not sent.
///
/// # Errors
/// Those of the store.
pub fn unreported(store: &Store, account: Account) -> Result<Vec<Fr>, PxeError> {
    let scope = Scope::of([account]);
    let list = kept(&store.view(&scope)?, &scope)?.into_iter();
    let is_new = |sent: &Sent| {
        sent.row.stage == Stage::Ready && !sent.row.reported && sent.record.is_of(account)
    };
    Ok(list.filter(is_new).map(|sent| sent.tx_hash).collect())
}

/// Records that the user was informed that this transaction is sent, or may be.
///
/// # Errors
/// Those of the store.
pub fn report(store: &Store, account: Account, tx_hash: &Fr) -> Result<(), PxeError> {
    let scope = Scope::of([account]);
    let list = kept(&store.view(&scope)?, &scope)?;
    let Some(sent) = list.iter().find(|sent| sent.tx_hash == *tx_hash) else { return Ok(()) };
    Ok(store.step(&scope, |step| {
        sent.parts.iter().try_for_each(|(account, number)| step.report(account, *number))
    })?)
}

/// The transactions of contracts that an account sent, the oldest first, as of the last [`refresh`]. They are forgotten
/// [`KEY_SECONDS`] after nothing can happen to them any more.
///
/// # Errors
/// Those of the connection and of the store.
pub async fn history(
    (store, node): (&Store, &NodeClient),
    account: Account,
) -> Result<Vec<SentCall>, PxeError> {
    let tips = node.tips().await.map_err(node_error)?;
    let (proven, finalized) = (tips.proven.block_number, tips.finalized.block_number);
    let scope = Scope::of([account]);
    let list = kept(&store.view(&scope)?, &scope)?.into_iter();
    let own = list.filter(|sent| sent.record.is_of(account));
    let shown = own.map(|sent| SentCall {
        tx_hash: sent.tx_hash,
        state: sent.state(proven, finalized),
        order: sent.record.order,
    });
    Ok(shown.collect())
}

/// How far a transaction of any account of the store has come, as the store knows it; none if it is none of the
/// store's, or ordered by none of `accounts`. What is in a block counts as included.
///
/// # Errors
/// Those of the store.
pub fn known_state(
    store: &Store,
    tx_hash: &Fr,
    accounts: Option<&[Account]>,
) -> Result<Option<CallState>, PxeError> {
    let scope = own_scope(store)?;
    let list = kept(&store.view(&scope)?, &scope)?;
    let is_told = |sent: &Sent| {
        accounts.is_none_or(|accounts| accounts.iter().any(|one| sent.record.is_of(*one)))
    };
    let found = list.iter().find(|sent| sent.tx_hash == *tx_hash && is_told(sent));
    Ok(found.map(|sent| sent.state(0, 0)))
}

/// How far a transaction of the account has come, as of the last [`refresh`].
///
/// # Errors
/// [`ContractError::NotSent`] for a transaction that is none of the account's, and those of [`history`].
pub async fn status(
    (store, node): (&Store, &NodeClient),
    account: Account,
    tx_hash: &Fr,
) -> Result<CallState, PxeError> {
    let list = history((store, node), account).await?;
    let found = list.into_iter().find(|sent| sent.tx_hash == *tx_hash);
    let found = found.ok_or(ContractError::NotSent { tx_hash: *tx_hash })?;
    Ok(found.state)
}

/// Reads the chain again and again until a transaction of the account has reached a stage or was dropped, and no longer
/// than to `until`, also within a question to the node. Returns the last state: what the store knows of it, if there
/// was no time to ask. `now` is the clock, in seconds since 1970.
///
/// # Errors
/// Those of [`refresh`] and [`status`].
pub async fn wait(
    (store, node): (&Store, &NodeClient),
    (account, tx_hash): (Account, &Fr),
    stage: CallStage,
    until: Instant,
    now: fn() -> u64,
) -> Result<CallState, PxeError> {
    let mut last = None;
    loop {
        let asked = async {
            refresh(store, node, now()).await?;
            status((store, node), account, tx_hash).await
        };
        let Ok(state) = tokio::time::timeout_at(until, asked).await else {
            let known = match last {
                Some(state) => Some(state),
                None => known_state(store, tx_hash)?,
            };
            return Ok(known.ok_or(ContractError::NotSent { tx_hash: *tx_hash })?);
        };
        let state = state?;
        let reached = state.stage().is_some_and(|has| has >= stage);
        let is_over = reached || matches!(state, CallState::Dropped { .. });
        if is_over || Instant::now() >= until {
            return Ok(state);
        }
        last = Some(state);
        tokio::time::sleep_until(until.min(Instant::now() + PAUSE)).await;
    }
}
