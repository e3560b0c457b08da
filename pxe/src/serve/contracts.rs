//! The methods for contracts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ark_ff::{UniformRand, Zero};
use rand::rngs::OsRng;
use rollmill_node_client::wire::Field;
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use rollmill_pxe_store::{Account, Contract, Scope, StoredNote};
use tokio::runtime::Handle;

use super::Service;
use super::access::Rights;
use super::error::CallError;
use super::methods::{expiry_epochs, reason, wrong};
use super::session::{Session, repeated};
use super::wire::{
    Address, Amount, Arguments, Authorize, Authorized, Call, CallInfo, Capabilities, ContractInfo,
    ContractNote, NoteState, Nothing, OfAccount, OfContract, Receipt, RegisterContract, Registered,
    Sent, SimulateCall, SimulatedCall, TxInfo, TxState,
};
use crate::contracts::prover::Progress;
use crate::contracts::{
    self, Book, CallDelivery, CallOrder, CallState, Class, ContractError, Environment, NamedCall,
    SentCall, Told, Wanted, sync,
};
use crate::error::PxeError;
use crate::keys::{Keys, ViewingSecret};
use crate::wallet::{EXPIRY_EPOCHS, IdempotencyKey, node_error, seconds};

/// Longest time that the functions of a simulated call may take.
const SIMULATION: Duration = Duration::from_secs(60);
/// Longest time that the proofs of a call may take: whoever has sent the request asks again with its key meanwhile.
const PROOFS: Duration = Duration::from_secs(1800);

impl Service {
    pub(super) async fn register_contract(
        self: &Arc<Self>,
        of: RegisterContract,
    ) -> Result<Registered, CallError> {
        if of.account.is_some() && (of.init.is_some() || of.keys_hash.is_some()) {
            let reason = "account: it sets init and keys_hash, which must be absent";
            return Err(wrong("pxe_registerContract", reason));
        }
        let (service, runtime) = (Arc::clone(self), Handle::current());
        let work = move || service.register_now(&of, &runtime);
        let registered = tokio::task::spawn_blocking(work).await;
        registered.map_err(|_| CallError::Died)?
    }

    /// Registers a contract on a thread that may block.
    fn register_now(
        &self,
        of: &RegisterContract,
        runtime: &Handle,
    ) -> Result<Registered, CallError> {
        let (class, contract) = self.made(of, runtime)?;
        // One after the other, so that no block is read between the contract and its deferred notes.
        let _following = self.turn_to_follow()?;
        Ok(self.keep(of, (&class, &contract), runtime)?)
    }

    /// The class of a contract, with the keys of its functions, and what its address is a hash of.
    fn made(&self, of: &RegisterContract, runtime: &Handle) -> Result<(Class, Contract), PxeError> {
        let word = |given: Option<Field>| given.map_or(Fr::zero(), |Field(word)| word);
        let (keys_hash, init) = match &of.account {
            Some(Address(address)) => {
                let account = Account(address.to_field());
                let scope = Scope::of([account]);
                let keys = self.store.view(&scope)?.master_keys(&account)?;
                (keys.keys_hash(), contracts::signing_key(&keys).to_vec())
            }
            None => {
                let init: Vec<Fr> = of.init.iter().flatten().map(|Field(word)| *word).collect();
                (word(of.keys_hash), init)
            }
        };
        let open = self.open_function_keys.as_ref();
        let open = open.ok_or_else(|| ContractError::Prove {
            what: "the keys".to_owned(),
            why: "this service makes none".to_owned(),
        })?;
        let chain_id = runtime.block_on(self.node.genesis()).map_err(node_error)?.chain_id;
        let keys = open(chain_id)?;
        let class = contracts::class_of(of.artifact.as_bytes(), keys.as_ref())?;
        let contract = Contract {
            class_id: *class.id(),
            salt: word(of.salt),
            init_hash: contracts::init_hash(&init),
            deployer: word(of.deployer),
            keys_hash,
        };
        Ok((class, contract))
    }

