//! Values computed by `vectors/model.py`, which shares no code with the crate.

use rollmill_algebra::{Fr, poseidon2};
use rollmill_protocol::builder::{BlockBuilder, BlockEnv};
use rollmill_protocol::field::{bytes_from_hex, from_hex};
use rollmill_protocol::gas::FeePerGas;
use rollmill_protocol::note::{self, ViewingKey};
use rollmill_protocol::tree::{MemoryStore, empty_root};
use rollmill_protocol::{BlockBody, EthAddress, Genesis, Tx, TxEffects};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/protocol.json")).unwrap()
}

fn fr(value: &Value) -> Fr {
    from_hex(value.as_str().unwrap()).unwrap()
}

fn frs(value: &Value) -> Vec<Fr> {
    value.as_array().unwrap().iter().map(fr).collect()
}

fn body(tx: &Value) -> BlockBody {
    let logs = tx["logs"].as_array().unwrap().iter();
    BlockBody {
        effects: TxEffects::from_fields(&frs(&tx["fields"])).unwrap(),
        logs: logs.map(|log| bytes_from_hex("log", log.as_str().unwrap()).unwrap()).collect(),
    }
}

fn genesis() -> Genesis {
    Genesis::from_json(&vectors()["genesis"].to_string()).unwrap()
}

#[test]
fn hashes_and_empty_roots_match_the_model() {
    let v = vectors();
    let inputs: Vec<Fr> = (1u64..=4).map(Fr::from).collect();
    assert_eq!(poseidon2::hash(7, &[]), fr(&v["hash_0"]));
    assert_eq!(poseidon2::hash(7, &inputs[..1]), fr(&v["hash_1"]));
    assert_eq!(poseidon2::hash(7, &inputs), fr(&v["hash_4"]));
    let roots = frs(&v["empty_roots"]);
    assert_eq!((0..=32).map(empty_root).collect::<Vec<_>>(), roots);
}

#[test]
fn keys_notes_and_nullifiers_match_the_model() {
    let v = vectors();
    for key in v["keys"].as_array().unwrap() {
        let npk = note::npk(&fr(&key["nsk"]));
        let viewing = ViewingKey { x: fr(&key["vpk_x"]), y: fr(&key["vpk_y"]) };
        assert_eq!(npk, fr(&key["npk"]));
        assert_eq!(note::address(&npk, &viewing), fr(&key["address"]));
    }
    let genesis = genesis();
    let hashes: Vec<Fr> = genesis.notes.iter().map(|note| note.note().hash()).collect();
    assert_eq!(hashes, frs(&v["note_hashes"]));
    assert_eq!(genesis.leaves(), frs(&v["unique"]));
    let nullifier = note::nullifier(&genesis.leaves()[0], &fr(&v["keys"][0]["nsk"]));
    assert_eq!(nullifier, fr(&v["nullifier_0"]));
    for (balance, slot) in genesis.fee_balances.iter().zip(frs(&v["fee_slots"])) {
        assert_eq!(note::fee_balance_slot(&balance.address), slot);
    }
}

#[test]
fn genesis_state_matches_the_model() {
    let v = vectors();
    let built = genesis().build(MemoryStore::new()).unwrap();
    assert_eq!(built.header.to_fields(), frs(&v["genesis_header"]));
    assert_eq!(built.header.hash(), fr(&v["genesis_header_hash"]));
    assert_eq!(built.state.archive_root, fr(&v["genesis_archive_root"]));
}

#[test]
fn transaction_hash_and_bytes_match_the_model() {
    let v = vectors();
    let bodies: Vec<BlockBody> = v["txs"].as_array().unwrap().iter().map(body).collect();
    for (body, expected) in bodies.iter().zip(v["txs"].as_array().unwrap()) {
        assert_eq!(body.effects.tx_hash(), fr(&expected["hash"]));
    }
    let tx = Tx {
        chain_id: 31337,
        version: 1,
        anchor_header_hash: fr(&v["genesis_header_hash"]),
        effects: bodies[0].effects.clone(),
        logs: bodies[0].logs.clone(),
        client_proof: b"abc".to_vec(),
    };
    let expected = v["tx_0_bytes_with_proof_abc"].as_str().unwrap();
    assert_eq!(tx.to_bytes(), bytes_from_hex("tx", expected).unwrap());
    assert_eq!(Tx::from_bytes(&tx.to_bytes()).unwrap(), tx);
}

#[test]
fn a_block_of_two_transactions_matches_the_model() {
    let v = vectors();
    let built = genesis().build(MemoryStore::new()).unwrap();
    let env = BlockEnv {
        slot: 5,
        timestamp: built.header.timestamp + 60,
        coinbase: EthAddress([0xc0; 20]),
        price: FeePerGas { l2: 2, da: 3 },
    };
    let mut builder = BlockBuilder::new(&built.header, built.state.store, env).unwrap();
    for tx in v["txs"].as_array().unwrap() {
        builder.apply_body(&body(tx)).unwrap();
    }
    let (block, _) = builder.finish().unwrap();
    assert_eq!(block.header.to_fields(), frs(&v["header"]));
    assert_eq!(block.header_hash, fr(&v["header_hash"]));
    assert_eq!(block.archive.append.root_after, fr(&v["archive_root"]));
    assert_eq!(block.data().data_hash(), fr(&v["data_hash"]));
    assert_eq!(block.chain_link(Fr::from(0u64)).chain(), fr(&v["chain"]));
}
