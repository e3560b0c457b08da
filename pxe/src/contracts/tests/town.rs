//! A store with accounts, their contracts and a token, and a state in which one of them has notes.

use std::collections::BTreeMap;

use ark_ff::UniformRand;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rollmill_acir::artifact::Function;
use rollmill_acir::private::{arguments, selector};
use rollmill_algebra::G1Affine;
use rollmill_circuits::private::FUNCTION_CELL_BITS;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::shape::{Shape, fixed};
use rollmill_protocol::note::{NoteOrigin, nullifier, unique};
use rollmill_protocol::private::{app_key, silo_note, silo_nullifier};
use rollmill_protocol::tree::{Tree, root_from_path};
use rollmill_protocol::{Fr, Note, field};
use rollmill_protocol_testing::{gas, start, value};
use rollmill_pxe_store::{
    Account, Contract, Cost, Header, MasterKeys, Note as NoteRow, Scope, Store,
};
use serde_json::{Map, Value};

use crate::contracts::discover::VALUE_NOTE;
use crate::contracts::*;

/// The cheapest key from a password, so that a store opens fast.
const COST: Cost = Cost { log_n: 1, r: 1, p: 1 };

/// The JSON of a contract in `noir/artifacts`.
pub(crate) fn artifact(name: &str) -> Vec<u8> {
    let path = format!("{}/../noir/artifacts/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("an artifact")
}

/// Keys that are made up: a test that proves nothing needs no others.
pub(crate) struct MadeUp;

impl FunctionKeys for MadeUp {
    fn keys(&self, functions: &[Function]) -> Result<Vec<VerifyingKey>, ContractError> {
        let shape = Shape { log_n: 13, n_public: 1, cell_bits: FUNCTION_CELL_BITS };
        let key = |number: u64| VerifyingKey {
            shape,
            srs_id: Fr::from(number),
            fixed: [<G1Affine as ark_ec::AffineRepr>::generator(); fixed::COUNT],
        };
        Ok((1..).zip(functions).map(|(number, _)| key(number)).collect())
    }
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Registers a contract that was made with these words and keys.
pub(crate) fn deploy(
    store: &Store,
    name: &str,
    init: &[Fr],
    keys_hash: Fr,
    keys: &dyn FunctionKeys,
) -> Fr {
    let json = artifact(name);
    let class = class_of(&json, keys).expect("a class");
    let contract = Contract {
        class_id: *class.id(),
        salt: value(90, 0),
        init_hash: init_hash(init),
        deployer: Fr::from(0u64),
        keys_hash,
    };
    register(store, (&class, &json), &contract, None).expect("registered")
}

/// Two accounts with their contracts, and a token that the first one may mint.
pub(crate) struct Town {
    _folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) keys: [MasterKeys; 2],
    /// Addresses of the accounts' contracts.
    pub(crate) accounts: [Fr; 2],
    pub(crate) token: Fr,
    pub(crate) environment: Environment,
    pub(crate) paths: BTreeMap<u64, Vec<Fr>>,
}

/// The value of the note that an account may have.
pub(crate) const HELD: u64 = 100;

impl Town {
    pub(crate) fn new() -> Self {
        Self::with_keys(&MadeUp)
    }

    pub(crate) fn with_keys(function_keys: &dyn FunctionKeys) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wallet.pxe");
        let store = Store::create(&path, "p", COST).expect("a store");
        let mut rng = rng(7);
        let keys = [MasterKeys::generate(&mut rng), MasterKeys::generate(&mut rng)];
        let accounts = [&keys[0], &keys[1]].map(|keys| {
            store.add_keys(keys, "account").expect("an account");
            let init = signing_key(keys);
            deploy(&store, "schnorr_account", &init, keys.keys_hash(), function_keys)
        });
        let token = deploy(&store, "token", &[accounts[0]], value(91, 0), function_keys);
        let (anchor, _) = start();
        let environment = Environment { anchor, gas: gas() };
        let paths = BTreeMap::new();
        Self { _folder: folder, store, keys, accounts, token, environment, paths }
    }

    pub(crate) fn account(&self, holder: usize) -> Account {
        self.keys[holder].account()
    }

    /// The scope of both accounts.
    pub(crate) fn scope(&self) -> Scope {
        Scope::of(self.keys.iter().map(MasterKeys::account))
    }

    /// Gives an account a note of the token that is worth [`HELD`]. Returns its nullifier.
    pub(crate) fn hold(&mut self, holder: usize) -> Fr {
        self.hold_at(holder, self.accounts[holder])
    }

    /// As [`Self::hold`], for an address that has the account's keys.
    pub(crate) fn hold_at(&mut self, holder: usize, owner: Fr) -> Fr {
        let randomness = value(88, 0);
        let (first_nullifier, index, leaf_index) = (value(88, 1), 3, 5);
        let hash = Note { owner, value: HELD, randomness }.hash();
        let origin = NoteOrigin { first_nullifier, index };
        let leaf = unique(&origin, &silo_note(&self.token, &hash));
        let path: Vec<Fr> = (0..Tree::Notes.height() as u64).map(|at| value(87, at)).collect();
        self.environment.anchor.state.tx_state.note_root = root_from_path(&leaf, leaf_index, &path);
        self.environment.anchor.block_number = 1;
        let key = app_key(&self.keys[holder].nullifier(), &self.token);
        let nullifier = silo_nullifier(&self.token, &nullifier(&leaf, &key));
        let row = NoteRow {
            block: 0,
            tx_hash: value(88, 2),
            contract: self.token,
            slot: owner,
            kind: VALUE_NOTE,
            content: vec![Fr::from(HELD), randomness, first_nullifier, Fr::from(index)],
            unique: leaf,
            nullifier,
        };
        let header = Header { number: 1, hash: self.environment.anchor.hash(), slot: 1 };
        let account = self.account(holder);
        let read = self
            .store
            .read_block(&self.scope(), &header, |step| step.note(&account, leaf_index, row));
        assert!(read.expect("a note"));
        self.paths.insert(leaf_index, path);
        nullifier
    }

    /// A call of the token by named arguments.
    pub(crate) fn token_call(&self, function: &str, named: Value) -> ContractCall {
        self.call_of(self.token, function, named)
    }

    /// A call of any registered contract by named arguments.
    pub(crate) fn call_of(&self, contract: Fr, function: &str, named: Value) -> ContractCall {
        let scope = Scope::default();
        let view = self.store.view(&scope).expect("a view");
        let deployed = Book::default().deployed(&view, &contract).expect("a contract");
        let named: Map<String, Value> = named.as_object().cloned().expect("named arguments");
        let called = deployed.class.named(function).expect("a function");
        ContractCall {
            contract,
            selector: selector(function).expect("a short name"),
            args: arguments(called, &named).expect("arguments"),
            is_static: false,
        }
    }

    /// The request of an account that makes these calls and pays.
    pub(crate) fn request(&self, caller: usize, calls: &[ContractCall]) -> CallRequest {
        self.request_that(caller, calls, true)
    }

    /// The request of an account that makes these calls, and pays or does not.
    pub(crate) fn request_that(
        &self,
        caller: usize,
        calls: &[ContractCall],
        pays: bool,
    ) -> CallRequest {
        let random = [value(89, 0), value(89, 1)];
        CallRequest::of_account(
            &self.environment,
            self.accounts[caller],
            calls,
            terms(pays),
            random,
        )
        .expect("at most four calls")
    }

    pub(crate) fn execute(
        &self,
        scope: &Scope,
        request: &CallRequest,
    ) -> Result<ExecutedTransaction, ContractError> {
        let of = (&self.store, scope);
        execute(of, request, &self.environment, Limits::default(), [3; 32], &|| true)
    }

    /// The transaction of an account that makes one call of the token.
    pub(crate) fn transaction(
        &self,
        caller: usize,
        call: ContractCall,
    ) -> Result<SimulatedTransaction, ContractError> {
        let request = self.request(caller, &[call]);
        self.execute(&self.scope(), &request)?.join(&self.paths)
    }
}

/// Terms without an expiry.
pub(crate) fn terms(pays: bool) -> EntryTerms {
    EntryTerms { pays, expiry_slot: rollmill_protocol::tx::NO_EXPIRY }
}

/// A field element as an argument in JSON.
pub(crate) fn json(word: &Fr) -> Value {
    Value::String(field::to_hex(word))
}

/// A secret that nobody has.
pub(crate) fn nonce(seed: u64) -> crate::keys::ViewingSecret {
    crate::keys::ViewingSecret::rand(&mut rng(seed))
}
