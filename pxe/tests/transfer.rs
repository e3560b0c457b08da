//! The wallet's program, killed at each step of a transfer and run twice concurrently: nothing is paid
//! twice and nothing is lost. Real proofs; a fake node that follows the rules of a pool.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_circuits::registry::{load_key_set, make_keys, open_srs};
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_node_client::wire::{
    BlockEffects, ErrorData, HeaderInfo, HexBytes, NotePath, PublicData, Request, Response,
    RpcError, Tip, Tips, TxEffectsInfo, TxStatus, Versions, method,
};
use rollmill_protocol::field::to_hex;
use rollmill_protocol::genesis::{GenesisBalance, GenesisNote};
use rollmill_protocol::tree::{MemoryStore, Tree, append};
use rollmill_protocol::version::VersionIds;
use rollmill_protocol::{Fr, Genesis, Tx};
use rollmill_pxe::keys::Keys;
use rollmill_pxe::keystore;
use rollmill_service::{Shutdown, failpoints};
use serde_json::{Value, json};

const AMOUNT: u64 = 120;
const NOTES: [u64; 2] = [1000, 700];
const TOTAL: u64 = NOTES[0] + NOTES[1];
const FEES: u64 = 1 << 50;

#[derive(Default)]
struct Chain {
    pool: BTreeMap<String, Tx>,
    blocks: Vec<BlockEffects>,
}

/// A node whose blocks contain what was sent to it. Anchors stay at genesis, and every block counts as
/// proven.
#[derive(Clone)]
struct Node {
    genesis: Arc<Genesis>,
    chain: Arc<Mutex<Chain>>,
}

impl Node {
    fn new(alice: &Keys, bob: &Keys) -> Self {
        let owner = alice.address().to_field();
        let note = |(i, value): (u64, u64)| GenesisNote { owner, value, randomness: Fr::from(i) };
        let balance =
            |keys: &Keys| GenesisBalance { address: keys.address().to_field(), amount: FEES };
        let genesis = Genesis {
            format: 1,
            chain_id: 31337,
            rollup_version: 1,
            timestamp: 1,
            fee_per_l2_gas: 1,
            fee_per_da_gas: 1,
            notes: (3..).zip(NOTES).map(note).collect(),
            fee_balances: vec![balance(alice), balance(bob)],
        };
        Self { genesis: Arc::new(genesis), chain: Arc::default() }
    }

    /// Transactions that were ever taken.
    fn taken(&self) -> usize {
        let chain = self.chain.lock();
        chain.pool.len() + chain.blocks.iter().map(|block| block.txs.len()).sum::<usize>()
    }

    /// Includes the waiting transactions in a block.
    fn build(&self) {
        let mut chain = self.chain.lock();
        let number = chain.blocks.len() as u64 + 1;
        let effects = |(i, tx): (u64, &Tx)| TxEffectsInfo {
            tx_hash: tx.hash(),
            effects: tx.effects.to_fields(),
            logs: tx.logs.iter().map(|log| HexBytes(log.clone())).collect(),
            note_start_index: 64 * number + 16 * i,
        };
        let txs = (0..).zip(chain.pool.values()).map(effects).collect();
        chain.pool.clear();
        let header_hash = Fr::from(9000 + number);
        chain.blocks.push(BlockEffects { block_number: number, header_hash, txs });
    }