    /// Keeps a contract, and finds what was received of it before.
    fn keep(
        &self,
        of: &RegisterContract,
        (class, contract): (&Class, &Contract),
        runtime: &Handle,
    ) -> Result<Registered, PxeError> {
        let (json, expected) = (of.artifact.as_bytes(), of.address.as_ref());
        let expected = expected.map(|Field(word)| word);
        let address = contracts::register(&self.store, (class, json), contract, expected)?;
        let scope = sync::own_scope(&self.store)?;
        runtime.block_on(sync::follow(&self.store, &self.node))?;
        let found = contracts::decode_deferred(&self.store, &scope, &address)?;
        runtime.block_on(sync::mark_spent(&self.store, &self.node, &found))?;
        // At most as many as there are notes.
        Ok(Registered { address: Field(address), notes: found.len() as u64 })
    }

    pub(super) async fn contracts(
        self: &Arc<Self>,
        _: Nothing,
    ) -> Result<Vec<ContractInfo>, CallError> {
        let service = Arc::clone(self);
        // Artifacts are parsed.
        let listed = tokio::task::spawn_blocking(move || service.contracts_now()).await;
        Ok(listed.map_err(|_| CallError::Died)??)
    }

    fn contracts_now(&self) -> Result<Vec<ContractInfo>, PxeError> {
        let scope = sync::own_scope(&self.store)?;
        let view = self.store.view(&scope)?;
        let mut own = Vec::new();
        for account in scope.accounts() {
            let keys = view.master_keys(account)?;
            own.push((keys.keys_hash(), Keys::from_master(&keys).address()));
        }
        let mut book = Book::default();
        let mut list = Vec::new();
        for (address, contract) in view.contracts()? {
            let deployed = book.deployed(&view, &address)?;
            let whose = own.iter().find(|(keys_hash, _)| *keys_hash == contract.keys_hash);
            let functions = deployed.class.functions().iter();
            list.push(ContractInfo {
                address: Field(address),
                name: deployed.class.name().to_owned(),
                class_id: Field(contract.class_id),
                account: whose.map(|(_, account)| Address(*account)),
                functions: functions.map(|function| function.name.clone()).collect(),
            });
        }
        Ok(list)
    }

    pub(super) async fn simulate_call(
        self: &Arc<Self>,
        of: SimulateCall,
    ) -> Result<SimulatedCall, CallError> {
        let account = of.account.0;
        let work = move |session: &mut Session<'_>| -> Result<SimulatedCall, CallError> {
            session.refresh_contracts()?;
            Ok(session.simulate_call(of)?)
        };
        self.work(&account, work).await
    }
}

impl Service {
    pub(super) async fn call_contract(self: &Arc<Self>, of: Call) -> Result<Sent, CallError> {
        let expiry_epochs = expiry_epochs("pxe_call", of.expiry_epochs)?;
        let account = of.account.0;
        let work = move |session: &mut Session<'_>| -> Result<Sent, CallError> {
            let call = named(of.contract, of.function, of.args, of.from);
            session.call_contract(&CallOrder { call, expiry_epochs }, of.idempotency_key.as_ref())
        };
        self.work(&account, work).await
    }

    pub(super) async fn history(
        self: &Arc<Self>,
        of: OfAccount,
    ) -> Result<Vec<CallInfo>, CallError> {
        let work = |session: &mut Session<'_>| -> Result<Vec<CallInfo>, CallError> {
            session.refresh_contracts()?;
            let of = (&*session.service.store, &session.service.node);
            let history = contracts::history(of, session.account);
            let history = session.runtime.block_on(history)?;
            Ok(history.into_iter().map(call_info).collect())
        };
        self.work(&of.account.0, work).await
    }

    pub(super) async fn contract_notes(
        self: &Arc<Self>,
        of: OfContract,
    ) -> Result<Vec<ContractNote>, CallError> {
        let contract = of.contract.0;
        let work = move |session: &mut Session<'_>| -> Result<Vec<ContractNote>, CallError> {
            session.refresh_contracts()?;
            Ok(session.contract_notes(&contract)?)
        };
        self.work(&of.account.0, work).await
    }

    pub(super) async fn authorize(
        self: &Arc<Self>,
        of: Authorize,
    ) -> Result<Authorized, CallError> {
        let account = of.account.0;
        let work = move |session: &mut Session<'_>| -> Result<Authorized, CallError> {
            Ok(session.authorize(of)?)
        };
        self.work(&account, work).await
    }

    /// What the owner may do. The result of an application is its grant instead.
    pub(super) async fn capabilities(
        self: &Arc<Self>,
        _: Nothing,
    ) -> Result<Capabilities, CallError> {
        let (app, accounts, contracts) = (None, None, None);
        Ok(Capabilities { app, accounts, contracts, asset: true, rights: Rights::Spend })
    }

    /// What the store says of a transaction of contracts that the node does not know, if one of these accounts ordered
    /// it; any account if there is no list.
    pub(super) fn known_call(
        &self,
        hash: &Fr,
        accounts: Option<&[Account]>,
    ) -> Result<Option<TxInfo>, PxeError> {
        let known = contracts::known_state(&self.store, hash, accounts)?;
        Ok(known.map(|state| {
            let (state, block, reason) = state_info(state);
            TxInfo { state, block, reason }
        }))
    }
}

