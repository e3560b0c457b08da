//! The golden epoch: blocks of 3, 0 and 1 transactions, proven from client proofs to the root.
//!
//! `golden/` holds the genesis, the keys and every job's input and output, children before parents. Made by
//! `cargo run -p rollmill-circuits --example epoch -- KEYS --write circuits/tests/golden 3 0 1`.

use std::sync::Arc;
use std::time::Duration;

use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::circuit::log_n;
use rollmill_circuits::gadgets::fold::ChildWitness;
use rollmill_circuits::jobs::{self, BlockRootInput, Input, JobError, Output, TxBaseInput};
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::{Keys, Warmed, layout, open_srs};
use rollmill_circuits::store::MemoryStore;
use rollmill_circuits::{block_root, tx_merge};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::check::check;
use rollmill_plonk::key::layout_digest;
use rollmill_plonk::proof::Proof;
use rollmill_protocol::version::PROTOCOL_VERSION;
use rollmill_protocol::{Circuit, ClientInputs, EpochRoot};
use sha2::{Digest, Sha256};

use crate::common::golden;

struct Job {
    kind: String,
    input: Vec<u8>,
    output: Vec<u8>,
}

fn jobs() -> Vec<Job> {
    golden::jobs()
        .iter()
        .map(|name| Job {
            kind: name[3..].to_owned(),
            input: golden::file(&format!("{name}.input")),
            output: golden::file(&format!("{name}.output")),
        })
        .collect()
}

fn job(kind: &str) -> Job {
    jobs().into_iter().find(|job| job.kind == kind).unwrap()
}

#[test]
fn the_golden_epoch_verifies_from_its_client_proofs_to_its_root() {
    let set = golden::keys();
    let jobs = jobs();
    let mut made: Vec<Output> = Vec::new();
    for job in &jobs {
        let input = Input::from_bytes(Circuit::from_name(&job.kind).unwrap(), &job.input).unwrap();
        for child in input.children() {
            assert!(made.contains(child), "a child of {} is not a result of the epoch", job.kind);
        }
        if let Input::TxBase(TxBaseInput { witness, anchor_header_hash, proof_kind, pair, proof }) =
            &input
        {
            let public = ClientInputs {
                chain_id: crate::common::CHAIN_ID,
                version: crate::common::version(),
                vk_root: set.root(),
                protocol_version: PROTOCOL_VERSION,
                anchor_header_hash: *anchor_header_hash,
                tx_hash: witness.body.effects.tx_hash(),
                pair: *pair,
            };
            set.verify(proof_kind.circuit(), &public.to_fields(), proof).unwrap();
        }
        made.push(jobs::verify(&set, &job.kind, &job.input, &job.output).unwrap());
    }
    let root = EpochRoot::from_fields(&made.last().unwrap().public).unwrap();
    assert_eq!((root.first_block, root.last_block, root.epoch), (1, 3, 0));
    assert_eq!(root.num_constraints, set.charged_rows().epoch(&[3, 0, 1]).unwrap());
    let kinds = |kind: &str| jobs.iter().filter(|job| job.kind == kind).count();
    assert_eq!([kinds("tx_base"), kinds("tx_merge"), kinds("block_merge")], [4, 1, 1]);
}

/// Nodes in the tests of other crates start from the file.
#[test]
fn the_golden_genesis_is_that_of_the_epoch() {
    let text = String::from_utf8(golden::file("genesis.json")).unwrap();
    assert_eq!(text, crate::common::genesis().to_json() + "\n");
}

/// Fails when a circuit changed and the golden epoch was not made anew.
#[test]
fn the_golden_keys_are_those_of_this_build() {
    let set = golden::keys();
    for circuit in Circuit::ALL {
        let layout = layout(circuit).unwrap();
        let digest = layout_digest(&layout.shape, &layout.fixed_columns());
        assert_eq!(digest, set.key(circuit).layout_digest, "{circuit}: make the golden epoch anew");
    }
}

/// The page of the kernel states the rows that its circuits use, as the key set charges them.
#[test]
fn the_page_of_the_kernel_has_the_rows_of_its_circuits() {
    let set = golden::keys();
    let page = include_str!("../../docs/book/private.md");
    let circuits =
        [Circuit::PrivateInit, Circuit::PrivateInner, Circuit::PrivateTail, Circuit::PrivateInit2];
    for circuit in circuits {
        let rows = set.key(circuit).rows_used;
        let text = format!("{},{:03}", rows / 1000, rows % 1000);
        let row = page.lines().find(|line| line.starts_with(&format!("| {} |", circuit.name())));
        let row = row.unwrap_or_else(|| panic!("no row of {circuit}"));
        assert!(row.ends_with(&format!("| {text} |")), "{circuit} has {text} rows: {row}");
    }
}

/// Goal: however a witness is computed, it is the same to the last bit. The digests are those of the witnesses under
/// the first keys with a size of its own for the empty block.
#[test]
fn the_witnesses_of_the_golden_jobs_are_what_they_were() {
    let set = golden::keys();
    let expected = [
        ("tx_base", "39595ccba8995878"),
        ("tx_merge", "0ad8f175ad6a5350"),
        ("block_root_2", "511089fd27c81d94"),
        ("block_merge", "9f6183c932fac963"),
        ("epoch_root_2", "a31d2e2286446129"),
    ];
    let found = expected.map(|(kind, _)| {
        let circuit = Circuit::from_name(kind).unwrap();
        let laid = jobs::lay_out(&set, kind, &job(kind).input).unwrap();
        let (_, witness) = laid.finish(Some(log_n(circuit))).unwrap();
        let mut hasher = Sha256::new();
        for value in witness.wires.iter().chain([&witness.m]).flatten() {
            value.0.0.iter().for_each(|limb| hasher.update(limb.to_le_bytes()));
        }
        (kind, hex::encode(&hasher.finalize()[..8]))
    });
    assert_eq!(found, expected.map(|(kind, digest)| (kind, digest.to_owned())));
}