    fn send(&self, bytes: &[u8]) -> Result<Value, &'static str> {
        let tx = Tx::from_bytes(bytes).unwrap();
        let mut chain = self.chain.lock();
        let spends: Vec<&Fr> = tx.effects.present_nullifiers().collect();
        let other = chain.pool.values().filter(|other| other.hash() != tx.hash());
        if other.flat_map(|other| other.effects.present_nullifiers()).any(|n| spends.contains(&n)) {
            return Err("NODE-023");
        }
        let hash = to_hex(&tx.hash());
        chain.pool.insert(hash.clone(), tx);
        Ok(json!({ "tx_hash": hash }))
    }

    fn answer(&self, request: &Request) -> Result<Value, &'static str> {
        let built = self.genesis.build(MemoryStore::new()).unwrap();
        let header = built.header;
        let last = self.chain.lock().blocks.len() as u64;
        Ok(match request.method.as_str() {
            method::SEND_TRANSACTION => {
                let bytes: HexBytes = serde_json::from_value(request.params[0].clone()).unwrap();
                return self.send(&bytes.0);
            }
            method::GET_GENESIS => json!(*self.genesis),
            method::GET_VERSIONS => {
                let vk_root = Fr::from(0u64);
                json!(Versions {
                    ids: VersionIds {
                        chain_id: 31337,
                        rollup_version: 1,
                        protocol_version: 1,
                        vk_root
                    },
                    software: "stand-in".to_owned(),
                    slots_per_epoch: 8,
                    genesis_header_hash: header.hash(),
                })
            }
            method::GET_HEADER => {
                let chain = self.chain.lock();
                let header_hash = match request.params[0].as_u64() {
                    Some(number) => chain.blocks[number as usize - 1].header_hash,
                    None => header.hash(),
                };
                json!(HeaderInfo {
                    header: header.to_bytes(),
                    header_hash,
                    archive_root: Fr::from(0u64),
                    chain: Fr::from(0u64),
                    data_hash: Fr::from(0u64),
                    l1_block: 1,
                    proven: true,
                })
            }
            method::GET_BLOCK_EFFECTS => {
                let from = request.params[0].as_u64().unwrap();
                let chain = self.chain.lock();
                json!(chain.blocks.iter().filter(|b| b.block_number >= from).collect::<Vec<_>>())
            }
            method::GET_TIPS => {
                let tip = Tip { block_number: last, header_hash: header.hash(), slot: 0 };
                let (pending, verified, proven, finalized) = (tip, tip, tip, tip);
                json!(Tips { pending, verified, proven, finalized, l1_block: 1, rejected: None })
            }
            method::GET_TRANSACTION_STATUS => {
                let chain = self.chain.lock();
                let hash = request.params[0].as_str().unwrap();
                let block = chain
                    .blocks
                    .iter()
                    .find(|block| block.txs.iter().any(|tx| to_hex(&tx.tx_hash) == hash));
                json!(match block {
                    Some(block) => TxStatus::Proven { block_number: block.block_number, index: 0 },
                    None if chain.pool.contains_key(hash) => TxStatus::Pending { parked: None },
                    None => TxStatus::Unknown,
                })
            }
            method::GET_NOTE_PATH => {
                let leaf_index = request.params[0].as_u64().unwrap();
                json!(NotePath {
                    leaf_index,
                    leaf: self.genesis.leaves()[leaf_index as usize],
                    path: append::path(&built.state.store, Tree::Notes, 0, leaf_index).unwrap(),
                    note_root: header.state.tx_state.note_root,
                })
            }
            method::GET_PUBLIC_DATA => json!(PublicData { value: Fr::from(FEES), block_number: 0 }),
            other => panic!("a transfer does not ask for {other}"),
        })
    }

    async fn serve(&self, shutdown: &Shutdown) -> String {
        let node = self.clone();
        let answer = move |axum::Json(request): axum::Json<Request>| async move {
            let (result, error) = match node.answer(&request) {
                Ok(result) => (Some(result), None),
                Err(code) => {
                    let data = ErrorData { code: code.to_owned() };
                    (None, Some(RpcError { code: -32000, message: format!("{code}: no"), data }))
                }
            };
            axum::Json(Response { jsonrpc: "2.0".to_owned(), id: request.id, result, error })
        };
        let router = axum::Router::new().route("/", axum::routing::post(answer));
        let listener = rollmill_service::listen("127.0.0.1:0", "--listen").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(rollmill_service::serve(listener, router, shutdown.clone()));
        url
    }
}

/// Alice's wallet in its own directory, before its first transfer.
struct Case {
    folder: tempfile::TempDir,
    node: Node,
    url: String,
    bob: String,
    shutdown: Shutdown,
}

