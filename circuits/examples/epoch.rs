//! Proves a small epoch from its transactions to the root and prints what each proof took.
//!
//! `cargo run -p rollmill-circuits --example epoch -- KEYS [--write OUT] [TXS_OF_BLOCK ...]` keeps keys in
//! the folder KEYS. With `--write circuits/tests/golden 3 0 1` it makes the golden epoch anew, which must
//! be done whenever a circuit's layout changes; then it also times every circuit.

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Instant;

use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::jobs::{self, RangeData};
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::{Keys, make_keys, measure, open_srs};
use rollmill_circuits::store::{DirStore, Store};
use rollmill_protocol::builder::Block;
use rollmill_protocol::field::to_hex;
use rollmill_protocol::plan::EpochPlan;
use rollmill_protocol::{Circuit, Commitment, Config, Constants, Tx, TxTransition};

/// The blocks that are proven.
struct Range {
    constants: Constants,
    cases: Vec<common::BlockCase>,
    /// L1's chain before each block.
    chains: Vec<Fr>,
}

impl RangeData for Range {
    fn constants(&self) -> Constants {
        self.constants
    }

    fn config(&self) -> Config {
        common::config()
    }

    fn block(&self, block: usize) -> Option<(&Block, Commitment, Fr)> {
        let case = self.cases.get(block)?;
        Some((&case.block, case.commitment, *self.chains.get(block)?))
    }

    fn tx(&self, block: usize, tx: usize) -> Option<(&Tx, &TxTransition)> {
        let (tx, transition) = self.cases.get(block)?.txs.get(tx)?;
        Some((tx, transition))
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().expect("a folder for keys");
    let mut args = args.peekable();
    let golden = args.next_if(|a| a == "--write").map(|_| args.next().expect("a folder to write"));
    let mut tx_counts: Vec<u64> = args.map(|a| a.parse().expect("a number")).collect();
    if tx_counts.is_empty() {
        tx_counts = vec![1, 0];
    }
    let start = Instant::now();
    let now = || start.elapsed();
    let store: Arc<dyn Store> = Arc::new(DirStore::new(folder));
    let device = Arc::new(CpuDevice::default());
    let srs = open_srs(store.as_ref(), common::CHAIN_ID).expect("srs");
    println!("{:8.2} s  srs", now().as_secs_f64());
    let set: KeySet = make_keys(device.as_ref(), &srs, store.as_ref(), &|circuit, kept| {
        println!("{:8.2} s  key of {circuit}, kept: {kept}", now().as_secs_f64());
    })
    .expect("keys");
    println!("{:8.2} s  keys of root {}", now().as_secs_f64(), to_hex(&set.root()));
    let (config, prover) = (common::config(), common::prover());
    let constants = set.constants(common::CHAIN_ID, common::version(), &config, prover);
    let keys = Keys::new(device, set.clone(), srs, store, 3).expect("keys");

    let plan = EpochPlan::new(&tx_counts.iter().map(|n| *n as usize).collect::<Vec<_>>()).unwrap();
    let (genesis_header, genesis_store) = common::genesis_chain();
    let mut sender = 0;
    let mut range = Range { constants, cases: common::chain(&tx_counts), chains: Vec::new() };
    let mut chain = Fr::from(0u64);
    for case in &mut range.cases {
        range.chains.push(chain);
        chain = case.block.chain_link(chain, &case.opening()).chain();
        for (tx, _) in &mut case.txs {
            let before = now();
            let (anchor, number) = (&genesis_header, case.block.header.block_number);
            let mut w = common::transfer_of_chain(anchor, &genesis_store, sender, number);
            w.vk_root = set.root();
            tx.client_proof = jobs::prove_client(&keys, &w, [7; 32]).expect("client");
            println!(
                "{:8.2} s  client {:.2} s",
                now().as_secs_f64(),
                (now() - before).as_secs_f64()
            );
            sender += 1;
        }
    }
    let mut outputs: Vec<Vec<u8>> = Vec::new();
    for node in &plan.nodes {
        let children: Vec<Vec<u8>> = node.children.iter().map(|i| outputs[*i].clone()).collect();
        let input = jobs::input(node.circuit, &range, node.subject, &children).expect("input");
        let kind = node.circuit.name();
        let before = now();
        keys.proving_key(node.circuit).expect("key");
        let loaded = (now() - before).as_secs_f64();
        let done = jobs::prove(&keys, kind, &input, &now).unwrap_or_else(|e| panic!("{kind}: {e}"));
        jobs::verify(&set, kind, &input, &done.bytes).expect("verifies");
        println!(
            "{:8.2} s  {kind}: key {loaded:.2} s, witness {:.2} s, proof {:.2} s, {} rows, input {} B",
            now().as_secs_f64(),
            done.witness_seconds,
            done.proving_seconds,
            done.rows,
            input.len(),
        );
        if let Some(folder) = &golden {
            let name = format!("{folder}/{:02}-{kind}", outputs.len());
            std::fs::write(format!("{name}.input"), &input).expect("written");
            std::fs::write(format!("{name}.output"), &done.bytes).expect("written");
        }
        outputs.push(done.bytes);
    }
    if let Some(folder) = &golden {
        std::fs::write(format!("{folder}/keys.set"), set.to_bytes()).expect("written");
        std::fs::write(format!("{folder}/genesis.json"), common::genesis().to_json() + "\n")
            .expect("written");
        for circuit in Circuit::ALL {
            let took = measure(&keys, circuit, &now).expect("measured");
            println!("{circuit}: {took:?}");
        }
    }
}