fn named(
    contract: Field,
    function: String,
    args: Option<Arguments>,
    from: Option<Field>,
) -> NamedCall {
    let (contract, from) = (contract.0, from.map(|Field(word)| word));
    NamedCall { contract, function, args: args.unwrap_or_default(), from }
}

fn state_info(state: CallState) -> (TxState, Option<u64>, Option<String>) {
    match state {
        CallState::Pending => (TxState::Pending, None, None),
        CallState::Included { block } => (TxState::Included, Some(block), None),
        CallState::Proven { block } => (TxState::Proven, Some(block), None),
        CallState::Finalized { block } => (TxState::Finalized, Some(block), None),
        CallState::Dropped { reason } => (TxState::Dropped, None, Some(reason)),
    }
}

fn contract_note(stored: StoredNote) -> ContractNote {
    let state = match (stored.spent_in, stored.held_by) {
        (Some(_), _) => NoteState::Spent,
        (None, Some(_)) => NoteState::Held,
        (None, None) => NoteState::Spendable,
    };
    ContractNote {
        leaf_index: stored.leaf_index,
        block: stored.note.block,
        tx: Field(stored.note.tx_hash),
        content: stored.note.content.into_iter().map(Field).collect(),
        state,
        spent_in: stored.spent_in,
    }
}

fn call_info(sent: SentCall) -> CallInfo {
    let (state, block, reason) = state_info(sent.state);
    CallInfo { hash: Field(sent.tx_hash), order: sent.order, state, block, reason }
}

