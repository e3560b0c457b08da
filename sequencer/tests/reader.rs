//! What a reader that shares no code with the crates makes of the blocks of a sequencer: it has L1, the genesis file
//! and the blobs.

use std::process::Command;

use crate::common::{node, with_client_key};
use rollmill_l1::TxRequest;
use rollmill_l1::abi;
use rollmill_l1::alloy::primitives::{Bytes, U256};
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1_testing::signer;
use rollmill_protocol::{BlockBody, EthAddress, Tx};
use rollmill_protocol_testing as chain;
use rollmill_protocol_testing::model::frs;
use rollmill_sequencer_testing::{Deployment, SLOT_SECONDS};
use serde_json::Value;

const READER: &str = "reader2.py";
/// Changes what the reader reads, a value at a time.
const CASES: &str = "reader2_cases.py";
/// What a user deposits, in units of L2.
const DEPOSIT: u64 = 5_000_000;

/// The lines that a script of the model prints for the deployment's chain.
fn run(deployment: &Deployment, script: &str) -> Vec<Value> {
    let (start, rollup) =
        (deployment.start.number.to_string(), deployment.rollup.address().to_string());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/tests/vectors");
    let output = Command::new("python3")
        .args(["-I", "-B", &format!("{folder}/{script}"), "--l1", &deployment.anvil.url])
        .args(["--rollup", &rollup, "--from-block", &start])
        .arg("--genesis")
        .arg(deployment.path("genesis.json"))
        .arg("--blobs")
        .arg(deployment.path("blobs"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Each change of [`CASES`], and the names of what the reader says differs.
const NOTICED: &[(&str, &str)] = &[
    ("honest block", ""),
    ("BlockProposed.header_hash", "block 2: header hash"),
    ("BlockProposed.chain", "block 2: link"),
    ("BlockProposed.slot", "block 2: header hash, archive root, link"),
    ("BlockProposed.coinbase", "block 2: header hash, archive root, link"),
    ("BlockProposed.total_fees", "block 2: fees"),
    ("BlockProposed.tx_count", "first_nullifier_absent"),
    ("BlockProposed.versioned_hash", "versioned hash of block 2"),
    ("BlockProposed.z", "block 2: z"),
    ("BlockProposed.y", "block 2: value of the blob"),
    ("BlockProposed.in_hash", "block 2: hash of messages from L1"),
    ("BlockProposed.out_root", "block 2: root of messages to L1"),
    ("BlockProposed.archive_root", "block 2: archive root"),
    ("BlockProposed.commitment", "versioned hash of block 2"),
    ("BlockProposed.number", "number of a block"),
    ("BlockProposed is missing", "number of blocks"),
    ("MessageSent.block", "index of a message of block 3"),
    (
        "MessageSent is missing",
        "block 2: hash of messages from L1, header hash, archive root, link",
    ),
    ("MessageSent.index", "index of a message of block 2"),
    ("MessageSent.leaf", "leaf of message 64"),
    ("MessageSent.kind", "kind of message 64"),
    ("MessageSent.sender", "sender of deposit 64"),
    ("MessageSent.recipient", "leaf of message 64"),
    ("MessageSent.content", "leaf of message 64"),
    ("MessageSent.secret_hash", "secret hash of deposit 64"),
    ("tips.pending", "number of blocks"),
    ("tips.proven", "last proven block"),
    ("genesis.rollup", "address of the Rollup"),
    ("blob's nullifier", OF_DATA),
    ("blob's note", OF_DATA),
    ("blob's tag", OF_DATA),
    ("blob's gas", OF_DATA),
    ("blob's log word 0", OF_DATA),
    ("blob's log word 1", OF_DATA),
    ("blob's log word 2", OF_DATA),
    ("blob's log word 3", OF_DATA),
    ("blob's log word 4", OF_DATA),
    ("blob's word after the transaction", "words after the last transaction"),
    ("archive's digest", "SHA-256 of the archive's file"),
    ("node's blob is short", "length of blob"),
    ("honest moment", ""),
    ("L1 block replaced", "hash of L1 block"),
    ("L1 block gone", "hash of L1 block"),
];
/// What follows from other data: none of it is what L1 has.
const OF_DATA: &str = "block 2: value of the blob, z, header hash, archive root, link";

/// The names in what the reader says: `Differs: block 2: z: 1, but L1 has 2; link: 3, but L1 has 4` names z and link of
/// block 2, and another error names itself.
fn names(said: &str) -> String {
    let Some(differs) = said.strip_prefix("Differs: ") else {
        return said.split_once(": ").map_or(said, |(_, error)| error).to_owned();
    };
    let (of, differences) = match differs.split_once(": ") {
        Some((of, rest)) if of.starts_with("block ") => (format!("{of}: "), rest),
        _ => (String::new(), differs),
    };
    let names: Vec<&str> =
        differences.split("; ").map(|part| part.split(": ").next().unwrap()).collect();
    format!("{of}{}", names.join(", "))
}

/// Deposits from L1 for the user.
async fn deposit(deployment: &Deployment, user: u64) {
    let contracts = &deployment.network.info.contracts;
    let amount = U256::from(DEPOSIT) * U256::from(1_000_000_000u64);
    let approve = abi::AztToken::approveCall { spender: contracts.feePortal, value: amount };
    let to = abi::word(&chain::user(user));
    let deposit = abi::FeePortal::depositCall { to, amount };
    for (id, address, input) in [
        ("approve", deployment.network.token, approve.abi_encode()),
        ("deposit", contracts.feePortal, deposit.abi_encode()),
    ] {
        let request = TxRequest::call(id, address, Bytes::from(input));
        assert!(deployment.network.sender.send(request).await.unwrap().succeeded, "{id}");
    }
}

/// Transactions of block `block`: of each kind that the built-in client makes.
fn bodies(block: u64) -> Vec<BlockBody> {
    let mut withdrawal = chain::body(1);
    withdrawal.effects.withdraw_recipient = EthAddress([0xd0; 20]);
    withdrawal.effects.withdraw_amount = 77;
    let mut claim = chain::body(4);
    // The deposit was made before block 1, so block 2 appends it, first of its 64.
    claim.effects.fee_payer = chain::user(0);
    (claim.effects.claim_index, claim.effects.claim_amount) = (64, DEPOSIT);
    match block {
        1 => vec![chain::body(0), withdrawal, chain::body_from_notes(2, 1000)],
        2 => vec![chain::body(3)],
        _ => vec![claim],
    }
}

/// Goal: from L1 and the blobs alone, the reader has every effect and log of every transaction that the node has
/// executed, in blocks of one and of three transactions with a payment by balance and by notes, a withdrawal, and the
/// claim of a deposit. Of everything that it compares it notices a change, and says what differs.
#[tokio::test]
async fn an_independent_reader_finds_every_effect_in_the_blobs() {
    let deployment = with_client_key(vec![signer(0).address()]).await;
    deposit(&deployment, 0).await;
    for block in 1..=3 {
        let waiting = node(&deployment);
        for body in bodies(block) {
            let tx = chain::tx_of(body, waiting.genesis_header().hash());
            waiting.submit(&Tx { version: deployment.genesis.version(), ..tx }.to_bytes()).unwrap();
        }
        drop(waiting);
        let program = deployment.run(env!("CARGO_BIN_EXE_rollmill-sequencer"), &[]);
        program.status(|status| status["tips"]["pending"]["block_number"] == block);
        drop(program);
        // The second L1 block of the slot shows L1's usual pace.
        let provider = deployment.client.provider();
        provider.anvil_increase_time(SLOT_SECONDS).await.unwrap();
        provider.anvil_mine(Some(2), None).await.unwrap();
    }

    let lines = run(&deployment, READER);
    let executed = node(&deployment);
    for (number, line) in (1..=3).zip(&lines) {
        assert_eq!(line["number"], number);
        let block = executed.block(number).unwrap().unwrap();
        let found = line["txs"].as_array().unwrap();
        assert_eq!(found.len(), bodies(number).len());
        assert_eq!(found.len(), block.txs.len());
        for (found, body) in found.iter().zip(&block.txs) {
            assert_eq!(frs(&found["effects"]), body.effects.to_fields());
            let logs = found["logs"].as_array().unwrap();
            assert_eq!(logs.len(), body.logs.len());
            for (found, log) in logs.iter().zip(&body.logs) {
                assert_eq!(frs(found), log);
            }
        }
    }
    let counts = serde_json::json!({
        "blocks": 3, "proven": 0, "pruned": 0, "transactions": 5, "logs": 10, "claims": 1, "withdrawals": 1, "messages": 1,
    });
    assert_eq!(lines[3], counts);

    let cases = run(&deployment, CASES);
    let said = |field: &str, case: &Value| case[field].as_str().unwrap().to_owned();
    let got: Vec<_> =
        cases.iter().map(|case| (said("case", case), names(&said("said", case)))).collect();
    assert_eq!(got.len(), NOTICED.len(), "{got:#?}");
    for ((case, got), (expected_case, expected)) in got.iter().zip(NOTICED) {
        assert_eq!(case, expected_case);
        // A number may follow a name.
        let is_named =
            got == expected || (!expected.is_empty() && got.starts_with(&format!("{expected} ")));
        assert!(is_named, "{case}: {got}, not {expected}");
    }
}
