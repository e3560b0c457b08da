//! What a transaction takes, in the store before it is proven and sent: its notes are held, and its tags are used up.

use std::collections::BTreeMap;

use rollmill_protocol::Fr;
use rollmill_pxe_store::{Account, Plan, Scope, Stage, Store, StoreError};

use super::error::ContractError;
use super::transaction::SimulatedTransaction;

/// The parts of one transaction, by the account that each is of: its number there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    parts: Vec<(Account, u64)>,
}

impl Intent {
    /// The accounts that have a part, each with its number there.
    pub(super) fn parts(&self) -> &[(Account, u64)] {
        &self.parts
    }
}

/// Takes the notes and tags of a transaction, all or none. Then it may be proven. `sender` is the account that ordered
/// it, which has a part of it in any case, and `request` is what the wallet keeps of the order.
///
/// # Errors
/// [`StoreError::Held`] for notes that another transaction took meanwhile, [`StoreError::Conflict`] for tags; then
/// execute the request again.
pub fn plan(
    store: &Store,
    scope: &Scope,
    transaction: &SimulatedTransaction,
    (sender, request): (Account, &[u8]),
) -> Result<Intent, ContractError> {
    let mut plans: BTreeMap<Account, (Plan, Vec<u64>)> = BTreeMap::new();
    plans.entry(sender).or_default();
    for note in &transaction.notes {
        plans.entry(note.account).or_default().0.nullifiers.push(note.nullifier);
    }
    for tag in &transaction.tags {
        let (plan, indices) = plans.entry(tag.account).or_default();
        plan.secrets.push(tag.secret);
        indices.push(tag.index);
    }
    let mut taken = Vec::with_capacity(plans.len());
    for (plan, _) in plans.values_mut() {
        plan.request = request.to_vec();
    }
    store.step(scope, |step| {
        for (account, (plan, indices)) in &plans {
            let planned = step.plan(account, plan)?;
            if planned.tags != *indices {
                return Err(StoreError::Conflict { what: "an index of sent tags" });
            }
            taken.push((*account, planned.number));
        }
        Ok(())
    })?;
    Ok(Intent { parts: taken })
}

/// Keeps the bytes of a planned transaction. Only after this may they leave the machine. `is_reported` is whether
/// nobody has to be informed of it after a crash, since its order has an idempotency key.
///
/// # Errors
/// Those of the store.
pub fn ready(
    store: &Store,
    scope: &Scope,
    intent: &Intent,
    (tx_hash, bytes): (&Fr, &[u8]),
    is_reported: bool,
) -> Result<(), ContractError> {
    let parts = &intent.parts;
    Ok(store.step(scope, |step| {
        parts.iter().try_for_each(|(account, number)| {
            step.ready(account, *number, tx_hash, bytes)?;
            if is_reported { step.report(account, *number) } else { Ok(()) }
        })
    })?)
}

/// Gives up a transaction of which nothing can have left: its notes and tags are free.
///
/// # Errors
/// Those of the store.
pub fn abandon(store: &Store, scope: &Scope, intent: &Intent) -> Result<(), ContractError> {
    let parts = &intent.parts;
    Ok(store.step(scope, |step| {
        parts.iter().try_for_each(|(account, number)| step.abandon(account, *number))
    })?)
}

/// Gives up what a process left that was killed before its proof was made: such transactions cannot have left the
/// machine. For the process that has the store, before it plans anything. Returns how many there were.
///
/// # Errors
/// Those of the store.
pub fn abandon_planned(store: &Store, scope: &Scope) -> Result<usize, ContractError> {
    let mut left = Vec::new();
    {
        let view = store.view(scope)?;
        for account in scope.accounts() {
            let transactions = view.transactions(account)?.into_iter();
            let planned = transactions.filter(|one| one.row.stage == Stage::Planned);
            left.extend(planned.map(|one| (*account, one.number)));
        }
    }
    // The last one first, so that its tags are the ones that are released first.
    for (account, number) in left.iter().rev() {
        store.step(scope, |step| step.abandon(account, *number))?;
    }
    Ok(left.len())
}
