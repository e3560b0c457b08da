//! Sends the transaction of a call.
//!
//! [`prepare`] executes the call and takes it by the kernel's rules: that is what a user is asked to confirm.
//! [`deliver`] proves it and sends it, with the store one step ahead of everything that leaves the machine:
//!
//! | step | in the store | after a crash |
//! | --- | --- | --- |
//! | [`prepare`] | nothing | nothing happened |
//! | plan | notes and tags are taken | [`super::abandon_planned`] gives them back |
//! | proofs | the same | the same |
//! | ready | the bytes of the transaction | [`super::settle`] sends them |
//! | sent | the same | the same, and the node says that it has them |
//! | reported | the user knows | nothing is left to do |
//!
//! A plan lives as long as [`deliver`]: whatever ends it before the bytes are kept, an error, a panic or a caller that
//! drops the future, gives notes and tags back. Until then no byte has left the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ark_ff::UniformRand;
use rand::RngCore;
use rand::rngs::OsRng;
use rollmill_errors::Bare;
use rollmill_node_client::NodeClient;
use rollmill_protocol::field::{to_hex, to_u64};
use rollmill_protocol::note::fee_balance_slot;
use rollmill_protocol::{Fr, Tx};
use rollmill_pxe_store::{Account, Scope, Store};

use super::error::ContractError;
use super::executor::{Limits, execute};
use super::intent::{self, Intent};
use super::named::{NamedCall, named_request};
use super::prover::{ContractProver, Progress, ProvenTransaction};
use super::record::Record;
use super::request::{CallRequest, Environment};
use super::sent;
use super::sync;
use super::transaction::SimulatedTransaction;
use crate::error::PxeError;
use crate::wallet::{
    EXPIRY_EPOCHS, Earlier, Fee, IdempotencyKey, Terms, Word, after_rejection, node_error,
};

/// Whether anybody still wants the result. It is asked within executions and between the rounds of proofs.
pub type Wanted = Arc<dyn Fn() -> bool + Send + Sync>;

/// Is told of each proof that was made.
pub type Told = Box<dyn FnMut(&Progress) + Send>;

/// Makes the transaction of what was simulated; see [`ContractProver`].
pub trait CallProver: Send + Sync {
    /// The root of the verification keys that the proof is made for.
    fn vk_root(&self) -> Fr;

    /// The transaction with its proof. It blocks for as long as the proofs take.
    ///
    /// # Errors
    /// [`ContractError::Prove`], and [`ContractError::Stopped`] once `goes_on` returns false.
    fn prove_transaction(
        &self,
        simulated: &SimulatedTransaction,
        progress: &mut dyn FnMut(&Progress),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Tx, ContractError>;
}

impl CallProver for ContractProver {
    fn vk_root(&self) -> Fr {
        self.set().root()
    }

    fn prove_transaction(
        &self,
        simulated: &SimulatedTransaction,
        progress: &mut dyn FnMut(&Progress),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Tx, ContractError> {
        self.prove(simulated, &mut OsRng, progress, goes_on).map(ProvenTransaction::into_tx)
    }
}

/// A call as a user orders it. The account's contract makes it and pays.
#[derive(Debug, Clone, PartialEq)]
pub struct CallOrder {
    pub call: NamedCall,
    /// Whole epochs after the current one in which a block may include the transaction.
    pub expiry_epochs: u64,
}

impl CallOrder {
    /// A call with the expiry that transfers have.
    pub const fn new(call: NamedCall) -> Self {
        Self { call, expiry_epochs: EXPIRY_EPOCHS }
    }