/// Goal: a proof is a function of its input. Method: prove one job of the golden epoch again, with a key
/// that was loaded before the job.
#[test]
fn a_job_done_again_gives_the_same_bytes_and_keys_are_loaded_ahead_while_there_is_room() {
    let store = Arc::new(MemoryStore::default());
    let srs = open_srs(store.as_ref(), crate::common::CHAIN_ID).unwrap();
    let keys = Keys::new(Arc::new(CpuDevice::default()), golden::keys(), srs, store, 2).unwrap();
    assert_eq!(keys.warm(&|| false).unwrap(), Warmed::Stopped);
    assert_eq!(keys.warm(&|| true).unwrap(), Warmed::Key(Circuit::TxBase));
    let warmed = keys.proving_key(Circuit::TxBase).unwrap();
    assert_eq!(keys.warm(&|| true).unwrap(), Warmed::Key(Circuit::TxMerge));
    assert_eq!(keys.warm(&|| true).unwrap(), Warmed::Nothing);
    let job = job("tx_merge");
    let still = || Duration::ZERO;
    let done = jobs::prove(&keys, &job.kind, &job.input, &still).unwrap();
    assert_eq!(done.bytes, job.output);
    assert!(Arc::ptr_eq(&warmed, &keys.proving_key(Circuit::TxBase).unwrap()), "it stayed");
}

/// Every public input and a sample of the proof's bytes.
#[test]
fn a_changed_result_is_rejected() {
    let set = golden::keys();
    for kind in ["tx_base", "block_root_1", "epoch_root_2"] {
        let job = job(kind);
        let good = Output::from_bytes(&job.output).unwrap();
        for i in 0..good.public.len() {
            let mut changed = good.clone();
            changed.public[i] += Fr::from(1u64);
            let rejected = jobs::verify(&set, kind, &job.input, &changed.to_bytes()).unwrap_err();
            let in_pair = i >= good.circuit.pair_at();
            assert_eq!(matches!(rejected, JobError::Rejected(_)), in_pair, "{kind} input {i}");
        }
        for i in (0..good.proof.len()).step_by(61) {
            let mut changed = good.clone();
            changed.proof[i] ^= 1 << (i % 8);
            assert!(
                jobs::verify(&set, kind, &job.input, &changed.to_bytes()).is_err(),
                "{kind} {i}"
            );
        }
    }
}

/// A result of the epoch as a child in a circuit.
fn child(set: &KeySet, output: &Output) -> ChildWitness {
    let opened = set.opened(output.circuit);
    ChildWitness {
        proof: Proof::from_bytes(&output.proof).unwrap(),
        public: output.public.clone(),
        vk: set.key(output.circuit).vk.clone(),
        leaf: opened.leaf,
        path: opened.path,
    }
}

fn holds(b: Builder, circuit: Circuit) -> bool {
    let (layout, witness) = b.finish(Some(log_n(circuit))).unwrap();
    check(&layout, &witness).is_ok()
}

fn merge_holds(change: impl Fn(&KeySet, &mut [ChildWitness; 2])) -> bool {
    let set = golden::keys();
    let job = job("tx_merge");
    let input = Input::from_bytes(Circuit::TxMerge, &job.input).unwrap();
    let [left, right] = input.children() else { panic!("two children") };
    let mut children = [child(&set, left), child(&set, right)];
    change(&set, &mut children);
    let (config, prover) = (crate::common::config(), crate::common::prover());
    let constants =
        set.constants(crate::common::CHAIN_ID, crate::common::version(), &config, prover);
    holds(tx_merge::build(&constants, &children), Circuit::TxMerge)
}

/// Duty 7, in the circuit: a child under another key or of another role has no place in the tree.
#[test]
fn a_child_under_another_key_or_of_another_role_is_rejected() {
    assert!(merge_holds(|_, _| ()));
    // BlockRoot1's key at BlockRoot1's place: a good leaf of a size TxMerge takes, but of a role it does not.
    assert!(!merge_holds(|set, children| {
        let opened = set.opened(Circuit::BlockRoot1);
        children[0].vk = set.key(Circuit::BlockRoot1).vk.clone();
        (children[0].leaf, children[0].path) = (opened.leaf, opened.path);
    }));
    // TxMerge's place for a TxBase proof: a role it takes, but another key.
    assert!(!merge_holds(|set, children| {
        let opened = set.opened(Circuit::TxMerge);
        (children[0].leaf, children[0].path) = (opened.leaf, opened.path);
    }));
    assert!(!merge_holds(|_, children| children[1].leaf.charged_rows += 1));
}

/// Duty 8, in the circuit: what a child states is what its proof was made for.
#[test]
fn a_child_with_a_changed_public_input_does_not_give_a_good_pair() {
    let set = golden::keys();
    let job = job("block_root_1");
    let input = Input::from_bytes(Circuit::BlockRoot1, &job.input).unwrap();
    let Input::BlockRoot(BlockRootInput { block, children }) = &input else {
        panic!("a block root")
    };
    let witness = block.witness(&set, Circuit::BlockRoot1);
    let good = child(&set, &children[0]);
    assert!(holds(block_root::build(&witness, std::slice::from_ref(&good)), Circuit::BlockRoot1));
    // The carried pair enters nothing but the transcript and the folded pair.
    let mut bad = good;
    let at = Circuit::TxBase.pair_at();
    bad.public[at + 4] += Fr::from(1u64);
    assert!(!holds(block_root::build(&witness, &[bad]), Circuit::BlockRoot1));
}
