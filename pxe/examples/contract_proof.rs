//! Every proof of a transaction of contracts: an account mints one unit of a token, and pays the fee itself or has a
//! sponsor pay it.
//!
//! ```sh
//! cargo run --release -p rollmill-pxe --example contract_proof
//! ```
//!
//! It makes a development SRS and the keys of functions and of all circuits, registers account, token and sponsor in a
//! store, and proves each transaction twice: at first the keys of the kernel's circuits are loaded, then they are there.
//! Times are printed, and differ between machines. Run it on a machine that does nothing else.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::OsRng;
use rollmill_algebra::CpuDevice;
use rollmill_circuits::private::LOG_N;
use rollmill_circuits::registry::make_keys;
use rollmill_circuits::store::MemoryStore;
use rollmill_plonk::srs::Srs;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::tx::NO_EXPIRY;
use rollmill_protocol::{Circuit, ClientInputs, Fr};
use rollmill_protocol_testing::{gas, start, value};
use rollmill_pxe::contracts::prover::{ContractProver, Progress};
use rollmill_pxe::contracts::{
    CallRequest, ContractCall, EntryTerms, Environment, FunctionKeys, Limits, NamedCall,
    SimulatedTransaction, class_of, execute, init_hash, named_call, register, signing_key,
};
use rollmill_pxe_store::{Contract, Cost, MasterKeys, Scope, Store};
use serde_json::{Value, json};

/// The most units that the sponsor pays for a transaction.
const LIMIT: u64 = 1 << 40;

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

/// A call of a function with its arguments by name.
fn call(store: &Store, contract: Fr, function: &str, args: &Value) -> Outcome<ContractCall> {
    let args = args.as_object().cloned().unwrap_or_default();
    Ok(named_call(store, &NamedCall { contract, function: function.to_owned(), args, from: None })?)
}

/// Proves a transaction, and prints what each step took since the one before.
fn proven(prover: &ContractProver, simulated: &SimulatedTransaction) -> Outcome<()> {
    let began = Instant::now();
    let mut last = 0.0;
    let mut told = |made: &Progress| {
        let now = began.elapsed().as_secs_f64();
        let Progress { what, rows, done, total } = made;
        println!("{:6.2} s  {done} of {total}: {what}, {rows} rows", now - last);
        last = now;
    };
    let proven = prover.prove(simulated, &mut OsRng, &mut told, &|| true)?;
    println!("{:6.2} s  all of them", began.elapsed().as_secs_f64());
    let tx = proven.clone().into_tx();
    // As a node would verify it, out of the transaction alone.
    let inputs = ClientInputs::of(&tx, prover.set().root());
    assert_eq!(inputs, proven.inputs, "the transaction is the one that was proven");
    prover.set().verify(Circuit::PrivateTail, &inputs.to_fields(), &tx.client_proof)?;
    println!("verified: {} bytes of proof, {} logs", tx.client_proof.len(), tx.body.logs.len());
    Ok(())
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
    let prover = ContractProver::new(device, srs, keys, set)?.keeping_keys();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("wallet.pxe");
    let store = Store::create(&path, "p", Cost { log_n: 1, r: 1, p: 1 })?;
    let keys = MasterKeys::generate(&mut OsRng);
    let account = store.add_keys(&keys, "account")?;
    let init = signing_key(&keys);
    let origin = deploy(&store, "schnorr_account", &init, keys.keys_hash(), &prover)?;
    let token = deploy(&store, "token", &[origin], value(91, 0), &prover)?;
    let sponsor = deploy(&store, "sponsor", &[Fr::from(LIMIT)], Fr::from(0u64), &prover)?;
    at("contracts registered");
    let gas = gas();
    let environment = Environment { anchor: start().0, gas };
    let mint = call(&store, token, "mint", &json!({ "to": to_hex(&origin), "amount": 1 }))?;
    let gas = json!({
        "max_fee_per_l2_gas": gas.max_fee_per_l2_gas,
        "max_fee_per_da_gas": gas.max_fee_per_da_gas,
        "l2_gas_limit": gas.l2_gas_limit,
        "da_gas_limit": gas.da_gas_limit,
        "l2_teardown_gas_limit": gas.l2_teardown_gas_limit,
        "da_teardown_gas_limit": gas.da_teardown_gas_limit,
    });
    let sponsored = call(&store, sponsor, "sponsor", &json!({ "gas": gas, "limit": LIMIT }))?;
    let scope = Scope::of([account]);
    let cases =
        [("the account", true, vec![mint.clone()]), ("a sponsor", false, vec![sponsored, mint])];
    for (who, pays, calls) in cases {
        let random = [value(89, 0), value(89, u64::from(pays))];
        let terms = EntryTerms { pays, expiry_slot: NO_EXPIRY };
        let request = CallRequest::of_account(&environment, origin, &calls, terms, random)?;
        let of = (&store, &scope);
        let executed = execute(of, &request, &environment, Limits::default(), [3; 32], &|| true)?;
        let simulated = executed.join(&Default::default())?;
        at(&format!("simulated; {who} pays"));
        for keys in ["at first", "with the keys of the proofs before"] {
            println!("\n{who} pays, {keys}");
            proven(&prover, &simulated)?;
        }
    }
    Ok(())
}
