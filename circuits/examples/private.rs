//! Proves a transaction of two private calls as a wallet does, and TxBase over it as an agent does. Prints what each
//! proof took.
//!
//! `cargo run -p rollmill-circuits --example private -- KEYS` keeps keys in the folder KEYS. The functions are circuits
//! that accept any call; what a call may say is in `docs/book/private.md`.

use std::sync::Arc;
use std::time::Instant;

use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::jobs::{self, Output};
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::private::tail::hiding_pair;
use rollmill_circuits::private::{
    FUNCTION_CELL_BITS, FUNCTION_SIZES, ProvenCall, ProvenState, build_init2, build_tail,
};
use rollmill_circuits::registry::{Keys, make_keys, open_srs};
use rollmill_circuits::store::{DirStore, Store};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::{ProvingKey, setup};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::Blinding;
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_protocol::builder::{BlockBuilder, BlockEnv};
use rollmill_protocol::genesis::GenesisBalance;
use rollmill_protocol::private::{self as plain, KernelInputs, KernelState, Padding, SIZES};
use rollmill_protocol::tree::MemoryStore;
use rollmill_protocol::tx::{Log, SLOTS, log_hash};
use rollmill_protocol::{
    BlockBody, Circuit, ClientInputs, Commitment, EthAddress, Genesis, ProofKind, Tx,
};
use rollmill_protocol_testing::private::{Contract, Run, Script, Step};
use rollmill_protocol_testing::{CHAIN_ID, FEE, PROVER, genesis, value};

/// The one function here, which states what it is told.
fn function(digest: Fr) -> (Layout, Witness) {
    let [size, ..] = FUNCTION_SIZES;
    let mut b = Builder::new(1, FUNCTION_CELL_BITS);
    let digest = b.witness(digest);
    b.set_public(0, digest);
    b.finish(Some(size.log_n)).expect("fits")
}

fn log(i: usize) -> Log {
    std::array::from_fn(|word| value(90, (10 * i + word) as u64))
}

/// What a wallet has: the network's keys, and the key of its function.
struct Wallet {
    keys: Keys<CpuDevice>,
    function: ProvingKey<CpuDevice>,
    started: Instant,
}

impl Wallet {
    fn new(keys: Keys<CpuDevice>) -> Self {
        // The function is of the client's size, so the bases are the same.
        let loaded = keys.proving_key(Circuit::Client).expect("a key");
        let (layout, _) = function(Fr::from(0u64));
        let columns = layout.fixed_columns();
        let (device, srs) = (keys.device(), loaded.key.vk.srs_id);
        let vk = setup(device, &loaded.bases, srs, layout.shape, &columns).expect("a key");
        let function = ProvingKey::new(device, vk, &columns).expect("a key");
        Self { keys, function, started: Instant::now() }
    }

    fn tell(&self, what: &str) {
        println!("{:8.2} s  {what}", self.started.elapsed().as_secs_f64());
    }

    fn call(&self, run: &Run, i: usize) -> ProvenCall {
        let call = run.calls[i].clone();
        let (_, witness) = function(call.digest());
        let loaded = self.keys.proving_key(Circuit::Client).expect("a key");
        let (key, bases, kind) = (&self.function, &loaded.bases, TranscriptKind::Poseidon2);
        let blinding = Blinding::On { seed: [i as u8 + 1; 32] };
        let proof = self.keys.prove(key, bases, kind, &witness, blinding).expect("a proof");
        self.tell("function");
        let (digest, function) = (call.digest(), run.functions[i].clone());
        ProvenCall { call, digest, function, proof, vk: key.vk.clone() }
    }

    fn prove(&self, circuit: Circuit, b: Builder) -> Output {
        let rows = b.rows();
        let made = jobs::prove_blinded(&self.keys, circuit, b, [9; 32]).expect("a proof");
        self.tell(&format!("{circuit}, {rows} rows"));
        made
    }

    fn state(&self, made: &Output, state: KernelState<Fr>) -> ProvenState {
        let set = self.keys.set();
        ProvenState {
            inputs: KernelInputs::from_fields(&made.public).expect("inputs"),
            state,
            proof: Proof::from_bytes(&made.proof).expect("a proof"),
            vk: set.key(made.circuit).vk.clone(),
            opened: set.opened(made.circuit),
        }
    }

