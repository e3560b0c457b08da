//! Whole blocks of the Python model, played by the crate: every header, link, blob and public input, and every
//! transaction that a block rejects, by the name of its rule. Thousands of blocks more:
//! `python3 protocol/tests/vectors/model2.py --random SEED N | cargo run -p rollmill-protocol-testing --example replay`.

use std::collections::BTreeSet;

use rollmill_algebra::Fr;
use rollmill_protocol::field::{bytes_from_hex, to_bits};
use rollmill_protocol::message::deposit_leaf;
use rollmill_protocol::tree::root_from_path;
use rollmill_protocol::{BlockBody, Pair, ProofKind, Tx, TxEffects};
use rollmill_protocol_testing::model::{Player, fr, frs, vectors};
use serde_json::Value;

/// The rules of the specification's table, but for `block_full`, which `transition.rs` tries.
const RULES: [&str; 23] = [
    "range",
    "first_nullifier_absent",
    "gap",
    "tag_and_log",
    "log",
    "public_calls",
    "claim_shape",
    "claim_without_payer",
    "withdraw_shape",
    "message_0_taken",
    "refund_shape",
    "note_7_taken",
    "price",
    "gas_limit",
    "fee_overflow",
    "block_gas",
    "expired",
    "nullifier_repeated",
    "nullifier_spent",
    "claim_unknown",
    "claim_spent",
    "value_too_low",
    "value_overflow",
];

#[test]
fn random_blocks_and_those_at_the_bounds_are_the_models() {
    let mut rules = BTreeSet::new();
    let stream = include_str!("vectors/stream2.jsonl");
    let mut lines = stream.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut player = Player::new(&lines.next().unwrap());
    for line in lines {
        player.block(&line);
    }
    let seen = &player.seen;
    for (what, number) in [
        ("balances", seen.payers),
        ("refunds", seen.txs - seen.payers),
        ("new slots", seen.new_slots),
        ("claims", seen.claims),
        ("withdrawals", seen.withdrawals),
        ("messages", seen.messages),
    ] {
        assert!(number > 0, "the stream has no {what}");
    }
    rules.extend(player.seen.rejected);

    let bounds = &vectors()["bounds"];
    let mut player = Player::new(&bounds["genesis"]);
    player.block(&bounds["block"]);
    rules.extend(player.seen.rejected);
    assert_eq!(rules, RULES.map(str::to_owned).into(), "every rule rejects something");
}

#[test]
fn the_fixed_blocks_are_the_models_with_the_inputs_of_every_proof() {
    let v = vectors();
    let v = &v["epoch"];
    let mut player = Player::new(&v["genesis"]);
    let blocks = v["blocks"].as_array().unwrap();
    for block in blocks {
        for name in ["tx_base", "tx_merge", "client", "out_leaves"] {
            assert!(block.get(name).is_some(), "{name}");
        }
        player.block(block);
    }
    assert_eq!(player.seen.blocks, blocks.len());

    let path = &v["message_path"];
    let index = path["index"].as_u64().unwrap();
    let root = root_from_path(&fr(&path["leaf"]), index, &frs(&path["path"]));
    assert_eq!(root, fr(&path["root"]));
    let sent = blocks.iter().flat_map(|block| block["messages_sent"].as_array().unwrap());
    let message = sent.into_iter().find(|message| message["index"] == index).unwrap();
    let amount = to_bits("amount", &fr(&message["content"]), 64).unwrap();
    assert_eq!(deposit_leaf(&fr(&message["recipient"]), amount, index), fr(&path["leaf"]));
}

#[test]
fn the_bytes_of_a_transaction_are_the_models() {
    let v = vectors();
    let v = &v["epoch"];
    let genesis = &v["genesis"];
    let first = &v["blocks"].as_array().unwrap().last().unwrap()["txs"][0];
    let logs = first["logs"].as_array().unwrap().iter();
    let tx = Tx {
        chain_id: genesis["chain_id"].as_u64().unwrap(),
        version: to_bits("version", &fr(&genesis["version"]), 64).unwrap(),
        anchor_header_hash: fr(&genesis["header_hash"]),
        body: BlockBody {
            effects: TxEffects::from_fields(&frs(&first["effects"])).unwrap(),
            logs: logs.map(|log| <[Fr; 5]>::try_from(frs(log)).unwrap()).collect(),
        },
        proof_kind: ProofKind::BuiltIn,
        pair: Pair::trivial(),
        client_proof: b"abc".to_vec(),
    };
    let expected = v["tx_bytes_of_last_block_tx_0_with_proof_abc"].as_str().unwrap();
    assert_eq!(tx.to_bytes(), bytes_from_hex("tx", expected).unwrap());
    assert_eq!(Tx::from_bytes(&tx.to_bytes()), Ok(tx));
}