impl Drop for Case {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

impl Case {
    async fn new() -> Self {
        keys_are_made();
        let (alice, bob) = (Keys::from_seed(&[1; 32]), Keys::from_seed(&[2; 32]));
        let (node, shutdown) = (Node::new(&alice, &bob), Shutdown::new());
        let url = node.serve(&shutdown).await;
        let folder = tempfile::tempdir().unwrap();
        let text = keystore::seal(&alice, "word", &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        std::fs::write(folder.path().join("alice.json"), text).unwrap();
        std::fs::write(folder.path().join("password"), "word").unwrap();
        Self { folder, node, url, bob: bob.address().to_string(), shutdown }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollmill-pxe"));
        command.arg("--keystore").arg(self.path("alice.json")).args(["--node-url", &self.url]);
        command.arg("--password").arg(format!("file:{}", self.path("password").display()));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn transfer(&self) -> Command {
        self.command(&["transfer", "--to", &self.bob, "--amount", &AMOUNT.to_string()])
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The files beside the keystore: only the state and the lock, whatever was killed.
    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let known = ["json", "state", "lock"].map(Some);
        let extension = |path: &Path| path.extension().map(|e| e.to_string_lossy().into_owned());
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("password"))
            .filter(|path| !known.contains(&extension(path).as_deref()))
            .collect()
    }
}

/// The suite has made them before any test; a test that is run alone makes them once.
fn keys_are_made() {
    let store = DirStore::new(cache_dir(None));
    if load_key_set(&store).is_err() {
        let srs = open_srs(&store, 31337).unwrap();
        make_keys(&CpuDevice::default(), &srs, &store, &|_, _| {}).unwrap();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Where a transfer is killed; what the same command then prints; and how many transactions the node
/// has been sent afterwards.
const STEPS: [(&str, i32, usize); 7] = [
    ("pxe.before_proof", 0, 1),
    ("pxe.before_intent", 0, 1),
    // The second write of the command: the first one keeps what the sync found.
    ("pxe.before_rename@2", 0, 1),
    ("pxe.after_intent", 3, 1),
    ("pxe.after_send", 3, 1),
    ("pxe.before_report", 3, 1),
    // Its hash was printed, so a user who repeats the command wants another transfer.
    ("pxe.after_report", 0, 2),
];

/// Fault: SIGKILL at each step of a transfer, and the same command again, as a script would.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_killed_at_any_step_and_repeated_pays_once() {
    for (step, exit, sent) in STEPS {
        let case = Case::new().await;
        let killed = case.transfer().env(failpoints::VARIABLE, step).output().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{step}: {killed:?}");
        let assert_told = !killed.stdout.is_empty();
        assert_eq!(assert_told, step.ends_with("_report"), "{step}: {killed:?}");

        // Another command in between reports it, and the next transfer reports it again.
        case.run(&["balance"]);
        let again = case.transfer().output().unwrap();
        assert_eq!(again.status.code(), Some(exit), "{step}: {again:?}");
        assert_eq!(text(&again).contains("PXE-018"), exit == 3, "{step}: {again:?}");
        assert_eq!(case.node.taken(), sent, "{step}");

        case.node.build();
        let expected = format!("balance {}\n", TOTAL - AMOUNT * sent as u64);
        let balance = case.run(&["balance"]);
        assert!(balance.starts_with(&expected), "{step}: {balance}");
        assert_eq!(case.leftovers(), [""; 0].map(PathBuf::from), "{step}");
    }
}

/// Goal: what is wrong is named: the hash and the node, the file, the setting; in one line with one code.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_transaction_a_damaged_file_and_a_wrong_address_are_named() {
    let mut case = Case::new().await;
    let assert_told = |case: &Case, arguments: &[&str], parts: &[&str]| {
        let output = case.command(arguments).output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{arguments:?}: {text}");
        assert!(text.matches("PXE-").count() + text.matches("NDC-").count() == 1, "{text}");
    };
    let hash = to_hex(&Fr::from(7u64));
    let arguments = ["status", &hash, "--wait", "proven", "--wait-seconds", "0"];
    assert_told(&case, &arguments, &["PXE-024", &case.url, "the hash and --node-url"]);
    let state = case.path("other.state");
    std::fs::write(&state, "garbage that is no state").unwrap();
    let state = state.display().to_string();
    assert_told(
        &case,
        &["--state", &state, "balance"],
        &["PXE-003", &state, "--state", "what is lost"],
    );
    assert_told(&case, &["--state", "/proc/x/y", "balance"], &["PXE-008", "/proc/x/y", "--state"]);
    case.url = "http://127.0.0.1:9".to_owned();
    assert_told(&case, &["balance"], &["NDC-001", &case.url, "connection refused", "--node-url"]);
    std::fs::write(case.path("alice.json"), "garbage").unwrap();
    assert_told(
        &case,
        &["balance"],
        &["PXE-002", "alice.json", "not a keystore file", "--keystore"],
    );
}

/// Two concurrently: the second reports that the account is in use, and sends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_transfers_at_once_the_second_waits_for_nobody_and_sends_nothing() {
    let case = Case::new().await;
    // The first hangs between storing its intent and sending it.
    let mut first = case.transfer();
    first.env(failpoints::VARIABLE, "pxe.after_intent:hang").stderr(Stdio::piped());
    let mut first = first.spawn().unwrap();
    let lines = BufReader::new(first.stderr.take().unwrap()).lines();
    let is_stopped = lines.map_while(Result::ok).any(|line| line.contains("failpoint reached"));
    assert!(is_stopped, "the first one ended");

    let second = case.transfer().output().unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(text(&second).contains("PXE-013"), "{second:?}");
    assert_eq!(case.node.taken(), 0);

    first.kill().unwrap();
    first.wait().unwrap();
    let third = case.transfer().output().unwrap();
    assert_eq!(third.status.code(), Some(3), "{third:?}");
    assert_eq!(case.node.taken(), 1);
}

/// Whatever the order in which six commands come, the node gets one transaction for each that says that
/// it sent one.
#[tokio::test(flavor = "multi_thread")]
async fn many_transfers_at_once_pay_as_often_as_they_say() {
    let case = Case::new().await;
    let start = |_| case.transfer().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let running: Vec<_> = (0..6).map(start).collect();
    let mut sent = 0;
    for child in running {
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => sent += 1,
            // In use by another, or its two notes are spent by those before it.
            Some(1) => {
                let why = text(&output);
                assert!(why.contains("PXE-013") || why.contains("PXE-004"), "{why}");
            }
            _ => panic!("{output:?}"),
        }
    }
    assert!(sent >= 1);
    assert_eq!(case.node.taken(), sent);
    case.node.build();
    let balance = case.run(&["balance"]);
    assert!(
        balance.starts_with(&format!("balance {}\n", TOTAL - AMOUNT * sent as u64)),
        "{balance}"
    );
}