    /// The transaction of a run of two calls.
    fn transaction(&self, run: &Run, hiding: &[Fr; 10]) -> Tx {
        let (root, w) = (self.keys.set().root(), &run.witness);
        let calls = [0, 1].map(|i| (&run.calls[i], &run.functions[i]));
        let both = plain::init2(&run.request, calls).expect("two calls");
        let (first, second) = (self.call(run, 0), self.call(run, 1));
        let made = build_init2(root, &run.request, [&first, &second]);
        let made = self.prove(Circuit::PrivateInit2, made);
        let last = self.state(&made, both);
        let effects = plain::tail(&last.state, w).expect("a transaction");
        let made = self.prove(Circuit::PrivateTail, build_tail(root, &last, w, hiding));
        let inputs = ClientInputs::from_fields(&made.public).expect("inputs");
        let is_there = |i: &usize| effects.log_hashes[*i] != Fr::from(0u64);
        let logs = (0..SLOTS).filter(is_there).map(log).collect();
        let tx = Tx {
            chain_id: inputs.chain_id,
            version: inputs.version,
            anchor_header_hash: inputs.anchor_header_hash,
            body: BlockBody { effects, logs },
            proof_kind: ProofKind::PrivateTail,
            pair: inputs.pair,
            client_proof: made.proof,
        };
        assert_eq!(ClientInputs::of(&tx, root), inputs, "what nodes verify");
        assert_eq!(Tx::from_bytes(&tx.to_bytes()).as_ref(), Ok(&tx));
        tx
    }
}

/// A network in which the first contract has a balance, and a run of its account's call.
fn network(set: &KeySet, function: (Fr, u64)) -> (Genesis, Run) {
    let contracts = [1, 2].map(|seed| Contract::new(seed, &[function]));
    let mut genesis = Genesis { vk_root: set.root(), ..genesis() };
    let payer = GenesisBalance { address: contracts[0].address, amount: 10 * FEE };
    genesis.fee_balances.push(payer);
    let anchor = genesis.build(MemoryStore::new()).expect("a genesis").header;
    let note = Step::Note(Fr::from(5u64));
    let nested = Script { contract: 1, function: 0, steps: vec![note] };
    let nullifier = Step::Nullify(Fr::from(6u64), Fr::from(0u64));
    let steps = vec![Step::Pay, nullifier, Step::Call(nested)];
    let mut run = Run::new(&contracts, &anchor, &Script { contract: 0, function: 0, steps });
    let log_hashes = std::array::from_fn(|i| log_hash(&log(i)));
    run.witness.padding = Padding { size: SIZES[0], log_hashes, ..run.witness.padding };
    (genesis, run)
}

fn main() {
    let folder = std::env::args().nth(1).expect("the folder of the keys");
    let store: Arc<dyn Store> = Arc::new(DirStore::new(folder));
    let device = Arc::new(CpuDevice::default());
    let srs = open_srs(store.as_ref(), CHAIN_ID).expect("srs");
    let set = make_keys(device.as_ref(), &srs, store.as_ref(), &|_, _| {}).expect("keys");
    let hiding = hiding_pair(&srs.powers[1], [1, 2, 3].map(|i| value(91, i)));
    let wallet = Wallet::new(Keys::new(device, set.clone(), srs, store, 4).expect("keys"));
    let vk = &wallet.function.vk;
    let (genesis, run) = network(&set, (vk.digest(), vk.shape.log_n.into()));
    let tx = wallet.transaction(&run, &hiding);

    let built = genesis.build(MemoryStore::new()).expect("a genesis");
    let (parent, config) = (built.header, genesis.config);
    let coinbase = EthAddress([9; 20]);
    let env = BlockEnv { slot: parent.slot + 1, coinbase, messages: Vec::new() };
    let mut builder = BlockBuilder::new(&parent, built.state.store, &config, env).expect("a block");
    let transition = builder.apply(&tx).expect("a good transaction");
    let (block, _) = builder.finish().expect("a block");
    let constants = set.constants(CHAIN_ID, genesis.version(), &config, PROVER);
    // Any commitment serves: that it is the data's is for L1 to check.
    let commitment = Commitment([7; 48]);
    let input = jobs::tx_base_input(constants, &block, commitment, &tx, &transition);
    let started = Instant::now();
    let done = jobs::prove(&wallet.keys, "tx_base", &input, &|| started.elapsed()).expect("proof");
    jobs::verify(&set, "tx_base", &input, &done.bytes).expect("verifies");
    wallet.tell(&format!("tx_base, {} rows", done.rows));
}
