//! Every proof of one transaction of contracts: an account mints one unit of a token.
//!
//! ```sh
//! cargo run --release -p rollmill-pxe --example contract_proof
//! ```
//!
//! It makes a development SRS and the keys of functions and of all circuits, which takes most of the time, registers
//! account and token in a store, and ends with the verified proof of `private_tail`. Times are printed, and differ between machines.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::OsRng;
use rollmill_acir::private::{arguments, selector};
use rollmill_algebra::CpuDevice;
use rollmill_circuits::private::LOG_N;
use rollmill_circuits::registry::make_keys;
use rollmill_circuits::store::MemoryStore;
use rollmill_plonk::srs::Srs;
use rollmill_protocol::tx::NO_EXPIRY;
use rollmill_protocol::{Circuit, ClientInputs, Fr};
use rollmill_protocol_testing::{gas, start, value};
use rollmill_pxe::contracts::prover::ContractProver;
use rollmill_pxe::contracts::{
    CallRequest, ContractCall, EntryTerms, Environment, FunctionKeys, Limits, class_of, execute,
    init_hash, register, signing_key,
};
use rollmill_pxe_store::{Contract, Cost, MasterKeys, Scope, Store};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Registers a contract of `noir/artifacts`. Returns its address.
fn deploy(
    store: &Store,
    name: &str,
    init: &[Fr],
    keys_hash: Fr,
    keys: &dyn FunctionKeys,
) -> Outcome<Fr> {
    let path = format!("{}/../noir/artifacts/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let json = std::fs::read(path)?;
    let class = class_of(&json, keys)?;
    let contract = Contract {
        class_id: *class.id(),
        salt: value(90, 0),
        init_hash: init_hash(init),
        deployer: Fr::from(0u64),
        keys_hash,
    };
    Ok(register(store, (&class, &json), &contract, None)?)
}

/// The call of the token that mints for an owner.
fn mint(token: Fr, owner: &Fr) -> Outcome<ContractCall> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../noir/artifacts/token.json");
    let limits = rollmill_acir::artifact::Limits::default();
    let artifact = rollmill_acir::artifact::Artifact::parse(&std::fs::read(path)?, &limits)?;
    let named = json!({ "to": rollmill_protocol::field::to_hex(owner), "amount": 1 });
    let named = named.as_object().cloned().unwrap_or_default();
    let args = arguments(artifact.function("mint")?, &named)?;
    let selector = selector("mint").unwrap_or_default();
    Ok(ContractCall { contract: token, selector, args, is_static: false })
}

fn main() -> Outcome<()> {
    let began = Instant::now();
    let at = |what: &str| println!("{:6.1} s  {what}", began.elapsed().as_secs_f64());
    let srs = Srs::development(LOG_N);
    at("SRS made");
    let keys = Arc::new(MemoryStore::default());
    let device = CpuDevice::default();
    let set = make_keys(&device, &srs, keys.as_ref(), &|_, _| {})?;
    at("keys of the circuits made");
    let prover = ContractProver::new(device, srs, keys, set)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("wallet.pxe");
    let store = Store::create(&path, "p", Cost { log_n: 1, r: 1, p: 1 })?;
    let keys = MasterKeys::generate(&mut OsRng);
    let account = store.add_keys(&keys, "account")?;
    let init = signing_key(&keys);
    let origin = deploy(&store, "schnorr_account", &init, keys.keys_hash(), &prover)?;
    let token = deploy(&store, "token", &[origin], value(91, 0), &prover)?;
    at("contracts registered");
    let environment = Environment { anchor: start().0, gas: gas() };
    let random = [value(89, 0), value(89, 1)];
    let calls = [mint(token, &origin)?];
    let terms = EntryTerms { pays: true, expiry_slot: NO_EXPIRY };
    let request = CallRequest::of_account(&environment, origin, &calls, terms, random)?;
    let scope = Scope::of([account]);
    let limits = Limits::default();
    let executed = execute((&store, &scope), &request, &environment, limits, [3; 32], &|| true)?;
    let simulated = executed.join(&Default::default())?;
    at("simulated");
    let mut told = |made: &rollmill_pxe::contracts::prover::Progress| {
        at(&format!("{} of {}: {}, {} rows", made.done, made.total, made.what, made.rows));
    };
    let proven = prover.prove(&simulated, &mut OsRng, &mut told, &|| true)?;
    let tx = proven.clone().into_tx();
    // As a node would verify it, out of the transaction alone.
    let inputs = ClientInputs::of(&tx, prover.set().root());
    assert_eq!(inputs, proven.inputs, "the transaction is the one that was proven");
    prover.set().verify(Circuit::PrivateTail, &inputs.to_fields(), &tx.client_proof)?;
    at("verified");
    println!("{} bytes of proof, {} logs", tx.client_proof.len(), tx.body.logs.len());
    Ok(())
}
