//! The methods for contracts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ark_ff::{UniformRand, Zero};
use rand::RngCore;
use rand::rngs::OsRng;
use rollmill_node_client::wire::Field;
use rollmill_protocol::Fr;
use rollmill_pxe_store::{Account, Contract, Scope};
use tokio::runtime::Handle;

use super::Service;
use super::error::CallError;
use super::methods::wrong;
use super::session::Session;
use super::wire::{
    Address, ContractInfo, Nothing, RegisterContract, Registered, SimulateCall, SimulatedCall,
};
use crate::contracts::{self, Book, ContractError, Limits, NamedCall, sync};
use crate::error::PxeError;
use crate::keys::Keys;
use crate::wallet::node_error;

/// Longest time that the functions of a simulated call may take.
const SIMULATION: Duration = Duration::from_secs(60);

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
        Ok(registered.map_err(|_| CallError::Died)??)
    }

    /// Registers a contract on a thread that may block.
    fn register_now(
        &self,
        of: &RegisterContract,
        runtime: &Handle,
    ) -> Result<Registered, PxeError> {
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
        let json = of.artifact.as_bytes();
        let class = contracts::class_of(json, keys.as_ref())?;
        let contract = Contract {
            class_id: *class.id(),
            salt: word(of.salt),
            init_hash: contracts::init_hash(&init),
            deployer: word(of.deployer),
            keys_hash,
        };
        let expected = of.address.as_ref().map(|Field(word)| word);
        // One after the other, so that no block is read between the contract and its deferred notes.
        let _following = self.following.lock();
        let address = contracts::register(&self.store, (&class, json), &contract, expected)?;
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
            Ok(session.simulate_call(of)?)
        };
        self.work(&account, work).await
    }
}

impl Session<'_> {
    fn simulate_call(&self, of: SimulateCall) -> Result<SimulatedCall, PxeError> {
        let (store, node) = (&self.service.store, &self.service.node);
        let scope = Scope::of([self.account]);
        let keys = store.view(&scope)?.master_keys(&self.account)?;
        let environment = {
            let _following = self.service.following.lock();
            self.runtime.block_on(sync::follow(store, node))?;
            self.runtime.block_on(sync::environment(store, node))?
        };
        let call = NamedCall {
            contract: of.contract.0,
            function: of.function,
            args: of.args.unwrap_or_default(),
            from: of.from.map(|Field(word)| word),
        };
        let random = [Fr::rand(&mut OsRng), Fr::rand(&mut OsRng)];
        let request = contracts::named_request(store, &keys, &call, &environment, random)?;
        let mut seed = [0u8; 32];
        OsRng.fill_bytes(&mut seed);
        let end = Instant::now() + SIMULATION;
        let goes_on = || Instant::now() < end;
        let limits = Limits::default();
        let executed =
            contracts::execute((store, &scope), &request, &environment, limits, seed, &goes_on)?;
        // The account's own function returns nothing: the caller wants what it called.
        let called = executed.first().nested().first();
        let returns: Option<Vec<Field>> =
            called.map(|called| called.returns().iter().copied().map(Field).collect());
        let leaves = executed.leaves();
        let paths = sync::paths(store, &environment.anchor, &leaves)?;
        let simulated = executed.join(&paths)?;
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
        })
    }
}