    /// The order as one text, which differs between any two orders.
    pub(crate) fn text(&self) -> String {
        let NamedCall { contract, function, args, from } = &self.call;
        let contract = to_hex(contract);
        // Names of arguments are in order.
        let args = serde_json::Value::Object(args.clone());
        let from = from.as_ref().map_or_else(|| "its only contract".to_owned(), to_hex);
        let epochs = self.expiry_epochs;
        format!("call {function:?} of {contract} by {from} with {args}, within {epochs} epochs")
    }
}

/// What a transaction may cost, and who pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallQuote {
    pub fee: Fee,
    /// Address of the contract that pays.
    pub payer: Fr,
    /// Its public balance, without what sent transactions of this store may still take.
    pub balance: u64,
    /// Last slot of a block that may include the transaction.
    pub expiry_slot: u64,
}

/// A transaction that was simulated and can be paid. Nothing of it is in the store yet.
#[derive(Debug)]
pub struct PreparedCall {
    /// What it does.
    pub simulated: SimulatedTransaction,
    pub quote: CallQuote,
    account: Account,
    /// What was ordered, see [`CallOrder::text`].
    order: String,
    /// The root of the network's verification keys.
    vk_root: Fr,
}

/// The outcome of sending. In each case the transaction was sent, or may have been: do not create it again.
#[derive(Debug)]
pub enum CallDelivery {
    /// The node has accepted it.
    Accepted(Fr),
    /// The response was missing or unclear.
    Unknown(Fr, PxeError),
    /// An earlier order with the same idempotency key made the transaction. Nothing was made now.
    Earlier(Earlier),
}

/// What calls would do, and at which price.
#[derive(Debug)]
pub struct Simulation {
    pub transaction: SimulatedTransaction,
    pub fee: Fee,
    /// The root of the network's verification keys.
    vk_root: Fr,
}

/// Executes the calls of an account by the kernel's rules, on the state that was read last. Nothing is written. `build`
/// makes the request for the state and its prices; its second argument is the last slot of a block that may include the
/// transaction.
///
/// Read the chain before, see [`super::refresh`].
///
/// # Errors
/// [`ContractError`], among them [`ContractError::Stopped`] once `wanted` returns false, and those of
/// [`sync::environment`].
pub async fn simulate(
    (store, node): (&Arc<Store>, &NodeClient),
    account: Account,
    (expiry_epochs, now): (u64, u64),
    build: impl FnOnce(&Environment, u64) -> Result<CallRequest, ContractError>,
    wanted: &Wanted,
) -> Result<Simulation, PxeError> {
    let basis = sync::basis(store, node).await?;
    let terms = Terms::new(&basis.config, &basis.environment.anchor, now, expiry_epochs)?;
    let request = build(&basis.environment, terms.expiry_slot)?;
    let mut seed = [0u8; 32];
    OsRng.fill_bytes(&mut seed);
    let (store, wanted, environment) =
        (Arc::clone(store), Arc::clone(wanted), basis.environment.clone());
    let work = move || -> Result<SimulatedTransaction, PxeError> {
        let (scope, limits) = (Scope::of([account]), Limits::default());
        let of = (&*store, &scope);
        let executed = execute(of, &request, &environment, limits, seed, &*wanted)?;
        let paths = sync::paths(&store, &environment.anchor, &executed.leaves())?;
        Ok(executed.join(&paths)?)
    };
    let simulated = tokio::task::spawn_blocking(work).await;
    let transaction = simulated.map_err(|_| panicked("the simulation"))??;
    Ok(Simulation { transaction, fee: terms.fee, vk_root: basis.vk_root })
}

/// Executes a call, and checks that its fee can be paid. Nothing is written, proven or sent. `now` is in seconds since
/// 1970.
///
/// Read the chain before, see [`super::refresh`].
///
/// # Errors
/// Those of [`simulate`], and [`ContractError::PayerFee`] if the public balance of the contract that pays does not
/// cover the maximum fee.
pub async fn prepare(
    (store, node): (&Arc<Store>, &NodeClient),
    account: Account,
    order: &CallOrder,
    now: u64,
    wanted: &Wanted,
) -> Result<PreparedCall, PxeError> {
    let build = |environment: &Environment, expiry_slot| {
        let scope = Scope::of([account]);
        let keys = store.view(&scope)?.master_keys(&account)?;
        let random = [Fr::rand(&mut OsRng), Fr::rand(&mut OsRng)];
        named_request(store, &keys, &order.call, (environment, expiry_slot), random)
    };
    prepare_request((store, node), account, (order.text(), order.expiry_epochs), now, build, wanted)
        .await
}

/// As [`prepare`], for a request that `build` makes, such as one of several calls or one that a sponsor pays. `order`
/// tells this order from any other one, and has the whole epochs in which a block may include the transaction.
///
/// # Errors
/// As [`prepare`].
pub async fn prepare_request(
    (store, node): (&Arc<Store>, &NodeClient),
    account: Account,
    (order, expiry_epochs): (String, u64),
    now: u64,
    build: impl FnOnce(&Environment, u64) -> Result<CallRequest, ContractError>,
    wanted: &Wanted,
) -> Result<PreparedCall, PxeError> {
    let terms = (expiry_epochs, now);
    let simulation = simulate((store, node), account, terms, build, wanted).await?;
    let Simulation { transaction: simulated, fee, vk_root } = simulation;
    let payer = simulated.effects.fee_payer;
    let balance = balance_of(node, &payer).await?;
    let balance = balance.saturating_sub(sent::balance_in_flight(store, &payer)?);
    let needed = fee.max;
    if balance < needed {
        return Err(ContractError::PayerFee { payer, needed, balance }.into());
    }
    let expiry_slot = simulated.effects.expiry_slot;
    let quote = CallQuote { fee, payer, balance, expiry_slot };
    Ok(PreparedCall { simulated, quote, account, order, vk_root })
}

/// The public balance of an address at the node's pending tip.
async fn balance_of(node: &NodeClient, address: &Fr) -> Result<u64, PxeError> {
    let data = node.public_data(&fee_balance_slot(address)).await.map_err(node_error)?;
    let value = data.map(|data| data.value).unwrap_or_default();
    to_u64("fee balance", &value).map_err(|error| PxeError::Node(Bare(&error).to_string()))
}

/// Proves a prepared transaction and sends it. The proofs are made on a thread that may block; `told` is told of each
/// one, and once `wanted` returns false, or the caller drops this future, they stop.
///
/// The caller informs the user of the transaction and calls [`super::report`]. An order with a key that an earlier
/// order had makes no transaction: the result is that of the earlier one.
///
/// # Errors
/// Only when nothing was sent, or the node rejected it finally: [`ContractError::KeyRoot`] for keys of another network,
/// [`ContractError::Stopped`], [`ContractError::Prove`], those of [`super::plan`] for notes that another transaction
/// took meanwhile, and [`PxeError::Node`] with the rejection. Those of [`super::recall`] come first. Every later
/// outcome is a [`CallDelivery`].
pub async fn deliver(
    (store, node): (&Arc<Store>, &NodeClient),
    prover: &Arc<dyn CallProver>,
    prepared: PreparedCall,
    key: Option<&IdempotencyKey>,
    (told, wanted): (Told, &Wanted),
) -> Result<CallDelivery, PxeError> {
    let PreparedCall { simulated, account, order, vk_root, .. } = prepared;
    if let Some(key) = key
        && let Some(earlier) = sent::recall_text(store, account, key, &order)?
    {
        return Ok(CallDelivery::Earlier(earlier));
    }
    check_key_root(prover.as_ref(), vk_root)?;
    let record = Record::new(account, order, key.cloned());
    rollmill_service::failpoint!("pxe.before_plan");
    let planned = Planned::take(store, account, &simulated, &record)?;
    rollmill_service::failpoint!("pxe.before_proof");
    let tx = proven(prover, simulated, told, wanted).await?;
    rollmill_service::failpoint!("pxe.before_intent");
    let (hash, intent) = (tx.hash(), planned.ready(&tx, key.is_some())?);
    rollmill_service::failpoint!("pxe.after_intent");
    let sent = node.send_transaction(&tx).await;
    rollmill_service::failpoint!("pxe.after_send");
    match sent {
        Ok(_) => {
            // That it cannot be written does no harm: the next sync asks the node.
            if let Err(error) = sent::accept(store, &intent) {
                tracing::warn!(%error, "transaction sent; what the node said of it is not kept");
            }
            Ok(CallDelivery::Accepted(hash))
        }
        // A request for another account of the store may have sent it first, see `settle`.
        Err(error) if error.rejects_transaction() => {
            match after_rejection(node, &hash, &error).await {
                Word::Known => Ok(CallDelivery::Accepted(hash)),
                Word::Wait => {
                    let unconfirmed = PxeError::Unconfirmed { hash: to_hex(&hash) };
                    Ok(CallDelivery::Unknown(hash, unconfirmed))
                }
                Word::Gone(reason) => {
                    sent::give_up(store, &intent, &reason)?;
                    Err(node_error(error))
                }
            }
        }
        Err(error) => Ok(CallDelivery::Unknown(hash, node_error(error))),
    }
}

/// Reads the chain, executes a call, proves it and sends it: [`super::refresh`], [`prepare`] and [`deliver`] in one,
/// for a caller that need not ask anybody in between.
///
/// # Errors
/// Those of the three.
pub async fn send(
    (store, node): (&Arc<Store>, &NodeClient),
    (account, order, key): (Account, &CallOrder, Option<&IdempotencyKey>),
    prover: &Arc<dyn CallProver>,
    now: u64,
    (told, wanted): (Told, &Wanted),
) -> Result<CallDelivery, PxeError> {
    sent::refresh(store, node, now).await?;
    if let Some(key) = key
        && let Some(earlier) = sent::recall(store, account, key, order)?
    {
        return Ok(CallDelivery::Earlier(earlier));
    }
    let prepared = prepare((store, node), account, order, now, wanted).await?;
    deliver((store, node), prover, prepared, key, (told, wanted)).await
}

/// A node would reject the proof of other keys, after minutes of proving.
fn check_key_root(prover: &dyn CallProver, network: Fr) -> Result<(), ContractError> {
    let wallet = prover.vk_root();
    match wallet == network {
        true => Ok(()),
        false => Err(ContractError::KeyRoot { wallet, network }),
    }
}

/// The transaction with its proof, made on a thread that may block.
async fn proven(
    prover: &Arc<dyn CallProver>,
    simulated: SimulatedTransaction,
    mut told: Told,
    wanted: &Wanted,
) -> Result<Tx, PxeError> {
    let (prover, wanted) = (Arc::clone(prover), Arc::clone(wanted));
    let waiting = Waiting::default();
    let is_gone = Arc::clone(&waiting.0);
    let work = move || {
        let goes_on = || !is_gone.load(Ordering::Relaxed) && wanted();
        prover.prove_transaction(&simulated, &mut *told, &goes_on)
    };
    let proven = tokio::task::spawn_blocking(work).await;
    drop(waiting);
    Ok(proven.map_err(|_| panicked("the transaction"))??)
}

/// Whether the future that waits for the proofs is gone.
#[derive(Default)]
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn panicked(what: &str) -> PxeError {
    let why = "the work on it panicked".to_owned();
    ContractError::Prove { what: what.to_owned(), why }.into()
}

/// Notes and tags of a transaction of which nothing has left the machine. They are given back when this is dropped.
struct Planned {
    store: Arc<Store>,
    scope: Scope,
    /// None once its bytes are kept.
    intent: Option<Intent>,
}

impl Planned {
    fn take(
        store: &Arc<Store>,
        account: Account,
        simulated: &SimulatedTransaction,
        record: &Record,
    ) -> Result<Self, PxeError> {
        let scope = Scope::of([account]);
        let intent = intent::plan(store, &scope, simulated, (account, &record.to_bytes()?))?;
        Ok(Self { store: Arc::clone(store), scope, intent: Some(intent) })
    }

