//! What a reader that shares no code with the crates makes of the blocks of a sequencer: it has L1, the genesis file
//! and the blobs.

use std::process::Command;

use crate::common::{node, with_client_key};
use rollmill_l1::TxRequest;
use rollmill_l1::abi;
use rollmill_l1::alloy::eips::eip4844::kzg_to_versioned_hash;
use rollmill_l1::alloy::primitives::{Bytes, U256};
use rollmill_l1::alloy::providers::ext::AnvilApi;
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1_testing::signer;
use rollmill_protocol::field::bytes_from_hex;
use rollmill_protocol::{BlockBody, EthAddress, Fr, Tx, blob};
use rollmill_protocol_testing as chain;
use rollmill_protocol_testing::model::{frs, sha256};
use rollmill_sequencer_testing::{Deployment, SLOT_SECONDS};
use serde_json::Value;

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/tests/vectors/reader2.py");
/// What a user deposits, in units of L2.
const DEPOSIT: u64 = 5_000_000;

/// The reader's output for the deployment's chain, a line for each block and one with counts; or what it rejects.
fn read(deployment: &Deployment) -> Result<Vec<Value>, String> {
    let (start, rollup) =
        (deployment.start.number.to_string(), deployment.rollup.address().to_string());
    let output = Command::new("python3")
        .args(["-I", "-B", READER, "--l1", &deployment.anvil.url, "--rollup", &rollup])
        .args(["--from-block", &start])
        .arg("--genesis")
        .arg(deployment.path("genesis.json"))
        .arg("--blobs")
        .arg(deployment.path("blobs"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
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
/// claim of a deposit. It notices a blob with another note.
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

    let lines = read(&deployment).unwrap();
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

    // Well-formed data with one other note, under the name of the second block's blob.
    let block = executed.block(2).unwrap().unwrap();
    let mut txs = block.txs;
    txs[0].effects.note_hashes[0] = Fr::from(7u64);
    let mut file = blob::encode(&txs).unwrap();
    file.extend(bytes_from_hex("digest", &sha256(&file)).unwrap());
    let name = format!("{:x}", kzg_to_versioned_hash(&block.record.commitment.0));
    std::fs::write(deployment.path("blobs").join(&name[62..]).join(&name), file).unwrap();
    let rejected = read(&deployment).unwrap_err();
    assert!(rejected.starts_with("reader2: Differs: value of the blob of block 2: "), "{rejected}");
}