impl Session<'_> {
    /// Reads the chain for contracts and settles what was sent, if the store has contracts or transactions of them. One
    /// after the other, since blocks are read for all accounts at once.
    ///
    /// # Errors
    /// [`CallError::Busy`] while another request reads it for too long, and those of [`contracts::refresh`].
    pub(super) fn refresh_contracts(&self) -> Result<(), CallError> {
        let (store, node) = (&self.service.store, &self.service.node);
        if !contracts::is_used(store)? {
            return Ok(());
        }
        let _following = self.service.turn_to_follow()?;
        Ok(self.runtime.block_on(contracts::refresh(store, node, seconds()))?)
    }

    fn simulate_call(&self, of: SimulateCall) -> Result<SimulatedCall, PxeError> {
        let of_node = (&self.service.store, &self.service.node);
        let scope = Scope::of([self.account]);
        let keys = of_node.0.view(&scope)?.master_keys(&self.account)?;
        let call = named(of.contract, of.function, of.args, of.from);
        let build = |environment: &Environment, expiry_slot| {
            let random = [Fr::rand(&mut OsRng), Fr::rand(&mut OsRng)];
            contracts::named_request(of_node.0, &keys, &call, (environment, expiry_slot), random)
        };
        let (terms, wanted) = ((EXPIRY_EPOCHS, seconds()), within(SIMULATION));
        let simulation = contracts::simulate(of_node, self.account, terms, build, &wanted);
        let simulation = self.runtime.block_on(simulation)?;
        let (simulated, fee) = (simulation.transaction, simulation.fee);
        // The account's own function returns nothing: the caller wants what it called, which the kernel takes next.
        let called = simulated.calls().get(1);
        let returns: Option<Vec<Field>> =
            called.map(|called| called.returns().iter().copied().map(Field).collect());
        let effects = &simulated.effects;
        // At most eight of each.
        let present = |words: &[Fr]| words.iter().filter(|word| !word.is_zero()).count() as u64;
        Ok(SimulatedCall {
            returns: returns.unwrap_or_default(),
            calls: simulated.calls().len() as u64,
            nullifiers: present(&effects.nullifiers),
            note_hashes: present(&effects.note_hashes),
            logs: present(&effects.log_hashes),
            messages: present(&effects.messages),
            fee_payer: Field(effects.fee_payer),
            fee: Amount(fee.now),
            fee_max: Amount(fee.max),
            expiry_slot: effects.expiry_slot,
        })
    }

    fn contract_notes(&self, contract: &Fr) -> Result<Vec<ContractNote>, PxeError> {
        let scope = Scope::of([self.account]);
        let notes = self.service.store.view(&scope)?.notes(&self.account)?;
        let here = notes.into_iter().filter(|stored| stored.note.contract == *contract);
        Ok(here.map(contract_note).collect())
    }

    fn authorize(&self, of: Authorize) -> Result<Authorized, PxeError> {
        let (store, node) = (&self.service.store, &self.service.node);
        let genesis = self.runtime.block_on(node.genesis()).map_err(node_error)?;
        let deployment = (genesis.chain_id, genesis.version());
        let scope = Scope::of([self.account]);
        let keys = store.view(&scope)?.master_keys(&self.account)?;
        let call = named(of.contract, of.function, of.args, of.from);
        let allowed = contracts::named_authorization(store, &keys, &call, of.caller.0, deployment)?;
        let nonce = ViewingSecret::rand(&mut OsRng);
        let message = contracts::allow(store, &scope, &allowed, &nonce)?;
        Ok(Authorized { message: Field(message) })
    }

    /// Executes, proves and sends a call.
    ///
    /// # Errors
    /// Only when nothing was sent, or the node rejected it finally.
    fn call_contract(
        &mut self,
        order: &CallOrder,
        key: Option<&IdempotencyKey>,
    ) -> Result<Sent, CallError> {
        let service = self.service;
        let of = (&service.store, &service.node);
        let refreshed = self.refresh_contracts();
        match key {
            // What an earlier request made is on the disk, whether the node answers or not.
            Some(key) => {
                if let Some(earlier) = contracts::recall(of.0, self.account, key, order)? {
                    return Ok(repeated(&earlier));
                }
                refreshed?;
            }
            None => {
                refreshed?;
                self.begin_call()?;
            }
        }
        let (account, wanted) = (self.account, within(PROOFS));
        let prepared = contracts::prepare(of, account, order, seconds(), &wanted);
        let prepared = self.runtime.block_on(prepared)?;
        let prover = service.call_prover(prepared.simulated.request().chain_id)?;
        let told: Told = Box::new(|_: &Progress| ());
        let delivery = contracts::deliver(of, &prover, prepared, key, (told, &wanted));
        let (hash, doubt) = match self.runtime.block_on(delivery)? {
            CallDelivery::Accepted(hash) => (hash, None),
            CallDelivery::Unknown(hash, error) => (hash, Some(error)),
            CallDelivery::Earlier(earlier) => return Ok(repeated(&earlier)),
        };
        tracing::info!(tx = to_hex(&hash), "transaction sent");
        self.told_calls.push(hash);
        let receipt = if doubt.is_none() { Receipt::Accepted } else { Receipt::Unknown };
        let doubt = doubt.as_ref().map(reason);
        Ok(Sent { hash: Field(hash), receipt, doubt, repeated: false })
    }

    /// Fails once for transactions of contracts of which no client was informed.
    fn begin_call(&mut self) -> Result<(), PxeError> {
        let interrupted = contracts::unreported(&self.service.store, self.account)?;
        if interrupted.is_empty() {
            return Ok(());
        }
        let hashes: Vec<String> = interrupted.iter().map(to_hex).collect();
        self.told_calls = interrupted;
        Err(PxeError::Interrupted { hashes: hashes.join(", ") })
    }
}

/// Whether some time is left.
fn within(time: Duration) -> Wanted {
    let end = Instant::now() + time;
    Arc::new(move || Instant::now() < end)
}