    /// Keeps the bytes of the transaction.
    fn ready(mut self, tx: &Tx, is_reported: bool) -> Result<Intent, PxeError> {
        let Some(intent) = self.intent.clone() else { return Err(panicked("the transaction")) };
        let (hash, bytes) = (tx.hash(), tx.to_bytes());
        intent::ready(&self.store, &self.scope, &intent, (&hash, &bytes), is_reported)?;
        self.intent = None;
        Ok(intent)
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        let Some(intent) = self.intent.take() else { return };
        if let Err(error) = intent::abandon(&self.store, &self.scope, &intent) {
            tracing::warn!(%error, "planned transaction not given up; the next start gives it up");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_texts_of_two_orders_differ_in_every_part() {
        let call = |contract: u64, function: &str, args: Value, from: Option<u64>| NamedCall {
            contract: Fr::from(contract),
            function: function.to_owned(),
            args: args.as_object().cloned().expect("named arguments"),
            from: from.map(Fr::from),
        };
        let first = CallOrder::new(call(1, "mint", json!({ "to": 5 }), None));
        let orders = [
            first.clone(),
            CallOrder::new(call(2, "mint", json!({ "to": 5 }), None)),
            CallOrder::new(call(1, "burn", json!({ "to": 5 }), None)),
            CallOrder::new(call(1, "mint", json!({ "to": 6 }), None)),
            CallOrder::new(call(1, "mint", json!({ "to": 5 }), Some(7))),
            CallOrder { expiry_epochs: 1, ..first },
        ];
        let texts: std::collections::BTreeSet<String> =
            orders.iter().map(CallOrder::text).collect();
        assert_eq!(texts.len(), orders.len(), "{texts:?}");
    }
}
